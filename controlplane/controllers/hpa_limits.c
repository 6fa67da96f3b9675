/* How much of what metrics ask for is done now: the highest (or lowest)
 * recommendation of a window, at most so many replicas per period, and never
 * outside of the autoscaler's bounds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "controlplane/controllers/hpa.h"

enum { DOWN_WINDOW_S = 300, UP_FACTOR = 2, UP_MIN = 4 };

/* --- Memory
 * ------------------------------------------------------------------------------------------- */

static void remember(struct hpa_past *list, size_t *n, int64_t time_ns, int32_t value)
{
	if (*n == HPA_PAST_MAX)
		memmove(list, list + 1, --*n * sizeof(*list));
	list[(*n)++] = (struct hpa_past){ time_ns, value };
}

static void remember_recommendation(struct hpa_memory *m, int64_t now_ns, int32_t value)
{
	if (m->n_recommendations > 0 && m->recommendations[m->n_recommendations - 1].value == value)
		m->recommendations[m->n_recommendations - 1].time_ns = now_ns;
	else
		remember(m->recommendations, &m->n_recommendations, now_ns, value);
}

/* What no window reaches any more. */
static void forget_before(struct hpa_past *list, size_t *n, int64_t time_ns)
{
	size_t old = 0;

	while (old < *n && list[old].time_ns < time_ns)
		old++;
	*n -= old;
	memmove(list, list + old, *n * sizeof(*list));
}

static void read_line(struct hpa_memory *m, const char *line)
{
	long long time_ns;
	int a, b;
	char type;
	int n = sscanf(line, "%c %lld %d %d", &type, &time_ns, &a, &b);

	if (n >= 3 && type == 'r')
		remember(m->recommendations, &m->n_recommendations, time_ns, a);
	else if (n >= 3 && type == 'u')
		remember(m->ups, &m->n_ups, time_ns, a);
	else if (n >= 3 && type == 'd')
		remember(m->downs, &m->n_downs, time_ns, a);
	else if (n == 4 && type == 'p') {
		m->pending_ns = time_ns;
		m->pending_from = a;
		m->pending_to = b;
	}
}

/* A decision that shows in the target was carried out. */
static void settle_pending(struct hpa_memory *m, int32_t current)
{
	if (m->pending_ns != 0 && m->pending_to == current) {
		if (m->pending_to > m->pending_from)
			remember(m->ups, &m->n_ups, m->pending_ns, m->pending_to - m->pending_from);
		else
			remember(m->downs, &m->n_downs, m->pending_ns,
				 m->pending_from - m->pending_to);
	}
	m->pending_ns = 0;
}

void hpa_memory_read(struct hpa_memory *m, const char *text, int32_t current, int64_t now_ns)
{
	int64_t hour_ago_ns = now_ns - 3600 * NS_PER_S;

	memset(m, 0, sizeof(*m));
	for (const char *line = text; line != NULL && line[0] != '\0';) {
		read_line(m, line);
		line = strchr(line, '\n');
		line += line != NULL;
	}
	settle_pending(m, current);
	forget_before(m->recommendations, &m->n_recommendations, hour_ago_ns);
	forget_before(m->ups, &m->n_ups, hour_ago_ns);
	forget_before(m->downs, &m->n_downs, hour_ago_ns);
	/* Nothing is known: that there are so many replicas will have had its reason. */
	if (text == NULL)
		remember_recommendation(m, now_ns, current);
}

static void print_list(struct buf *b, char type, const struct hpa_past *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "%c %lld %d\n", type, (long long)list[i].time_ns, list[i].value);
}

char *hpa_memory_print(const struct hpa_memory *m, struct arena *arena)
{
	auto_with(buf_fini) struct buf b = { 0 };

	print_list(&b, 'r', m->recommendations, m->n_recommendations);
	print_list(&b, 'u', m->ups, m->n_ups);
	print_list(&b, 'd', m->downs, m->n_downs);
	if (m->pending_ns != 0)
		buf_printf(&b, "p %lld %d %d\n", (long long)m->pending_ns, m->pending_from,
			   m->pending_to);
	return arena_strdup(arena, buf_cstr(&b));
}

/* --- Stabilisation
 * -------------------------------------------------------------------------------------- */

static void set_ready(struct hpa_verdict *v)
{
	v->able_reason = "ReadyForNewScale";
	v->able_message = "recommended size matches current size";
}

static int64_t window_ns(const AutoscalingV2__HPAScalingRules *rules, int32_t otherwise_s)
{
	return (rules != NULL && rules->has_stabilizationwindowseconds
			? rules->stabilizationwindowseconds
			: otherwise_s) *
	       NS_PER_S;
}

/* Without a behavior: the highest of the last five minutes. */
static int32_t highest(const struct hpa_limits *l, struct hpa_memory *m, int32_t desired,
		       struct hpa_verdict *v)
{
	int64_t since_ns = l->now_ns - DOWN_WINDOW_S * NS_PER_S;
	int32_t result = desired;

	for (size_t i = 0; i < m->n_recommendations; i++)
		if (m->recommendations[i].time_ns > since_ns &&
		    m->recommendations[i].value > result)
			result = m->recommendations[i].value;
	remember_recommendation(m, l->now_ns, desired);
	set_ready(v);
	if (result != desired) {
		v->able_reason = "ScaleDownStabilized";
		v->able_message = "recent recommendations were higher than current one, applying "
				  "the highest recent recommendation";
	}
	return result;
}

