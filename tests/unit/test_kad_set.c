/* Signed sets: where entries lie, what is signed, what travels. */
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
#include "kad/set.h"
#include "kad/verified.h"

static const uint8_t root[KAD_ID_SIZE] = "a root of 20 bytes!!";

static struct identity *identity(uint8_t n)
{
    uint8_t seed[KEY_SIZE] = {n, 9};
    struct identity *id = identity_from_seed(seed);
    assert_non_null(id);
    return id;
}

static void test_shards(void **state)
{
    (void)state;
    uint8_t slot[KAD_SLOT_SIZE] = {0x0a, 0xbc, 0xde, 0xf1}, target[KAD_ID_SIZE], expected[KAD_ID_SIZE];
    static const char *const prefixes[] = {"", "0", "0a", "0ab", "0abc", "0abcd", "0abcde"};
    for (uint8_t depth = 0; depth <= KAD_SHARD_DEPTH_MAX; depth++) {
        struct kad_shard_id at, parsed, up, down;
        kad_shard_of(&at, root, depth, slot);
        assert_string_equal(at.prefix, prefixes[depth]);
        assert_true(kad_shard_contains(&at, slot));
        assert_int_equal(kad_shard_parse(&parsed, root, depth, span_str(prefixes[depth])), 0);
        assert_true(kad_shard_id_equal(&at, &parsed));

        kad_shard_target(&at, target);
        if (depth == 0)
            memcpy(expected, root, KAD_ID_SIZE);
        else
            hash_sha1_2(expected, span(root, KAD_ID_SIZE), span_str(prefixes[depth]));
        assert_memory_equal(target, expected, KAD_ID_SIZE);

        if (depth > 0) {
            kad_shard_parent(&up, &at);
            assert_string_equal(up.prefix, prefixes[depth - 1]);
            assert_false(kad_shard_id_equal(&up, &at));
            kad_shard_child(&down, &up,
                            strchr("0123456789abcdef", at.prefix[depth - 1]) - "0123456789abcdef" + 0u);
            assert_true(kad_shard_id_equal(&down, &at));
            for (unsigned digit = 0; digit < 16; digit++) { /* exactly one child has the slot */
                kad_shard_child(&down, &up, digit);
                assert_int_equal(kad_shard_contains(&down, slot), kad_shard_id_equal(&down, &at));
            }
        }
    }
}

