/* Jobs: worlds and the intents and status expected of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "tests/unit/world/world.h"

extern const struct controller controller_job;
extern const struct controller controller_podgc;
extern const struct controller controller_ttl;

#define NS_PER_S INT64_C(1000000000)

/* Pods are written NAME:PHASE[:FLAGS...]. Flags: u without the finalizer, d being deleted, r ready,
 * o an orphan, iN index, xN exit code, nN restarts, fN failures of the index before it, sN ended N
 * seconds ago (an hour unless given), D condition DisruptionTarget. */
static const struct {
	const char *name;
	const char *spec;   /* Beyond the template and what is default. */
	const char *status; /* NULL: none yet. */
	const char *pods;
	const char *intents; /* In order; suffixes of generated names are left out. */
	const char *says; /* Texts in the status afterwards, with | between; !TEXT is not there. */
} cases[] = {
	/* --- How many ------------------------------------------------------------- */
	{ "the first look makes the pods and notes the start", "'parallelism':2,'completions':3",
	  NULL, "", "create j-\ncreate j-\nstatus j\n",
	  "'startTime':'2023-11-14T22:13:20Z'|'ready':0|'terminating':0|"
	  "'uncountedTerminatedPods':{}|!'conditions'" },
	{ "no more than are missing", "'parallelism':5,'completions':3",
	  "{'startTime':'2023-11-14T22:00:00Z','succeeded':2}", "a:Running", "status j\n",
	  "'active':1" },
	{ "only as many as run at once", "'parallelism':2,'completions':9",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running:r b:Pending", "status j\n",
	  "'active':2|'ready':1" },
	{ "a smaller parallelism lets go first, then deletes", "'parallelism':1,'completions':9",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running:r b:Pending", "update b\nstatus j\n",
	  "'active':1|!'failed'" },
	{ "who was let go is deleted, and not counted", "'parallelism':1,'completions':9",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running:r b:Pending:u", "delete b\nstatus j\n",
	  "'active':1|'terminating':1|!'failed'" },
	{ "parallelism 0 pauses", "'parallelism':0,'completions':2",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running", "update a\nstatus j\n",
	  "!'Suspended'" },
	{ "no completions wanted: done at once", "'completions':0", NULL, "", "status j\n",
	  "'type':'SuccessCriteriaMet'|'type':'Complete'" },
	/* --- Counting ------------------------------------------------------------- */
	{ "a success is counted with the finalizer", "'parallelism':1,'completions':2",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Succeeded", "create j-\nupdate a\nstatus j\n",
	  "'succeeded':1|!'failed'" },
	{ "a pod without the finalizer is counted already", "'parallelism':1,'completions':3",
	  "{'startTime':'2023-11-14T22:00:00Z','succeeded':1}", "a:Succeeded:u b:Running",
	  "status j\n", "'succeeded':1|'active':1" },
	{ "a failure is counted", "'completions':1,'parallelism':1",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed", "create j-\nupdate a\nstatus j\n",
	  "'failed':1|!'succeeded'" },
	{ "what another controller noted as uncounted is added once",
	  "'completions':3,'parallelism':1",
	  "{'startTime':'2023-11-14T22:00:00Z','succeeded':1,'uncountedTerminatedPods':"
	  "{'succeeded':['uid-a','uid-gone']}}",
	  "a:Succeeded", "update a\nstatus j\n",
	  "'succeeded':3|'uncountedTerminatedPods':{}|'type':'Complete'" },
	{ "a pod that is to go has failed", "'completions':1,'parallelism':1",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running:d", "create j-\nupdate a\nstatus j\n",
	  "'failed':1|'terminating':1" },
	{ "with podReplacementPolicy Failed it is waited for",
	  "'completions':1,'parallelism':1,'podReplacementPolicy':'Failed'",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running:d", "status j\n",
	  "'terminating':1|!'failed'" },
	{ "and replaced when it has ended",
	  "'completions':1,'parallelism':1,'podReplacementPolicy':'Failed'",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:d", "create j-\nupdate a\nstatus j\n",
	  "'failed':1|'terminating':0" },
	/* --- Work queue ----------------------------------------------------------- */
	{ "a queue of work runs in parallel", "'parallelism':2", NULL, "",
	  "create j-\ncreate j-\nstatus j\n", "!'conditions'" },
	{ "after the first success nobody new begins", "'parallelism':3",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Succeeded b:Running", "update a\nstatus j\n",
	  "'succeeded':1|'active':1|!'conditions'" },
	{ "and the last one ends it", "'parallelism':3", "{'startTime':'2023-11-14T22:00:00Z'}",
	  "a:Succeeded:u b:Succeeded c:Failed:u", "update b\nstatus j\n",
	  "'reason':'CompletionsReached'|'type':'Complete'|'completionTime'" },
	/* --- The end --------------------------------------------------------------- */
	{ "enough have succeeded", "'completions':2",
	  "{'startTime':'2023-11-14T22:00:00Z',"
	  "'succeeded':1}",
	  "a:Succeeded:u b:Succeeded", "update b\nstatus j\n",
	  "'succeeded':2|'type':'SuccessCriteriaMet'|'type':'Complete'|"
	  "'message':'Reached expected number of succeeded pods'|"
	  "'completionTime':'2023-11-14T22:13:20Z'" },
	{ "too many failures end the rest", "'completions':3,'parallelism':2,'backoffLimit':0",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed b:Running",
	  "delete b\nupdate a\nstatus j\n",
	  "'type':'FailureTarget'|'reason':'BackoffLimitExceeded'|'failed':1|!'Failed'" },
	{ "which count as failed, too", "'completions':3,'parallelism':2,'backoffLimit':0",
	  "{'startTime':'2023-11-14T22:00:00Z','failed':1,'conditions':[{'type':'FailureTarget',"
	  "'status':'True','reason':'BackoffLimitExceeded','message':'m'}]}",
	  "a:Failed:u b:Running:d", "update b\nstatus j\n",
	  "'failed':2|'terminating':1|!'Failed'" },
	{ "and it has failed when the last is gone", "'completions':3,'backoffLimit':0",
	  "{'startTime':'2023-11-14T22:00:00Z','failed':2,'conditions':[{'type':'FailureTarget',"
	  "'status':'True','reason':'BackoffLimitExceeded','message':'m'}]}",
	  "a:Failed:u b:Failed:u:d", "status j\n", "'type':'Failed'|!'completionTime'" },
	{ "backoffLimit is not yet exceeded when it is reached",
	  "'completions':1,'backoffLimit':1,'parallelism':1",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed", "create j-\nupdate a\nstatus j\n",
	  "'failed':1|!'conditions'" },
	{ "restarts in place count, too", "'completions':1,'backoffLimit':3,'restart':'OnFailure'",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running:n3", "delete a\nstatus j\n",
	  "'reason':'BackoffLimitExceeded'|'type':'FailureTarget'" },
	{ "up to the limit", "'completions':1,'backoffLimit':3,'restart':'OnFailure'",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running:n2", "status j\n", "!'conditions'" },
	{ "with limit 0 the first restart is too many",
	  "'completions':1,'backoffLimit':0,'restart':'OnFailure'",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running:n1", "delete a\nstatus j\n",
	  "'reason':'BackoffLimitExceeded'" },
	{ "the deadline comes", "'completions':1,'activeDeadlineSeconds':60",
	  "{'startTime':'2023-11-14T22:12:20Z'}", "a:Running", "delete a\nstatus j\n",
	  "'type':'FailureTarget'|'reason':'DeadlineExceeded'" },
	{ "not before", "'completions':1,'activeDeadlineSeconds':61",
	  "{'startTime':'2023-11-14T22:12:20Z'}", "a:Running", "again +1\nstatus j\n",
	  "!'conditions'" },
	{ "a Job that has ended is left alone", "'completions':1",
	  "{'failed':1,'conditions':[{'type':'Failed','status':'True'}]}", "a:Failed:u", "", "" },
	{ "up to finalizers that were left", "'completions':1",
	  "{'failed':1,'conditions':[{'type':'Failed','status':'True'}]}", "a:Failed", "update a\n",
	  "'failed':1" },
	/* --- Back-off -------------------------------------------------------------- */
	{ "after a failure 10 s pass", "'completions':1,'parallelism':1",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:s4", "again +6\nupdate a\nstatus j\n",
	  "'failed':1" },
	{ "doubled with each", "'completions':1,'parallelism':1",
	  "{'startTime':'2023-11-14T22:00:00Z','failed':2}",
	  "a:Failed:u:s90 b:Failed:u:s60 c:Failed:s15", "again +25\nupdate c\nstatus j\n",
	  "'failed':3" },
	{ "since the last success", "'completions':3,'parallelism':1",
	  "{'startTime':'2023-11-14T22:00:00Z','failed':1,'succeeded':1}",
	  "a:Failed:u:s90 b:Succeeded:u:s30 c:Failed:s2", "again +8\nupdate c\nstatus j\n",
	  "'failed':2" },
	{ "10 minutes at most", "'completions':1,'parallelism':1,'backoffLimit':99",
	  "{'startTime':'2023-11-14T22:00:00Z','failed':8}",
	  "a:Failed:u b:Failed:u c:Failed:u d:Failed:u e:Failed:u f:Failed:u g:Failed:u h:Failed:u:s599",
	  "again +1\nstatus j\n", "'failed':8" },
	{ "who was told to go did not fail", "'completions':1,'parallelism':1",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:u:d:s2", "create j-\nstatus j\n",
	  "!'failed'" },
	/* --- Suspension -------------------------------------------------------------- */
	{ "a suspended Job begins nothing", "'completions':1,'suspend':true", NULL, "",
	  "status j\n", "'type':'Suspended'|'reason':'JobSuspended'|!'startTime'" },
	{ "suspending lets go", "'completions':1,'suspend':true",
	  "{'startTime':'2023-11-14T22:00:00Z','failed':1}", "a:Running", "update a\nstatus j\n",
	  "'failed':1|'type':'Suspended'|!'startTime'" },
	{ "then deletes", "'completions':1,'suspend':true",
	  "{'failed':1,'conditions':[{'type':'Suspended','status':'True'}]}", "a:Running:u",
	  "delete a\nstatus j\n", "'failed':1|'terminating':1" },
	{ "what ended meanwhile is counted", "'completions':2,'suspend':true",
	  "{'conditions':[{'type':'Suspended','status':'True'}]}", "a:Succeeded",
	  "update a\nstatus j\n", "'succeeded':1|!'startTime'" },
	{ "resuming starts the clock anew", "'completions':1,'parallelism':1",
	  "{'conditions':[{'type':'Suspended','status':'True','reason':'JobSuspended'}]}", "",
	  "create j-\nstatus j\n",
	  "'status':'False'|'reason':'JobResumed'|'startTime':'2023-11-14T22:13:20Z'" },
	/* --- Indexed --------------------------------------------------------------- */
	{ "the lowest free indexes first",
	  "'completions':4,'parallelism':2,'completionMode':'Indexed'",
	  "{'startTime':'2023-11-14T22:00:00Z','succeeded':1,'completedIndexes':'0'}",
	  "a:Succeeded:u:i0 b:Running:i2", "create j-1-\nstatus j\n", "'completedIndexes':'0'" },
	{ "completed indexes are noted",
	  "'completions':9,'parallelism':1,'completionMode':'Indexed'",
	  "{'startTime':'2023-11-14T22:00:00Z','succeeded':3,'completedIndexes':'1,3,4'}",
	  "a:Succeeded:i5 b:Running:i0", "update a\nstatus j\n",
	  "'completedIndexes':'1,3-5'|'succeeded':4" },
	{ "an index counts once", "'completions':9,'parallelism':1,'completionMode':'Indexed'",
	  "{'startTime':'2023-11-14T22:00:00Z','succeeded':1,'completedIndexes':'5'}",
	  "a:Succeeded:i5 b:Running:i0", "update a\nstatus j\n",
	  "'completedIndexes':'5'|'succeeded':1" },
	{ "of two pods with one index one goes",
	  "'completions':9,'parallelism':2,'completionMode':'Indexed'",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running:i1:r b:Pending:i1",
	  "update b\nstatus j\n", "'active':1" },
	{ "and one without an index", "'completions':2,'parallelism':2,'completionMode':'Indexed'",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Running:i1:r b:Pending:i7",
	  "update b\nstatus j\n", "'active':1" },
	{ "all indexes done", "'completions':2,'parallelism':2,'completionMode':'Indexed'",
	  "{'startTime':'2023-11-14T22:00:00Z','succeeded':1,'completedIndexes':'1'}",
	  "a:Succeeded:i0", "update a\nstatus j\n",
	  "'completedIndexes':'0,1'|'type':'Complete'|'succeeded':2" },
	/* --- Per index ------------------------------------------------------------- */
	{ "a failed index waits on its own, and its pod is kept",
	  "'completions':2,'parallelism':2,'completionMode':'Indexed','backoffLimitPerIndex':1",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:i0:s4 b:Running:i1",
	  "again +6\nstatus j\n", "'failedIndexes':''|!'failed':" },
	{ "its wait doubles with the failures it had",
	  "'completions':2,'parallelism':2,'completionMode':'Indexed','backoffLimitPerIndex':4",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:i0:s4:f2 b:Running:i1",
	  "again +36\nstatus j\n", "'failedIndexes':''" },
	{ "the next pod takes over the number",
	  "'completions':2,'parallelism':2,'completionMode':'Indexed','backoffLimitPerIndex':4",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:i0:f2 b:Running:i1",
	  "create j-0-\nstatus j\n", "'failedIndexes':''" },
	{ "then the failed one is counted",
	  "'completions':2,'parallelism':2,'completionMode':'Indexed','backoffLimitPerIndex':4",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:i0:f2 b:Running:i1 c:Pending:i0:f3",
	  "update a\nstatus j\n", "'failed':1" },
	{ "beyond its limit the index has failed",
	  "'completions':3,'parallelism':1,'completionMode':'Indexed','backoffLimitPerIndex':1",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:i0:f1",
	  "create j-1-\nupdate a\nstatus j\n", "'failedIndexes':'0'|'failed':1|!'conditions'" },
	{ "a Job with failed indexes fails at the end",
	  "'completions':2,'parallelism':1,'completionMode':'Indexed','backoffLimitPerIndex':0",
	  "{'startTime':'2023-11-14T22:00:00Z','succeeded':1,'completedIndexes':'1'}",
	  "a:Failed:i0 b:Succeeded:u:i1", "update a\nstatus j\n",
	  "'failedIndexes':'0'|'reason':'FailedIndexes'|'type':'Failed'" },
	{ "or when too many have",
	  "'completions':5,'parallelism':2,'completionMode':'Indexed','backoffLimitPerIndex':0,"
	  "'maxFailedIndexes':1",
	  "{'startTime':'2023-11-14T22:00:00Z','failed':1,'failedIndexes':'4'}",
	  "a:Failed:i0 b:Running:i1", "delete b\nupdate a\nstatus j\n",
	  "'failedIndexes':'0,4'|'reason':'MaxFailedIndexesExceeded'|!'Failed'" },
	/* --- Policies -------------------------------------------------------------- */
	{ "FailJob by exit code",
	  "'completions':2,'parallelism':2,'podFailurePolicy':{'rules':[{'action':'FailJob',"
	  "'onExitCodes':{'containerName':'c','operator':'In','values':[41,42]}}]}",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:x42 b:Running",
	  "delete b\nupdate a\nstatus j\n",
	  "'reason':'PodFailurePolicy'|'type':'FailureTarget'|'message':'Container c for pod "
	  "default/a failed with exit code 42 matching FailJob rule at index 0'" },
	{ "NotIn means the others, and never success",
	  "'completions':2,'parallelism':2,'podFailurePolicy':{'rules':[{'action':'FailJob',"
	  "'onExitCodes':{'operator':'NotIn','values':[1]}}]}",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:x1 b:Failed:x0",
	  "create j-\ncreate j-\nupdate a\nupdate b\nstatus j\n", "'failed':2|!'conditions'" },
	{ "Ignore by condition",
	  "'completions':1,'parallelism':1,'backoffLimit':0,'podFailurePolicy':{'rules':[{'action':"
	  "'Ignore','onPodConditions':[{'type':'DisruptionTarget'}]}]}",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:x1:D",
	  "create j-\nupdate a\nstatus j\n", "!'failed'|!'conditions'" },
	{ "the first rule that matches decides",
	  "'completions':1,'parallelism':1,'podFailurePolicy':{'rules':[{'action':'Count',"
	  "'onExitCodes':{'operator':'In','values':[1]}},{'action':'FailJob','onExitCodes':{"
	  "'operator':'NotIn','values':[2]}}]}",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:x1", "create j-\nupdate a\nstatus j\n",
	  "'failed':1|!'conditions'" },
	{ "FailIndex gives up one index",
	  "'completions':2,'parallelism':1,'completionMode':'Indexed','backoffLimitPerIndex':5,"
	  "'podFailurePolicy':{'rules':[{'action':'FailIndex','onExitCodes':{'operator':'In',"
	  "'values':[7]}}]}",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Failed:x7:i0",
	  "create j-1-\nupdate a\nstatus j\n", "'failedIndexes':'0'|'failed':1" },
	{ "one index is success enough",
	  "'completions':3,'parallelism':3,'completionMode':'Indexed','successPolicy':{'rules':[{"
	  "'succeededIndexes':'0-1','succeededCount':1}]}",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Succeeded:i1 b:Running:i0 c:Running:i2",
	  "delete b\ndelete c\nupdate a\nstatus j\n",
	  "'type':'SuccessCriteriaMet'|'reason':'SuccessPolicy'|'message':'Matched rules at index "
	  "0'|'completedIndexes':'1'|!'Complete'" },
	{ "what is no longer needed has not failed",
	  "'completions':3,'parallelism':3,'completionMode':'Indexed','successPolicy':{'rules':[{"
	  "'succeededCount':1}]},'podReplacementPolicy':'Failed'",
	  "{'startTime':'2023-11-14T22:00:00Z','succeeded':1,'completedIndexes':'1','conditions':[{"
	  "'type':'SuccessCriteriaMet','status':'True','reason':'SuccessPolicy','message':'m'}]}",
	  "a:Succeeded:u:i1 b:Running:i0:d", "update b\nstatus j\n",
	  "!'failed'|'terminating':1|!'Complete'" },
	/* --- Whose pods ------------------------------------------------------------- */
	{ "an orphan that matches is adopted first", "'completions':2,'parallelism':1",
	  "{'startTime':'2023-11-14T22:00:00Z'}", "a:Succeeded:o:u", "update a\n", "" },
	{ "another's Job", "'completions':1,'managedBy':'acme.io/x'", NULL, "", "", "" },
	{ "our own name is ours", "'completions':1,'managedBy':'kubernetes.io/job-controller'",
	  NULL, "", "create j-\nstatus j\n", "'startTime'" },
};

/* As admission left it. */
static const char defaulted_spec[] =
	"{'restartPolicy':'Never','dnsPolicy':'ClusterFirst','schedulerName':'default-scheduler',"
	"'terminationGracePeriodSeconds':30,'securityContext':{},'enableServiceLinks':true,"
	"'containers':[{'name':'c','image':'i','imagePullPolicy':'Always','resources':{},"
	"'terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File'}]}";

static const char *number_after(const char *flag)
{
	return flag + 1;
}

static void put_pod(struct world *w, char *pod)
{
	struct arena *a = &w->arena;
	char *save = NULL, *name = strtok_r(pod, ":", &save), *phase = strtok_r(NULL, ":", &save);
	const char *finalizers = ",'finalizers':['batch.kubernetes.io/job-tracking']",
		   *deleted = "";
	const char *owner = ",'ownerReferences':[{'apiVersion':'batch/v1','kind':'Job','name':'j',"
			    "'uid':'uid-j','controller':true}]";
	const char *index = "", *conditions = "", *code = "1", *restarts = "0", *annotations = "";
	bool ended = strcmp(phase, "Failed") == 0 || strcmp(phase, "Succeeded") == 0;
	long ago_s = 3600;

	for (char *f; (f = strtok_r(NULL, ":", &save)) != NULL;) {
		switch (f[0]) {
		case 'u':
			finalizers = "";
			break;
		case 'd':
			deleted = ",'deletionTimestamp':'2023-11-14T22:13:00Z'";
			break;
		case 'o':
			owner = "";
			break;
		case 'r':
			conditions = "{'type':'Ready','status':'True'}";
			break;
		case 'D':
			conditions = "{'type':'DisruptionTarget','status':'True'}";
			break;
		case 'i':
			index = arena_printf(a, ",'batch.kubernetes.io/job-completion-index':'%s'",
					     number_after(f));
			break;
		case 'x':
			code = number_after(f);
			break;
		case 'n':
			restarts = number_after(f);
			break;
		case 'f':
			annotations = arena_printf(
				a,
				",'annotations':{'batch.kubernetes.io/job-index-failure-count':"
				"'%s'}",
				number_after(f));
			break;
		case 's':
			ago_s = strtol(number_after(f), NULL, 10);
			break;
		default:
			fail_msg("flag %s", f);
		}
	}

	long second = 22 * 3600 + 13 * 60 + 20 - ago_s;
	const char *state = ended ? arena_printf(a,
						 ",'state':{'terminated':{'exitCode':%s,"
						 "'finishedAt':'2023-11-14T%02ld:%02ld:%02ldZ'}}",
						 strcmp(phase, "Failed") == 0 ? code : "0",
						 second / 3600, second / 60 % 60, second % 60)
				  : "";

	world_put(
		w,
		arena_printf(
			a,
			"{'kind':'Pod','metadata':{'name':'%s','namespace':'default',"
			"'labels':{'job':'j'%s}%s%s%s%s},'spec':%s,'status':{'phase':'%s','conditions':[%s],"
			"'containerStatuses':[{'name':'c','restartCount':%s%s}]}}",
			name, index, finalizers, owner, deleted, annotations, defaulted_spec, phase,
			conditions, restarts, state));
}

static void put_pods(struct world *w, const char *pods)
{
	char *save = NULL, *copy = arena_strdup(&w->arena, pods);

	for (char *pod = strtok_r(copy, " ", &save); pod != NULL; pod = strtok_r(NULL, " ", &save))
		put_pod(w, pod);
}

static void put_job(struct world *w, const char *spec, const char *status)
{
	const char *restart = strstr(spec, "'restart':'OnFailure'") ? "OnFailure" : "Never";
	char *rest = arena_strdup(&w->arena, spec), *at = strstr(rest, ",'restart'");

	if (at != NULL)
		*at = '\0';
	/* manualSelector, so that the labels of the pods are short. */
	assert_non_null(world_put(
		w, arena_printf(&w->arena,
				"{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'j',"
				"'namespace':'default','generation':1},'spec':{'manualSelector':"
				"true,'selector':{'matchLabels':{'job':'j'}}%s%s%s%s,"
				"'template':{'metadata':{'labels':{'job':'j'}},'spec':{"
				"'restartPolicy':'%s','containers':[{'name':'c','image':'i'}]}}}"
				"%s%s}",
				strstr(rest, "'parallelism'") ? "" : ",'parallelism':1",
				strstr(rest, "'backoffLimit'") ? "" : ",'backoffLimit':6",
				rest[0] ? "," : "", rest, restart, status ? ",'status':" : "",
				status ? status : "")));
}

static void init_world(struct world *w)
{
	world_init(w);
	world_put(w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(w,
		  "{'kind':'ServiceAccount','metadata':{'name':'default','namespace':'default'}}");
}

/* One look; its intents, and when it wants to look again. */
static char *look(struct world *w, struct intents *intents)
{
	struct view v = world_view(w);
	char *text, *copy, *essence = arena_strdup(&w->arena, "");

	intents_init(intents, &w->arena);
	controller_job.reconcile(&v, (struct key){ "default", "j" }, intents);
	if (intents->again_ns != 0)
		essence = arena_printf(&w->arena, "again +%lld\n",
				       (long long)((intents->again_ns - w->now_ns) / NS_PER_S));
	text = intents_print(intents, &w->arena);
	copy = arena_strdup(&w->arena, text);
	for (char *save = NULL, *line = strtok_r(copy, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		char *name = strchr(line, '/') + 1;

		if (strncmp(line, "event ", 6) == 0)
			continue;
		if (strncmp(line, "create ", 7) == 0)
			*(strrchr(name, '-') + 1) = '\0';
		essence = arena_printf(&w->arena, "%s%.*s %s\n", essence, (int)strcspn(line, " "),
				       line, name);
	}
	return essence;
}

static const char *status_text(struct world *w)
{
	const char *text = world_print(w, world_get(w, "jobs.batch", "default", "j"));
	const char *status = strstr(text, "\"status\":{");

	return status != NULL ? status : "";
}

static void expect_status(struct world *w, const char *name, const char *says)
{
	const char *status = status_text(w);
	char *save = NULL, *copy = world_json(w, says);

	for (char *part = strtok_r(copy, "|", &save); part != NULL;
	     part = strtok_r(NULL, "|", &save)) {
		bool not = part[0] == '!';

		if ((strstr(status, part + not ) != NULL) == not )
			fail_msg("%s: %s%s\nin %s", name, not ? "there is " : "no ", part + not,
				 status);
	}
}

static void worlds_and_intents(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(world_fini) struct world w = { 0 };
		struct intents intents;
		struct status st = { 0 };
		char *got;

		init_world(&w);
		put_job(&w, cases[i].spec, cases[i].status);
		put_pods(&w, cases[i].pods);
		got = look(&w, &intents);
		if (strcmp(got, cases[i].intents) != 0)
			fail_msg("%s: got\n%swanted\n%s", cases[i].name, got, cases[i].intents);
		if (world_apply(&w, &intents, &st) < 0)
			fail_msg("%s: %s", cases[i].name, st.message);
		expect_status(&w, cases[i].name, cases[i].says);
	}
}

/* What the pods of an Indexed Job are given. */
static void indexed_pods(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct intents intents;
	const char *pod;

	init_world(&w);
	put_job(&w,
		"'completions':1,'parallelism':1,'completionMode':'Indexed','backoffLimitPerIndex':3",
		"{'startTime':'2023-11-14T22:00:00Z'}");
	put_pods(&w, "a:Failed:i0:f1");
	look(&w, &intents);
	assert_int_equal(world_apply(&w, &intents, NULL), 0);
	pod = NULL;
	for (const struct intent *i = intents.first; i != NULL; i = i->next)
		if (i->type == INTENT_CREATE)
			pod = world_print(&w, world_get(&w, "pods", "default", i->name));
	assert_non_null(pod);
	assert_non_null(strstr(pod, "\"name\":\"j-0-"));
	assert_non_null(strstr(pod, "\"generateName\":\"j-0-\""));
	assert_non_null(strstr(pod, "\"finalizers\":[\"batch.kubernetes.io/job-tracking\"]"));
	assert_non_null(strstr(pod, "\"batch.kubernetes.io/job-index-failure-count\":\"2\""));
	assert_null(strstr(pod, "ignored-failure-count"));
	assert_non_null(strstr(pod, "\"hostname\":\"j-0\""));
	assert_non_null(strstr(
		pod,
		"{\"name\":\"JOB_COMPLETION_INDEX\",\"valueFrom\":{\"fieldRef\":{\"apiVersion\":"
		"\"v1\",\"fieldPath\":"
		"\"metadata.labels['batch.kubernetes.io/job-completion-index']\"}}}"));
	assert_non_null(
		strstr(pod, "\"labels\":{\"batch.kubernetes.io/job-completion-index\":\"0\""));
}

/* 1,200 pods that ended are counted in steps, each of them once. */
static void many_ends_are_counted_once(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct intents intents;
	int looks = 0;

	init_world(&w);
	put_job(&w, "'completions':1200,'parallelism':1200",
		"{'startTime':'2023-11-14T22:00:00Z'}");
	for (int i = 0; i < 1200; i++)
		put_pods(&w, arena_printf(&w.arena, "p%d:Succeeded", i));
	do {
		look(&w, &intents);
		assert_int_equal(world_apply(&w, &intents, NULL), 0);
	} while (intents.count > 0 && ++looks < 10);
	assert_int_equal(looks, 3);
	expect_status(&w, "many", "'succeeded':1200|'type':'Complete'");
}

/* Pods end in any order while every other plan is lost, as with leaders that die: at the end each
 * of them has been counted once. */
static void lost_plans_count_nothing(void **state)
{
	enum { COMPLETIONS = 60, ROUNDS_MAX = 3000 };
	auto_with(world_fini) struct world w = { 0 };
	struct source *chance = &w.source.base;
	struct intents intents;
	size_t failed = 0;
	int round = 0;

	init_world(&w);
	put_job(&w, "'completions':60,'parallelism':7,'backoffLimit':100000", NULL);
	while (strstr(status_text(&w), "\"Complete\"") == NULL && round++ < ROUNDS_MAX) {
		struct view v = world_view(&w);
		size_t n;
		const struct pod_facts *const *pods = view_pods_of(&v, "uid-j", &n);

		/* Some pod that runs ends, one in four badly. */
		for (size_t i = 0; i < n; i++) {
			bool fails = source_random_below(chance, 4) == 0;
			char *pod;

			if (pods[i]->phase == PHASE_SUCCEEDED || pods[i]->phase == PHASE_FAILED ||
			    source_random_below(chance, 3) > 0)
				continue;
			failed += fails;
			pod = arena_printf(&w.arena, "%s:%s", pods[i]->object->name,
					   fails ? "Failed" : "Succeeded");
			put_pod(&w, pod);
			break;
		}
		look(&w, &intents);
		if (source_random_below(chance, 2) == 0)
			assert_int_equal(world_apply(&w, &intents, NULL), 0);
		w.now_ns += 700 * NS_PER_S;
	}
	assert_true(round < ROUNDS_MAX);
	expect_status(&w, "lost plans",
		      arena_printf(&w.arena, "'succeeded':%d|'failed':%zu", COMPLETIONS, failed));
}

/* A Job on its way out lets go of its pods, running or not, and makes no others. */
static void a_job_being_deleted(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	struct intents intents;

	init_world(&w);
	put_job(&w,
		"'completions':3,'parallelism':3,'podFailurePolicy':{'rules':[{'action':'FailJob',"
		"'onExitCodes':{'operator':'In','values':[1]}}]}",
		"{'startTime':'2023-11-14T22:00:00Z'}");
	put_pods(&w, "a:Failed b:Running c:Succeeded");
	assert_int_equal(world_delete(&w, "jobs.batch", "default", "j", -1, "Foreground"), 0);
	assert_string_equal(look(&w, &intents), "update a\nupdate b\nupdate c\nstatus j\n");
	assert_int_equal(world_apply(&w, &intents, NULL), 0);
	expect_status(&w, "deleted", "'succeeded':1|'failed':1");
}

/* A finalizer whose Job is gone is nobody's. */
static void pods_without_a_job(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	init_world(&w);
	put_pods(&w, "a:Running b:Running:o");
	assert_string_equal(world_reconcile(&w, &controller_job, "default", "/pod/a", false),
			    "update pods default/a\n");
	assert_string_equal(world_reconcile(&w, &controller_job, "default", "/pod/b", false),
			    "update pods default/b\n");
	put_job(&w, "'completions':1", NULL);
	assert_string_equal(world_reconcile(&w, &controller_job, "default", "/pod/a", false), "");
}

/* One that never ran and is held by the finalizer is said to have failed. */
static void a_deleted_pod_that_never_ran(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	init_world(&w);
	put_pods(&w, "a:Pending:d");
	assert_string_equal(world_reconcile(&w, &controller_podgc, "default", "a", false),
			    "status pods default/a\n");
}

static void events_say_what_happened(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	init_world(&w);
	put_job(&w, "'completions':1", "{'startTime':'2023-11-14T22:00:00Z'}");
	put_pods(&w, "a:Succeeded");
	assert_non_null(strstr(world_reconcile(&w, &controller_job, "default", "j", true),
			       "event jobs.batch default/j Normal Completed: Job completed\n"));
	put_job(&w, "'completions':1,'backoffLimit':0", "{'startTime':'2023-11-14T22:00:00Z'}");
	put_pods(&w, "a:Failed");
	assert_non_null(strstr(world_reconcile(&w, &controller_job, "default", "j", true),
			       "event jobs.batch default/j Warning BackoffLimitExceeded: Job has "
			       "reached the specified backoff limit\n"));
}

/* What can be done without the refused creates is done. */
static void a_refused_create(void **state)
{
	auto_with(world_fini) struct world w = { 0 };

	init_world(&w);
	w.quota_resource = "pods";
	w.quota = 2;
	put_job(&w, "'completions':5,'parallelism':3", "{'startTime':'2023-11-14T22:00:00Z'}");
	put_pods(&w, "a:Succeeded");
	char *text = world_refused(&w, &controller_job, "default", "j", 1);

	assert_non_null(strstr(text, "update pods default/a\n"));
	assert_non_null(strstr(text, "status jobs.batch default/j\n"));
	assert_non_null(strstr(text, "create pods default/j-"));
	assert_null(strstr(strstr(text, "create pods") + 1, "create pods"));
}

static void finished_jobs_go_in_time(void **state)
{
	auto_with(world_fini) struct world w = { 0 };
	const char *finished = "{'conditions':[{'type':'Failed','status':'True',"
			       "'lastTransitionTime':'2023-11-14T22:13:10Z'}]}";

	init_world(&w);
	put_job(&w, "'completions':1,'ttlSecondsAfterFinished':10", finished);
	assert_string_equal(world_reconcile(&w, &controller_ttl, "default", "j", false),
			    "delete jobs.batch default/j Foreground\n");
	put_job(&w, "'completions':1,'ttlSecondsAfterFinished':11", finished);
	assert_string_equal(world_reconcile(&w, &controller_ttl, "default", "j", false), "");
	put_job(&w, "'completions':1,'ttlSecondsAfterFinished':0", NULL);
	assert_string_equal(world_reconcile(&w, &controller_ttl, "default", "j", false), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(worlds_and_intents),
		cmocka_unit_test(indexed_pods),
		cmocka_unit_test(many_ends_are_counted_once),
		cmocka_unit_test(lost_plans_count_nothing),
		cmocka_unit_test(a_job_being_deleted),
		cmocka_unit_test(pods_without_a_job),
		cmocka_unit_test(a_deleted_pod_that_never_ran),
		cmocka_unit_test(events_say_what_happened),
		cmocka_unit_test(a_refused_create),
		cmocka_unit_test(finished_jobs_go_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
