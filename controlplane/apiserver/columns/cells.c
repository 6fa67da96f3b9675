#include "controlplane/apiserver/columns/cells.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controlplane/apiserver/age.h"
#include "common/api/json_text.h"

static void cell_begin(struct cells *c)
{
	if (c->count++ > 0)
		buf_put_byte(c->out, ',');
}

void cell_text(struct cells *c, const char *text)
{
	cell_begin(c);
	json_put_cstring(c->out, text_of(text));
}

void cell_printf(struct cells *c, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	cell_text(c, arena_vprintf(c->arena, fmt, args));
	va_end(args);
}

void cell_int(struct cells *c, int64_t number)
{
	cell_begin(c);
	buf_printf(c->out, "%lld", (long long)number);
}

void cell_bool(struct cells *c, bool value)
{
	cell_begin(c);
	buf_put_str(c->out, value ? "true" : "false");
}

void cell_text_or(struct cells *c, const char *text, const char *otherwise)
{
	cell_text(c, text != NULL && *text != 0 ? text : otherwise);
}

void cell_take(struct cells *c, struct buf *b)
{
	cell_text(c, buf_cstr(b));
	buf_fini(b);
}

int64_t time_ns(const MetaV1__Time *t)
{
	return t != NULL ? t->seconds * 1000000000 : 0;
}

int64_t microtime_ns(const MetaV1__MicroTime *t)
{
	return t != NULL ? t->seconds * 1000000000 + t->nanos : 0;
}

void cell_age(struct cells *c, const MetaV1__Time *since, const char *unknown)
{
	char text[AGE_TEXT_SIZE];
	int64_t then_ns = time_ns(since);

	if (then_ns == 0) {
		cell_text(c, unknown);
		return;
	}
	age_print(c->now_ns, then_ns, text);
	cell_text(c, text);
}

/* Every kind's message begins with its metadata (field 1 of all published messages). */
struct any_kind {
	ProtobufCMessage base;
	MetaV1__ObjectMeta *metadata;
};

const MetaV1__ObjectMeta *meta_of(const void *message)
{
	static const MetaV1__ObjectMeta none = META_V1__OBJECT_META__INIT;
	const struct any_kind *any = message;

	return any->metadata != NULL ? any->metadata : &none;
}

void cell_name(struct cells *c, const void *message)
{
	cell_text(c, meta_of(message)->name);
}

void cell_created_age(struct cells *c, const void *message)
{
	cell_age(c, meta_of(message)->creationtimestamp, "<unknown>");
}

void cell_created_at(struct cells *c, const void *message)
{
	const MetaV1__Time *created = meta_of(message)->creationtimestamp;
	time_t seconds = created != NULL ? (time_t)created->seconds : 0;
	char text[32];
	struct tm tm;

	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
	cell_text(c, text);
}

void join(struct buf *b, const char *separator, const char *text)
{
	if (b->len > 0)
		buf_put_str(b, separator);
	buf_put_str(b, text_of(text));
}

void cell_containers(struct cells *c, const CoreV1__PodTemplateSpec *t)
{
	struct buf b = { 0 };

	if (t != NULL && t->spec != NULL)
		for (size_t i = 0; i < t->spec->n_containers; i++)
			join(&b, ",", t->spec->containers[i]->name);
	cell_take(c, &b);
}

void cell_images(struct cells *c, const CoreV1__PodTemplateSpec *t)
{
	struct buf b = { 0 };

	if (t != NULL && t->spec != NULL)
		for (size_t i = 0; i < t->spec->n_containers; i++)
			join(&b, ",", t->spec->containers[i]->image);
	cell_take(c, &b);
}

static int entry_order(const void *x, const void *y)
{
	const struct string_entry *a = *(const struct string_entry *const *)x;
	const struct string_entry *b = *(const struct string_entry *const *)y;

	return strcmp(text_of(a->key), text_of(b->key));
}

static void join_map(struct cells *c, struct buf *b, const void *entries, size_t n)
{
	const struct string_entry **sorted =
		arena_array(c->arena, const struct string_entry *, n + 1);

	if (n > 0)
		memcpy(sorted, entries, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), entry_order);
	for (size_t i = 0; i < n; i++) {
		join(b, ",", sorted[i]->key);
		buf_printf(b, "=%s", text_of(sorted[i]->value));
	}
}

void cell_map(struct cells *c, const void *entries, size_t n, const char *otherwise)
{
	struct buf b = { 0 };

	join_map(c, &b, entries, n);
	if (b.len == 0)
		buf_put_str(&b, otherwise);
	cell_take(c, &b);
}

static void join_requirement(struct buf *b, const MetaV1__LabelSelectorRequirement *r)
{
	const char *operator= text_of(r->operator_);

	if (strcmp(operator, "DoesNotExist") == 0) {
		join(b, ",", "!");
		buf_put_str(b, text_of(r->key));
		return;
	}
	join(b, ",", r->key);
	if (strcmp(operator, "Exists") == 0)
		return;
	buf_put_str(b, strcmp(operator, "NotIn") == 0 ? " notin (" : " in (");
	for (size_t i = 0; i < r->n_values; i++)
		buf_printf(b, "%s%s", i ? "," : "", r->values[i]);
	buf_put_byte(b, ')');
}

void cell_selector(struct cells *c, const MetaV1__LabelSelector *selector, const char *otherwise)
{
	struct buf b = { 0 };

	if (selector != NULL) {
		join_map(c, &b, selector->matchlabels, selector->n_matchlabels);
		for (size_t i = 0; i < selector->n_matchexpressions; i++)
			join_requirement(&b, selector->matchexpressions[i]);
	}
	if (b.len == 0)
		buf_put_str(&b, otherwise);
	cell_take(c, &b);
}
