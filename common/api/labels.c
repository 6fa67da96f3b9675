#include "common/api/labels.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"

#define REQUIREMENTS_MAX 1000
#define KEY_NAME_MAX 63
#define KEY_PREFIX_MAX 253

/* Under construction: grown in the arena. */
struct builder {
	struct arena *arena;
	struct label_requirement *list;
	size_t n, cap;
};

static struct label_requirement *add(struct builder *b, const char *key, enum label_operator op)
{
	if (b->n == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 4;
		struct label_requirement *grown =
			arena_array(b->arena, struct label_requirement, cap);

		if (b->n > 0)
			memcpy(grown, b->list, b->n * sizeof(*grown));
		b->list = grown;
		b->cap = cap;
	}
	b->list[b->n] = (struct label_requirement){ .key = key, .op = op };
	return &b->list[b->n++];
}

static void set_value(struct builder *b, struct label_requirement *r, const char *value)
{
	const char **values = arena_array(b->arena, const char *, 1);

	values[0] = value;
	r->values = values;
	r->n_values = 1;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct label_requirement *)a)->key,
		      ((const struct label_requirement *)b)->key);
}

static void finish(struct builder *b, struct label_selector *ret)
{
	if (b->n > 1)
		qsort(b->list, b->n, sizeof(*b->list), by_key);
	*ret = (struct label_selector){ .requirements = b->list, .n_requirements = b->n };
}

/* One word: a key, a value, or an operator word. */
struct words {
	const char *p, *start;
	struct arena *arena;
	struct status *st;
};

static int bad(struct words *w, const char *what)
{
	return status_set(w->st, -EBADMSG, "unable to parse requirement: %s at \"%.40s\"", what,
			  w->p);
}

static void space(struct words *w)
{
	while (*w->p == ' ' || *w->p == '\t' || *w->p == '\n' || *w->p == '\r')
		w->p++;
}

static char *word(struct words *w)
{
	space(w);
	const char *from = w->p;

	while (*w->p != '\0' && strchr(" \t\r\n,()=!<>", *w->p) == NULL)
		w->p++;
	char *text = arena_strndup(w->arena, from, (size_t)(w->p - from));
	space(w);
	return text;
}

static bool take(struct words *w, const char *token)
{
	size_t n = strlen(token);

	if (strncmp(w->p, token, n) != 0)
		return false;
	w->p += n;
	return true;
}

static int check_key(struct words *w, const char *key)
{
	const char *why = label_key_check(key);

	return why ? status_set(w->st, -EBADMSG, "key: Invalid value: \"%s\": %s", key, why) : 0;
}

static int check_value(struct words *w, const char *key, const char *value)
{
	const char *why = label_value_check(value);

	return why ? status_set(w->st, -EBADMSG, "values[0][%s]: Invalid value: \"%s\": %s", key,
				value, why)
		   : 0;
}

/* "(a,b,c)" into r, sorted. */
static int parse_set(struct words *w, struct label_requirement *r)
{
	const char **values = NULL;
	size_t n = 0, cap = 0;

	if (!take(w, "("))
		return bad(w, "found something else, expected: '('");
	do {
		char *value = word(w);
		int rc = check_value(w, r->key, value);

		if (rc < 0)
			return rc;
		if (n == cap) {
			cap = cap ? cap * 2 : 4;
			const char **grown = arena_array(w->arena, const char *, cap);
			if (n > 0)
				memcpy(grown, values, n * sizeof(*grown));
			values = grown;
		}
		values[n++] = value;
	} while (take(w, ","));
	if (!take(w, ")"))
		return bad(w, "found something else, expected: ',' or ')'");
	r->values = values;
	r->n_values = n;
	return 0;
}

static int parse_number(struct words *w, struct builder *b, const char *key, enum label_operator op)
{
	char *text = word(w), *end;

	errno = 0;
	long long number = strtoll(text, &end, 10);
	if (*text == '\0' || *end != '\0' || errno != 0)
		return status_set(
			w->st, -EBADMSG,
			"values[0]: Invalid value: \"%s\": for 'Gt', 'Lt' operators, the value "
			"must be an integer",
			text);
	struct label_requirement *r = add(b, key, op);
	r->number = number;
	set_value(b, r, text);
	return 0;
}

static int parse_equality(struct words *w, struct builder *b, const char *key,
			  enum label_operator op)
{
	char *value = word(w);
	int rc = check_value(w, key, value);

	if (rc == 0)
		set_value(b, add(b, key, op), value);
	return rc;
}

