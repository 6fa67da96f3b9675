/* Label selectors: from a query ("app=web,tier in (a,b),!old"), from a
 * LabelSelector message, or from a plain map; and matching them.
 *
 * A selector lives in the arena it was made in and points at nothing outside
 * of it. Requirements are sorted by key. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/api/message.h"
#include "common/base/arena.h"
#include "common/base/status.h"
#include "proto/k8s/meta_v1.pb-c.h"

enum label_operator {
	LABEL_IN,     /* Also "=": one value. */
	LABEL_NOT_IN, /* Also "!="; an absent label matches. */
	LABEL_EXISTS,
	LABEL_DOES_NOT_EXIST,
	LABEL_GREATER,
	LABEL_LESS,
};

struct label_requirement {
	const char *key;
	enum label_operator op;
	const char *const *values;
	size_t n_values;
	int64_t number; /* Of LABEL_GREATER and LABEL_LESS. */
};

struct label_selector {
	const struct label_requirement *requirements;
	size_t n_requirements; /* 0: everything matches, */
	bool nothing;          /* unless this is set. */
};

/* What a labelled thing says for a key: the value, or NULL. */
typedef const char *label_get_fn(const void *labels, const char *key);

/* NULL and "" select everything. 400 in st for what cannot be read. */
int label_selector_parse(const char *text, struct arena *a, struct label_selector *ret,
			 struct status *st);
/* NULL selects nothing, an empty one everything. */
int label_selector_of(const MetaV1__LabelSelector *m, struct arena *a, struct label_selector *ret,
		      struct status *st);
/* Equality of every entry; no entries select everything. */
void label_selector_of_map(struct string_entry *const *entries, size_t n, struct arena *a,
			   struct label_selector *ret);
bool label_selector_matches(const struct label_selector *s, label_get_fn *get, const void *labels);
/* Against a message's labels, e.g. (void *)pod->metadata->labels, pod->metadata->n_labels. */
bool label_selector_matches_map(const struct label_selector *s, struct string_entry *const *entries,
				size_t n);
/* The selector as a query; what kubectl shows as SELECTOR. */
char *label_selector_print(const struct label_selector *s, struct arena *a);
/* Kubernetes' rules for keys and values; NULL when fine, else the complaint (a constant). */
const char *label_key_check(const char *key);
const char *label_value_check(const char *value);
