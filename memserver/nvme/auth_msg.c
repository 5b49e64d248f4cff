/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of authentication messages in, structs out, and back. Pure functions. */
#include "memserver/nvme/auth_msg.h"

#include <endian.h>
#include <string.h>

static const char *const explanations[NVME_AUTH_EXPLANATION_NR] = {
	[0] = "no reason given",
	[NVME_AUTH_FAILED] = "authentication failed",
	[NVME_AUTH_NOT_USABLE] = "no authentication protocol in common",
	[NVME_AUTH_CONCAT_MISMATCH] = "secure channel concatenation mismatch",
	[NVME_AUTH_HASH_UNUSABLE] = "no hash function in common",
	[NVME_AUTH_GROUP_UNUSABLE] = "no DH group in common",
	[NVME_AUTH_BAD_PAYLOAD] = "incorrect payload",
	[NVME_AUTH_BAD_MESSAGE] = "incorrect protocol message",
};

const char *nvme_auth_explain(uint8_t explanation)
{
	return explanation < NVME_AUTH_EXPLANATION_NR ? explanations[explanation]
						      : "an unknown reason";
}

uint8_t nvme_auth_read_hdr(const uint8_t *p, size_t len, struct nvme_auth_hdr *ret)
{
	if (len < sizeof(*ret))
		return NVME_AUTH_BAD_PAYLOAD;
	memcpy(ret, p, sizeof(*ret));
	return 0;
}

bool nvme_auth_makes_key(uint8_t hash, uint8_t group)
{
	/* TLS 1.3 has no suite of SHA-512, and without DH there is no session key. */
	return hash && hash <= 2 && group;
}

/* The first of ours that is among theirs, or -1. */
static int first_common(const uint8_t *ours, size_t nr_ours, const uint8_t *theirs,
			size_t nr_theirs)
{
	for (size_t i = 0; i < nr_ours; i++)
		if (memchr(theirs, ours[i], nr_theirs))
			return ours[i];
	return -1;
}

/* Takes out what makes no key. */
static void restrict_to_keys(struct nvme_auth_prefs *prefs)
{
	uint8_t nr = 0;

	for (uint8_t i = 0; i < prefs->nr_hashes; i++)
		if (nvme_auth_makes_key(prefs->hashes[i], 1))
			prefs->hashes[nr++] = prefs->hashes[i];
	prefs->nr_hashes = nr;
	nr = 0;
	for (uint8_t i = 0; i < prefs->nr_groups; i++)
		if (nvme_auth_makes_key(1, prefs->groups[i]))
			prefs->groups[nr++] = prefs->groups[i];
	prefs->nr_groups = nr;
}

static uint8_t choose(const struct nvme_auth_descriptor *d,
		      const struct nvme_auth_prefs *all, struct nvme_auth_choice *ret)
{
	struct nvme_auth_prefs prefs = *all;
	int hash, group;

	if (d->halen > sizeof(d->hashes) || d->dhlen > sizeof(d->groups))
		return NVME_AUTH_BAD_PAYLOAD;
	if (ret->sc_c)
		restrict_to_keys(&prefs);
	hash = first_common(prefs.hashes, prefs.nr_hashes, d->hashes, d->halen);
	if (hash < 0)
		return NVME_AUTH_HASH_UNUSABLE;
	group = first_common(prefs.groups, prefs.nr_groups, d->groups, d->dhlen);
	if (group < 0 && ret->sc_c && memchr(d->groups, 0, d->dhlen))
		return NVME_AUTH_CONCAT_MISMATCH; /* as Linux's target says it */
	if (group < 0)
		return NVME_AUTH_GROUP_UNUSABLE;
	ret->hash = (uint8_t)hash;
	ret->group = (uint8_t)group;
	return 0;
}

uint8_t nvme_auth_read_negotiate(const uint8_t *p, size_t len,
				 const struct nvme_auth_prefs *prefs,
				 struct nvme_auth_choice *ret)
{
	const struct nvme_auth_negotiate *m = (const void *)p;
	const struct nvme_auth_descriptor *d = (const void *)(m + 1);