static int parse_after_key(struct words *w, struct builder *b, const char *key)
{
	if (*w->p == '\0' || *w->p == ',') {
		add(b, key, LABEL_EXISTS);
		return 0;
	}
	if (take(w, "!="))
		return parse_equality(w, b, key, LABEL_NOT_IN);
	if (take(w, "==") || take(w, "="))
		return parse_equality(w, b, key, LABEL_IN);
	if (take(w, ">"))
		return parse_number(w, b, key, LABEL_GREATER);
	if (take(w, "<"))
		return parse_number(w, b, key, LABEL_LESS);

	const char *op = word(w);
	if (strcmp(op, "in") == 0)
		return parse_set(w, add(b, key, LABEL_IN));
	if (strcmp(op, "notin") == 0)
		return parse_set(w, add(b, key, LABEL_NOT_IN));
	return bad(w, "found something else, expected: in, notin, =, ==, !=, gt, lt");
}

static int parse_requirement(struct words *w, struct builder *b)
{
	space(w);
	bool negated = take(w, "!");
	const char *key = word(w);
	int rc = check_key(w, key);

	if (rc < 0)
		return rc;
	if (!negated)
		return parse_after_key(w, b, key);
	add(b, key, LABEL_DOES_NOT_EXIST);
	return 0;
}

int label_selector_parse(const char *text, struct arena *a, struct label_selector *ret,
			 struct status *st)
{
	struct words w = { .p = text ? text : "", .arena = a, .st = st };
	struct builder b = { .arena = a };

	space(&w);
	while (*w.p != '\0') {
		if (b.n == REQUIREMENTS_MAX)
			return bad(&w, "too many requirements");
		int rc = parse_requirement(&w, &b);

		if (rc < 0)
			return rc;
		space(&w);
		if (*w.p != '\0' && !take(&w, ","))
			return bad(&w, "found something else, expected: ',' or 'end of string'");
	}
	finish(&b, ret);
	return 0;
}

static int add_expression(struct builder *b, const MetaV1__LabelSelectorRequirement *e,
			  struct status *st)
{
	static const struct {
		const char *name;
		enum label_operator op;
		bool values;
	} operators[] = { { "In", LABEL_IN, true },
			  { "NotIn", LABEL_NOT_IN, true },
			  { "Exists", LABEL_EXISTS, false },
			  { "DoesNotExist", LABEL_DOES_NOT_EXIST, false } };
	const char *op = e->operator_ ? e->operator_ : "", *key = e->key ? e->key : "";

	for (size_t i = 0; i < array_size(operators); i++) {
		if (strcmp(op, operators[i].name) != 0)
			continue;
		if (operators[i].values != (e->n_values > 0))
			return status_set(
				st, -EINVAL,
				"label selector: key \"%s\": values %s for operator %s", key,
				operators[i].values ? "must be given" : "must not be given", op);
		struct label_requirement *r = add(b, arena_strdup(b->arena, key), operators[i].op);
		const char **values = arena_array(b->arena, const char *, e->n_values + 1);
		for (size_t v = 0; v < e->n_values; v++)
			values[v] = arena_strdup(b->arena, e->values[v]);
		r->values = values;
		r->n_values = e->n_values;
		return 0;
	}
	return status_set(st, -EINVAL, "\"%s\" is not a valid label selector operator", op);
}

static void add_equal(struct builder *b, const char *key, const char *value)
{
	struct label_requirement *r = add(b, arena_strdup(b->arena, key), LABEL_IN);

	set_value(b, r, arena_strdup(b->arena, value ? value : ""));
}

int label_selector_of(const MetaV1__LabelSelector *m, struct arena *a, struct label_selector *ret,
		      struct status *st)
{
	struct builder b = { .arena = a };

	if (m == NULL) {
		*ret = (struct label_selector){ .nothing = true };
		return 0;
	}
	for (size_t i = 0; i < m->n_matchlabels; i++)
		add_equal(&b, m->matchlabels[i]->key, m->matchlabels[i]->value);
	for (size_t i = 0; i < m->n_matchexpressions; i++) {
		int rc = add_expression(&b, m->matchexpressions[i], st);

		if (rc < 0)
			return rc;
	}
	finish(&b, ret);
	return 0;
}

void label_selector_of_map(struct string_entry *const *entries, size_t n, struct arena *a,
			   struct label_selector *ret)
{
	struct builder b = { .arena = a };

	for (size_t i = 0; i < n; i++)
		add_equal(&b, entries[i]->key, entries[i]->value);
	finish(&b, ret);
}

static bool is_one_of(const struct label_requirement *r, const char *value)
{
	for (size_t i = 0; i < r->n_values; i++)
		if (strcmp(r->values[i], value) == 0)
			return true;
	return false;
}

static bool compare_number(const struct label_requirement *r, const char *value)
{
	char *end;

	if (value == NULL)
		return false;
	errno = 0;
	long long number = strtoll(value, &end, 10);
	if (*value == '\0' || *end != '\0' || errno != 0)
		return false;
	return r->op == LABEL_GREATER ? number > r->number : number < r->number;
}

