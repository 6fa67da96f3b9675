/* Scripted scenarios: for each rule the interleaving that fails without it. */
#pragma once

/* All, or the one called name. Prints TAP; returns the exit code. */
int scenarios_main(const char *name);
