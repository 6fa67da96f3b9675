/* Rows of pods. The Status and Restarts cells tell a pod's story in one word:
 * what blocks its init containers, else what its last container suffers from,
 * else its phase. They are computed together by pod_look(). */
#include <string.h>

#include "controlplane/apiserver/columns/cells.h"
#include "controlplane/apiserver/age.h"

static const CoreV1__PodSpec no_spec = CORE_V1__POD_SPEC__INIT;
static const CoreV1__PodStatus no_status = CORE_V1__POD_STATUS__INIT;

static const CoreV1__PodSpec *spec_of(const CoreV1__Pod *pod)
{
	return pod->spec != NULL ? pod->spec : &no_spec;
}

static const CoreV1__PodStatus *status_of(const CoreV1__Pod *pod)
{
	return pod->status != NULL ? pod->status : &no_status;
}

struct pod_look {
	const char *reason;
	int ready, total;
	int64_t restarts, sidecar_restarts;
	int64_t restarted_ns, sidecar_restarted_ns; /* 0: never. */
	bool initializing;
};

static bool is_sidecar(const CoreV1__PodSpec *spec, const char *name)
{
	for (size_t i = 0; i < spec->n_initcontainers; i++)
		if (strcmp(text_of(spec->initcontainers[i]->name), text_of(name)) == 0)
			return strcmp(text_of(spec->initcontainers[i]->restartpolicy), "Always") ==
			       0;
	return false;
}

static int64_t last_finished_ns(const CoreV1__ContainerStatus *cs)
{
	if (cs->laststate == NULL || cs->laststate->terminated == NULL)
		return 0;
	return time_ns(cs->laststate->terminated->finishedat);
}

static void keep_later(int64_t *time, int64_t other)
{
	if (other > *time)
		*time = other;
}

static const char *terminated_reason(struct cells *c, const CoreV1__ContainerStateTerminated *t,
				     const char *prefix)
{
	if (t->reason != NULL && *t->reason != 0)
		return arena_printf(c->arena, "%s%s", prefix, t->reason);
	if (t->signal != 0)
		return arena_printf(c->arena, "%sSignal:%d", prefix, t->signal);
	return arena_printf(c->arena, "%sExitCode:%d", prefix, t->exitcode);
}

/* Why init container i holds the pod up, or NULL when it does not. */
static const char *init_blocks(struct cells *c, const CoreV1__PodSpec *spec,
			       const CoreV1__ContainerStatus *cs, size_t i, bool sidecar)
{
	const CoreV1__ContainerState *state = cs->state;

	if (state != NULL && state->terminated != NULL && state->terminated->exitcode == 0)
		return NULL;
	if (sidecar && cs->started)
		return NULL;
	if (state != NULL && state->terminated != NULL)
		return terminated_reason(c, state->terminated, "Init:");
	if (state != NULL && state->waiting != NULL && *text_of(state->waiting->reason) != 0 &&
	    strcmp(state->waiting->reason, "PodInitializing") != 0)
		return arena_printf(c->arena, "Init:%s", state->waiting->reason);
	return arena_printf(c->arena, "Init:%zu/%zu", i, spec->n_initcontainers);
}

static void look_at_init(struct cells *c, const CoreV1__PodSpec *spec,
			 const CoreV1__PodStatus *status, struct pod_look *look)
{
	for (size_t i = 0; i < status->n_initcontainerstatuses; i++) {
		const CoreV1__ContainerStatus *cs = status->initcontainerstatuses[i];
		bool sidecar = is_sidecar(spec, cs->name);
		const char *why = init_blocks(c, spec, cs, i, sidecar);

		look->restarts += cs->restartcount;
		keep_later(&look->restarted_ns, last_finished_ns(cs));
		if (sidecar) {
			look->sidecar_restarts += cs->restartcount;
			keep_later(&look->sidecar_restarted_ns, last_finished_ns(cs));
			look->ready += cs->started && cs->ready && why == NULL;
		}
		if (why != NULL) {
			look->reason = why;
			look->initializing = true;
			return;
		}
	}
}

static void look_at_containers(struct cells *c, const CoreV1__PodStatus *status,
			       struct pod_look *look)
{
	const char *error = NULL,
		   *ready = condition_status(status->conditions, status->n_conditions, "Ready");
	bool running = false;

	look->restarts = look->sidecar_restarts;
	look->restarted_ns = look->sidecar_restarted_ns;
	for (size_t i = status->n_containerstatuses; i-- > 0;) {
		const CoreV1__ContainerStatus *cs = status->containerstatuses[i];
		const CoreV1__ContainerState *state = cs->state;

		look->restarts += cs->restartcount;
		keep_later(&look->restarted_ns, last_finished_ns(cs));
		if (state == NULL)
			continue;
		if (state->waiting != NULL && *text_of(state->waiting->reason) != 0) {
			look->reason = state->waiting->reason;
		} else if (state->terminated != NULL) {
			look->reason = terminated_reason(c, state->terminated, "");
			if (state->terminated->exitcode != 0)
				error = look->reason;
		} else if (cs->ready && state->running != NULL) {
			running = true;
			look->ready++;
		}
	}
	if (strcmp(look->reason, "Completed") != 0)
		return;
	if (running)
		look->reason = ready != NULL && strcmp(ready, "True") == 0 ? "Running"
			       : error != NULL                             ? error
									   : "NotReady";
	else if (error != NULL)
		look->reason = error;
}

