/* What is read from netlink: elements of our maps, and flows. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proxy/services/conntrack.h"
#include "proxy/services/nft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static uint32_t space[2048];
	struct conntrack_flow flow;
	struct element e;

	if (n < NLMSG_HDRLEN || n > sizeof(space))
		return 0;
	memset(space, 0, sizeof(space));
	memcpy(space, data, n);
	struct nlmsghdr *message = (struct nlmsghdr *)(void *)space;
	struct nlattr *attribute = (struct nlattr *)(void *)space;

	for (enum nft_set set = 0; set < SETS_N; set++) {
		attribute->nla_len = (uint16_t)n;
		nft_parse_element(attribute, set, &e);
	}
	message->nlmsg_len = (uint32_t)n;
	conntrack_parse(message, &flow);
	return 0;
}
