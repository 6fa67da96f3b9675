#include "controlplane/consensus/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* Reflected. */

static uint32_t table[8][256];
static bool has_instruction;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? POLYNOMIAL ^ (c >> 1) : c >> 1;
		table[0][i] = c;
	}
	for (int i = 0; i < 256; i++)
		for (int k = 1; k < 8; k++)
			table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 255];
#ifdef __x86_64__
	has_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p,
								 size_t n)
{
	uint64_t c = crc;

	for (; n >= 8; p += 8, n -= 8) {
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		c = __builtin_ia32_crc32di(c, word);
	}
	for (; n > 0; p++, n--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return (uint32_t)c;
}
#else
static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t n)
{
	(void)p;
	(void)n;
	return crc;
}
#endif

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t n)
{
	for (; n >= 8; p += 8, n -= 8) {
		uint32_t low, high;

		memcpy(&low, p, sizeof(low));
		memcpy(&high, p + 4, sizeof(high));
		low ^= crc;
		crc = table[7][low & 255] ^ table[6][(low >> 8) & 255] ^
		      table[5][(low >> 16) & 255] ^ table[4][low >> 24] ^ table[3][high & 255] ^
		      table[2][(high >> 8) & 255] ^ table[1][(high >> 16) & 255] ^
		      table[0][high >> 24];
	}
	for (; n > 0; p++, n--)
		crc = table[0][(crc ^ *p) & 255] ^ (crc >> 8);
	return crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t n)
{
	pthread_once(&once, prepare);
	crc = ~crc;
	crc = has_instruction ? by_instruction(crc, data, n) : by_table(crc, data, n);
	return ~crc;
}
