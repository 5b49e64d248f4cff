/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Specifications in, armed fault points out. Arming is under a mutex; passing an
 * armed point takes none, so a slot of the table is never given to another name.
 */
#include "lib/fault.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

enum fault_when { FAULT_ALWAYS, FAULT_NTH, FAULT_FROM, FAULT_PERCENT };

struct fault_arm {
	char name[FAULT_NAME_MAX + 1];
	_Atomic int error; /* 0: off (a thread may still be on its way here) */
	_Atomic int when;
	_Atomic uint64_t n; /* NTH, FROM: which; PERCENT: of 2^32 */
	_Atomic uint64_t passes, fired;
};

static struct fault_arm arms[FAULT_MAX];
static unsigned int nr_arms; /* slots ever used */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The linker makes these where any object has the section. */
extern struct fault_site *const __start_fault_sites[] __attribute__((weak));
extern struct fault_site *const __stop_fault_sites[] __attribute__((weak));

/* The i-th place, NULL past the last. */
static struct fault_site *site_at(size_t i)
{
	uintptr_t bytes =
		(uintptr_t)__stop_fault_sites - (uintptr_t)__start_fault_sites;

	return i < bytes / sizeof(struct fault_site *) ? __start_fault_sites[i] : NULL;
}

/* What one word of a specification says. */
struct fault_word {
	char name[FAULT_NAME_MAX + 1]; /* "": all */
	int error;                     /* 0: off */
	enum fault_when when;
	uint64_t n;
};

/* splitmix64: a fair coin that falls the same way in every run. */
static uint32_t toss(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((x ^ (x >> 31)) >> 32);
}

int fault_hit(struct fault_arm *arm)
{
	int error = atomic_load(&arm->error);
	uint64_t n = atomic_load(&arm->n);
	uint64_t pass;
	bool fire = false;

	if (!error)
		return 0;
	pass = atomic_fetch_add(&arm->passes, 1) + 1;
	switch ((enum fault_when)atomic_load(&arm->when)) {
	case FAULT_ALWAYS:
		fire = true;
		break;
	case FAULT_NTH:
		fire = pass == n;
		break;
	case FAULT_FROM:
		fire = pass >= n;
		break;
	case FAULT_PERCENT:
		fire = toss(pass) < n;
		break;
	}
	if (!fire)
		return 0;
	atomic_fetch_add(&arm->fired, 1);
	return -error;
}

static int parse_errno(const char *text, size_t len, int *ret)
{
	char buf[24];
	long n = 0;
	char *end;

	if (!len || len >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, text, len);
	buf[len] = '\0';
	if (isdigit((unsigned char)buf[0])) {
		n = strtol(buf, &end, 10);
		if (*end || n <= 0 || n > 4095)
			return -EINVAL;
		*ret = (int)n;
		return 0;
	}
	for (n = 1; n < 134; n++)
		if (strerrorname_np((int)n) && !strcmp(strerrorname_np((int)n), buf)) {
			*ret = (int)n;
			return 0;
		}
	return -EINVAL;
}

/* "@N", "@N+", "%P" or nothing. */
static int parse_when(const char *text, size_t len, struct fault_word *ret)
{
	char buf[24], *end;
	double percent;

	ret->when = FAULT_ALWAYS;
	if (!len)
		return 0;
	if (len < 2 || len >= sizeof(buf) || !isdigit((unsigned char)text[1]))
		return -EINVAL;
	memcpy(buf, text, len);
	buf[len] = '\0';
	if (buf[0] == '@') {
		ret->n = strtoull(buf + 1, &end, 10);
		ret->when = *end == '+' ? FAULT_FROM : FAULT_NTH;
		if (*end == '+')
			end++;
		return *end || !ret->n ? -EINVAL : 0;
	}
	percent = strtod(buf + 1, &end);
	if (*end || !(percent > 0) || percent > 100)
		return -EINVAL;
	ret->when = FAULT_PERCENT;
	ret->n = (uint64_t)(percent / 100 * 4294967296.0);
	return 0;
}

