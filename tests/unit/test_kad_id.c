#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kad/id.h"

static void distances(void **state)
{
    (void)state;
    uint8_t zero[ID_SIZE] = {0}, one[ID_SIZE] = {[19] = 1}, top[ID_SIZE] = {0x80}, quarter[ID_SIZE] = {0x40};
    assert_int_equal(id_common_bits(zero, zero), 160);
    assert_int_equal(id_common_bits(zero, one), 159);
    assert_int_equal(id_common_bits(zero, top), 0);
    assert_int_equal(id_common_bits(top, quarter), 0);
    assert_int_equal(id_common_bits(zero, quarter), 1);
    assert_true(id_compare(zero, one, top) < 0);
    assert_true(id_compare(top, one, quarter) < 0); /* 0x80..01 against 0xc0.. */
    assert_true(id_compare(zero, quarter, quarter) == 0);
    assert_true(id_distance(zero, top) == 0.5);
    assert_true(id_distance(top, quarter) == 0.75);
    assert_true(id_distance(zero, zero) == 0);
    assert_true(id_distance(zero, one) > 0 && id_distance(zero, one) < 1e-47);
    assert_true(id_is_zero(zero) && !id_is_zero(one));
}

static void random_in_each_bucket(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 1);
    uint8_t self[ID_SIZE], id[ID_SIZE];
    for (unsigned bits = 0; bits < ID_BITS; bits++) {
        id_random(&rng, self);
        id_random_in_bucket(&rng, self, bits, id);
        assert_int_equal(id_common_bits(self, id), bits);
    }
}

/* The table of examples in BEP 42: address, r, the first three bytes (the third to its top five bits), the last. */
static void bep42_vectors(void **state)
{
    (void)state;
    static const struct { const char *addr; uint8_t head[3], last; } vectors[] = {
        {"124.31.75.21:1", {0x5f, 0xbf, 0xbf}, 1},
        {"21.75.31.124:1", {0x5a, 0x3c, 0xe9}, 86},
        {"65.23.51.170:1", {0xa5, 0xd4, 0x32}, 22},
        {"84.124.73.14:1", {0x1b, 0x03, 0x21}, 65},
        {"43.213.53.83:1", {0xe5, 0x6f, 0x6c}, 90},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct addr addr;
        uint8_t id[ID_SIZE] = {0};
        assert_int_equal(addr_parse(vectors[i].addr, &addr), 0);
        memcpy(id, vectors[i].head, 3);
        id[19] = vectors[i].last;
        assert_true(id_fits_addr(id, &addr));
        id[2] ^= 7; /* the low three bits of the third byte are free */
        assert_true(id_fits_addr(id, &addr));
        for (unsigned bit = 0; bit < 21; bit++) {
            id[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
            assert_false(id_fits_addr(id, &addr));
            id[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        }
        id[19] ^= 1;
        assert_false(id_fits_addr(id, &addr));
    }
}

static void made_ids_fit(void **state)
{
    (void)state;
    static const char *const addrs[] = {"8.8.8.8:53", "127.0.0.1:4000", "[2001:db9::1]:70", "[fd00::1]:9", "192.168.1.9:1"};
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 2);
    for (size_t i = 0; i < sizeof addrs / sizeof *addrs; i++) {
        struct addr addr, other;
        uint8_t id[ID_SIZE], random[ID_SIZE];
        assert_int_equal(addr_parse(addrs[i], &addr), 0);
        assert_int_equal(addr_parse("9.9.9.9:53", &other), 0);
        unsigned fits = 0;
        for (unsigned n = 0; n < 100; n++) {
            id_for_addr(&rng, &addr, id);
            assert_true(id_fits_addr(id, &addr));
            id_random(&rng, random);
            fits += id_fits_addr(random, &addr);
            assert_false(id_fits_addr(random, &other));
        }
        assert_int_equal(fits, addr_is_local(&addr) ? 100 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),
        cmocka_unit_test(random_in_each_bucket),
        cmocka_unit_test(bep42_vectors),
        cmocka_unit_test(made_ids_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
