/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /dev/nvme-fabrics: making and deleting controllers. Root; main thread. */
#ifndef CLIENT_NVME_FABRICS_H
#define CLIENT_NVME_FABRICS_H

#include <stddef.h>

#include "client/nvme_options.h"

/* Loads nvme-tcp where it is missing. 0, or -errno after having said why not. */
int nvme_fabrics_ready(void);

/* Does the kernel know secrets? It writes what it does not know into its log. */
bool nvme_fabrics_has_auth(void);

/* Does it know TLS; with keys that logins generate? */
bool nvme_fabrics_has_tls(void);
bool nvme_fabrics_has_concat(void);

/*
 * Makes a controller; `controller` takes its name ("nvme0", 32 bytes). -errno is the
 * kernel's; `said` (at least 256 bytes) then takes what it wrote in its log about it,
 * or "".
 */
int nvme_fabrics_connect(const struct nvme_options *o, char *controller, char *said,
			 size_t said_len);

/* Deletes a controller and waits until it is gone. 0 also if there is none. */
int nvme_fabrics_delete(const char *controller);

/*
 * Asks the discovery subsystem at the address of `o` for the subsystems it has for
 * this host; `found` is called with each NQN. 0 or -errno.
 */
int nvme_fabrics_discover(const struct nvme_options *o,
			  void (*found)(void *arg, const char *nqn), void *arg);

#endif
