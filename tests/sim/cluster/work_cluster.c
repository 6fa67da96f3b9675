/* Namespaces, nodes, drains, single pods, budgets and quotas. */
#include <string.h>

#include "common/api/kinds.h"
#include "tests/sim/cluster/clients.h"
#include "tests/sim/cluster/oracle.h"

void work_on_namespace(struct chaos *c)
{
	const char *name = sim_draw(&c->sim, 2) ? "team-a" : "team-b";

	if (sim_draw(&c->sim, 3) == 0)
		ask(c, "delete", "namespaces", "", name, NULL);
	else
		ask(c, "create", "namespaces", "", "",
		    arena_printf(&c->scratch, "{'metadata':{'name':'%s'}}", name));
}

void work_on_node(struct chaos *c)
{
	const char *node = draw_name(c, "node", c->agents.n);
	unsigned what = sim_draw(&c->sim, 12);

	if (what < 3)
		ask(c, "patch", "nodes", "", node, "{'spec':{'unschedulable':true}}");
	else if (what < 6)
		ask(c, "patch", "nodes", "", node, "{'spec':{'unschedulable':false}}");
	else if (what < 8)
		ask(c, "patch", "nodes", "", node,
		    "{'spec':{'taints':[{'key':'drill','effect':'NoSchedule'}]}}");
	else if (what < 10 || c->calm_nodes)
		ask(c, "patch", "nodes", "", node, "{'spec':{'taints':[]}}");
	else if (what < 11)
		ask(c, "patch", "nodes", "", node,
		    "{'spec':{'taints':[{'key':'drill','effect':'NoExecute'}]}}");
	else
		ask(c, "delete", "nodes", "", node, NULL);
}

/* Pods of their own, under few names and on few ports of their nodes. */
static void create_pod(struct chaos *c)
{
	ask(c, "create", "pods", draw_namespace(c), "",
	    arena_printf(&c->scratch,
			 "{'metadata':{'name':'%s','labels':{'app':'%s'}},'spec':{'containers':["
			 "{'name':'c','image':'i:1','ports':[{'containerPort':80,'hostPort':%u}],"
			 "'resources':{'requests':{'cpu':'100m','memory':'64Mi'}}}]}}",
			 draw_name(c, "pod", 4), draw_name(c, "app", 4),
			 8000 + sim_draw(&c->sim, 3)));
}

void work_on_pod(struct chaos *c)
{
	const struct object *pod = draw_object(c, "pods");
	unsigned what = sim_draw(&c->sim, 8);

	if (what < 4 || pod == NULL) {
		create_pod(c);
	} else if (what < 5) {
		ask_force_delete(c, pod);
	} else {
		oracle_pod_asked(c, pod->facts.uid, false);
		ask_delete(c, "pods", pod->namespace, pod->name);
	}
}

/* --- Drains ------------------------------------------------------------------------------ */

void work_on_drain(struct chaos *c)
{
	if (c->draining != NULL)
		return;
	c->draining = c->agents.all[sim_draw(&c->sim, c->agents.n)].name;
	c->drain_until_ns = c->sim.now_ns + 1000000000ull * (1 + sim_draw(&c->sim, 40));
	chaos_trace(c, "somebody drains %s", c->draining);
	ask(c, "patch", "nodes", "", c->draining, "{'spec':{'unschedulable':true}}");
}

static bool on_pod_to_evict(void *ctx, const struct object *pod)
{
	const struct owner_ref *owner = object_controller(pod);

	if (pod->facts.deleted_ns == 0 && (owner == NULL || strcmp(owner->kind, "DaemonSet") != 0))
		ask_evict(ctx, pod);
	return true;
}

void work_drain(struct chaos *c)
{
	if (c->draining == NULL)
		return;
	if (c->drain_until_ns > c->sim.now_ns) {
		store_walk_node_pods(c->sim.masters[chaos_master_up(c)].store, c->draining,
				     on_pod_to_evict, c);
		return;
	}
	ask(c, "patch", "nodes", "", c->draining, "{'spec':{'unschedulable':false}}");
	c->draining = NULL;
}

/* --- Budgets and quotas ------------------------------------------------------------------ */

/* For pods that are there, as a rule. */
void work_on_budget(struct chaos *c)
{
	const char *name = draw_name(c, "budget", 4);
	const char *policy =
		sim_draw(&c->sim, 4) ? "" : "'unhealthyPodEvictionPolicy':'AlwaysAllow',";
	const struct object *pod = draw_object(c, "pods");
	const char *app = pod != NULL ? object_label(pod, "app") : NULL;
	const char *namespace = pod != NULL ? pod->namespace : draw_namespace(c);

	if (sim_draw(&c->sim, 4) == 0)
		ask(c, "delete", "poddisruptionbudgets.policy", namespace, name, NULL);
	else
		ask(c, "create", "poddisruptionbudgets.policy", namespace, "",
		    arena_printf(
			    &c->scratch,
			    "{'metadata':{'name':'%s'},'spec':{%s'%s':%s,'selector':{'matchLabels':"
			    "{'app':'%s'}}}}",
			    name, policy, sim_draw(&c->sim, 2) ? "minAvailable" : "maxUnavailable",
			    draw_intstr(c, 4), app != NULL ? app : "app-0"));
}

void work_on_quota(struct chaos *c)
{
	const char *name = draw_name(c, "quota", 2), *namespace = draw_namespace(c);
	unsigned what = sim_draw(&c->sim, 6);
	const char *hard = arena_printf(
		&c->scratch, "{'pods':'%u','requests.cpu':'%um','configmaps':'%u','services':'%u'}",
		2 + sim_draw(&c->sim, 12), 500 + 250 * sim_draw(&c->sim, 12),
		20 + sim_draw(&c->sim, 60), 1 + sim_draw(&c->sim, 5));

	if (strcmp(namespace, "default") == 0)
		return; /* Writes that are followed there may not be refused. */
	if (what < 3)
		ask(c, "create", "resourcequotas", namespace, "",
		    arena_printf(&c->scratch, "{'metadata':{'name':'%s'},'spec':{'hard':%s}}", name,
				 hard));
	else if (what < 5)
		ask(c, "patch", "resourcequotas", namespace, name,
		    arena_printf(&c->scratch, "{'spec':{'hard':%s}}", hard));
	else
		ask(c, "delete", "resourcequotas", namespace, name, NULL);
}
