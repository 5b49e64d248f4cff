/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A doubly linked list threaded through its members, and container_of. The head
 * is a node itself; an unlinked node points at itself. No allocation; the caller
 * holds whatever lock guards the list.
 */
#ifndef LIB_LIST_H
#define LIB_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

#define LIST_INIT(name)          \
	{                        \
		&(name), &(name) \
	}

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_add_tail(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/*
 * The node of an entry that may be no entry: at the end of a walk `pos` is computed
 * from the head, may even be misaligned for its type, and may not be looked into.
 */
#define list_node(pos, member) \
	((struct list *)((char *)(pos) + offsetof(__typeof__(*(pos)), member)))

#define list_for_each_entry(pos, head, member)                                  \
	for (pos = container_of((head)->next, __typeof__(*pos), member);        \
	     list_node(pos, member) != (head);                                  \
	     pos = container_of(list_node(pos, member)->next, __typeof__(*pos), \
				member))

/* As above; the body may unlink or free `pos`. */
#define list_for_each_entry_safe(pos, tmp, head, member)                       \
	for (pos = container_of((head)->next, __typeof__(*pos), member),       \
	    tmp = container_of(list_node(pos, member)->next, __typeof__(*pos), \
			       member);                                        \
	     list_node(pos, member) != (head);                                 \
	     pos = tmp, tmp = container_of(list_node(tmp, member)->next,       \
					   __typeof__(*pos), member))

#endif
