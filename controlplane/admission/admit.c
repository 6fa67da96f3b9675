/* The order of a write, the same for every kind:
 *
 *   namespace alive -> defaults -> server-owned fields -> policy of the kind ->
 *   defaults again (policy may have added volumes) -> validation -> allocation
 *
 * What a kind adds stands in its strategy; nothing here names a kind. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/api/pack.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/strategy.h"

enum { NAME_MAX_GENERATED = 63, SUFFIX_LEN = 5, NAME_ATTEMPTS_MAX = 8 };

static const struct strategy *const strategies[] = {
	&strategy_autoscaler,
	&strategy_pod,
	&strategy_service,
	&strategy_namespace,
	&strategy_node,
	&strategy_config_map,
	&strategy_secret,
	&strategy_endpoints,
	&strategy_endpoint_slice,
	&strategy_deployment,
	&strategy_replication_controller,
	&strategy_stateful_set,
	&strategy_replica_set,
	&strategy_event,
	&strategy_ingress,
	&strategy_ingress_class,
	&strategy_network_policy,
	&strategy_lease,
	&strategy_service_account,
	&strategy_pod_template,
	&strategy_priority_class,
	&strategy_disruption_budget,
	&strategy_limit_range,
	&strategy_resource_quota,
	&strategy_role,
	&strategy_cluster_role,
	&strategy_role_binding,
	&strategy_cluster_role_binding,
	&strategy_certificate_request,
	&strategy_controller_revision,
	&strategy_cron_job,
	&strategy_daemon_set,
	&strategy_job,
	&strategy_persistent_volume,
	&strategy_persistent_volume_claim,
	&strategy_storage_class,
};

const struct strategy *strategy_of(const ProtobufCMessageDescriptor *descriptor)
{
	static const struct strategy plain;

	for (size_t i = 0; i < array_size(strategies); i++)
		if (strategies[i]->descriptor == descriptor)
			return strategies[i];
	return &plain;
}

int forbid(struct status *st, const struct kind *kind, const char *name, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	status_vset(st, -EPERM, fmt, args);
	va_end(args);
	status_prefix(st, "%s \"%s\" is forbidden", kind->resource, name);
	status_details(st, kind->group, kind->plural, name);
	return -EPERM;
}

int conflict(struct status *st, const struct kind *kind, const char *name, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	status_vset(st, -ESTALE, fmt, args);
	va_end(args);
	status_prefix(st, "Operation cannot be fulfilled on %s \"%s\"", kind->resource, name);
	status_details(st, kind->group, kind->plural, name);
	return -ESTALE;
}

int not_found(struct status *st, const struct kind *kind, const char *name)
{
	status_set(st, -ENOENT, "%s \"%s\" not found", kind->resource, name);
	status_details(st, kind->group, kind->plural, name);
	return -ENOENT;
}

char *random_suffix(struct admission *a, size_t n)
{
	/* Without vowels and lookalikes, so that no name says something. */
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	char *s = arena_zalloc(a->arena, n + 1);

	for (size_t i = 0; i < n; i++)
		s[i] = alphabet[source_random_below(a->source, sizeof(alphabet) - 1)];
	return s;
}

void admission_claim(struct admission *a, const char *claim)
{
	if (a->n_claims == a->cap_claims) {
		size_t cap = a->cap_claims ? a->cap_claims * 2 : 8;
		const char **grown = arena_alloc(a->arena, cap * sizeof(*grown));

		if (a->n_claims > 0)
			memcpy(grown, a->claims, a->n_claims * sizeof(*grown));
		a->claims = grown;
		a->cap_claims = cap;
	}
	a->claims[a->n_claims++] = claim;
}

void admission_warn(struct admission *a, const char *fmt, ...)
{
	enum { WARNINGS_MAX = 32 };
	va_list args;

	if (a->n_warnings == WARNINGS_MAX)
		return;
	if (a->warnings == NULL) {
		a->cap_warnings = WARNINGS_MAX;
		a->warnings = arena_alloc(a->arena, WARNINGS_MAX * sizeof(*a->warnings));
	}
	va_start(args, fmt);
	a->warnings[a->n_warnings++] = arena_vprintf(a->arena, fmt, args);
	va_end(args);
}