/* Up to the lowest of one window, down to the highest of the other. */
static int32_t between(const struct hpa_limits *l, struct hpa_memory *m, int32_t desired,
		       struct hpa_verdict *v)
{
	int64_t up_ns = l->now_ns - window_ns(l->behavior->scaleup, 0);
	int64_t down_ns = l->now_ns - window_ns(l->behavior->scaledown, DOWN_WINDOW_S);
	int32_t up = desired, down = desired, result = l->current;

	for (size_t i = 0; i < m->n_recommendations; i++) {
		const struct hpa_past *r = &m->recommendations[i];

		if (r->time_ns > up_ns && r->value < up)
			up = r->value;
		if (r->time_ns > down_ns && r->value > down)
			down = r->value;
	}
	if (result < up)
		result = up;
	if (result > down)
		result = down;
	remember_recommendation(m, l->now_ns, desired);
	set_ready(v);
	if (result != desired && desired >= l->current) {
		v->able_reason = "ScaleUpStabilized";
		v->able_message = "recent recommendations were lower than current one, applying "
				  "the lowest recent recommendation";
	} else if (result != desired) {
		v->able_reason = "ScaleDownStabilized";
		v->able_message = "recent recommendations were higher than current one, applying "
				  "the highest recent recommendation";
	}
	return result;
}

/* --- Rates
 * -----------------------------------------------------------------------------------------------
 */

static int32_t sum_since(const struct hpa_past *list, size_t n, int64_t since_ns)
{
	int32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		if (list[i].time_ns > since_ns)
			sum += list[i].value;
	return sum;
}

static double by_policy(const AutoscalingV2__HPAScalingPolicy *p, int32_t begin, bool up)
{
	double change = text_is(p->type, "Pods") ? (double)p->value
						 : (double)begin * (double)p->value / 100.0;

	return up ? ceil((double)begin + change) : floor((double)begin - change);
}

/* As far as the policies let it go in this direction. */
static int32_t rate_limit(const struct hpa_limits *l, const struct hpa_memory *m,
			  const AutoscalingV2__HPAScalingRules *rules, bool up)
{
	bool most = !text_is(rules->selectpolicy, "Min");
	double limit = 0;

	if (text_is(rules->selectpolicy, "Disabled") || rules->n_policies == 0)
		return l->current;
	for (size_t i = 0; i < rules->n_policies; i++) {
		const AutoscalingV2__HPAScalingPolicy *p = rules->policies[i];
		int64_t since_ns = l->now_ns - p->periodseconds * NS_PER_S;
		int32_t begin = l->current - sum_since(m->ups, m->n_ups, since_ns) +
				sum_since(m->downs, m->n_downs, since_ns);
		double proposed = by_policy(p, begin, up);

		/* The most change is the highest number upwards and the lowest downwards. */
		if (i == 0 || (most == up ? proposed > limit : proposed < limit))
			limit = proposed;
	}
	if (limit > INT32_MAX)
		return INT32_MAX;
	/* What was done in the period already is never undone for the sake of the rate. */
	if (up ? limit < l->current : limit > l->current)
		return l->current;
	return (int32_t)limit;
}

static void within(struct hpa_verdict *v)
{
	v->limited = false;
	v->limited_reason = "DesiredWithinRange";
	v->limited_message = "the desired count is within the acceptable range";
}

static void limit_to(struct hpa_verdict *v, int32_t replicas, const char *reason,
		     const char *message)
{
	v->replicas = replicas;
	v->limited = true;
	v->limited_reason = reason;
	v->limited_message = message;
}

static void limit_up(struct hpa_verdict *v, int32_t max, int32_t rate)
{
	if (v->replicas <= max && v->replicas <= rate)
		return;
	if (rate < max)
		limit_to(v, rate, "ScaleUpLimit",
			 "the desired replica count is increasing faster than the maximum scale "
			 "rate");
	else
		limit_to(v, max, "TooManyReplicas",
			 "the desired replica count is more than the maximum replica count");
}

static void limit_down(struct hpa_verdict *v, int32_t min, int32_t rate)
{
	if (v->replicas >= min && v->replicas >= rate)
		return;
	if (rate > min)
		limit_to(v, rate, "ScaleDownLimit",
			 "the desired replica count is decreasing faster than the maximum scale "
			 "rate");
	else
		limit_to(v, min, "TooFewReplicas",
			 "the desired replica count is less than the minimum replica count");
}

static void limit_by_behavior(const struct hpa_limits *l, const struct hpa_memory *m,
			      struct hpa_verdict *v)
{
	if (v->replicas > l->current && l->behavior->scaleup != NULL)
		limit_up(v, l->max, rate_limit(l, m, l->behavior->scaleup, true));
	else if (v->replicas < l->current && l->behavior->scaledown != NULL)
		limit_down(v, l->min, rate_limit(l, m, l->behavior->scaledown, false));
	else if (v->replicas > l->current)
		limit_up(v, l->max, INT32_MAX);
	else if (v->replicas < l->current)
		limit_down(v, l->min, INT32_MIN);
}

struct hpa_verdict hpa_limit(const struct hpa_limits *l, struct hpa_memory *m, int32_t desired)
{
	struct hpa_verdict v = { 0 };
	int32_t doubled = l->current > INT32_MAX / UP_FACTOR ? INT32_MAX : l->current * UP_FACTOR;

	within(&v);
	if (l->behavior != NULL) {
		v.replicas = between(l, m, desired, &v);
		limit_by_behavior(l, m, &v);
		return v;
	}
	v.replicas = highest(l, m, desired, &v);
	limit_down(&v, l->min, INT32_MIN);
	limit_up(&v, l->max, doubled > UP_MIN ? doubled : UP_MIN);
	return v;
}
