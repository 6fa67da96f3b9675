/* Shared inside proxy/world only. */
#pragma once

#include "common/base/arena.h"
#include "proxy/world/world.h"

/* Fill an empty struct from a packed object. Strings are malloc'ed. On an error nothing is kept. */
int service_read(struct service *ret, struct bytes packed, struct arena *arena, struct status *st);
/* *ret_service_name is the label's value, in the arena. */
int slice_read(struct slice *ret, struct bytes packed, struct arena *arena,
	       const char **ret_service_name, struct status *st);
int node_read(struct node *ret, struct bytes packed, struct arena *arena, struct status *st);
/* Free what was read; the struct can be filled again. */
void service_clear(struct service *s);
void slice_clear(struct slice *s);
void node_clear(struct node *n);

/* ingresses.c: Ingresses, classes and certificates. */
void ingresses_init(struct world *w);
void ingresses_fini(struct world *w);
int apply_ingress(struct world *w, const char *namespace, const char *name,
		  const struct bytes *packed, struct arena *arena, struct status *st);
int apply_class(struct world *w, const char *name, const struct bytes *packed, struct arena *arena,
		struct status *st);
int apply_certificate(struct world *w, const char *namespace, const char *name,
		      const struct bytes *packed, struct arena *arena, struct status *st);
void ingresses_full_end(struct world *w);

/* policies.c: NetworkPolicies, and the pods and namespaces they select. */
void policies_init(struct world *w);
void policies_fini(struct world *w);
int apply_policy(struct world *w, const char *namespace, const char *name,
		 const struct bytes *packed, struct status *st);
int apply_pod(struct world *w, const char *namespace, const char *name, const struct bytes *packed,
	      struct arena *arena, struct status *st);
int apply_namespace(struct world *w, const char *name, const struct bytes *packed,
		    struct arena *arena, struct status *st);
void policies_full_end(struct world *w);
