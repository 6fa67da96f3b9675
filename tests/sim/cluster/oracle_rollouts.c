/* ReplicaSets grow only as maxSurge, and shrink only as maxUnavailable of their Deployment allows;
 * Recreate begins when the old pods are gone. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/make.h"
#include "common/base/alloc.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "tests/sim/cluster/oracle.h"

enum { SETS_MAX = 512, DEPLOYMENTS_MAX = 512 };

struct set_book {
	char *uid, *owner;
	int32_t replicas, desired;
	struct recent available;
};

struct deployment_book {
	char *uid;
	bool recreate;
	uint64_t recreate_ns; /* Since when. */
	int32_t replicas;
	struct recent most, least; /* Pods allowed, available pods demanded. */
	struct recent paused;      /* It only scales: to what its surge allows, in proportion. */
};

struct rollouts_book {
	struct set_book sets[SETS_MAX];
	size_t n_sets;
	struct deployment_book deployments[DEPLOYMENTS_MAX];
	size_t n_deployments;
};

void rollouts_init(struct chaos *c)
{
	c->oracle->rollouts = xcalloc(1, sizeof(*c->oracle->rollouts));
}

void rollouts_fini(struct chaos *c)
{
	free(c->oracle->rollouts);
}

/* --- Deployments and their sets ---------------------------------------------------------- */

static struct deployment_book *deployment_book(struct chaos *c, const char *uid, bool add)
{
	struct rollouts_book *book = c->oracle->rollouts;

	for (size_t i = 0; i < book->n_deployments; i++)
		if (strcmp(book->deployments[i].uid, uid) == 0)
			return &book->deployments[i];
	if (!add || book->n_deployments == DEPLOYMENTS_MAX)
		return NULL;
	book->deployments[book->n_deployments].uid = arena_strdup(&c->sim.arena, uid);
	return &book->deployments[book->n_deployments++];
}

void rollouts_look_at_deployment(struct chaos *c, const struct change *change)
{
	struct deployment_book *d = deployment_book(c, change_one(change)->facts.uid, true);
	const AppsV1__Deployment *message;
	int32_t surge = 0, unavailable = 0;
	bool recreate;

	if (change->new == NULL || d == NULL)
		return;
	message = change_message(c, change->new);
	recreate = text_is(message->spec->strategy->type, "Recreate");
	if (!recreate) {
		const AppsV1__RollingUpdateDeployment *r = message->spec->strategy->rollingupdate;

		/* Percentages are the defaults (25 %): rounded up, rounded down. */
		surge = text_empty(r->maxsurge->strval) ? r->maxsurge->intval
							: (message->spec->replicas + 3) / 4;
		unavailable = text_empty(r->maxunavailable->strval) ? r->maxunavailable->intval
								    : message->spec->replicas / 4;
		if (surge == 0 && unavailable == 0)
			unavailable = 1;
	}
	if (recreate && !d->recreate)
		d->recreate_ns = c->sim.now_ns;
	d->recreate = recreate;
	d->replicas = message->spec->replicas;
	recent_set(&d->paused, message->spec->paused, c->sim.now_ns);
	recent_set(&d->most, d->replicas + surge, c->sim.now_ns);
	recent_set(&d->least, recreate ? 0 : d->replicas - unavailable, c->sim.now_ns);
}

/* Never more pods asked for than maxSurge allows. */
static void check_surge(struct chaos *c, const struct object *o, const struct set_book *set,
			const struct deployment_book *d)
{
	int32_t total = 0, most = recent_most(&d->most, c->sim.now_ns);

	for (size_t i = 0; i < c->oracle->rollouts->n_sets; i++)
		if (strcmp(c->oracle->rollouts->sets[i].owner, set->owner) == 0)
			total += c->oracle->rollouts->sets[i].replicas;
	if (total > most)
		chaos_fail(c, "set %s/%s grows to %d: %d pods asked for, %d allowed", o->namespace,
			   o->name, set->replicas, total, most);
}

