/* Cursors at every length, hex, base32 (RFC 4648 section 10), and the injected randomness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/err.h"
#include "core/rng.h"

static void write_all(struct bytes_out *out)
{
    bytes_put_u8(out, 0x01);
    bytes_put_u16(out, 0x0203);
    bytes_put_u32(out, 0x04050607);
    bytes_put_u64(out, 0x08090a0b0c0d0e0f);
    bytes_put(out, "tail", 4);
}

static void round_trip(void **state)
{
    (void)state;
    uint8_t buf[19];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    write_all(&out);
    assert_int_equal(out.err, 0);
    assert_int_equal(out.size, 19);
    for (int i = 0; i < 15; i++)
        assert_int_equal(buf[i], i + 1);

    struct bytes_in in = bytes_in(buf, sizeof buf);
    assert_int_equal(bytes_get_u8(&in), 1);
    assert_int_equal(bytes_get_u16(&in), 0x0203);
    assert_int_equal(bytes_get_u32(&in), 0x04050607);
    assert_true(bytes_get_u64(&in) == 0x08090a0b0c0d0e0f);
    assert_int_equal(bytes_left(&in), 4);
    assert_int_equal(bytes_end(&in), CAM_EFORMAT); /* something left over, and the error sticks */
    assert_null(bytes_get(&in, 4));

    in = bytes_in(buf + 15, 4);
    char tail[4];
    bytes_copy(&in, tail, 4);
    assert_memory_equal(tail, "tail", 4);
    assert_int_equal(bytes_end(&in), 0);
}

/* The buffer is on the heap and exactly as long as said: a byte too far is the sanitizer's to find. */
static void writing_stops_at_every_length(void **state)
{
    (void)state;
    for (size_t cap = 0; cap < 19; cap++) {
        uint8_t *buf = malloc(cap ? cap : 1);
        struct bytes_out out = bytes_out(buf, cap);
        write_all(&out);
        assert_int_equal(out.err, CAM_ENOSPC);
        assert_true(out.size <= cap);
        size_t size = out.size;
        bytes_put_u8(&out, 1); /* sticky, though a byte might fit */
        assert_int_equal(out.size, size);
        free(buf);
    }
}

static void reading_stops_at_every_length(void **state)
{
    (void)state;
    for (size_t size = 0; size < 19; size++) {
        uint8_t *buf = malloc(size ? size : 1);
        memset(buf, 0xff, size);
        struct bytes_in in = bytes_in(buf, size);
        uint8_t copy[4] = { 9, 9, 9, 9 };
        bytes_get_u8(&in);
        bytes_get_u16(&in);
        bytes_get_u32(&in);
        bytes_get_u64(&in);
        bytes_copy(&in, copy, 4);
        for (int i = 0; i < 4; i++)
            assert_int_equal(copy[i], 0);
        assert_int_equal(in.err, CAM_EFORMAT);
        assert_int_equal(bytes_get_u8(&in), 0); /* and nothing but zero after */
        assert_int_equal(bytes_left(&in), 0);
        assert_int_equal(bytes_end(&in), CAM_EFORMAT);
        free(buf);
    }
}

static void sizes_that_would_wrap(void **state)
{
    (void)state;
    uint8_t buf[4] = { 0 };
    struct bytes_in in = bytes_in(buf, sizeof buf);
    assert_null(bytes_get(&in, SIZE_MAX));
    struct bytes_out out = bytes_out(buf, sizeof buf);
    bytes_put_u8(&out, 1);
    bytes_put(&out, buf, SIZE_MAX);
    assert_int_equal(out.err, CAM_ENOSPC);
    assert_int_equal(out.size, 1);
}

static void nothing_is_fine(void **state)
{
    (void)state;
    struct bytes_in in = bytes_in(NULL, 0);
    bytes_copy(&in, NULL, 0);
    assert_int_equal(bytes_end(&in), 0);
    struct bytes_out out = bytes_out(NULL, 0);
    bytes_put(&out, NULL, 0);
    assert_int_equal(out.err, 0);
    assert_true(span_equal(span(NULL, 0), span_str("")));
    assert_true(span_equal(span_str("ana"), span("ana", 3)));
    assert_false(span_equal(span_str("ana"), span_str("anb")));
    assert_false(span_equal(span_str("ana"), span_str("an")));
}

