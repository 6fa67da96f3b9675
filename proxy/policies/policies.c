/*   IDLE --(the world changed)--> WRITING a script --> IDLE
 *                                     |  nft failed
 *                                     v
 *                                  WAITING, then the whole table anew
 *
 * A plan costs time in proportion to pods and policies: after one that took long the next
 * waits ten times as long. */
#include "proxy/policies/policies.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "proxy/policies/plan.h"

#define RETRY_MS 2000
#define PAUSE_MIN_MS 20
#define SCRIPT_MS 30000

enum state { STATE_IDLE, STATE_WRITING, STATE_WAITING };

struct policies_proxy {
	uv_loop_t *loop;
	struct world *world;
	char *node;
	struct policy_plan written; /* What the kernel has, */
	bool known;                 /* if this is set. */
	struct policy_plan wanted;  /* While WRITING. */
	enum state state;
	bool dirty;
	struct script *script;
	uv_timer_t timer;
	struct policies_counters counters;
};

/* One run of nft. */
struct script {
	struct policies_proxy *p; /* NULL: nobody waits any more. */
	uv_process_t process;
	uv_pipe_t input;
	uv_timer_t timer;
	uv_write_t write;
	struct buf text;
	bool failed;
	int open;
};

static void act(struct policies_proxy *p);

static void on_timer(uv_timer_t *timer)
{
	struct policies_proxy *p = timer->data;

	p->state = STATE_IDLE;
	act(p);
}

static void wait_ms(struct policies_proxy *p, uint64_t ms)
{
	p->state = STATE_WAITING;
	uv_timer_start(&p->timer, on_timer, ms, 0);
}

static void on_result(struct policies_proxy *p, bool failed)
{
	policy_plan_fini(&p->written);
	p->written = p->wanted;
	p->wanted = (struct policy_plan){ 0 };
	p->known = !failed;
	p->counters.scripts++;
	p->counters.failures += failed;
	if (!failed) {
		p->counters.pods = p->written.n_pods;
		wait_ms(p, PAUSE_MIN_MS);
		return;
	}
	log_error("cannot write NetworkPolicies", "");
	p->dirty = true;
	wait_ms(p, RETRY_MS);
}

/* --- Running nft ------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	struct script *s = handle->data;

	if (--s->open > 0)
		return;
	if (s->p != NULL) {
		s->p->script = NULL;
		on_result(s->p, s->failed);
	}
	buf_fini(&s->text);
	free(s);
}

static void close_if_open(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, on_closed);
}

static void on_exit_of_nft(uv_process_t *process, int64_t exit_status, int signal)
{
	struct script *s = process->data;

	s->failed = exit_status != 0 || signal != 0;
	uv_close((uv_handle_t *)process, on_closed);
	uv_close((uv_handle_t *)&s->timer, on_closed);
	close_if_open((uv_handle_t *)&s->input);
}

static void on_late(uv_timer_t *timer)
{
	struct script *s = timer->data;

	uv_process_kill(&s->process, SIGKILL);
}

static void on_written(uv_write_t *req, int rc)
{
	struct script *s = req->data;

	/* The end of its input is what nft waits for. */
	close_if_open((uv_handle_t *)&s->input);
}

static void run_script(struct policies_proxy *p, struct buf *text)
{
	struct script *s = xcalloc(1, sizeof(*s));
	uv_stdio_container_t stdio[3] = {
		{ .flags = UV_CREATE_PIPE | UV_READABLE_PIPE,
		  .data.stream = (uv_stream_t *)&s->input },
		{ .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
		{ .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
	};
	char *args[] = { (char *)"nft", (char *)"-f", (char *)"-", NULL };
	uv_process_options_t options = {
		.file = "/usr/sbin/nft",
		.args = args,
		.exit_cb = on_exit_of_nft,
		.stdio = stdio,
		.stdio_count = 3,
	};

	s->p = p;
	s->text = *text;
	*text = (struct buf){ 0 };
	s->open = 3;
	p->script = s;
	p->state = STATE_WRITING;
	uv_pipe_init(p->loop, &s->input, 0);
	uv_timer_init(p->loop, &s->timer);
	s->process.data = s->input.data = s->timer.data = s->write.data = s;

	int rc = uv_spawn(p->loop, &s->process, &options);

	if (rc < 0) {
		log_error("cannot run nft", "error=%s", uv_strerror(rc));
		on_exit_of_nft(&s->process, 1, 0);
		return;
	}
	uv_timer_start(&s->timer, on_late, SCRIPT_MS, 0);

	uv_buf_t out = uv_buf_init((char *)s->text.data, (unsigned)s->text.len);

	if (uv_write(&s->write, (uv_stream_t *)&s->input, &out, 1, on_written) < 0)
		on_written(&s->write, 0);
}

/* --- What changed --------------------------------------------------------------------------- */

/* While pods are on their way, what is written stays. */
static bool is_ready(const struct policies_proxy *p)
{
	const struct world *w = p->world;

	return w->synced && (w->policies.count == 0 || w->with_pods) &&
	       w->pods_synced == w->with_pods;
}

static void act(struct policies_proxy *p)
{
	auto_with(buf_fini) struct buf script = { 0 };

	p->dirty |= p->world->policies_dirty;
	p->world->policies_dirty = false;
	if (p->state != STATE_IDLE || !p->dirty || !is_ready(p))
		return;
	p->dirty = false;

	uint64_t begin_ns = uv_hrtime();

	policy_plan_build(&p->wanted, p->world, p->node);
	if (!p->known || !policy_plan_changes(&p->written, &p->wanted, &script)) {
		buf_clear(&script);
		if (!p->known || p->wanted.n_pods + p->written.n_pods > 0)
			policy_plan_print(&p->wanted, &script);
	}
	if (script.len > 0) {
		run_script(p, &script);
		return;
	}
	policy_plan_fini(&p->written);
	p->written = p->wanted;
	p->wanted = (struct policy_plan){ 0 };
	wait_ms(p, PAUSE_MIN_MS + (uv_hrtime() - begin_ns) / 100000);
}

/* --- Life ------------------------------------------------------------------------------------ */

struct policies_proxy *policies_proxy_create(uv_loop_t *loop, const char *node, struct world *world)
{
	struct policies_proxy *p = xcalloc(1, sizeof(*p));

	p->loop = loop;
	p->world = world;
	p->node = xstrdup(node);
	p->dirty = true;
	uv_timer_init(loop, &p->timer);
	p->timer.data = p;
	return p;
}

void policies_proxy_sync(struct policies_proxy *p)
{
	act(p);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct policies_proxy *p = handle->data;

	policy_plan_fini(&p->written);
	policy_plan_fini(&p->wanted);
	free(p->node);
	free(p);
}

void policies_proxy_close(struct policies_proxy *p)
{
	if (p == NULL)
		return;
	if (p->script != NULL)
		p->script->p = NULL;
	uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

const struct policies_counters *policies_proxy_counters(const struct policies_proxy *p)
{
	return &p->counters;
}
