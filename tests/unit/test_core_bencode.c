/* Strict bencode: what is accepted is canonical, so writing back what was read gives the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/bencode.h"
#include "core/err.h"
#include "core/rng.h"

static struct ben parsed(const char *text)
{
    struct ben v = { NULL, 0 };
    assert_int_equal(ben_parse(text, strlen(text), &v), 0);
    return v;
}

/* Reads the value through the accessors alone and writes it again. */
static void rewrite(struct ben v, struct bytes_out *out)
{
    int64_t n;
    struct span s, key;
    struct ben item;
    struct ben_iter it = ben_iter(v);
    switch (ben_type(v)) {
    case BEN_INT:
        assert_int_equal(ben_int(v, &n), 0);
        ben_put_int(out, n);
        break;
    case BEN_STR:
        assert_int_equal(ben_str(v, &s), 0);
        ben_put_str(out, s.data, s.size);
        break;
    case BEN_LIST:
        ben_put_list(out);
        while (ben_next(&it, &key, &item)) {
            assert_int_equal(key.size, 0);
            rewrite(item, out);
        }
        ben_put_end(out);
        break;
    case BEN_DICT:
        ben_put_dict(out);
        while (ben_next(&it, &key, &item)) {
            ben_put_str(out, key.data, key.size);
            rewrite(item, out);
        }
        ben_put_end(out);
        break;
    default:
        fail_msg("a value of no type");
    }
}

/* Parsed from a heap block of exactly that size, so that reading on is the sanitizer's to find. */
static bool accepts(const void *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1), *back = malloc(size ? size : 1);
    memcpy(copy, data, size);
    struct ben v = { NULL, 0 };
    int err = ben_parse(copy, size, &v);
    if (err == 0) {
        struct bytes_out out = bytes_out(back, size);
        rewrite(v, &out);
        assert_int_equal(out.err, 0);
        assert_int_equal(out.size, size);
        assert_memory_equal(back, copy, size);
    } else {
        assert_int_equal(err, CAM_EFORMAT);
        assert_null(v.data);
    }
    free(copy);
    free(back);
    return err == 0;
}

