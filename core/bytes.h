/* Bounded byte cursors with a sticky error: read or write a whole structure, look at the error once.
 * After the first failure every read returns zero and every write does nothing. Integers are big-endian.
 *
 *     struct bytes_in in = bytes_in(buf, size);
 *     uint8_t version = bytes_get_u8(&in);
 *     const uint8_t *key = bytes_get(&in, 32);          // NULL after an error
 *     if (bytes_end(&in)) return CAM_EFORMAT;           // too short, or something left over
 *
 *     struct bytes_out out = bytes_out(buf, sizeof buf);
 *     bytes_put_u32(&out, 7);
 *     if (out.err) return out.err;                      // CAM_ENOSPC
 */
#ifndef CORE_BYTES_H
#define CORE_BYTES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span { /* borrowed bytes */
    const uint8_t *data;
    size_t size;
};

struct bytes_in {
    const uint8_t *at, *end;
    int err; /* 0 or CAM_EFORMAT */
};

struct bytes_out {
    uint8_t *buf;
    size_t size, cap;
    int err; /* 0 or CAM_ENOSPC */
};

static inline struct span span(const void *data, size_t size) { return (struct span){ data, size }; }
struct span span_str(const char *text); /* without the terminator */
bool span_equal(struct span a, struct span b);

struct bytes_in bytes_in(const void *buf, size_t size);
uint8_t bytes_get_u8(struct bytes_in *in);
uint16_t bytes_get_u16(struct bytes_in *in);
uint32_t bytes_get_u32(struct bytes_in *in);
uint64_t bytes_get_u64(struct bytes_in *in);
const uint8_t *bytes_get(struct bytes_in *in, size_t size); /* borrowed; NULL after an error */
void bytes_copy(struct bytes_in *in, void *ret, size_t size); /* zero-fills after an error */
size_t bytes_left(const struct bytes_in *in);
int bytes_end(struct bytes_in *in); /* 0 when all was read and nothing failed, else CAM_EFORMAT */

struct bytes_out bytes_out(void *buf, size_t cap);
void bytes_put_u8(struct bytes_out *out, uint8_t v);
void bytes_put_u16(struct bytes_out *out, uint16_t v);
void bytes_put_u32(struct bytes_out *out, uint32_t v);
void bytes_put_u64(struct bytes_out *out, uint64_t v);
void bytes_put(struct bytes_out *out, const void *data, size_t size);

/* Hex, lower case. `ret` takes 2 * size + 1 characters. Decoding accepts both cases and wants exactly
 * 2 * size characters; CAM_EFORMAT otherwise. */
void hex_encode(char *ret, const void *data, size_t size);
int hex_decode(void *ret, size_t size, const char *hex);

/* Base32 (RFC 4648 section 6), lower case and without padding: 5 bits a character. `ret` takes
 * BASE32_CHARS(size) + 1 characters. Decoding accepts both cases, wants exactly BASE32_CHARS(size)
 * characters and zero in the bits left over, so every value has one spelling; CAM_EFORMAT otherwise. */
#define BASE32_CHARS(size) (((size) * 8 + 4) / 5)
void base32_encode(char *ret, const void *data, size_t size);
int base32_decode(void *ret, size_t size, const char *text, size_t chars);

/* Big-endian integers at a place. */
static inline uint16_t be16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static inline uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t be64(const uint8_t *p) { return (uint64_t)be32(p) << 32 | be32(p + 4); }

static inline void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
    put_be16(p, (uint16_t)(v >> 16));
    put_be16(p + 2, (uint16_t)v);
}

static inline void put_be64(uint8_t *p, uint64_t v)
{
    put_be32(p, (uint32_t)(v >> 32));
    put_be32(p + 4, (uint32_t)v);
}

#endif
