/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sentence that is written to /dev/nvme-fabrics (Linux drivers/nvme/host/fabrics.c,
 * opt_tokens). Pure, any thread.
 */
#ifndef CLIENT_NVME_OPTIONS_H
#define CLIENT_NVME_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NVME_OPTIONS_MAX       4095 /* the kernel takes a page */
#define NVME_OPTIONS_NQN_MAX   223
#define NVME_OPTIONS_DISCOVERY "nqn.2014-08.org.nvmexpress.discovery"

struct nvme_options {
	const char *traddr; /* numeric; all strings are borrowed */
	uint16_t port;
	const char *nqn, *hostnqn, *hostid;
	unsigned int nr_io_queues, queue_size; /* 0: the kernel's default */
	bool hdr_digest, data_digest;
	bool concat; /* TLS by a key that the login generates; it needs `secret` */
	bool tls;
	int32_t tls_key; /* its serial number; 0: the kernel looks for one */
	const char *secret, *ctrl_secret; /* DHHC-1:…; NULL or "": none */
};

/*
 * What suits swap: reconnect for ever, every 2 s; 30 s of keep-alive, after which a
 * server that vanished is noticed even when nothing is asked of it. For the discovery
 * subsystem only what names it.
 *
 * -EINVAL: a value holds a comma or a newline, which would end it; -ENAMETOOLONG: an
 * NQN, or the whole, is too long.
 */
int nvme_options_format(const struct nvme_options *o, char *buf, size_t len);

/* An export's name to its subsystem's: NAME is memserver's, a whole NQN stays. */
int nvme_options_nqn(const char *name, char *buf, size_t len);

/* "instance=N,cntlid=M", as the kernel answers. -EPROTO: something else. */
int nvme_options_instance(const char *answer, unsigned int *ret_instance);

#endif
