/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PID 1 of a guest that is to be paged while devices write into its memory: a disk that
 * it reads with O_DIRECT, a network card. All the while it works at random on memory full of
 * patterns, so that everything else has to leave. On the kernel's command line:
 *
 *	pageio_mib=N    memory to work on
 *	pageio_disk=1   16 threads read stretches of /dev/vda, whose 64-bit words are
 *			pattern(their number), and compare every word, until the next
 *			newline; each read is a line on the console
 *	pageio_net=1    10.77.0.2 port 7777: a stream of such words comes in, is compared and
 *			goes back, until the other side is done
 *
 * It waits for a newline once it has filled its memory, and says at last how it was.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/vm/pageguest.h"

#define READERS      16
#define READ_BYTES   65536
#define STREAM_BYTES 16384

static atomic_uint jobs; /* under way */
static _Atomic uint64_t bad_reads, good_reads, streamed, bad_words;

static uint64_t pattern(uint64_t word)
{
	return (word + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t wrong(const uint64_t *w, uint64_t first, size_t n)
{
	uint64_t bad = 0;

	for (size_t i = 0; i < n; i++)
		bad += w[i] != pattern(first + i);
	return bad;
}

/* ---- the disk ---- */

struct reader {
	pthread_t thread;
	uint64_t seed, stretches;
	uint64_t *buffer;
};

static void *read_disk(void *arg)
{
	struct reader *r = arg;
	int fd = open("/dev/vda", O_RDONLY | O_DIRECT | O_CLOEXEC);

	while (!newline()) {
		uint64_t at = mix(r->seed++) % r->stretches * READ_BYTES;
		ssize_t n = pread(fd, r->buffer, READ_BYTES, (off_t)at);
		bool good =
			n == READ_BYTES && !wrong(r->buffer, at / 8, READ_BYTES / 8);

		printf("pageio: read %s\n", good ? "right" : "wrong");
		if (good)
			good_reads++;
		else
			bad_reads++;
	}
	close(fd);
	jobs--;
	return NULL;
}

static void start_readers(void)
{
	static struct reader reader[READERS];
	int fd = open("/dev/vda", O_RDONLY | O_CLOEXEC);
	off_t size = lseek(fd, 0, SEEK_END);

	close(fd);
	if (size < READ_BYTES) {
		printf("pageio: no disk\n");
		return;
	}
	for (unsigned int i = 0; i < READERS; i++) {
		reader[i] = (struct reader){
			.seed = i << 20,
			.stretches = (uint64_t)size / READ_BYTES,
			.buffer = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		};
		jobs++;
		pthread_create(&reader[i].thread, NULL, read_disk, &reader[i]);
	}
}

/* ---- the network ---- */

static int listen_at(const char *address, uint16_t port)
{
	struct ifreq ifr = { .ifr_name = "eth0" };
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	inet_pton(AF_INET, address, &a.sin_addr);
	memcpy(&ifr.ifr_addr, &a, sizeof(a));
	if (ioctl(fd, SIOCSIFADDR, &ifr) < 0)
		return -1;
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	a.sin_port = htons(port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1) < 0)
		return -1;
	return fd;
}

static bool write_all(int fd, const uint8_t *from, size_t len)
{
	while (len) {
		ssize_t n = write(fd, from, len);

		if (n <= 0)
			return false;
		from += n;
		len -= (size_t)n;
	}
	return true;
}

static void *echo(void *arg)
{
	static uint64_t buffer[STREAM_BYTES / 8];
	int server = *(int *)arg, fd = accept(server, NULL, NULL);
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof(buffer), MSG_WAITALL)) > 0) {
		bad_words += wrong(buffer, streamed / 8, (size_t)n / 8);
		streamed += (uint64_t)n;
		if (!write_all(fd, (uint8_t *)buffer, (size_t)n))
			break;
	}
	close(fd);
	jobs--;
	return NULL;
}

static void start_echo(void)
{
	static pthread_t thread;
	static int fd;

	fd = listen_at("10.77.0.2", 7777);
	if (fd < 0) {
		printf("pageio: no network: %s\n", strerror(errno));
		return;
	}
	jobs++;
	pthread_create(&thread, NULL, echo, &fd);
	printf("pageio: listens\n");
}

int main(void)
{
	uint64_t bad = 0, seed = 1, accesses = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	load_modules();
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	nr = argument("pageio_mib", 64) * 256;
	mem = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	version = calloc(nr, sizeof(*version));
	for (uint64_t n = 0; n < nr; n++)
		write_page(n);
	printf("pageio: filled\n");
	getchar();
	if (argument("pageio_disk", 0))
		start_readers();
	if (argument("pageio_net", 0))
		start_echo();
	for (; jobs; accesses++) {
		uint64_t n = mix(seed++) % nr;

		bad += check_page(n);
		if (mix(seed++) % 2)
			write_page(n);
	}
	for (uint64_t n = 0; n < nr; n++)
		bad += check_page(n);
	printf("pageio: %" PRIu64 " accesses\n", accesses);
	printf("pageio: %" PRIu64 " reads right, %" PRIu64 " wrong; %" PRIu64
	       " bytes streamed, %" PRIu64 " words wrong; %" PRIu64 " pages wrong\n",
	       good_reads, bad_reads, streamed, bad_words, bad);
	end_guest();
	return 0;
}
