/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A path in; the serial number of a key in the kernel out. */
#include "client/tls_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/dhchap_file.h"
#include "client/file.h"
#include "client/say.h"
#include "lib/nvme_psk.h"

#define KEYRING ".nvme"
#define KEYS    "/proc/keys"

int tls_key_find_keyring(const char *text, const char *name, int32_t *ret)
{
	size_t len = strlen(name);

	/* "1a1d5055 I------     1 perm 1f1f0000     0     0 keyring   .nvme: empty" */
	for (const char *at = text, *end; *at; at = *end ? end + 1 : end) {
		unsigned int serial;
		char type[32];
		int n = 0;

		end = strchrnul(at, '\n');
		if (sscanf(at, "%x %*s %*s %*s %*s %*s %*s %31s %n", &serial, type,
			   &n) != 2 ||
		    !n || at + n + len >= end || strcmp(type, "keyring") ||
		    strncmp(at + n, name, len) || at[n + (int)len] != ':')
			continue;
		*ret = (int32_t)serial;
		return 0;
	}
	return -ENOENT;
}

static int find_keyring(int32_t *ret)
{
	const size_t room = 1u << 20;
	char *text = malloc(room);
	int r = text ? file_read(text, room, KEYS) : -ENOMEM;

	if (r >= 0)
		r = tls_key_find_keyring(text, KEYRING, ret);
	free(text);
	if (r < 0)
		say_error("the kernel's keyring " KEYRING " is not in " KEYS
			  " (Linux 6.7 has it, with CONFIG_NVME_KEYRING): %s",
			  strerror(-r));
	return r;
}

static int derive(const struct key_text *key, struct nvme_psk_id *id, char *identity,
		  uint8_t *tls_key)
{
	struct nvme_psk psk;
	int r = nvme_psk_retain(key, id->hostnqn, NVME_PSK_RFC8446, &psk);

	if (!r)
		r = nvme_psk_id_format(&psk, id, identity);
	if (!r)
		r = nvme_psk_tls_key(&psk, id, NVME_PSK_RFC8446, tls_key);
	explicit_bzero(&psk, sizeof(psk));
	return r;
}

int tls_key_insert(const char *flag, const char *path, const char *hostnqn,
		   const char *subnqn, int32_t *ret_serial)
{
	struct nvme_psk_id id = { .version = 1, .type = 'R' };
	char identity[NVME_PSK_ID_MAX + 1];
	uint8_t tls_key[HKDF_MAX];
	struct key_text key;
	int32_t keyring = 0;
	long serial;
	int r = tls_key_file_read(flag, path, &key);

	if (r < 0)
		return r;
	snprintf(id.hostnqn, sizeof(id.hostnqn), "%s", hostnqn);
	snprintf(id.subnqn, sizeof(id.subnqn), "%s", subnqn);
	r = derive(&key, &id, identity, tls_key);
	explicit_bzero(&key, sizeof(key));
	if (r < 0)
		say_error("%s %s: deriving the key: %s", flag, path, strerror(-r));
	else
		r = find_keyring(&keyring);
	if (!r) {
		/* Of the same name it replaces the old one. */
		serial = syscall(SYS_add_key, "psk", identity, tls_key,
				 hkdf_len(id.hash), keyring);
		r = serial < 0 ? -errno : 0;
		*ret_serial = (int32_t)serial;
		if (r < 0)
			say_error("can't put a key into the kernel's keyring " KEYRING
				  ": %s",
				  strerror(-r));
	}
	explicit_bzero(tls_key, sizeof(tls_key));
	return r;
}
