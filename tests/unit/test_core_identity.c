/* Keys, signatures (RFC 8032 section 7.1), ids and tags, names, and what a person may type for somebody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "core/err.h"
#include "core/identity.h"

/* RFC 8032, 7.1, test 2. */
static const char seed_hex[] = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
static const char pk_hex[] = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
static const char sig_hex[] = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                              "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

static void rfc_8032(void **state)
{
    (void)state;
    uint8_t seed[KEY_SIZE], pk[KEY_SIZE], want[SIG_SIZE], sig[SIG_SIZE];
    assert_int_equal(hex_decode(seed, sizeof seed, seed_hex), 0);
    assert_int_equal(hex_decode(pk, sizeof pk, pk_hex), 0);
    assert_int_equal(hex_decode(want, sizeof want, sig_hex), 0);
    struct identity *id = identity_from_seed(seed);
    assert_non_null(id);
    assert_memory_equal(id->pk, pk, sizeof pk);
    identity_sign(id, "\x72", 1, sig);
    assert_memory_equal(sig, want, sizeof want);
    assert_int_equal(identity_verify(pk, "\x72", 1, sig), 0);
    identity_free(id);
}

static void any_bit_breaks_a_signature(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 3);
    struct identity *id = identity_new(&rng), *other = identity_new(&rng);
    assert_non_null(id);
    assert_non_null(other);
    assert_memory_not_equal(id->pk, other->pk, KEY_SIZE);

    char msg[] = "camellia";
    uint8_t sig[SIG_SIZE], pk[KEY_SIZE];
    memcpy(pk, id->pk, sizeof pk);
    identity_sign(id, msg, 8, sig);
    assert_int_equal(identity_verify(pk, msg, 8, sig), 0);
    assert_int_equal(identity_verify(other->pk, msg, 8, sig), CAM_EAUTH);
    assert_int_equal(identity_verify(pk, msg, 7, sig), CAM_EAUTH);
    for (size_t bit = 0; bit < SIG_SIZE * 8; bit++) {
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(identity_verify(pk, msg, 8, sig), CAM_EAUTH);
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < KEY_SIZE * 8; bit++) {
        pk[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(identity_verify(pk, msg, 8, sig), CAM_EAUTH);
        pk[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * 8; bit++) {
        msg[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(identity_verify(pk, msg, 8, sig), CAM_EAUTH);
        msg[bit / 8] ^= (char)(1 << bit % 8);
    }
    identity_free(id);
    identity_free(other);
    identity_free(NULL);
}

/* A key of small order would verify anything. */
static void weak_keys_are_refused(void **state)
{
    (void)state;
    uint8_t sig[SIG_SIZE] = { [0] = 1 };
    uint8_t pk[KEY_SIZE] = { [0] = 1 };
    assert_int_equal(identity_verify(pk, "x", 1, sig), CAM_EAUTH);
    memset(pk, 0, sizeof pk);
    assert_int_equal(identity_verify(pk, "x", 1, sig), CAM_EAUTH);
}

static void ids(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 4);
    for (int i = 0; i < 200; i++) {
        uint8_t pk[KEY_SIZE], back[KEY_SIZE];
        char text[USER_ID_SIZE], tag[TAG_SIZE];
        rng_fill(&rng, pk, sizeof pk);
        user_id_text(pk, text);
        assert_int_equal(strlen(text), 52);
        assert_int_equal(user_id_parse(text, back), 0);
        assert_memory_equal(back, pk, sizeof pk);
        user_tag(pk, tag);
        assert_int_equal(strlen(tag), 8);
        assert_memory_equal(tag, text, 8);
    }
    uint8_t zero[KEY_SIZE] = { 0 }, kept[KEY_SIZE] = { 7 };
    char text[USER_ID_SIZE + 1] = { 0 };
    user_id_text(zero, text);
    for (size_t size = 0; size < 52; size++) {
        char cut[USER_ID_SIZE] = { 0 };
        memcpy(cut, text, size);
        assert_int_equal(user_id_parse(cut, kept), CAM_EINVAL);
    }
    text[52] = 'a'; /* one too many */
    assert_int_equal(user_id_parse(text, kept), CAM_EINVAL);
    text[52] = '\0';
    text[51] = 'b'; /* a second spelling of the same key */
    assert_int_equal(user_id_parse(text, kept), CAM_EINVAL);
    text[51] = '1';
    assert_int_equal(user_id_parse(text, kept), CAM_EINVAL);
    assert_int_equal(kept[0], 7);
}

static void names(void **state)
{
    (void)state;
    static const char *const good[] = { "a", "ana", "a-b_c9", "abcdefghijklmnopqrstuvwxyz012345" };
    static const char *const bad[] = {
        "",    "9ana", "-ana", "_ana", "Ana",       "aNa",  "a b",  "a.b",    "a/b",
        "a\n", "ana#", "ñu",   "../a", "a\x1b[31m", "a\\b", "a%00", "\xff",   "abcdefghijklmnopqrstuvwxyz0123456",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(name_check(good[i], strlen(good[i])), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(name_check(bad[i], strlen(bad[i])), CAM_EINVAL);
    assert_int_equal(name_check("a\0b", 3), CAM_EINVAL);
    assert_int_equal(name_check("a\0", 2), CAM_EINVAL);
    assert_int_equal(name_check(NULL, 0), CAM_EINVAL);
    for (int c = 0; c < 256; c++) {
        char name[2] = { 'a', (char)c };
        bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        assert_int_equal(name_check(name, 2), allowed ? 0 : CAM_EINVAL);
    }
}

static void users_as_text(void **state)
{
    (void)state;
    uint8_t pk[KEY_SIZE] = { 0 };
    char text[WHO_SIZE], id[USER_ID_SIZE];
    user_id_text(pk, id);
    user_text("ana", pk, text);
    assert_string_equal(text, "ana#aaaaaaaa");
    user_text("abcdefghijklmnopqrstuvwxyz012345", pk, text);
    assert_string_equal(text, "abcdefghijklmnopqrstuvwxyz012345#aaaaaaaa");
    static const char *const nameless[] = { NULL, "", "\x1b[31m", "abcdefghijklmnopqrstuvwxyz0123456" };
    for (size_t i = 0; i < sizeof nameless / sizeof nameless[0]; i++) {
        user_text(nameless[i], pk, text);
        assert_string_equal(text, id);
    }
}

static void who(void **state)
{
    (void)state;
    struct who w;
    assert_int_equal(who_parse("ana", &w), 0);
    assert_string_equal(w.name, "ana");
    assert_string_equal(w.tag, "");
    assert_false(w.has_pk);
    assert_int_equal(who_parse("ana#K7Q4M2XZ", &w), 0);
    assert_string_equal(w.name, "ana");
    assert_string_equal(w.tag, "k7q4m2xz");
    assert_false(w.has_pk);
    assert_int_equal(who_parse("abcdefghijklmnopqrstuvwxyz012345#k7q4m2xz", &w), 0);
    assert_string_equal(w.tag, "k7q4m2xz");

    uint8_t pk[KEY_SIZE];
    memset(pk, 0x5a, sizeof pk);
    char id[USER_ID_SIZE], text[WHO_SIZE];
    user_id_text(pk, id);
    assert_int_equal(who_parse(id, &w), 0);
    assert_true(w.has_pk);
    assert_memory_equal(w.pk, pk, sizeof pk);
    assert_string_equal(w.name, "");
    user_text("ana", pk, text); /* what we print is what we read */
    assert_int_equal(who_parse(text, &w), 0);
    assert_memory_equal(w.tag, id, 8);

    static const char *const bad[] = {
        "", "#", "#k7q4m2xz", "ana#", "ana#k7q4m2x", "ana#k7q4m2xzz", "ana#k7q4m2x1", "ana#k7q4m2xz#", "Ana",
        "ana b", "@ana", "ana\n", "ana#k7q4\nxz",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    memset(&w, 7, sizeof w);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(who_parse(bad[i], &w), CAM_EINVAL);
    assert_int_equal(w.name[0], 7); /* untouched by what was refused */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_8032),
        cmocka_unit_test(any_bit_breaks_a_signature),
        cmocka_unit_test(weak_keys_are_refused),
        cmocka_unit_test(ids),
        cmocka_unit_test(names),
        cmocka_unit_test(users_as_text),
        cmocka_unit_test(who),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
