/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `vmemdirect watch`: history/ put together. Watches a VM that is to migrate away until
 * it ends or a signal comes. One thread; it pages nothing and stays out of the VM's way.
 */
#ifndef VMEMDIRECT_VERB_WATCH_H
#define VMEMDIRECT_VERB_WATCH_H

/* Words from "watch" on; an exit status as in verbs.h. */
int verb_watch(int argc, char **argv);

#endif
