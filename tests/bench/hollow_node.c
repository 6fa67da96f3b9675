/*   STARTING --start delay--> RUNNING --(run time)--> DONE
 *       |                        |                     |
 *       +-- deletionTimestamp ---+---------------------+--> STOPPING --stop delay--> GONE
 *
 * Only pod_due() moves a pod, except for the way to STOPPING. What the masters hold of a pod wins
 * at first sight: a hollow node that begins anew goes on with the addresses its pods have. */
#include "tests/bench/hollow_node.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pods/status.h"
#include "agent/session/session.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/conf.h"
#include "common/base/map.h"
#include "common/base/source.h"
#include "common/io/tls.h"

enum { POD_BYTES_MAX = 4 * 1024 * 1024, MASTERS_MAX = 16, ADDRESSES = 254 };

enum hollow_state { STATE_STARTING, STATE_RUNNING, STATE_DONE, STATE_STOPPING, STATE_GONE };

struct hollow_node {
	struct hollow *hollow;
	char *name, *address, *zone, *masters_file;
	struct conf conf; /* The session borrows from it. */
	struct objects *objects;
	struct session *session;
	struct map pods; /* uid -> struct hollow_pod */
	uint32_t base;   /* Of the podCIDR; 0: not known yet. */
	bool used[ADDRESSES];
	unsigned next;
	int64_t started_ns;
	uint64_t usage_ms; /* When usage was told last. */
};

struct hollow_pod {
	struct tree_node by_due;
	bool is_due; /* In the tree. */
	uint64_t due_ms, serial;
	struct hollow_node *node;
	struct held_object *object;
	enum hollow_state state;
	bool ends; /* Its restartPolicy lets it end. */
	size_t n_containers;
	int64_t taken_ns, running_ns, ended_ns;
	unsigned address; /* Index + 1; 0: none. */
};

static int64_t wall_ns(void)
{
	return system_source.wall_ns(&system_source);
}

static void pod_due(struct hollow_pod *p);

/* --- Time ------------------------------------------------------------------------------ */

static int compare_due(const void *key, const struct tree_node *node)
{
	const struct hollow_pod *a = key, *b = container_of(node, struct hollow_pod, by_due);

	if (a->due_ms != b->due_ms)
		return a->due_ms < b->due_ms ? -1 : 1;
	return a->serial < b->serial ? -1 : a->serial > b->serial;
}

static void on_wake(uv_timer_t *timer)
{
	struct hollow *h = container_of(timer, struct hollow, wake);
	struct hollow_pod *p;

	while ((p = tree_entry(tree_first(&h->due), struct hollow_pod, by_due)) != NULL) {
		uint64_t now_ms = io_now_ms(&h->io);

		if (p->due_ms > now_ms) {
			uv_timer_start(&h->wake, on_wake, p->due_ms - now_ms, 0);
			return;
		}
		tree_remove(&h->due, &p->by_due);
		p->is_due = false;
		pod_due(p);
	}
}

static void due_cancel(struct hollow_pod *p)
{
	if (p->is_due)
		tree_remove(&p->node->hollow->due, &p->by_due);
	p->is_due = false;
}

static void due_in(struct hollow_pod *p, const struct hollow_delay *delay)
{
	struct hollow *h = p->node->hollow;
	uint64_t span_ms = (uint64_t)(delay->max_ms - delay->min_ms) + 1;

	due_cancel(p);
	p->due_ms = io_now_ms(&h->io) + (uint64_t)delay->min_ms + source_random_below(&system_source, span_ms);
	p->serial = h->next_serial++;
	p->is_due = true;
	tree_insert(&h->due, p, &p->by_due);
	if (tree_first(&h->due) == &p->by_due)
		uv_timer_start(&h->wake, on_wake, p->due_ms - io_now_ms(&h->io), 0);
}

static void on_turn(uv_check_t *check)
{
	arena_reset(&container_of(check, struct hollow, turn)->statuses);
}

void hollow_init(struct hollow *h, uv_loop_t *loop, const struct hollow_options *options)
{
	*h = (struct hollow){ .options = *options };
	io_loop_init(&h->io, loop);
	tree_init(&h->due, compare_due);
	arena_init(&h->statuses, 0);
	uv_timer_init(loop, &h->wake);
	uv_check_init(loop, &h->turn);
	uv_check_start(&h->turn, on_turn);
}

/* --- Addresses ---------------------------------------------------------------------------- */

