/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first and last bytes of a device in, what they are out. Pure; any thread. */
#include "client/swap_area.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Linux, union swap_header; in the CPU's byte order, as the kernel reads it. */
struct header {
	char bootbits[1024];
	uint32_t version, last_page, nr_badpages;
	uint8_t uuid[16];
	char label[16];
};
_Static_assert(sizeof(struct header) == 1068, "include/linux/swap.h");

#define MAGIC     "SWAPSPACE2"
#define MAGIC_LEN 10

#define OWNER_MAGIC "memswap-owner 1\n"
#define OWNER_MAX   500 /* clear of an MBR's signature at 510 */

static const struct magic {
	const char *what;
	uint32_t offset;
	uint8_t len;
	const char *bytes;
} magics[] = {
	{ "an ext2/3/4 file system", 1080, 2, "\x53\xef" },
	{ "an XFS file system", 0, 4, "XFSB" },
	{ "a btrfs file system", 65600, 8, "_BHRfS_M" },
	{ "a LUKS encrypted volume", 0, 6, "LUKS\xba\xbe" },
	{ "an LVM physical volume", 0, 8, "LABELONE" },
	{ "an LVM physical volume", 512, 8, "LABELONE" },
	{ "an LVM physical volume", 1024, 8, "LABELONE" },
	{ "an LVM physical volume", 1536, 8, "LABELONE" },
	{ "a member of an md array", 0, 4, "\xfc\x4e\x2b\xa9" },
	{ "a member of an md array", 4096, 4, "\xfc\x4e\x2b\xa9" },
	{ "a GPT partition table", 512, 8, "EFI PART" },
	{ "a GPT partition table", 4096, 8, "EFI PART" },
	{ "an F2FS file system", 1024, 4, "\x10\x20\xf5\xf2" },
	{ "a SquashFS file system", 0, 4, "hsqs" },
	{ "an NTFS file system", 3, 8, "NTFS    " },
	{ "an exFAT file system", 3, 8, "EXFAT   " },
	{ "a FAT file system", 54, 3, "FAT" },
	{ "a FAT file system", 82, 3, "FAT" },
	{ "an ISO 9660 file system", 32769, 5, "CD001" },
	{ "a JFS file system", 32768, 4, "JFS1" },
	{ "a ReiserFS file system", 65588, 6, "ReIsEr" },
	{ "a bcache device", 4120, 8, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca" },
	{ "a ZFS pool member", 131072, 8, "\x0c\xb1\xba\x00\0\0\0\0" },
	/* last: every boot sector has it, also those named above */
	{ "a partition table or boot sector", 510, 2, "\x55\xaa" },
};

/* Hibernation images stand where the swap signature stood: somebody's sleeping RAM. */
static const char *const sleepers[] = { "S1SUSPEND", "S2SUSPEND", "ULSUSPEND",
					"LINHIB0001", "TuxOnIce" };

/* last_page is 32 bits; what lies beyond stays unused. */
static uint32_t count_pages(uint64_t size_bytes, size_t page_size)
{
	uint64_t pages = size_bytes / page_size;

	return pages > UINT32_MAX ? UINT32_MAX : (uint32_t)pages;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

static size_t first_non_zero(const uint8_t *p, size_t len)
{
	size_t i = 0;

	while (i < len && !p[i])
		i++;
	return i;
}

/* The first signature that lies wholly before `end`. */
static const struct magic *find_magic(const uint8_t *head, size_t end)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		const struct magic *m = &magics[i];

		if ((uint64_t)m->offset + m->len <= end &&
		    !memcmp(head + m->offset, m->bytes, m->len))
			return m;
	}
	return NULL;
}

static bool is_sleeper(const uint8_t *sig)
{
	for (size_t i = 0; i < sizeof(sleepers) / sizeof(sleepers[0]); i++) {
		size_t n = strlen(sleepers[i]);

		if (!memcmp(sig, sleepers[i], n < MAGIC_LEN ? n : MAGIC_LEN))
			return true;
	}
	return false;
}

/* The page size for which a signature stands at the end of the first page, or 0. */
static size_t find_signature(const uint8_t *head, size_t head_len, bool *ret_asleep)
{
	for (size_t page = 4096; page <= SWAP_AREA_PAGE_MAX && page <= head_len;
	     page *= 2) {
		const uint8_t *sig = head + page - MAGIC_LEN;

		*ret_asleep = is_sleeper(sig);
		if (*ret_asleep || !memcmp(sig, MAGIC, MAGIC_LEN) ||
		    !memcmp(sig, "SWAP-SPACE", MAGIC_LEN))
			return page;
	}
	return 0;
}

static void foreign(struct swap_area *a, const char *what, uint64_t where)
{
	a->kind = SWAP_AREA_FOREIGN;
	a->what = what;
	a->where = where;
}

