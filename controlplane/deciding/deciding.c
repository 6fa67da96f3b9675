#include "controlplane/deciding/deciding.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/kinds.h"
#include "common/api/message.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "controlplane/budgets/quota.h"
#include "controlplane/controllers/keys.h"
#include "controlplane/deciding/memory.h"

/* Per key, only while there is something to remember:
 *
 *   dirty --reconcile--> (nothing to do) gone
 *     ^         |
 *     |         +--> in flight --applied--> gone (its changes mark what they touch)
 *     |                  |
 *     +--- back off <----+--- refused (the controller may answer with another plan)
 */

/* Of one turn, so that a storm of changes lets the loop breathe: a leader that decides for longer than
 * the others wait for its heartbeat is none for long. */
#define RECONCILES_MAX 512
#define TURN_NS (10ull * 1000000)
#define BACKOFF_MIN_NS (50ull * 1000000)
#define BACKOFF_MAX_NS (300ull * 1000000000)
/* A lost race, or no room for more entries: soon again. */
#define RACE_NS (10ull * 1000000)
/* A key whose look took longer than this rests for four times as long, so that no key, however much
 * there is to look at, takes more than a fifth of the loop's time. */
#define LONG_LOOK_NS (2ull * 1000000)
#define REST_MAX_NS (1000ull * 1000000)

struct driver {
	struct deciding *deciding;
	const struct controller *controller;
	struct keys dirty;
	struct memory memory;
};

struct deciding {
	struct deciding_config config;
	struct driver *drivers;
	size_t n_drivers;
	struct store_listener listener;
	bool leading;
	size_t n_seeded; /* Drivers that know what there was when leadership began. */
	uint64_t turn_ends_ns;
	uint64_t epoch; /* Of leadership: answers of an earlier one are ignored. */
	struct arena changes, work;
	struct scheduling *scheduling;
	struct deciding_stats stats;
};

/* One plan in flight. */
struct flight {
	struct driver *driver;
	uint64_t epoch;
	char *namespace, *name;
	bool answers; /* A refusal: that it was taken ends no back-off. */
};

static uint64_t now_ns(const struct deciding *d)
{
	return d->config.source->monotonic_ns(d->config.source);
}

static struct view make_view(const struct deciding *d, struct arena *arena)
{
	return (struct view){
		.store = d->config.store,
		.arena = arena,
		.now_ns = writes_now_ns(d->config.writes),
		.node_silence_ms = d->config.node_silence_ms,
		.node_silence_ctx = d->config.node_silence_ctx,
		.pod_usage = d->config.pod_usage,
		.pod_usage_ctx = d->config.pod_usage_ctx,
		.open_secret = d->config.open_secret,
		.open_secret_ctx = d->config.open_secret_ctx,
		.zones = d->config.zones,
	};
}

static bool is_edited(const struct change *change)
{
	return change->old != NULL && change->new != NULL &&
	       change->old->facts.generation != change->new->facts.generation;
}

/* A quota that is gone, allows something else, or has more left than before. */
static bool frees_quota(struct deciding *d, const struct change *change)
{
	const struct object *old = change->old, *new = change->new;

	if (old == NULL || strcmp(old->kind->resource, "resourcequotas") != 0)
		return false;
	return new == NULL ||
	       quota_frees(object_message(old, &d->changes), object_message(new, &d->changes));
}

/* What was refused may pass now. */
static void forgive(struct deciding *d, const struct change *change)
{
	const struct object *o = change->new != NULL ? change->new : change->old;
	bool edited = is_edited(change), freed = frees_quota(d, change);

	for (size_t i = 0; (edited || freed) && i < d->n_drivers; i++)
		memory_forgive(&d->drivers[i].memory, o->namespace, freed ? NULL : o->name);
}

static void on_change(void *ctx, const struct change *change)
{
	struct deciding *d = ctx;

	if (!d->leading)
		return;

	struct view view = make_view(d, &d->changes);

	for (size_t i = 0; i < d->n_drivers; i++)
		d->drivers[i].controller->on_change(&view, change->old, change->new,
						    &d->drivers[i].dirty);
	forgive(d, change);
	if (d->scheduling != NULL)
		scheduling_on_change(d->scheduling, change->old, change->new);
	arena_reset(&d->changes);
}

struct deciding *deciding_create(const struct deciding_config *config)
{
	struct deciding *d = xcalloc(1, sizeof(*d));

