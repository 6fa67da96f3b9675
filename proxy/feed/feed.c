/*   ASKING --(answer)--> ASKING
 *     |  ^
 *     |  |  after a pause, at the next master
 *     v  |
 *   PAUSING   (a failure, or no master is connected)
 *
 * The pause grows from 100 ms to 2 s while nothing succeeds; a connection that comes up ends it. */
#include "proxy/feed/feed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "proto/sampan/node.pb-c.h"

#define PARK_MS 10000
#define ANSWER_MS 20000
#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 2000

struct master {
	char *address; /* NULL: a free place. */
	int index;     /* Of the client. */
};

struct feed {
	struct io_loop *loop;
	struct sp_client *client;
	struct world *world;
	struct master masters[FEED_MASTERS_MAX];
	int current; /* Place of the one that is asked, or -1. */
	unsigned next;
	struct sp_call *call;
	struct feed_place place;
	uv_timer_t pause;
	unsigned pause_ms;
	bool answered; /* The current one did. */
	bool closing, client_closed, timer_closed;
	void (*on_change)(void *arg);
	void (*on_masters)(void *arg, const char *const *masters);
	void *arg;
	void (*on_closed)(void *arg);
	void *on_closed_arg;
};

static void ask(struct feed *f);

static void on_pause_over(uv_timer_t *timer)
{
	ask(container_of(timer, struct feed, pause));
}

static void pause_then_ask(struct feed *f)
{
	f->current = -1;
	f->answered = false;
	uv_timer_start(&f->pause, on_pause_over, f->pause_ms, 0);
	f->pause_ms = f->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : f->pause_ms * 2;
}

/* --- Masters ---------------------------------------------------------------- */

static bool is_wanted(const SampanNode__WatchReply *watch, const char *address)
{
	for (size_t i = 0; i < watch->n_masters; i++) {
		if (watch->masters[i]->rpc_address != NULL &&
		    strcmp(watch->masters[i]->rpc_address, address) == 0)
			return true;
	}
	return false;
}

static bool is_known(const struct feed *f, const char *address)
{
	for (int i = 0; i < FEED_MASTERS_MAX; i++) {
		if (f->masters[i].address != NULL && strcmp(f->masters[i].address, address) == 0)
			return true;
	}
	return false;
}

static void add_master(struct feed *f, const char *address)
{
	auto_with(status_fini) struct status st = { 0 };
	int place = 0;

	while (place < FEED_MASTERS_MAX && f->masters[place].address != NULL)
		place++;
	if (place == FEED_MASTERS_MAX || is_known(f, address))
		return;
	if (sp_client_add(f->client, address, &f->masters[place].index, &st) < 0) {
		log_warn("cannot dial a master", "address=%s error=%s", log_quote(address),
			 log_quote(st.message));
		return;
	}
	f->masters[place].address = xstrdup(address);
}

static void tell_masters(struct feed *f)
{
	const char *list[FEED_MASTERS_MAX + 1];
	size_t n = 0;

	for (int i = 0; i < FEED_MASTERS_MAX; i++) {
		if (f->masters[i].address != NULL)
			list[n++] = f->masters[i].address;
	}
	list[n] = NULL;
	if (f->on_masters != NULL)
		f->on_masters(f->arg, list);
}

/* An answer that names none says nothing about them. */
static void follow_masters(struct feed *f, const SampanNode__WatchReply *watch)
{
	bool changed = false;

	if (watch->n_masters == 0)
		return;
	for (int i = 0; i < FEED_MASTERS_MAX; i++) {
		struct master *m = &f->masters[i];

		if (m->address == NULL || i == f->current || is_wanted(watch, m->address))
			continue;
		sp_client_remove(f->client, m->index);
		free(m->address);
		m->address = NULL;
		changed = true;
	}
	for (size_t i = 0; i < watch->n_masters; i++) {
		const char *address = watch->masters[i]->rpc_address;

		if (address == NULL || is_known(f, address))
			continue;
		add_master(f, address);
		changed = true;
	}
	if (changed)
		tell_masters(f);
}

static int choose_master(struct feed *f)
{
	for (unsigned i = 0; i < FEED_MASTERS_MAX; i++) {
		int place = (int)((f->next + i) % FEED_MASTERS_MAX);
		const struct master *m = &f->masters[place];

		if (m->address != NULL && sp_client_is_connected(f->client, m->index)) {
			f->next = (unsigned)place;
			return place;
		}
	}
	return -1;
}

/* --- Asking ----------------------------------------------------------------- */

static int take(struct feed *f, struct bytes packed, struct status *st)
{
	SampanNode__Reply *reply;
	int rc = feed_take_reply(f->world, &f->place, packed, &reply, st);

	if (rc < 0)
		return rc;
	follow_masters(f, reply->watch);
	sampan_node__reply__free_unpacked(reply, NULL);
	return 0;
}

