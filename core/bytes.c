#include "core/bytes.h"

#include <string.h>

#include "core/err.h"

struct span span_str(const char *text) { return span(text, strlen(text)); }

bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Reading */

struct bytes_in bytes_in(const void *buf, size_t size)
{
    const uint8_t *at = buf;
    return (struct bytes_in){ .at = at, .end = size ? at + size : at };
}

size_t bytes_left(const struct bytes_in *in) { return in->err ? 0 : (size_t)(in->end - in->at); }

const uint8_t *bytes_get(struct bytes_in *in, size_t size)
{
    if (in->err || size > (size_t)(in->end - in->at)) {
        in->err = CAM_EFORMAT;
        return NULL;
    }
    const uint8_t *p = in->at;
    if (size > 0)
        in->at += size;
    return p;
}

uint8_t bytes_get_u8(struct bytes_in *in)
{
    const uint8_t *p = bytes_get(in, 1);
    return p ? *p : 0;
}

uint16_t bytes_get_u16(struct bytes_in *in)
{
    const uint8_t *p = bytes_get(in, 2);
    return p ? be16(p) : 0;
}

uint32_t bytes_get_u32(struct bytes_in *in)
{
    const uint8_t *p = bytes_get(in, 4);
    return p ? be32(p) : 0;
}

uint64_t bytes_get_u64(struct bytes_in *in)
{
    const uint8_t *p = bytes_get(in, 8);
    return p ? be64(p) : 0;
}

void bytes_copy(struct bytes_in *in, void *ret, size_t size)
{
    const uint8_t *p = bytes_get(in, size);
    if (size == 0)
        return;
    if (p)
        memcpy(ret, p, size);
    else
        memset(ret, 0, size);
}

int bytes_end(struct bytes_in *in)
{
    if (in->at != in->end)
        in->err = CAM_EFORMAT;
    return in->err;
}

/* Writing */

struct bytes_out bytes_out(void *buf, size_t cap) { return (struct bytes_out){ .buf = buf, .cap = cap }; }

/* Room for `size` more bytes, or NULL with the error set. */
static uint8_t *out_take(struct bytes_out *out, size_t size)
{
    if (out->err || size > out->cap - out->size) {
        out->err = CAM_ENOSPC;
        return NULL;
    }
    uint8_t *p = out->buf + out->size;
    out->size += size;
    return p;
}

void bytes_put(struct bytes_out *out, const void *data, size_t size)
{
    if (size == 0)
        return;
    uint8_t *p = out_take(out, size);
    if (p)
        memcpy(p, data, size);
}

void bytes_put_u8(struct bytes_out *out, uint8_t v)
{
    uint8_t *p = out_take(out, 1);
    if (p)
        *p = v;
}

void bytes_put_u16(struct bytes_out *out, uint16_t v)
{
    uint8_t *p = out_take(out, 2);
    if (p)
        put_be16(p, v);
}

void bytes_put_u32(struct bytes_out *out, uint32_t v)
{
    uint8_t *p = out_take(out, 4);
    if (p)
        put_be32(p, v);
}

void bytes_put_u64(struct bytes_out *out, uint64_t v)
{
    uint8_t *p = out_take(out, 8);
    if (p)
        put_be64(p, v);
}

/* Hex */

void hex_encode(char *ret, const void *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i++) {
        *ret++ = digits[p[i] >> 4];
        *ret++ = digits[p[i] & 15];
    }
    *ret = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int hex_decode(void *ret, size_t size, const char *hex)
{
    /* Checked whole before anything is written: a caller's buffer changes only on success. */
    if (strnlen(hex, 2 * size + 1) != 2 * size)
        return CAM_EFORMAT;
    for (size_t i = 0; i < 2 * size; i++)
        if (hex_digit(hex[i]) < 0)
            return CAM_EFORMAT;
    uint8_t *p = ret;
    for (size_t i = 0; i < size; i++)
        p[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return 0;
}

/* Base32 */

void base32_encode(char *ret, const void *data, size_t size)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    const uint8_t *p = data;
    uint32_t pending = 0; /* the low `bits` bits are still to be written */
    unsigned bits = 0;
    for (size_t i = 0; i < size; i++) {
        pending = (pending << 8 | p[i]) & 0xfff;
        for (bits += 8; bits >= 5; bits -= 5)
            *ret++ = digits[pending >> (bits - 5) & 31];
    }
    if (bits > 0)
        *ret++ = digits[pending << (5 - bits) & 31];
    *ret = '\0';
}

static int base32_digit(char c)
{
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= '2' && c <= '7')
        return c - '2' + 26;
    return -1;
}

int base32_decode(void *ret, size_t size, const char *text, size_t chars)
{
    if (chars != BASE32_CHARS(size))
        return CAM_EFORMAT;
    for (size_t i = 0; i < chars; i++)
        if (base32_digit(text[i]) < 0)
            return CAM_EFORMAT;
    unsigned spare = (unsigned)(chars * 5 - size * 8);
    if (chars > 0 && base32_digit(text[chars - 1]) & ((1 << spare) - 1))
        return CAM_EFORMAT;

    uint8_t *p = ret;
    uint32_t pending = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < chars; i++) {
        pending = (pending << 5 | (uint32_t)base32_digit(text[i])) & 0xfff;
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            *p++ = (uint8_t)(pending >> bits);
        }
    }
    return 0;
}
