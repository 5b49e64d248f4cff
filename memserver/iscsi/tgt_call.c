/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A request in, tgtd's verdict and text out; any thread. */
#include "memserver/iscsi/tgt_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "lib/cleanup.h"

#define REPLY_MAX (4u << 20) /* of text; thousands of targets */

struct wire_request {
	uint32_t mode, op;
	char driver[64];
	uint32_t len; /* with the text */
	int32_t tid;
	uint64_t sid, lun;
	uint32_t cid, host_no, device_type, ac_dir, pack, force;
};
_Static_assert(sizeof(struct wire_request) == 120, "as tgtd reads it");

struct wire_reply {
	uint32_t error, len; /* len with these 8 bytes */
};

/* tgt's enum tgtadm_errno, as far as we tell them apart. */
enum { TGT_NO_TARGET = 4, TGT_TARGET_ACTIVE = 19, TGT_UNIT_ACTIVE = 20 };

static int verdict(uint32_t error)
{
	switch (error) {
	case 0:
		return 0;
	case TGT_NO_TARGET:
		return -ENODEV;
	case TGT_TARGET_ACTIVE:
		return -EBUSY;
	case TGT_UNIT_ACTIVE:
		return -EINPROGRESS;
	default:
		return -EREMOTEIO;
	}
}

static int send_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int receive_all(int fd, void *data, size_t len)
{
	char *at = data;

	while (len) {
		ssize_t n = recv(fd, at, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (!n)
			return -EPROTO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int dial(const char *path, int timeout_ms, int *ret_fd)
{
	struct timeval tv = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;

	if (strlen(path) >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	strcpy(un.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		if (errno == ENOENT)
			return -ECONNREFUSED;
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

static int send_request(int fd, const struct tgt_request *req)
{
	size_t text_len = req->text ? strlen(req->text) + 1 : 0;
	struct wire_request w = { .mode = req->mode,
				  .op = req->op,
				  .driver = "iscsi",
				  .len = (uint32_t)(sizeof(w) + text_len),
				  .tid = req->tid,
				  .sid = req->sid,
				  .lun = req->lun,
				  .cid = req->cid,
				  .ac_dir = req->outgoing,
				  .force = req->force };
	int r;

	if (text_len > TGT_TEXT_MAX + 1)
		return -ENAMETOOLONG;
	r = send_all(fd, &w, sizeof(w));
	if (r == 0 && text_len)
		r = send_all(fd, req->text, text_len);
	return r;
}

static int receive_text(int fd, uint32_t len, char **ret)
{
	_cleanup_free_ char *text = NULL;
	int r;

	if (len > REPLY_MAX)
		return -EPROTO;
	text = malloc((size_t)len + 1);
	if (!text)
		return -ENOMEM;
	r = receive_all(fd, text, len);
	if (r < 0)
		return r;
	text[len] = '\0';
	*ret = take_ptr(text);
	return 0;
}

int tgt_call(const char *socket_path, const struct tgt_request *req, int timeout_ms,
	     char **ret_text)
{
	_cleanup_close_ int fd = -1;
	struct wire_reply reply;
	int r = dial(socket_path, timeout_ms, &fd);

	if (r == 0)
		r = send_request(fd, req);
	if (r == 0)
		r = receive_all(fd, &reply, sizeof(reply));
	if (r == 0)
		r = verdict(reply.error);
	if (r < 0)
		return r;
	if (reply.len < sizeof(reply))
		return -EPROTO;
	if (!ret_text)
		return 0;
	return receive_text(fd, (uint32_t)(reply.len - sizeof(reply)), ret_text);
}
