#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/err.h"
#include "core/rng.h"
#include "kad/krpc.h"

static const uint8_t *bytes_of(const char *text)
{
    return (const uint8_t *)text;
}

static int decode(const char *text, struct krpc_msg *m)
{
    return krpc_decode(text, strlen(text), m);
}

/* The examples of BEP 5, byte for byte, both ways. */
static void bep5_examples(void **state)
{
    (void)state;
    static const struct { const char *wire; enum krpc_kind kind; enum krpc_method method; } examples[] = {
        {"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", KRPC_QUERY, KRPC_PING},
        {"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re", KRPC_REPLY, KRPC_NONE},
        {"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe", KRPC_QUERY,
         KRPC_FIND_NODE},
        {"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe", KRPC_QUERY,
         KRPC_GET_PEERS},
        {"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re", KRPC_REPLY,
         KRPC_NONE},
        {"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:"
         "aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe", KRPC_QUERY, KRPC_ANNOUNCE_PEER},
        {"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee", KRPC_ERROR, KRPC_NONE},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct krpc_msg m;
        uint8_t buf[500];
        assert_int_equal(decode(examples[i].wire, &m), 0);
        assert_int_equal(m.kind, examples[i].kind);
        assert_int_equal(m.method, examples[i].method);
        assert_false(m.bad);
        struct bytes_out out = bytes_out(buf, sizeof buf);
        krpc_encode(&out, &m);
        assert_int_equal(out.err, 0);
        assert_int_equal(out.size, strlen(examples[i].wire));
        assert_memory_equal(buf, examples[i].wire, out.size);
    }
}

/* A message with every key that a kind may carry. */
static struct krpc_msg full(enum krpc_kind kind, enum krpc_method method)
{
    struct krpc_msg m = {
        .kind = kind, .method = method, .t = span_str("123456"), .network = bytes_of("netw"), .version = bytes_of("CM01"),
        .id = bytes_of("abcdefghij0123456789"), .token = span_str("tokentok"), .has_seq = true, .seq = -3,
        .k = bytes_of("0123456789abcdef0123456789abcdef"), .salt = span_str("salt"),
        .sig = bytes_of("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        .v = {bytes_of("l1:ai5ee"), 8},
    };
    if (kind == KRPC_QUERY) {
        m.target = bytes_of("mnopqrstuvwxyz123456");
        m.ro = m.implied_port = m.fresh = true;
        m.want = KRPC_WANT4 | KRPC_WANT6;
        m.port = 65535;
        m.has_cas = true;
        m.cas = 7;
        m.has_depth = true;
        m.depth = 6;
        m.prefix = span_str("0a1b2c");
        m.after = bytes_of("aaaaaaaaaabbbbbbbbbb");
        m.upto = bytes_of("ccccccccccdddddddddd");
        m.age_s = 60;
        m.since_s = 61;
    } else {
        m.ip = span("\x7f\x00\x00\x01\x1f\x40", 6);
        m.nodes = span_str("01234567890123456789IPv4pp");
        m.nodes6 = span_str("01234567890123456789IPv6IPv6IPv6IPv6pp");
        m.values = (struct ben){bytes_of("l6:axje.ue"), 10};
        m.has_held = m.more = m.split = true;
        m.held = 512;
        m.digest = bytes_of("DDDDDDDDDDDDDDDDDDDD");
        m.entries = (struct ben){bytes_of("le"), 2};
    }
    return m;
}

static void every_key_round_trips(void **state)
{
    (void)state;
    for (int method = KRPC_PING; method < KRPC_METHODS; method++) {
        uint8_t buf[1500], again[1500];
        struct krpc_msg m = full(KRPC_QUERY, (enum krpc_method)method), got;
        struct bytes_out out = bytes_out(buf, sizeof buf);
        krpc_encode(&out, &m);
        assert_int_equal(out.err, 0);
        assert_int_equal(krpc_decode(buf, out.size, &got), 0);
        assert_false(got.bad);
        assert_int_equal(got.method, method);
        assert_int_equal(got.seq, -3);
        assert_int_equal(got.cas, 7);
        assert_int_equal(got.port, 65535);
        assert_int_equal(got.want, 3);
        assert_true(got.ro && got.fresh && got.implied_port && got.has_depth);
        assert_int_equal(got.depth, 6);
        assert_int_equal(got.age_s, 60);
        assert_int_equal(got.since_s, 61);
        assert_memory_equal(got.target, m.target, 20);
        assert_memory_equal(got.after, m.after, 20);
        assert_memory_equal(got.upto, m.upto, 20);
        assert_memory_equal(got.sig, m.sig, 64);
        assert_memory_equal(got.network, "netw", 4);
        assert_true(span_equal(got.prefix, m.prefix) && span_equal(got.salt, m.salt));
        struct bytes_out out2 = bytes_out(again, sizeof again);
        krpc_encode(&out2, &got);
        assert_int_equal(out2.size, out.size);
        assert_memory_equal(buf, again, out.size);
    }
    uint8_t buf[1500];
    struct krpc_msg m = full(KRPC_REPLY, KRPC_NONE), got;
    struct bytes_out out = bytes_out(buf, sizeof buf);
    krpc_encode(&out, &m);
    assert_int_equal(krpc_decode(buf, out.size, &got), 0);
    assert_int_equal(got.kind, KRPC_REPLY);
    assert_int_equal(got.held, 512);
    assert_true(got.more && got.split);
    assert_int_equal(got.nodes.size, 26);
    assert_int_equal(got.nodes6.size, 38);
    assert_int_equal(got.ip.size, 6);
    assert_int_equal(got.entries.size, 2);
    assert_int_equal(got.v.size, 8);
}

/* Cut at every length, nothing is accepted and nothing is read beyond the end (the copy is exactly as long). */
static void truncated_at_every_length(void **state)
{
    (void)state;
    uint8_t buf[1500];
    for (int kind = 0; kind < 2; kind++) {
        struct krpc_msg m = full(kind ? KRPC_REPLY : KRPC_QUERY, kind ? KRPC_NONE : KRPC_SPUT), got;
        struct bytes_out out = bytes_out(buf, sizeof buf);
        krpc_encode(&out, &m);
        for (size_t n = 0; n < out.size; n++) {
            uint8_t *cut = malloc(n ? n : 1);
            memcpy(cut, buf, n);
            assert_int_equal(krpc_decode(cut, n, &got), CAM_EFORMAT);
            free(cut);
        }
        for (size_t room = 0; room < out.size; room++) {
            struct bytes_out small = bytes_out(buf, room);
            krpc_encode(&small, &m);
            assert_int_equal(small.err, CAM_ENOSPC);
        }
    }
}

static void not_messages(void **state)
{
    (void)state;
    static const char *const wires[] = {
        "", "x", "i5e", "le", "de", "4:ping",
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:y1:qe",           /* no t */
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t0:1:y1:qe",      /* empty t */
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t33:0123456789012345678901234567890121:y1:qe",
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aae",          /* no y */
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:xe",
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe ",   /* something left over */
        "d1:t2:aa1:y1:re",                                             /* a reply without r */
        "d1:rle1:t2:aa1:y1:re",
        "d1:t2:aa1:y1:ee",
        "d1:q4:ping1:ad2:id20:abcdefghij0123456789e1:t2:aa1:y1:qe",    /* keys out of order */
    };
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        struct krpc_msg m;
        assert_int_equal(decode(wires[i], &m), CAM_EFORMAT);
    }
}

