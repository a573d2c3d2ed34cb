/* docs/protocol-kad.md against the code: its vectors are what the code writes and reads, its limits the code's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/err.h"
#include "core/hash.h"
#include "kad/item.h"
#include "kad/node.h"
#include "kad/setwalk.h"
#include "tests/unit/vectors.h"

static uint8_t buf[2000], word[SHA1_SIZE];
static uint8_t item_pk[KEY_SIZE], item_sig[SIG_SIZE], item_v[100], item_target[KAD_ID_SIZE];
static uint8_t entry_sig[SIG_SIZE], entry_wire[300], digest[KAD_ID_SIZE], root[KAD_ID_SIZE];
static const uint8_t zero_slot[KAD_ID_SIZE];
static size_t item_v_size, entry_wire_size;

static const uint8_t *const my_id = (const uint8_t *)"abcdefghij0123456789";
static const uint8_t *const a_target = (const uint8_t *)"mnopqrstuvwxyz123456";
static const uint8_t node4[26] = "mnopqrstuvwxyz123456\x7f\0\0\1\x1f\x40";

static int setup(void **state)
{
    (void)state;
    hash_sha1(word, "camellia", 8);
    assert_int_equal(vector_read("item-pk", item_pk, sizeof item_pk), KEY_SIZE);
    assert_int_equal(vector_read("item-sig", item_sig, sizeof item_sig), SIG_SIZE);
    assert_int_equal(vector_read("item-target", item_target, sizeof item_target), KAD_ID_SIZE);
    assert_int_equal(vector_read("entry-sig", entry_sig, sizeof entry_sig), SIG_SIZE);
    assert_int_equal(vector_read("digest-of-one", digest, sizeof digest), KAD_ID_SIZE);
    assert_int_equal(vector_read("root", root, sizeof root), KAD_ID_SIZE);
    item_v_size = vector_read("item-v", item_v, sizeof item_v);
    entry_wire_size = vector_read("entry-wire", entry_wire, sizeof entry_wire);
    assert_true(item_v_size > 0 && entry_wire_size > 0);
    return 0;
}

/* What the code makes of m is the vector, and what it reads from the vector makes it again. */
static void check_vector(const char *name, struct krpc_msg m)
{
    uint8_t doc[2000], again[2000];
    struct krpc_msg got;
    struct bytes_out out = bytes_out(buf, sizeof buf), out2 = bytes_out(again, sizeof again);
    if (!m.t.data)
        m.t = span("\0\1\xa1\xb2\xc3\xd4", 6);
    m.network = word;
    if (!m.id)
        m.id = my_id;
    krpc_encode(&out, &m);
    assert_int_equal(out.err, 0);
    assert_true(vector_matches(name, buf, out.size));
    size_t size = vector_read(name, doc, sizeof doc);
    assert_int_equal(krpc_decode(doc, size, &got), 0);
    assert_false(got.bad);
    krpc_encode(&out2, &got);
    assert_int_equal(out2.size, size);
    assert_memory_equal(again, doc, size);
}

static void messages(void **state)
{
    (void)state;
    static const uint8_t seen[6] = {127, 0, 0, 1, 0x1f, 0x40};
    struct span ip = span(seen, 6), token = span("tokentok", 8), nodes = span(node4, 26);
    struct ben v = {item_v, item_v_size};
    uint8_t list[310] = "l";
    memcpy(list + 1, entry_wire, entry_wire_size);
    list[1 + entry_wire_size] = 'e';
    struct ben entries = {list, entry_wire_size + 2};

    check_vector("ping", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_PING});
    check_vector("ping-reply", (struct krpc_msg){.kind = KRPC_REPLY, .ip = ip});
    check_vector("find-node", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_FIND_NODE, .target = a_target,
                                                .want = KRPC_WANT4 | KRPC_WANT6});
    check_vector("find-node-reply", (struct krpc_msg){.kind = KRPC_REPLY, .ip = ip, .nodes = nodes});
    check_vector("read-only-find", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_FIND_NODE, .target = a_target,
                                                     .ro = true});
    check_vector("get", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_GET, .target = item_target,
                                          .has_seq = true, .seq = 6});
    check_vector("get-reply", (struct krpc_msg){.kind = KRPC_REPLY, .ip = ip, .nodes = nodes, .token = token,
                                                .k = item_pk, .sig = item_sig, .has_seq = true, .seq = 7, .v = v});
    check_vector("put", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_PUT, .token = token, .k = item_pk,
                                          .sig = item_sig, .has_seq = true, .seq = 7, .salt = span_str("public"),
                                          .has_cas = true, .cas = 6, .v = v});
    check_vector("sget-look", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_SGET, .target = root,
                                                .has_depth = true, .prefix = span("", 0), .upto = zero_slot});
    check_vector("sget-reply", (struct krpc_msg){.kind = KRPC_REPLY, .ip = ip, .nodes = nodes, .token = token,
                                                 .digest = digest, .has_held = true, .held = 1, .entries = entries});
    check_vector("sget-page", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_SGET, .target = root,
                                                .has_depth = true, .depth = 1, .prefix = span("4", 1),
                                                .after = a_target});
    check_vector("sput", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_SPUT, .target = root, .has_depth = true,
                                           .token = token, .k = item_pk, .sig = entry_sig, .has_seq = true, .seq = 7,
                                           .v = v});
    check_vector("sput-split", (struct krpc_msg){.kind = KRPC_REPLY, .ip = ip, .split = true});
    check_vector("error-stale", (struct krpc_msg){.kind = KRPC_ERROR, .ip = ip, .code = KAD_ERROR_STALE,
                                                  .text = span_str(kad_error_text(KAD_ERROR_STALE))});
}