static void canonical_values(void **state)
{
    (void)state;
    static const char *const good[] = {
        "i0e", "i7e", "i-1e", "i10e", "i9223372036854775807e", "i-9223372036854775808e", "0:", "4:spam",
        "10:0123456789", "le", "de", "li1ei2ee", "l0:lee", "d0:i1ee", "d1:ai1e1:b2:xye", "d1:a1:b2:aa1:ce",
        "d1:ad1:bd1:clleeeee", "d1:Ai1e1:ai2ee", "d2:\x7f\x7fi1e1:\xffi1ee",
        "lllllllllllllllleeeeeeeeeeeeeeee", /* sixteen deep */
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(accepts(good[i], strlen(good[i])));
}

static void everything_else(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "x", "e", " i1e", "i1e ", "i1ei2e", "lee", "i1", "i", "ie", "i-e", "i-0e", "i00e", "i01e", "i-01e", "i+1e",
        "i1.0e", "i 1e", "i1-e", "i9223372036854775808e", "i-9223372036854775809e", "i99999999999999999999999e",
        "4:spa", "4:spamx", "04:spam", "00:", "-1:", ":", "4", "4spam", "4 :spam", "99999999999999999999999999999:x",
        "18446744073709551616:", "18446744073709551615:x", "l", "li1e", "l4:spae", "d", "d1:a", "d1:ae", "d1:ai1e",
        "di1ei2ee", "dle1:ae", "d1:bi1e1:ai2ee", "d1:ai1e1:ai2ee", "d2:aai1e1:ai2ee", "d1:ai1e0:i2ee",
        "d1:ai1ei2ee", "d1:\xffi1e1:ai1ee", "llllllllllllllllleeeeeeeeeeeeeeeee", /* seventeen deep */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(accepts(bad[i], strlen(bad[i])));
    assert_false(accepts("3:a\0", 4));
    assert_true(accepts("3:a\0b", 5));
    assert_true(accepts("d1:\0i1e2:\0\0i2ee", 15));
}

static void depth_has_a_bound(void **state)
{
    (void)state;
    char text[200];
    for (size_t depth = 1; depth <= 100; depth++) {
        memset(text, 'l', depth);
        memset(text + depth, 'e', depth);
        assert_int_equal(accepts(text, depth * 2), depth <= BEN_DEPTH_MAX);
    }
    /* Many side by side are no deeper than one. */
    char *wide = malloc(2 + 2 * 5000);
    size_t size = 0;
    wide[size++] = 'l';
    for (int i = 0; i < 5000; i++) {
        wide[size++] = i % 2 ? 'd' : 'l';
        wide[size++] = 'e';
    }
    wide[size++] = 'e';
    assert_true(accepts(wide, size));
    free(wide);
}

static void looking_things_up(void **state)
{
    (void)state;
    struct ben v = parsed("d1:ai-5e2:id3:xyz4:listli1e0:e3:subd1:k1:vee"), got, again;
    int64_t n = 0;
    struct span s;
    char fixed[3];
    assert_int_equal(ben_get_int(v, "a", &n), 0);
    assert_int_equal(n, -5);
    assert_int_equal(ben_get_str(v, "id", &s), 0);
    assert_true(span_equal(s, span_str("xyz")));
    assert_int_equal(ben_get_fixed(v, "id", fixed, 3), 0);
    assert_memory_equal(fixed, "xyz", 3);
    assert_int_equal(ben_get_fixed(v, "id", fixed, 2), CAM_EFORMAT);
    assert_int_equal(ben_get_fixed(v, "id", fixed, 4), CAM_EFORMAT);
    assert_int_equal(ben_get_fixed(v, "a", fixed, 3), CAM_EFORMAT);
    assert_int_equal(ben_get_dict(v, "sub", &got), 0);
    assert_int_equal(ben_get_str(got, "k", &s), 0);
    assert_true(span_equal(s, span_str("v")));
    assert_int_equal(ben_get_list(v, "list", &got), 0);
    assert_int_equal(got.size, 7);
    struct ben_iter it = ben_iter(got);
    assert_true(ben_next(&it, NULL, &again));
    assert_int_equal(ben_int(again, &n), 0);
    assert_int_equal(n, 1);
    assert_true(ben_next(&it, NULL, &again));
    assert_int_equal(ben_str(again, &s), 0);
    assert_int_equal(s.size, 0);
    assert_false(ben_next(&it, NULL, &again));
    assert_false(ben_next(&it, NULL, &again));

    static const char *const missing[] = { "", "A", "aa", "b", "i", "idx", "lis", "listx", "su", "subx", "zz", "k" };
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        assert_int_equal(ben_get(v, missing[i], &got), CAM_ENOENT);
        assert_int_equal(ben_get_int(v, missing[i], &n), CAM_ENOENT);
    }
    assert_int_equal(ben_get_int(v, "id", &n), CAM_EFORMAT);
    assert_int_equal(ben_get_str(v, "a", &s), CAM_EFORMAT);
    assert_int_equal(ben_get_list(v, "sub", &got), CAM_EFORMAT);
    assert_int_equal(ben_get_dict(v, "list", &got), CAM_EFORMAT);
    assert_int_equal(n, 1); /* untouched by what failed */
}

static void the_wrong_type_is_no_crash(void **state)
{
    (void)state;
    struct ben none = { NULL, 0 }, got;
    struct span s;
    int64_t n;
    assert_int_equal(ben_type(none), BEN_NONE);
    assert_int_equal(ben_int(none, &n), CAM_EFORMAT);
    assert_int_equal(ben_str(none, &s), CAM_EFORMAT);
    const struct ben others[] = { none, parsed("i1e"), parsed("1:x"), parsed("le") };
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(ben_get(others[i], "x", &got), CAM_ENOENT);
    for (size_t i = 0; i < 3; i++) {
        struct ben_iter it = ben_iter(others[i]);
        assert_false(ben_next(&it, &s, &got));
    }
    assert_int_equal(ben_type(parsed("i1e")), BEN_INT);
    assert_int_equal(ben_type(parsed("0:")), BEN_STR);
    assert_int_equal(ben_type(parsed("le")), BEN_LIST);
    assert_int_equal(ben_type(parsed("de")), BEN_DICT);
}