static void address_take(struct hollow_pod *p)
{
	struct hollow_node *n = p->node;

	for (unsigned i = 0; p->address == 0 && n->base != 0 && i < ADDRESSES; i++) {
		unsigned at = (n->next + i) % ADDRESSES;

		if (n->used[at])
			continue;
		n->used[at] = true;
		n->next = at + 1;
		p->address = at + 1;
	}
}

static void address_keep(struct hollow_pod *p, const char *text)
{
	struct in_addr in;
	uint32_t at;

	if (text_empty(text) || inet_pton(AF_INET, text, &in) != 1)
		return;
	at = ntohl(in.s_addr) - p->node->base - 1;
	if (p->node->base == 0 || at >= ADDRESSES || p->node->used[at])
		return;
	p->node->used[at] = true;
	p->address = at + 1;
}

static void address_give_back(struct hollow_pod *p)
{
	if (p->address != 0)
		p->node->used[p->address - 1] = false;
	p->address = 0;
}

static const char *address_text(const struct hollow_pod *p, struct arena *a)
{
	uint32_t ip = p->node->base + p->address;

	return p->address == 0 ? "" : arena_printf(a, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

/* --- Pods ----------------------------------------------------------------------------------- */

static const CoreV1__Pod *pod_message(const struct held_object *o, struct arena *a)
{
	void *message;

	if (unpack_message(&core_v1__pod__descriptor, o->packed, a, &message, NULL) < 0)
		return NULL;
	const CoreV1__Pod *pod = message;

	return pod->metadata != NULL && pod->spec != NULL ? pod : NULL;
}

static void set_state(struct hollow_pod *p, enum hollow_state state)
{
	struct hollow *h = p->node->hollow;

	h->n_running -= p->state == STATE_RUNNING;
	h->n_running += state == STATE_RUNNING;
	h->n_started += state == STATE_RUNNING;
	h->n_ended += state == STATE_GONE;
	p->state = state;
	session_report_pod(p->node->session, p->object->uid);
}

static void pod_due(struct hollow_pod *p)
{
	switch (p->state) {
	case STATE_STARTING:
		p->running_ns = wall_ns();
		address_take(p);
		set_state(p, STATE_RUNNING);
		if (p->ends)
			due_in(p, &p->node->hollow->options.run);
		break;
	case STATE_RUNNING:
		p->ended_ns = wall_ns();
		set_state(p, STATE_DONE);
		break;
	case STATE_STOPPING:
		set_state(p, STATE_GONE);
		break;
	case STATE_DONE:
	case STATE_GONE:
		break;
	}
}

/* The masters know more of it than we do when this process is new. */
static void take_over(struct hollow_pod *p, const CoreV1__Pod *pod)
{
	const CoreV1__PodStatus *s = pod->status;

	if (s == NULL || !text_is(s->phase, "Running"))
		return;
	p->taken_ns = time_ns_of(s->starttime);
	p->running_ns = p->taken_ns;
	address_keep(p, s->podip);
	p->state = STATE_RUNNING;
	p->node->hollow->n_running++;
}

static void pod_put(struct hollow_node *n, struct held_object *o)
{
	struct hollow *h = n->hollow;
	auto_with(arena_fini) struct arena arena = { 0 };
	struct hollow_pod *p = map_get(&n->pods, o->uid);

	arena_init(&arena, POD_BYTES_MAX);
	const CoreV1__Pod *pod = pod_message(o, &arena);

	if (pod == NULL)
		return;
	h->n_puts++;
	if (p == NULL) {
		p = xcalloc(1, sizeof(*p));
		p->node = n;
		p->taken_ns = wall_ns();
		p->ends = !text_empty(pod->spec->restartpolicy) && !text_is(pod->spec->restartpolicy, "Always");
		p->n_containers = pod->spec->n_containers;
		map_put(&n->pods, o->uid, p);
		h->n_pods++;
		take_over(p, pod);
		if (p->state == STATE_STARTING)
			due_in(p, &h->options.start);
		else if (p->ends)
			due_in(p, &h->options.run);
	}
	held_object_ref(o);
	held_object_unref(p->object);
	p->object = o;
	if (pod->metadata->deletiontimestamp != NULL && p->state < STATE_STOPPING) {
		due_cancel(p);
		set_state(p, STATE_STOPPING);
		due_in(p, &h->options.stop);
	}
}

static void pod_drop(struct hollow_node *n, const char *uid)
{
	struct hollow_pod *p = map_remove(&n->pods, uid);

	if (p == NULL)
		return;
	due_cancel(p);
	address_give_back(p);
	n->hollow->n_running -= p->state == STATE_RUNNING;
	n->hollow->n_pods--;
	held_object_unref(p->object);
	free(p);
}

/* --- Statuses ---------------------------------------------------------------------------------- */

struct facts {
	struct container_facts containers[POD_CONTAINERS_MAX];
	struct container_report reports[POD_CONTAINERS_MAX];
	size_t n;
};

static void add_container(struct facts *f, const struct hollow_pod *p, const CoreV1__Container *spec,
	enum container_kind kind, struct arena *a)
{
	struct container_facts *c = &f->containers[f->n];
	bool ended = p->state >= STATE_DONE || (kind == CONTAINER_INIT && p->state == STATE_RUNNING);

	if (f->n == POD_CONTAINERS_MAX)
		return;
	*c = (struct container_facts){ .kind = kind, .image_ready = true, .started = true };
	c->phase = p->running_ns == 0 ? PHASE_NONE
		: ended && p->state != STATE_STOPPING ? PHASE_ENDED
						      : PHASE_RUNNING;
	f->reports[f->n] = (struct container_report){ .spec = spec,
		.facts = c,
		.ready = c->phase == PHASE_RUNNING,
		.current = { .id = p->running_ns ? arena_printf(a, "%s%.8s%zu", p->object->uid, p->node->name, f->n) : NULL,
			.started_ns = p->running_ns,
			.finished_ns = p->ended_ns ? p->ended_ns : p->running_ns,
			.image = spec->image,
			.image_id = spec->image } };
	f->n++;
}

static const CoreV1__PodStatus *pod_hollow_status(const struct hollow_pod *p, struct arena *a)
{
	struct facts *f = arena_new(a, struct facts);
	struct pod_plan *plan = arena_new(a, struct pod_plan);
	const CoreV1__Pod *pod = pod_message(p->object, a);
	struct pod_facts facts = { .now_ns = wall_ns(),
		.policy = p->ends ? RESTART_NEVER : RESTART_ALWAYS,
		.stop = p->state >= STATE_STOPPING,
		.sandbox = p->running_ns != 0,
		.released = p->state == STATE_GONE,
		.containers = f->containers };

	for (size_t i = 0; i < pod->spec->n_initcontainers; i++) {
		const CoreV1__Container *c = pod->spec->initcontainers[i];

		add_container(f, p, c, text_is(c->restartpolicy, "Always") ? CONTAINER_SIDECAR : CONTAINER_INIT, a);
	}
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		add_container(f, p, pod->spec->containers[i], CONTAINER_MAIN, a);
	facts.n_containers = f->n;
	pod_decide(&facts, plan);
	return pod_status_build(&(struct pod_report){ .pod = pod,
					.plan = plan,
					.facts = &facts,
					.containers = f->reports,
					.started_ns = p->taken_ns,
					.host_ip = p->node->address,
					.pod_ip = pod->spec->hostnetwork && p->running_ns ? p->node->address : address_text(p, a),
					.before = pod->status },
		a);
}

/* --- What the session asks -------------------------------------------------------------------- */

static bool on_pod_asked(void *ctx, const char *uid, SampanNode__PodReport *ret)
{
	struct hollow_node *n = ctx;
	struct hollow_pod *p = map_get(&n->pods, uid);
	struct arena *a = &n->hollow->statuses;

	if (p == NULL)
		return false;
	struct bytes packed = pack_message_in(a, pod_hollow_status(p, a));

	ret->namespace_ = arena_strdup(a, p->object->namespace);
	ret->name = arena_strdup(a, p->object->name);
	ret->uid = arena_strdup(a, uid);
	ret->has_status = ret->has_gone = 1;
	ret->status = (ProtobufCBinaryData){ packed.len, (uint8_t *)packed.data };
	ret->gone = p->state == STATE_GONE;
	return true;
}

static void on_put(void *ctx, struct held_object *o)
{
	if (strcmp(o->resource, "pods") == 0)
		pod_put(ctx, o);
}

static void on_removed(void *ctx, struct held_object *o)
{
	if (strcmp(o->resource, "pods") == 0)
		pod_drop(ctx, o->uid);
}

static void on_unknown_pod(void *ctx, const char *uid)
{
	pod_drop(ctx, uid);
}

static void on_cluster(void *ctx, const struct session_cluster *c)
{
	struct hollow_node *n = ctx;
	char text[INET_ADDRSTRLEN];
	struct in_addr in;

	n->hollow->n_registered++;
	if (c->pod_cidr != NULL && sscanf(c->pod_cidr, "%15[0-9.]", text) == 1 && inet_pton(AF_INET, text, &in) == 1)
		n->base = ntohl(in.s_addr);
}

static void on_stream(void *ctx, const SampanNode__StreamOpen *open)
{
	/* There is nothing to look into: the client of it times out. */
}

static void on_token(void *ctx, const char *uid, const char *audience, int64_t expiration_s, const char *token,
	int64_t expires_ns, const char *message)
{
}

static uint64_t about(long middle)
{
	uint64_t tenth = (uint64_t)middle / 10;

	return (uint64_t)middle - tenth + source_random_below(&system_source, 2 * tenth + 1);
}

static SampanNode__PodUsage *pod_usage(const struct hollow_pod *p, struct arena *a)
{
	const struct hollow_options *o = &p->node->hollow->options;
	SampanNode__PodUsage *u = arena_new(a, SampanNode__PodUsage);

	sampan_node__pod_usage__init(u);
	u->uid = arena_strdup(a, p->object->uid);
	make_set(u, window_ms, (uint32_t)o->usage_s * 1000);
	for (size_t i = 0; i < p->n_containers; i++) {
		SampanNode__ContainerUsage *c = arena_new(a, SampanNode__ContainerUsage);

		sampan_node__container_usage__init(c);
		c->name = i == 0 ? arena_strdup(a, "app") : arena_printf(a, "app-%zu", i);
		make_set(c, cpu_nanocores, about(o->used_milli * 1000) * 1000);
		make_set(c, memory_bytes, about(o->used_mib * 1024) * 1024);
		make_append(a, u, containers, c);
	}
	return u;
}

static SampanNode__Usage *on_usage_asked(void *ctx, bool again)
{
	struct hollow_node *n = ctx;
	struct arena *a = &n->hollow->statuses;
	const struct hollow_options *o = &n->hollow->options;
	uint64_t now_ms = io_now_ms(&n->hollow->io);

	if (o->usage_s == 0 || (!again && now_ms - n->usage_ms < (uint64_t)o->usage_s * 1000))
		return NULL;
	SampanNode__Usage *u = arena_new(a, SampanNode__Usage);

	sampan_node__usage__init(u);
	n->usage_ms = now_ms;
	make_set(u, age_ms, 0);
	make_set(u, window_ms, (uint32_t)o->usage_s * 1000);
	u->pods = arena_array(a, SampanNode__PodUsage *, n->pods.count + 1);
	map_for_each(slot, &n->pods) {
		const struct hollow_pod *p = slot->value;

		if (p->state == STATE_RUNNING)
			u->pods[u->n_pods++] = pod_usage(p, a);
	}
	make_set(u, cpu_nanocores, about(o->used_milli * 1000) * 1000 * u->n_pods);
	make_set(u, memory_bytes, about(o->used_mib * 1024) * 1024 * u->n_pods);
	return u;
}

static void on_renewed(void *ctx)
{
	/* Good for a year, longer than a run; the next one reads it. */
}

static void add_quantity(struct arena *a, CoreV1__NodeStatus *s, const char *name, char *text)
{
	Resource__Quantity *q = make(a, Resource__Quantity, resource__quantity);
	CoreV1__NodeStatus__CapacityEntry *c =
		make(a, CoreV1__NodeStatus__CapacityEntry, core_v1__node_status__capacity_entry);
	CoreV1__NodeStatus__AllocatableEntry *e =
		make(a, CoreV1__NodeStatus__AllocatableEntry, core_v1__node_status__allocatable_entry);

	q->string = text;
	c->key = e->key = arena_strdup(a, name);
	c->value = e->value = q;
	make_append(a, s, capacity, c);
	make_append(a, s, allocatable, e);
}

static void add_condition(struct hollow_node *n, struct arena *a, CoreV1__NodeStatus *s, const char *type, bool is)
{
	CoreV1__NodeCondition *c = make(a, CoreV1__NodeCondition, core_v1__node_condition);

	c->type = arena_strdup(a, type);
	c->status = arena_strdup(a, is ? "True" : "False");
	c->reason = arena_strdup(a, is ? "KubeletReady" : "KubeletHasEnough");
	c->lastheartbeattime = c->lasttransitiontime = make_time(a, n->started_ns);
	make_append(a, s, conditions, c);
}

static void add_address(struct arena *a, CoreV1__NodeStatus *s, const char *type, const char *address)
{
	CoreV1__NodeAddress *item = make(a, CoreV1__NodeAddress, core_v1__node_address);

	item->type = arena_strdup(a, type);
	item->address = arena_strdup(a, address);
	make_append(a, s, addresses, item);
}

static CoreV1__Node *on_node_asked(void *ctx, struct arena *a)
{
	static const char *const wrong[] = { "MemoryPressure", "DiskPressure", "PIDPressure" };
	struct hollow_node *n = ctx;
	const struct hollow_options *o = &n->hollow->options;
	CoreV1__Node *node = make(a, CoreV1__Node, core_v1__node);
	CoreV1__NodeStatus *s = make(a, CoreV1__NodeStatus, core_v1__node_status);

	node->metadata = make(a, MetaV1__ObjectMeta, meta_v1__object_meta);
	node->metadata->name = n->name;
	meta_set_label(a, node->metadata, "kubernetes.io/hostname", n->name);
	meta_set_label(a, node->metadata, "kubernetes.io/os", "linux");
	meta_set_label(a, node->metadata, "kubernetes.io/arch", "amd64");
	if (n->zone != NULL)
		meta_set_label(a, node->metadata, "topology.kubernetes.io/zone", n->zone);
	node->spec = make(a, CoreV1__NodeSpec, core_v1__node_spec);
	node->status = s;
	add_quantity(a, s, "cpu", arena_printf(a, "%ld", o->cpu));
	add_quantity(a, s, "memory", arena_printf(a, "%ldGi", o->memory_gib));
	add_quantity(a, s, "pods", arena_printf(a, "%ld", o->pods));
	add_quantity(a, s, "ephemeral-storage", arena_strdup(a, "100Gi"));
	for (size_t i = 0; i < array_size(wrong); i++)
		add_condition(n, a, s, wrong[i], false);
	add_condition(n, a, s, "Ready", true);
	add_address(a, s, "InternalIP", n->address);
	add_address(a, s, "Hostname", n->name);
	s->nodeinfo = make(a, CoreV1__NodeSystemInfo, core_v1__node_system_info);
	s->nodeinfo->kubeletversion = arena_strdup(a, "v1.33.0-sampan-" SAMPAN_VERSION);
	s->nodeinfo->operatingsystem = arena_strdup(a, "linux");
	s->nodeinfo->architecture = arena_strdup(a, "amd64");
	s->nodeinfo->containerruntimeversion = arena_strdup(a, "hollow://1");
	return node;
}

int hollow_node_start(struct hollow *h, const char *dir, const char *name, const char *address, size_t number,
	struct status *st)
{
	struct hollow_node *n = xcalloc(1, sizeof(*n));
	autofree char *conf = xasprintf("%s/agent.conf", dir);
	const char *masters[MASTERS_MAX];
	size_t n_masters = 0;
	int rc = conf_read(&n->conf, conf, st);

	if (rc == 0)
		rc = objects_create(h->io.uv, NULL, &n->objects, st);
	if (rc < 0) {
		free(n);
		return rc;
	}
	n->hollow = h;
	n->name = xstrdup(name);
	n->address = xstrdup(address);
	n->zone = h->options.zones > 0 ? xasprintf("zone-%zu", number % (size_t)h->options.zones) : NULL;
	n->masters_file = xasprintf("%s/masters.conf", dir);
	n->started_ns = wall_ns();
	h->n_nodes++;
	while (n_masters < MASTERS_MAX && conf_get_nth(&n->conf, "master", n_masters) != NULL) {
		masters[n_masters] = conf_get_nth(&n->conf, "master", n_masters);
		n_masters++;
	}
	return session_start(&(struct session_options){ .loop = &h->io,
				     .node = n->name,
				     .ca_file = conf_get(&n->conf, "ca_file", NULL),
				     .cert_file = conf_get(&n->conf, "cert_file", NULL),
				     .key_file = conf_get(&n->conf, "key_file", NULL),
				     .masters = masters,
				     .n_masters = n_masters,
				     .masters_file = n->masters_file,
				     .objects = n->objects,
				     .callbacks = { .put = on_put,
					     .removed = on_removed,
					     .cluster = on_cluster,
					     .stream = on_stream,
					     .pod = on_pod_asked,
					     .unknown_pod = on_unknown_pod,
					     .token = on_token,
					     .node = on_node_asked,
					     .usage = on_usage_asked,
					     .renewed = on_renewed,
					     .ctx = n } },
		&n->session, st);
}
