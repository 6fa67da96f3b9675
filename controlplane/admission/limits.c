/* LimitRanges: what they say of themselves, what they give to pods that say
 * nothing, and what they allow. */
#include <errno.h>
#include <string.h>

#include "common/api/pack.h"
#include "common/api/resources.h"
#include "common/base/cleanup.h"
#include "controlplane/admission/pod.h"
#include "controlplane/admission/strategy.h"
#include "controlplane/budgets/amounts.h"

#define ENTRIES(m, f) (m)->f, (m)->n_##f

static const char *text_in(const void *entries, size_t n, const char *name)
{
	return resource_text(entries, n, name);
}

/* --- LimitRange at the door ------------------------------------------------------------- */

struct bound {
	const char *text; /* NULL: not set. */
	struct quantity quantity;
};

static struct bound bound_of(const void *entries, size_t n, const char *name)
{
	return (struct bound){ text_in(entries, n, name), resource_quantity(entries, n, name) };
}

static bool exceeds(const struct bound *a, const struct bound *b)
{
	return a->text != NULL && b->text != NULL &&
	       quantity_compare(&a->quantity, &b->quantity) > 0;
}

static void check_item_resource(struct checks *c, const struct field *f,
				const CoreV1__LimitRangeItem *item, const char *name)
{
	const struct bound min = bound_of(ENTRIES(item, min), name);
	const struct bound max = bound_of(ENTRIES(item, max), name);
	const struct bound usual = bound_of(ENTRIES(item, default_), name);
	const struct bound asked = bound_of(ENTRIES(item, defaultrequest), name);
	const struct bound ratio = bound_of(ENTRIES(item, maxlimitrequestratio), name);
	const struct field *at = KEY(FIELD(f, "min"), name);

	if (exceeds(&min, &max))
		check_invalid(c, at, min.text, "min value %s is greater than max value %s",
			      min.text, max.text);
	at = KEY(FIELD(f, "defaultRequest"), name);
	if (exceeds(&min, &asked))
		check_invalid(c, at, asked.text,
			      "min value %s is greater than default request value %s", min.text,
			      asked.text);
	if (exceeds(&asked, &max))
		check_invalid(c, at, asked.text,
			      "default request value %s is greater than max value %s", asked.text,
			      max.text);
	if (exceeds(&asked, &usual))
		check_invalid(c, at, asked.text,
			      "default request value %s is greater than default limit value %s",
			      asked.text, usual.text);
	at = KEY(FIELD(f, "default"), name);
	if (exceeds(&min, &usual))
		check_invalid(c, at, usual.text, "min value %s is greater than default value %s",
			      min.text, usual.text);
	if (exceeds(&usual, &max))
		check_invalid(c, at, usual.text, "default value %s is greater than max value %s",
			      usual.text, max.text);
	if (ratio.text != NULL && ratio.quantity.nano < 1000000000)
		check_invalid(c, KEY(FIELD(f, "maxLimitRequestRatio"), name), ratio.text,
			      "ratio %s is less than 1", ratio.text);
}

static void check_negative(struct checks *c, const struct field *f, const void *entries, size_t n)
{
	struct resource_entry *const *list = entries;

	for (size_t i = 0; i < n; i++) {
		struct quantity q = resource_quantity(&list[i], 1, text_of(list[i]->key));

		if (q.nano < 0)
			check_invalid(c, KEY(f, text_of(list[i]->key)),
				      text_of(list[i]->value->string),
				      "must be greater than or equal to 0");
	}
}

/* Every resource that the item names anywhere, once. */
static struct amounts item_resources(struct checks *c, const CoreV1__LimitRangeItem *item)
{
	struct amounts all = { .arena = c->arena };

	amounts_read(&all, ENTRIES(item, min));
	amounts_read(&all, ENTRIES(item, max));
	amounts_read(&all, ENTRIES(item, default_));
	amounts_read(&all, ENTRIES(item, defaultrequest));
	amounts_read(&all, ENTRIES(item, maxlimitrequestratio));
	return all;
}

