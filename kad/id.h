/* Node ids and the XOR distance between them; the id that BEP 42 binds to an address.
 *
 * An id is 20 bytes, most significant bit first. Two ids that share n leading bits are at a distance in
 * [2^(159-n), 2^(160-n)), so the number of shared bits is the index of a bucket.
 *
 *     if (id_compare(target, a, b) < 0) ...            // a is closer to target than b
 *     unsigned bucket = id_common_bits(self, other);   // 160 when equal
 */
#ifndef KAD_ID_H
#define KAD_ID_H
#include <string.h>

#include "core/addr.h"
#include "core/rng.h"

#define ID_SIZE 20
#define ID_BITS 160

/* < 0 when a is closer to target than b, 0 when a = b, > 0 otherwise. Inline, and in whole words, as are the
 * two below: a lookup and a table do little else. */
static inline int id_compare(const uint8_t target[ID_SIZE], const uint8_t a[ID_SIZE],
                             const uint8_t b[ID_SIZE])
{
    for (unsigned i = 0; i < 16; i += 8) {
        uint64_t da = be64(a + i) ^ be64(target + i), db = be64(b + i) ^ be64(target + i);
        if (da != db)
            return da < db ? -1 : 1;
    }
    uint32_t da = be32(a + 16) ^ be32(target + 16), db = be32(b + 16) ^ be32(target + 16);
    return (da > db) - (da < db);
}

static inline bool id_equal(const uint8_t a[ID_SIZE], const uint8_t b[ID_SIZE])
{
    /* Two that differ do so at once, nearly always. */
    return be64(a) == be64(b) && memcmp(a + 8, b + 8, ID_SIZE - 8) == 0;
}

/* How many leading bits two ids share. */
static inline unsigned id_common_bits(const uint8_t a[ID_SIZE], const uint8_t b[ID_SIZE])
{
    for (unsigned i = 0; i < 16; i += 8) {
        uint64_t x = be64(a + i) ^ be64(b + i);
        if (x)
            return i * 8 + (unsigned)__builtin_clzll(x);
    }
    uint32_t x = be32(a + 16) ^ be32(b + 16);
    return x ? 128 + (unsigned)__builtin_clz(x) : ID_BITS;
}

bool id_is_zero(const uint8_t id[ID_SIZE]);
/* The distance as a fraction of the whole space, 0 <= d < 1: what densities are computed from. */
double id_distance(const uint8_t a[ID_SIZE], const uint8_t b[ID_SIZE]);

void id_random(const struct rng *rng, uint8_t ret[ID_SIZE]);
/* A random id that shares exactly `bits` leading bits with `self`; bits < 160. */
void id_random_in_bucket(const struct rng *rng, const uint8_t self[ID_SIZE], unsigned bits,
                         uint8_t ret[ID_SIZE]);

/* BEP 42: an id whose first 21 bits follow from the address, so that nobody picks where to stand. */
void id_for_addr(const struct rng *rng, const struct addr *addr, uint8_t ret[ID_SIZE]);
/* True when `id` is one that `addr` may have; local ranges may have any. */
bool id_fits_addr(const uint8_t id[ID_SIZE], const struct addr *addr);

#endif