static void hex(void **state)
{
    (void)state;
    char text[9];
    uint8_t raw[4] = { 0 };
    hex_encode(text, "\x00\x9a\xff\x10", 4);
    assert_string_equal(text, "009aff10");
    assert_int_equal(hex_decode(raw, 4, "009AfF10"), 0);
    assert_memory_equal(raw, "\x00\x9a\xff\x10", 4);
    hex_encode(text, NULL, 0);
    assert_string_equal(text, "");
    assert_int_equal(hex_decode(NULL, 0, ""), 0);

    static const char *const bad[] = { "", "009aff1", "009aff1000", "009aff1g", "009aff1 ", "0x9aff10", "-09aff10" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(hex_decode(raw, 4, bad[i]), CAM_EFORMAT);
    assert_memory_equal(raw, "\x00\x9a\xff\x10", 4); /* untouched by what was refused */
}

static void base32(void **state)
{
    (void)state;
    /* RFC 4648 section 10, in small letters and without the padding. */
    static const char *const rows[][2] = {
        { "", "" },           { "f", "my" },         { "fo", "mzxq" },          { "foo", "mzxw6" },
        { "foob", "mzxw6yq" }, { "fooba", "mzxw6ytb" }, { "foobar", "mzxw6ytboi" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t size = strlen(rows[i][0]), chars = strlen(rows[i][1]);
        char text[16];
        uint8_t raw[8];
        base32_encode(text, rows[i][0], size);
        assert_string_equal(text, rows[i][1]);
        assert_int_equal(BASE32_CHARS(size), chars);
        assert_int_equal(base32_decode(raw, size, rows[i][1], chars), 0);
        assert_memory_equal(raw, rows[i][0], size);
    }

    uint8_t raw[3];
    assert_int_equal(base32_decode(raw, 3, "MZXW6", 5), 0);
    assert_memory_equal(raw, "foo", 3);
    assert_int_equal(base32_decode(raw, 1, "mz", 2), CAM_EFORMAT);     /* a bit set in what is left over */
    assert_int_equal(base32_decode(raw, 3, "mzxw", 4), CAM_EFORMAT);   /* short */
    assert_int_equal(base32_decode(raw, 3, "mzxw6a", 6), CAM_EFORMAT); /* long */
    assert_int_equal(base32_decode(raw, 3, "mzxw1", 5), CAM_EFORMAT);  /* 0, 1, 8 and 9 are no digits */
    assert_int_equal(base32_decode(raw, 3, "mzxw=", 5), CAM_EFORMAT);
    assert_int_equal(base32_decode(raw, 3, "mzx\0w", 5), CAM_EFORMAT);
    assert_memory_equal(raw, "foo", 3);
}

static void base32_round_trip_at_every_length(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 1);
    for (size_t size = 0; size <= 64; size++) {
        uint8_t raw[64], back[64];
        char text[BASE32_CHARS(64) + 1];
        rng_fill(&rng, raw, size);
        base32_encode(text, raw, size);
        assert_int_equal(strlen(text), BASE32_CHARS(size));
        assert_int_equal(base32_decode(back, size, text, strlen(text)), 0);
        assert_memory_equal(back, raw, size);
    }
}

static void seeded_randomness_repeats(void **state)
{
    (void)state;
    struct rng_seeded sa, sb, sc;
    struct rng a = rng_seeded(&sa, 42), b = rng_seeded(&sb, 42), c = rng_seeded(&sc, 43);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t drawn = rng_u64(&a);
        assert_true(drawn == rng_u64(&b));
        differs |= drawn != rng_u64(&c);
        rng_fill(&a, NULL, 0);
    }
    assert_true(differs);
    uint8_t first[200], second[200];
    rng_fill(&a, first, sizeof first);
    rng_fill(&b, second, sizeof second);
    assert_memory_equal(first, second, sizeof first);
    rng_fill(&a, second, sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
}

/* A source that gives what the test says, to reach the draws that must be thrown away. */
static void scripted_fill(void *ctx, void *buf, size_t size)
{
    const uint8_t **at = ctx;
    memcpy(buf, *at, size);
    *at += size;
}

static void below_is_uniform(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 7);
    unsigned counts[7] = { 0 };
    for (int i = 0; i < 70000; i++) {
        uint32_t n = rng_below(&rng, 7);
        assert_true(n < 7);
        counts[n]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500); /* five standard deviations */
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rng_below(&rng, 1), 0);
        assert_true(rng_below(&rng, UINT32_MAX) < UINT32_MAX);
    }

    /* 2^32 mod 3 = 1: exactly the draw 0 is unfair and must be drawn again. */
    static const uint8_t draws[] = { 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };
    const uint8_t *at = draws;
    struct rng scripted = { .fill = scripted_fill, .ctx = &at };
    assert_int_equal(rng_below(&scripted, 3), 2);
    assert_ptr_equal(at, draws + 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(writing_stops_at_every_length),
        cmocka_unit_test(reading_stops_at_every_length),
        cmocka_unit_test(sizes_that_would_wrap),
        cmocka_unit_test(nothing_is_fine),
        cmocka_unit_test(hex),
        cmocka_unit_test(base32),
        cmocka_unit_test(base32_round_trip_at_every_length),
        cmocka_unit_test(seeded_randomness_repeats),
        cmocka_unit_test(below_is_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
