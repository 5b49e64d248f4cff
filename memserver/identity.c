/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An export's identity in, a small JSON file on the pool out, and back. */
#include "memserver/identity.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fault.h"
#include "memserver/pool.h"

#define FILE_NAME_MAX (EXPORT_NAME_MAX + 16)

bool identity_name_ok(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > EXPORT_NAME_MAX || *name == '.' || *name == '-')
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	return true;
}

/* What follows from the UUID: the NVMe namespace id and the NBD generation. */
static void derive(struct export_id *id)
{
	const uint8_t *u = id->uuid;

	/* No larger: on every scan Linux looks for a namespace to remove behind each
	 * identifier below the first one in use, at 25 to 60 ns a piece. */
	id->nsid = ((uint32_t)(u[13] & 0x0f) << 16 | (uint32_t)u[14] << 8 | u[15]) + 1;
	snprintf(id->generation, sizeof(id->generation), "%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5]);
}

int identity_make(struct export_id *ret)
{
	if (getrandom(ret->uuid, sizeof(ret->uuid), 0) != sizeof(ret->uuid))
		return -EIO;
	ret->uuid[6] = (ret->uuid[6] & 0x0f) | 0x40; /* RFC 4122, version 4 */
	ret->uuid[8] = (ret->uuid[8] & 0x3f) | 0x80;
	derive(ret);
	return 0;
}

static void file_name(const char *name, const char *suffix, char buf[FILE_NAME_MAX])
{
	snprintf(buf, FILE_NAME_MAX, "%s%s", name, suffix);
}

static int write_whole(int fd, const char *text)
{
	size_t len = strlen(text);

	return write(fd, text, len) == (ssize_t)len ? 0 : -EIO;
}

int identity_store(struct pool *p, const char *name, const struct identity *i)
{
	char final[FILE_NAME_MAX], temp[FILE_NAME_MAX], text[256], uuid[33];
	_cleanup_close_ int fd = -1;
	int r;

	for (int k = 0; k < 16; k++)
		snprintf(uuid + 2 * k, 3, "%02x", i->id.uuid[k]);
	snprintf(text, sizeof(text),
		 "{\"uuid\":\"%s\",\"size\":%llu,\"quota\":%llu,"
		 "\"bandwidth\":%llu,\"iops\":%llu,\"tls\":%s}\n",
		 uuid, (unsigned long long)i->size_bytes,
		 (unsigned long long)i->quota_bytes,
		 (unsigned long long)i->caps.bytes_per_s,
		 (unsigned long long)i->caps.ops_per_s,
		 i->needs_tls ? "true" : "false");
	file_name(name, ".json", final);
	file_name(name, ".json.new", temp);
	fd = openat(pool_dirfd(p), temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	r = fault_point("identity.store");
	if (r == 0)
		r = write_whole(fd, text);
	if (r == 0 && renameat(pool_dirfd(p), temp, pool_dirfd(p), final) < 0)
		r = -errno;
	if (r < 0)
		pool_unlink(p, temp);
	return r;
}

static int parse_uuid(const char *hex, uint8_t uuid[16])
{
	if (strlen(hex) != 32)
		return -EBADMSG;
	for (int k = 0; k < 16; k++) {
		unsigned int byte;

		if (sscanf(hex + 2 * k, "%2x", &byte) != 1)
			return -EBADMSG;
		uuid[k] = (uint8_t)byte;
	}
	return 0;
}

/* A limit that may be absent: 0. */
static uint64_t get_limit(struct json_object *o, const char *key)
{
	struct json_object *v;
	int64_t n = 0;

	if (json_object_object_get_ex(o, key, &v))
		n = json_object_get_int64(v);
	return n > 0 ? (uint64_t)n : 0;
}

static int parse(struct json_object *o, struct identity *ret)
{
	struct json_object *uuid, *size, *quota, *tls;
	struct identity i = { 0 };
	int64_t size_v, quota_v;

	if (!json_object_object_get_ex(o, "uuid", &uuid) ||
	    !json_object_object_get_ex(o, "size", &size) ||
	    !json_object_object_get_ex(o, "quota", &quota) ||
	    !json_object_is_type(uuid, json_type_string) ||
	    parse_uuid(json_object_get_string(uuid), i.id.uuid) < 0)
		return -EBADMSG;
	size_v = json_object_get_int64(size);
	quota_v = json_object_get_int64(quota);
	if (size_v <= 0 || size_v % EXPORT_BLOCK || quota_v < 0)
		return -EBADMSG;
	/* Files of before 0.3 have none. */
	if (json_object_object_get_ex(o, "tls", &tls))
		i.needs_tls = json_object_get_boolean(tls);
	derive(&i.id);
	i.size_bytes = (uint64_t)size_v;
	i.quota_bytes = (uint64_t)quota_v;
	i.caps.bytes_per_s = get_limit(o, "bandwidth");
	i.caps.ops_per_s = get_limit(o, "iops");
	if (caps_check(&i.caps) < 0)
		return -EBADMSG;
	*ret = i;
	return 0;
}

int identity_load(struct pool *p, const char *name, struct identity *ret)
{
	char file[FILE_NAME_MAX], text[512];
	_cleanup_close_ int fd = -1;
	struct json_object *o;
	ssize_t n;
	int r;

	file_name(name, ".json", file);
	fd = openat(pool_dirfd(p), file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	o = json_tokener_parse(text);
	if (!o)
		return -EBADMSG;
	r = json_object_is_type(o, json_type_object) ? parse(o, ret) : -EBADMSG;
	json_object_put(o);
	return r;
}

int identity_unlink(struct pool *p, const char *name)
{
	char file[FILE_NAME_MAX];

	file_name(name, ".json", file);
	return pool_unlink(p, file);
}
