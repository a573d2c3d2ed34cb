/* The two hashes of the wire: SHA-1 where the BEPs name it (targets, slots), BLAKE2b-256 in feeds. */
#ifndef CORE_HASH_H
#define CORE_HASH_H
#include "core/bytes.h"

#define SHA1_SIZE 20
#define HASH_SIZE 32

void hash_sha1(uint8_t ret[SHA1_SIZE], const void *data, size_t size);
void hash_sha1_2(uint8_t ret[SHA1_SIZE], struct span a, struct span b); /* over a then b */
void hash_blake2b(uint8_t ret[HASH_SIZE], const void *data, size_t size);
uint32_t hash_crc32c(const void *data, size_t size); /* Castagnoli, RFC 3720 appendix B.4; BEP 42 */

#endif
