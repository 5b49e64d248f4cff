/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What memswap reads from the kernel and writes to it as text: /proc/swaps,
 * /proc/meminfo, the fabrics option string, NVMe in sysfs, the sysctl's rule, and
 * /etc/memswap.urls; and UUIDs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cgroups.h"
#include "client/file.h"
#include "client/meminfo.h"
#include "client/nvme_options.h"
#include "client/nvme_sysfs.h"
#include "client/request_queue.h"
#include "client/swaps.h"
#include "client/tls_key.h"
#include "client/tune.h"
#include "client/urls_file.h"
#include "client/uuid.h"

static void the_swap_table_is_read(void **state)
{
	struct swaps s;

	swaps_parse(
		"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
		"/dev/nbd0                               "
		"partition\t262140\t\t512\t\t5\n"
		"/swap\\040file\\134x                       file\t\t1000\t\t0\t\t-2\n"
		"/dev/nvme0n1\\040(deleted)              partition\t1024\t\t8\t\t-3\n",
		&s);
	assert_int_equal(s.nr, 3);
	assert_int_equal(s.entry[0].used_bytes, 512 << 10);
	assert_int_equal(s.entry[0].priority, 5);
	assert_string_equal(s.entry[1].path, "/swap file\\x");
	assert_int_equal(s.entry[1].priority, -2);
	assert_ptr_equal(swaps_find(&s, "nbd0"), &s.entry[0]);
	assert_ptr_equal(swaps_find(&s, "nvme0n1"), &s.entry[2]);
	assert_null(swaps_find(&s, "nbd"));
	assert_null(swaps_find(&s, "nbd00"));
	assert_int_equal(swaps_next_priority(&s), 6);
}

static void what_was_read_back_from_swap_needs_no_room(void **state)
{
	struct swaps s = { .nr = 2,
			   .entry = { { .used_bytes = 30 << 20 },
				      { .used_bytes = 5 << 20 } } };

	assert_int_equal(swaps_not_in_memory(&s, &s.entry[0], 0), 30 << 20);
	/* The first 5 MiB may all be the other's. */
	assert_int_equal(swaps_not_in_memory(&s, &s.entry[0], 5 << 20), 30 << 20);
	assert_int_equal(swaps_not_in_memory(&s, &s.entry[0], 12 << 20), 23 << 20);
	assert_int_equal(swaps_not_in_memory(&s, &s.entry[0], 99 << 20), 0);
	assert_int_equal(swaps_not_in_memory(&s, &s.entry[1], 30 << 20), 5 << 20);
	assert_int_equal(swaps_not_in_memory(&s, &s.entry[1], 31 << 20), 4 << 20);
}

static void an_empty_swap_table_gives_the_lowest_priority(void **state)
{
	struct swaps s;

	swaps_parse("Filename Type Size Used Priority\n", &s);
	assert_int_equal(s.nr, 0);
	assert_int_equal(swaps_next_priority(&s), 1);
	swaps_parse("", &s);
	assert_int_equal(s.nr, 0);
	swaps_parse("h\n/x file 1 1 32767\n", &s);
	assert_int_equal(swaps_next_priority(&s), 32767);
}

static void a_longer_swap_table_than_there_can_be_is_cut(void **state)
{
	char text[SWAPS_MAX * 64];
	struct swaps s;
	size_t n = (size_t)sprintf(text, "h\n");

	for (int i = 0; i < SWAPS_MAX + 5; i++)
		n += (size_t)sprintf(text + n, "/dev/x%d file 1 1 1\n", i);
	swaps_parse(text, &s);
	assert_int_equal(s.nr, SWAPS_MAX);
}

static void meminfo_is_read(void **state)
{
	struct meminfo m;

	assert_int_equal(meminfo_parse("MemTotal:         245852 kB\n"
				       "MemFree:           43000 kB\n"
				       "MemAvailable:      77844 kB\n"
				       "SwapCached:           12 kB\n",
				       &m),
			 0);
	assert_int_equal(m.total_bytes, UINT64_C(245852) << 10);
	assert_int_equal(m.available_bytes, UINT64_C(77844) << 10);
	assert_int_equal(meminfo_parse("MemTotal: 1 kB\nXMemAvailable: 1 kB\n", &m),
			 -EIO);
}

