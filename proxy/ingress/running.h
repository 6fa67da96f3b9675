/* What HAProxy serves at present, and what brings it to a new model.
 *
 * HAProxy cannot make backends while it runs, so its configuration has spare ones:
 * a Service that is new takes a spare, one that is gone leaves it. Most changes are
 * therefore commands on its socket. What is not (no spare is left, a backend with
 * settings of its own, a certificate that was not there) needs a new configuration:
 * running_rebuild() lays everything out anew, and HAProxy is reloaded. Pure; one thread. */
#pragma once

#include "proxy/ingress/model.h"

struct running_server {
	struct ip ip;
	uint16_t port;
	bool on;
};

struct running_backend {
	char *key; /* NULL: a spare. */
	char *settings, *options;
	struct running_server *servers;
	size_t n_servers;
	uint64_t free_since; /* Counts changes; the spare that is free longest is taken first. */
	unsigned seen;
};

struct pair {
	char *key, *value;
};

enum running_map { MAP_HOSTS, MAP_EXACT, MAP_PREFIX, MAPS };

struct running_certificate {
	char *name;
	char *hosts; /* Joined by spaces. */
	struct buf pem;
};

struct running {
	struct running_backend *backends; /* Named slot_0, slot_1, ... */
	size_t n_backends;
	struct {
		struct pair *pairs; /* Sorted by key. */
		size_t n;
	} maps[MAPS];
	struct running_certificate *certificates; /* Sorted by name. */
	size_t n_certificates;
	uint64_t changes;
	unsigned generation;
};

/* One command of HAProxy's socket. */
struct command {
	char *text;
	/* What a good answer has in it; NULL: nothing at all is said. */
	const char *expect;
};

struct commands {
	struct command *items;
	size_t n, cap;
};

/* The commands that lead to the model, and r as it is once they are done. False: it takes a
 * running_rebuild(); then r is of no other use. dir holds maps and certificates, as the
 * configuration names them. */
bool running_follow(struct running *r, const struct model *m, const char *dir,
		    struct commands *ret_commands);
void running_rebuild(struct running *r, const struct model *m);
void running_fini(struct running *r);
void commands_fini(struct commands *c);
const char *running_map_name(enum running_map map);
