/* BEP 44 items: the vectors of the BEP, every limit at its boundary, and that one changed bit is one too
 * many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bencode.h"
#include "core/err.h"
#include "core/hash.h"
#include "kad/item.h"
#include "kad/verified.h"

static struct identity *identity(uint8_t n)
{
    uint8_t seed[KEY_SIZE] = {n, 7};
    struct identity *id = identity_from_seed(seed);
    assert_non_null(id);
    return id;
}

/* BEP 44, "Test vectors". The signatures were made by others, with a key that we do not have. */
static const char bep44_pk[] = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";
static const struct {
    const char *salt, *signed_bytes, *target, *sig;
} bep44[] = {
    {"", "3:seqi1e1:v12:Hello World!", "4a533d47ec9c7d95b1ad75f576cffc641853b750",
     "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
     "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01"},
    {"foobar", "4:salt6:foobar3:seqi1e1:v12:Hello World!", "411eba73b6f087ca51a3795d9c8c938d365e32c1",
     "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"
     "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08"},
};

static void test_bep44_mutable(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bep44 / sizeof *bep44; i++) {
        struct kad_item item = {
            .is_mutable = true, .seq = 1, .salt = span_str(bep44[i].salt), .v = span_str("12:Hello World!")};
        assert_int_equal(hex_decode(item.pk, KEY_SIZE, bep44_pk), 0);
        assert_int_equal(hex_decode(item.sig, SIG_SIZE, bep44[i].sig), 0);

        uint8_t buf[KAD_ITEM_SIGNED_MAX], target[KAD_ID_SIZE];
        struct bytes_out out = bytes_out(buf, sizeof buf);
        kad_item_signed_bytes(&item, &out);
        assert_int_equal(out.err, 0);
        assert_true(span_equal(span(buf, out.size), span_str(bep44[i].signed_bytes)));

        char hex[2 * KAD_ID_SIZE + 1];
        kad_item_target(&item, target);
        hex_encode(hex, target, KAD_ID_SIZE);
        assert_string_equal(hex, bep44[i].target);
        assert_int_equal(kad_item_verify(&item), 0);

        item.seq = 2;
        assert_int_equal(kad_item_verify(&item), CAM_EAUTH);
        item.seq = 1;
        item.salt = span_str("foobaz");
        assert_int_equal(kad_item_verify(&item), CAM_EAUTH);
    }
}

static void test_bep44_immutable(void **state)
{
    (void)state;
    struct kad_item item = {.v = span_str("12:Hello World!")};
    uint8_t target[KAD_ID_SIZE];
    char hex[2 * KAD_ID_SIZE + 1];
    kad_item_target(&item, target);
    hex_encode(hex, target, KAD_ID_SIZE);
    assert_string_equal(hex, "e5f96f6f38320f0f33959cb4d3d656452117aadb");
    assert_int_equal(kad_item_verify(&item), 0);
}

