#include "proxy/dns/upstream.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT 53

static bool parse(const char *text, struct ip *ret_ip, uint16_t *ret_port)
{
	char host[INET6_ADDRSTRLEN + 2];
	const char *end = text + strlen(text), *colon = strrchr(text, ':');
	long port = PORT;

	if (text[0] == '[') {
		end = strchr(text, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return false;
		colon = end[1] == ':' ? end + 1 : NULL;
		text++;
	} else if (colon != NULL && strchr(text, ':') == colon) {
		end = colon;
	} else {
		colon = NULL;
	}
	if (colon != NULL) {
		char *rest;

		port = strtol(colon + 1, &rest, 10);
		if (*rest != '\0' || rest == colon + 1 || port < 1 || port > UINT16_MAX)
			return false;
	}
	if ((size_t)(end - text) >= sizeof(host))
		return false;
	memcpy(host, text, (size_t)(end - text));
	host[end - text] = '\0';
	*ret_port = (uint16_t)port;
	return ip_parse(host, ret_ip);
}

bool upstreams_add(struct upstreams *u, const char *address)
{
	struct ip ip;
	uint16_t port;

	if (u->n == UPSTREAMS_MAX || !parse(address, &ip, &port))
		return false;
	for (size_t i = 0; i < sizeof(u->own) / sizeof(u->own[0]); i++) {
		if (u->own[i].len != 0 && ip_equal(&u->own[i], &ip))
			return false;
	}
	struct sockaddr_storage *to = &u->items[u->n++];

	memset(to, 0, sizeof(*to));
	if (ip.len == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)to;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, ip.bytes, 4);
	} else {
		struct sockaddr_in6 *in = (struct sockaddr_in6 *)to;

		in->sin6_family = AF_INET6;
		in->sin6_port = htons(port);
		memcpy(&in->sin6_addr, ip.bytes, 16);
	}
	return true;
}

void upstreams_read(struct upstreams *u, const char *path)
{
	char line[512], address[256];
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return;
	u->n = 0;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, " nameserver %255s", address) == 1)
			upstreams_add(u, address);
	}
	fclose(f);
}
