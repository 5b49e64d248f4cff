/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a daemon's answers: what is absent or of another type is 0, "" or NULL, for
 * a newer or older daemon may differ. All borrowed from the answer.
 */
#ifndef CLIENT_MEMCTL_JSON_H
#define CLIENT_MEMCTL_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

static inline struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return v;
}

static inline uint64_t number(struct json_object *o, const char *key)
{
	return json_object_get_uint64(member(o, key));
}

static inline bool truth(struct json_object *o, const char *key)
{
	return json_object_get_boolean(member(o, key));
}

static inline const char *text(struct json_object *o, const char *key)
{
	const char *s = json_object_get_string(member(o, key));

	return s ? s : "";
}

/* NULL past the last. */
static inline struct json_object *element(struct json_object *array, size_t i)
{
	if (!json_object_is_type(array, json_type_array))
		return NULL;
	return json_object_array_get_idx(array, i);
}

#endif
