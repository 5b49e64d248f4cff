/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One export of an NBD server that is to hold pages: where it is, which one it is, and
 * the label on its first page that says whose it is. Main thread; every call may wait
 * for NBD_CONTACT_MS.
 *
 * Which one: memserver answers a name with NAME@GENERATION, and refuses that name once
 * the bytes are gone (its host was restarted, the export made anew). With any server
 * the label tells the same: what does not bear ours any more is not what we wrote to.
 */
#ifndef VMEMDIRECT_TIER_NBD_EXPORT_H
#define VMEMDIRECT_TIER_NBD_EXPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define NBD_PORT        10809
#define NBD_URL_MAX     256
#define NBD_CONTACT_MS  10000
#define NBD_LABEL_BYTES 4096 /* the first page; pages of the guest begin behind it */

/* (It is kept in a file for --resume: plain bytes, no pointers.) */
struct nbd_export {
	char url[NBD_URL_MAX];
	char name[NBD_URL_MAX]; /* as the server answered it */
	struct sockaddr_storage addr;
	uint32_t addr_len;
	uint32_t host; /* number of the server among those of one VM: set by spill */
	uint64_t nr_pages; /* the label's among them */
	uint8_t id[16];    /* drawn for this VM, on the label */
};

/* nbd://HOST[:PORT]/NAME in, host resolved. -EINVAL, -EHOSTUNREACH, logged. */
int nbd_export_parse(const char *url, struct nbd_export *ret);

/*
 * First contact: asks for name and size, and puts the label of VM `vm` on it. -EBUSY: it
 * bears somebody else's, or its first page is not empty; -errno; logged.
 */
int nbd_export_claim(struct nbd_export *x, const char *vm);

/* Takes the label off and discards all bytes; whoever comes next finds it empty. What
 * fails is logged. */
void nbd_export_release(const struct nbd_export *x);

struct nbd_handle;

/*
 * Begins to connect to it. However that is closed, by us or by the end of the process:
 * what the server's host has not taken yet is dropped, and a reset sent. An ordinary
 * close would go on sending it for minutes, a write among it, over whatever has been
 * written there since. -1: nbd_get_error. Any thread, does not wait.
 */
int nbd_export_dial(const struct nbd_export *x, struct nbd_handle *h);

/* Is this page (4096 bytes) the label of this export? Any thread. */
bool nbd_export_labelled(const struct nbd_export *x, const void *page);

#endif
