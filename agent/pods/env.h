/* The environment of a container and the expansion of $(NAME) in it. Pure; any thread. */
#pragma once

#include <stddef.h>

#include "agent/volumes/pod_view.h"
#include "common/base/status.h"

struct environment {
	struct arena *arena;
	char **entries; /* NAME=value; ends with NULL. The last of a name is the only one. */
	size_t n, cap;
};

void environment_init(struct environment *env, struct arena *arena);
void environment_fini(struct environment *env);
void environment_set(struct environment *env, const char *name, const char *value);
/* NULL: not set. */
const char *environment_get(const struct environment *env, const char *name);

/* $(NAME) becomes its value, $$(NAME) the text $(NAME); an unknown name stays as it is. In the arena. */
char *environment_expand(const struct environment *env, const char *text);

/* image_env, then services, then envFrom and env of the container. ENOENT: a ConfigMap, Secret or key that is not
 * optional is missing. */
int environment_build(struct environment *env, const struct pod_view *view,
	const CoreV1__Container *container, char *const *image_env, struct status *st);
