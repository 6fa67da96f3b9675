#include "common/io/listen.h"

enum { BACKLOG = 1024 };

static int bind_to(uv_tcp_t *listener, const char *host, int port)
{
	struct sockaddr_storage addr;
	int rc = uv_ip4_addr(host, port, (struct sockaddr_in *)&addr);

	if (rc < 0)
		rc = uv_ip6_addr(host, port, (struct sockaddr_in6 *)&addr);
	return rc < 0 ? rc : uv_tcp_bind(listener, (struct sockaddr *)&addr, 0);
}

int io_listen(uv_tcp_t *listener, const char *host, int port, int fd,
	      uv_connection_cb on_connection, struct status *st)
{
	int rc = fd > 0 ? uv_tcp_open(listener, fd) : bind_to(listener, host, port);

	rc = rc < 0 ? rc : uv_listen((uv_stream_t *)listener, BACKLOG, on_connection);
	if (rc >= 0)
		return 0;
	if (fd > 0)
		return status_set(st, rc, "cannot listen on socket %d: %s", fd, uv_strerror(rc));
	return status_set(st, rc, "cannot listen on %s:%d: %s", host, port, uv_strerror(rc));
}

int io_listener_port(const uv_tcp_t *listener)
{
	struct sockaddr_storage addr;
	int n = sizeof(addr);

	if (uv_tcp_getsockname(listener, (struct sockaddr *)&addr, &n) < 0)
		return -1;
	return ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
						: ((struct sockaddr_in *)&addr)->sin_port);
}
