#include "agent/volumes/fields.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/api/message.h"
#include "common/api/quantity.h"

const char *container_limit(const CoreV1__Container *c, const char *resource)
{
	for (size_t i = 0; c->resources && i < c->resources->n_limits; i++) {
		if (strcmp(c->resources->limits[i]->key, resource) == 0 && c->resources->limits[i]->value)
			return c->resources->limits[i]->value->string;
	}
	return NULL;
}

const char *container_request(const CoreV1__Container *c, const char *resource)
{
	for (size_t i = 0; c->resources && i < c->resources->n_requests; i++) {
		if (strcmp(c->resources->requests[i]->key, resource) == 0 && c->resources->requests[i]->value)
			return c->resources->requests[i]->value->string;
	}
	return NULL;
}

const CoreV1__Container *pod_container(const CoreV1__Pod *pod, const char *name)
{
	const CoreV1__PodSpec *spec = pod->spec;

	for (size_t i = 0; i < spec->n_containers; i++) {
		if (strcmp(spec->containers[i]->name, name) == 0)
			return spec->containers[i];
	}
	for (size_t i = 0; i < spec->n_initcontainers; i++) {
		if (strcmp(spec->initcontainers[i]->name, name) == 0)
			return spec->initcontainers[i];
	}
	return NULL;
}

const char *pod_hostname(const CoreV1__Pod *pod, struct arena *arena)
{
	const char *name = pod->spec->hostname && *pod->spec->hostname ? pod->spec->hostname
								       : pod->metadata->name;
	size_t n = strlen(name) > 63 ? 63 : strlen(name);

	while (n > 0 && (name[n - 1] == '-' || name[n - 1] == '.'))
		n--;
	return arena_strndup(arena, name, n);
}

/* All of a map, as key="value" lines; the value is quoted the way Go's %q does for plain text. */
static const char *format_map(struct arena *arena, struct string_entry *const *entries, size_t n)
{
	auto_with(buf_fini) struct buf text = { 0 };

	for (size_t i = 0; i < n; i++) {
		buf_printf(&text, "%s%s=\"", i ? "\n" : "", entries[i]->key);
		for (const char *p = entries[i]->value ? entries[i]->value : ""; *p; p++) {
			switch (*p) {
			case '"':  buf_put_str(&text, "\\\""); break;
			case '\\': buf_put_str(&text, "\\\\"); break;
			case '\n': buf_put_str(&text, "\\n"); break;
			case '\t': buf_put_str(&text, "\\t"); break;
			case '\r': buf_put_str(&text, "\\r"); break;
			default:   buf_put_byte(&text, (uint8_t)*p);
			}
		}
		buf_put_str(&text, "\"");
	}
	return arena_strndup(arena, text.data ? (const char *)text.data : "", text.len);
}

/* metadata.labels['key']: the key, or NULL when the path is not of this form. */
static const char *subscript(struct arena *arena, const char *path, const char *field)
{
	size_t n = strlen(field), len = strlen(path);

	if (len < n + 5 || strncmp(path, field, n) != 0 || strncmp(path + n, "['", 2) != 0 ||
		strcmp(path + len - 2, "']") != 0)
		return NULL;
	return arena_strndup(arena, path + n + 2, len - n - 4);
}

int pod_field(const struct pod_view *view, const char *path, const char **ret_text, struct status *st)
{
	const MetaV1__ObjectMeta *meta = view->pod->metadata;
	const CoreV1__PodSpec *spec = view->pod->spec;
	struct string_entry *const *labels = (struct string_entry *const *)meta->labels;
	struct string_entry *const *annotations = (struct string_entry *const *)meta->annotations;
	const char *key, *text = NULL;

	if (strcmp(path, "metadata.name") == 0)
		text = meta->name;
	else if (strcmp(path, "metadata.namespace") == 0)
		text = meta->namespace_;
	else if (strcmp(path, "metadata.uid") == 0)
		text = meta->uid;
	else if (strcmp(path, "metadata.labels") == 0)
		text = format_map(view->arena, labels, meta->n_labels);
	else if (strcmp(path, "metadata.annotations") == 0)
		text = format_map(view->arena, annotations, meta->n_annotations);
	else if ((key = subscript(view->arena, path, "metadata.labels")) != NULL)
		text = string_map_get(labels, meta->n_labels, key);
	else if ((key = subscript(view->arena, path, "metadata.annotations")) != NULL)
		text = string_map_get(annotations, meta->n_annotations, key);
	else if (strcmp(path, "spec.nodeName") == 0)
		text = view->node->name;
	else if (strcmp(path, "spec.serviceAccountName") == 0)
		text = spec->serviceaccountname;
	else if (strcmp(path, "status.hostIP") == 0 || strcmp(path, "status.hostIPs") == 0)
		text = view->node->address;
	else if (strcmp(path, "status.podIP") == 0 || strcmp(path, "status.podIPs") == 0)
		text = view->ip;
	else
		return status_set(st, -EINVAL, "the pod field \"%s\" cannot be referred to", path);
	*ret_text = text ? text : "";
	return 0;
}

int pod_resource_field(const struct pod_view *view, const CoreV1__ResourceFieldSelector *selector,
	const CoreV1__Container *container, const char **ret_text, struct status *st)
{
	const char *what = selector->resource ? selector->resource : "", *text, *divisor_text;
	int64_t value, divisor;

	if (selector->containername && *selector->containername)
		container = pod_container(view->pod, selector->containername);
	if (container == NULL)
		return status_set(st, -EINVAL, "resourceFieldRef: no container \"%s\" in the pod",
			selector->containername ? selector->containername : "");

	bool limit = strncmp(what, "limits.", 7) == 0;

	if (!limit && strncmp(what, "requests.", 9) != 0)
		return status_set(st, -EINVAL, "resourceFieldRef: \"%s\" cannot be referred to", what);
	const char *resource = what + (limit ? 7 : 9);
	bool cpu = strcmp(resource, "cpu") == 0;

	text = limit ? container_limit(container, resource) : container_request(container, resource);
	if (text != NULL)
		value = cpu ? quantity_text_milli(text) : quantity_text_value(text);
	else if (limit)
		value = cpu ? view->node->cpu_milli : strcmp(resource, "memory") == 0 ? view->node->memory_bytes : 0;
	else
		value = 0;
	divisor_text = selector->divisor && selector->divisor->string && *selector->divisor->string
		? selector->divisor->string
		: "1";
	divisor = cpu ? quantity_text_milli(divisor_text) : quantity_text_value(divisor_text);
	if (divisor <= 0)
		divisor = cpu ? 1000 : 1;
	*ret_text = arena_printf(view->arena, "%lld",
		(long long)(value / divisor + (value % divisor > 0)));
	return 0;
}
