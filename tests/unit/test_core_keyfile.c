/* The sealed key file and the transport key file: what opens them, and that nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <zmq.h>

#include "core/err.h"
#include "core/hash.h"
#include "core/keyfile.h"

static struct rng_seeded seeded;
static struct rng rng;
static struct identity *ana;
static uint8_t sealed[KEYFILE_SIZE];
static const char passphrase[] = "correct horse";

/* One sealing for most tests: the key derivation is slow on purpose. */
static int setup(void **state)
{
    (void)state;
    rng = rng_seeded(&seeded, 11);
    ana = identity_new(&rng);
    size_t size = 0;
    return !ana || keyfile_seal(ana, "ana", 5, span_str(passphrase), KEYFILE_INTERACTIVE, &rng, sealed,
                                sizeof sealed, &size) || size != KEYFILE_SIZE;
}

static int teardown(void **state)
{
    (void)state;
    identity_free(ana);
    return 0;
}

static void fix_checksum(uint8_t *file, size_t size) { put_be32(file + size - 4, hash_crc32c(file, size - 4)); }

static void opens_with_its_passphrase(void **state)
{
    (void)state;
    struct identity *id = NULL;
    assert_int_equal(keyfile_open(sealed, sizeof sealed, span_str(passphrase), &id), 0);
    assert_memory_equal(id->pk, ana->pk, KEY_SIZE);
    assert_memory_equal(id->sk, ana->sk, SECRET_SIZE);
    identity_free(id);
}

static void and_with_no_other(void **state)
{
    (void)state;
    static const char *const wrong[] = { "", "correct hors", "correct horse ", "Correct horse" };
    struct identity *id = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(keyfile_open(sealed, sizeof sealed, span_str(wrong[i]), &id), CAM_EPASS);
    static const uint8_t huge[KEYFILE_PASSPHRASE_MAX + 1];
    assert_int_equal(keyfile_open(sealed, sizeof sealed, span(huge, sizeof huge), &id), CAM_EPASS);
    assert_null(id);
}

static void tells_whose_it_is(void **state)
{
    (void)state;
    char name[NAME_SIZE];
    uint8_t pk[KEY_SIZE];
    uint16_t device = 0;
    assert_int_equal(keyfile_peek(sealed, sizeof sealed, name, pk, &device), 0);
    assert_string_equal(name, "ana");
    assert_memory_equal(pk, ana->pk, KEY_SIZE);
    assert_int_equal(device, 5);
    assert_int_equal(keyfile_peek(sealed, sizeof sealed, NULL, NULL, NULL), 0);
}

static void keeps_the_secret(void **state)
{
    (void)state;
    for (size_t at = 0; at + 8 <= sizeof sealed; at++)
        for (size_t from = 0; from + 8 <= KEY_SIZE; from++)
            assert_memory_not_equal(sealed + at, ana->sk + from, 8);
}

/* Same key, same passphrase, another salt and nonce: nothing of one file shows in the next. */
static void two_sealings_differ(void **state)
{
    (void)state;
    uint8_t again[KEYFILE_SIZE];
    size_t size;
    assert_int_equal(keyfile_seal(ana, "ana", 5, span_str(passphrase), KEYFILE_INTERACTIVE, &rng, again,
                                  sizeof again, &size), 0);
    assert_memory_not_equal(again + 28, sealed + 28, 16);   /* salt */
    assert_memory_not_equal(again + 44, sealed + 44, 24);   /* nonce */
    assert_memory_not_equal(again + 136, sealed + 136, 32); /* ciphertext */
    assert_memory_equal(again, sealed, 28);
}

static void moderate_cost_and_extremes(void **state)
{
    (void)state;
    static const char long_name[] = "abcdefghijklmnopqrstuvwxyz012345";
    uint8_t file[KEYFILE_SIZE];
    size_t size;
    char name[NAME_SIZE];
    uint16_t device;
    struct identity *id = NULL;
    assert_int_equal(keyfile_seal(ana, long_name, KEYFILE_DEVICE_MAX, span(NULL, 0), KEYFILE_MODERATE, &rng, file,
                                  sizeof file, &size), 0);
    assert_int_equal(be64(file + 12), 3);
    assert_int_equal(be64(file + 20), 256 << 20);
    assert_int_equal(keyfile_peek(file, size, name, NULL, &device), 0);
    assert_string_equal(name, long_name);
    assert_int_equal(device, KEYFILE_DEVICE_MAX);
    assert_int_equal(keyfile_open(file, size, span(NULL, 0), &id), 0);
    assert_memory_equal(id->sk, ana->sk, SECRET_SIZE);
    identity_free(id);
}

