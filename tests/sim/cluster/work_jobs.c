/* Jobs and CronJobs: pods that run to an end, some of them to a bad one. */
#include "tests/sim/cluster/clients.h"

static const char *job_template(struct chaos *c, const char *app, const char *policy)
{
	return arena_printf(
		&c->scratch,
		"{'metadata':{'labels':{'app':'%s'},'annotations':{'fails':'%u','runs':'%u'}},'spec':{"
		"'restartPolicy':'%s','terminationGracePeriodSeconds':%u,'containers':[{'name':'c',"
		"'image':'i:1','resources':{'requests':{'cpu':'%um','memory':'64Mi'}}}]}}",
		app, sim_draw(&c->sim, 3) ? 20 * sim_draw(&c->sim, 3) : 90,
		500 + sim_draw(&c->sim, sim_draw(&c->sim, 4) ? 8000 : 150000), policy,
		1 + sim_draw(&c->sim, 4), 50 + 50 * sim_draw(&c->sim, 3));
}

static const char *failure_policy(struct chaos *c)
{
	static const char *const actions[] = { "FailJob", "Ignore", "Count" };

	if (sim_draw(&c->sim, 4) != 0)
		return "";
	return arena_printf(&c->scratch,
			    "'podFailurePolicy':{'rules':[{'action':'Ignore','onPodConditions':[{"
			    "'type':'DisruptionTarget','status':'True'}]},{'action':'%s',"
			    "'onExitCodes':{'operator':'In','values':[%u]}}]},",
			    actions[sim_draw(&c->sim, 3)], 1 + sim_draw(&c->sim, 3));
}

static const char *completions(struct chaos *c, bool indexed)
{
	unsigned wanted = 1 + sim_draw(&c->sim, 5);

	if (indexed)
		return arena_printf(&c->scratch, "'completionMode':'Indexed','completions':%u,%s",
				    wanted,
				    sim_draw(&c->sim, 3) ? "" : "'backoffLimitPerIndex':1,");
	if (sim_draw(&c->sim, 5) == 0)
		return ""; /* A queue of work: the first success is enough. */
	return arena_printf(&c->scratch, "'completions':%u,", wanted);
}

static const char *job_spec(struct chaos *c, const char *app)
{
	bool restarts = sim_draw(&c->sim, 4) == 0;
	bool indexed = !restarts && sim_draw(&c->sim, 3) == 0;

	return arena_printf(
		&c->scratch, "{%s%s%s%s%s'parallelism':%u,'backoffLimit':%u,'template':%s}",
		completions(c, indexed), restarts ? "" : failure_policy(c),
		sim_draw(&c->sim, 3) ? "" : "'ttlSecondsAfterFinished':60,",
		sim_draw(&c->sim, 5) ? "" : "'activeDeadlineSeconds':60,",
		sim_draw(&c->sim, 8) ? "" : "'suspend':true,", 1 + sim_draw(&c->sim, 3),
		sim_draw(&c->sim, 4), job_template(c, app, restarts ? "OnFailure" : "Never"));
}

void work_on_job(struct chaos *c)
{
	const char *app = draw_name(c, "job", 6), *namespace = draw_namespace(c);
	unsigned what = sim_draw(&c->sim, 16);

	if (what < 9)
		ask(c, "create", "jobs.batch", namespace, "",
		    arena_printf(&c->scratch, "{'metadata':{'name':'%s'},'spec':%s}", app,
				 job_spec(c, app)));
	else if (what < 11)
		ask(c, "patch", "jobs.batch", namespace, app,
		    arena_printf(&c->scratch, "{'spec':{'parallelism':%u}}", sim_draw(&c->sim, 4)));
	else if (what < 14)
		ask(c, "patch", "jobs.batch", namespace, app,
		    arena_printf(&c->scratch, "{'spec':{'suspend':%s}}",
				 sim_draw(&c->sim, 3) ? "false" : "true"));
	else
		ask_delete(c, "jobs.batch", namespace, app);
}

void work_on_cronjob(struct chaos *c)
{
	static const char *const policies[] = { "Allow", "Forbid", "Replace" };
	const char *app = draw_name(c, "cron", 2), *namespace = draw_namespace(c);
	unsigned what = sim_draw(&c->sim, 8);

	if (what < 4)
		ask(c, "create", "cronjobs.batch", namespace, "",
		    arena_printf(&c->scratch,
				 "{'metadata':{'name':'%s'},'spec':{'schedule':'* * * * *',"
				 "'concurrencyPolicy':'%s',%s'successfulJobsHistoryLimit':%u,"
				 "'jobTemplate':{'spec':%s}}}",
				 app, policies[sim_draw(&c->sim, 3)],
				 sim_draw(&c->sim, 4) ? "" : "'startingDeadlineSeconds':30,",
				 sim_draw(&c->sim, 4), job_spec(c, app)));
	else if (what < 6)
		ask(c, "patch", "cronjobs.batch", namespace, app,
		    arena_printf(&c->scratch, "{'spec':{'suspend':%s}}",
				 sim_draw(&c->sim, 2) ? "true" : "false"));
	else
		ask_delete(c, "cronjobs.batch", namespace, app);
}