static void check_item(struct checks *c, const struct field *f, const CoreV1__LimitRangeItem *item)
{
	struct amounts all = item_resources(c, item);

	check_negative(c, FIELD(f, "min"), ENTRIES(item, min));
	check_negative(c, FIELD(f, "max"), ENTRIES(item, max));
	if (text_is(item->type, "Pod")) {
		if (item->n_default_ > 0)
			check_forbidden(c, FIELD(f, "default"),
					"may not be specified when `type` is 'Pod'");
		if (item->n_defaultrequest > 0)
			check_forbidden(c, FIELD(f, "defaultRequest"),
					"may not be specified when `type` is 'Pod'");
	}
	if (text_is(item->type, "PersistentVolumeClaim") &&
	    text_in(ENTRIES(item, min), "storage") == NULL &&
	    text_in(ENTRIES(item, max), "storage") == NULL)
		check_required(c, f,
			       "either minimum or maximum storage value is required, but neither "
			       "was provided");
	for (size_t i = 0; i < all.n; i++)
		check_item_resource(c, f, item, all.items[i].name);
}

static void validate(struct checks *c, ProtobufCMessage *message, ProtobufCMessage *old)
{
	const CoreV1__LimitRangeSpec *spec = ((CoreV1__LimitRange *)message)->spec;
	const struct field *list = FIELD(FIELD(NULL, "spec"), "limits");

	for (size_t i = 0; spec != NULL && i < spec->n_limits; i++) {
		const struct field *f = AT(list, i);

		if (text_empty(spec->limits[i]->type))
			check_required(c, FIELD(f, "type"), "");
		for (size_t k = 0; k < i; k++)
			if (text_is(spec->limits[k]->type, text_of(spec->limits[i]->type)))
				check_duplicate(c, FIELD(f, "type"), spec->limits[i]->type);
		check_item(c, f, spec->limits[i]);
	}
}

const struct strategy strategy_limit_range = {
	.descriptor = &core_v1__limit_range__descriptor,
	.validate = validate,
};

/* --- What containers get --------------------------------------------------------------------- */

struct ranges {
	struct arena *arena;
	CoreV1__LimitRange **items;
	size_t n_items;
};

static bool on_range(void *ctx, const struct object *o)
{
	struct ranges *r = ctx;

	make_append(r->arena, r, items,
		    unpack_stored(&core_v1__limit_range__descriptor, o->packed, r->arena));
	return true;
}

/* Adds what is not set; what was added goes into a text: "cpu, memory request for container a". */
static const char *give(struct arena *a, const CoreV1__LimitRangeItem *item, CoreV1__Container *c,
			bool limits, const char *what)
{
	struct amounts given = { .arena = a };
	const char *names = "";

	if (limits)
		amounts_read(&given, ENTRIES(item, default_));
	else
		amounts_read(&given, ENTRIES(item, defaultrequest));
	for (size_t i = 0; i < given.n; i++) {
		const char *name = given.items[i].name;
		const char *value = limits ? text_in(ENTRIES(item, default_), name)
					   : text_in(ENTRIES(item, defaultrequest), name);

		if (c->resources == NULL)
			c->resources = make(a, CoreV1__ResourceRequirements,
					    core_v1__resource_requirements);
		if ((limits ? text_in(ENTRIES(c->resources, limits), name)
			    : text_in(ENTRIES(c->resources, requests), name)) != NULL)
			continue;
		if (limits)
			make_append(
				a, c->resources, limits,
				resource_entry_make(
					&core_v1__resource_requirements__limits_entry__descriptor,
					name, value, a));
		else
			make_append(
				a, c->resources, requests,
				resource_entry_make(
					&core_v1__resource_requirements__requests_entry__descriptor,
					name, value, a));
		names = arena_printf(a, "%s%s%s", names, names[0] ? ", " : "", name);
	}
	if (names[0] == '\0')
		return "";
	return arena_printf(a, "%s %s for %s %s", names, limits ? "limit" : "request", what,
			    text_of(c->name));
}

static const char *give_all(struct arena *a, const CoreV1__LimitRangeItem *item,
			    CoreV1__Container **list, size_t n, const char *what, const char *told)
{
	for (size_t i = 0; i < n; i++) {
		const char *both[] = { give(a, item, list[i], false, what),
				       give(a, item, list[i], true, what) };

		for (size_t k = 0; k < array_size(both); k++)
			if (both[k][0] != '\0')
				told = arena_printf(a, "%s%s%s", told, told[0] ? "; " : "",
						    both[k]);
	}
	return told;
}

