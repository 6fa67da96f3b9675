#include "controlplane/writes/clock.h"

#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"

#define ASK_AGAIN_NS (60ull * 1000000000)
#define ASK_TIMEOUT_MS 1000
#define WAIT_NS (200ull * 1000000)
/* Differences below this are not worth moving the time for. */
#define TOLERANCE_NS (2ll * 1000000000)

static void on_question(void *ctx, struct rpc_asked asked, const SampanMaster__Message *question)
{
	struct cluster_clock *c = ctx;
	SampanMaster__Message reply = SAMPAN_MASTER__MESSAGE__INIT;
	SampanMaster__ClockReply clock = SAMPAN_MASTER__CLOCK_REPLY__INIT;

	clock.has_wall_ns = true;
	clock.wall_ns = c->source->wall_ns(c->source);
	reply.clock_reply = &clock;
	rpc_reply(c->rpc, asked, &reply);
}

void cluster_clock_init(struct cluster_clock *c, struct source *source, struct rpc *rpc,
			const struct log_link *link)
{
	*c = (struct cluster_clock){ .source = source, .rpc = rpc, .link = link };
	rpc_handle(rpc, RPC_CLOCK, on_question, c);
}

int64_t cluster_clock_now_ns(const struct cluster_clock *c)
{
	return c->base_ns + (int64_t)(c->source->monotonic_ns(c->source) - c->base_mono_ns);
}

uint64_t cluster_clock_wait_ns(const struct cluster_clock *c)
{
	uint64_t until_ns = c->asked_mono_ns + WAIT_NS;

	return c->heard || c->source->monotonic_ns(c->source) >= until_ns ? UINT64_MAX : until_ns;
}

void cluster_clock_seen(struct cluster_clock *c, int64_t time_ns)
{
	if (time_ns <= cluster_clock_now_ns(c))
		return;
	c->base_ns = time_ns;
	c->base_mono_ns = c->source->monotonic_ns(c->source);
}

static int compare_times(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

/* Everybody was heard, or cannot be. */
static void round_over(struct cluster_clock *c)
{
	if (c->n_walls < c->n_members / 2 + 1)
		return;
	c->heard = true;
	qsort(c->walls, c->n_walls, sizeof(c->walls[0]), compare_times);

	int64_t median = c->walls[(c->n_walls - 1) / 2];
	int64_t ahead_ns = median - cluster_clock_now_ns(c);

	if (ahead_ns < TOLERANCE_NS)
		return;
	if (c->base_ns != 0)
		log_info("the cluster's time moves forward", "seconds=%lld",
			 (long long)(ahead_ns / 1000000000));
	cluster_clock_seen(c, median);
}

static void on_answer(void *ctx, int rc, const SampanMaster__Message *reply)
{
	struct cluster_clock *c = ctx;

	if (rc == 0 && reply->clock_reply != NULL)
		c->walls[c->n_walls++] = reply->clock_reply->wall_ns;
	if (--c->n_open == 0)
		round_over(c);
}

void cluster_clock_ask(struct cluster_clock *c, bool begins)
{
	uint64_t now = c->source->monotonic_ns(c->source), members[array_size(c->walls)];

	if (!begins && now - c->asked_mono_ns < ASK_AGAIN_NS)
		return;
	c->asked_mono_ns = now;
	/* Answers to the round before would count twice. */
	for (size_t i = 0; i < array_size(c->calls); i++)
		rpc_cancel(c->rpc, c->calls[i]);
	c->n_walls = 0;
	c->n_members = c->link->members(c->link->ctx, members, array_size(members));
	if (c->n_members > array_size(members))
		c->n_members = array_size(members);
	if (c->n_members <= 1) {
		c->n_members = 1;
		c->walls[c->n_walls++] = c->source->wall_ns(c->source);
		round_over(c);
		return;
	}
	c->n_open = c->n_members;
	for (size_t i = 0; i < c->n_members; i++) {
		SampanMaster__Message message = SAMPAN_MASTER__MESSAGE__INIT;
		SampanMaster__ClockRequest question = SAMPAN_MASTER__CLOCK_REQUEST__INIT;

		message.clock = &question;
		c->calls[i] = rpc_call(c->rpc, members[i], &message, ASK_TIMEOUT_MS, on_answer, c);
	}
}
