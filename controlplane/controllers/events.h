/* How many Events the cluster keeps. */
#pragma once

enum { EVENTS_MAX = 10000 };
