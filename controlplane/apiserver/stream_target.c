#include "controlplane/apiserver/stream_target.h"

#include <errno.h>
#include <string.h>

#include "common/api/message.h"
#include "common/api/pack.h"
#include "common/base/cleanup.h"

#define DEFAULT_CONTAINER "kubectl.kubernetes.io/default-container"

static const char *container_name(const CoreV1__PodSpec *spec, size_t i)
{
	size_t n = spec->n_containers, n_init = spec->n_initcontainers;

	if (i < n)
		return spec->containers[i]->name;
	i -= n;
	if (i < n_init)
		return spec->initcontainers[i]->name;
	i -= n_init;
	if (i < spec->n_ephemeralcontainers) {
		const CoreV1__EphemeralContainer *e = spec->ephemeralcontainers[i];

		return e->ephemeralcontainercommon != NULL ? e->ephemeralcontainercommon->name : "";
	}
	return NULL;
}

static bool has_container(const CoreV1__PodSpec *spec, const char *name)
{
	const char *found;

	for (size_t i = 0; (found = container_name(spec, i)) != NULL; i++)
		if (strcmp(found, name) == 0)
			return true;
	return false;
}

static const char *default_container(const CoreV1__Pod *pod)
{
	const MetaV1__ObjectMeta *meta = pod->metadata;
	const char *named = string_map_get((struct string_entry *const *)meta->annotations,
					   meta->n_annotations, DEFAULT_CONTAINER);

	if (named != NULL && has_container(pod->spec, named))
		return named;
	return pod->spec->n_containers == 1 ? pod->spec->containers[0]->name : NULL;
}

static int name_one(const CoreV1__Pod *pod, struct status *st)
{
	auto_with(buf_fini) struct buf names = { 0 };

	for (size_t i = 0; i < pod->spec->n_containers; i++)
		buf_printf(&names, "%s%s", i ? " " : "", pod->spec->containers[i]->name);
	return status_set(st, -EBADMSG,
			  "a container name must be specified for pod %s, choose one of: [%s]",
			  pod->metadata->name, buf_cstr(&names));
}

int stream_target_find(struct request *r, const char *container, bool without_container,
		       struct arena *arena, struct stream_target *ret_target, struct status *st)
{
	const struct object *o =
		store_get(r->api->config.store, r->stored, r->path.namespace, r->path.name);
	CoreV1__Pod *pod;

	if (o == NULL)
		return status_not_found(st, r->kind, r->path.name);
	pod = unpack_stored(&core_v1__pod__descriptor, o->packed, arena);
	if (!without_container && (container == NULL || *container == 0)) {
		container = default_container(pod);
		if (container == NULL)
			return name_one(pod, st);
	}
	if (!without_container && !has_container(pod->spec, container))
		return status_set(st, -EBADMSG, "container %.256s is not valid for pod %s",
				  container, o->name);
	if (pod->spec->nodename == NULL || *pod->spec->nodename == 0)
		return status_set(st, -EBADMSG, "pod %s does not have a host assigned", o->name);
	*ret_target = (struct stream_target){ o, pod->spec->nodename, container };
	return 0;
}

int stream_target_open(struct request *r, const struct stream_target *t,
		       SampanNode__StreamOpen *open, const struct node_stream_callbacks *callbacks,
		       void *ctx, struct node_stream **ret_stream, struct status *st)
{
	int rc = -ENOENT;

	open->namespace_ = (char *)t->pod->namespace;
	open->pod = (char *)t->pod->name;
	open->uid = (char *)t->pod->facts.uid;
	open->container = (char *)t->container;
	if (r->api->config.nodes != NULL)
		rc = node_stream_open(r->api->config.nodes, t->node, open, callbacks, ctx,
				      ret_stream);
	if (rc == -ENOENT)
		return status_set(st, -ESHUTDOWN, "node %s is not connected to this master",
				  t->node);
	if (rc < 0)
		return status_set(st, -EAGAIN, "too many streams to containers, please try again");
	return 0;
}