/* One "key=value\n" of the owner's text. */
static void owner_field(const char *text, const char *key, char *out, size_t max)
{
	const char *line = strstr(text, key);
	size_t n;

	if (!line)
		return;
	line += strlen(key);
	n = strcspn(line, "\n");
	if (n > max - 1)
		n = max - 1;
	for (size_t i = 0; i < n; i++)
		out[i] = line[i] < ' ' || line[i] > '~' ? '?' : line[i];
	out[n] = '\0';
}

static bool read_owner(const uint8_t *head, struct swap_area_owner *ret)
{
	char text[OWNER_MAX + 1];

	memcpy(text, head, OWNER_MAX);
	text[OWNER_MAX] = '\0';
	if (strncmp(text, OWNER_MAGIC, strlen(OWNER_MAGIC)))
		return false;
	memset(ret, 0, sizeof(*ret));
	owner_field(text, "\nhost=", ret->host, sizeof(ret->host));
	owner_field(text, "\nmachine=", ret->machine, sizeof(ret->machine));
	owner_field(text, "\nboot=", ret->boot, sizeof(ret->boot));
	owner_field(text, "\nattach=", ret->attach, sizeof(ret->attach));
	return true;
}

/* A page that ends in a swap signature made for pages of `sig_page` bytes. */
static void probe_swap(const uint8_t *head, size_t sig_page, size_t page_size,
		       uint64_t size_bytes, struct swap_area *a)
{
	const struct magic *m;
	struct header h;

	memcpy(&h, head, sizeof(h));
	a->owned = read_owner(head, &a->owner);
	/* What lies further in is swapped memory and may look like anything. */
	m = a->owned ? NULL : find_magic(head, 4096 - MAGIC_LEN);
	if (m) {
		foreign(a, m->what, m->offset);
		return;
	}
	memcpy(a->uuid, h.uuid, sizeof(a->uuid));
	memcpy(a->label, h.label, sizeof(h.label));
	a->kind = SWAP_AREA_REDO;
	if (sig_page == page_size && h.version == 1 && !h.nr_badpages &&
	    !memcmp(head + page_size - MAGIC_LEN, MAGIC, MAGIC_LEN) &&
	    h.last_page == count_pages(size_bytes, page_size) - 1)
		a->kind = SWAP_AREA_SWAP;
}

static void probe_other(const uint8_t *head, size_t head_len, const uint8_t *tail,
			size_t tail_len, uint64_t size_bytes, struct swap_area *a)
{
	const struct magic *m = find_magic(head, head_len);
	size_t at = first_non_zero(head, head_len);

	if (m) {
		foreign(a, m->what, m->offset);
		return;
	}
	if (at < head_len) {
		foreign(a, "unknown data", at);
		return;
	}
	if (all_zero(tail, tail_len)) {
		a->kind = SWAP_AREA_BLANK;
		return;
	}
	at = first_non_zero(tail, tail_len);
	foreign(a, "data at its end (a RAID member or a backup partition table?)",
		size_bytes - tail_len + at);
}

void swap_area_probe(const uint8_t *head, size_t head_len, const uint8_t *tail,
		     size_t tail_len, size_t page_size, uint64_t size_bytes,
		     struct swap_area *ret)
{
	bool asleep = false;
	size_t sig_page = find_signature(head, head_len, &asleep);

	memset(ret, 0, sizeof(*ret));
	if (asleep)
		foreign(ret, "a hibernated system", sig_page - MAGIC_LEN);
	else if (sig_page)
		probe_swap(head, sig_page, page_size, size_bytes, ret);
	else
		probe_other(head, head_len, tail, tail_len, size_bytes, ret);
}

int swap_area_format(uint8_t *page, size_t page_size, uint64_t size_bytes,
		     const uint8_t uuid[16], const char *label)
{
	uint32_t pages = count_pages(size_bytes, page_size);
	struct header h = { .version = 1 };

	if (pages < SWAP_AREA_MIN_PAGES)
		return -EINVAL;
	h.last_page = pages - 1;
	memcpy(h.uuid, uuid, sizeof(h.uuid));
	memcpy(h.label, label, strnlen(label, sizeof(h.label)));
	memset(page, 0, page_size);
	memcpy(page, &h, sizeof(h));
	memcpy(page + page_size - MAGIC_LEN, MAGIC, MAGIC_LEN);
	return 0;
}

bool swap_area_has_uuid(const uint8_t *head, const uint8_t uuid[16])
{
	return !memcmp(head + offsetof(struct header, uuid), uuid, 16);
}

void swap_area_own(uint8_t *page, const struct swap_area_owner *o)
{
	char text[OWNER_MAX] = "";

	if (o)
		snprintf(text, sizeof(text),
			 OWNER_MAGIC "host=%s\nmachine=%s\nboot=%s\nattach=%s\n",
			 o->host, o->machine, o->boot, o->attach);
	memset(page, 0, 1024);
	memcpy(page, text, sizeof(text));
}
