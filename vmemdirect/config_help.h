/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The usage texts of the verbs whose command line config.h reads. */
#ifndef VMEMDIRECT_CONFIG_HELP_H
#define VMEMDIRECT_CONFIG_HELP_H

extern const char config_attach_help[], config_receive_help[], config_watch_help[];

#endif