static void test_shard_parse_hostile(void **state)
{
    (void)state;
    struct kad_shard_id at;
    static const struct {
        int64_t depth;
        const char *prefix;
    } bad[] = {{-1, ""}, {7, "0123456"}, {INT64_MAX, ""}, {INT64_MIN, ""}, {0, "0"},   {1, ""},    {1, "A"},
               {1, "g"}, {2, "0"},       {2, "0 "},       {2, "012"},      {3, "0/0"}, {1, "\xff"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kad_shard_parse(&at, root, bad[i].depth, span_str(bad[i].prefix)), CAM_EFORMAT);
    assert_int_equal(kad_shard_parse(&at, root, 1, span("", 1)), CAM_EFORMAT); /* a zero byte is no digit */
    assert_int_equal(kad_shard_parse(&at, root, 0, span(NULL, 0)), 0);
}

static void test_signature_is_for_root_and_value(void **state)
{
    (void)state;
    struct identity *id = identity(1);
    struct kad_entry entry = {.seq = 5, .v = span_str("d3:expi2000000000ee")};
    assert_int_equal(kad_entry_sign(&entry, root, id), 0);
    assert_int_equal(kad_entry_verify(&entry, root), 0);

    uint8_t buf[KAD_ENTRY_SIGNED_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    kad_entry_signed_bytes(&entry, root, &out);
    assert_true(span_equal(span(buf, out.size),
                           span_str("4:root20:a root of 20 bytes!!3:seqi5e1:vd3:expi2000000000ee")));

    uint8_t other[KAD_ID_SIZE];
    for (size_t bit = 0; bit < 8 * KAD_ID_SIZE; bit++) {
        memcpy(other, root, KAD_ID_SIZE);
        other[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(kad_entry_verify(&entry, other), CAM_EAUTH);
    }
    entry.seq = 6;
    assert_int_equal(kad_entry_verify(&entry, root), CAM_EAUTH);
    entry.seq = 5;
    entry.v = span_str("d3:expi2000000001ee");
    assert_int_equal(kad_entry_verify(&entry, root), CAM_EAUTH);
    entry.v = span_str("d3:expi2000000000ee");
    entry.age_s = entry.since_s = 77; /* what holders say of it is not signed */
    assert_int_equal(kad_entry_verify(&entry, root), 0);

    /* The bytes of an item may not pass as those of an entry: the signed prefixes differ. */
    struct kad_item item = {.is_mutable = true, .salt = span(root, KAD_ID_SIZE), .seq = 5, .v = entry.v};
    memcpy(item.pk, entry.pk, KEY_SIZE);
    memcpy(item.sig, entry.sig, SIG_SIZE);
    assert_int_equal(kad_item_verify(&item), CAM_EAUTH);
    identity_free(id);
}

static void test_limits(void **state)
{
    (void)state;
    struct identity *id = identity(2);
    uint8_t buf[KAD_SET_VALUE_MAX + 1];
    struct kad_entry entry = {.seq = INT64_MAX};
    for (size_t size = KAD_SET_VALUE_MAX; size <= KAD_SET_VALUE_MAX + 1; size++) {
        memset(buf, 'x', sizeof buf); /* d1:a<n>:...e */
        char head[12];
        snprintf(head, sizeof head, "d1:a%zu:", size - 9);
        memcpy(buf, head, 8);
        buf[size - 1] = 'e';
        entry.v = span(buf, size);
        assert_int_equal(kad_entry_check(&entry), size <= KAD_SET_VALUE_MAX ? 0 : KAD_ERROR_TOOBIG);
        assert_int_equal(kad_entry_sign(&entry, root, id), size <= KAD_SET_VALUE_MAX ? 0 : CAM_ETOOBIG);
    }
    static const char *const bad[] = {"", "i1e", "le", "1:x", "d", "dee", "d1:bi1e1:ai1ee"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        entry.v = span_str(bad[i]);
        assert_int_equal(kad_entry_check(&entry), KAD_ERROR_PROTOCOL);
        assert_int_equal(kad_entry_verify(&entry, root), CAM_EFORMAT);
    }
    entry.v = span_str("de");
    entry.seq = -1;
    assert_int_equal(kad_entry_check(&entry), KAD_ERROR_PROTOCOL);
    identity_free(id);
}

static void test_tombstones(void **state)
{
    (void)state;
    static const struct {
        const char *v;
        bool dead;
    } cases[] = {{"d3:deli1ee", true},      {"d3:deli1e3:expi9ee", true}, {"d3:deli0ee", false},
                 {"d3:deli2ee", false},     {"d3:del1:1e", false},        {"de", false},
                 {"d1:ad3:deli1eee", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kad_entry entry = {.v = span_str(cases[i].v)};
        assert_int_equal(kad_entry_is_tombstone(&entry), cases[i].dead);
    }
}

static void test_wire(void **state)
{
    (void)state;
    struct identity *id = identity(3);
    static const int64_t seqs[] = {0, 9, 10, 99, 100, 1785600000, INT64_MAX};
    static const uint32_t times[] = {0, 9, 10, 12345, 999999999, 1000000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof seqs / sizeof *seqs; i++) {
        struct kad_entry entry = {
            .seq = seqs[i], .v = span_str("d3:expi2000000000ee"), .age_s = times[i], .since_s = times[6 - i]};
        assert_int_equal(kad_entry_sign(&entry, root, id), 0);
        uint8_t buf[KAD_DATAGRAM_MAX];
        struct bytes_out out = bytes_out(buf, sizeof buf);
        kad_entry_put(&out, &entry);
        assert_int_equal(out.err, 0);
        assert_int_equal(out.size, kad_entry_wire_size(&entry));

        struct ben list;
        struct kad_entry back;
        assert_int_equal(ben_parse(buf, out.size, &list), 0);
        assert_int_equal(kad_entry_get(list, &back), 0);
        assert_memory_equal(back.pk, entry.pk, KEY_SIZE);
        assert_memory_equal(back.sig, entry.sig, SIG_SIZE);
        assert_true(back.seq == entry.seq && back.age_s == entry.age_s && back.since_s == entry.since_s);
        assert_true(span_equal(back.v, entry.v));
        for (size_t cut = 0; cut < out.size; cut++)
            assert_int_equal(ben_parse(buf, cut, &list), CAM_EFORMAT);
    }
    identity_free(id);
}

static int get_of(const char *form, const char *v, int64_t seq, int64_t age_s, int64_t since_s,
                  size_t pk_size, size_t sig_size)
{
    uint8_t buf[2048], zero[256] = {0};
    struct bytes_out out = bytes_out(buf, sizeof buf);
    struct ben list;
    struct kad_entry entry;
    ben_put_list(&out);
    for (; *form; form++)
        switch (*form) {
        case 'k':
            ben_put_str(&out, zero, pk_size);
            break;
        case 'q':
            ben_put_int(&out, seq);
            break;
        case 's':
            ben_put_str(&out, zero, sig_size);
            break;
        case 'v':
            bytes_put(&out, v, strlen(v));
            break;
        case 'a':
            ben_put_int(&out, age_s);
            break;
        case 'f':
            ben_put_int(&out, since_s);
            break;
        case '?':
            ben_put_text(&out, "more");
            break;
        default:
            fail();
        }
    ben_put_end(&out);
    assert_int_equal(ben_parse(buf, out.size, &list), 0);
    return kad_entry_get(list, &entry);
}

static void test_wire_hostile(void **state)
{
    (void)state;
    assert_int_equal(get_of("kqsvaf", "de", 1, 0, 0, 32, 64), 0);
    assert_int_equal(get_of("kqsvaf?", "de", 1, 0, 0, 32, 64), 0); /* more than we know is not an error */
    assert_int_equal(get_of("kqsvaf", "de", 1, INT64_MAX, INT64_MAX, 32, 64), 0); /* clamped */
    static const char *const forms[] = {"",       "k",      "kqsva",  "qksvaf", "kqsvfv",
                                        "kksvaf", "kqqvaf", "vqskaf", "kqsv??"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        assert_int_equal(get_of(forms[i], "de", 1, 0, 0, 32, 64), CAM_EFORMAT);
    assert_int_equal(get_of("kqsvaf", "de", 1, 0, 0, 31, 64), CAM_EFORMAT);
    assert_int_equal(get_of("kqsvaf", "de", 1, 0, 0, 33, 64), CAM_EFORMAT);
    assert_int_equal(get_of("kqsvaf", "de", 1, 0, 0, 32, 63), CAM_EFORMAT);
    assert_int_equal(get_of("kqsvaf", "de", -1, 0, 0, 32, 64), CAM_EFORMAT);
    assert_int_equal(get_of("kqsvaf", "de", 1, -1, 0, 32, 64), CAM_EFORMAT);
    assert_int_equal(get_of("kqsvaf", "de", 1, 0, -1, 32, 64), CAM_EFORMAT);
    assert_int_equal(get_of("kqsvaf", "le", 1, 0, 0, 32, 64), CAM_EFORMAT);
    char big[400];
    memset(big, 'x', sizeof big);
    memcpy(big, "d1:a320:", 8);
    memcpy(big + 328, "e", 2);
    assert_int_equal(get_of("kqsvaf", big, 1, 0, 0, 32, 64), CAM_ETOOBIG);
    struct ben dict;
    struct kad_entry entry;
    assert_int_equal(ben_parse("de", 2, &dict), 0);
    assert_int_equal(kad_entry_get(dict, &entry), CAM_EFORMAT);
}

static void test_digest(void **state)
{
    (void)state;
    struct kad_entry entries[3] = {{.pk = {1}, .seq = 1, .v = span_str("de")},
                                   {.pk = {2}, .seq = 1, .v = span_str("d3:deli1ee")},
                                   {.pk = {1}, .seq = 2, .v = span_str("de")}};
    uint8_t ab[KAD_ID_SIZE] = {0}, ba[KAD_ID_SIZE] = {0}, zero[KAD_ID_SIZE] = {0}, one[KAD_ID_SIZE] = {0};
    kad_entry_digest(&entries[0], ab);
    kad_entry_digest(&entries[1], ab);
    kad_entry_digest(&entries[1], ba);
    kad_entry_digest(&entries[0], ba);
    assert_memory_equal(ab, ba, KAD_ID_SIZE);
    kad_entry_digest(&entries[0], one);
    kad_entry_digest(&entries[0], one);
    assert_memory_equal(one, zero, KAD_ID_SIZE);
    kad_entry_digest(&entries[0], one);
    kad_entry_digest(&entries[2], zero);
    assert_memory_not_equal(one, zero, KAD_ID_SIZE); /* another seq is another entry */
}

static void test_verified_entries(void **state)
{
    (void)state;
    struct identity *id = identity(4);
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 3);
    struct kad_verified seen;
    kad_verified_init(&seen, &rng);
    struct kad_entry entry = {.seq = 1, .v = span_str("de")};
    assert_int_equal(kad_entry_sign(&entry, root, id), 0);
    assert_int_equal(kad_verified_entry(&seen, &entry, root), 0);
    assert_int_equal(kad_verified_entry(&seen, &entry, root), 0);
    uint8_t other[KAD_ID_SIZE] = {0};
    assert_int_equal(kad_verified_entry(&seen, &entry, other), CAM_EAUTH);
    assert_int_equal(seen.hits, 1);
    kad_verified_clear(&seen);
    identity_free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards),           cmocka_unit_test(test_shard_parse_hostile),
        cmocka_unit_test(test_limits),           cmocka_unit_test(test_signature_is_for_root_and_value),
        cmocka_unit_test(test_tombstones),       cmocka_unit_test(test_wire),
        cmocka_unit_test(test_wire_hostile),     cmocka_unit_test(test_digest),
        cmocka_unit_test(test_verified_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
