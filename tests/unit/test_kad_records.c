/* The vectors of docs/protocol.md about items and signed sets, made again from their keys and values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kad/store.h"
#include "tests/unit/vectors.h"

static struct identity *ana(void)
{
    static const uint8_t seed[KEY_SIZE] = {1};
    struct identity *id = identity_from_seed(seed);
    assert_non_null(id);
    return id;
}

static void test_items(void **state)
{
    (void)state;
    struct identity *id = ana();
    struct kad_item item = {.is_mutable = true,
                            .salt = span_str("public"),
                            .seq = 7,
                            .v = span_str("d3:expi1785600000e4:name3:anae")};
    uint8_t buf[KAD_ITEM_SIGNED_MAX], target[KAD_ID_SIZE];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    assert_int_equal(kad_item_sign(&item, id), 0);
    kad_item_signed_bytes(&item, &out);
    kad_item_target(&item, target);
    assert_true(vector_matches("item-pk", item.pk, KEY_SIZE));
    assert_true(vector_matches("item-v", item.v.data, item.v.size));
    assert_true(vector_matches("item-signed", buf, out.size));
    assert_true(vector_matches("item-sig", item.sig, SIG_SIZE));
    assert_true(vector_matches("item-target", target, KAD_ID_SIZE));

    struct kad_item immutable = {.v = span_str("12:Hello World!")};
    kad_item_target(&immutable, target);
    assert_true(vector_matches("immutable-target", target, KAD_ID_SIZE));
    identity_free(id);
}

static void test_sets(void **state)
{
    (void)state;
    struct identity *id = ana();
    uint8_t root[KAD_ID_SIZE], buf[KAD_DATAGRAM_MAX], slot[KAD_SLOT_SIZE], target[KAD_ID_SIZE];
    uint8_t digest[KAD_ID_SIZE] = {0};
    struct bytes_out out = bytes_out(buf, sizeof buf);
    struct kad_entry entry = {
        .seq = 7, .v = span_str("d3:expi1785600000e4:name3:anae"), .age_s = 60, .since_s = 86400};
    assert_int_equal(vector_read("root", root, sizeof root), KAD_ID_SIZE);
    kad_slot(id->pk, slot);
    assert_true(vector_matches("slot", slot, KAD_SLOT_SIZE));
    assert_int_equal(kad_entry_sign(&entry, root, id), 0);
    kad_entry_signed_bytes(&entry, root, &out);
    assert_true(vector_matches("entry-signed", buf, out.size));
    assert_true(vector_matches("entry-sig", entry.sig, SIG_SIZE));
    out = bytes_out(buf, sizeof buf);
    kad_entry_put(&out, &entry);
    assert_true(vector_matches("entry-wire", buf, out.size));
    kad_entry_digest(&entry, digest);
    assert_true(vector_matches("digest-of-one", digest, KAD_ID_SIZE));

    static const char *const names[] = {"shard-0", "shard-1", "shard-6"};
    static const uint8_t depths[] = {0, 1, 6};
    for (size_t i = 0; i < 3; i++) {
        struct kad_shard_id at;
        kad_shard_of(&at, root, depths[i], slot);
        kad_shard_target(&at, target);
        assert_true(vector_matches(names[i], target, KAD_ID_SIZE));
    }
    identity_free(id);
}

/* The signatures of the page hold for whoever reads it, too. */
static void test_the_page_verifies(void **state)
{
    (void)state;
    uint8_t v[KAD_VALUE_MAX], root[KAD_ID_SIZE];
    struct kad_item item = {.is_mutable = true, .salt = span_str("public"), .seq = 7};
    assert_int_equal(vector_read("item-pk", item.pk, KEY_SIZE), KEY_SIZE);
    assert_int_equal(vector_read("item-sig", item.sig, SIG_SIZE), SIG_SIZE);
    item.v = span(v, vector_read("item-v", v, sizeof v));
    assert_int_equal(kad_item_verify(&item), 0);

    uint8_t wire[KAD_DATAGRAM_MAX];
    struct ben list;
    struct kad_entry entry;
    assert_int_equal(ben_parse(wire, vector_read("entry-wire", wire, sizeof wire), &list), 0);
    assert_int_equal(kad_entry_get(list, &entry), 0);
    assert_int_equal(vector_read("root", root, sizeof root), KAD_ID_SIZE);
    assert_int_equal(kad_entry_verify(&entry, root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_the_page_verifies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
