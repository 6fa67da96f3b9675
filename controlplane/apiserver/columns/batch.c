/* Rows of what runs to its end (Jobs and CronJobs) or everywhere (DaemonSets). */
#include <string.h>

#include "controlplane/apiserver/age.h"
#include "controlplane/apiserver/columns/cells.h"
#include "proto/k8s/apps_v1.pb-c.h"
#include "proto/k8s/batch_v1.pb-c.h"

static const BatchV1__JobSpec no_job = BATCH_V1__JOB_SPEC__INIT;
static const BatchV1__JobStatus no_job_status = BATCH_V1__JOB_STATUS__INIT;
static const BatchV1__CronJobSpec no_cron_job = BATCH_V1__CRON_JOB_SPEC__INIT;
static const BatchV1__CronJobStatus no_cron_job_status = BATCH_V1__CRON_JOB_STATUS__INIT;

static const BatchV1__JobSpec *job_spec(const BatchV1__Job *j)
{
	return j->spec != NULL ? j->spec : &no_job;
}

static const BatchV1__JobStatus *job_status_of(const BatchV1__Job *j)
{
	return j->status != NULL ? j->status : &no_job_status;
}

static void job_status(struct cells *c, const void *message)
{
	static const char *const early[] = { "Complete", "Failed" };
	static const char *const late[] = { "Suspended", "FailureTarget", "SuccessCriteriaMet" };
	const BatchV1__JobStatus *s = job_status_of(message);

	for (size_t i = 0; i < 2; i++)
		if (strcmp(text_of(condition_status(s->conditions, s->n_conditions, early[i])),
			   "True") == 0) {
			cell_text(c, early[i]);
			return;
		}
	if (meta_of(message)->deletiontimestamp != NULL) {
		cell_text(c, "Terminating");
		return;
	}
	for (size_t i = 0; i < 3; i++)
		if (strcmp(text_of(condition_status(s->conditions, s->n_conditions, late[i])),
			   "True") == 0) {
			cell_text(c, late[i]);
			return;
		}
	cell_text(c, "Running");
}

static void job_completions(struct cells *c, const void *message)
{
	const BatchV1__JobSpec *spec = job_spec(message);
	int succeeded = job_status_of(message)->succeeded;

	if (spec->has_completions)
		cell_printf(c, "%d/%d", succeeded, spec->completions);
	else if (spec->parallelism > 1)
		cell_printf(c, "%d/1 of %d", succeeded, spec->parallelism);
	else
		cell_printf(c, "%d/1", succeeded);
}

static void job_duration(struct cells *c, const void *message)
{
	const BatchV1__JobStatus *s = job_status_of(message);
	char text[AGE_TEXT_SIZE] = "";

	if (s->starttime != NULL)
		age_print(s->completiontime != NULL ? time_ns(s->completiontime) : c->now_ns,
			  time_ns(s->starttime), text);
	cell_text(c, text);
}

static void job_containers(struct cells *c, const void *message)
{
	cell_containers(c, job_spec(message)->template_);
}

static void job_images(struct cells *c, const void *message)
{
	cell_images(c, job_spec(message)->template_);
}

static void job_selector(struct cells *c, const void *message)
{
	cell_selector(c, job_spec(message)->selector, "<none>");
}

static const BatchV1__CronJobSpec *cron_spec(const BatchV1__CronJob *j)
{
	return j->spec != NULL ? j->spec : &no_cron_job;
}

static const BatchV1__CronJobStatus *cron_status(const BatchV1__CronJob *j)
{
	return j->status != NULL ? j->status : &no_cron_job_status;
}

static const BatchV1__JobSpec *cron_template(const BatchV1__CronJob *j)
{
	const BatchV1__JobTemplateSpec *t = cron_spec(j)->jobtemplate;

	return t != NULL && t->spec != NULL ? t->spec : &no_job;
}

static void cron_schedule(struct cells *c, const void *message)
{
	cell_text(c, cron_spec(message)->schedule);
}

static void cron_zone(struct cells *c, const void *message)
{
	cell_text_or(c, cron_spec(message)->timezone, "<none>");
}

static void cron_suspend(struct cells *c, const void *message)
{
	const BatchV1__CronJobSpec *spec = cron_spec(message);

	cell_text(c, !spec->has_suspend ? "<unset>" : spec->suspend ? "True" : "False");
}

static void cron_active(struct cells *c, const void *message)
{
	cell_int(c, (int64_t)cron_status(message)->n_active);
}

static void cron_last(struct cells *c, const void *message)
{
	cell_age(c, cron_status(message)->lastscheduletime, "<none>");
}

static void cron_containers(struct cells *c, const void *message)
{
	cell_containers(c, cron_template(message)->template_);
}

static void cron_images(struct cells *c, const void *message)
{
	cell_images(c, cron_template(message)->template_);
}

