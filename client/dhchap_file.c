/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A path in; the one secret in that file out, as the kernel wants it. */
#include "client/dhchap_file.h"

#include <errno.h>
#include <string.h>

#include "client/say.h"
#include "lib/secret.h"

void dhchap_secret_wipe(struct dhchap_secret *s)
{
	explicit_bzero(s, sizeof(*s));
}

static int take(const char *text, size_t len, struct dhchap_secret *ret,
		const char **ret_why)
{
	size_t start = strspn(text, " \t\r\n");
	size_t n = strcspn(text + start, " \t\r\n");
	struct key_text key;
	int r;

	*ret_why = "there is more than one secret in it";
	if (start + n + strspn(text + start + n, " \t\r\n") != len)
		return -EINVAL;
	r = dhchap_key_parse(text + start, n, &key, ret_why);
	explicit_bzero(&key, sizeof(key));
	if (!r) {
		memcpy(ret->text, text + start, n);
		ret->text[n] = '\0';
	}
	return r;
}

int dhchap_file_read(const char *flag, const char *path, struct dhchap_secret *ret)
{
	char error[SECRET_ERROR_MAX], *text = NULL;
	const char *why;
	size_t len = 0;
	int r;

	ret->text[0] = '\0';
	if (!path)
		return 0;
	r = secret_read(path, false, &text, &len, error);
	if (r < 0) {
		say_error("%s %s", flag, error);
		return r;
	}
	r = take(text, len, ret, &why);
	secret_free(text, len);
	if (r < 0)
		say_error("%s %s: %s", flag, path, why);
	return r;
}
