#include "agent/pods/env.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/volumes/fields.h"
#include "agent/volumes/payload.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"

void environment_init(struct environment *env, struct arena *arena)
{
	*env = (struct environment){ .arena = arena };
	array_grow(env->entries, env->n, env->cap);
	env->entries[0] = NULL;
}

void environment_fini(struct environment *env)
{
	free(env->entries);
	env->entries = NULL;
	env->n = env->cap = 0;
}

static size_t find(const struct environment *env, const char *name, size_t len)
{
	size_t i = 0;

	while (i < env->n && !(strncmp(env->entries[i], name, len) == 0 && env->entries[i][len] == '='))
		i++;
	return i;
}

void environment_set(struct environment *env, const char *name, const char *value)
{
	size_t i = find(env, name, strlen(name));

	if (i == env->n) {
		env->n++;
		array_grow(env->entries, env->n, env->cap);
		env->entries[env->n] = NULL;
	}
	env->entries[i] = arena_printf(env->arena, "%s=%s", name, value);
}

static const char *get(const struct environment *env, const char *name, size_t len)
{
	size_t i = find(env, name, len);

	return i < env->n ? env->entries[i] + len + 1 : NULL;
}

const char *environment_get(const struct environment *env, const char *name)
{
	return get(env, name, strlen(name));
}

char *environment_expand(const struct environment *env, const char *text)
{
	auto_with(buf_fini) struct buf out = { 0 };

	while (*text) {
		const char *close = text[0] == '$' && text[1] == '(' ? strchr(text, ')') : NULL;

		if (text[0] == '$' && text[1] == '$') {
			buf_put_str(&out, "$");
			text += 2;
		} else if (close != NULL) {
			const char *value = get(env, text + 2, (size_t)(close - text - 2));

			if (value != NULL)
				buf_put_str(&out, value);
			else
				buf_put(&out, text, (size_t)(close - text) + 1);
			text = close + 1;
		} else {
			buf_put_byte(&out, (uint8_t)*text++);
		}
	}
	return arena_strndup(env->arena, out.data ? (const char *)out.data : "", out.len);
}

/* my-svc becomes MY_SVC. */
static char *variable_name(struct arena *arena, const char *text)
{
	char *name = arena_strdup(arena, text);

	for (char *p = name; *p; p++)
		*p = *p == '-' || *p == '.' ? '_' : (char)toupper((unsigned char)*p);
	return name;
}

