#include "controlplane/store/facts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/quantity.h"
#include "controlplane/store/wire.h"
#include "proto/k8s/core_v1.pb-c.h"

/* Field numbers of the published schema. Canonical bytes come in ascending order,
 * but nothing here relies on it. */
enum {
	KIND_METADATA = 1,
	KIND_SPEC = 2,
	KIND_STATUS_FIELD = 3,

	META_NAME = 1,
	META_GENERATE_NAME = 2,
	META_UID = 5,
	META_GENERATION = 7,
	META_CREATED = 8,
	META_DELETED = 9,
	META_LABELS = 11,
	META_ANNOTATIONS = 12,
	META_OWNERS = 13,
	META_FINALIZERS = 14,

	OWNER_KIND = 1,
	OWNER_NAME = 3,
	OWNER_UID = 4,
	OWNER_API_VERSION = 5,
	OWNER_CONTROLLER = 6,
	OWNER_BLOCKS = 7,

	ENTRY_KEY = 1,
	ENTRY_VALUE = 2,
	TIME_SECONDS = 1,
	TIME_NANOS = 2,
	QUANTITY_TEXT = 1,

	POD_VOLUMES = 1,
	POD_CONTAINERS = 2,
	POD_NODE_NAME = 10,
	POD_HOST_NETWORK = 11,
	POD_SCHEDULER = 19,
	POD_AFFINITY = 18,
	POD_INIT_CONTAINERS = 20,
	POD_PRIORITY = 25,
	POD_OVERHEAD = 32,
	AFFINITY_NODE = 1,
	NODE_AFFINITY_REQUIRED = 1,
	SELECTOR_TERMS = 1,
	TERM_FIELDS = 2,
	FIELD_KEY = 1,
	FIELD_OPERATOR = 2,
	FIELD_VALUES = 3,

	VOLUME_NAME = 1,
	VOLUME_SOURCE = 2,
	SOURCE_CLAIM = 10,
	SOURCE_EPHEMERAL = 29,
	CLAIM_NAME = 1,

	CONTAINER_PORTS = 6,
	CONTAINER_RESOURCES = 8,
	CONTAINER_RESTART_POLICY = 24,
	RESOURCES_REQUESTS = 2,
	PORT_HOST_PORT = 2,
	PORT_PROTOCOL = 4,
	PORT_HOST_IP = 5,

	POD_PHASE = 1,
	POD_CONDITIONS = 2,
	POD_IP = 6,
	POD_START_TIME = 7,
	POD_IPS = 12,
	POD_IP_TEXT = 1,
	SERVICE_SELECTOR = 2,
	POD_CONTAINER_STATUSES = 8,
	POD_INIT_STATUSES = 10,
	CONTAINER_STATE = 2,
	CONTAINER_RESTARTS = 5,
	STATE_TERMINATED = 3,
	TERMINATED_FINISHED = 6,

	NODE_POD_CIDR = 1,
	NODE_UNSCHEDULABLE = 4,
	NODE_TAINTS = 5,
	NODE_ALLOCATABLE = 2,
	NODE_CONDITIONS = 4,
	NODE_ADDRESSES = 5,
	TAINT_KEY = 1,
	TAINT_VALUE = 2,
	TAINT_EFFECT = 3,
	TAINT_ADDED = 4,
	ADDRESS_TYPE = 1,
	ADDRESS_TEXT = 2,

	CONDITION_TYPE = 1,
	CONDITION_STATUS = 2,
	CONDITION_SINCE = 4,
};

/* Name of a pod, a dash, name of a volume. */
#define EPHEMERAL_NAME_MAX 512
#define MAX_NS_SECONDS (INT64_MAX / 1000000000 - 1)

void *pen_take(struct pen *pen, size_t size)
{
	size_t at = (pen->used + 7) & ~(size_t)7;

	pen->used = at + size;
	return pen->base != NULL ? pen->base + at : NULL;
}

const char *pen_str(struct pen *pen, struct bytes text)
{
	if (text.len == 0)
		return "";

	char *at = pen->base != NULL ? pen->base + pen->used : NULL;

	pen->used += text.len + 1;
	if (at == NULL)
		return "";
	memcpy(at, text.data, text.len);
	at[text.len] = '\0';
	return at;
}

