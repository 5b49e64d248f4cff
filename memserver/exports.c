/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names in, exports out. Changes come from the control thread one at a time and
 * hold the lock throughout; a front end's look-up takes it for a moment at connect.
 */
#include "memserver/exports.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "memserver/export_priv.h"
#include "memserver/identity.h"
#include "memserver/pool.h"

#define SIZE_LIMIT (UINT64_C(1) << 44) /* 16 TiB: addresses for growth must fit */

struct entry {
	struct list link;
	struct export *export; /* owned: one reference */
};

struct exports {
	pthread_mutex_t lock;  /* guards all below */
	pthread_cond_t freed;  /* nr_alive went down */
	struct pool *pool;     /* borrowed */
	struct list list;      /* of entry, by name */
	unsigned int nr_alive; /* exports whose memory is not gone yet */
	uint64_t generation;
};

static int say(const char **ret_why, int r, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return r;
}

static struct entry *find_entry(struct exports *x, const char *name, size_t len)
{
	struct entry *en;

	list_for_each_entry(en, &x->list, link)
		if (strlen(export_name(en->export)) == len &&
		    !memcmp(export_name(en->export), name, len))
			return en;
	return NULL;
}

static void one_freed(void *arg)
{
	struct exports *x = arg;

	pthread_mutex_lock(&x->lock);
	x->nr_alive--;
	pthread_cond_broadcast(&x->freed);
	pthread_mutex_unlock(&x->lock);
}

/* Lists it in order of name. */
static int enlist(struct exports *x, struct export *e)
{
	struct entry *en = calloc(1, sizeof(*en)), *other;

	if (!en)
		return -ENOMEM;
	en->export = e;
	export_on_free(e, one_freed, x);
	x->nr_alive++;
	list_for_each_entry(other, &x->list, link)
		if (strcmp(export_name(other->export), export_name(e)) > 0)
			break;
	list_add_tail(&other->link, &en->link);
	__atomic_fetch_add(&x->generation, 1, __ATOMIC_RELAXED);
	return 0;
}

/* ---- adopting what an earlier memserver left ---- */

static int adopt(struct exports *x, const char *name)
{
	_cleanup_free_ char *file = NULL;
	_cleanup_close_ int fd = -1;
	struct identity id;
	struct export_cfg cfg = { .name = name };
	struct export *e;
	int r = identity_load(x->pool, name, &id);

	if (r < 0)
		return r;
	if (asprintf(&file, "%s.mem", name) < 0)
		return -ENOMEM;
	r = pool_carve(x->pool, file, id.size_bytes, false, &fd);
	if (r < 0)
		return r;
	cfg.size_bytes = id.size_bytes;
	cfg.quota_bytes = id.quota_bytes;
	cfg.caps = id.caps;
	cfg.needs_tls = id.needs_tls;
	r = export_new(x->pool, &cfg, &id.id, fd, &e);
	if (r < 0)
		return r;
	take_fd(&fd);
	r = enlist(x, e);
	if (r < 0)
		export_put(e);
	return r;
}

static bool has_suffix(const char *name, const char *suffix, size_t *ret_stem)
{
	size_t n = strlen(name), s = strlen(suffix);

	if (n <= s || strcmp(name + n - s, suffix))
		return false;
	*ret_stem = n - s;
	return true;
}

/* A crash between two steps of create or drop leaves half an export: finish it. */
static void sweep(struct exports *x, const char *file)
{
	char name[EXPORT_NAME_MAX + 1];
	size_t stem;

	if (has_suffix(file, ".json.new", &stem)) {
		pool_unlink(x->pool, file);
		return;
	}
	if (!has_suffix(file, ".mem", &stem) || stem > EXPORT_NAME_MAX)
		return;
	memcpy(name, file, stem);
	name[stem] = '\0';
	if (find_entry(x, name, stem))
		return;
	log_warn("pool: %s belongs to no export (its identity is gone); removed", file);
	pool_unlink(x->pool, file);
}

static int for_each_file(struct exports *x, int (*fn)(struct exports *, const char *))
{
	int fd = dup(pool_dirfd(x->pool));
	struct dirent *d;
	DIR *dir;
	int r = 0;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -errno;
	}
	rewinddir(dir);
	while (r == 0 && (d = readdir(dir)) != NULL)
		r = fn(x, d->d_name);
	closedir(dir);
	return r;
}

/* What can't become better, as opposed to a shortage of this moment. */
static bool is_damage(int r)
{
	return r == -EBADMSG || r == -ENOENT || r == -EINVAL || r == -ELOOP;
}

static int adopt_file(struct exports *x, const char *file)
{
	char name[EXPORT_NAME_MAX + 1];
	size_t stem;
	int r;

	if (!has_suffix(file, ".json", &stem) || stem > EXPORT_NAME_MAX)
		return 0;
	memcpy(name, file, stem);
	name[stem] = '\0';
	if (!identity_name_ok(name))
		return 0;
	r = adopt(x, name);
	if (is_damage(r)) {
		log_warn("export %s: found but not usable (%s); it is dropped, its old "
			 "clients get errors",
			 name, strerror(-r));
		identity_unlink(x->pool, name);
		return 0;
	}
	if (r < 0) /* its bytes are not given up for a shortage that may pass */
		log_err("export %s: found but not opened: %s", name, strerror(-r));
	return r;
}

