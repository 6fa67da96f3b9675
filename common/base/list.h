/* A doubly linked list whose links live inside its members. The head is a link
 * too; an initialised empty list points at itself. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/cleanup.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *item)
{
	item->next = at;
	item->prev = at->prev;
	at->prev->next = item;
	at->prev = item;
}

static inline void list_push_back(struct list *head, struct list *item)
{
	list_insert_before(head, item);
}

static inline void list_push_front(struct list *head, struct list *item)
{
	list_insert_before(head->next, item);
}

/* Safe on an item that is in no list, as long as it was initialised. */
static inline void list_remove(struct list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}

#define list_first(head, type, member) container_of((head)->next, type, member)

/* The current item may be removed in the body. */
#define list_for_each(it, head, type, member)                                                      \
	for (type *it = container_of((head)->next, type, member),                                  \
		  *it##_next_ = container_of(it->member.next, type, member);                       \
	     &it->member != (head);                                                                \
	     it = it##_next_, it##_next_ = container_of(it->member.next, type, member))