static bool matches(const struct label_requirement *r, const char *value)
{
	switch (r->op) {
	case LABEL_IN:
		return value != NULL && is_one_of(r, value);
	case LABEL_NOT_IN:
		return value == NULL || !is_one_of(r, value);
	case LABEL_EXISTS:
		return value != NULL;
	case LABEL_DOES_NOT_EXIST:
		return value == NULL;
	case LABEL_GREATER:
	case LABEL_LESS:
		return compare_number(r, value);
	}
	abort();
}

bool label_selector_matches(const struct label_selector *s, label_get_fn *get, const void *labels)
{
	if (s->nothing)
		return false;
	for (size_t i = 0; i < s->n_requirements; i++)
		if (!matches(&s->requirements[i], get(labels, s->requirements[i].key)))
			return false;
	return true;
}

struct string_map {
	struct string_entry *const *entries;
	size_t n;
};

static const char *get_from_map(const void *labels, const char *key)
{
	const struct string_map *m = labels;

	return string_map_get(m->entries, m->n, key);
}

bool label_selector_matches_map(const struct label_selector *s, struct string_entry *const *entries,
				size_t n)
{
	struct string_map map = { entries, n };

	return label_selector_matches(s, get_from_map, &map);
}

static void print_requirement(struct buf *out, const struct label_requirement *r)
{
	static const char *const formats[] = {
		[LABEL_IN] = "%s in (",  [LABEL_NOT_IN] = "%s notin (",
		[LABEL_EXISTS] = "%s",   [LABEL_DOES_NOT_EXIST] = "!%s",
		[LABEL_GREATER] = "%s>", [LABEL_LESS] = "%s<",
	};
	bool set = (r->op == LABEL_IN || r->op == LABEL_NOT_IN) && r->n_values != 1;
	const char *format = formats[r->op];

	if (!set && (r->op == LABEL_IN || r->op == LABEL_NOT_IN))
		format = r->op == LABEL_IN ? "%s=" : "%s!=";
	for (; *format != '\0'; format++)
		if (format[0] == '%')
			buf_put_str(out, r->key), format++;
		else
			buf_put_byte(out, (uint8_t)*format);
	for (size_t i = 0; i < r->n_values; i++) {
		if (i > 0)
			buf_put_byte(out, ',');
		buf_put_str(out, r->values[i]);
	}
	if (set)
		buf_put_byte(out, ')');
}

char *label_selector_print(const struct label_selector *s, struct arena *a)
{
	auto_with(buf_fini) struct buf out = { 0 };

	for (size_t i = 0; i < s->n_requirements; i++) {
		if (i > 0)
			buf_put_byte(&out, ',');
		print_requirement(&out, &s->requirements[i]);
	}
	return arena_strdup(a, buf_cstr(&out));
}

/* [A-Za-z0-9] at both ends, -_. between. */
static bool is_name(const char *s, size_t n)
{
	if (n == 0 || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && strchr("-_.", s[i]) == NULL)
			return false;
	return true;
}

/* Lower-case DNS labels joined by dots. */
static bool is_subdomain(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool edge = i == 0 || i + 1 == n || s[i - 1] == '.' || s[i + 1] == '.';

		if (islower((unsigned char)s[i]) || isdigit((unsigned char)s[i]))
			continue;
		if ((s[i] != '-' && s[i] != '.') || edge)
			return false;
	}
	return n > 0;
}

const char *label_key_check(const char *key)
{
	const char *slash = strchr(key, '/'), *name = slash ? slash + 1 : key;
	size_t n = strlen(name);

	if (slash != NULL && strchr(name, '/') != NULL)
		return "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and "
		       "must start and end with an alphanumeric character, with an optional DNS "
		       "subdomain prefix and '/'";
	if (slash != NULL && slash == key)
		return "prefix part must be non-empty";
	if (slash != NULL && slash - key > KEY_PREFIX_MAX)
		return "prefix part must be no more than 253 bytes";
	if (slash != NULL && !is_subdomain(key, (size_t)(slash - key)))
		return "prefix part a lowercase RFC 1123 subdomain must consist of lower case "
		       "alphanumeric characters, '-' or '.', and must start and end with an "
		       "alphanumeric character";
	if (n == 0)
		return "name part must be non-empty";
	if (n > KEY_NAME_MAX)
		return "name part must be no more than 63 bytes";
	if (!is_name(name, n))
		return "name part must consist of alphanumeric characters, '-', '_' or '.', and must "
		       "start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  "
		       "or '123-abc')";
	return NULL;
}

const char *label_value_check(const char *value)
{
	size_t n = strlen(value);

	if (n > KEY_NAME_MAX)
		return "must be no more than 63 bytes";
	if (n > 0 && !is_name(value, n))
		return "a valid label must be an empty string or consist of alphanumeric characters, "
		       "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
		       "'MyValue',  or 'my_value',  or '12345')";
	return NULL;
}