	d->config = *config;
	while (config->controllers[d->n_drivers] != NULL)
		d->n_drivers++;
	d->drivers = xcalloc(d->n_drivers + 1, sizeof(*d->drivers));
	for (size_t i = 0; i < d->n_drivers; i++) {
		d->drivers[i].deciding = d;
		d->drivers[i].controller = config->controllers[i];
		memory_init(&d->drivers[i].memory);
	}
	arena_init(&d->changes, 0);
	arena_init(&d->work, 0);
	if (config->scheduler)
		d->scheduling = scheduling_create(config->store, config->writes, config->source);
	d->listener = (struct store_listener){ .cb = on_change, .ctx = d };
	store_listen(config->store, &d->listener);
	return d;
}

void deciding_stop(struct deciding *d)
{
	d->leading = false;
	d->epoch++;
	for (size_t i = 0; i < d->n_drivers; i++) {
		keys_fini(&d->drivers[i].dirty);
		d->drivers[i].dirty = (struct keys){ 0 };
		memory_clear(&d->drivers[i].memory);
	}
	if (d->scheduling != NULL)
		scheduling_stop(d->scheduling);
	d->stats.in_flight = 0;
}

void deciding_destroy(struct deciding *d)
{
	if (d == NULL)
		return;
	deciding_stop(d);
	store_unlisten(d->config.store, &d->listener);
	scheduling_destroy(d->scheduling);
	arena_fini(&d->changes);
	arena_fini(&d->work);
	free(d->drivers);
	free(d);
}

void deciding_lead(struct deciding *d)
{
	deciding_stop(d);
	d->leading = true;
	d->n_seeded = 0;
}

void deciding_mark(struct deciding *d, const char *controller, const char *namespace,
		   const char *name)
{
	for (size_t i = 0; d->leading && i < d->n_drivers; i++)
		if (strcmp(d->drivers[i].controller->name, controller) == 0)
			keys_add(&d->drivers[i].dirty, namespace, name);
}

/* --- Results ------------------------------------------------------------------------- */

static void back_off(struct driver *driver, const char *namespace, const char *name, int rc)
{
	struct remembered *m = memory_get(&driver->memory, namespace, name);
	uint64_t delay_ns = RACE_NS;

	if (rc != -ESTALE && rc != -EAGAIN) {
		unsigned doublings = m->failures < 20 ? m->failures : 20;

		delay_ns = BACKOFF_MIN_NS << doublings;
		if (delay_ns > BACKOFF_MAX_NS)
			delay_ns = BACKOFF_MAX_NS;
		m->failures++;
	}
	memory_set_time(&driver->memory, m, now_ns(driver->deciding) + delay_ns);
	keys_add(&driver->dirty, namespace, name);
}

static void on_plan(void *ctx, int rc)
{
	struct flight *flight = ctx;
	struct driver *driver = flight->driver;
	struct deciding *d = driver->deciding;

	if (flight->epoch == d->epoch) {
		struct remembered *m = memory_get(&driver->memory, flight->namespace, flight->name);

		m->in_flight = false;
		d->stats.in_flight--;
		if (rc == 0)
			m->failures = flight->answers ? m->failures : 0;
		else if (rc != -ESHUTDOWN)
			back_off(driver, flight->namespace, flight->name, rc);
		memory_tidy(&driver->memory, m);
	}
	free(flight->namespace);
	free(flight->name);
	free(flight);
}

/* Which object a refusal is told about: the owner of what could not be made, else the object
 * itself. */
static const struct object *regarding(struct deciding *d, const struct intent *refused)
{
	const MetaV1__ObjectMeta *meta;

	if (refused->base != NULL)
		return refused->base;
	meta = refused->message != NULL ? message_metadata(refused->message) : NULL;
	for (size_t i = 0; meta != NULL && i < meta->n_ownerreferences; i++)
		if (meta->ownerreferences[i]->controller && meta->ownerreferences[i]->uid != NULL)
			return store_get_uid(d->config.store, meta->ownerreferences[i]->uid);
	return NULL;
}

static const char *reason_of(const struct intent *refused)
{
	switch (refused->type) {
	case INTENT_CREATE:
		return "FailedCreate";
	case INTENT_DELETE:
		return "FailedDelete";
	default:
		return "FailedUpdate";
	}
}

static const char *prefix_of(const struct intent *refused)
{
	switch (refused->type) {
	case INTENT_CREATE:
		return "Error creating: ";
	case INTENT_DELETE:
		return "Error deleting: ";
	default:
		return "";
	}
}

static void ignore_result(void *ctx, int rc)
{
}

static void tell_refusal(struct driver *driver, const struct intent *refused,
			 const struct status *st)
{
	struct deciding *d = driver->deciding;
	const struct object *o = refused != NULL ? regarding(d, refused) : NULL;
	const struct intent *ignored;
	struct intents intents;

	log_info("a controller's write was refused",
		 "controller=%s resource=%s name=%s/%s error=%s", driver->controller->name,
		 refused != NULL ? refused->resource : "",
		 refused != NULL ? refused->namespace : "", refused != NULL ? refused->name : "",
		 log_quote(st->message));
	if (o == NULL)
		return;
	intents_init(&intents, &d->work);
	intend_event(&intents, driver->controller->name, o, "Warning", reason_of(refused), "%s%s",
		     prefix_of(refused), st->message);
	(void)writes_submit_intents(d->config.writes, &intents, ignore_result, NULL, &ignored,
				    NULL);
}

