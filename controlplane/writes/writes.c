#include "controlplane/writes/writes.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "controlplane/store/arena_unpack.h"
#include "controlplane/store/wire.h"
#include "controlplane/writes/internal.h"

SampanMaster__WriteRequest *request_copy(const SampanMaster__WriteRequest *request, struct arena *a)
{
	size_t n = sampan_master__write_request__get_packed_size(request);
	uint8_t *packed = arena_alloc(a, n + 1);

	sampan_master__write_request__pack(request, packed);
	return arena_unpack(a, &sampan_master__write_request__descriptor, bytes_of(packed, n));
}

static void on_write(void *ctx, struct rpc_asked asked, const SampanMaster__Message *question)
{
	struct writes *w = ctx;
	SampanMaster__Message reply = SAMPAN_MASTER__MESSAGE__INIT;
	SampanMaster__NotLeader not_leader = SAMPAN_MASTER__NOT_LEADER__INIT;

	if (w->leading) {
		leader_take(w, question->write, NULL, asked);
		return;
	}
	reply.not_leader = &not_leader;
	rpc_reply(w->config.rpc, asked, &reply);
}

struct writes *writes_create(const struct writes_config *config)
{
	struct writes *w = xcalloc(1, sizeof(*w));

	w->config = *config;
	w->overlay = overlay_create(config->store);
	w->context = (struct change_context){
		.overlay = w->overlay,
		.source = config->source,
		.cluster = config->cluster,
		.trust = config->trust,
	};
	client_init(w);
	leader_init(w);
	cluster_clock_init(&w->clock, config->source, config->rpc, config->link);
	rpc_handle(config->rpc, RPC_WRITE, on_write, w);
	return w;
}

void writes_destroy(struct writes *w)
{
	if (w == NULL)
		return;
	leader_fini(w);
	client_fini(w);
	overlay_destroy(w->overlay);
	free(w);
}

/* Who proposed an entry, without unpacking it. */
static void read_proposer(struct bytes entry, uint64_t *ret_proposer, uint64_t *ret_number)
{
	struct wire wire = wire_of(entry);
	struct wire_field f;

	*ret_proposer = *ret_number = 0;
	while (wire_next(&wire, &f)) {
		if (f.number == 5 && f.type == WIRE_FIXED64)
			*ret_proposer = f.value;
		else if (f.number == 6 && f.type == WIRE_VARINT)
			*ret_number = f.value;
	}
}

int writes_apply(struct writes *w, struct bytes entry, struct status *st)
{
	const struct plan_result *results;
	uint64_t proposer, number;
	size_t n;
	int rc = store_apply(w->config.store, entry, &results, &n, st);

	if (rc < 0)
		return rc;
	cluster_clock_seen(&w->clock, store_time_ns(w->config.store));
	read_proposer(entry, &proposer, &number);
	if (proposer == w->proposer)
		leader_applied(w, number, results, n);
	return 0;
}

void writes_restored(struct writes *w)
{
	cluster_clock_seen(&w->clock, store_time_ns(w->config.store));
}

void writes_leading(struct writes *w)
{
	w->leading = true;
	w->checkpoint_entries = 0;
	cluster_clock_ask(&w->clock, true);
	client_leader_changed(w);
}

void writes_lost_leadership(struct writes *w)
{
	w->leading = false;
	leader_lost(w);
}

void writes_leader_changed(struct writes *w)
{
	client_leader_changed(w);
}

void writes_storage_low(struct writes *w, bool low)
{
	w->storage_low = low;
}

void writes_turn(struct writes *w)
{
	client_turn(w);
	leader_turn(w);
}

uint64_t writes_deadline_ns(const struct writes *w)
{
	uint64_t client = client_deadline_ns(w), leader = leader_deadline_ns(w);

	return client < leader ? client : leader;
}

bool writes_idle(const struct writes *w)
{
	return w->n_outgoing == 0 && list_empty(&w->batches) && w->open == NULL;
}

int64_t writes_now_ns(const struct writes *w)
{
	return cluster_clock_now_ns(&w->clock);
}

void writes_stats(const struct writes *w, struct writes_stats *ret_stats)
{
	*ret_stats = w->stats;
	ret_stats->open = w->n_outgoing;
	ret_stats->queued = w->n_queued;
	ret_stats->entries_in_flight = w->n_batches;
}
