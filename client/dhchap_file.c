/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A path in; the one secret in that file out, as the kernel wants it. */
#include "client/dhchap_file.h"

#include <errno.h>
#include <string.h>

#include "client/say.h"
#include "lib/nvme_psk.h"
#include "lib/secret.h"

void dhchap_secret_wipe(struct dhchap_secret *s)
{
	explicit_bzero(s, sizeof(*s));
}

typedef int (*parse_fn)(const char *text, size_t len, struct key_text *ret,
			const char **ret_why);

/* The only word of a text: its place and length. */
static int only_word(const char *text, size_t len, size_t *ret_start, size_t *ret_len)
{
	size_t start = strspn(text, " \t\r\n");
	size_t n = strcspn(text + start, " \t\r\n");

	*ret_start = start;
	*ret_len = n;
	return start + n + strspn(text + start + n, " \t\r\n") == len ? 0 : -EINVAL;
}

/* `spelling` has room for DHCHAP_KEY_TEXT_MAX characters and a NUL, or is NULL. */
static int read_key(const char *flag, const char *path, parse_fn parse,
		    struct key_text *ret, char *spelling)
{
	char error[SECRET_ERROR_MAX], *text = NULL;
	const char *why = "there is more than one secret in it";
	size_t len = 0, at, n;
	int r = secret_read(path, false, &text, &len, error);

	if (r < 0) {
		say_error("%s %s", flag, error);
		return r;
	}
	r = only_word(text, len, &at, &n);
	if (!r)
		r = parse(text + at, n, ret, &why);
	if (!r && spelling) {
		memcpy(spelling, text + at, n);
		spelling[n] = '\0';
	}
	secret_free(text, len);
	if (r < 0)
		say_error("%s %s: %s", flag, path, why);
	return r;
}

int dhchap_file_read(const char *flag, const char *path, struct dhchap_secret *ret)
{
	struct key_text key;
	int r;

	ret->text[0] = '\0';
	if (!path)
		return 0;
	r = read_key(flag, path, dhchap_key_parse, &key, ret->text);
	explicit_bzero(&key, sizeof(key));
	return r;
}

int tls_key_file_read(const char *flag, const char *path, struct key_text *ret)
{
	return read_key(flag, path, nvme_psk_parse, ret, NULL);
}