/* One word of `len` bytes. */
static int parse_word(const char *text, size_t len, struct fault_word *ret,
		      const char **ret_why)
{
	const char *eq = memchr(text, '=', len);
	const char *value, *mark;
	size_t value_len, error_len;

	memset(ret, 0, sizeof(*ret));
	*ret_why = "say NAME=ERRNO[@N|@N+|%P], NAME=off or off";
	if (len == 3 && !memcmp(text, "off", 3))
		return 0;
	if (!eq || eq == text || (size_t)(eq - text) > FAULT_NAME_MAX)
		return -EINVAL;
	memcpy(ret->name, text, (size_t)(eq - text));
	value = eq + 1;
	value_len = len - (size_t)(value - text);
	if (value_len == 3 && !memcmp(value, "off", 3))
		return 0;
	mark = memchr(value, '@', value_len);
	if (!mark)
		mark = memchr(value, '%', value_len);
	error_len = mark ? (size_t)(mark - value) : value_len;
	if (parse_errno(value, error_len, &ret->error) < 0) {
		*ret_why = "no such errno; say a name like EIO or a number";
		return -EINVAL;
	}
	return parse_when(value + error_len, value_len - error_len, ret);
}

static bool have_site(const char *name)
{
	struct fault_site *site;

	for (size_t i = 0; (site = site_at(i)); i++)
		if (!strcmp(site->name, name))
			return true;
	return false;
}

static struct fault_arm *find_arm(const char *name)
{
	for (unsigned int i = 0; i < nr_arms; i++)
		if (!strcmp(arms[i].name, name))
			return &arms[i];
	return NULL;
}

static void point_sites(const char *name, struct fault_arm *arm)
{
	struct fault_site *site;

	for (size_t i = 0; (site = site_at(i)); i++)
		if (!*name || !strcmp(site->name, name))
			atomic_store(&site->arm, arm);
}

static void apply(const struct fault_word *w)
{
	struct fault_arm *arm;

	if (!w->error) {
		point_sites(w->name, NULL);
		for (unsigned int i = 0; i < nr_arms; i++)
			if (!*w->name || !strcmp(arms[i].name, w->name))
				atomic_store(&arms[i].error, 0);
		return;
	}
	arm = find_arm(w->name);
	if (!arm) {
		arm = &arms[nr_arms++];
		memcpy(arm->name, w->name, sizeof(arm->name));
	}
	atomic_store(&arm->error, 0);
	atomic_store(&arm->when, w->when);
	atomic_store(&arm->n, w->n);
	atomic_store(&arm->passes, 0);
	atomic_store(&arm->fired, 0);
	atomic_store(&arm->error, w->error);
	point_sites(w->name, arm);
}

/* Goes through all words; with `doit` false only looks whether they can be done. */
static int walk(const char *spec, bool doit, const char **ret_why)
{
	unsigned int more = 0;

	for (const char *p = spec; *p;) {
		size_t len = strcspn(p, ",");
		struct fault_word w;
		int r = parse_word(p, len, &w, ret_why);

		if (r < 0)
			return r;
		if (*w.name && !have_site(w.name)) {
			*ret_why = "no such fault point";
			return -ENOENT;
		}
		more += w.error && !find_arm(w.name);
		if (nr_arms + more > FAULT_MAX) {
			*ret_why = "too many different points armed";
			return -ENOSPC;
		}
		if (doit) {
			apply(&w);
			more = 0;
		}
		p += len + (p[len] == ',');
	}
	return 0;
}

int fault_set(const char *spec, const char **ret_why)
{
	const char *why = "";
	int r;

	pthread_mutex_lock(&lock);
	r = walk(spec, false, &why);
	if (!r)
		walk(spec, true, &why);
	pthread_mutex_unlock(&lock);
	if (r < 0 && ret_why)
		*ret_why = why;
	return r;
}

int fault_init(void)
{
	const char *spec = getenv("REMEM_FAULTS");
	const char *why;
	int r;

	if (!spec || !*spec)
		return 0;
	r = fault_set(spec, &why);
	if (r < 0)
		log_err("REMEM_FAULTS '%s': %s", spec, why);
	else
		log_warn("faults are armed: %s", spec);
	return r;
}

/* True for the first place of its name. */
static bool is_first(size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (!strcmp(site_at(i)->name, site_at(at)->name))
			return false;
	return true;
}

void fault_each(void (*fn)(const struct fault_info *info, void *arg), void *arg)
{
	struct fault_site *site;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; (site = site_at(i)); i++) {
		struct fault_info info = { .name = site->name };
		struct fault_arm *arm = find_arm(info.name);

		if (!is_first(i))
			continue;
		if (arm) {
			info.error = atomic_load(&arm->error);
			info.passes = atomic_load(&arm->passes);
			info.fired = atomic_load(&arm->fired);
		}
		fn(&info, arg);
	}
	pthread_mutex_unlock(&lock);
}
