/* Namespaces, nodes and single pods. */
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
