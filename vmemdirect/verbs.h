/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs that ask a running vmemdirect: each takes the words from its own name on
 * and returns an exit status (0; 1 refused or failed; 2 wrong words).
 */
#ifndef VMEMDIRECT_VERBS_H
#define VMEMDIRECT_VERBS_H

int verbs_status(int argc, char **argv);
int verbs_set(int argc, char **argv);
int verbs_detach(int argc, char **argv);
int verbs_list(int argc, char **argv);
int verbs_metrics(int argc, char **argv);
int verbs_fault(int argc, char **argv);

#endif