/* Recreate: the new ones begin when the old ones are gone. */
static void check_recreate(struct chaos *c, const struct object *o, const struct set_book *set)
{
	for (size_t i = 0; i < c->oracle->rollouts->n_sets; i++) {
		const struct set_book *other = &c->oracle->rollouts->sets[i];

		if (other == set || strcmp(other->owner, set->owner) != 0)
			continue;
		map_for_each (slot, &c->oracle->pods) {
			const struct pod_book *p = slot->value;

			if (!p->finished && p->owner != NULL && strcmp(p->owner, other->uid) == 0 &&
			    p->since_ns + GRACE_NS < c->sim.now_ns)
				chaos_fail(c, "set %s/%s begins while pods of another are there",
					   o->namespace, o->name);
		}
	}
}

/* Never fewer available pods left, by decision, than maxUnavailable allows. */
static void check_available(struct chaos *c, const struct object *o, const struct set_book *set,
			    int32_t replicas_before, const struct deployment_book *d)
{
	int32_t before = 0, after = 0, least = recent_least(&d->least, c->sim.now_ns);

	for (size_t i = 0; i < c->oracle->rollouts->n_sets; i++) {
		const struct set_book *each = &c->oracle->rollouts->sets[i];
		/* The decision was based on this very version of the set, but maybe on older ones
		 * of the others. */
		int32_t available = each == set ? each->available.of[0].value
						: recent_most(&each->available, c->sim.now_ns);
		int32_t was = each == set ? replicas_before : each->replicas;

		if (strcmp(each->owner, set->owner) != 0)
			continue;
		before += available < was ? available : was;
		after += available < each->replicas ? available : each->replicas;
	}
	if (after < least && after < before)
		chaos_fail(
			c,
			"set %s/%s shrinks from %d to %d: %d pods stay available of %d, %d are demanded",
			o->namespace, o->name, replicas_before, set->replicas, after, before,
			least);
}

static void forget_set(struct rollouts_book *book, const char *uid)
{
	for (size_t i = 0; i < book->n_sets; i++)
		if (strcmp(book->sets[i].uid, uid) == 0)
			book->sets[i--] = book->sets[--book->n_sets];
}

static struct set_book *set_book(struct chaos *c, const char *uid)
{
	struct rollouts_book *book = c->oracle->rollouts;

	for (size_t i = 0; i < book->n_sets; i++)
		if (strcmp(book->sets[i].uid, uid) == 0)
			return &book->sets[i];
	if (book->n_sets == SETS_MAX)
		chaos_fail(c, "more than %d ReplicaSets", SETS_MAX);
	book->sets[book->n_sets] = (struct set_book){ .uid = arena_strdup(&c->sim.arena, uid) };
	return &book->sets[book->n_sets++];
}

void rollouts_look_at_set(struct chaos *c, const struct change *change)
{
	const struct object *o = change_one(change);
	const struct owner_ref *owner = object_controller(o);
	const AppsV1__ReplicaSet *message;
	const struct deployment_book *d;
	const char *desired;
	int32_t before, desired_before;
	struct set_book *set;

	if (change->new == NULL) {
		forget_set(c->oracle->rollouts, o->facts.uid);
		return;
	}
	message = change_message(c, o);
	set = set_book(c, o->facts.uid);
	before = set->replicas;
	desired_before = set->desired;
	desired = meta_annotation(message->metadata, "deployment.kubernetes.io/desired-replicas");
	set->desired = desired != NULL ? atoi(desired) : -1;
	set->owner = arena_strdup(&c->sim.arena, owner != NULL ? owner->uid : "");
	set->replicas = message->spec->replicas;
	recent_set(&set->available,
		   message->status != NULL ? message->status->availablereplicas : 0, c->sim.now_ns);
	d = deployment_book(c, set->owner, false);
	if (d == NULL)
		return;
	if (set->replicas > before) {
		check_surge(c, o, set, d);
		if (d->recreate && before == 0 && d->recreate_ns + GRACE_NS < c->sim.now_ns &&
		    recent_most(&d->paused, c->sim.now_ns) == 0)
			check_recreate(c, o, set);
	} else if (set->replicas < before && desired_before == d->replicas &&
		   set->desired == desired_before && !d->recreate &&
		   recent_most(&d->paused, c->sim.now_ns) == 0) {
		check_available(c, o, set, before, d);
	}
}
