/* Packed NetworkPolicies and pods as masters may send them become a script for nft. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "proxy/policies/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	/* A pod with an address on node "n": spec.nodeName, status.podIP, an empty metadata. */
	static const uint8_t pod[] = "\x0a\x00\x12\x03\x52\x01n\x1a\x0a\x32\x08"
				     "10.0.0.1";
	auto_with(world_fini) struct world w = { 0 };
	auto_with(policy_plan_fini) struct policy_plan p = { 0 };
	auto_with(buf_fini) struct buf script = { 0 };
	struct bytes one = { pod, sizeof(pod) - 1 }, packed;
	size_t half = n > 0 ? data[0] * (n - 1) / 255 : 0;

	if (n == 0)
		return 0;
	world_init(&w);
	world_apply(&w, "pods", "d", "a", &one, NULL);
	packed = bytes_of(data + 1, half);
	world_apply(&w, "networkpolicies.networking.k8s.io", "d", "p", &packed, NULL);
	packed = bytes_of(data + 1 + half, n - 1 - half);
	world_apply(&w, "pods", "d", "b", &packed, NULL);
	policy_plan_build(&p, &w, "n");
	policy_plan_print(&p, &script);
	/* Texts of others (labels, selectors) are hashed, never written. */
	if (strspn(buf_cstr(&script), " !-~\t\nabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.:,;@{}=/") != script.len)
		abort();
	return 0;
}