static void add_service(struct environment *env, const CoreV1__Service *s)
{
	struct arena *a = env->arena;
	const char *name = variable_name(a, s->metadata->name), *ip = s->spec ? s->spec->clusterip : NULL;

	if (ip == NULL || *ip == '\0' || strcmp(ip, "None") == 0 || s->spec->n_ports == 0)
		return;
	environment_set(env, arena_printf(a, "%s_SERVICE_HOST", name), ip);
	environment_set(env, arena_printf(a, "%s_SERVICE_PORT", name),
		arena_printf(a, "%d", s->spec->ports[0]->port));
	for (size_t i = 0; i < s->spec->n_ports; i++) {
		const CoreV1__ServicePort *p = s->spec->ports[i];
		const char *protocol = p->protocol && *p->protocol ? p->protocol : "TCP";
		const char *prefix = arena_printf(a, "%s_PORT_%d_%s", name, p->port, protocol);
		char *lower = arena_strdup(a, protocol);

		for (char *c = lower; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		if (p->name && *p->name)
			environment_set(env,
				arena_printf(a, "%s_SERVICE_PORT_%s", name, variable_name(a, p->name)),
				arena_printf(a, "%d", p->port));
		const char *url = arena_printf(a, "%s://%s:%d", lower, ip, p->port);

		if (i == 0)
			environment_set(env, arena_printf(a, "%s_PORT", name), url);
		environment_set(env, prefix, url);
		environment_set(env, arena_printf(a, "%s_PROTO", prefix), lower);
		environment_set(env, arena_printf(a, "%s_PORT", prefix), arena_printf(a, "%d", p->port));
		environment_set(env, arena_printf(a, "%s_ADDR", prefix), ip);
	}
}

/* The API server's Service always, the others of the namespace unless the pod declines. */
static void add_services(struct environment *env, const struct pod_view *view)
{
	bool links = !view->pod->spec->has_enableservicelinks || view->pod->spec->enableservicelinks;

	for (size_t i = 0; i < view->objects->n; i++) {
		const struct held_object *o = view->objects->items[i];
		void *service;

		if (strcmp(o->resource, "services") != 0)
			continue;
		bool master = strcmp(o->namespace, "default") == 0 && strcmp(o->name, "kubernetes") == 0;

		if (!master && (!links || strcmp(o->namespace, view->pod->metadata->namespace_) != 0))
			continue;
		if (unpack_message(&core_v1__service__descriptor, o->packed, env->arena, &service, NULL) == 0)
			add_service(env, service);
	}
}

static const char *reference_name(const CoreV1__LocalObjectReference *r)
{
	return r && r->name ? r->name : "";
}

static int add_from(struct environment *env, const struct pod_view *view, const CoreV1__EnvFromSource *from,
	struct status *st)
{
	const char *prefix = from->prefix ? from->prefix : "";

	if (from->configmapref) {
		const char *name = reference_name(from->configmapref->localobjectreference);
		const CoreV1__ConfigMap *map = view_config_map(view, name);

		if (map == NULL)
			return from->configmapref->optional
				? 0
				: status_set(st, -ENOENT, "configmap \"%s\" not found", name);
		for (size_t i = 0; i < map->n_data; i++)
			environment_set(env, arena_printf(env->arena, "%s%s", prefix, map->data[i]->key),
				map->data[i]->value ? map->data[i]->value : "");
	} else if (from->secretref) {
		const char *name = reference_name(from->secretref->localobjectreference);
		const CoreV1__Secret *secret = view_secret(view, name);

		if (secret == NULL)
			return from->secretref->optional ? 0
							 : status_set(st, -ENOENT, "secret \"%s\" not found", name);
		for (size_t i = 0; i < secret->n_data; i++)
			environment_set(env, arena_printf(env->arena, "%s%s", prefix, secret->data[i]->key),
				arena_strndup(env->arena, (const char *)secret->data[i]->value.data,
					secret->data[i]->value.len));
	}
	return 0;
}

/* *ret stays NULL when an optional source is missing. */
static int read_config_key(const struct pod_view *view, const CoreV1__ConfigMapKeySelector *s,
	const char **ret, struct status *st)
{
	const char *name = reference_name(s->localobjectreference), *key = s->key ? s->key : "";
	const CoreV1__ConfigMap *map = view_config_map(view, name);

	for (size_t i = 0; map && i < map->n_data; i++) {
		if (strcmp(map->data[i]->key, key) == 0) {
			*ret = map->data[i]->value ? map->data[i]->value : "";
			return 0;
		}
	}
	if (s->optional)
		return 0;
	return map ? status_set(st, -ENOENT, "couldn't find key %s in ConfigMap %s/%s", key,
			     view->pod->metadata->namespace_, name)
		   : status_set(st, -ENOENT, "configmap \"%s\" not found", name);
}

static int read_secret_key(const struct pod_view *view, const CoreV1__SecretKeySelector *s, const char **ret,
	struct status *st)
{
	const char *name = reference_name(s->localobjectreference), *key = s->key ? s->key : "";
	const CoreV1__Secret *secret = view_secret(view, name);

	for (size_t i = 0; secret && i < secret->n_data; i++) {
		if (strcmp(secret->data[i]->key, key) == 0) {
			*ret = arena_strndup(view->arena, (const char *)secret->data[i]->value.data,
				secret->data[i]->value.len);
			return 0;
		}
	}
	if (s->optional)
		return 0;
	return secret ? status_set(st, -ENOENT, "couldn't find key %s in Secret %s/%s", key,
				view->pod->metadata->namespace_, name)
		      : status_set(st, -ENOENT, "secret \"%s\" not found", name);
}

static int add_variable(struct environment *env, const struct pod_view *view,
	const CoreV1__Container *container, const CoreV1__EnvVar *v, struct status *st)
{
	const CoreV1__EnvVarSource *from = v->valuefrom;
	const char *value = NULL;
	int rc = 0;

	if (v->name == NULL || *v->name == '\0')
		return status_set(st, -EINVAL, "a variable has no name");
	if (from == NULL)
		value = environment_expand(env, v->value ? v->value : "");
	else if (from->fieldref)
		rc = pod_field(view, from->fieldref->fieldpath ? from->fieldref->fieldpath : "", &value, st);
	else if (from->resourcefieldref)
		rc = pod_resource_field(view, from->resourcefieldref, container, &value, st);
	else if (from->configmapkeyref)
		rc = read_config_key(view, from->configmapkeyref, &value, st);
	else if (from->secretkeyref)
		rc = read_secret_key(view, from->secretkeyref, &value, st);
	if (rc == 0 && value != NULL)
		environment_set(env, v->name, value);
	return rc;
}

int environment_build(struct environment *env, const struct pod_view *view,
	const CoreV1__Container *container, char *const *image_env, struct status *st)
{
	int rc = 0;

	environment_set(env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	environment_set(env, "HOSTNAME", pod_hostname(view->pod, env->arena));
	if (container->tty)
		environment_set(env, "TERM", "xterm");
	for (size_t i = 0; image_env[i] != NULL; i++) {
		char *name = arena_strdup(env->arena, image_env[i]), *equals = strchr(name, '=');

		if (equals == NULL)
			continue;
		*equals = '\0';
		environment_set(env, name, equals + 1);
	}
	add_services(env, view);
	for (size_t i = 0; i < container->n_envfrom && rc == 0; i++)
		rc = add_from(env, view, container->envfrom[i], st);
	for (size_t i = 0; i < container->n_env && rc == 0; i++)
		rc = add_variable(env, view, container, container->env[i], st);
	return rc;
}