static int sweep_file(struct exports *x, const char *file)
{
	sweep(x, file);
	return 0;
}

int exports_open(struct pool *pool, struct exports **ret)
{
	struct exports *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return -ENOMEM;
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->freed, NULL);
	list_init(&x->list);
	x->pool = pool;
	r = for_each_file(x, adopt_file);
	if (r == 0)
		r = for_each_file(x, sweep_file);
	if (r < 0) {
		exports_close(x);
		return r;
	}
	*ret = x;
	return 0;
}

void exports_close(struct exports *x)
{
	struct entry *en, *tmp;

	if (!x)
		return;
	list_for_each_entry_safe(en, tmp, &x->list, link) {
		list_del(&en->link);
		export_put(en->export);
		free(en);
	}
	pthread_mutex_lock(&x->lock);
	while (x->nr_alive)
		pthread_cond_wait(&x->freed, &x->lock);
	pthread_mutex_unlock(&x->lock);
	pthread_cond_destroy(&x->freed);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

/* ---- changes ---- */

static int check_size(uint64_t size, const char **ret_why)
{
	if (!size || size % EXPORT_BLOCK)
		return say(ret_why, -EINVAL, "the size must be a multiple of 4096");
	if (size > SIZE_LIMIT)
		return say(ret_why, -EINVAL, "the size may be 16T at most");
	return 0;
}

/* The file first, then the identity: an export exists once its identity does. */
static int build(struct exports *x, const struct export_cfg *cfg, struct export **ret)
{
	struct identity id = { .size_bytes = cfg->size_bytes,
			       .quota_bytes = cfg->quota_bytes,
			       .caps = cfg->caps,
			       .needs_tls = cfg->needs_tls };
	_cleanup_free_ char *file = NULL;
	_cleanup_close_ int fd = -1;
	int r = identity_make(&id.id);

	if (r < 0)
		return r;
	if (asprintf(&file, "%s.mem", cfg->name) < 0)
		return -ENOMEM;
	r = pool_carve(x->pool, file, cfg->size_bytes, true, &fd);
	if (r < 0)
		return r;
	r = identity_store(x->pool, cfg->name, &id);
	if (r == 0)
		r = export_new(x->pool, cfg, &id.id, fd, ret);
	if (r < 0) {
		identity_unlink(x->pool, cfg->name);
		pool_unlink(x->pool, file);
		return r;
	}
	take_fd(&fd);
	return 0;
}

int exports_create(struct exports *x, const struct export_cfg *cfg,
		   const char **ret_why)
{
	struct export *e;
	int r;

	if (!identity_name_ok(cfg->name))
		return say(
			ret_why, -EINVAL,
			"a name is 1 to 64 letters, digits, '.', '_' or '-', and does "
			"not start with '.' or '-'");
	r = check_size(cfg->size_bytes, ret_why);
	if (r < 0)
		return r;
	pthread_mutex_lock(&x->lock);
	if (find_entry(x, cfg->name, strlen(cfg->name))) {
		r = say(ret_why, -EEXIST, "an export of that name exists");
	} else {
		r = build(x, cfg, &e);
		if (r == 0)
			r = enlist(x, e);
		if (r < 0)
			say(ret_why, r, strerror(-r));
	}
	pthread_mutex_unlock(&x->lock);
	return r;
}

static int grow(struct exports *x, struct export *e, const struct identity *id)
{
	int r = export_grow(e, id->size_bytes);

	if (r == 0)
		r = identity_store(x->pool, export_name(e), id);
	if (r == 0)
		export_show_growth(e, id->size_bytes);
	return r;
}

/*
 * Nobody may attach meanwhile, as when it is dropped. Punching takes 50 ms a GiB: workers
 * that look for other exports do not wait for it. (The list is the main thread's to change.)
 */
static int shrink(struct exports *x, struct export *e, const struct identity *id)
{
	int r = export_shut(e, false);

	if (r < 0)
		return r;
	r = identity_store(x->pool, export_name(e), id);
	if (r == 0) {
		pthread_mutex_unlock(&x->lock);
		r = export_shrink(e, id->size_bytes);
		pthread_mutex_lock(&x->lock);
	}
	export_reopen(e);
	return r;
}

/*
 * The identity is stored before a shrink and after a growth: a crash between never finds
 * a file shorter than its identity says. And nobody writes to what it does not say yet:
 * a restart would lose that.
 */
static int resize_entry(struct exports *x, struct export *e, uint64_t size,
			uint64_t quota, const char **ret_why)
{
	struct identity id = { .id = *export_id(e),
			       .size_bytes = size,
			       .quota_bytes = quota,
			       .caps = caps_get(export_caps(e)),
			       .needs_tls = export_needs_tls(e) };
	uint64_t old = export_size(e);
	int r = size > old   ? grow(x, e, &id)
		: size < old ? shrink(x, e, &id)
			     : identity_store(x->pool, export_name(e), &id);

	if (r == -EBUSY)
		return say(ret_why, r, "it is in use: it can grow but not shrink");
	if (r == -EFBIG)
		return say(ret_why, r,
			   "it can grow to 64G or 4 times the size it had when "
			   "memserver started; restart memserver first");
	if (r < 0)
		return say(ret_why, r, strerror(-r));
	export_set_quota(e, quota);
	__atomic_fetch_add(&x->generation, 1, __ATOMIC_RELAXED);
	return 0;
}

int exports_resize(struct exports *x, const char *name, uint64_t size_bytes,
		   uint64_t quota_bytes, const char **ret_why)
{
	struct entry *en;
	int r = check_size(size_bytes, ret_why);

	if (r < 0)
		return r;
	pthread_mutex_lock(&x->lock);
	en = find_entry(x, name, strlen(name));
	r = en ? resize_entry(x, en->export, size_bytes, quota_bytes, ret_why)
	       : say(ret_why, -ENOENT, "there is no export of that name");
	pthread_mutex_unlock(&x->lock);
	return r;
}

/* The identity as it is, to be stored with a change. */
static struct identity identity_of(struct export *e)
{
	uint64_t quota = export_quota(e);

	return (struct identity){ .id = *export_id(e),
				  .size_bytes = export_size(e),
				  .quota_bytes = quota == UINT64_MAX ? 0 : quota,
				  .caps = caps_get(export_caps(e)),
				  .needs_tls = export_needs_tls(e) };
}

int exports_set_tls(struct exports *x, const char *name, bool needs_tls)
{
	struct identity id;
	struct entry *en;
	int r = -ENOENT;

	pthread_mutex_lock(&x->lock);
	en = find_entry(x, name, strlen(name));
	if (en) {
		id = identity_of(en->export);
		id.needs_tls = needs_tls;
		r = identity_store(x->pool, name, &id);
	}
	if (r == 0)
		export_set_tls(en->export, needs_tls);
	pthread_mutex_unlock(&x->lock);
	return r;
}

int exports_limit(struct exports *x, const char *name, const struct caps_cfg *caps)
{
	struct identity id;
	struct entry *en;
	int r = -ENOENT;

	pthread_mutex_lock(&x->lock);
	en = find_entry(x, name, strlen(name));
	if (en) {
		id = identity_of(en->export);
		id.caps = *caps;
		r = identity_store(x->pool, name, &id);
	}
	if (r == 0)
		caps_set(export_caps(en->export), caps);
	pthread_mutex_unlock(&x->lock);
	return r;
}

int exports_drop(struct exports *x, const char *name, bool force)
{
	_cleanup_free_ char *file = NULL;
	struct export *e = NULL;
	struct entry *en;
	int r = 0;

	if (asprintf(&file, "%s.mem", name) < 0)
		return -ENOMEM;
	pthread_mutex_lock(&x->lock);
	en = find_entry(x, name, strlen(name));
	if (!en) {
		r = -ENOENT;
		goto out;
	}
	r = export_shut(en->export, force);
	if (r < 0)
		goto out;
	e = en->export;
	list_del(&en->link);
	free(en);
	identity_unlink(x->pool, name);
	pool_unlink(x->pool, file);
	__atomic_fetch_add(&x->generation, 1, __ATOMIC_RELAXED);
out:
	pthread_mutex_unlock(&x->lock);
	export_put(e);
	return r;
}

/* ---- looking ---- */

struct export *exports_find(struct exports *x, const char *name, size_t len)
{
	const char *at = memchr(name, '@', len);
	size_t name_len = at ? (size_t)(at - name) : len;
	struct export *found = NULL;
	struct entry *en;

	pthread_mutex_lock(&x->lock);
	en = find_entry(x, name, name_len);
	if (en && at) {
		const char *gen = export_id(en->export)->generation;
		size_t gen_len = len - name_len - 1;

		if (strlen(gen) != gen_len || memcmp(gen, at + 1, gen_len))
			en = NULL;
	}
	if (en)
		found = export_get(en->export);
	pthread_mutex_unlock(&x->lock);
	return found;
}

int exports_each(struct exports *x, int (*fn)(struct export *e, void *arg), void *arg)
{
	struct entry *en;
	int r = 0;

	pthread_mutex_lock(&x->lock);
	list_for_each_entry(en, &x->list, link) {
		r = fn(en->export, arg);
		if (r)
			break;
	}
	pthread_mutex_unlock(&x->lock);
	return r;
}

uint64_t exports_generation(const struct exports *x)
{
	return __atomic_load_n(&x->generation, __ATOMIC_RELAXED);
}
