/* SPDX-License-Identifier: GPL-2.0-or-later */
/* struct attachment in, small JSON files out, and back. Main thread. */
#include "client/state.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "client/file.h"
#include "client/say.h"
#include "client/uuid.h"
#include "lib/cleanup.h"

static const char *folder = "/run/memswap";
static bool may_mount = true;

static const char *const phase_names[] = {
	[PHASE_CONNECTING] = "connecting",
	[PHASE_CONNECTED] = "connected",
	[PHASE_ARMED] = "armed",
	[PHASE_ON] = "on",
	[PHASE_OFF] = "off",
};
#define NR_PHASES (sizeof(phase_names) / sizeof(phase_names[0]))

void state_use_folder(const char *path)
{
	folder = path;
	may_mount = false;
}

int state_open_folder(void)
{
	struct statfs fs;

	if (mkdir(folder, 0755) && errno != EEXIST) {
		say_error("can't make %s: %s", folder, strerror(errno));
		return -errno;
	}
	if (!may_mount || (!statfs(folder, &fs) && fs.f_type == RAMFS_MAGIC))
		return 0;
	if (mount("memswap", folder, "ramfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0755"))
		say_warning("can't mount a ramfs on %s (%s): the state may be swapped "
			    "out itself",
			    folder, strerror(errno));
	return 0;
}

/* FNV-1a: tells apart what the readable part of a key no longer does. */
static uint32_t hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 16777619u;
	return h;
}

char *state_key(const struct url *u, char *key)
{
	char text[URL_TEXT_MAX + 1];
	size_t n = 0;

	url_format(u, text);
	for (const char *p = text; *p && n < STATE_KEY_MAX - 9; p++) {
		if (isalnum((unsigned char)*p) || *p == '.' || *p == '-')
			key[n++] = *p;
		else if (n && key[n - 1] != '_')
			key[n++] = '_';
	}
	sprintf(key + n, "-%08" PRIx32, hash(text));
	return key;
}

char *state_path(const struct url *u, const char *suffix, char *buf, size_t len)
{
	char key[STATE_KEY_MAX + 1];

	snprintf(buf, len, "%s/%s.%s", folder, state_key(u, key), suffix);
	return buf;
}

char *state_file(const char *name, char *buf, size_t len)
{
	snprintf(buf, len, "%s/%s", folder, name);
	return buf;
}

static void add_string(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static void add_number(struct json_object *o, const char *key, int64_t value)
{
	json_object_object_add(o, key, json_object_new_int64(value));
}

static struct json_object *to_json(const struct attachment *a)
{
	struct json_object *o = json_object_new_object();
	char url[URL_TEXT_MAX + 1], uuid[UUID_TEXT_MAX + 1];

	if (!o)
		return NULL;
	uuid_format(a->swap_uuid, uuid);
	add_string(o, "url", url_format(&a->url, url));
	add_string(o, "phase", phase_names[a->phase]);
	add_string(o, "uuid", a->uuid);
	add_string(o, "device", a->kdev);
	add_string(o, "canonical", a->canonical);
	add_number(o, "size", (int64_t)a->size_bytes);
	add_string(o, "swap_uuid", uuid);
	add_number(o, "priority", a->priority);
	add_number(o, "discard", a->discard);
	add_number(o, "since", a->since_s);
	add_string(o, "controller", a->controller);
	add_number(o, "connections", a->connections);
	add_number(o, "timeout", a->timeout_s);
	return o;
}

static int get_string(struct json_object *o, const char *key, char *out, size_t len)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_string) ||
	    (size_t)json_object_get_string_len(v) >= len)
		return -EIO;
	strcpy(out, json_object_get_string(v));
	return 0;
}

static int get_number(struct json_object *o, const char *key, int64_t *ret)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_int))
		return -EIO;
	*ret = json_object_get_int64(v);
	return 0;
}

/* A device name goes into paths: no slash, no "..". */
static bool is_kernel_name(const char *name)
{
	for (; *name; name++)
		if (!isalnum((unsigned char)*name))
			return false;
	return true;
}

