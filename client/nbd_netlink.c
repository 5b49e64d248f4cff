/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to the nbd driver as generic netlink messages, its answers as errnos. Any
 * thread, one at a time per struct nbd_netlink.
 */
#include "client/nbd_netlink.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/cleanup.h"

struct message {
	_Alignas(struct nlmsghdr) uint8_t buf[1024];
	size_t len;
	bool full;
};

static void *grow(struct message *m, size_t len)
{
	uint8_t *p = m->buf + m->len;

	if (NLMSG_ALIGN(len) > sizeof(m->buf) - m->len) {
		m->full = true;
		return NULL;
	}
	memset(p, 0, NLMSG_ALIGN(len));
	m->len += NLMSG_ALIGN(len);
	return p;
}

static void begin(struct message *m, uint16_t family, uint8_t command, uint8_t version)
{
	struct nlmsghdr *n;
	struct genlmsghdr *g;

	m->len = 0;
	m->full = false;
	n = grow(m, sizeof(*n));
	g = grow(m, sizeof(*g));
	n->nlmsg_type = family;
	n->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	g->cmd = command;
	g->version = version;
}

static void put(struct message *m, uint16_t type, const void *bytes, size_t len)
{
	struct nlattr *a = grow(m, NLA_HDRLEN + len);

	if (!a)
		return;
	a->nla_type = type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + len);
	memcpy((uint8_t *)a + NLA_HDRLEN, bytes, len);
}

static void put_u32(struct message *m, uint16_t type, uint32_t v)
{
	put(m, type, &v, sizeof(v));
}

static void put_u64(struct message *m, uint16_t type, uint64_t v)
{
	put(m, type, &v, sizeof(v));
}

static void put_string(struct message *m, uint16_t type, const char *s)
{
	put(m, type, s, strlen(s) + 1);
}

/* Returns where the nest began, for nest_end. */
static size_t nest(struct message *m, uint16_t type)
{
	size_t at = m->len;

	put(m, type | NLA_F_NESTED, "", 0);
	return at;
}

static void nest_end(struct message *m, size_t at)
{
	if (!m->full)
		((struct nlattr *)(m->buf + at))->nla_len = (uint16_t)(m->len - at);
}

static void put_sockets(struct message *m, const int *fds, size_t nr)
{
	size_t all = nest(m, NBD_ATTR_SOCKETS);

	for (size_t i = 0; i < nr; i++) {
		size_t item = nest(m, NBD_SOCK_ITEM);

		put_u32(m, NBD_SOCK_FD, (uint32_t)fds[i]);
		nest_end(m, item);
	}
	nest_end(m, all);
}

/* The attribute of this type in a row of them, or NULL; *ret_len is its payload. */
static const uint8_t *find(const uint8_t *p, size_t len, uint16_t type, size_t *ret_len)
{
	while (len >= NLA_HDRLEN) {
		struct nlattr a;
		size_t step;

		memcpy(&a, p, sizeof(a));
		if (a.nla_len < NLA_HDRLEN || a.nla_len > len)
			return NULL;
		if ((a.nla_type & NLA_TYPE_MASK) == type) {
			*ret_len = a.nla_len - NLA_HDRLEN;
			return p + NLA_HDRLEN;
		}
		step = NLA_ALIGN(a.nla_len);
		if (step > len)
			return NULL;
		p += step;
		len -= step;
	}
	return NULL;
}

static int find_number(const uint8_t *p, size_t len, uint16_t type, size_t size,
		       uint32_t *ret)
{
	size_t n = 0;
	const uint8_t *v = find(p, len, type, &n);
	uint16_t v16;

	if (!v || n != size)
		return -EPROTO;
	if (size == sizeof(*ret)) {
		memcpy(ret, v, sizeof(*ret));
	} else {
		memcpy(&v16, v, sizeof(v16));
		*ret = v16;
	}
	return 0;
}

/*
 * Sends, and reads until the acknowledgement. `reply` (may be NULL) gets the
 * attributes of the first answer that is not one.
 */
static int transact(struct nbd_netlink *nl, struct message *m, struct message *reply)
{
	struct nlmsghdr *n = (struct nlmsghdr *)m->buf;
	struct message in;

	if (m->full)
		return -EMSGSIZE;
	n->nlmsg_len = (uint32_t)m->len;
	n->nlmsg_seq = ++nl->seq;
	if (send(nl->fd, m->buf, m->len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t got = recv(nl->fd, in.buf, sizeof(in.buf), 0);
		const struct nlmsghdr *h = (const struct nlmsghdr *)in.buf;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		for (int left = (int)got; NLMSG_OK(h, (unsigned int)left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_seq != nl->seq)
				continue;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (!reply || h->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
				continue;
			reply->len = h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN);
			memcpy(reply->buf, (const uint8_t *)NLMSG_DATA(h) + GENL_HDRLEN,
			       reply->len);
		}
	}
}

/* CTRL_ATTR_MCAST_GROUPS: the one group that the driver has. */
static int find_group(const struct message *m, uint32_t *ret)
{
	size_t len = 0;
	const uint8_t *p = find(m->buf, m->len, CTRL_ATTR_MCAST_GROUPS, &len);

	if (p)
		p = find(p, len, 1, &len);
	return p ? find_number(p, len, CTRL_ATTR_MCAST_GRP_ID, 4, ret) : -EPROTO;
}

static int open_socket(int flags)
{
	struct sockaddr_nl any = { .nl_family = AF_NETLINK };
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_GENERIC);

	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)))
		return -errno;
	return take_fd(&fd);
}

