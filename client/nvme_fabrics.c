/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Option strings to the kernel's fabrics device, controllers out of it; and one admin
 * command, the discovery log page, for good error messages. Main thread.
 */
#include "client/nvme_fabrics.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/file.h"
#include "client/modprobe.h"
#include "client/say.h"
#include "lib/cleanup.h"
#include "lib/proto/nvme.h"

#define DEVICE "/dev/nvme-fabrics"

#define DISCOVERY_ENTRIES_MAX 1024

int nvme_fabrics_ready(void)
{
	/* nvme_tcp brings nvme_fabrics, and with it the device. */
	if (access(DEVICE, F_OK) || access("/sys/module/nvme_tcp", F_OK))
		if (modprobe_load("nvme-tcp", NULL))
			return -ENOENT;
	if (!access(DEVICE, R_OK | W_OK))
		return 0;
	say_error("%s is not there although the module is loaded: is /dev a devtmpfs?",
		  DEVICE);
	return -ENODEV;
}

/* Read without having written, the device lists the options it takes (Linux 5.17). */
static bool has_option(const char *option)
{
	_cleanup_close_ int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	char known[4096];
	ssize_t n = fd < 0 ? -1 : read(fd, known, sizeof(known) - 1);

	if (n < 0)
		return false;
	known[n] = '\0';
	return strstr(known, option) != NULL;
}

bool nvme_fabrics_has_auth(void)
{
	return has_option("dhchap_secret=%s");
}

bool nvme_fabrics_has_tls(void)
{
	return has_option("tls_key=%d");
}

bool nvme_fabrics_has_concat(void)
{
	return has_option(",concat");
}

/* The kernel's log, from now on; it alone says why a controller was refused. */
static int open_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/* The last line about NVMe that came meanwhile, without its head and tail. */
static void read_log(int fd, char *said, size_t len)
{
	char record[2048];

	said[0] = '\0';
	while (fd >= 0) {
		ssize_t n = read(fd, record, sizeof(record) - 1);
		char *text;

		if (n < 0 && errno == EPIPE)
			continue; /* overwritten; the next read goes on */
		if (n <= 0)
			return;
		record[n] = '\0';
		record[strcspn(record, "\n")] = '\0';
		text = strchr(record, ';');
		/* Neither is a secret that it repeats for anybody's eyes. */
		if (text && !strncmp(text + 1, "nvme", 4) && !strstr(text, "DHHC"))
			snprintf(said, len, "%.200s", text + 1);
	}
}

int nvme_fabrics_connect(const struct nvme_options *o, char *controller, char *said,
			 size_t said_len)
{
	_cleanup_close_ int fd = -1, log = open_log();
	char text[NVME_OPTIONS_MAX + 1], answer[128];
	unsigned int instance;
	ssize_t n;
	int r = nvme_options_format(o, text, sizeof(text));

	said[0] = '\0';
	if (r)
		return r;
	fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	r = n < 0 ? -errno : 0;
	explicit_bzero(text, sizeof(text));
	if (r < 0) {
		read_log(log, said, said_len);
		return r;
	}
	n = pread(fd, answer, sizeof(answer) - 1, 0);
	if (n < 0)
		return -errno;
	answer[n] = '\0';
	r = nvme_options_instance(answer, &instance);
	if (!r)
		sprintf(controller, "nvme%u", instance);
	return r;
}

int nvme_fabrics_delete(const char *controller)
{
	char path[128];
	int r;

	snprintf(path, sizeof(path), "/sys/class/nvme/%s/delete_controller",
		 controller);
	r = file_write(path, "1");
	return r == -ENOENT || r == -ENODEV ? 0 : r;
}

static int get_log(int fd, void *buf, uint32_t len, uint64_t offset)
{
	struct nvme_admin_cmd c = {
		.opcode = 0x02, /* Get Log Page; NVMe Base 2.0, 5.16 */
		.addr = (uintptr_t)buf,
		.data_len = len,
		.cdw10 = (len / 4 - 1) << 16 | 0x70, /* discovery log */
		.cdw12 = (uint32_t)offset,
		.cdw13 = (uint32_t)(offset >> 32),
	};
	int r = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &c);

	if (r < 0)
		return -errno;
	return r ? -EIO : 0;
}

static int read_discovery(int fd, void (*found)(void *, const char *), void *arg)
{
	_cleanup_free_ struct nvme_discovery_hdr *h = calloc(1, sizeof(*h));
	struct nvme_discovery_entry e;
	uint64_t nr;
	int r = h ? get_log(fd, h, sizeof(*h), 0) : -ENOMEM;

	if (r)
		return r;
	nr = le64toh(h->numrec);
	for (uint64_t i = 0; i < nr && i < DISCOVERY_ENTRIES_MAX; i++) {
		r = get_log(fd, &e, sizeof(e), sizeof(*h) + i * sizeof(e));
		if (r)
			return r;
		e.subnqn[sizeof(e.subnqn) - 1] = '\0';
		if (e.subtype == NVME_SUBTYPE_NVME)
			found(arg, e.subnqn);
	}
	return 0;
}

int nvme_fabrics_discover(const struct nvme_options *o,
			  void (*found)(void *arg, const char *nqn), void *arg)
{
	struct nvme_options d = *o;
	char controller[32], path[64], said[256];
	int r;

	d.nqn = NVME_OPTIONS_DISCOVERY;
	r = nvme_fabrics_connect(&d, controller, said, sizeof(said));
	if (r)
		return r;
	snprintf(path, sizeof(path), "/dev/%s", controller);
	{
		_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);

		r = fd < 0 ? -errno : read_discovery(fd, found, arg);
	}
	nvme_fabrics_delete(controller);
	return r;
}
