/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tgtd's tables in, structs out. */
#include "memserver/iscsi/tgt_text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Takes one line off `*at` if it begins with `prefix`; what follows it, copied. */
static bool line_with(const char **at, const char *prefix, char *ret, size_t room)
{
	size_t skip = strlen(prefix), len;

	if (strncmp(*at, prefix, skip))
		return false;
	len = strcspn(*at + skip, "\n");
	if (len >= room || (*at)[skip + len] != '\n')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isascii((*at)[skip + i]) || !isprint((*at)[skip + i]))
			return false;
	memcpy(ret, *at + skip, len);
	ret[len] = '\0';
	*at += skip + len + 1;
	return true;
}

static bool number(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;

	if (!*text || strlen(text) > 18)
		return false;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return false;
		n = n * 10 + (uint64_t)(*text - '0');
	}
	*ret = n;
	return n <= max;
}

static bool number_line(const char **at, const char *prefix, uint32_t *ret)
{
	char text[24];
	uint64_t n;

	if (!line_with(at, prefix, text, sizeof(text)) || !number(text, UINT32_MAX, &n))
		return false;
	*ret = (uint32_t)n;
	return true;
}

int tgt_text_sessions(const char *text, struct tgt_session *ret, size_t max)
{
	int nr = 0;

	while (*text) {
		struct tgt_session s = { 0 };

		if (!number_line(&text, "Session: ", &s.sid) ||
		    !number_line(&text, "    Connection: ", &s.cid) ||
		    !line_with(&text, "        Initiator: ", s.initiator,
			       sizeof(s.initiator)) ||
		    !line_with(&text, "        IP Address: ", s.address,
			       sizeof(s.address)))
			return -EPROTO;
		if ((size_t)nr < max)
			ret[nr] = s;
		nr++;
	}
	return nr;
}

#define N " %18" SCNu64

/* A row: target, LUN, session, then bytes and commands of reads asked for, reads done,
 * writes asked for, writes done, then errors. */
int tgt_text_counters(const char *text, uint64_t lun, uint32_t sid,
		      struct tgt_counters *ret)
{
	const char *at = strchr(text, '\n'); /* after the headings */

	for (; at && at[1]; at = strchr(at + 1, '\n')) {
		struct tgt_counters c;
		uint64_t tid, unit, session, bytes, ops;

		if (sscanf(at + 1, N N N N N N N N N N N N, &tid, &unit, &session,
			   &bytes, &ops, &c.read_bytes, &c.read_ops, &bytes, &ops,
			   &c.write_bytes, &c.write_ops, &c.errors) != 12)
			return -EPROTO;
		if (unit == lun && session == sid) {
			*ret = c;
			return 0;
		}
	}
	return -ENOENT;
}

unsigned int tgt_text_version(const char *text)
{
	unsigned int major, minor, patch;

	if (sscanf(text, "%3u.%3u.%5u", &major, &minor, &patch) != 3)
		return 0;
	return (major * 1000 + minor) * 1000 + patch;
}
