/* StatefulSets and DaemonSets. */
#include <string.h>

#include "tests/sim/cluster/clients.h"

/* --- StatefulSets ------------------------------------------------------------------------ */

static const char *stateful_strategy(struct chaos *c)
{
	if (sim_draw(&c->sim, 6) == 0)
		return "{'type':'OnDelete','rollingUpdate':null}";
	return arena_printf(&c->scratch,
			    "{'type':'RollingUpdate','rollingUpdate':{'partition':%u}}",
			    sim_draw(&c->sim, 3) ? 0 : sim_draw(&c->sim, 3));
}

static void create_statefulset(struct chaos *c)
{
	const char *app = draw_name(c, "db", 3);

	ask(c, "create", "statefulsets.apps", draw_namespace(c), "",
	    arena_printf(&c->scratch,
			 "{'metadata':{'name':'%s'},'spec':{'replicas':%u,'serviceName':'%s',"
			 "'podManagementPolicy':'%s','minReadySeconds':%u,'updateStrategy':%s,%s"
			 "'selector':{'matchLabels':{'app':'%s'}},'template':%s}}",
			 app, 1 + sim_draw(&c->sim, 4), app,
			 sim_draw(&c->sim, 3) ? "OrderedReady" : "Parallel",
			 sim_draw(&c->sim, 3) ? 0 : 2, stateful_strategy(c),
			 sim_draw(&c->sim, 4) ? "" : "'ordinals':{'start':2},", app,
			 draw_version(c, app, 0, "")));
}

void work_on_statefulset(struct chaos *c)
{
	unsigned what = sim_draw(&c->sim, 20);
	const struct object *o = draw_object(c, "statefulsets.apps");
	const char *json;

	/* Those with volumes cannot be sent to where these are not. */
	if (what < 6 || o == NULL || strncmp(o->name, "vol", 3) == 0) {
		create_statefulset(c);
		return;
	}
	if (what < 10)
		json = arena_printf(&c->scratch, "{'spec':{'replicas':%u}}", sim_draw(&c->sim, 6));
	else if (what < 15)
		json = arena_printf(&c->scratch, "{'spec':{'template':%s}}",
				    draw_version(c, o->name, sim_draw(&c->sim, 4), ""));
	else if (what < 17)
		json = arena_printf(&c->scratch, "{'spec':{'updateStrategy':%s}}",
				    stateful_strategy(c));
	else {
		ask_delete(c, "statefulsets.apps", o->namespace, o->name);
		return;
	}
	ask(c, "patch", "statefulsets.apps", o->namespace, o->name, json);
}

/* Each of its pods has a volume, which goes with the set or stays. They run wherever the volume is.
 */
void work_on_volume(struct chaos *c)
{
	static const char *const retentions[] = { "Retain", "Delete" };
	const char *app = draw_name(c, "vol", 2), *namespace = draw_namespace(c);
	unsigned what = sim_draw(&c->sim, 8);

	if (what < 4)
		ask(c, "create", "statefulsets.apps", namespace, "",
		    arena_printf(
			    &c->scratch,
			    "{'metadata':{'name':'%s'},'spec':{'replicas':%u,'serviceName':'%s','selector':"
			    "{'matchLabels':{'app':'%s'}},'persistentVolumeClaimRetentionPolicy':{"
			    "'whenDeleted':'%s','whenScaled':'%s'},'volumeClaimTemplates':[{'metadata':{"
			    "'name':'data'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{"
			    "'requests':{'storage':'1Gi'}}}}],'template':{'metadata':{'labels':{'app':"
			    "'%s'}},'spec':{'terminationGracePeriodSeconds':2,'containers':[{'name':'c',"
			    "'image':'i:1','volumeMounts':[{'name':'data','mountPath':'/d'}],'resources':{"
			    "'requests':{'cpu':'50m','memory':'64Mi'}}}]}}}}",
			    app, 1 + sim_draw(&c->sim, 3), app, app,
			    retentions[sim_draw(&c->sim, 2)], retentions[sim_draw(&c->sim, 2)],
			    app));
	else if (what < 7)
		ask(c, "patch", "statefulsets.apps", namespace, app,
		    arena_printf(&c->scratch, "{'spec':{'replicas':%u}}", sim_draw(&c->sim, 4)));
	else
		ask_delete(c, "statefulsets.apps", namespace, app);
}

/* --- DaemonSets -------------------------------------------------------------------------- */

static const char *daemon_strategy(struct chaos *c)
{
	if (sim_draw(&c->sim, 6) == 0)
		return "{'type':'OnDelete','rollingUpdate':null}";
	if (sim_draw(&c->sim, 2) == 0)
		return arena_printf(&c->scratch,
				    "{'type':'RollingUpdate','rollingUpdate':{'maxSurge':%u,"
				    "'maxUnavailable':0}}",
				    1 + sim_draw(&c->sim, 2));
	return arena_printf(&c->scratch,
			    "{'type':'RollingUpdate','rollingUpdate':{'maxSurge':0,"
			    "'maxUnavailable':%u}}",
			    1 + sim_draw(&c->sim, 2));
}

static void create_daemonset(struct chaos *c)
{
	const char *app = draw_name(c, "ds", 2);

	ask(c, "create", "daemonsets.apps", draw_namespace(c), "",
	    arena_printf(
		    &c->scratch,
		    "{'metadata':{'name':'%s'},'spec':{'minReadySeconds':%u,'updateStrategy':%s,"
		    "'selector':{'matchLabels':{'app':'%s'}},'template':%s}}",
		    app, sim_draw(&c->sim, 3) ? 0 : 2, daemon_strategy(c), app,
		    draw_version(c, app, 0, "")));
}

void work_on_daemonset(struct chaos *c)
{
	unsigned what = sim_draw(&c->sim, 12);
	const struct object *o = draw_object(c, "daemonsets.apps");
	const char *json;

	if (what < 4 || o == NULL) {
		create_daemonset(c);
		return;
	}
	if (what < 8)
		json = arena_printf(&c->scratch, "{'spec':{'template':%s}}",
				    draw_version(c, o->name, sim_draw(&c->sim, 4), ""));
	else if (what < 10)
		json = arena_printf(&c->scratch, "{'spec':{'updateStrategy':%s}}",
				    daemon_strategy(c));
	else {
		ask_delete(c, "daemonsets.apps", o->namespace, o->name);
		return;
	}
	ask(c, "patch", "daemonsets.apps", o->namespace, o->name, json);
}
