/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses as people write them: "10.0.0.1:4420", "[fd00::1]:4420", "10.0.0.1",
 * "fd00::1", "4420", "unix:/run/x". Numbers only, and "localhost": no name is ever
 * looked up, so nothing here blocks. Pure functions, any thread.
 */
#ifndef LIB_ADDR_H
#define LIB_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_un un;
		struct sockaddr_storage storage;
	};
	socklen_t len;
};

/* Enough for "[v6%interface]:port" and "unix:PATH". */
#define ADDR_TEXT_MAX 128

/*
 * Reads the whole of `text`; a missing address is 127.0.0.1, a missing port is
 * `port`. Port 0 is allowed (the kernel chooses). -EINVAL: none of the forms above;
 * -ENAMETOOLONG: a unix path too long for a socket.
 */
int addr_parse(const char *text, uint16_t port, struct addr *ret);

/* An IPv4 or IPv6 address without a port: ADDR, [ADDR] or localhost. -EINVAL. */
int addr_parse_ip(const char *text, struct addr *ret);

/* Writes one of the forms above, always terminated. Returns `buf`. */
const char *addr_format(const struct sockaddr *sa, char *buf, size_t len_bytes);

/* The port in host order; 0 for a unix address. */
uint16_t addr_port(const struct sockaddr *sa);

/* True for 127.0.0.0/8, ::1, ::ffff:127.0.0.0/104 and unix sockets: this host only. */
bool addr_is_local(const struct sockaddr *sa);

#endif
