/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes on inside the keeper's process; client/keeper.h is its door. */
#ifndef CLIENT_KEEPER_LOOP_H
#define CLIENT_KEEPER_LOOP_H

#include "client/keeper.h"
#include "client/keeper_page.h"

/*
 * Prepares, writes an int to ready_fd (0 or -errno), watches until SIGTERM or until
 * the bytes are lost, and exits. In the keeper's own process, single-threaded.
 */
void keeper_loop_run(const struct keeper_job *job, struct keeper_page *page,
		     int ready_fd) __attribute__((noreturn));

#endif
