#include "controlplane/store/hash.h"

#include <endian.h>

uint64_t hash_add_u64(uint64_t hash, uint64_t more)
{
	hash = (hash ^ more) * 0x9fb21c651e98df25ULL;
	hash ^= hash >> 32;
	hash = (hash + 0x9e3779b97f4a7c15ULL) * 0xd6e8feb86659fd93ULL;
	return hash ^ hash >> 29;
}

uint64_t hash_add(uint64_t hash, struct bytes more)
{
	size_t at = 0;
	uint64_t word;

	hash = hash_add_u64(hash, more.len);
	for (; at + sizeof(word) <= more.len; at += sizeof(word)) {
		memcpy(&word, more.data + at, sizeof(word));
		hash = (hash ^ le64toh(word)) * 0x9fb21c651e98df25ULL;
		hash ^= hash >> 32;
	}
	word = 0;
	for (size_t i = at; i < more.len; i++)
		word |= (uint64_t)more.data[i] << (8 * (i - at));
	return hash_add_u64(hash, word);
}

uint64_t hash_add_str(uint64_t hash, const char *more)
{
	return hash_add(hash, bytes_str(more));
}
