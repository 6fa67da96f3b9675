/* One holder of each cluster address, node port and podCIDR. */
#include "common/api/kinds.h"
#include "common/api/make.h"
#include "tests/sim/cluster/oracle.h"

void claim_take(struct chaos *c, const struct object *o, const char *what, bool take)
{
	const char *holder, *other;

	if (!take) {
		map_remove(&c->oracle->claims, what);
		return;
	}
	holder = chaos_text(c, "%s %s/%s", o->kind->resource, o->namespace, o->name);
	other = map_put(&c->oracle->claims, what, (void *)holder);
	if (other != NULL)
		chaos_fail(c, "%s is %s's and %s's", what, other, holder);
}

static void claims_of_service(struct chaos *c, const struct object *o, bool take)
{
	const CoreV1__Service *s = change_message(c, o);

	if (!text_empty(s->spec->clusterip) && !text_is(s->spec->clusterip, "None"))
		claim_take(c, o, s->spec->clusterip, take);
	for (size_t i = 0; i < s->spec->n_ports; i++)
		if (s->spec->ports[i]->nodeport != 0)
			claim_take(c, o,
				   arena_printf(&c->oracle->work, "node port %d %s",
						s->spec->ports[i]->nodeport,
						s->spec->ports[i]->protocol),
				   take);
}

void claims_look_at_service(struct chaos *c, const struct change *change)
{
	if (change->old != NULL)
		claims_of_service(c, change->old, false);
	if (change->new != NULL)
		claims_of_service(c, change->new, true);
}