/* New content only where it can live: the namespace exists and is not on its way out. */
static int check_namespace(struct admission *a, const struct kind *kind,
			   const MetaV1__ObjectMeta *meta, struct status *st)
{
	const struct kind *namespaces = kind_named("", "Namespace");
	const char *namespace = text_of(meta->namespace_);

	if (!(kind->flags & KIND_NAMESPACED) || namespace[0] == '\0')
		return 0;

	const struct object *ns = a->reader->get(a->reader->ctx, namespaces, "", namespace);

	if (ns == NULL)
		return not_found(st, namespaces, namespace);
	if (ns->facts.deleted_ns == 0)
		return 0;
	forbid(st, kind, text_of(meta->name),
	       "unable to create new content in namespace %s because it is being terminated",
	       namespace);
	status_cause(st, "NamespaceTerminating", "metadata.namespace",
		     "namespace %s is being terminated", namespace);
	return -EPERM;
}

/* metadata.name from generateName: the base is cut so that the whole fits a label. */
static void generate_name(struct admission *a, const struct kind *kind, MetaV1__ObjectMeta *meta)
{
	size_t n = strlen(meta->generatename);

	if (n > NAME_MAX_GENERATED - SUFFIX_LEN)
		n = NAME_MAX_GENERATED - SUFFIX_LEN;
	for (int attempt = 0; attempt < NAME_ATTEMPTS_MAX; attempt++) {
		meta->name = arena_printf(a->arena, "%.*s%s", (int)n, meta->generatename,
					  random_suffix(a, SUFFIX_LEN));
		if (a->reader->get(a->reader->ctx, kind, text_of(meta->namespace_), meta->name) ==
		    NULL)
			return;
	}
}

static void complete_metadata(struct admission *a, const struct kind *kind,
			      MetaV1__ObjectMeta *meta)
{
	char uid[37];

	source_uuid(a->source, uid);
	meta->uid = arena_strdup(a->arena, uid);
	meta->creationtimestamp = make_time(a->arena, a->now_ns);
	meta->deletiontimestamp = NULL;
	meta->has_deletiongraceperiodseconds = 0;
	meta->selflink = NULL;
	meta->resourceversion = NULL;
	meta->n_managedfields = 0;
	meta->has_generation = 0;
	if (kind->flags & KIND_GENERATION)
		make_set(meta, generation, 1);
	if (text_empty(meta->name) && !text_empty(meta->generatename))
		generate_name(a, kind, meta);
}

/* Everything that is wrong with the message on its own. */
static void validate(struct checks *c, const struct kind *kind, const struct strategy *s,
		     ProtobufCMessage *message, ProtobufCMessage *old)
{
	metadata_validate(c, kind, s->name ? s->name : name_is_subdomain,
			  message_metadata(message));
	if (old != NULL)
		metadata_validate_update(c, message_metadata(message), message_metadata(old));
	check_enums(c, NULL, message);
	if (s->validate != NULL)
		s->validate(c, message, old);
}

static int settle(struct admission *a, const struct kind *kind, const struct strategy *s,
		  ProtobufCMessage *message, ProtobufCMessage *old, struct status *st)
{
	struct checks c = { .arena = a->arena, .st = st };
	const char *name = text_of(message_metadata(message)->name);

	validate(&c, kind, s, message, old);
	if (c.n == 0 && s->allocate != NULL)
		s->allocate(a, &c, message, old);
	return checks_end(&c, kind, name);
}

int admit_create(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
		 struct status *st)
{
	const struct strategy *s = strategy_of(message->descriptor);
	MetaV1__ObjectMeta *meta = message_metadata_make(message, a->arena);

	if (!(kind->flags & KIND_NAMESPACED))
		meta->namespace_ = NULL;

	int rc = check_namespace(a, kind, meta, st);

	if (rc < 0)
		return rc;
	if ((kind->flags & KIND_STATUS) && !s->keeps_status)
		message_child_set(message, "status", NULL);
	complete_metadata(a, kind, meta);
	admission_defaults(a->arena, kind, message);
	if (s->prepare != NULL)
		s->prepare(a, message, NULL);
	rc = admit_limits(a, kind, message, true, st);
	if (rc < 0)
		return rc;
	if (s->admit != NULL) {
		rc = s->admit(a, kind, message, NULL, st);
		if (rc < 0)
			return rc;
		admission_defaults(a->arena, kind, message);
	}
	return settle(a, kind, s, message, NULL, st);
}