static void on_reply(void *arg, int rc, struct bytes packed)
{
	auto_with(status_fini) struct status st = { 0 };
	struct feed *f = arg;
	const char *address = f->masters[f->current].address;

	f->call = NULL;
	if (rc == 0)
		rc = take(f, packed, &st);
	else
		status_set(&st, rc, "%s", strerror(-rc));
	if (rc < 0) {
		log_info("a master does not answer", "address=%s error=%s", log_quote(address),
			 log_quote(st.message));
		f->next++;
		/* Half of a full answer is of no use at another master. */
		free(f->place.continue_key);
		f->place.continue_key = NULL;
		pause_then_ask(f);
		return;
	}
	if (!f->answered)
		log_info("a master answers", "address=%s revision=%llu", log_quote(address),
			 (unsigned long long)f->place.revision);
	f->answered = true;
	f->pause_ms = PAUSE_MIN_MS;
	if (f->place.continue_key == NULL)
		f->on_change(f->arg);
	if (!f->closing)
		ask(f);
}

static void pack_request(struct feed *f, struct buf *out)
{
	const char *resources[WORLD_RESOURCES_MAX + 1];
	SampanNode__Request request = SAMPAN_NODE__REQUEST__INIT;
	SampanNode__WatchRequest watch = SAMPAN_NODE__WATCH_REQUEST__INIT;

	/* A page of a full answer must be of the same kinds as the first. */
	if (f->place.continue_key == NULL && world_wants_change(f->world))
		f->place.revision = 0;
	world_resources(f->world, resources);
	watch.resources = (char **)resources;
	watch.has_own_pods = true;
	watch.own_pods = !f->world->with_pods;
	while (watch.resources[watch.n_resources] != NULL)
		watch.n_resources++;
	watch.has_since_revision = watch.has_park_ms = true;
	watch.since_revision = f->place.revision;
	watch.park_ms = PARK_MS;
	watch.continue_key = f->place.continue_key;
	request.watch = &watch;
	size_t n = sampan_node__request__get_packed_size(&request);

	out->len += sampan_node__request__pack(&request, buf_reserve(out, n));
}

static void ask(struct feed *f)
{
	auto_with(buf_fini) struct buf request = { 0 };

	assert(f->call == NULL);
	f->current = choose_master(f);
	if (f->current < 0) {
		pause_then_ask(f);
		return;
	}
	pack_request(f, &request);
	if (sp_client_request(f->client, f->masters[f->current].index, buf_bytes(&request),
			      ANSWER_MS, on_reply, f, &f->call) < 0)
		pause_then_ask(f);
}

static void on_connection(int master, bool up, void *arg)
{
	struct feed *f = arg;

	if (!up || f->call != NULL || f->closing || !uv_is_active((uv_handle_t *)&f->pause))
		return;
	uv_timer_stop(&f->pause);
	ask(f);
}

/* --- Life ------------------------------------------------------------------- */

int feed_create(struct io_loop *loop, const struct feed_config *config, struct world *world,
		struct feed **ret, struct status *st)
{
	struct feed *f = xcalloc(1, sizeof(*f));
	struct sp_client_config client = {
		.ca_pem = config->ca_pem,
		.cert_pem = config->cert_pem,
		.key_pem = config->key_pem,
		.on_connection = on_connection,
		.arg = f,
	};
	int rc;

	*f = (struct feed){
		.loop = loop,
		.world = world,
		.current = -1,
		.pause_ms = PAUSE_MIN_MS,
		.on_change = config->on_change,
		.on_masters = config->on_masters,
		.arg = config->arg,
	};
	rc = sp_client_create(loop, &client, &f->client, st);
	if (rc < 0) {
		free(f);
		return rc;
	}
	uv_timer_init(loop->uv, &f->pause);
	for (size_t i = 0; config->masters[i] != NULL; i++)
		add_master(f, config->masters[i]);
	ask(f);
	*ret = f;
	return 0;
}

static void check_closed(struct feed *f)
{
	if (!f->client_closed || !f->timer_closed)
		return;
	void (*cb)(void *) = f->on_closed;
	void *arg = f->on_closed_arg;

	for (int i = 0; i < FEED_MASTERS_MAX; i++)
		free(f->masters[i].address);
	free(f->place.continue_key);
	free(f);
	if (cb != NULL)
		cb(arg);
}

static void on_client_closed(void *arg)
{
	struct feed *f = arg;

	f->client_closed = true;
	check_closed(f);
}

static void on_timer_closed(uv_handle_t *h)
{
	struct feed *f = container_of((uv_timer_t *)h, struct feed, pause);

	f->timer_closed = true;
	check_closed(f);
}

void feed_close(struct feed *f, void (*on_closed)(void *arg), void *arg)
{
	f->closing = true;
	f->on_closed = on_closed;
	f->on_closed_arg = arg;
	if (f->call != NULL)
		sp_call_cancel(f->call);
	f->call = NULL;
	uv_close((uv_handle_t *)&f->pause, on_timer_closed);
	sp_client_close(f->client, on_client_closed, f);
}

const char *feed_master(const struct feed *f)
{
	return f->answered && f->current >= 0 ? f->masters[f->current].address : "";
}

uint64_t feed_revision(const struct feed *f)
{
	return f->place.revision;
}
