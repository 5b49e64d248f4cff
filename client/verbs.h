/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memswap's verbs. Each takes its own argv (argv[0] is the verb) and returns the exit
 * status: 0, 1 it failed (and has been said), 2 it was typed wrong.
 */
#ifndef CLIENT_VERBS_H
#define CLIENT_VERBS_H

int verb_on_run(int argc, char **argv);
int verb_off_run(int argc, char **argv);
int verb_status_run(int argc, char **argv);

/* "memswap: ...; try: memswap --help"; returns 2. */
int verb_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Root is needed for `what`: 0, or 1 after having said so. */
int verb_need_root(const char *what);

#endif
