/* The key of a class is read from the stored bytes field by field, which costs
 * little; only a pod of a new class is unpacked. */
#include "controlplane/scheduler/class.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/api/resources.h"
#include "common/base/alloc.h"
#include "controlplane/scheduler/places.h"
#include "controlplane/scheduler/spaces.h"
#include "controlplane/scheduler/terms.h"
#include "controlplane/store/view.h"
#include "controlplane/store/wire.h"

/* What a container counts as for scoring when it asks for nothing. */
enum { SCORED_CPU_MILLI = 100, SCORED_MEMORY_BYTES = 200 * 1024 * 1024 };

/* Numbers of fields in the published schema. */
enum {
	POD_SPEC = 2,
	POD_STATUS = 3,
	SPEC_CONTAINERS = 2,
	SPEC_HOST_NETWORK = 11,
	SPEC_AFFINITY = 18,
	SPEC_INIT_CONTAINERS = 20,
	SPEC_OVERHEAD = 32,
	SPEC_RESOURCES = 40,
	AFFINITY_PODS = 2,
	AFFINITY_NO_PODS = 3,
	CONTAINER_PORTS = 6,
	CONTAINER_RESOURCES = 8,
	CONTAINER_RESTART_POLICY = 24,
};

struct bytes pod_spec_bytes(const struct object *pod)
{
	return wire_find(pod->packed, POD_SPEC);
}

struct bytes pod_status_bytes(const struct object *pod)
{
	return wire_find(pod->packed, POD_STATUS);
}

/* --- Key ------------------------------------------------------------------------------ */

static void put_field(struct buf *key, uint32_t number, struct bytes value)
{
	buf_put(key, &number, sizeof(number));
	key_put(key, value.data, value.len);
}

static void put_container(struct buf *key, const struct wire_field *container)
{
	struct wire w = wire_of(container->bytes);
	struct wire_field f;

	put_field(key, container->number, bytes_of(NULL, 0));
	while (wire_next(&w, &f))
		if (f.type == WIRE_BYTES &&
		    (f.number == CONTAINER_PORTS || f.number == CONTAINER_RESOURCES ||
		     f.number == CONTAINER_RESTART_POLICY))
			put_field(key, f.number, f.bytes);
}

static void put_spec(struct buf *key, struct bytes spec)
{
	struct wire w = wire_of(spec);
	struct wire_field f;

	while (wire_next(&w, &f)) {
		if (f.number == SPEC_HOST_NETWORK && f.type == WIRE_VARINT)
			put_field(key, f.number, bytes_of(&f.value, sizeof(f.value)));
		if (f.type != WIRE_BYTES)
			continue;
		if (f.number == SPEC_CONTAINERS || f.number == SPEC_INIT_CONTAINERS) {
			put_container(key, &f);
		} else if (f.number == SPEC_OVERHEAD || f.number == SPEC_RESOURCES) {
			put_field(key, f.number, f.bytes);
		} else if (f.number == SPEC_AFFINITY) {
			put_field(key, AFFINITY_PODS, wire_find(f.bytes, AFFINITY_PODS));
			put_field(key, AFFINITY_NO_PODS, wire_find(f.bytes, AFFINITY_NO_PODS));
		}
	}
}

/* The namespace and the labels come first, each ended by a zero: the class points into it. */
static void build_key(struct buf *key, const struct object *pod)
{
	uint32_t n = (uint32_t)pod->facts.n_labels;

	buf_put(key, &n, sizeof(n));
	buf_put(key, pod->namespace, strlen(pod->namespace) + 1);
	for (size_t i = 0; i < pod->facts.n_labels; i++) {
		buf_put(key, pod->facts.labels[i].key, strlen(pod->facts.labels[i].key) + 1);
		buf_put(key, pod->facts.labels[i].value, strlen(pod->facts.labels[i].value) + 1);
	}
	put_spec(key, pod_spec_bytes(pod));
}

bool class_is_same(const struct object *old, const struct object *new)
{
	if (old->facts.n_labels != new->facts.n_labels)
		return false;
	for (size_t i = 0; i < old->facts.n_labels; i++)
		if (strcmp(old->facts.labels[i].key, new->facts.labels[i].key) != 0 ||
		    strcmp(old->facts.labels[i].value, new->facts.labels[i].value) != 0)
			return false;
	return bytes_equal(pod_spec_bytes(old), pod_spec_bytes(new));
}

/* --- What the pod asks for --------------------------------------------------------------- */

/* Amounts by name while they are summed up; scored ones are rooms of their own. */
struct asked {
	struct room room;
	struct named {
		const char *name;
		int64_t n;
	} * extended;
	size_t n, cap;
	struct arena *arena;
};

