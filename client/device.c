/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An attached device in; a device with a swap header and an owner out. All I/O is
 * direct: the page cache may hold what a former export of the same device held. Main
 * thread.
 */
#include "client/device.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/file.h"
#include "client/say.h"
#include "client/state.h"
#include "client/swap_area.h"
#include "client/uevent.h"
#include "client/uuid.h"
#include "lib/cleanup.h"

#define NODE_TIMEOUT_MS 10000

struct look {
	int fd;
	size_t page_size;
	size_t head_len, tail_len;
	uint8_t *head, *tail; /* owned, aligned for direct I/O */
};

static void look_fini(struct look *l)
{
	free(l->head);
	free(l->tail);
	if (l->fd >= 0)
		close(l->fd);
}

struct node {
	const char *kdev;
	int fd;
};

/* 0: not there yet. */
static int open_node(void *arg)
{
	struct node *n = arg;
	char path[64];

	snprintf(path, sizeof(path), "/dev/%s", n->kdev);
	n->fd = open(path, O_RDWR | O_EXCL | O_DIRECT | O_CLOEXEC);
	if (n->fd >= 0)
		return 1;
	return errno == ENOENT || errno == ENXIO ? 0 : -errno;
}

static int open_device(const char *kdev, int *ret_fd)
{
	struct node n = { .kdev = kdev, .fd = -1 };
	_cleanup_close_ int events = uevent_open();
	int r = uevent_wait(events, NODE_TIMEOUT_MS, open_node, &n);

	if (r == -ETIMEDOUT)
		say_error("the kernel has %s, but there is no /dev/%s: is /dev a "
			  "devtmpfs?",
			  kdev, kdev);
	else if (r == -EBUSY)
		say_error("/dev/%s is in use already (mounted, swapped on, part of an "
			  "array?)",
			  kdev);
	else if (r < 0)
		say_error("can't open /dev/%s: %s", kdev, strerror(-r));
	if (r < 0)
		return r;
	*ret_fd = n.fd;
	return 0;
}

static int read_all(int fd, uint8_t *buf, size_t len, uint64_t offset)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		buf += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int read_ends(const struct attachment *a, struct look *l)
{
	uint64_t usable = a->size_bytes / l->page_size * l->page_size;
	int r;

	l->head_len = usable < SWAP_AREA_LOOK ? (size_t)usable : SWAP_AREA_LOOK;
	l->tail_len = l->head_len;
	l->head = aligned_alloc(SWAP_AREA_PAGE_MAX, SWAP_AREA_PAGE_MAX * 3);
	l->tail = aligned_alloc(SWAP_AREA_PAGE_MAX, SWAP_AREA_PAGE_MAX * 3);
	if (!l->head || !l->tail)
		return -ENOMEM;
	r = read_all(l->fd, l->head, l->head_len, 0);
	if (!r)
		r = read_all(l->fd, l->tail, l->tail_len, usable - l->tail_len);
	return r;
}

static int open_and_look(const struct attachment *a, struct look *l)
{
	uint64_t size;
	int r;

	l->page_size = (size_t)sysconf(_SC_PAGESIZE);
	r = open_device(a->kdev, &l->fd);
	if (r)
		return r;
	if (ioctl(l->fd, BLKGETSIZE64, &size))
		r = -errno;
	else if (size < a->size_bytes)
		r = -ENXIO;
	else if (a->size_bytes / l->page_size < SWAP_AREA_MIN_PAGES)
		r = -EINVAL;
	if (r == -EINVAL) {
		say_error("the export has %" PRIu64 " bytes: too small to swap on, it "
			  "takes at least %zu",
			  a->size_bytes, SWAP_AREA_MIN_PAGES * l->page_size);
		return r;
	}
	if (!r)
		r = read_ends(a, l);
	if (r)
		say_error("can't read /dev/%s: %s", a->kdev, strerror(-r));
	return r;
}

static void describe_self(const struct attachment *a, struct swap_area_owner *o)
{
	char machine[40] = "", product[40] = "";

	memset(o, 0, sizeof(*o));
	if (gethostname(o->host, sizeof(o->host) - 1))
		strcpy(o->host, "?");
	file_read(machine, sizeof(machine), "/etc/machine-id");
	/* Cloned images share the former, clones of a running VM the latter, too. */
	file_read(product, sizeof(product), "/sys/class/dmi/id/product_uuid");
	snprintf(o->machine, sizeof(o->machine), "%s/%s", machine, product);
	file_read(o->boot, sizeof(o->boot), "/proc/sys/kernel/random/boot_id");
	strcpy(o->attach, a->uuid);
}

