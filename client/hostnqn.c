/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files under /etc and /var/lib in, the host's NVMe name out. Main thread. */
#include "client/hostnqn.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "client/file.h"
#include "client/say.h"
#include "client/uuid.h"

#define UUID_PREFIX "nqn.2014-08.org.nvmexpress:uuid:"
#define REMEMBERED  "/var/lib/memswap"

static bool is_uuid(const char *text)
{
	uint8_t u[16];

	return !uuid_parse(text, u);
}

static bool is_nqn(const char *text)
{
	return !strncmp(text, "nqn.", 4) && !strpbrk(text, ", \t\n");
}

/* The identifier from its file, else the one that is part of the name. */
static int complete(const char *folder, struct hostnqn *h)
{
	char text[64];

	if (file_read(text, sizeof(text), "%s/hostid", folder) > 0 && is_uuid(text)) {
		strcpy(h->id, text);
		return 0;
	}
	if (!strncmp(h->nqn, UUID_PREFIX, strlen(UUID_PREFIX)) &&
	    is_uuid(h->nqn + strlen(UUID_PREFIX))) {
		strcpy(h->id, h->nqn + strlen(UUID_PREFIX));
		return 0;
	}
	return -ENOENT;
}

static int load(const char *folder, struct hostnqn *h)
{
	if (file_read(h->nqn, sizeof(h->nqn), "%s/hostnqn", folder) <= 0 ||
	    !is_nqn(h->nqn))
		return -ENOENT;
	return complete(folder, h);
}

int hostnqn_get(struct hostnqn *ret)
{
	uint8_t u[16];
	char text[HOSTNQN_MAX + 2];
	int r;

	if (!load("/etc/nvme", ret) || !load(REMEMBERED, ret))
		return 0;
	r = uuid_new(u);
	if (r)
		return r;
	uuid_format(u, ret->id);
	snprintf(ret->nqn, sizeof(ret->nqn), UUID_PREFIX "%s", ret->id);
	mkdir(REMEMBERED, 0755);
	snprintf(text, sizeof(text), "%s\n", ret->nqn);
	r = file_create(REMEMBERED "/hostnqn", text);
	snprintf(text, sizeof(text), "%s\n", ret->id);
	if (!r)
		r = file_create(REMEMBERED "/hostid", text);
	if (r)
		say_warning(
			"can't remember this host's NVMe name in %s (%s): it will be "
			"another one next time",
			REMEMBERED, strerror(-r));
	return 0;
}
