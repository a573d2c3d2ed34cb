/* The vectors of docs/protocol.md about identities and key files, made again and read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "core/keyfile.h"
#include "tests/unit/vectors.h"

static struct identity *ana(void)
{
    static const uint8_t seed[KEY_SIZE] = { 1 };
    struct identity *id = identity_from_seed(seed);
    assert_non_null(id);
    return id;
}

static bool page_says(const char *text)
{
    char line[512];
    bool found = false;
    FILE *f = fopen(VECTORS_PAGE, "r");
    assert_non_null(f);
    while (!found && fgets(line, sizeof line, f))
        found = strstr(line, text) != NULL;
    fclose(f);
    if (!found)
        print_message("%s does not say %s\n", VECTORS_PAGE, text);
    return found;
}

static void test_identity(void **state)
{
    (void)state;
    struct identity *id = ana();
    char text[USER_ID_SIZE], tag[TAG_SIZE], who[WHO_SIZE];
    user_id_text(id->pk, text);
    user_tag(id->pk, tag);
    snprintf(who, sizeof who, "`ana#%s`", tag);
    assert_true(vector_matches("item-pk", id->pk, KEY_SIZE));
    assert_true(page_says(text));
    assert_true(page_says(who));
    identity_free(id);
}

static void test_key_file(void **state)
{
    (void)state;
    struct identity *id = ana(), *opened = NULL;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 1);
    uint8_t file[KEYFILE_SIZE], page[KEYFILE_SIZE];
    size_t size;
    assert_int_equal(keyfile_seal(id, "ana", 5, span_str("correct horse"), KEYFILE_INTERACTIVE, &rng, file,
                                  sizeof file, &size), 0);
    assert_true(vector_matches("key-file", file, size));
    assert_int_equal(vector_read("key-file", page, sizeof page), sizeof page);
    assert_int_equal(keyfile_open(page, sizeof page, span_str("correct horse"), &opened), 0);
    assert_memory_equal(opened->pk, id->pk, KEY_SIZE);
    assert_memory_equal(opened->sk, id->sk, SECRET_SIZE);
    identity_free(opened);
    identity_free(id);
}

static void test_transport_file(void **state)
{
    (void)state;
    struct transport t = { .instance = 7 }, got;
    uint8_t file[KEYFILE_TRANSPORT_SIZE], page[KEYFILE_TRANSPORT_SIZE];
    t.sk[0] = 1;
    crypto_scalarmult_base(t.pk, t.sk);
    keyfile_transport_encode(&t, file);
    assert_true(vector_matches("transport-file", file, sizeof file));
    assert_int_equal(vector_read("transport-file", page, sizeof page), sizeof page);
    assert_int_equal(keyfile_transport_decode(page, sizeof page, &got), 0);
    assert_int_equal(got.instance, 7);
    assert_memory_equal(got.pk, t.pk, KEY_SIZE);
    assert_memory_equal(got.sk, t.sk, KEY_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_key_file),
        cmocka_unit_test(test_transport_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