/* --- Reconciling ------------------------------------------------------------------------ */

/* 1: in flight; 0: it changes nothing; a negative errno: refused. */
static int propose(struct driver *driver, struct key key, const struct intents *intents,
		   bool answers, const struct intent **ret_refused, struct status *st)
{
	struct deciding *d = driver->deciding;
	struct flight *flight = xcalloc(1, sizeof(*flight));

	*flight = (struct flight){
		.driver = driver,
		.epoch = d->epoch,
		.namespace = xstrdup(key.namespace),
		.name = xstrdup(key.name),
		.answers = answers,
	};

	int rc = writes_submit_intents(d->config.writes, intents, on_plan, flight, ret_refused, st);

	if (rc > 0) {
		memory_get(&driver->memory, key.namespace, key.name)->in_flight = true;
		d->stats.in_flight++;
		d->stats.plans++;
		return rc;
	}
	free(flight->namespace);
	free(flight->name);
	free(flight);
	return rc;
}

static void look_again(struct driver *driver, struct key key, const struct intents *intents,
		       int64_t view_now_ns)
{
	int64_t in_ns = intents->again_ns - view_now_ns;

	if (intents->again_ns != 0)
		memory_set_again(&driver->memory,
				 memory_get(&driver->memory, key.namespace, key.name),
				 now_ns(driver->deciding) + (in_ns > 0 ? (uint64_t)in_ns : 0));
}

static bool is_terminating(const struct status *st)
{
	for (size_t i = 0; i < st->n_causes; i++)
		if (strcmp(st->causes[i].type, "NamespaceTerminating") == 0)
			return true;
	return false;
}

/* Let the controller answer a refusal. An answer that is refused as well is dropped: the next look
 * comes anyway. */
static void answer(struct driver *driver, struct key key, const struct intents *plan,
		   const struct intent *refused, const struct status *st)
{
	struct deciding *d = driver->deciding;
	struct refusal refusal = { .intent = refused, .message = st->message };
	struct view view = make_view(d, &d->work);
	struct intents intents;

	if (driver->controller->refused == NULL || refused == NULL || is_terminating(st))
		return;
	for (const struct intent *i = plan->first; i != refused && i != NULL; i = i->next)
		refusal.creates_before += i->type == INTENT_CREATE;
	intents_init(&intents, &d->work);
	driver->controller->refused(&view, key, &refusal, &intents);
	look_again(driver, key, &intents, view.now_ns);
	if (intents.first != NULL)
		(void)propose(driver, key, &intents, true, &refused, NULL);
}

static void submit(struct driver *driver, struct key key, const struct intents *intents)
{
	const struct intent *refused = NULL;
	struct status st = { 0 };
	int rc = propose(driver, key, intents, false, &refused, &st);

	if (rc < 0 && rc != -ESHUTDOWN) {
		back_off(driver, key.namespace, key.name, rc);
		if (rc != -ESTALE && rc != -EAGAIN) {
			driver->deciding->stats.refused++;
			tell_refusal(driver, refused, &st);
			answer(driver, key, intents, refused, &st);
		}
	} else if (rc == 0) {
		memory_forget_failures(&driver->memory, key.namespace, key.name);
	}
	status_fini(&st);
}

static void rest(struct driver *driver, struct key key, uint64_t begun_ns)
{
	uint64_t now = now_ns(driver->deciding), rest_ns = (now - begun_ns) * 4;
	struct remembered *m;

	if (now - begun_ns < LONG_LOOK_NS)
		return;
	if (rest_ns > REST_MAX_NS)
		rest_ns = REST_MAX_NS;
	m = memory_get(&driver->memory, key.namespace, key.name);
	if (m->not_before_ns < now + rest_ns)
		memory_set_time(&driver->memory, m, now + rest_ns);
}

static void reconcile(struct driver *driver, struct key key)
{
	struct deciding *d = driver->deciding;
	struct view view = make_view(d, &d->work);
	const struct remembered *before = memory_find(&driver->memory, key.namespace, key.name);
	struct intents intents;
	uint64_t begun_ns = now_ns(d);

	view.memo = before != NULL ? before->memo : NULL;
	intents_init(&intents, &d->work);
	driver->controller->reconcile(&view, key, &intents);
	memory_set_memo(&driver->memory, key.namespace, key.name, intents.memo);
	d->stats.reconciles++;
	look_again(driver, key, &intents, view.now_ns);
	if (intents.first != NULL)
		submit(driver, key, &intents);
	else
		memory_forget_failures(&driver->memory, key.namespace, key.name);
	rest(driver, key, begun_ns);
	arena_reset(&d->work);
}

