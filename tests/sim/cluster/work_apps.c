/* Deployments, ReplicaSets, ReplicationControllers and Services. */
#include "tests/sim/cluster/clients.h"

static const char *strategy(struct chaos *c)
{
	unsigned surge = sim_draw(&c->sim, 3), unavailable = sim_draw(&c->sim, 3);

	if (sim_draw(&c->sim, 5) == 0)
		return "{'type':'Recreate','rollingUpdate':null}";
	if (surge + unavailable == 0)
		surge = 1;
	return arena_printf(
		&c->scratch,
		"{'type':'RollingUpdate','rollingUpdate':{'maxSurge':%u,'maxUnavailable':%u}}",
		surge, unavailable);
}

static void create_deployment(struct chaos *c)
{
	const char *app = draw_name(c, "app", 4);

	ask(c, "create", "deployments.apps", draw_namespace(c), "",
	    arena_printf(&c->scratch,
			 "{'metadata':{'name':'%s'},'spec':{'replicas':%u,%s'minReadySeconds':%u,"
			 "'selector':{'matchLabels':{'app':'%s'}},'template':%s}}",
			 app, sim_draw(&c->sim, 6),
			 sim_draw(&c->sim, 2) ? "" : "'revisionHistoryLimit':2,",
			 sim_draw(&c->sim, 3) ? 0 : 2, app, draw_template(c, app, 0, "")));
}

void work_on_deployment(struct chaos *c)
{
	unsigned what = sim_draw(&c->sim, 20);
	const struct object *o = draw_object(c, "deployments.apps");
	const char *json;

	if (what < 6 || o == NULL) {
		create_deployment(c);
		return;
	}
	if (what < 10)
		json = arena_printf(&c->scratch, "{'spec':{'replicas':%u}}", sim_draw(&c->sim, 8));
	else if (what < 15)
		json = arena_printf(&c->scratch, "{'spec':{'template':%s}}",
				    draw_version(c, o->name, sim_draw(&c->sim, 4), ""));
	else if (what < 17)
		json = arena_printf(&c->scratch, "{'spec':{'strategy':%s}}", strategy(c));
	else if (what < 18)
		json = arena_printf(&c->scratch, "{'spec':{'paused':%s}}",
				    sim_draw(&c->sim, 2) ? "true" : "false");
	else {
		ask_delete(c, "deployments.apps", o->namespace, o->name);
		return;
	}
	ask(c, "patch", "deployments.apps", o->namespace, o->name, json);
}

void work_on_replicaset(struct chaos *c)
{
	const char *app = draw_name(c, "set", 2), *namespace = draw_namespace(c);
	unsigned what = sim_draw(&c->sim, 8);

	if (what < 3)
		ask(c, "create", "replicasets.apps", namespace, "",
		    arena_printf(&c->scratch,
				 "{'metadata':{'name':'%s'},'spec':{'replicas':%u,'selector':"
				 "{'matchLabels':{'app':'%s'}},'template':%s}}",
				 app, sim_draw(&c->sim, 5), app, draw_template(c, app, 0, "")));
	else if (what < 6)
		ask(c, "patch", "replicasets.apps", namespace, app,
		    arena_printf(&c->scratch, "{'spec':{'replicas':%u}}", sim_draw(&c->sim, 6)));
	else
		ask_delete(c, "replicasets.apps", namespace, app);
}

void work_on_replicationcontroller(struct chaos *c)
{
	const char *app = draw_name(c, "rc", 2), *namespace = draw_namespace(c);
	unsigned what = sim_draw(&c->sim, 8);

	if (what < 3)
		ask(c, "create", "replicationcontrollers", namespace, "",
		    arena_printf(
			    &c->scratch,
			    "{'metadata':{'name':'%s'},'spec':{'replicas':%u,'selector':{'app':'%s'},"
			    "'template':%s}}",
			    app, sim_draw(&c->sim, 5), app, draw_template(c, app, 0, "")));
	else if (what < 6)
		ask(c, "patch", "replicationcontrollers", namespace, app,
		    arena_printf(&c->scratch, "{'spec':{'replicas':%u}}", sim_draw(&c->sim, 6)));
	else
		ask_delete(c, "replicationcontrollers", namespace, app);
}

void work_on_service(struct chaos *c)
{
	const char *name = draw_name(c, "s", 6), *namespace = draw_namespace(c);
	unsigned what = sim_draw(&c->sim, 9);
	const char *type = what < 2 ? "'type':'NodePort'," : what < 3 ? "'clusterIP':'None'," : "";

	if (what < 5)
		ask(c, "create", "services", namespace, "",
		    arena_printf(
			    &c->scratch,
			    "{'metadata':{'name':'%s'},'spec':{%s'selector':{'app':'%s'},'ports':[{'port':"
			    "80%s}]}}",
			    name, type, draw_name(c, "app", 4),
			    what == 0 ? arena_printf(&c->scratch, ",'nodePort':%u",
						     30000 + sim_draw(&c->sim, 6))
				      : ""));
	else if (what < 7)
		ask(c, "patch", "services", namespace, name,
		    arena_printf(&c->scratch, "{'spec':{'selector':{'app':'%s'}}}",
				 draw_name(c, "app", 4)));
	else
		ask(c, "delete", "services", namespace, name, NULL);
}