static void the_memory_reserve_grows_with_the_ram(void **state)
{
	assert_int_equal(tune_min_free_kb(128 << 10), 8 << 10);
	assert_int_equal(tune_min_free_kb(256 << 10), 16 << 10);
	assert_int_equal(tune_min_free_kb(4 << 20), 16 << 10);
	assert_int_equal(tune_min_free_kb(16 << 20), 32 << 10);
	assert_int_equal(tune_min_free_kb(1 << 30), 128 << 10);
}

static const struct nvme_options good = {
	.traddr = "10.0.2.2",
	.port = 4420,
	.nqn = "nqn.2026-11.io.remem:default",
	.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:x",
	.hostid = "i",
};

static void a_host_with_many_cpus_has_few_queues(void **state)
{
	assert_int_equal(request_queues(-1), 1);
	assert_int_equal(request_queues(1), 1);
	assert_int_equal(request_queues(4), 4);
	assert_int_equal(request_queues(256), 4);
}

static void the_fabrics_options_are_those_for_swap(void **state)
{
	struct nvme_options o = good;
	char text[NVME_OPTIONS_MAX + 1];

	assert_int_equal(nvme_options_format(&o, text, sizeof(text)), 0);
	assert_string_equal(text,
			    "transport=tcp,traddr=10.0.2.2,trsvcid=4420,"
			    "nqn=nqn.2026-11.io.remem:default,"
			    "hostnqn=nqn.2014-08.org.nvmexpress:uuid:x,hostid=i,"
			    "ctrl_loss_tmo=-1,reconnect_delay=2,keep_alive_tmo=30");
	o.nr_io_queues = 3;
	o.queue_size = 64;
	o.hdr_digest = o.data_digest = true;
	o.secret = "DHHC-1:00:a+/=:";
	o.ctrl_secret = "DHHC-1:01:b:";
	assert_int_equal(nvme_options_format(&o, text, sizeof(text)), 0);
	assert_non_null(
		strstr(text, ",nr_io_queues=3,queue_size=64,hdr_digest,data_digest"));
	assert_non_null(strstr(text, ",dhchap_secret=DHHC-1:00:a+/=:"
				     ",dhchap_ctrl_secret=DHHC-1:01:b:"));
	assert_null(strstr(text, "tls"));
	o.concat = true;
	assert_int_equal(nvme_options_format(&o, text, sizeof(text)), 0);
	assert_non_null(strstr(text, ",concat,dhchap_secret="));
	o.concat = false;
	o.tls = true;
	assert_int_equal(nvme_options_format(&o, text, sizeof(text)), 0);
	assert_non_null(strstr(text, ",tls,dhchap_secret="));
	o.tls_key = 0x1bc63b00;
	assert_int_equal(nvme_options_format(&o, text, sizeof(text)), 0);
	assert_non_null(strstr(text, ",tls,tls_key=465976064,dhchap_secret="));
	o.nqn = NVME_OPTIONS_DISCOVERY;
	assert_int_equal(nvme_options_format(&o, text, sizeof(text)), 0);
	assert_null(strstr(text, "queue"));
	assert_null(strstr(text, "loss"));
	assert_null(strstr(text, "DHHC"));
}

static void the_keyring_is_found_by_its_name(void **state)
{
	static const char text[] =
		"017518ed I------     1 perm 1f1f0000     0     0 keyring   .nvme.x: "
		"empty\n"
		"017518ee I------     1 perm 1f1f0000     0     0 psk       .nvme: 32\n"
		"garbage\n\n"
		"2a7518ef I--Q---    12 perm 1f3f0000     0 65534 keyring   _uid.0: "
		"empty\n"
		"f17518f0 I------     1 perm 1f1f0000     0     0 keyring   .nvme: 3";
	int32_t serial = 0;

	assert_int_equal(tls_key_find_keyring(text, ".nvme", &serial), 0);
	assert_int_equal((uint32_t)serial, 0xf17518f0u);
	assert_int_equal(tls_key_find_keyring(text, ".nvm", &serial), -ENOENT);
	assert_int_equal(tls_key_find_keyring("", ".nvme", &serial), -ENOENT);
	assert_int_equal(
		tls_key_find_keyring("1 2 3 4 5 6 7 keyring .nvme", ".nvme", &serial),
		-ENOENT);
}