static int64_t read_time(struct bytes time)
{
	struct wire w = wire_of(time);
	struct wire_field f;
	int64_t seconds = 0, nanos = 0;

	while (wire_next(&w, &f)) {
		if (f.number == TIME_SECONDS && f.type == WIRE_VARINT)
			seconds = (int64_t)f.value;
		else if (f.number == TIME_NANOS && f.type == WIRE_VARINT)
			nanos = (int32_t)f.value;
	}
	if (seconds < -MAX_NS_SECONDS || seconds > MAX_NS_SECONDS || nanos < 0 ||
	    nanos >= 1000000000)
		return 0;
	return seconds * 1000000000 + nanos;
}

/* --- metadata ---------------------------------------------------------------- */

static int compare_labels(const void *a, const void *b)
{
	const struct label *left = a, *right = b;

	return strcmp(left->key, right->key);
}

static void read_label(struct pen *pen, struct bytes entry, struct label *ret)
{
	const char *key = pen_str(pen, wire_find(entry, ENTRY_KEY));
	const char *value = pen_str(pen, wire_find(entry, ENTRY_VALUE));

	if (ret != NULL)
		*ret = (struct label){ key, value };
}

static void read_owner(struct pen *pen, struct bytes owner, struct owner_ref *ret)
{
	struct owner_ref read = {
		.api_version = pen_str(pen, wire_find(owner, OWNER_API_VERSION)),
		.kind = pen_str(pen, wire_find(owner, OWNER_KIND)),
		.name = pen_str(pen, wire_find(owner, OWNER_NAME)),
		.uid = pen_str(pen, wire_find(owner, OWNER_UID)),
	};
	struct wire w = wire_of(owner);
	struct wire_field f;

	while (wire_next(&w, &f)) {
		if (f.number == OWNER_CONTROLLER && f.type == WIRE_VARINT)
			read.controller = f.value != 0;
		else if (f.number == OWNER_BLOCKS && f.type == WIRE_VARINT)
			read.block_owner_deletion = f.value != 0;
	}
	if (ret != NULL)
		*ret = read;
}

static void read_meta(struct pen *pen, struct bytes meta, struct facts *facts)
{
	struct label *labels = pen_take(pen, wire_count(meta, META_LABELS) * sizeof(*labels));
	struct owner_ref *owners = pen_take(pen, wire_count(meta, META_OWNERS) * sizeof(*owners));
	const char **finalizers =
		pen_take(pen, wire_count(meta, META_FINALIZERS) * sizeof(*finalizers));
	struct wire w = wire_of(meta);
	struct wire_field f;

	while (wire_next(&w, &f)) {
		if (f.number == META_GENERATION && f.type == WIRE_VARINT)
			facts->generation = (int64_t)f.value;
		if (f.type != WIRE_BYTES)
			continue;
		if (f.number == META_UID) {
			facts->uid = pen_str(pen, f.bytes);
		} else if (f.number == META_GENERATE_NAME) {
			facts->generate_name = pen_str(pen, f.bytes);
		} else if (f.number == META_CREATED) {
			facts->created_ns = read_time(f.bytes);
		} else if (f.number == META_DELETED) {
			facts->deleted_ns = read_time(f.bytes);
		} else if (f.number == META_LABELS) {
			read_label(pen, f.bytes, labels ? &labels[facts->n_labels] : NULL);
			facts->n_labels++;
		} else if (f.number == META_OWNERS) {
			read_owner(pen, f.bytes, owners ? &owners[facts->n_owners] : NULL);
			facts->n_owners++;
		} else if (f.number == META_FINALIZERS) {
			const char *finalizer = pen_str(pen, f.bytes);

			if (finalizers != NULL)
				finalizers[facts->n_finalizers] = finalizer;
			facts->n_finalizers++;
		}
	}
	if (labels != NULL && facts->n_labels > 1)
		qsort(labels, facts->n_labels, sizeof(*labels), compare_labels);
	facts->labels = labels;
	facts->owners = owners;
	facts->finalizers = finalizers;
}

/* --- What pods ask for --------------------------------------------------------- */

struct amounts {
	int64_t cpu_milli, memory_bytes, ephemeral_bytes, pods;
};

