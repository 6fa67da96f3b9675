/* Secrets that end by themselves: bootstrap tokens when they expire, and the
 * tokens of a ServiceAccount with the account. */
#include <string.h>

#include "common/api/times.h"
#include "controlplane/controllers/common.h"

static const char bootstrap_type[] = "bootstrap.kubernetes.io/token";
static const char account_type[] = "kubernetes.io/service-account-token";

/* --- Bootstrap tokens ----------------------------------------------------------------- */

static const CoreV1__Secret__DataEntry *find(const CoreV1__Secret *s, const char *key)
{
	for (size_t i = 0; i < s->n_data; i++)
		if (text_is(s->data[i]->key, key))
			return s->data[i];
	return NULL;
}

/* What cannot be read has expired; without a time it never does. */
static void end_bootstrap(struct view *v, const struct object *o, struct intents *intents)
{
	const CoreV1__Secret *s = view_secret(v, o, v->arena);
	const CoreV1__Secret__DataEntry *e = find(s, "expiration");
	int64_t until_s;
	int32_t nanos;

	if (e == NULL || e->value.len == 0)
		return;
	if (time_parse(bytes_of(e->value.data, e->value.len), &until_s, &nanos) < 0 ||
	    until_s * NS_PER_S <= v->now_ns)
		intend_delete(intents, o, -1, NULL);
	else
		intend_again(intents, until_s * NS_PER_S);
}

/* --- Tokens of ServiceAccounts ----------------------------------------------------------- */

static void end_account_token(struct view *v, const struct object *o, const CoreV1__Secret *s,
			      struct intents *intents)
{
	const char *name =
		text_of(meta_annotation(s->metadata, "kubernetes.io/service-account.name"));
	const char *uid = meta_annotation(s->metadata, "kubernetes.io/service-account.uid");
	const struct object *account = view_get(v, "serviceaccounts", o->namespace, name);

	if (account == NULL || (!text_empty(uid) && strcmp(uid, account->facts.uid) != 0))
		intend_delete(intents, o, -1, NULL);
	else if (text_empty(uid) && v->open_secret != NULL)
		/* The account came later: the write fills it. */
		intend_update(intents, o, view_secret(v, o, intents->arena));
}

/* --- The controller -------------------------------------------------------------------------- */

static void reconcile(struct view *v, struct key key, struct intents *intents)
{
	const struct object *o = view_get(v, "secrets", key.namespace, key.name);
	const CoreV1__Secret *s = o != NULL ? view_message(v, o) : NULL;

	if (o == NULL || o->facts.deleted_ns != 0)
		return;
	if (text_is(s->type, bootstrap_type) && strcmp(o->namespace, "kube-system") == 0)
		end_bootstrap(v, o, intents);
	else if (text_is(s->type, account_type))
		end_account_token(v, o, s, intents);
}

static void on_change(const struct view *v, const struct object *old, const struct object *new,
		      struct keys *keys)
{
	const struct object *o = new ? new : old;

	if (new != NULL && change_is_of(old, new, "secrets"))
		keys_add_object(keys, old, new);
	/* One that is gone, or is another of the same name. */
	if (change_is_of(old, new, "serviceaccounts") &&
	    (old == NULL || new == NULL || strcmp(old->facts.uid, new->facts.uid) != 0))
		keys_add_all(keys, v, "secrets", o->namespace);
}

static void seed(const struct view *v, struct keys *keys)
{
	keys_add_all(keys, v, "secrets", NULL);
}

const struct controller controller_tokens = {
	.name = "token-controller",
	.on_change = on_change,
	.seed = seed,
	.reconcile = reconcile,
};
