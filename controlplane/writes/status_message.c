#include "controlplane/writes/status_message.h"

#include "common/api/make.h"
#include "common/api/message.h"

static char *copy(struct arena *a, const char *s)
{
	return s != NULL ? arena_strdup(a, s) : NULL;
}

static MetaV1__StatusDetails *details(const struct status *st, struct arena *a)
{
	MetaV1__StatusDetails *d = make(a, MetaV1__StatusDetails, meta_v1__status_details);

	d->name = copy(a, st->name);
	d->group = copy(a, st->group);
	d->kind = copy(a, st->kind);
	d->uid = copy(a, st->uid);
	if (st->retry_after_s > 0)
		make_set(d, retryafterseconds, st->retry_after_s);
	for (size_t i = 0; i < st->n_causes; i++) {
		MetaV1__StatusCause *cause = make(a, MetaV1__StatusCause, meta_v1__status_cause);

		cause->reason = copy(a, st->causes[i].type);
		cause->message = copy(a, st->causes[i].message);
		cause->field = copy(a, st->causes[i].field);
		make_append(a, d, causes, cause);
	}
	return d;
}

MetaV1__Status *status_message(const struct status *st, struct arena *a)
{
	MetaV1__Status *m = make(a, MetaV1__Status, meta_v1__status);

	m->status = copy(a, st->rc < 0 ? "Failure" : "Success");
	m->message = copy(a, st->message);
	m->reason = copy(a, st->reason);
	if (st->http_code != 0)
		make_set(m, code, st->http_code);
	if (st->name != NULL || st->group != NULL || st->kind != NULL || st->uid != NULL ||
	    st->n_causes > 0 || st->retry_after_s > 0)
		m->details = details(st, a);
	return m;
}