static void test_sign_and_every_bit(void **state)
{
    (void)state;
    struct identity *id = identity(1);
    uint8_t v[] = "d3:expi2000000000e1:xi5ee", salt[] = "public";
    struct kad_item item = {
        .is_mutable = true, .seq = INT64_MAX, .salt = span(salt, 6), .v = span(v, sizeof v - 1)};
    assert_int_equal(kad_item_sign(&item, id), 0);
    assert_memory_equal(item.pk, id->pk, KEY_SIZE);
    assert_int_equal(kad_item_verify(&item), 0);

    for (size_t bit = 0; bit < 8 * SIG_SIZE; bit++) {
        item.sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(kad_item_verify(&item), CAM_EAUTH);
        item.sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * 6; bit++) {
        salt[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(kad_item_verify(&item), CAM_EAUTH);
        salt[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * item.v.size; bit++) { /* some of these are no bencoding any more */
        v[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int err = kad_item_verify(&item);
        assert_true(err == CAM_EAUTH || err == CAM_EFORMAT);
        v[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * KEY_SIZE; bit++) {
        item.pk[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(kad_item_verify(&item), CAM_EAUTH);
        item.pk[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(kad_item_verify(&item), 0);
    identity_free(id);
}

/* A bencoded string that takes `size` bytes in all. */
static struct span string_of(uint8_t *buf, size_t size)
{
    size_t digits = size - 2 >= 1000 ? 4 : 3;
    memset(buf, 'x', size);
    char head[8];
    snprintf(head, sizeof head, "%zu:", size - digits - 1);
    memcpy(buf, head, strlen(head));
    return span(buf, size);
}

static void test_limits(void **state)
{
    (void)state;
    struct identity *id = identity(2);
    uint8_t buf[KAD_VALUE_MAX + 1], salt[KAD_SALT_MAX + 1] = {0};
    struct kad_item item = {.is_mutable = true, .salt = span(salt, KAD_SALT_MAX), .seq = 1};

    item.v = string_of(buf, KAD_VALUE_MAX);
    assert_int_equal(kad_item_check(&item), 0);
    assert_int_equal(kad_item_sign(&item, id), 0); /* the largest there is: KAD_ITEM_SIGNED_MAX is enough */
    assert_int_equal(kad_item_verify(&item), 0);
    item.seq = INT64_MAX;
    assert_int_equal(kad_item_sign(&item, id), 0);
    item.v = string_of(buf, KAD_VALUE_MAX + 1);
    assert_int_equal(kad_item_check(&item), KAD_ERROR_TOOBIG);
    assert_int_equal(kad_item_sign(&item, id), CAM_ETOOBIG);
    assert_int_equal(kad_item_verify(&item), CAM_ETOOBIG);

    item.v = span_str("i0e");
    item.salt.size = KAD_SALT_MAX + 1;
    assert_int_equal(kad_item_check(&item), KAD_ERROR_SALT);
    assert_int_equal(kad_item_sign(&item, id), CAM_ETOOBIG);
    item.is_mutable = false; /* an immutable item has no salt to be too big */
    assert_int_equal(kad_item_check(&item), 0);
    item.is_mutable = true;
    item.salt.size = 0;
    item.seq = -1;
    assert_int_equal(kad_item_check(&item), KAD_ERROR_PROTOCOL);
    item.seq = 0;
    assert_int_equal(kad_item_check(&item), 0);

    static const char *const malformed[] = {"",       "i",   "i01e", "i-0e", "5:abcd", "d1:b1:x1:a1:ye",
                                            "i1ei2e", "le ", "x"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        item.v = span_str(malformed[i]);
        assert_int_equal(kad_item_check(&item), KAD_ERROR_PROTOCOL);
        assert_int_equal(kad_item_verify(&item), CAM_EFORMAT);
    }
    identity_free(id);
}

static void test_expiry_of_values(void **state)
{
    (void)state;
    static const struct {
        const char *v;
        int64_t exp_s;
    } cases[] = {
        {"d3:expi1700000000ee", 1700000000},
        {"d1:a1:b3:expi5e1:z0:e", 5},
        {"d3:expi9223372036854775807ee", INT64_MAX},
        {"de", 0},
        {"d3:exp1:5e", 0},
        {"d3:expi-1ee", 0},
        {"d3:expi0ee", 0},
        {"12:Hello World!", 0},
        {"l3:expi5ee", 0},
        {"d3:expi5e", 0},
        {"", 0},
        {"d1:ad3:expi5eee", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(kad_value_expires_s(span_str(cases[i].v)) == cases[i].exp_s);
}

static void test_versions(void **state)
{
    (void)state;
    struct span a = span_str("1:a"), b = span_str("1:b");
    assert_true(kad_version_compare(2, a, 1, b) > 0);
    assert_true(kad_version_compare(1, a, 2, b) < 0);
    assert_true(kad_version_compare(INT64_MAX, a, INT64_MIN, a) > 0);
    assert_int_equal(kad_version_compare(7, a, 7, a), 0);
    uint8_t hash_a[SHA1_SIZE], hash_b[SHA1_SIZE];
    hash_sha1(hash_a, "1:a", 3);
    hash_sha1(hash_b, "1:b", 3);
    bool a_wins = memcmp(hash_a, hash_b, SHA1_SIZE) > 0;
    assert_int_equal(kad_version_compare(7, a, 7, b) > 0, a_wins);
    assert_int_equal(kad_version_compare(7, b, 7, a) > 0, !a_wins);
}

static void test_errors_are_named(void **state)
{
    (void)state;
    static const int codes[] = {201, 202, 203, 204, 205, 206, 207, 301, 302};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        assert_true(strlen(kad_error_text(codes[i])) > 0);
        assert_true(kad_error_status(codes[i]) < 0);
        assert_true(codes[i] == 201 || strcmp(kad_error_text(codes[i]), kad_error_text(201)) != 0);
    }
    assert_int_equal(kad_error_status(301), CAM_ECAS);
    assert_int_equal(kad_error_status(302), CAM_ESTALE);
    assert_int_equal(kad_error_status(206), CAM_EAUTH);
    assert_string_equal(kad_error_text(-5), kad_error_text(201));
}

static void test_verified_remembers_only_the_good(void **state)
{
    (void)state;
    struct identity *id = identity(3);
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 1);
    struct kad_verified seen;
    kad_verified_init(&seen, &rng);
    assert_null(seen.slots); /* nothing seen, nothing held */

    struct kad_item item = {.is_mutable = true, .seq = 1, .salt = span_str("s"), .v = span_str("i1e")};
    assert_int_equal(kad_item_sign(&item, id), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(kad_verified_item(&seen, &item), 0);
    assert_int_equal(seen.misses, 1);
    assert_int_equal(seen.hits, 4);

    struct kad_item forged = item;
    forged.v = span_str("i2e");
    for (int i = 0; i < 3; i++)
        assert_int_equal(kad_verified_item(&seen, &forged), CAM_EAUTH);
    forged = item;
    forged.salt = span_str("t");
    assert_int_equal(kad_verified_item(&seen, &forged), CAM_EAUTH);
    forged = item;
    forged.sig[63] ^= 1;
    assert_int_equal(kad_verified_item(&seen, &forged), CAM_EAUTH);
    assert_int_equal(seen.misses, 6); /* a bad one is found bad each time */
    assert_int_equal(seen.hits, 4);
    assert_int_equal(kad_verified_item(&seen, &item), 0);
    assert_int_equal(seen.hits, 5);

    seen.max = 64; /* bounded, and growing loses nothing that has a place */
    for (int64_t seq = 2; seq < 300; seq++) {
        item.seq = seq;
        assert_int_equal(kad_item_sign(&item, id), 0);
        assert_int_equal(kad_verified_item(&seen, &item), 0);
        assert_int_equal(kad_verified_item(&seen, &item), 0);
        assert_true(seen.cap <= 64);
    }
    assert_int_equal(seen.hits, 5 + 298);
    assert_int_equal(kad_verified_item(NULL, &item), 0);
    kad_verified_clear(&seen);
    identity_free(id);
}

/* Growing moves what was remembered; a place that was empty may not wipe one that was not. */
static void test_verified_survives_growth(void **state)
{
    (void)state;
    struct identity *id = identity(4);
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 2);
    struct kad_verified seen;
    kad_verified_init(&seen, &rng);
    struct kad_item items[200];
    for (int i = 0; i < 200; i++) {
        items[i] = (struct kad_item){.is_mutable = true, .seq = i, .v = span_str("i1e")};
        assert_int_equal(kad_item_sign(&items[i], id), 0);
        assert_int_equal(kad_verified_item(&seen, &items[i]), 0);
    }
    uint64_t before = seen.misses;
    for (int i = 0; i < 200; i++)
        assert_int_equal(kad_verified_item(&seen, &items[i]), 0);
    assert_in_range(seen.misses - before, 0,
                    50); /* most are still there; had growth lost them, it were 200 */
    kad_verified_clear(&seen);
    identity_free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bep44_mutable),
        cmocka_unit_test(test_bep44_immutable),
        cmocka_unit_test(test_sign_and_every_bit),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_expiry_of_values),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_errors_are_named),
        cmocka_unit_test(test_verified_remembers_only_the_good),
        cmocka_unit_test(test_verified_survives_growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
