#include "core/addr.h"

#include <stdio.h>
#include <string.h>

#include "core/err.h"

/* The text forms are read and written here, not by inet_pton: that lives among the socket headers, and
 * this file is pure. */

static size_t digits_at(const char *at)
{
    size_t n = 0;
    while (at[n] >= '0' && at[n] <= '9')
        n++;
    return n;
}

/* A decimal number without leading zeros, at most `max`. Returns what follows, NULL when it is not one. */
static const char *parse_number(const char *at, uint32_t max, uint32_t *ret)
{
    size_t n = digits_at(at);
    if (n == 0 || n > 5 || (n > 1 && *at == '0'))
        return NULL;
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (uint32_t)(at[i] - '0');
    if (v > max)
        return NULL;
    *ret = v;
    return at + n;
}

static const char *parse_ip4(const char *at, uint8_t ret[4])
{
    for (int i = 0; i < 4; i++) {
        uint32_t octet;
        if (i > 0 && *at++ != '.')
            return NULL;
        at = parse_number(at, 255, &octet);
        if (!at)
            return NULL;
        ret[i] = (uint8_t)octet;
    }
    return at;
}

static const char *parse_hex16(const char *at, uint8_t ret[2])
{
    unsigned v = 0;
    int n = 0;
    for (;; n++) {
        char c = at[n];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            digit = (unsigned)(c - 'A' + 10);
        else
            break;
        if (n == 4)
            return NULL;
        v = v << 4 | digit;
    }
    put_be16(ret, (uint16_t)v);
    return n ? at + n : NULL;
}

/* RFC 4291 section 2.2: eight groups, one run of zeros as "::", the last 32 bits perhaps dotted. */
static const char *parse_ip6(const char *at, uint8_t ret[16])
{
    uint8_t ip[16] = { 0 };
    int size = 0, gap = -1; /* bytes read; where "::" stood */
    if (at[0] == ':') {
        if (at[1] != ':')
            return NULL;
        gap = 0;
        at += 2;
    }
    while (size < 16 && *at != ']') {
        if (size > 0 && size != gap) {
            if (*at++ != ':')
                return NULL;
            if (*at == ':') {
                if (gap >= 0)
                    return NULL;
                gap = size;
                at++;
                continue;
            }
        }
        const char *after = size <= 12 ? parse_ip4(at, ip + size) : NULL;
        if (after) {
            at = after;
            size += 4;
            break;
        }
        at = parse_hex16(at, ip + size);
        if (!at)
            return NULL;
        size += 2;
    }
    if (gap >= 0) {
        if (size > 14)
            return NULL; /* "::" stands for at least one group */
        int tail = size - gap;
        memmove(ip + 16 - tail, ip + gap, (size_t)tail);
        memset(ip + gap, 0, (size_t)(16 - size));
    } else if (size != 16) {
        return NULL;
    }
    memcpy(ret, ip, 16);
    return at;
}

int addr_parse(const char *text, struct addr *ret)
{
    struct addr a = { .family = 4 };
    const char *at = text;
    if (*at == '[') {
        a.family = 6;
        at = parse_ip6(at + 1, a.ip);
        if (!at || *at++ != ']')
            return CAM_EINVAL;
    } else {
        at = parse_ip4(at, a.ip);
        if (!at)
            return CAM_EINVAL;
    }
    uint32_t port;
    if (*at++ != ':')
        return CAM_EINVAL;
    at = parse_number(at, UINT16_MAX, &port);
    if (!at || *at != '\0')
        return CAM_EINVAL;
    a.port = (uint16_t)port;
    *ret = a;
    return 0;
}

static bool is_mapped(const struct addr *a) /* ::ffff:1.2.3.4, IPv4 in IPv6's clothes */
{
    static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };
    return a->family == 6 && memcmp(a->ip, prefix, sizeof prefix) == 0;
}

/* RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as "::". */
static size_t put_ip6(char *ret, size_t cap, const struct addr *a)
{
    if (is_mapped(a))
        return (size_t)snprintf(ret, cap, "::ffff:%u.%u.%u.%u", a->ip[12], a->ip[13], a->ip[14], a->ip[15]);
    int run_at = -1, run_size = 1;
    for (int i = 0; i < 8; i++) {
        int n = 0;
        while (i + n < 8 && be16(a->ip + 2 * (i + n)) == 0)
            n++;
        if (n > run_size) {
            run_at = i;
            run_size = n;
        }
    }
    size_t size = 0;
    for (int i = 0; i < 8; i++) {
        if (i == run_at) {
            size += (size_t)snprintf(ret + size, cap - size, "::");
            i += run_size - 1;
            continue;
        }
        bool after_run = run_at >= 0 && i == run_at + run_size;
        const char *colon = i > 0 && !after_run ? ":" : "";
        size += (size_t)snprintf(ret + size, cap - size, "%s%x", colon, be16(a->ip + 2 * i));
    }
    return size;
}

const char *addr_text(const struct addr *a, char ret[ADDR_TEXT_SIZE])
{
    if (a->family == 4) {
        snprintf(ret, ADDR_TEXT_SIZE, "%u.%u.%u.%u:%u", a->ip[0], a->ip[1], a->ip[2], a->ip[3], a->port);
    } else if (a->family == 6) {
        char ip[46];
        put_ip6(ip, sizeof ip, a);
        snprintf(ret, ADDR_TEXT_SIZE, "[%s]:%u", ip, a->port);
    } else {
        snprintf(ret, ADDR_TEXT_SIZE, "-");
    }
    return ret;
}

size_t addr_ip_size(const struct addr *a) { return a->family == 6 ? 16 : 4; }

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && (a->family == 0 || memcmp(a->ip, b->ip, addr_ip_size(a)) == 0);
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return addr_same_ip(a, b) && (a->family == 0 || a->port == b->port);
}

bool addr_is_local(const struct addr *a)
{
    const uint8_t *ip = a->ip;
    if (a->family == 4)
        return ip[0] == 10 || ip[0] == 127 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) ||
               (ip[0] == 192 && ip[1] == 168) || (ip[0] == 169 && ip[1] == 254);
    if (a->family == 6) {
        static const uint8_t loopback[16] = { [15] = 1 };
        return memcmp(ip, loopback, 16) == 0 || (ip[0] & 0xfe) == 0xfc ||
               (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80);
    }
    return false;
}

bool addr_is_any(const struct addr *a)
{
    static const uint8_t zero[16];
    return a->family != 0 && memcmp(a->ip, zero, addr_ip_size(a)) == 0;
}

bool addr_is_usable(const struct addr *a)
{
    if (a->port == 0 || addr_is_any(a))
        return false;
    if (a->family == 4)
        return a->ip[0] != 0 && a->ip[0] < 224; /* "this network"; multicast, reserved, broadcast */
    /* A mapped address would be one machine under two names, and slip past the caps per subnet. */
    return a->family == 6 && a->ip[0] != 0xff && !is_mapped(a);
}

/*  offset size
 *       0    4 or 16   address
 *       4 or 16    2   port, big-endian
 */
size_t addr_compact(const struct addr *a, uint8_t ret[ADDR_COMPACT_MAX])
{
    if (a->family != 4 && a->family != 6)
        return 0;
    size_t ip_size = addr_ip_size(a);
    memcpy(ret, a->ip, ip_size);
    put_be16(ret + ip_size, a->port);
    return ip_size + 2;
}

int addr_from_compact(const void *data, size_t size, struct addr *ret)
{
    if (size != 6 && size != 18)
        return CAM_EFORMAT;
    const uint8_t *p = data;
    struct addr a = { .family = size == 6 ? 4 : 6 };
    memcpy(a.ip, p, size - 2);
    a.port = be16(p + size - 2);
    *ret = a;
    return 0;
}