static void refuses_to_seal(void **state)
{
    (void)state;
    static const uint8_t huge[KEYFILE_PASSPHRASE_MAX + 1];
    static const char *const names[] = { "", "Ana", "../ana", "abcdefghijklmnopqrstuvwxyz0123456" };
    uint8_t file[KEYFILE_SIZE] = { 7 };
    size_t size = 99;
    struct span pass = span_str(passphrase);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(keyfile_seal(ana, names[i], 0, pass, KEYFILE_INTERACTIVE, &rng, file, sizeof file, &size),
                         CAM_EINVAL);
    assert_int_equal(keyfile_seal(ana, "ana", KEYFILE_DEVICE_MAX + 1, pass, KEYFILE_INTERACTIVE, &rng, file,
                                  sizeof file, &size), CAM_EINVAL);
    assert_int_equal(keyfile_seal(ana, "ana", 0, span(huge, sizeof huge), KEYFILE_INTERACTIVE, &rng, file,
                                  sizeof file, &size), CAM_ETOOBIG);
    assert_int_equal(keyfile_seal(ana, "ana", 0, pass, KEYFILE_INTERACTIVE, &rng, file, sizeof file - 1, &size),
                     CAM_ENOSPC);
    assert_int_equal(size, 99);
    assert_int_equal(file[0], 7);
}

/* Damage by accident, anywhere, is called damage: not a wrong passphrase, and without deriving a key. */
static void any_flipped_bit_is_damage(void **state)
{
    (void)state;
    uint8_t file[KEYFILE_SIZE];
    struct identity *id = NULL;
    memcpy(file, sealed, sizeof file);
    for (size_t bit = 0; bit < sizeof file * 8; bit++) {
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(keyfile_peek(file, sizeof file, NULL, NULL, NULL), CAM_EFORMAT);
        assert_int_equal(keyfile_open(file, sizeof file, span_str(passphrase), &id), CAM_EFORMAT);
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_null(id);
}

static void any_other_length_is_damage(void **state)
{
    (void)state;
    uint8_t file[KEYFILE_SIZE + 8] = { 0 };
    struct identity *id = NULL;
    memcpy(file, sealed, sizeof sealed);
    for (size_t size = 0; size <= sizeof file; size++)
        if (size != KEYFILE_SIZE)
            assert_int_equal(keyfile_open(file, size, span_str(passphrase), &id), CAM_EFORMAT);
    for (size_t size = 5; size < KEYFILE_SIZE; size++) { /* not even with a checksum that fits */
        memcpy(file, sealed, sizeof sealed);
        fix_checksum(file, size);
        assert_int_equal(keyfile_open(file, size, span_str(passphrase), &id), CAM_EFORMAT);
    }
    assert_int_equal(keyfile_open(NULL, 0, span_str(passphrase), &id), CAM_EFORMAT);
    assert_null(id);
}

/* Altered on purpose, checksum and all: the header is authenticated with the secret. */
static void a_forged_header_does_not_open(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
    } edits[] = {
        { 11, 6 },   /* another device */
        { 19, 3 },   /* another count of passes */
        { 28, 0 },   /* salt */
        { 44, 0 },   /* nonce */
        { 68, 0 },   /* public key */
        { 101, 'e' }, /* another name */
        { 136, 0 },  /* ciphertext */
        { 183, 0 },  /* tag */
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        uint8_t file[KEYFILE_SIZE];
        struct identity *id = NULL;
        memcpy(file, sealed, sizeof file);
        file[edits[i].at] = (uint8_t)(file[edits[i].at] == edits[i].value ? 1 : edits[i].value);
        fix_checksum(file, sizeof file);
        assert_int_equal(keyfile_peek(file, sizeof file, NULL, NULL, NULL), 0);
        assert_int_equal(keyfile_open(file, sizeof file, span_str(passphrase), &id), CAM_EPASS);
        assert_null(id);
    }
}

/* The passphrase is right and the seal is whole, but the secret is not that of the key on the label. */
static void a_label_of_another_key_is_damage(void **state)
{
    (void)state;
    uint8_t file[KEYFILE_SIZE];
    size_t size;
    struct identity mixed = *ana, *id = NULL;
    mixed.pk[0] ^= 1;
    assert_int_equal(keyfile_seal(&mixed, "ana", 0, span_str(passphrase), KEYFILE_INTERACTIVE, &rng, file,
                                  sizeof file, &size), 0);
    assert_int_equal(keyfile_open(file, size, span_str(passphrase), &id), CAM_EFORMAT);
    assert_null(id);
}