static void give_defaults(struct admission *a, const struct ranges *ranges, CoreV1__Pod *pod)
{
	const char *told = "";

	for (size_t i = 0; i < ranges->n_items; i++) {
		const CoreV1__LimitRangeSpec *spec = ranges->items[i]->spec;

		for (size_t k = 0; spec != NULL && k < spec->n_limits; k++) {
			const CoreV1__LimitRangeItem *item = spec->limits[k];

			if (!text_is(item->type, "Container"))
				continue;
			told = give_all(a->arena, item, pod->spec->containers,
					pod->spec->n_containers, "container", told);
			told = give_all(a->arena, item, pod->spec->initcontainers,
					pod->spec->n_initcontainers, "init container", told);
		}
	}
	if (told[0] == '\0')
		return;
	meta_set_annotation(a->arena, pod->metadata, "kubernetes.io/limit-ranger",
			    arena_printf(a->arena, "LimitRanger plugin set: %s", told));
	pod->status->qosclass = arena_strdup(a->arena, pod_qos_class(pod->spec));
}

/* --- What is allowed ----------------------------------------------------------------------------
 */

struct complaints {
	struct arena *arena;
	const char *text;
	size_t n;
};

__attribute__((format(printf, 2, 3))) static void complain(struct complaints *c, const char *fmt,
							   ...)
{
	va_list args;

	va_start(args, fmt);
	char *said = arena_vprintf(c->arena, fmt, args);
	va_end(args);
	c->text = c->n++ > 0 ? arena_printf(c->arena, "%s, %s", c->text, said) : said;
}

static const char *print(struct arena *a, const struct quantity *q)
{
	char text[QUANTITY_TEXT_MAX];

	quantity_print(q, text);
	return arena_strdup(a, text);
}

static void check_min(struct complaints *c, const char *type, const char *name,
		      const struct quantity *min, const struct quantity *request,
		      const struct quantity *limit)
{
	const char *enforced = print(c->arena, min);

	if (request == NULL)
		complain(c, "minimum %s usage per %s is %s.  No request is specified", name, type,
			 enforced);
	else if (quantity_compare(request, min) < 0)
		complain(c, "minimum %s usage per %s is %s, but request is %s", name, type,
			 enforced, print(c->arena, request));
	else if (limit != NULL && quantity_compare(limit, min) < 0)
		complain(c, "minimum %s usage per %s is %s, but limit is %s", name, type, enforced,
			 print(c->arena, limit));
}

static void check_max(struct complaints *c, const char *type, const char *name,
		      const struct quantity *max, const struct quantity *request,
		      const struct quantity *limit)
{
	const char *enforced = print(c->arena, max);

	if (limit == NULL)
		complain(c, "maximum %s usage per %s is %s.  No limit is specified", name, type,
			 enforced);
	else if (quantity_compare(limit, max) > 0)
		complain(c, "maximum %s usage per %s is %s, but limit is %s", name, type, enforced,
			 print(c->arena, limit));
	else if (request != NULL && quantity_compare(request, max) > 0)
		complain(c, "maximum %s usage per %s is %s, but request is %s", name, type,
			 enforced, print(c->arena, request));
}

static void check_ratio(struct complaints *c, const char *type, const char *name,
			const struct quantity *ratio, const struct quantity *request,
			const struct quantity *limit)
{
	const char *enforced = print(c->arena, ratio);

	if (request == NULL || request->nano == 0)
		complain(
			c,
			"%s max limit to request ratio per %s is %s, but no request is specified or "
			"request is 0",
			name, type, enforced);
	else if (limit == NULL || limit->nano == 0)
		complain(c,
			 "%s max limit to request ratio per %s is %s, but no limit is specified or "
			 "limit is 0",
			 name, type, enforced);
	else if ((double)limit->nano / (double)request->nano > (double)ratio->nano / 1e9)
		complain(c, "%s max limit to request ratio per %s is %s, but provided ratio is %f",
			 name, type, enforced, (double)limit->nano / (double)request->nano);
}

static void check_amounts(struct complaints *c, const CoreV1__LimitRangeItem *item,
			  const struct amounts *requests, const struct amounts *limits)
{
	struct amounts min = { .arena = c->arena }, max = min, ratio = min;

	amounts_read(&min, ENTRIES(item, min));
	amounts_read(&max, ENTRIES(item, max));
	amounts_read(&ratio, ENTRIES(item, maxlimitrequestratio));
	for (size_t i = 0; i < min.n; i++)
		check_min(c, item->type, min.items[i].name, &min.items[i].quantity,
			  amounts_get(requests, min.items[i].name),
			  amounts_get(limits, min.items[i].name));
	for (size_t i = 0; i < max.n; i++)
		check_max(c, item->type, max.items[i].name, &max.items[i].quantity,
			  amounts_get(requests, max.items[i].name),
			  amounts_get(limits, max.items[i].name));
	for (size_t i = 0; i < ratio.n; i++)
		check_ratio(c, item->type, ratio.items[i].name, &ratio.items[i].quantity,
			    amounts_get(requests, ratio.items[i].name),
			    amounts_get(limits, ratio.items[i].name));
}

