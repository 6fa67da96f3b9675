/* How old something is, as kubectl prints it: 45s, 3m12s, 5d3h. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define AGE_TEXT_SIZE 32

void age_print_seconds(int64_t seconds, char ret_text[AGE_TEXT_SIZE]);
/* The age of a point in time; then_ns 0 is "<unknown>". */
void age_print(int64_t now_ns, int64_t then_ns, char ret_text[AGE_TEXT_SIZE]);