/* Whether a dirty key may be reconciled now. */
static bool is_ready(struct driver *driver, struct key key, uint64_t now)
{
	const struct remembered *m = memory_find(&driver->memory, key.namespace, key.name);

	return m == NULL || (!m->in_flight && m->not_before_ns <= now);
}

static bool turn_is_over(const struct deciding *d)
{
	return now_ns(d) >= d->turn_ends_ns;
}

static size_t driver_turn(struct driver *driver, size_t max)
{
	uint64_t now = now_ns(driver->deciding);
	struct key key, after;
	bool more;
	size_t n = 0;

	memory_wake(&driver->memory, now, &driver->dirty);
	more = keys_next(&driver->dirty, NULL, &key);
	while (more && n < max && !turn_is_over(driver->deciding)) {
		autofree char *namespace = xstrdup(key.namespace), *name = xstrdup(key.name);
		struct key copy = { namespace, name };

		if (is_ready(driver, copy, now)) {
			keys_remove(&driver->dirty, namespace, name);
			reconcile(driver, copy);
			n++;
		}
		/* The key itself may be back: go on behind it. */
		after = copy;
		more = keys_next(&driver->dirty, &after, &key);
		if (more && strcmp(key.namespace, namespace) == 0 && strcmp(key.name, name) == 0) {
			autofree char *next = xasprintf("%s%c", name, 1);

			after = (struct key){ namespace, next };
			more = keys_next(&driver->dirty, &after, &key);
		}
	}
	return n;
}

/* A new leader takes stock one controller after the other; the scheduler comes last. Changes that come
 * meanwhile only mark what will be marked anyway. */
static void seed_some(struct deciding *d)
{
	struct view view = make_view(d, &d->changes);

	while (d->n_seeded < d->n_drivers && !turn_is_over(d)) {
		struct driver *driver = &d->drivers[d->n_seeded++];

		driver->controller->seed(&view, &driver->dirty);
		arena_reset(&d->changes);
	}
	if (d->n_seeded == d->n_drivers && !turn_is_over(d)) {
		d->n_seeded++;
		if (d->scheduling != NULL)
			scheduling_lead(d->scheduling);
	}
}

static bool is_seeded(const struct deciding *d)
{
	return d->n_seeded > d->n_drivers;
}

void deciding_turn(struct deciding *d)
{
	size_t left = RECONCILES_MAX;

	d->turn_ends_ns = now_ns(d) + TURN_NS;
	if (d->leading && !is_seeded(d))
		seed_some(d);
	for (size_t i = 0; d->leading && i < d->n_drivers && left > 0; i++)
		left -= driver_turn(&d->drivers[i], left);
	if (d->leading && d->scheduling != NULL) {
		struct view view = make_view(d, &d->work);

		scheduling_turn(d->scheduling, &view, now_ns(d) + TURN_NS);
		arena_reset(&d->work);
	}
}

/* The earliest time at which a dirty key may be reconciled, or a remembered time comes. */
static uint64_t driver_deadline(const struct driver *driver, uint64_t now)
{
	uint64_t first = memory_deadline_ns(&driver->memory);
	struct key key;

	if (keys_count(&driver->dirty) == 0 || !keys_next(&driver->dirty, NULL, &key))
		return first;
	/* Every key that must wait is remembered: more dirty keys than these means work now. */
	return keys_count(&driver->dirty) > memory_waiting(&driver->memory, now, &driver->dirty)
		       ? 0
		       : first;
}

uint64_t deciding_deadline_ns(const struct deciding *d)
{
	uint64_t first = UINT64_MAX, now = now_ns(d);

	if (!d->leading)
		return UINT64_MAX;
	if (!is_seeded(d))
		return 0;
	for (size_t i = 0; i < d->n_drivers; i++) {
		uint64_t deadline = driver_deadline(&d->drivers[i], now);

		if (deadline < first)
			first = deadline;
	}
	if (d->scheduling != NULL) {
		uint64_t deadline = scheduling_deadline_ns(d->scheduling);

		if (deadline < first)
			first = deadline;
	}
	return first;
}

void deciding_stats(const struct deciding *d, struct deciding_stats *ret_stats)
{
	*ret_stats = d->stats;
	ret_stats->dirty = 0;
	for (size_t i = 0; i < d->n_drivers; i++)
		ret_stats->dirty += keys_count(&d->drivers[i].dirty);
}