	if (len < sizeof(*m) || !m->napd || len != sizeof(*m) + m->napd * sizeof(*d))
		return NVME_AUTH_BAD_PAYLOAD;
	if (m->sc_c &&
	    ((m->sc_c != NVME_AUTH_NEWTLSPSK && m->sc_c != NVME_AUTH_REPLACETLSPSK) ||
	     !prefs->concat))
		return NVME_AUTH_CONCAT_MISMATCH;
	*ret = (struct nvme_auth_choice){ .sc_c = m->sc_c };
	for (unsigned int i = 0; i < m->napd; i++)
		if (d[i].authid == NVME_AUTH_DHCHAP)
			return choose(&d[i], prefs, ret);
	return NVME_AUTH_NOT_USABLE;
}

uint8_t nvme_auth_read_reply(const uint8_t *p, size_t len, size_t hl, size_t dhvlen,
			     bool concat, struct nvme_auth_answer *ret)
{
	const struct nvme_auth_reply *m = (const void *)p;

	if (len < sizeof(*m) || m->hl != hl || le16toh(m->dhvlen) != dhvlen ||
	    len != sizeof(*m) + 2 * hl + dhvlen || m->cvalid > 1)
		return NVME_AUTH_BAD_PAYLOAD;
	/* A challenge has a number. Without one Linux 6.12 numbers what is not there. */
	if (concat ? !m->cvalid : m->cvalid && !m->seqnum)
		return NVME_AUTH_BAD_PAYLOAD;
	*ret = (struct nvme_auth_answer){
		.response = p + sizeof(*m),
		.challenge = m->cvalid ? p + sizeof(*m) + hl : NULL,
		.value = p + sizeof(*m) + 2 * hl,
		.seqnum = le32toh(m->seqnum),
	};
	return 0;
}

uint8_t nvme_auth_read_success2(const uint8_t *p, size_t len)
{
	return len == sizeof(struct nvme_auth_success2) ? 0 : NVME_AUTH_BAD_PAYLOAD;
}

uint8_t nvme_auth_read_failure2(const uint8_t *p, size_t len)
{
	const struct nvme_auth_failure *m = (const void *)p;

	return len == sizeof(*m) ? m->explanation : 0;
}

static struct nvme_auth_hdr header(uint8_t type, uint8_t id, uint16_t t_id)
{
	return (struct nvme_auth_hdr){ .type = type, .id = id, .t_id = htole16(t_id) };
}

uint32_t nvme_auth_put_challenge(uint8_t *out, uint16_t t_id, uint8_t hash,
				 const uint8_t *challenge, size_t hl, uint8_t group,
				 const uint8_t *value, size_t dhvlen, uint32_t seqnum)
{
	struct nvme_auth_challenge *m = (void *)out;

	*m = (struct nvme_auth_challenge){
		.hdr = header(NVME_AUTH_DHCHAP, NVME_AUTH_CHALLENGE, t_id),
		.hl = (uint8_t)hl,
		.hashid = hash,
		.dhgid = group,
		.dhvlen = htole16((uint16_t)dhvlen),
		.seqnum = htole32(seqnum),
	};
	memcpy(out + sizeof(*m), challenge, hl);
	memcpy(out + sizeof(*m) + hl, value, dhvlen);
	return (uint32_t)(sizeof(*m) + hl + dhvlen);
}

uint32_t nvme_auth_put_success1(uint8_t *out, uint16_t t_id, size_t hl,
				const uint8_t *response)
{
	struct nvme_auth_success1 *m = (void *)out;

	*m = (struct nvme_auth_success1){
		.hdr = header(NVME_AUTH_DHCHAP, NVME_AUTH_SUCCESS1, t_id),
		.hl = (uint8_t)hl,
		.rvalid = response != NULL,
	};
	if (!response)
		return sizeof(*m);
	memcpy(out + sizeof(*m), response, hl);
	return (uint32_t)(sizeof(*m) + hl);
}

uint32_t nvme_auth_put_failure1(uint8_t *out, uint16_t t_id, uint8_t explanation)
{
	struct nvme_auth_failure *m = (void *)out;

	*m = (struct nvme_auth_failure){
		.hdr = header(NVME_AUTH_COMMON, NVME_AUTH_FAILURE1, t_id),
		.rescode = NVME_AUTH_FAILED,
		.explanation = explanation,
	};
	return sizeof(*m);
}
