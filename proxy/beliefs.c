#include "proxy/beliefs.h"

#include <arpa/inet.h>

#include "proxy/routes/routes.h"

static void print_service(struct buf *to, const struct service *s)
{
	size_t n_endpoints = 0, n_ready = 0;
	char ip[INET6_ADDRSTRLEN] = "";

	list_for_each (slice, &s->slices, struct slice, of_service) {
		for (size_t i = 0; i < slice->n_endpoints; i++) {
			n_endpoints++;
			n_ready += slice->endpoints[i].ready;
		}
	}
	if (s->n_cluster_ips > 0)
		ip_print(&s->cluster_ips[0], ip, sizeof(ip));
	buf_printf(to, "service %s exists=%d address=%s ports=%zu endpoints=%zu ready=%zu\n",
		   s->key, s->exists,
		   s->headless                ? "None"
		   : s->external_name != NULL ? s->external_name
					      : ip,
		   s->n_ports, n_endpoints, n_ready);
}

void beliefs_print(struct buf *to, const struct world *w, const char *node)
{
	char ip[INET6_ADDRSTRLEN];
	autofree struct route *routes = NULL;
	size_t n = routes_wanted(w, node, &routes);

	buf_printf(to, "synced=%d services=%zu nodes=%zu\n", w->synced, w->services.count,
		   w->nodes.count);
	tree_for_each (it, &w->nodes, struct node, node)
		buf_printf(to, "node %s address=%s pods=%s\n", it->name,
			   ip_print(&it->address, ip, sizeof(ip)), it->pod_cidr);
	for (size_t i = 0; i < n; i++) {
		char range[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, &routes[i].base_be, range, sizeof(range));
		inet_ntop(AF_INET, &routes[i].gateway_be, ip, sizeof(ip));
		buf_printf(to, "route %s/%u via %s\n", range, routes[i].bits, ip);
	}
	tree_for_each (s, &w->services, struct service, node)
		print_service(to, s);
}
