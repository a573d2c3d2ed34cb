/* The datagrams of docs/protocol.md against the code: its vectors are what the code writes and reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/err.h"
#include "core/hash.h"
#include "kad/item.h"
#include "kad/krpc.h"
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
    static const uint8_t peers[] = "l6:\x7f\0\0\1\x1f\x40" "e";
    struct ben values = {peers, sizeof peers - 1}, hello = {(const uint8_t *)"12:Hello World!", 15};
    check_vector("get-peers", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_GET_PEERS, .target = a_target});
    check_vector("get-peers-reply", (struct krpc_msg){.kind = KRPC_REPLY, .ip = ip, .nodes = nodes, .token = token,
                                                      .values = values});
    check_vector("announce-peer", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_ANNOUNCE_PEER,
                                                    .target = a_target, .port = 8000, .token = token});
    check_vector("put-immutable", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_PUT, .token = token,
                                                    .v = hello});
    check_vector("get-immutable-reply", (struct krpc_msg){.kind = KRPC_REPLY, .ip = ip, .nodes = nodes,
                                                          .token = token, .v = hello});
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
    check_vector("sput-handed-on", (struct krpc_msg){.kind = KRPC_QUERY, .method = KRPC_SPUT, .target = root,
                                                     .has_depth = true, .depth = 1, .token = token, .k = item_pk,
                                                     .sig = entry_sig, .has_seq = true, .seq = 7, .v = v,
                                                     .age_s = 60, .since_s = 86400});
    check_vector("sput-split", (struct krpc_msg){.kind = KRPC_REPLY, .ip = ip, .split = true});
    static const struct { const char *name; int code; } errors[] = {
        {"error-generic", KAD_ERROR_GENERIC}, {"error-full", KAD_ERROR_FULL}, {"error-protocol", KAD_ERROR_PROTOCOL},
        {"error-method", KAD_ERROR_METHOD}, {"error-too-big", KAD_ERROR_TOOBIG},
        {"error-signature", KAD_ERROR_SIGNATURE}, {"error-salt", KAD_ERROR_SALT}, {"error-cas", KAD_ERROR_CAS},
        {"error-stale", KAD_ERROR_STALE},
    };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        check_vector(errors[i].name, (struct krpc_msg){.kind = KRPC_ERROR, .ip = ip, .code = errors[i].code,
                                                       .text = span_str(kad_error_text(errors[i].code))});
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),
        cmocka_unit_test(values_verify),
        cmocka_unit_test(network_word),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