static void a_value_cannot_smuggle_an_option(void **state)
{
	struct nvme_options o = good;
	char text[NVME_OPTIONS_MAX + 1], nqn[NVME_OPTIONS_NQN_MAX + 1];

	o.nqn = "nqn.x,ctrl_loss_tmo=0";
	assert_int_equal(nvme_options_format(&o, text, sizeof(text)), -EINVAL);
	o = good;
	o.secret = "DHHC-1:00:x:,nr_io_queues=1";
	assert_int_equal(nvme_options_format(&o, text, sizeof(text)), -EINVAL);
	o = good;
	o.hostnqn = "a\nb";
	assert_int_equal(nvme_options_format(&o, text, sizeof(text)), -EINVAL);
	o = good;
	o.traddr = "";
	assert_int_equal(nvme_options_format(&o, text, sizeof(text)), -EINVAL);
	assert_int_equal(nvme_options_format(&good, text, 40), -ENAMETOOLONG);
	assert_int_equal(nvme_options_nqn("a,b", nqn, sizeof(nqn)), -EINVAL);
	assert_int_equal(nvme_options_nqn("default", nqn, sizeof(nqn)), 0);
	assert_string_equal(nqn, "nqn.2026-11.io.remem:default");
	assert_int_equal(nvme_options_nqn("nqn.a:b", nqn, sizeof(nqn)), 0);
	assert_string_equal(nqn, "nqn.a:b");
}

static void the_kernels_answer_is_read(void **state)
{
	unsigned int n = 7;

	assert_int_equal(nvme_options_instance("instance=12,cntlid=3\n", &n), 0);
	assert_int_equal(n, 12);
	assert_int_equal(nvme_options_instance("instance=x", &n), -EPROTO);
	assert_int_equal(nvme_options_instance("", &n), -EPROTO);
}

static char sys[64];

static void put(const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", sys, file);
	for (char *p = path + strlen(sys) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(path, 0755);
		*p = '/';
	}
	assert_int_equal(file_create(path, text), 0);
}

static int make_sys(void **state)
{
	strcpy(sys, "/tmp/memswap-sys.XXXXXX");
	return mkdtemp(sys) ? 0 : -1;
}

static int remove_sys(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", sys);
	return system(command);
}

/* Two controllers; the second has a multipath path of another subsystem number. */
static void make_tree(void)
{
	put("class/nvme/nvme0/transport", "tcp\n");
	put("class/nvme/nvme0/subsysnqn", "nqn.a\n");
	put("class/nvme/nvme0/address",
	    "traddr=10.0.0.1,trsvcid=4420,src_addr=10.0.0.2\n");
	put("class/nvme/nvme0/nvme0n1/nsid", "9\n");
	put("class/nvme/nvme0/nvme0n2/nsid", "4\n");
	put("block/nvme0n1/nsid", "9\n");
	put("block/nvme0n1/size", "100\n");
	put("block/nvme0n2/nsid", "4\n");
	put("block/nvme0n2/size", "0\n");
	put("class/nvme/nvme1/transport", "tcp\n");
	put("class/nvme/nvme1/subsysnqn", "nqn.b\n");
	put("class/nvme/nvme1/address", "traddr=10.0.0.1,trsvcid=44200\n");
	put("class/nvme/nvme1/nvme3c1n1/nsid", "1\n");
	put("block/nvme3n1/nsid", "1\n");
	put("block/nvme3n1/size", "8\n");
	put("class/nvme/nvme2/transport", "pcie\n");
	put("class/nvme/nvme2/subsysnqn", "nqn.c\n");
	put("class/nvme/nvme2/address", "0000:00:01.0\n");
	put("class/nvme/nvme2/hwmon1/x", "\n");
}