static void cron_selector(struct cells *c, const void *message)
{
	cell_selector(c, cron_template(message)->selector, "<none>");
}

static const AppsV1__DaemonSetSpec no_daemon = APPS_V1__DAEMON_SET_SPEC__INIT;
static const AppsV1__DaemonSetStatus no_daemon_status = APPS_V1__DAEMON_SET_STATUS__INIT;

static const AppsV1__DaemonSetSpec *daemon_spec(const AppsV1__DaemonSet *d)
{
	return d->spec != NULL ? d->spec : &no_daemon;
}

static const AppsV1__DaemonSetStatus *daemon_status(const AppsV1__DaemonSet *d)
{
	return d->status != NULL ? d->status : &no_daemon_status;
}

static void daemon_desired(struct cells *c, const void *message)
{
	cell_int(c, daemon_status(message)->desirednumberscheduled);
}

static void daemon_current(struct cells *c, const void *message)
{
	cell_int(c, daemon_status(message)->currentnumberscheduled);
}

static void daemon_ready(struct cells *c, const void *message)
{
	cell_int(c, daemon_status(message)->numberready);
}

static void daemon_updated(struct cells *c, const void *message)
{
	cell_int(c, daemon_status(message)->updatednumberscheduled);
}

static void daemon_available(struct cells *c, const void *message)
{
	cell_int(c, daemon_status(message)->numberavailable);
}

static void daemon_node_selector(struct cells *c, const void *message)
{
	const CoreV1__PodTemplateSpec *t = daemon_spec(message)->template_;
	const CoreV1__PodSpec *spec = t != NULL ? t->spec : NULL;

	cell_map(c, spec ? spec->nodeselector : NULL, spec ? spec->n_nodeselector : 0, "<none>");
}

static void daemon_containers(struct cells *c, const void *message)
{
	cell_containers(c, daemon_spec(message)->template_);
}

static void daemon_images(struct cells *c, const void *message)
{
	cell_images(c, daemon_spec(message)->template_);
}

static void daemon_selector(struct cells *c, const void *message)
{
	cell_selector(c, daemon_spec(message)->selector, "<none>");
}

/* clang-format off */
static const struct column daemon_set[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Desired", NUMBER, 0, daemon_desired, "Nodes that should run its pod." },
	{ "Current", NUMBER, 0, daemon_current, "Those of them that have one." },
	{ "Ready", NUMBER, 0, daemon_ready, "Those whose pod is ready." },
	{ "Up-to-date", NUMBER, 0, daemon_updated, "Those whose pod is of the newest template." },
	{ "Available", NUMBER, 0, daemon_available, "Those whose pod has been ready for minReadySeconds." },
	{ "Node Selector", TEXT, 0, daemon_node_selector, "Labels of nodes that it runs on." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "Containers", TEXT, 1, daemon_containers, "Names of the template's containers." },
	{ "Images", TEXT, 1, daemon_images, "Images of the template's containers." },
	{ "Selector", TEXT, 1, daemon_selector, "Which pods belong to it." },
};
static const struct column job[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Status", TEXT, 0, job_status, "How far it is." },
	{ "Completions", TEXT, 0, job_completions, "Runs that succeeded, and runs wanted." },
	{ "Duration", TEXT, 0, job_duration, "Time from its start to its end, or until now." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "Containers", TEXT, 1, job_containers, "Names of the template's containers." },
	{ "Images", TEXT, 1, job_images, "Images of the template's containers." },
	{ "Selector", TEXT, 1, job_selector, "Which pods belong to it." },
};
static const struct column cron_job[] = {
	{ "Name", NAME, 0, cell_name, DESCRIBE_NAME },
	{ "Schedule", TEXT, 0, cron_schedule, "When Jobs are started." },
	{ "Timezone", TEXT, 0, cron_zone, "Whose clock the schedule means." },
	{ "Suspend", "boolean", "", 0, cron_suspend, "Whether starting is suspended." },
	{ "Active", NUMBER, 0, cron_active, "Jobs that run." },
	{ "Last Schedule", TEXT, 0, cron_last, "How long ago a Job was last due." },
	{ "Age", TEXT, 0, cell_created_age, DESCRIBE_AGE },
	{ "Containers", TEXT, 1, cron_containers, "Names of the template's containers." },
	{ "Images", TEXT, 1, cron_images, "Images of the template's containers." },
	{ "Selector", TEXT, 1, cron_selector, "Which pods belong to its Jobs." },
};

const struct table_columns columns_batch[] = {
	COLUMNS(apps_v1__daemon_set, daemon_set),
	COLUMNS(batch_v1__job, job),
	COLUMNS(batch_v1__cron_job, cron_job),
};
/* clang-format on */
const size_t n_columns_batch = sizeof(columns_batch) / sizeof(columns_batch[0]);