static void nonsense_is_refused_before_any_work(void **state)
{
    (void)state;
    static const struct {
        size_t at, size;
        uint64_t value;
    } edits[] = {
        { 0, 1, 'c' },                   /* magic */
        { 8, 1, 0 }, { 8, 1, 2 },        /* version */
        { 9, 1, 1 },                     /* another derivation */
        { 10, 2, 1024 },                 /* device */
        { 12, 8, 0 }, { 12, 8, KEYFILE_OPS_MAX + 1 }, { 12, 8, UINT64_MAX },
        { 20, 8, 0 }, { 20, 8, 8191 }, { 20, 8, KEYFILE_MEM_MAX + 1ull }, { 20, 8, UINT64_MAX },
        { 100, 1, 0 }, { 100, 1, 2 }, { 100, 1, 4 }, { 100, 1, 33 }, { 100, 1, 255 }, /* bytes of the name */
        { 101, 1, '/' }, { 102, 1, 0 }, { 132, 1, 'x' }, /* name and its padding */
        { 133, 1, 1 }, { 135, 1, 1 },                    /* reserved */
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        uint8_t file[KEYFILE_SIZE], value[8];
        struct identity *id = NULL;
        memcpy(file, sealed, sizeof file);
        put_be64(value, edits[i].value);
        memcpy(file + edits[i].at, value + 8 - edits[i].size, edits[i].size);
        fix_checksum(file, sizeof file);
        assert_int_equal(keyfile_peek(file, sizeof file, NULL, NULL, NULL), CAM_EFORMAT);
        assert_int_equal(keyfile_open(file, sizeof file, span_str(passphrase), &id), CAM_EFORMAT);
        assert_null(id);
    }
}

/* ZeroMQ's own derivation of a CURVE public key is the judge. */
static void transport_keys_are_curve_keys(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct transport t;
        transport_new(&rng, &t);
        char secret_text[41], public_text[41], derived_text[41];
        assert_non_null(zmq_z85_encode(secret_text, t.sk, sizeof t.sk));
        assert_non_null(zmq_z85_encode(public_text, t.pk, sizeof t.pk));
        assert_int_equal(zmq_curve_public(derived_text, secret_text), 0);
        assert_string_equal(public_text, derived_text);
    }
}

static void transport_round_trip(void **state)
{
    (void)state;
    struct transport t, other, back;
    uint8_t file[KEYFILE_TRANSPORT_SIZE + 4] = { 0 };
    transport_new(&rng, &t);
    transport_new(&rng, &other);
    assert_memory_not_equal(t.sk, other.sk, KEY_SIZE);
    assert_true(t.instance != other.instance);
    keyfile_transport_encode(&t, file);
    assert_int_equal(keyfile_transport_decode(file, KEYFILE_TRANSPORT_SIZE, &back), 0);
    assert_memory_equal(back.pk, t.pk, KEY_SIZE);
    assert_memory_equal(back.sk, t.sk, KEY_SIZE);
    assert_true(back.instance == t.instance);

    for (size_t size = 0; size <= sizeof file; size++)
        if (size != KEYFILE_TRANSPORT_SIZE)
            assert_int_equal(keyfile_transport_decode(file, size, &back), CAM_EFORMAT);
    for (size_t bit = 0; bit < KEYFILE_TRANSPORT_SIZE * 8; bit++) {
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(keyfile_transport_decode(file, KEYFILE_TRANSPORT_SIZE, &back), CAM_EFORMAT);
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t at = 0; at < 48; at++) { /* magic, version, reserved, a public key of another secret */
        file[at] ^= 1;
        fix_checksum(file, KEYFILE_TRANSPORT_SIZE);
        assert_int_equal(keyfile_transport_decode(file, KEYFILE_TRANSPORT_SIZE, &back), CAM_EFORMAT);
        file[at] ^= 1;
    }
    assert_memory_equal(back.sk, t.sk, KEY_SIZE); /* untouched by what was refused */
    assert_int_equal(keyfile_open(file, KEYFILE_TRANSPORT_SIZE, span_str(passphrase), &ana), CAM_EFORMAT);
    assert_int_equal(keyfile_transport_decode(sealed, sizeof sealed, &back), CAM_EFORMAT);

    transport_clear(&t);
    for (size_t i = 0; i < KEY_SIZE; i++)
        assert_int_equal(t.sk[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_with_its_passphrase),
        cmocka_unit_test(and_with_no_other),
        cmocka_unit_test(tells_whose_it_is),
        cmocka_unit_test(keeps_the_secret),
        cmocka_unit_test(two_sealings_differ),
        cmocka_unit_test(moderate_cost_and_extremes),
        cmocka_unit_test(refuses_to_seal),
        cmocka_unit_test(any_flipped_bit_is_damage),
        cmocka_unit_test(any_other_length_is_damage),
        cmocka_unit_test(a_forged_header_does_not_open),
        cmocka_unit_test(a_label_of_another_key_is_damage),
        cmocka_unit_test(nonsense_is_refused_before_any_work),
        cmocka_unit_test(transport_keys_are_curve_keys),
        cmocka_unit_test(transport_round_trip),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
