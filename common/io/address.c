#include "common/io/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int address_split(const char *address, char *ret_host, size_t host_size, int *ret_port)
{
	const char *colon = strrchr(address, ':');
	char *end;

	if (colon == NULL || colon[1] < '0' || colon[1] > '9')
		return -EINVAL;
	long port = strtol(colon + 1, &end, 10);
	size_t n = (size_t)(colon - address);

	if (*end != '\0' || port < 1 || port > 65535)
		return -EINVAL;
	if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
		address++;
		n -= 2;
	} else if (memchr(address, ':', n) != NULL) {
		return -EINVAL; /* An IPv6 address needs its brackets. */
	}
	if (n == 0 || n >= host_size)
		return -EINVAL;
	memcpy(ret_host, address, n);
	ret_host[n] = '\0';
	*ret_port = (int)port;
	return 0;
}