static int from_json(struct json_object *o, struct attachment *a)
{
	char url[URL_TEXT_MAX + 1], phase[16], swap_uuid[UUID_TEXT_MAX + 1];
	int64_t size, priority, discard, connections, timeout;
	const char *why;

	memset(a, 0, sizeof(*a));
	if (get_string(o, "url", url, sizeof(url)) || url_parse(url, &a->url, &why) ||
	    get_string(o, "phase", phase, sizeof(phase)) ||
	    get_string(o, "uuid", a->uuid, sizeof(a->uuid)) ||
	    get_string(o, "device", a->kdev, sizeof(a->kdev)) ||
	    get_string(o, "canonical", a->canonical, sizeof(a->canonical)) ||
	    get_string(o, "controller", a->controller, sizeof(a->controller)) ||
	    get_string(o, "swap_uuid", swap_uuid, sizeof(swap_uuid)) ||
	    get_number(o, "size", &size) || get_number(o, "priority", &priority) ||
	    get_number(o, "discard", &discard) || get_number(o, "since", &a->since_s) ||
	    get_number(o, "connections", &connections) ||
	    get_number(o, "timeout", &timeout) || uuid_parse(swap_uuid, a->swap_uuid) ||
	    !is_kernel_name(a->kdev) || !is_kernel_name(a->controller))
		return -EIO;
	a->size_bytes = (uint64_t)size;
	a->priority = (int)priority;
	a->discard = discard != 0;
	a->connections = (unsigned int)connections;
	a->timeout_s = (unsigned int)timeout;
	for (size_t i = 0; i < NR_PHASES; i++)
		if (!strcmp(phase_names[i], phase)) {
			a->phase = (enum phase)i;
			return 0;
		}
	return -EIO;
}

static int load_path(const char *path, struct attachment *ret)
{
	struct json_object *o;
	struct attachment a;
	char text[4096];
	int r = file_read(text, sizeof(text), "%s", path);

	if (r < 0)
		return r;
	o = json_tokener_parse(text);
	if (!o)
		return -EIO;
	r = from_json(o, &a);
	json_object_put(o);
	if (!r)
		*ret = a;
	return r;
}

int state_load(const struct url *u, struct attachment *ret)
{
	char path[512];

	return load_path(state_path(u, "json", path, sizeof(path)), ret);
}

int state_save(const struct attachment *a)
{
	struct json_object *o = to_json(a);
	char path[512], new_path[512];
	int r;

	if (!o)
		return -ENOMEM;
	state_path(&a->url, "json", path, sizeof(path));
	state_path(&a->url, "json.new", new_path, sizeof(new_path));
	r = file_create(new_path, json_object_to_json_string_ext(
					  o, JSON_C_TO_STRING_PRETTY |
						     JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	if (!r && rename(new_path, path))
		r = -errno;
	if (r)
		say_error("can't write %s: %s", path, strerror(-r));
	return r;
}

void state_remove(const struct url *u)
{
	static const char *const suffixes[] = { "json", "json.new", "keeper", "sample",
						"lock" };
	char path[512];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		unlink(state_path(u, suffixes[i], path, sizeof(path)));
}

static int is_state(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 5 && !strcmp(d->d_name + n - 5, ".json");
}

size_t state_list(struct attachment *ret, size_t max)
{
	struct dirent **names;
	int n = scandir(folder, &names, is_state, alphasort);
	size_t found = 0;

	for (int i = 0; i < n; i++) {
		char path[512];
		int r = -ENOENT;

		snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
		if (found < max)
			r = load_path(path, &ret[found]);
		if (!r)
			found++;
		else if (r != -ENOENT)
			say_warning("%s is not a state file of memswap: %s", path,
				    strerror(-r));
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return found;
}

int state_lock(const struct url *u, bool wait)
{
	struct stat held, named;
	char path[512];

	state_path(u, "lock", path, sizeof(path));
	for (;;) {
		_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)))
			return errno == EWOULDBLOCK ? -EBUSY : -errno;
		/* The holder before us may have removed the file we waited for. */
		if (!fstat(fd, &held) && !stat(path, &named) &&
		    held.st_ino == named.st_ino)
			return take_fd(&fd);
	}
}