static struct pod_look pod_look(struct cells *c, const CoreV1__Pod *pod)
{
	const CoreV1__PodSpec *spec = spec_of(pod);
	const CoreV1__PodStatus *status = status_of(pod);
	struct pod_look look = { .reason = text_of(status->phase) };

	look.total = (int)spec->n_containers;
	for (size_t i = 0; i < spec->n_initcontainers; i++)
		look.total +=
			strcmp(text_of(spec->initcontainers[i]->restartpolicy), "Always") == 0;
	if (status->reason != NULL && *status->reason != 0)
		look.reason = status->reason;
	for (size_t i = 0; i < status->n_conditions; i++)
		if (strcmp(text_of(status->conditions[i]->type), "PodScheduled") == 0 &&
		    strcmp(text_of(status->conditions[i]->reason), "SchedulingGated") == 0)
			look.reason = "SchedulingGated";

	const char *initialized =
		condition_status(status->conditions, status->n_conditions, "Initialized");

	look_at_init(c, spec, status, &look);
	if (!look.initializing || (initialized != NULL && strcmp(initialized, "True") == 0))
		look_at_containers(c, status, &look);
	if (meta_of(pod)->deletiontimestamp == NULL)
		return look;
	if (strcmp(text_of(status->reason), "NodeLost") == 0)
		look.reason = "Unknown";
	else if (strcmp(text_of(status->phase), "Succeeded") != 0 &&
		 strcmp(text_of(status->phase), "Failed") != 0)
		look.reason = "Terminating";
	return look;
}

static void pod_ready(struct cells *c, const void *message)
{
	struct pod_look look = pod_look(c, message);

	cell_printf(c, "%d/%d", look.ready, look.total);
}

static void pod_status(struct cells *c, const void *message)
{
	cell_text(c, pod_look(c, message).reason);
}

static void pod_restarts(struct cells *c, const void *message)
{
	struct pod_look look = pod_look(c, message);
	char age[AGE_TEXT_SIZE];

	if (look.restarts == 0 || look.restarted_ns == 0) {
		cell_printf(c, "%lld", (long long)look.restarts);
		return;
	}
	age_print(c->now_ns, look.restarted_ns, age);
	cell_printf(c, "%lld (%s ago)", (long long)look.restarts, age);
}

static void pod_ip(struct cells *c, const void *message)
{
	const CoreV1__PodStatus *status = status_of(message);

	cell_text_or(c, status->n_podips > 0 ? status->podips[0]->ip : NULL, "<none>");
}

static void pod_node(struct cells *c, const void *message)
{
	cell_text_or(c, spec_of(message)->nodename, "<none>");
}

static void pod_nominated(struct cells *c, const void *message)
{
	cell_text_or(c, status_of(message)->nominatednodename, "<none>");
}

static void pod_gates(struct cells *c, const void *message)
{
	const CoreV1__PodSpec *spec = spec_of(message);
	const CoreV1__PodStatus *status = status_of(message);
	int met = 0;

	if (spec->n_readinessgates == 0) {
		cell_text(c, "<none>");
		return;
	}
	for (size_t i = 0; i < spec->n_readinessgates; i++) {
		const char *found =
			condition_status(status->conditions, status->n_conditions,
					 text_of(spec->readinessgates[i]->conditiontype));

		met += found != NULL && strcmp(found, "True") == 0;
	}
	cell_printf(c, "%d/%zu", met, spec->n_readinessgates);
}

/* clang-format off */
static const struct column pod[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Ready", TEXT, 0, pod_ready, "Containers that are ready, and all containers." },
	{ "Status", TEXT, 0, pod_status, "What the pod as a whole is doing." },
	{ "Restarts", TEXT, 0, pod_restarts, "How often containers were restarted, and when last." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "IP", TEXT, 1, pod_ip, "The pod's address." },
	{ "Node", TEXT, 1, pod_node, "The node the pod is assigned to." },
	{ "Nominated Node", TEXT, 1, pod_nominated, "The node where others make room for the pod." },
	{ "Readiness Gates", TEXT, 1, pod_gates, "Readiness gates that are met, and all of them." },
};

const struct table_columns columns_pods[] = { COLUMNS(core_v1__pod, pod) };
/* clang-format on */
const size_t n_columns_pods = sizeof(columns_pods) / sizeof(columns_pods[0]);