static void integers_to_the_edges(void **state)
{
    (void)state;
    static const int64_t values[] = { 0, 1, -1, 9, 10, -10, 4294967296, INT64_MAX, INT64_MAX - 1, INT64_MIN, INT64_MIN + 1 };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t buf[24];
        struct bytes_out out = bytes_out(buf, sizeof buf);
        ben_put_int(&out, values[i]);
        struct ben v;
        int64_t back;
        assert_int_equal(ben_parse(buf, out.size, &v), 0);
        assert_int_equal(ben_int(v, &back), 0);
        assert_true(back == values[i]);
    }
}

/* A reply of the kind the network carries. */
static size_t write_sample(void *buf, size_t cap)
{
    struct bytes_out out = bytes_out(buf, cap);
    ben_put_dict(&out);
    ben_put_key(&out, "r");
    ben_put_dict(&out);
    ben_put_key(&out, "id");
    ben_put_str(&out, "abcdefghij0123456789", 20);
    ben_put_key(&out, "seq");
    ben_put_int(&out, 4);
    ben_put_key(&out, "v");
    ben_put_raw(&out, parsed("li1e3:twoe"));
    ben_put_end(&out);
    ben_put_key(&out, "t");
    ben_put_text(&out, "aa");
    ben_put_key(&out, "y");
    ben_put_text(&out, "r");
    ben_put_end(&out);
    return out.err ? 0 : out.size;
}

static void writing(void **state)
{
    (void)state;
    static const char want[] = "d1:rd2:id20:abcdefghij01234567893:seqi4e1:vli1e3:twoee1:t2:aa1:y1:re";
    uint8_t buf[128];
    assert_int_equal(write_sample(buf, sizeof buf), sizeof want - 1);
    assert_memory_equal(buf, want, sizeof want - 1);
    for (size_t cap = 0; cap < sizeof want - 1; cap++) {
        uint8_t *tight = malloc(cap ? cap : 1);
        assert_int_equal(write_sample(tight, cap), 0);
        free(tight);
    }
}

static void truncated_anywhere(void **state)
{
    (void)state;
    uint8_t buf[129];
    size_t size = write_sample(buf, sizeof buf);
    for (size_t cut = 0; cut < size; cut++)
        assert_false(accepts(buf, cut));
    assert_true(accepts(buf, size));
    for (int c = 0; c < 256; c++) { /* and nothing may follow */
        buf[size] = (uint8_t)c;
        assert_false(accepts(buf, size + 1));
    }
}

/* Whatever is accepted re-encodes to itself (accepts() checks), whatever mutation made it. */
static void mutated_at_random(void **state)
{
    (void)state;
    static const char alphabet[] = "0123456789:ilde-ab\xff";
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 44);
    unsigned accepted = 0, refused = 0;
    for (int round = 0; round < 60000; round++) {
        uint8_t buf[160];
        size_t size = write_sample(buf, 128);
        if (round % 3 == 0) { /* short random texts of bencode's own letters are often valid */
            size = 1 + rng_below(&rng, 8);
            for (size_t i = 0; i < size; i++)
                buf[i] = (uint8_t)alphabet[rng_below(&rng, sizeof alphabet - 1)];
        } else {
            for (uint32_t n = 1 + rng_below(&rng, 3); n > 0; n--) {
                size_t at = rng_below(&rng, (uint32_t)size);
                switch (rng_below(&rng, 4)) {
                case 0: buf[at] = (uint8_t)rng_u32(&rng); break;
                case 1: buf[at] = (uint8_t)alphabet[rng_below(&rng, sizeof alphabet - 1)]; break;
                case 2: memmove(buf + at, buf + at + 1, --size - at); break;
                case 3: memmove(buf + at + 1, buf + at, size++ - at); break;
                }
            }
        }
        if (accepts(buf, size))
            accepted++;
        else
            refused++;
    }
    assert_true(accepted > 1000);
    assert_true(refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_values),
        cmocka_unit_test(everything_else),
        cmocka_unit_test(depth_has_a_bound),
        cmocka_unit_test(looking_things_up),
        cmocka_unit_test(the_wrong_type_is_no_crash),
        cmocka_unit_test(integers_to_the_edges),
        cmocka_unit_test(writing),
        cmocka_unit_test(truncated_anywhere),
        cmocka_unit_test(mutated_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