int nbd_netlink_open(struct nbd_netlink *ret)
{
	struct nbd_netlink nl = { .fd = open_socket(0) };
	struct message m, reply = { .len = 0 };
	uint32_t family;
	int r;

	if (nl.fd < 0)
		return nl.fd;
	begin(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	put_string(&m, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME);
	r = transact(&nl, &m, &reply);
	if (!r)
		r = find_number(reply.buf, reply.len, CTRL_ATTR_FAMILY_ID, 2, &family);
	if (!r)
		r = find_group(&reply, &nl.group);
	if (r) {
		close(nl.fd);
		return r;
	}
	nl.family = (uint16_t)family;
	*ret = nl;
	return 0;
}

void nbd_netlink_close(struct nbd_netlink *nl)
{
	if (nl->fd >= 0)
		close(nl->fd);
	nl->fd = -1;
}

int nbd_netlink_connect(struct nbd_netlink *nl, const struct nbd_netlink_device *d,
			uint32_t *ret_index)
{
	struct message m, reply = { .len = 0 };
	int r;

	begin(&m, nl->family, NBD_CMD_CONNECT, NBD_GENL_VERSION);
	put_u64(&m, NBD_ATTR_SIZE_BYTES, d->size_bytes);
	put_u64(&m, NBD_ATTR_BLOCK_SIZE_BYTES, d->block_bytes);
	put_u64(&m, NBD_ATTR_SERVER_FLAGS, d->server_flags);
	put_u64(&m, NBD_ATTR_TIMEOUT, d->timeout_s);
	put_u64(&m, NBD_ATTR_DEAD_CONN_TIMEOUT, d->dead_timeout_s);
	put_string(&m, NBD_ATTR_BACKEND_IDENTIFIER, d->backend);
	put_sockets(&m, d->fds, d->nr_fds);
	r = transact(nl, &m, &reply);
	return r ? r
		 : find_number(reply.buf, reply.len, NBD_ATTR_INDEX, sizeof(*ret_index),
			       ret_index);
}

static void begin_reconfigure(struct nbd_netlink *nl, struct message *m, uint32_t index,
			      const char *backend)
{
	begin(m, nl->family, NBD_CMD_RECONFIGURE, NBD_GENL_VERSION);
	put_u32(m, NBD_ATTR_INDEX, index);
	put_string(m, NBD_ATTR_BACKEND_IDENTIFIER, backend);
}

int nbd_netlink_replace(struct nbd_netlink *nl, uint32_t index, const char *backend,
			int fd)
{
	struct message m;

	begin_reconfigure(nl, &m, index, backend);
	put_sockets(&m, &fd, 1);
	return transact(nl, &m, NULL);
}

void nbd_netlink_mark_untaken(int fd)
{
	struct timeval never = { 0 };

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &never, sizeof(never));
}

bool nbd_netlink_was_taken(int fd, uint64_t timeout_s)
{
	struct timeval t = { 0 };
	socklen_t len = sizeof(t);

	return !getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, &len) &&
	       (uint64_t)t.tv_sec == timeout_s;
}

int nbd_netlink_set_timeout(struct nbd_netlink *nl, uint32_t index, const char *backend,
			    uint64_t seconds)
{
	struct message m;

	begin_reconfigure(nl, &m, index, backend);
	put_u64(&m, NBD_ATTR_TIMEOUT, seconds);
	return transact(nl, &m, NULL);
}

int nbd_netlink_set_dead_timeout(struct nbd_netlink *nl, uint32_t index,
				 const char *backend, uint64_t seconds)
{
	struct message m;

	begin_reconfigure(nl, &m, index, backend);
	put_u64(&m, NBD_ATTR_DEAD_CONN_TIMEOUT, seconds);
	return transact(nl, &m, NULL);
}

int nbd_netlink_disconnect(struct nbd_netlink *nl, uint32_t index)
{
	struct message m;

	begin(&m, nl->family, NBD_CMD_DISCONNECT, NBD_GENL_VERSION);
	put_u32(&m, NBD_ATTR_INDEX, index);
	return transact(nl, &m, NULL);
}

int nbd_netlink_listen(const struct nbd_netlink *nl)
{
	_cleanup_close_ int fd = open_socket(SOCK_NONBLOCK);

	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &nl->group,
		       sizeof(nl->group)))
		return -errno;
	return take_fd(&fd);
}

int nbd_netlink_heard(int fd, uint32_t index)
{
	struct message in;
	int heard = 0;

	for (;;) {
		ssize_t got = recv(fd, in.buf, sizeof(in.buf), 0);
		const struct nlmsghdr *h = (const struct nlmsghdr *)in.buf;
		uint32_t dead;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return heard | (errno != EAGAIN); /* ENOBUFS: some were lost */
		if ((size_t)got < NLMSG_LENGTH(GENL_HDRLEN) || h->nlmsg_len > got ||
		    h->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
			continue;
		if (!find_number((const uint8_t *)NLMSG_DATA(h) + GENL_HDRLEN,
				 h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN),
				 NBD_ATTR_INDEX, sizeof(dead), &dead) &&
		    dead == index)
			heard = 1;
	}
}
