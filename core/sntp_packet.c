/* The SNTP packet: RFC 5905 section 7.3, figure 8. Part of sntp.h.
 *
 *     offset size                                    offset size
 *        0     1  leap (2 bits) version (3) mode (3)    12     4  reference id
 *        1     1  stratum                               16     8  reference: server's clock last set
 *        2     1  poll, log2 seconds, signed            24     8  origin: the query's transmit, sent back
 *        3     1  precision, log2 seconds, signed       32     8  receive: when the query came
 *        4     4  root delay, 16.16 seconds             40     8  transmit: when the answer left
 *        8     4  root dispersion, 16.16 seconds
 *
 * Integers are big-endian; a timestamp is 32.32 seconds since 1900-01-01 in an era of 2^32 seconds. Our own
 * query is zero but for version, mode and 64 random bits in transmit.
 */
#include "core/err.h"
#include "core/sntp.h"
#include <string.h>

#define NTP_UNIX_S UINT64_C(2208988800)  /* 1900-01-01 to 1970-01-01 */
#define ERA_S (UINT64_C(1) << 32)
#define ERA_PIVOT_S UINT64_C(3786825600) /* 2020-01-01: what looks older is of the era that begins in 2036 */

void sntp_encode(const struct sntp_packet *p, uint8_t ret[SNTP_PACKET_SIZE])
{
    struct bytes_out out = bytes_out(ret, SNTP_PACKET_SIZE);
    bytes_put_u8(&out, (uint8_t)((p->leap & 3) << 6 | (p->version & 7) << 3 | (p->mode & 7)));
    bytes_put_u8(&out, p->stratum);
    bytes_put_u8(&out, (uint8_t)p->poll);
    bytes_put_u8(&out, (uint8_t)p->precision);
    bytes_put_u32(&out, p->root_delay);
    bytes_put_u32(&out, p->root_dispersion);
    bytes_put(&out, p->refid, sizeof p->refid);
    bytes_put_u64(&out, p->reference);
    bytes_put_u64(&out, p->origin);
    bytes_put_u64(&out, p->receive);
    bytes_put_u64(&out, p->transmit);
}

static int8_t as_signed(uint8_t byte)
{
    return (int8_t)(byte < 128 ? byte : byte - 256);
}

/* Nothing we ask makes a server append extension fields or a MAC, so the size is exact. */
int sntp_decode(const void *buf, size_t size, struct sntp_packet *ret)
{
    struct bytes_in in = bytes_in(buf, size);
    struct sntp_packet p;
    uint8_t first = bytes_get_u8(&in);
    p.leap = first >> 6;
    p.version = first >> 3 & 7;
    p.mode = first & 7;
    p.stratum = bytes_get_u8(&in);
    p.poll = as_signed(bytes_get_u8(&in));
    p.precision = as_signed(bytes_get_u8(&in));
    p.root_delay = bytes_get_u32(&in);
    p.root_dispersion = bytes_get_u32(&in);
    bytes_copy(&in, p.refid, sizeof p.refid);
    p.reference = bytes_get_u64(&in);
    p.origin = bytes_get_u64(&in);
    p.receive = bytes_get_u64(&in);
    p.transmit = bytes_get_u64(&in);
    if (bytes_end(&in))
        return CAM_EFORMAT;
    *ret = p;
    return 0;
}

uint64_t sntp_from_unix_us(int64_t unix_us)
{
    uint64_t us = (uint64_t)unix_us; /* times before 1970 are no times of a server */
    uint64_t s = us / 1000000 + NTP_UNIX_S, fraction = ((us % 1000000) << 32) / 1000000;
    return s << 32 | fraction;
}

int64_t sntp_to_unix_us(uint64_t ntp)
{
    uint64_t s = ntp >> 32, us = ((ntp & UINT32_MAX) * 1000000 + (UINT64_C(1) << 31)) >> 32;
    if (s < ERA_PIVOT_S)
        s += ERA_S;
    return (int64_t)((s - NTP_UNIX_S) * 1000000 + us);
}
