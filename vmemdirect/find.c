/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A monitor's socket in; process, name and memory backends out. Main thread. */
#include "vmemdirect/find.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "vmemdirect/attach/proc.h"
#include "vmemdirect/qmp.h"

static int memdev_member(json_object *dev, const char *key, json_type type,
			 json_object **ret)
{
	return json_object_object_get_ex(dev, key, ret) &&
	       json_object_is_type(*ret, type);
}

static bool asked_for(const struct config *c, const char *id)
{
	for (unsigned int i = 0; i < c->nr_memdevs; i++)
		if (!strcmp(c->memdev[i], id))
			return true;
	return !c->nr_memdevs;
}

static int take_memdev(const struct config *c, json_object *dev, struct attach_cfg *a)
{
	json_object *id, *size, *share;
	struct attach_want *w = &a->want[a->nr_want];

	if (!memdev_member(dev, "id", json_type_string, &id) ||
	    !memdev_member(dev, "size", json_type_int, &size) ||
	    !asked_for(c, json_object_get_string(id)))
		return 0;
	if (memdev_member(dev, "share", json_type_boolean, &share) &&
	    !json_object_get_boolean(share)) {
		log_err("memory backend %s has share=off: its memory is private to "
			"QEMU "
			"and cannot be paged. Start the VM with share=on",
			json_object_get_string(id));
		return -ENOTSUP;
	}
	if (a->nr_want == GUEST_BLOCKS_MAX)
		return -E2BIG;
	snprintf(w->id, sizeof(w->id), "%s", json_object_get_string(id));
	w->size_bytes = (uint64_t)json_object_get_int64(size);
	a->nr_want++;
	return 0;
}

static int take_memdevs(struct qmp *q, const struct config *c, struct attach_cfg *a)
{
	json_object *list = NULL;
	int r = qmp_command(q, "query-memdev", NULL, &list);

	for (size_t i = 0; !r && json_object_is_type(list, json_type_array) &&
			   i < json_object_array_length(list);
	     i++)
		r = take_memdev(c, json_object_array_get_idx(list, i), a);
	json_object_put(list);
	if (!r && a->nr_want < (c->nr_memdevs ? c->nr_memdevs : 1)) {
		if (c->nr_memdevs)
			log_err("QEMU has no memory backend of that name (--memdev)");
		else
			log_err("QEMU has no memory backend: its memory is private. "
				"Start "
				"the VM with -object "
				"memory-backend-memfd,id=mem0,size=...,"
				"share=on -machine memory-backend=mem0");
		r = -ENOTSUP;
	}
	return r;
}

static void take_name(struct qmp *q, struct config *c)
{
	json_object *o = NULL, *name;

	if (!c->name[0] && !qmp_command(q, "query-name", NULL, &o) &&
	    json_object_object_get_ex(o, "name", &name) &&
	    config_name_ok(json_object_get_string(name)))
		strcpy(c->name, json_object_get_string(name));
	json_object_put(o);
}

int find_by_qmp(struct config *c, struct attach_cfg *a)
{
	struct qmp *q = NULL;
	int r = qmp_open(c->qmp, &q);

	if (r < 0) {
		log_err("%s: %s%s", c->qmp, strerror(-r),
			r == -ETIMEDOUT
				? " (another client holds the monitor: give QEMU a "
				  "second -qmp socket)"
				: "");
		return r;
	}
	take_name(q, c);
	r = c->pid ? 0 : qmp_peer_pid(q, &c->pid);
	if (r < 0)
		log_err("%s: its process is not known: %s (is the VM running?)", c->qmp,
			strerror(-r));
	if (!r)
		r = take_memdevs(q, c, a);
	if (r == -EREMOTEIO)
		log_err("QEMU: %s", qmp_why(q));
	qmp_close(q);
	return r;
}

/* Hexadecimal digits with dashes between some of them. */
static bool parse_uuid(const char *text, uint8_t *ret)
{
	unsigned int digits = 0;

	memset(ret, 0, 16);
	for (; *text && digits < 32; text++) {
		static const char hex[] = "0123456789abcdef";
		const char *at = strchr(hex, tolower((unsigned char)*text));

		if (*text == '-')
			continue;
		if (!at)
			return false;
		ret[digits / 2] |= (uint8_t)((at - hex) << (digits % 2 ? 0 : 4));
		digits++;
	}
	return !*text && digits == 32;
}

void find_uuid(const char *qmp_path, uint8_t *ret)
{
	json_object *o = NULL, *uuid;
	uint8_t got[16];

	memset(ret, 0, sizeof(got));
	if (!qmp_once(qmp_path, "query-uuid", NULL, &o, NULL) &&
	    json_object_object_get_ex(o, "UUID", &uuid) &&
	    parse_uuid(json_object_get_string(uuid), got))
		memcpy(ret, got, sizeof(got));
	json_object_put(o);
}

void find_default_name(struct config *c)
{
	char comm[32] = "";

	if (c->name[0])
		return;
	if (proc_comm(c->pid, comm, sizeof(comm)) < 0 || !config_name_ok(comm))
		strcpy(comm, "vm");
	snprintf(c->name, sizeof(c->name), "%s-%d", comm, c->pid);
}
