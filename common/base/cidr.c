#include "common/base/cidr.h"

#include <arpa/inet.h>
#include <string.h>

bool cidr_read_address(const char *s, struct cidr *ret)
{
	struct cidr c = { .bits = 32 };

	if (s == NULL)
		return false;
	if (inet_pton(AF_INET, s, c.address) != 1) {
		if (inet_pton(AF_INET6, s, c.address) != 1)
			return false;
		c.v6 = true;
		c.bits = 128;
	}
	*ret = c;
	return true;
}

bool cidr_read(const char *s, struct cidr *ret)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = s != NULL ? strchr(s, '/') : NULL;
	struct cidr c;

	if (slash == NULL || (size_t)(slash - s) >= sizeof(address))
		return false;
	memcpy(address, s, (size_t)(slash - s));
	address[slash - s] = '\0';
	if (!cidr_read_address(address, &c))
		return false;

	const char *digits = slash + 1;
	size_t n = strspn(digits, "0123456789");
	unsigned bits = 0;

	/* Neither "/", "/08" nor "/1234" is a length. */
	if (n == 0 || n > 3 || digits[n] != '\0' || (n > 1 && digits[0] == '0'))
		return false;
	for (size_t i = 0; i < n; i++)
		bits = bits * 10 + (unsigned)(digits[i] - '0');
	if (bits > c.bits)
		return false;
	c.bits = bits;
	*ret = c;
	return true;
}

bool cidr_contains(const struct cidr *outer, const struct cidr *inner)
{
	unsigned bytes = outer->bits / 8, rest = outer->bits % 8;

	if (outer->v6 != inner->v6 || inner->bits < outer->bits)
		return false;
	if (memcmp(outer->address, inner->address, bytes) != 0)
		return false;
	return rest == 0 || (outer->address[bytes] ^ inner->address[bytes]) >> (8 - rest) == 0;
}