/* What stands in the vectors is signed. */
static void values_verify(void **state)
{
    (void)state;
    uint8_t doc[2000];
    struct krpc_msg m;
    struct kad_item item = {.is_mutable = true, .salt = span_str("public")};
    assert_int_equal(krpc_decode(doc, vector_read("get-reply", doc, sizeof doc), &m), 0);
    memcpy(item.pk, m.k, KEY_SIZE);
    memcpy(item.sig, m.sig, SIG_SIZE);
    item.seq = m.seq;
    item.v = span(m.v.data, m.v.size);
    assert_int_equal(kad_item_verify(&item), 0);
    assert_int_equal(krpc_decode(doc, vector_read("sput", doc, sizeof doc), &m), 0);
    struct kad_entry entry = {.seq = m.seq, .v = {m.v.data, m.v.size}};
    memcpy(entry.pk, m.k, KEY_SIZE);
    memcpy(entry.sig, m.sig, SIG_SIZE);
    assert_int_equal(kad_entry_verify(&entry, m.target), 0);
}

static void network_word(void **state)
{
    (void)state;
    assert_true(vector_matches("network-word", word, 4));
}

/* Every row of the limits table has the value that the code has, and every limit a row. */
static void limits(void **state)
{
    (void)state;
#define LIMIT(name) {#name, (long)(name)}
    static const struct { const char *name; long value; } limit[] = {
        LIMIT(KAD_K), LIMIT(KAD_ALPHA), LIMIT(KAD_DATAGRAM_MAX), LIMIT(KAD_DATAGRAM_USUAL), LIMIT(KAD_DATAGRAM_PUBLIC),
        LIMIT(KRPC_T_MAX), LIMIT(KRPC_TOKEN_MAX), LIMIT(BEN_DEPTH_MAX),
        LIMIT(TABLE_BUCKETS), LIMIT(TABLE_NEAR), LIMIT(TABLE_FAILS_MAX), LIMIT(TABLE_SUBNET_BUCKET_MAX),
        LIMIT(TABLE_SUBNET_MAX), LIMIT(TABLE_CACHE_MAX),
        LIMIT(RPC_TX_MAX), LIMIT(RPC_SOFT_MIN_MS), LIMIT(RPC_HARD_MIN_MS), LIMIT(RPC_HARD_MAX_MS), LIMIT(RPC_QUEUE_MAX),
        LIMIT(LOOKUP_MAX), LIMIT(LOOKUP_DENSE), LIMIT(LOOKUP_FIRST), LIMIT(LOOKUP_REOFFERS),
        LIMIT(REQUEST_MAX), LIMIT(REQUEST_ACTIVE_MAX), LIMIT(REQUEST_INNER_MAX), LIMIT(REQUEST_PATHS),
        LIMIT(REQUEST_WAIT_MS),
        LIMIT(NODE_ASKING_MAX), LIMIT(NODE_JOIN_MAX), LIMIT(NODE_REMEMBER_MAX), LIMIT(NODE_LOST_MAX),
        LIMIT(NODE_DEAD_MAX), LIMIT(NODE_DEAD_MS), LIMIT(NODE_VOTES_MAX), LIMIT(NODE_VOTES_NEEDED),
        LIMIT(NODE_GREET_BURST), LIMIT(NODE_GREET_PER_S), LIMIT(NODE_NEWCOMERS_MAX),
        LIMIT(SETWALK_FOUND_MAX), LIMIT(SETWALK_SHARDS_MAX), LIMIT(SETWALK_RANGES_MAX), LIMIT(SETWALK_PAGES_MAX),
        LIMIT(SETWALK_SMALL), LIMIT(SETWALK_HOLDERS),
    };
    enum { LIMITS = sizeof limit / sizeof *limit };
    bool seen[LIMITS] = {false};
    char line[300], name[64];
    long value;
    unsigned rows = 0;
    FILE *f = fopen("docs/protocol-kad.md", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        unsigned i = 0;
        if (sscanf(line, "| %63[A-Z_0-9] | %ld |", name, &value) != 2)
            continue;
        while (i < LIMITS && strcmp(limit[i].name, name) != 0)
            i++;
        if (i == LIMITS || limit[i].value != value)
            print_message("%s: the document says %ld\n", name, value);
        assert_true(i < LIMITS);
        assert_int_equal(limit[i].value, value);
        seen[i] = true;
        rows++;
    }
    fclose(f);
    for (unsigned i = 0; i < LIMITS; i++) {
        if (!seen[i])
            print_message("| %s | %ld | is not in the document\n", limit[i].name, limit[i].value);
        assert_true(seen[i]);
    }
    assert_int_equal(rows, LIMITS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),
        cmocka_unit_test(values_verify),
        cmocka_unit_test(network_word),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
