#include "core/hash.h"

#include <sha1.h>
#include <sodium.h>
#include <stdatomic.h>

void hash_sha1(uint8_t ret[SHA1_SIZE], const void *data, size_t size)
{
    hash_sha1_2(ret, span(data, size), span(NULL, 0));
}

void hash_sha1_2(uint8_t ret[SHA1_SIZE], struct span a, struct span b)
{
    SHA1_CTX ctx;
    SHA1Init(&ctx);
    if (a.size > 0)
        SHA1Update(&ctx, a.data, a.size);
    if (b.size > 0)
        SHA1Update(&ctx, b.data, b.size);
    SHA1Final(ret, &ctx);
}

void hash_blake2b(uint8_t ret[HASH_SIZE], const void *data, size_t size)
{
    /* libsodium picks the vector code for this CPU when it is initialised; without that the hash is
     * right but slow, and catching up is bound by it. */
    static atomic_bool ready;
    if (!atomic_load_explicit(&ready, memory_order_relaxed))
        atomic_store_explicit(&ready, sodium_init() >= 0, memory_order_relaxed);
    crypto_generichash(ret, HASH_SIZE, data, size, NULL, 0);
}

/* Half a byte at a time: sixteen words of table stay in the cache beside everything else a node does. */
uint32_t hash_crc32c(const void *data, size_t size)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *p = data;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}