static void check_containers(struct complaints *c, const CoreV1__LimitRangeItem *item,
			     CoreV1__Container *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct amounts requests = { .arena = c->arena }, limits = requests;

		amounts_of_container(&requests, list[i], AMOUNT_OF_REQUESTS);
		amounts_of_container(&limits, list[i], AMOUNT_OF_LIMITS);
		check_amounts(c, item, &requests, &limits);
	}
}

static void check_pod(struct complaints *c, const CoreV1__LimitRangeItem *item,
		      const CoreV1__PodSpec *spec)
{
	struct amounts requests = { .arena = c->arena }, limits = requests;

	if (text_is(item->type, "Container")) {
		check_containers(c, item, spec->containers, spec->n_containers);
		check_containers(c, item, spec->initcontainers, spec->n_initcontainers);
	} else if (text_is(item->type, "Pod")) {
		amounts_of_pod(&requests, spec, AMOUNT_OF_REQUESTS);
		amounts_of_pod(&limits, spec, AMOUNT_OF_LIMITS);
		check_amounts(c, item, &requests, &limits);
	}
}

/* Claims have requests only: the maximum is one of them, too. */
static void check_claim(struct complaints *c, const CoreV1__LimitRangeItem *item,
			const CoreV1__PersistentVolumeClaimSpec *spec)
{
	const CoreV1__VolumeResourceRequirements *r = spec != NULL ? spec->resources : NULL;
	struct amounts requests = { .arena = c->arena }, min = requests, max = requests;

	if (!text_is(item->type, "PersistentVolumeClaim"))
		return;
	if (r != NULL)
		amounts_read(&requests, r->requests, r->n_requests);
	amounts_read(&min, ENTRIES(item, min));
	amounts_read(&max, ENTRIES(item, max));
	for (size_t i = 0; i < min.n; i++)
		check_min(c, item->type, min.items[i].name, &min.items[i].quantity,
			  amounts_get(&requests, min.items[i].name), NULL);
	for (size_t i = 0; i < max.n; i++) {
		const struct quantity *asked = amounts_get(&requests, max.items[i].name);

		if (asked == NULL)
			complain(c, "maximum %s usage per %s is %s.  No request is specified",
				 max.items[i].name, item->type,
				 print(c->arena, &max.items[i].quantity));
		else
			check_max(c, item->type, max.items[i].name, &max.items[i].quantity, asked,
				  asked);
	}
}

int admit_limits(struct admission *a, const struct kind *kind, ProtobufCMessage *message,
		 bool created, struct status *st)
{
	bool pod = message->descriptor == &core_v1__pod__descriptor && created;
	bool claim = message->descriptor == &core_v1__persistent_volume_claim__descriptor;
	const MetaV1__ObjectMeta *meta = message_metadata(message);
	struct ranges ranges = { .arena = a->arena };

	if (!pod && !claim)
		return 0;
	a->reader->walk(a->reader->ctx, kind_of(&core_v1__limit_range__descriptor),
			text_of(meta->namespace_), on_range, &ranges);
	if (ranges.n_items == 0)
		return 0;
	if (pod)
		give_defaults(a, &ranges, (CoreV1__Pod *)message);
	for (size_t i = 0; i < ranges.n_items; i++) {
		const CoreV1__LimitRangeSpec *spec = ranges.items[i]->spec;
		struct complaints c = { .arena = a->arena };

		for (size_t k = 0; spec != NULL && k < spec->n_limits; k++) {
			if (pod)
				check_pod(&c, spec->limits[k], ((CoreV1__Pod *)message)->spec);
			else
				check_claim(&c, spec->limits[k],
					    ((CoreV1__PersistentVolumeClaim *)message)->spec);
		}
		if (c.n > 0)
			return forbid(st, kind, text_of(meta->name), c.n > 1 ? "[%s]" : "%s",
				      c.text);
	}
	return 0;
}