/* A group with this memory in use, limit and swap; a quarter of what it uses is cached
 * files, 4 KiB of what it has swapped out in memory too. */
static void put_group(const char *name, const char *max, unsigned int current_kb,
		      unsigned int swapped_kb)
{
	char file[128], text[256];

	snprintf(file, sizeof(file), "%s/memory.max", name);
	put(file, max);
	snprintf(file, sizeof(file), "%s/memory.current", name);
	snprintf(text, sizeof(text), "%u\n", current_kb << 10);
	put(file, text);
	snprintf(file, sizeof(file), "%s/memory.swap.current", name);
	snprintf(text, sizeof(text), "%u\n", (swapped_kb + 4) << 10);
	put(file, text);
	snprintf(file, sizeof(file), "%s/memory.stat", name);
	snprintf(text, sizeof(text),
		 "anon 1\nfile 999999\nswapcached 4096\ninactive_file %u\n"
		 "active_file %u\nslab_reclaimable 0\n",
		 current_kb << 7, current_kb << 7);
	put(file, text);
}

static void the_group_that_lacks_most_is_found(void **state)
{
	struct cgroups_short s;

	put("memory.stat", "anon 7\n"); /* the root's own: no limit, no swap */
	assert_false(cgroups_find_short(sys, UINT64_MAX, 0, &s));
	put_group("fits", "1048576\n", 1024, 256);
	put_group("none", "max\n", 1024, 900000);
	assert_false(cgroups_find_short(sys, UINT64_MAX, 0, &s));
	put_group("a/lacks", "1048576\n", 1000, 512);
	put_group("a/more", "1048576\n", 1024, 600);
	assert_true(cgroups_find_short(sys, UINT64_MAX, 0, &s));
	assert_string_equal(s.path, "/a/more");
	assert_int_equal(s.swapped_bytes, 600 << 10);
	assert_int_equal(s.room_bytes, 256 << 10);
	assert_int_equal(s.max_bytes, 1 << 20);
	/* Other swap takes the difference, or the area holds less than the groups have. */
	assert_true(cgroups_find_short(sys, UINT64_MAX, 343 << 10, &s));
	assert_false(cgroups_find_short(sys, UINT64_MAX, 344 << 10, &s));
	assert_false(cgroups_find_short(sys, 256 << 10, 0, &s));
}

static void the_disk_of_a_controller_is_found(void **state)
{
	char kdev[NVME_SYSFS_NAME_MAX + 1], path[256];

	make_tree();
	assert_int_equal(nvme_sysfs_disk(sys, "nvme0", kdev), 0);
	assert_string_equal(kdev, "nvme0n1"); /* n2 has no size yet */
	put("block/nvme0n2/size", "8\n");
	assert_int_equal(nvme_sysfs_disk(sys, "nvme0", kdev), 0);
	assert_string_equal(kdev, "nvme0n2"); /* its number is lower */
	assert_int_equal(nvme_sysfs_disk(sys, "nvme1", kdev), 0);
	assert_string_equal(kdev, "nvme3n1"); /* the head of a multipath */
	assert_int_equal(nvme_sysfs_disk(sys, "nvme2", kdev), -ENODEV);
	assert_int_equal(nvme_sysfs_disk(sys, "nvme9", kdev), -ENOENT);
	assert_int_equal(nvme_sysfs_has_disk(sys, "nvme1", "nvme3n1"), 0);
	assert_int_equal(nvme_sysfs_has_disk(sys, "nvme1", "nvme0n1"), -ENODEV);
	assert_int_equal(nvme_sysfs_way(sys, "nvme1", "nvme3n1", path, sizeof(path)),
			 0);
	assert_non_null(strstr(path, "/class/nvme/nvme1/nvme3c1n1"));
	assert_int_equal(nvme_sysfs_way(sys, "nvme1", "nvme3n1", path, 20),
			 -ENAMETOOLONG);
	assert_int_equal(nvme_sysfs_way(sys, "nvme1", "nvme0n1", path, sizeof(path)),
			 -ENODEV);
}