/* Does this boot of this host still have the attachment that made the mark? */
static bool is_attached(const char *uuid, char *ret_kdev)
{
	static struct attachment all[16];
	size_t n = state_list(all, sizeof(all) / sizeof(all[0]));

	for (size_t i = 0; i < n; i++)
		if (!strcmp(all[i].uuid, uuid)) {
			strcpy(ret_kdev, all[i].kdev);
			return true;
		}
	return false;
}

static int check_owner(const struct swap_area *area, const struct swap_area_owner *self,
		       bool force)
{
	char kdev[sizeof(((struct attachment *)0)->kdev)];

	if (!area->owned)
		return 0;
	if (!strcmp(area->owner.machine, self->machine)) {
		if (strcmp(area->owner.boot, self->boot) ||
		    !is_attached(area->owner.attach, kdev))
			return 0; /* of a time when this host went down with it */
		say_error(
			"this host swaps on that export already, by /dev/%s: a second "
			"way to the same pages would destroy them",
			kdev);
		return -EBUSY;
	}
	if (force) {
		say_warning("taking the export over from the host \"%s\"",
			    area->owner.host);
		return 0;
	}
	say_error(
		"the host \"%s\" swaps on that export: two hosts on one export destroy "
		"each other's memory. If that host is gone for good: memswap on "
		"--force",
		area->owner.host);
	return -EBUSY;
}

static int check_content(const struct swap_area *area, const char *kdev, bool force)
{
	if (area->kind != SWAP_AREA_FOREIGN)
		return 0;
	if (force) {
		say_warning("overwriting %s (byte %" PRIu64 " of /dev/%s)", area->what,
			    area->where, kdev);
		return 0;
	}
	say_error("the export holds %s (byte %" PRIu64
		  " of /dev/%s), no swap area: is it "
		  "the right one? memswap on --force destroys what is there",
		  area->what, area->where, kdev);
	return -EEXIST;
}

static int write_header(const struct look *l)
{
	ssize_t n = pwrite(l->fd, l->head, l->page_size, 0);

	if (n < 0)
		return -errno;
	if ((size_t)n != l->page_size)
		return -EIO;
	return fsync(l->fd) ? -errno : 0;
}

static int mark(struct attachment *a, const struct look *l,
		const struct swap_area *area, const struct swap_area_owner *self)
{
	char text[UUID_TEXT_MAX + 1];
	int r;

	memcpy(a->swap_uuid, area->uuid, sizeof(a->swap_uuid));
	if (area->kind == SWAP_AREA_BLANK || area->kind == SWAP_AREA_FOREIGN)
		if (uuid_new(a->swap_uuid))
			return -EIO;
	if (area->kind != SWAP_AREA_SWAP) {
		uuid_format(a->swap_uuid, text);
		say_step("writing a swap header, UUID %s", text);
		r = swap_area_format(l->head, l->page_size, a->size_bytes, a->swap_uuid,
				     area->label);
		if (r)
			return r;
	}
	swap_area_own(l->head, self);
	r = write_header(l);
	if (r)
		say_error("can't write to /dev/%s: %s%s", a->kdev, strerror(-r),
			  r == -ENOSPC ? " (is the server's memory all lent?)" : "");
	return r;
}

int device_prepare(struct attachment *a, bool force)
{
	struct look l = { .fd = -1 };
	struct swap_area_owner self;
	struct swap_area area;
	int r = open_and_look(a, &l);

	if (!r) {
		describe_self(a, &self);
		swap_area_probe(l.head, l.head_len, l.tail, l.tail_len, l.page_size,
				a->size_bytes, &area);
		r = check_owner(&area, &self, force);
	}
	if (!r)
		r = check_content(&area, a->kdev, force);
	if (!r)
		r = mark(a, &l, &area, &self);
	look_fini(&l);
	return r;
}

/*
 * The kernel discards only whole clusters that have become free; what is left, and the
 * swapped pages of this host in it, goes here. Best effort: not every server trims.
 */
static void trim(const struct attachment *a, const struct look *l)
{
	uint64_t range[2] = { l->page_size, a->size_bytes - l->page_size };

	if (a->discard)
		ioctl(l->fd, BLKDISCARD, range);
}

void device_release(const struct attachment *a)
{
	struct look l = { .fd = -1 };
	struct node n = { .kdev = a->kdev, .fd = -1 };
	struct swap_area area;

	l.page_size = (size_t)sysconf(_SC_PAGESIZE);
	if (open_node(&n) != 1)
		return;
	l.fd = n.fd;
	if (!read_ends(a, &l)) {
		swap_area_probe(l.head, l.head_len, l.tail, l.tail_len, l.page_size,
				a->size_bytes, &area);
		if (area.owned && !strcmp(area.owner.attach, a->uuid)) {
			trim(a, &l);
			swap_area_own(l.head, NULL);
			write_header(&l);
		}
	}
	look_fini(&l);
}
