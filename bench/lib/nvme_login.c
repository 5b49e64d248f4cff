// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The load client logs in: messages of NVMe Base 2.0, 8.13.5, the arithmetic by
 * lib/dhchap. The engine's one thread, before the first I/O.
 */
#include "bench/lib/nvme.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/lib/conn.h"
#include "lib/dhchap.h"

#define SHA256     1
#define DIGEST_LEN 32u
#define LOGIN_ID   1 /* one transaction a queue */

/* The longest that can come: a challenge without a DH value. */
union message {
	struct nvme_auth_hdr hdr;
	struct nvme_auth_failure failure;
	struct nvme_auth_challenge challenge;
	uint8_t bytes[sizeof(struct nvme_auth_challenge) + DIGEST_LEN];
};

static int transfer(int fd, uint8_t fctype, const void *out, uint32_t out_len, void *in,
		    uint32_t in_len)
{
	struct nvme_auth_cmd c = { .opcode = NVME_FABRICS,
				   .fctype = fctype,
				   .spsp0 = NVME_AUTH_SPSP,
				   .spsp1 = NVME_AUTH_SPSP,
				   .secp = NVME_AUTH_SECP,
				   .len = htole32(out_len ? out_len : in_len) };
	uint32_t dw0;

	return nvme_command(fd, &c, out, out_len, in, in_len, &dw0);
}

static int negotiate(int fd)
{
	struct {
		struct nvme_auth_negotiate head;
		struct nvme_auth_descriptor one;
	} NVME_PACKED m = {
		.head = { .hdr = { .type = NVME_AUTH_COMMON,
				   .id = NVME_AUTH_NEGOTIATE,
				   .t_id = htole16(LOGIN_ID) },
			  .napd = 1 },
		.one = { .authid = NVME_AUTH_DHCHAP,
			 .halen = 1,
			 .dhlen = 1,
			 .hashes = { SHA256 } },
	};

	return transfer(fd, NVME_FC_AUTH_SEND, &m, sizeof(m), NULL, 0);
}

/* Receives the message whose turn it is. */
static int receive(int fd, uint8_t id, union message *m)
{
	int r;

	memset(m, 0, sizeof(*m));
	r = transfer(fd, NVME_FC_AUTH_RECV, NULL, 0, m, sizeof(*m));
	if (r < 0)
		return r;
	if (m->hdr.id == NVME_AUTH_FAILURE1) {
		fprintf(stderr, "nvme: the login is refused: explanation %u\n",
			m->failure.explanation);
		return -EACCES;
	}
	return m->hdr.type == NVME_AUTH_DHCHAP && m->hdr.id == id ? 0 : -EPROTO;
}

static int reply(int fd, const struct target *t, const union message *m)
{
	struct {
		struct nvme_auth_reply head;
		uint8_t response[DIGEST_LEN], challenge[DIGEST_LEN];
	} NVME_PACKED a = {
		.head = { .hdr = { .type = NVME_AUTH_DHCHAP,
				   .id = NVME_AUTH_REPLY,
				   .t_id = htole16(LOGIN_ID) },
			  .hl = DIGEST_LEN },
	};
	const struct dhchap_claim claim = {
		.hash = SHA256,
		.challenge = m->bytes + sizeof(m->challenge),
		.seqnum = le32toh(m->challenge.seqnum),
		.t_id = LOGIN_ID,
		.role = "HostHost",
		.prover = NVME_BENCH_HOST,
		.peer = t->export,
	};
	int r;

	if (m->challenge.hl != DIGEST_LEN || m->challenge.hashid != SHA256 ||
	    m->challenge.dhvlen)
		return -EPROTO;
	r = dhchap_respond(t->secret, &claim, a.response);
	return r < 0 ? r : transfer(fd, NVME_FC_AUTH_SEND, &a, sizeof(a), NULL, 0);
}

int nvme_login(int fd, const struct target *t)
{
	union message m;
	int r;

	if (!t->secret) {
		fprintf(stderr, "nvme: the server wants a secret: --secret FILE\n");
		return -ENOKEY;
	}
	r = negotiate(fd);
	if (!r)
		r = receive(fd, NVME_AUTH_CHALLENGE, &m);
	if (!r)
		r = reply(fd, t, &m);
	return r ? r : receive(fd, NVME_AUTH_SUCCESS1, &m);
}