static int64_t add(int64_t a, int64_t b)
{
	int64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t not_negative(int64_t n)
{
	return n > 0 ? n : 0;
}

static int64_t *extended_of(struct asked *asked, const char *name)
{
	for (size_t i = 0; i < asked->n; i++)
		if (strcmp(asked->extended[i].name, name) == 0)
			return &asked->extended[i].n;
	if (asked->n == asked->cap) {
		size_t cap = asked->cap ? asked->cap * 2 : 4;
		struct named *grown = arena_array(asked->arena, struct named, cap);

		if (asked->n > 0)
			memcpy(grown, asked->extended, asked->n * sizeof(*grown));
		asked->extended = grown;
		asked->cap = cap;
	}
	asked->extended[asked->n] = (struct named){ .name = name };
	return &asked->extended[asked->n++].n;
}

/* Where the amount of a resource goes; *ret_milli: in thousandths. */
static int64_t *amount_of(struct asked *asked, const char *name, bool *ret_milli)
{
	*ret_milli = strcmp(name, "cpu") == 0;
	if (*ret_milli)
		return &asked->room.cpu_milli;
	if (strcmp(name, "memory") == 0)
		return &asked->room.memory_bytes;
	if (strcmp(name, "ephemeral-storage") == 0)
		return &asked->room.ephemeral_bytes;
	return extended_of(asked, name);
}

static void read_list(struct asked *asked, const void *entries, size_t n)
{
	struct resource_entry *const *list = entries;

	for (size_t i = 0; i < n; i++) {
		const char *text = list[i]->value ? text_of(list[i]->value->string) : "";
		bool milli;
		int64_t *to = amount_of(asked, text_of(list[i]->key), &milli);

		*to = not_negative(milli ? quantity_text_milli(text) : quantity_text_value(text));
	}
}

static struct asked read_container(struct arena *a, const CoreV1__Container *c)
{
	struct asked asked = { .arena = a };
	bool cpu = false, memory = false;

	if (c->resources != NULL) {
		read_list(&asked, c->resources->requests, c->resources->n_requests);
		cpu = resource_text(c->resources->requests, c->resources->n_requests, "cpu");
		memory = resource_text(c->resources->requests, c->resources->n_requests, "memory");
	}
	asked.room.scored_cpu_milli = cpu ? asked.room.cpu_milli : SCORED_CPU_MILLI;
	asked.room.scored_memory_bytes = memory ? asked.room.memory_bytes : SCORED_MEMORY_BYTES;
	return asked;
}

typedef int64_t join_fn(int64_t a, int64_t b);

static void join(struct asked *to, const struct asked *other, join_fn *with)
{
	struct room *a = &to->room;
	const struct room *b = &other->room;

	a->cpu_milli = with(a->cpu_milli, b->cpu_milli);
	a->memory_bytes = with(a->memory_bytes, b->memory_bytes);
	a->ephemeral_bytes = with(a->ephemeral_bytes, b->ephemeral_bytes);
	a->scored_cpu_milli = with(a->scored_cpu_milli, b->scored_cpu_milli);
	a->scored_memory_bytes = with(a->scored_memory_bytes, b->scored_memory_bytes);
	for (size_t i = 0; i < other->n; i++) {
		int64_t *n = extended_of(to, other->extended[i].name);

		*n = with(*n, other->extended[i].n);
	}
}

static bool is_sidecar(const CoreV1__Container *c)
{
	return text_is(c->restartpolicy, "Always");
}

/* The amounts of the whole pod (spec.resources) count instead of those of its containers. */
static void read_pod_level(struct asked *asked, const CoreV1__PodSpec *spec)
{
	struct asked whole = { .arena = asked->arena };
	const CoreV1__ResourceRequirements *r = spec->resources;

	if (r == NULL)
		return;
	read_list(&whole, r->requests, r->n_requests);
	if (resource_text(r->requests, r->n_requests, "cpu") != NULL)
		asked->room.cpu_milli = asked->room.scored_cpu_milli = whole.room.cpu_milli;
	if (resource_text(r->requests, r->n_requests, "memory") != NULL)
		asked->room.memory_bytes = asked->room.scored_memory_bytes =
			whole.room.memory_bytes;
	for (size_t i = 0; i < whole.n; i++)
		if (strncmp(whole.extended[i].name, "hugepages-", 10) == 0)
			*extended_of(asked, whole.extended[i].name) = whole.extended[i].n;
}

/* max(containers + sidecars, the dearest moment of initialisation) + overhead. */
static struct asked read_asked(struct arena *a, const CoreV1__PodSpec *spec)
{
	struct asked running = { .arena = a }, sidecars = running, peak = running,
		     overhead = running;

	for (size_t i = 0; i < spec->n_containers; i++) {
		struct asked one = read_container(a, spec->containers[i]);

		join(&running, &one, add);
	}
	for (size_t i = 0; i < spec->n_initcontainers; i++) {
		struct asked one = read_container(a, spec->initcontainers[i]);

		if (is_sidecar(spec->initcontainers[i])) {
			join(&sidecars, &one, add);
			join(&peak, &sidecars, larger);
		} else {
			join(&one, &sidecars, add);
			join(&peak, &one, larger);
		}
	}
	join(&running, &sidecars, add);
	join(&running, &peak, larger);
	read_pod_level(&running, spec);
	read_list(&overhead, spec->overhead, spec->n_overhead);
	overhead.room.scored_cpu_milli = overhead.room.cpu_milli;
	overhead.room.scored_memory_bytes = overhead.room.memory_bytes;
	join(&running, &overhead, add);
	running.room.pods = 1;
	return running;
}

static void set_asked(struct cluster *c, struct class *class, const CoreV1__PodSpec *spec)
{
	struct asked asked = read_asked(&c->work, spec);

	class->asked = asked.room;
	class->extended = xcalloc(asked.n + 1, sizeof(*class->extended));
	for (size_t i = 0; i < asked.n; i++)
		if (asked.extended[i].n > 0)
			class->extended[class->n_extended++] =
				(struct amount){ .resource =
							 resource_ref(c, asked.extended[i].name),
						 .asked = asked.extended[i].n };
}

/* --- Ports ------------------------------------------------------------------------------- */

static void add_ports(struct class *class, size_t *cap, const CoreV1__PodSpec *spec,
		      const CoreV1__Container *c)
{
	for (size_t i = 0; i < c->n_ports; i++) {
		const CoreV1__ContainerPort *p = c->ports[i];
		int32_t number = p->hostport;

		/* Pods in the node's network hold what they listen to. */
		if (number == 0 && spec->hostnetwork)
			number = p->containerport;
		if (number <= 0 || number > UINT16_MAX)
			continue;
		array_grow(class->ports, class->n_ports, *cap);
		class->ports[class->n_ports++] = (struct host_port){
			.port = (uint16_t)number,
			.protocol = text_empty(p->protocol) ? "TCP" : p->protocol,
			.ip = text_of(p->hostip),
		};
	}
}

static char *keep_text(char **at, const char *text)
{
	char *kept = *at;
	size_t n = strlen(text) + 1;

	memcpy(kept, text, n);
	*at += n;
	return kept;
}

static void set_ports(struct class *class, const CoreV1__PodSpec *spec)
{
	size_t cap = 0, bytes = 0;
	char *at;

	for (size_t i = 0; i < spec->n_containers; i++)
		add_ports(class, &cap, spec, spec->containers[i]);
	for (size_t i = 0; i < spec->n_initcontainers; i++)
		if (is_sidecar(spec->initcontainers[i]))
			add_ports(class, &cap, spec, spec->initcontainers[i]);
	for (size_t i = 0; i < class->n_ports; i++)
		bytes += strlen(class->ports[i].protocol) + strlen(class->ports[i].ip) + 2;
	at = class->text = bytes > 0 ? xmalloc(bytes) : NULL;
	for (size_t i = 0; i < class->n_ports; i++) {
		class->ports[i].protocol = keep_text(&at, class->ports[i].protocol);
		class->ports[i].ip = keep_text(&at, class->ports[i].ip);
	}
}

/* --- Company ----------------------------------------------------------------------------- */

static void add_hold(struct cluster *c, struct class *class, const CoreV1__PodAffinityTerm *t,
		     enum role role, int32_t weight)
{
	struct selection s = term_selection(class, t);

	class->holds[class->n_holds++] = (struct hold){
		.term = term_ref(c, class, text_of(t->topologykey), &s, 1),
		.role = role,
		.weight = weight,
	};
}

/* What is required of company, each with all selections: only a pod they all speak of counts. */
static void set_wants(struct cluster *c, struct class *class, const CoreV1__PodAffinity *a)
{
	size_t n = a->n_requiredduringschedulingignoredduringexecution;
	struct selection *all = arena_array(&c->work, struct selection, n + 1);

	class->wants = xcalloc(n + 1, sizeof(*class->wants));
	for (size_t i = 0; i < n; i++)
		all[i] =
			term_selection(class, a->requiredduringschedulingignoredduringexecution[i]);
	for (size_t i = 0; i < n; i++) {
		const CoreV1__PodAffinityTerm *t =
			a->requiredduringschedulingignoredduringexecution[i];

		class->wants[class->n_wants++] =
			term_ref(c, class, text_of(t->topologykey), all, n);
		/* Those who have what they want like others of the kind to come as well. */
		add_hold(c, class, t, ROLE_WANTS, 1);
	}
}

static void add_likes(struct cluster *c, struct class *class,
		      CoreV1__WeightedPodAffinityTerm *const *list, size_t n, int32_t sign)
{
	for (size_t i = 0; i < n; i++)
		if (list[i]->podaffinityterm != NULL && list[i]->weight != 0)
			add_hold(c, class, list[i]->podaffinityterm, ROLE_LIKES,
				 sign * list[i]->weight);
}

static void set_company(struct cluster *c, struct class *class, const CoreV1__Affinity *affinity)
{
	const CoreV1__PodAffinity *a = affinity ? affinity->podaffinity : NULL;
	const CoreV1__PodAntiAffinity *no = affinity ? affinity->podantiaffinity : NULL;
	size_t n = (a ? a->n_requiredduringschedulingignoredduringexecution +
				    a->n_preferredduringschedulingignoredduringexecution
		      : 0) +
		   (no ? no->n_requiredduringschedulingignoredduringexecution +
				    no->n_preferredduringschedulingignoredduringexecution
		       : 0);

	if (n == 0)
		return;
	class->holds = xcalloc(n, sizeof(*class->holds));
	if (a != NULL) {
		set_wants(c, class, a);
		add_likes(c, class, a->preferredduringschedulingignoredduringexecution,
			  a->n_preferredduringschedulingignoredduringexecution, 1);
	}
	for (size_t i = 0; no && i < no->n_requiredduringschedulingignoredduringexecution; i++)
		add_hold(c, class, no->requiredduringschedulingignoredduringexecution[i],
			 ROLE_SHUNS, 0);
	if (no != NULL)
		add_likes(c, class, no->preferredduringschedulingignoredduringexecution,
			  no->n_preferredduringschedulingignoredduringexecution, -1);
}

/* --- Life -------------------------------------------------------------------------------- */

/* Namespace and labels, from the key. */
static void set_labels(struct cluster *c, struct class *class)
{
	const char *at = (const char *)class->key;
	uint32_t n;

	memcpy(&n, at, sizeof(n));
	at += sizeof(n);
	class->space = space_make(c, at);
	class->space->n_classes++;
	at += strlen(at) + 1;
	class->labels = xcalloc(n + 1, sizeof(*class->labels));
	for (; class->n_labels < n; class->n_labels++) {
		struct label *l = &class->labels[class->n_labels];

		l->key = at;
		at += strlen(at) + 1;
		l->value = at;
		at += strlen(at) + 1;
	}
}

static struct class *class_make(struct cluster *c, const struct object *pod, struct buf *key,
				uint64_t hash)
{
	static const CoreV1__PodSpec none = CORE_V1__POD_SPEC__INIT;
	struct class *class = xcalloc(1, sizeof(*class));
	struct arena a;

	arena_init(&a, 0);

	const CoreV1__Pod *message = object_message(pod, &a);
	const CoreV1__PodSpec *spec = message->spec ? message->spec : &none;

	class->refs = 1;
	class->key = buf_steal(key, &class->key_len);
	set_labels(c, class);
	set_asked(c, class, spec);
	set_ports(class, spec);
	bag_add(&c->classes, &class->link, hash);
	terms_class_begin(c, class);
	/* Its own terms may speak of it, too: they find it among the classes. */
	set_company(c, class, spec->affinity);
	arena_fini(&a);
	arena_reset(&c->work);
	return class;
}

struct class *class_ref(struct cluster *c, const struct object *pod)
{
	auto_with(buf_fini) struct buf key = { 0 };

	build_key(&key, pod);

	uint64_t hash = hash_bytes(key.data, key.len);

	for (struct bag_node *n = bag_first(&c->classes, hash); n; n = bag_next(n)) {
		struct class *class = container_of(n, struct class, link);

		if (class->key_len == key.len && memcmp(class->key, key.data, key.len) == 0) {
			class->refs++;
			return class;
		}
	}
	return class_make(c, pod, &key, hash);
}

void class_unref(struct cluster *c, struct class *class)
{
	if (class == NULL || --class->refs > 0)
		return;
	bag_remove(&c->classes, &class->link);
	terms_class_end(class);
	for (size_t i = 0; i < class->n_holds; i++)
		term_unref(c, class->holds[i].term);
	for (size_t i = 0; i < class->n_wants; i++)
		term_unref(c, class->wants[i]);
	for (size_t i = 0; i < class->n_extended; i++)
		resource_unref(c, class->extended[i].resource);
	class->space->n_classes--;
	space_drop(c, class->space);
	free(class->holds);
	free(class->wants);
	free(class->extended);
	free(class->ports);
	free(class->text);
	free(class->matched);
	free(class->pods);
	free(class->labels);
	free(class->key);
	free(class);
}
