/* A node's share of the cluster's pod network. Pure. */
#pragma once

#include <stdint.h>

#include "controlplane/admission/admission.h"

/* The claim "podcidr/<range>" of a low range of prefix bits within base/bits that nobody holds, in the
 * arena; NULL when all are taken. The lowest of all, unless Nodes were deleted in between. */
const char *pod_range_choose(struct admission *a, uint32_t base, int bits, int prefix);