static int64_t add(int64_t a, int64_t b)
{
	int64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int64_t max(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void amounts_add(struct amounts *to, const struct amounts *more)
{
	to->cpu_milli = add(to->cpu_milli, more->cpu_milli);
	to->memory_bytes = add(to->memory_bytes, more->memory_bytes);
	to->ephemeral_bytes = add(to->ephemeral_bytes, more->ephemeral_bytes);
}

static void amounts_max(struct amounts *to, const struct amounts *other)
{
	to->cpu_milli = max(to->cpu_milli, other->cpu_milli);
	to->memory_bytes = max(to->memory_bytes, other->memory_bytes);
	to->ephemeral_bytes = max(to->ephemeral_bytes, other->ephemeral_bytes);
}

static int64_t read_quantity(struct bytes quantity, bool milli)
{
	struct bytes text = wire_find(quantity, QUANTITY_TEXT);
	struct quantity q;

	if (quantity_parse(text, &q) < 0)
		return 0;
	return max(0, milli ? quantity_milli(&q) : quantity_value(&q));
}

/* The entries of a resource list: field number of message. */
static struct amounts read_amounts(struct bytes message, uint32_t number)
{
	struct amounts amounts = { 0 };
	struct wire w = wire_of(message);
	struct wire_field f;

	while (wire_next(&w, &f)) {
		if (f.number != number || f.type != WIRE_BYTES)
			continue;

		struct bytes key = wire_find(f.bytes, ENTRY_KEY);
		struct bytes quantity = wire_find(f.bytes, ENTRY_VALUE);

		if (bytes_are(key, "cpu"))
			amounts.cpu_milli = read_quantity(quantity, true);
		else if (bytes_are(key, "memory"))
			amounts.memory_bytes = read_quantity(quantity, false);
		else if (bytes_are(key, "ephemeral-storage"))
			amounts.ephemeral_bytes = read_quantity(quantity, false);
		else if (bytes_are(key, "pods"))
			amounts.pods = read_quantity(quantity, false);
	}
	return amounts;
}

static bool is_sidecar(struct bytes container)
{
	return bytes_are(wire_find(container, CONTAINER_RESTART_POLICY), "Always");
}

/* max(containers + sidecars, the dearest moment of initialisation) + overhead. */
static struct amounts pod_requests(struct bytes spec)
{
	struct amounts running = { 0 }, sidecars = { 0 }, peak = { 0 };
	struct wire w = wire_of(spec);
	struct wire_field f;

	while (wire_next(&w, &f)) {
		bool init = f.number == POD_INIT_CONTAINERS;

		if (f.type != WIRE_BYTES || (!init && f.number != POD_CONTAINERS))
			continue;

		struct amounts asked =
			read_amounts(wire_find(f.bytes, CONTAINER_RESOURCES), RESOURCES_REQUESTS);

		if (!init) {
			amounts_add(&running, &asked);
		} else if (is_sidecar(f.bytes)) {
			amounts_add(&sidecars, &asked);
			amounts_max(&peak, &sidecars);
		} else {
			amounts_add(&asked, &sidecars);
			amounts_max(&peak, &asked);
		}
	}

	struct amounts overhead = read_amounts(spec, POD_OVERHEAD);

	amounts_add(&running, &sidecars);
	amounts_max(&running, &peak);
	amounts_add(&running, &overhead);
	return running;
}

static size_t read_ports(struct pen *pen, struct bytes container, struct host_port *ports)
{
	struct wire w = wire_of(container), inner;
	struct wire_field f, port;
	size_t n = 0;

	while (wire_next(&w, &f)) {
		uint64_t number = 0;

		if (f.number != CONTAINER_PORTS || f.type != WIRE_BYTES)
			continue;
		inner = wire_of(f.bytes);
		while (wire_next(&inner, &port))
			if (port.number == PORT_HOST_PORT && port.type == WIRE_VARINT)
				number = port.value;
		if (number == 0 || number > UINT16_MAX)
			continue;

		struct bytes protocol = wire_find(f.bytes, PORT_PROTOCOL);
		struct host_port read = {
			.port = (uint16_t)number,
			.protocol = protocol.len > 0 ? pen_str(pen, protocol) : "TCP",
			.ip = pen_str(pen, wire_find(f.bytes, PORT_HOST_IP)),
		};

		if (ports != NULL)
			ports[n] = read;
		n++;
	}
	return n;
}

static bool holds_ports(const struct wire_field *f)
{
	return f->type == WIRE_BYTES &&
	       (f->number == POD_CONTAINERS ||
		(f->number == POD_INIT_CONTAINERS && is_sidecar(f->bytes)));
}

static void read_host_ports(struct pen *pen, struct bytes spec, struct pod_facts *pod)
{
	struct wire w = wire_of(spec);
	struct wire_field f;
	struct pen counting = { 0 };
	size_t n = 0;

	while (wire_next(&w, &f))
		if (holds_ports(&f))
			n += read_ports(&counting, f.bytes, NULL);

	struct host_port *ports = pen_take(pen, n * sizeof(*ports));

	w = wire_of(spec);
	n = 0;
	while (wire_next(&w, &f))
		if (holds_ports(&f))
			n += read_ports(pen, f.bytes, ports ? &ports[n] : NULL);
	pod->host_ports = ports;
	pod->n_host_ports = n;
}

/* The claim a volume stands for, or nothing. An ephemeral volume's is named after its pod. */
static const char *read_claim(struct pen *pen, struct bytes volume, struct bytes pod)
{
	struct bytes source = wire_find(volume, VOLUME_SOURCE);
	struct bytes name = wire_find(wire_find(source, SOURCE_CLAIM), CLAIM_NAME);
	char text[EPHEMERAL_NAME_MAX];

	if (name.len > 0)
		return pen_str(pen, name);
	if (wire_find(source, SOURCE_EPHEMERAL).len == 0)
		return NULL;
	name = wire_find(volume, VOLUME_NAME);

	if (pod.len + 1 + name.len > sizeof(text))
		return NULL;
	memcpy(text, pod.data, pod.len);
	text[pod.len] = '-';
	memcpy(text + pod.len + 1, name.data, name.len);
	return pen_str(pen, bytes_of(text, pod.len + 1 + name.len));
}

static void read_claims(struct pen *pen, struct bytes spec, struct bytes name,
			struct pod_facts *pod)
{
	struct pen counting = { 0 };
	struct wire w = wire_of(spec);
	struct wire_field f;
	size_t n = 0;

	while (wire_next(&w, &f))
		n += f.number == POD_VOLUMES && f.type == WIRE_BYTES &&
		     read_claim(&counting, f.bytes, name) != NULL;
	if (n == 0)
		return;

	const char **claims = pen_take(pen, (n + 1) * sizeof(*claims));

	n = 0;
	w = wire_of(spec);
	while (wire_next(&w, &f)) {
		const char *claim = f.number == POD_VOLUMES && f.type == WIRE_BYTES
					    ? read_claim(pen, f.bytes, name)
					    : NULL;

		if (claims != NULL && claim != NULL)
			claims[n++] = claim;
	}
	if (claims != NULL)
		claims[n] = NULL;
	pod->claims = claims;
}

/* --- Pods and nodes ------------------------------------------------------------- */

static enum pod_phase read_phase(struct bytes text)
{
	if (bytes_are(text, "Running"))
		return PHASE_RUNNING;
	if (bytes_are(text, "Succeeded"))
		return PHASE_SUCCEEDED;
	if (bytes_are(text, "Failed"))
		return PHASE_FAILED;
	return text.len == 0 || bytes_are(text, "Pending") ? PHASE_PENDING : PHASE_UNKNOWN;
}

static int32_t read_restarts(struct bytes container_status)
{
	struct wire w = wire_of(container_status);
	struct wire_field f;
	int32_t restarts = 0;

	while (wire_next(&w, &f))
		if (f.number == CONTAINER_RESTARTS && f.type == WIRE_VARINT)
			restarts = (int32_t)f.value;
	return restarts;
}

static int64_t read_finished(struct bytes container_status)
{
	struct bytes terminated =
		wire_find(wire_find(container_status, CONTAINER_STATE), STATE_TERMINATED);

	return terminated.len > 0 ? read_time(wire_find(terminated, TERMINATED_FINISHED)) : 0;
}

/* The node that the required node affinity, one term with one field, names. */
static struct bytes read_pin(struct bytes spec)
{
	struct bytes required = wire_find(wire_find(wire_find(spec, POD_AFFINITY), AFFINITY_NODE),
					  NODE_AFFINITY_REQUIRED);
	struct bytes term = wire_find(required, SELECTOR_TERMS);
	struct bytes field = wire_find(term, TERM_FIELDS);

	if (wire_count(required, SELECTOR_TERMS) != 1 || wire_count(term, TERM_FIELDS) != 1 ||
	    wire_count(field, FIELD_VALUES) != 1 ||
	    !bytes_are(wire_find(field, FIELD_KEY), "metadata.name") ||
	    !bytes_are(wire_find(field, FIELD_OPERATOR), "In"))
		return (struct bytes){ 0 };
	return wire_find(field, FIELD_VALUES);
}

static void read_pod_spec(struct pen *pen, struct bytes spec, struct pod_facts *pod)
{
	struct amounts asked = pod_requests(spec);
	struct wire w = wire_of(spec);
	struct wire_field f;

	while (wire_next(&w, &f)) {
		if (f.number == POD_HOST_NETWORK && f.type == WIRE_VARINT)
			pod->host_network = f.value != 0;
		else if (f.number == POD_PRIORITY && f.type == WIRE_VARINT)
			pod->priority = (int32_t)f.value;
	}
	pod->node_name = pen_str(pen, wire_find(spec, POD_NODE_NAME));
	pod->scheduled = wire_find(spec, POD_NODE_NAME).len > 0;
	pod->pinned_to = pod->scheduled ? "" : pen_str(pen, read_pin(spec));
	pod->scheduler_name = pen_str(pen, wire_find(spec, POD_SCHEDULER));
	pod->cpu_milli = asked.cpu_milli;
	pod->memory_bytes = asked.memory_bytes;
	pod->ephemeral_bytes = asked.ephemeral_bytes;
	read_host_ports(pen, spec, pod);
}

static bool is_ipv6(struct bytes address)
{
	return address.len > 0 && memchr(address.data, ':', address.len) != NULL;
}

static struct bytes read_other_ip(struct bytes status)
{
	bool first_is_ipv6 = is_ipv6(wire_find(status, POD_IP));
	struct wire w = wire_of(status);
	struct wire_field f;

	while (wire_next(&w, &f)) {
		struct bytes ip = { 0 };

		if (f.number == POD_IPS && f.type == WIRE_BYTES)
			ip = wire_find(f.bytes, POD_IP_TEXT);
		if (ip.len > 0 && is_ipv6(ip) != first_is_ipv6)
			return ip;
	}
	return (struct bytes){ 0 };
}

static void read_pod_status(struct pen *pen, struct bytes status, struct pod_facts *pod)
{
	struct wire w = wire_of(status);
	struct wire_field f;
	int64_t restarts = 0;

	pod->phase = read_phase(wire_find(status, POD_PHASE));
	pod->ip = pen_str(pen, wire_find(status, POD_IP));
	pod->other_ip = pen_str(pen, read_other_ip(status));
	pod->start_ns = read_time(wire_find(status, POD_START_TIME));
	while (wire_next(&w, &f)) {
		if (f.type != WIRE_BYTES)
			continue;
		if (f.number == POD_CONTAINER_STATUSES || f.number == POD_INIT_STATUSES) {
			restarts += read_restarts(f.bytes);
			pod->finished_ns = max(pod->finished_ns, read_finished(f.bytes));
		}
		if (f.number == POD_CONDITIONS &&
		    bytes_are(wire_find(f.bytes, CONDITION_TYPE), "Ready")) {
			pod->ready = bytes_are(wire_find(f.bytes, CONDITION_STATUS), "True");
			pod->ready_since_ns = read_time(wire_find(f.bytes, CONDITION_SINCE));
		}
	}
	pod->restarts = restarts > INT32_MAX || restarts < 0 ? INT32_MAX : (int32_t)restarts;
}

static int64_t read_deletion_cost(struct bytes meta)
{
	struct wire w = wire_of(meta);
	struct wire_field f;
	char text[24] = "";

	while (wire_next(&w, &f)) {
		if (f.number != META_ANNOTATIONS || f.type != WIRE_BYTES ||
		    !bytes_are(wire_find(f.bytes, ENTRY_KEY),
			       "controller.kubernetes.io/pod-deletion-cost"))
			continue;

		struct bytes value = wire_find(f.bytes, ENTRY_VALUE);

		if (value.len > 0 && value.len < sizeof(text)) {
			memcpy(text, value.data, value.len);
			text[value.len] = '\0';
		}
	}
	return strtoll(text, NULL, 10);
}

static const struct pod_facts *read_pod(struct pen *pen, const struct object *o)
{
	struct pod_facts *pod = pen_take(pen, sizeof(*pod));
	struct pod_facts read = { .object = o };

	read_pod_spec(pen, wire_find(o->packed, KIND_SPEC), &read);
	read_claims(pen, wire_find(o->packed, KIND_SPEC),
		    wire_find(wire_find(o->packed, KIND_METADATA), META_NAME), &read);
	read_pod_status(pen, wire_find(o->packed, KIND_STATUS_FIELD), &read);
	read.deletion_cost = read_deletion_cost(wire_find(o->packed, KIND_METADATA));
	if (pod != NULL)
		*pod = read;
	return pod;
}

static void read_node_spec(struct pen *pen, struct bytes spec, struct node_facts *node)
{
	struct taint *taints = pen_take(pen, wire_count(spec, NODE_TAINTS) * sizeof(*taints));
	struct wire w = wire_of(spec);
	struct wire_field f;

	node->pod_cidr = pen_str(pen, wire_find(spec, NODE_POD_CIDR));
	while (wire_next(&w, &f)) {
		if (f.number == NODE_UNSCHEDULABLE && f.type == WIRE_VARINT)
			node->unschedulable = f.value != 0;
		if (f.number != NODE_TAINTS || f.type != WIRE_BYTES)
			continue;

		struct taint taint = {
			.key = pen_str(pen, wire_find(f.bytes, TAINT_KEY)),
			.value = pen_str(pen, wire_find(f.bytes, TAINT_VALUE)),
			.effect = pen_str(pen, wire_find(f.bytes, TAINT_EFFECT)),
			.added_ns = read_time(wire_find(f.bytes, TAINT_ADDED)),
		};

		if (taints != NULL)
			taints[node->n_taints] = taint;
		node->n_taints++;
	}
	node->taints = taints;
}

static int read_node_ready(struct bytes condition)
{
	struct bytes status = wire_find(condition, CONDITION_STATUS);

	return bytes_are(status, "True") ? 1 : bytes_are(status, "False") ? 0 : -1;
}

static void read_node_status(struct pen *pen, struct bytes status, struct node_facts *node)
{
	struct amounts has = read_amounts(status, NODE_ALLOCATABLE);
	struct bytes internal_ip = { 0 };
	struct wire w = wire_of(status);
	struct wire_field f;

	node->ready = -1;
	while (wire_next(&w, &f)) {
		if (f.type != WIRE_BYTES)
			continue;
		if (f.number == NODE_CONDITIONS &&
		    bytes_are(wire_find(f.bytes, CONDITION_TYPE), "Ready"))
			node->ready = read_node_ready(f.bytes);
		if (f.number == NODE_ADDRESSES && internal_ip.len == 0 &&
		    bytes_are(wire_find(f.bytes, ADDRESS_TYPE), "InternalIP"))
			internal_ip = wire_find(f.bytes, ADDRESS_TEXT);
	}
	node->internal_ip = pen_str(pen, internal_ip);
	node->cpu_milli = has.cpu_milli;
	node->memory_bytes = has.memory_bytes;
	node->ephemeral_bytes = has.ephemeral_bytes;
	node->pods = has.pods;
}

static const struct node_facts *read_node(struct pen *pen, const struct object *o)
{
	struct node_facts *node = pen_take(pen, sizeof(*node));
	struct node_facts read = { .object = o };

	read_node_spec(pen, wire_find(o->packed, KIND_SPEC), &read);
	read_node_status(pen, wire_find(o->packed, KIND_STATUS_FIELD), &read);
	if (node != NULL)
		*node = read;
	return node;
}

static const struct service_facts *read_service(struct pen *pen, const struct object *o)
{
	struct bytes spec = wire_find(o->packed, KIND_SPEC);
	struct service_facts *service = pen_take(pen, sizeof(*service));
	struct label *selector =
		pen_take(pen, wire_count(spec, SERVICE_SELECTOR) * sizeof(*selector));
	struct wire w = wire_of(spec);
	struct wire_field f;
	size_t n = 0;

	while (wire_next(&w, &f)) {
		if (f.number != SERVICE_SELECTOR || f.type != WIRE_BYTES)
			continue;
		read_label(pen, f.bytes, selector != NULL ? &selector[n] : NULL);
		n++;
	}
	if (selector != NULL && n > 1)
		qsort(selector, n, sizeof(*selector), compare_labels);
	if (service != NULL)
		*service = (struct service_facts){ selector, n };
	return service;
}

void facts_read(struct pen *pen, struct object *o)
{
	o->facts = (struct facts){ .uid = "", .generate_name = "" };
	read_meta(pen, wire_find(o->packed, KIND_METADATA), &o->facts);
	if (o->kind->descriptor == &core_v1__pod__descriptor)
		o->facts.pod = read_pod(pen, o);
	else if (o->kind->descriptor == &core_v1__node__descriptor)
		o->facts.node = read_node(pen, o);
	else if (o->kind->descriptor == &core_v1__service__descriptor)
		o->facts.service = read_service(pen, o);
}