static void a_controller_is_found_by_name_and_address(void **state)
{
	char c[NVME_SYSFS_NAME_MAX + 1];

	make_tree();
	assert_int_equal(nvme_sysfs_find(sys, "nqn.a", "10.0.0.1", 4420, c), 0);
	assert_string_equal(c, "nvme0");
	assert_int_equal(nvme_sysfs_find(sys, "nqn.b", "10.0.0.1", 4420, c), -ENOENT);
	assert_int_equal(nvme_sysfs_find(sys, "nqn.b", NULL, 0, c), 0);
	assert_string_equal(c, "nvme1");
	assert_int_equal(nvme_sysfs_find(sys, "nqn.c", NULL, 0, c), -ENOENT);
	assert_int_equal(nvme_sysfs_find(sys, "nqn.a", "10.0.0.10", 4420, c), -ENOENT);
}

static void lines_become_arguments(void **state)
{
	char *argv[URLS_FILE_WORDS + 1];
	char line[] = " nbd://h/x\t-p 5  --no-discard # why\n",
	     none[] = "  # only this\n", empty[] = "\n", many[URLS_FILE_WORDS * 2 + 1];

	assert_int_equal(urls_file_words(line, argv), 5);
	assert_string_equal(argv[0], "on");
	assert_string_equal(argv[1], "nbd://h/x");
	assert_string_equal(argv[4], "--no-discard");
	assert_null(argv[5]);
	assert_int_equal(urls_file_words(none, argv), 1);
	assert_int_equal(urls_file_words(empty, argv), 1);
	for (size_t i = 0; i < sizeof(many) - 1; i++)
		many[i] = i % 2 ? ' ' : 'x';
	many[sizeof(many) - 1] = '\0';
	assert_int_equal(urls_file_words(many, argv), -E2BIG);
}

static void a_uuid_survives_its_text(void **state)
{
	uint8_t a[16], b[16];
	char text[UUID_TEXT_MAX + 1];

	assert_int_equal(uuid_new(a), 0);
	uuid_format(a, text);
	assert_int_equal(uuid_parse(text, b), 0);
	assert_memory_equal(a, b, 16);
	assert_int_equal(text[14], '4');
	text[3] = ' ';
	assert_int_equal(uuid_parse(text, b), -EINVAL);
	assert_int_equal(uuid_parse("", b), -EINVAL);
	assert_int_equal(uuid_parse("0123456789abcdef0123456789abcdef0123", b),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_swap_table_is_read),
		cmocka_unit_test(what_was_read_back_from_swap_needs_no_room),
		cmocka_unit_test(an_empty_swap_table_gives_the_lowest_priority),
		cmocka_unit_test(a_longer_swap_table_than_there_can_be_is_cut),
		cmocka_unit_test(meminfo_is_read),
		cmocka_unit_test(the_memory_reserve_grows_with_the_ram),
		cmocka_unit_test(a_host_with_many_cpus_has_few_queues),
		cmocka_unit_test(the_fabrics_options_are_those_for_swap),
		cmocka_unit_test(the_keyring_is_found_by_its_name),
		cmocka_unit_test(a_value_cannot_smuggle_an_option),
		cmocka_unit_test(the_kernels_answer_is_read),
		cmocka_unit_test_setup_teardown(the_group_that_lacks_most_is_found,
						make_sys, remove_sys),
		cmocka_unit_test_setup_teardown(the_disk_of_a_controller_is_found,
						make_sys, remove_sys),
		cmocka_unit_test_setup_teardown(
			a_controller_is_found_by_name_and_address, make_sys,
			remove_sys),
		cmocka_unit_test(lines_become_arguments),
		cmocka_unit_test(a_uuid_survives_its_text),
	};

	return cmocka_run_group_tests_name("client/kernel_text", tests, NULL, NULL);
}