/* Name, identity and life belong to the server, whatever the client sends. */
static void keep_metadata(MetaV1__ObjectMeta *meta, const MetaV1__ObjectMeta *old)
{
	if (text_empty(meta->name))
		meta->name = old->name;
	if (text_empty(meta->namespace_))
		meta->namespace_ = old->namespace_;
	if (text_empty(meta->uid))
		meta->uid = old->uid;
	meta->generatename = old->generatename;
	meta->selflink = NULL;
	meta->resourceversion = NULL;
	meta->creationtimestamp = old->creationtimestamp;
	meta->deletiontimestamp = old->deletiontimestamp;
	meta->has_deletiongraceperiodseconds = old->has_deletiongraceperiodseconds;
	meta->deletiongraceperiodseconds = old->deletiongraceperiodseconds;
	meta->has_generation = old->has_generation;
	meta->generation = old->generation;
	meta->n_managedfields = 0;
}

/* Whether anything but metadata and status differs. */
static bool spec_differs(struct arena *arena, const ProtobufCMessage *message,
			 const ProtobufCMessage *old)
{
	size_t size = message->descriptor->sizeof_message;
	ProtobufCMessage *a = arena_memdup(arena, message, size);
	ProtobufCMessage *b = arena_memdup(arena, old, size);

	message_child_set(a, "metadata", NULL);
	message_child_set(b, "metadata", NULL);
	message_child_set(a, "status", NULL);
	message_child_set(b, "status", NULL);
	return !message_equal(a, b);
}

/* Only one member comes from the client, the rest is what is stored. */
static void keep_all_but(ProtobufCMessage *message, const ProtobufCMessage *old, const char *member)
{
	ProtobufCMessage *given = message_child(message, member);

	memcpy(message, old, message->descriptor->sizeof_message);
	message_child_set(message, member, given);
}

static int update_status(struct admission *a, const struct kind *kind, const struct strategy *s,
			 ProtobufCMessage *message, ProtobufCMessage *old, struct status *st)
{
	struct checks c = { .arena = a->arena, .st = st };

	keep_all_but(message, old, "status");
	admission_defaults(a->arena, kind, message);
	if (message_child(message, "status") != NULL)
		check_enums(&c, FIELD(NULL, "status"), message_child(message, "status"));
	if (s->validate_status != NULL)
		s->validate_status(&c, message, old);
	return checks_end(&c, kind, text_of(message_metadata(message)->name));
}

/* What the object holds stays its own unless allocation decides anew. */
static void keep_claims(struct admission *a, const struct object *old)
{
	a->n_claims = 0;
	for (size_t i = 0; i < old->n_claims; i++)
		admission_claim(a, arena_strdup(a->arena, old->claims[i]));
}

int admit_update(struct admission *a, const struct kind *kind, const struct object *stored,
		 ProtobufCMessage *message, struct status *st)
{
	const struct strategy *s = strategy_of(message->descriptor);
	ProtobufCMessage *old = unpack_stored(message->descriptor, stored->packed, a->arena);
	const char *sub = text_of(a->subresource);

	keep_claims(a, stored);
	if (strcmp(sub, "status") == 0)
		return update_status(a, kind, s, message, old, st);
	if (strcmp(sub, "finalize") == 0) {
		/* Finalizers live in the spec of a Namespace and are all that may change. */
		keep_all_but(message, old, "spec");
		return 0;
	}

	MetaV1__ObjectMeta *meta = message_metadata_make(message, a->arena);

	if (!text_empty(meta->uid) && !text_is(meta->uid, stored->facts.uid))
		return conflict(st, kind, stored->name,
				"Precondition failed: UID in precondition: %s, UID in object meta: "
				"%s",
				meta->uid, stored->facts.uid);
	keep_metadata(meta, message_metadata(old));
	if (kind->flags & KIND_STATUS)
		message_child_set(message, "status", message_child(old, "status"));
	admission_defaults(a->arena, kind, message);
	if (s->prepare != NULL)
		s->prepare(a, message, old);

	int limited = admit_limits(a, kind, message, false, st);

	if (limited < 0)
		return limited;
	if (s->admit != NULL) {
		int rc = s->admit(a, kind, message, old, st);

		if (rc < 0)
			return rc;
	}
	if (s->allocate != NULL)
		a->n_claims = 0;

	int rc = settle(a, kind, s, message, old, st);

	if (rc == 0 && (kind->flags & KIND_GENERATION) && spec_differs(a->arena, message, old))
		make_set(meta, generation, meta->generation + 1);
	return rc;
}
