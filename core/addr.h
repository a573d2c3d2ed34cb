/* An IP address and port, version 4 or 6, as a plain value. Numeric only: names are resolved at the edge.
 *
 *     struct addr a; char text[ADDR_TEXT_SIZE];
 *     if (addr_parse("127.0.0.1:8000", &a) == 0) puts(addr_text(&a, text));
 */
#ifndef CORE_ADDR_H
#define CORE_ADDR_H
#include "core/bytes.h"

#define ADDR_TEXT_SIZE 56 /* "[" + 45 + "]:65535" + terminator, rounded up */
#define ADDR_COMPACT_MAX 18

struct addr {
    uint8_t family; /* 4, 6, or 0 for none */
    uint8_t ip[16]; /* 4 bytes used for IPv4, the rest zero */
    uint16_t port;  /* host order */
};

int addr_parse(const char *text, struct addr *ret);      /* "1.2.3.4:80", "[::1]:80"; CAM_EINVAL */
const char *addr_text(const struct addr *a, char ret[ADDR_TEXT_SIZE]); /* returns ret; "-" for none */
bool addr_equal(const struct addr *a, const struct addr *b); /* address and port */
bool addr_same_ip(const struct addr *a, const struct addr *b);
bool addr_is_local(const struct addr *a); /* loopback, private, link-local: BEP 42's exempt ranges */
bool addr_is_any(const struct addr *a);   /* 0.0.0.0 or :: */
bool addr_is_usable(const struct addr *a);/* a unicast address with a port one may send to */
size_t addr_ip_size(const struct addr *a); /* 4 or 16 */

/* BEP 5 / 32 compact form: address then port, 6 or 18 bytes. */
size_t addr_compact(const struct addr *a, uint8_t ret[ADDR_COMPACT_MAX]);
int addr_from_compact(const void *data, size_t size, struct addr *ret); /* size 6 or 18; CAM_EFORMAT */

#endif
