#include "kad/id.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"

bool id_is_zero(const uint8_t id[ID_SIZE])
{
    static const uint8_t zero[ID_SIZE];

    return id_equal(id, zero);
}

double id_distance(const uint8_t a[ID_SIZE], const uint8_t b[ID_SIZE])
{
    /* 53 bits of a double are enough: skip the common prefix, then take eight bytes. */
    unsigned first = id_common_bits(a, b) / 8;

    if (first > ID_SIZE - 8)
        first = ID_SIZE - 8;
    double d = (double)(be64(a + first) ^ be64(b + first));
    return first == 0 ? d * 0x1p-64 : ldexp(d, -8 * (int)first - 64);
}

void id_random(const struct rng *rng, uint8_t ret[ID_SIZE])
{
    rng_fill(rng, ret, ID_SIZE);
}

void id_random_in_bucket(const struct rng *rng, const uint8_t self[ID_SIZE], unsigned bits,
                         uint8_t ret[ID_SIZE])
{
    id_random(rng, ret);
    if (bits >= ID_BITS)
        bits = ID_BITS - 1;
    unsigned whole = bits / 8, rest = bits % 8;
    memcpy(ret, self, whole);
    uint8_t keep = (uint8_t)(0xff00u >> rest);          /* the shared bits of the byte where they part */
    uint8_t turn = (uint8_t)(0x80u >> rest);            /* the first bit that differs */
    uint8_t mine = self[whole];
    ret[whole] = (uint8_t)((mine & keep) | (~mine & turn) | (ret[whole] & (uint8_t)~(keep | turn)));
}

/* BEP 42, "node ID restriction": the masked address with 3 bits of r on top, through CRC32-C. */
static uint32_t addr_crc(const struct addr *addr, uint8_t r)
{
    static const uint8_t mask4[4] = {0x03, 0x0f, 0x3f, 0xff};
    static const uint8_t mask6[8] = {0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff};
    const uint8_t *mask = addr->family == 6 ? mask6 : mask4;
    size_t size = addr->family == 6 ? sizeof mask6 : sizeof mask4;
    uint8_t ip[8];

    for (size_t i = 0; i < size; i++)
        ip[i] = addr->ip[i] & mask[i];
    ip[0] |= (uint8_t)((r & 7) << 5);
    return hash_crc32c(ip, size);
}

void id_for_addr(const struct rng *rng, const struct addr *addr, uint8_t ret[ID_SIZE])
{
    id_random(rng, ret);
    if (addr_is_local(addr))
        return;
    uint32_t crc = addr_crc(addr, ret[19]);
    ret[0] = (uint8_t)(crc >> 24);
    ret[1] = (uint8_t)(crc >> 16);
    ret[2] = (uint8_t)(((crc >> 8) & 0xf8) | (ret[2] & 7));
}

bool id_fits_addr(const uint8_t id[ID_SIZE], const struct addr *addr)
{
    if (addr_is_local(addr))
        return true;
    uint32_t crc = addr_crc(addr, id[19]);
    return id[0] == (uint8_t)(crc >> 24) && id[1] == (uint8_t)(crc >> 16) &&
           (id[2] & 0xf8) == ((crc >> 8) & 0xf8);
}