/* Known keys of the wrong shape: the message can be answered, with 203. Unknown keys and methods do not matter. */
static void bad_and_unknown(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "d1:q4:ping1:t2:aa1:y1:qe",
        "d1:ale1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:idi5ee1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id20:abcdefghij01234567891:k5:shorte1:q3:put1:t2:aa1:y1:qe",
        "d1:ad2:id20:abcdefghij01234567893:seq1:5e1:q3:put1:t2:aa1:y1:qe",
        "d1:ad2:id20:abcdefghij01234567894:want2:n4e1:q9:find_node1:t2:aa1:y1:qe",
    };
    struct krpc_msg m;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(decode(bad[i], &m), 0);
        assert_true(m.bad);
        assert_int_equal(m.t.size, 2);
    }
    assert_int_equal(decode("d1:ad2:id20:abcdefghij01234567893:newi1e3:xyzdee1:q4:ping1:t2:aa1:xle1:y1:qe", &m), 0);
    assert_false(m.bad);
    assert_int_equal(m.method, KRPC_PING);
    assert_int_equal(decode("d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t2:aa1:y1:qe", &m), 0);
    assert_int_equal(m.method, KRPC_NONE);
    /* A port out of range is none; a `want` of others' families is no want of ours. */
    assert_int_equal(decode("d1:ad2:id20:abcdefghij01234567894:porti70000e4:wantl2:n9i4eee1:q9:find_node1:t2:aa1:y1:qe",
                            &m), 0);
    assert_int_equal(m.port, 0);
    assert_int_equal(m.want, 0);
    assert_false(m.bad);
    /* A ragged list of nodes is cut to whole ones. */
    assert_int_equal(decode("d1:rd2:id20:abcdefghij01234567895:nodes30:0123456789012345678901234567891:t2:aa1:y1:re", &m),
                     CAM_EFORMAT);
    assert_int_equal(decode("d1:rd2:id20:abcdefghij01234567895:nodes30:012345678901234567890123456789e1:t2:aa1:y1:re", &m),
                     0);
    assert_int_equal(m.nodes.size, 26);
}

static void mutations_never_crash(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 3);
    uint8_t buf[1500];
    struct krpc_msg m = full(KRPC_QUERY, KRPC_SGET), got;
    struct bytes_out out = bytes_out(buf, sizeof buf);
    krpc_encode(&out, &m);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t *copy = malloc(out.size);
        memcpy(copy, buf, out.size);
        for (unsigned n = 1 + rng_below(&rng, 4); n > 0; n--)
            copy[rng_below(&rng, (uint32_t)out.size)] = (uint8_t)rng_u32(&rng);
        if (krpc_decode(copy, out.size, &got) == 0) {
            assert_true(got.t.size > 0 && got.t.size <= KRPC_T_MAX);
            assert_true(!got.t.data || (got.t.data >= copy && got.t.data + got.t.size <= copy + out.size));
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bep5_examples),
        cmocka_unit_test(every_key_round_trips),
        cmocka_unit_test(truncated_at_every_length),
        cmocka_unit_test(not_messages),
        cmocka_unit_test(bad_and_unknown),
        cmocka_unit_test(mutations_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
