/* One node, asked by hand: what each query is answered with, what is refused, and what a stranger can cost. */
#include <malloc.h>

#include "kad/krpc.h"
#include "tests/unit/kad_net.h"

struct asked {
    struct net *net;
    struct kad *k;
    struct addr from;
    uint8_t buf[4000];
    struct krpc_msg reply;  /* kind 0: none came */
    unsigned replies;
    uint64_t bytes_out;
    unsigned serial;
    uint8_t t[4];
};

static const uint8_t *my_id = (const uint8_t *)"abcdefghij0123456789";
static const uint8_t *a_target = (const uint8_t *)"mnopqrstuvwxyz123456";
static uint8_t word[SHA1_SIZE];

/* Sends a query and takes what comes back to its sender; pings of the node's own are answered with silence. */
static struct krpc_msg *ask_raw(struct asked *a, const void *data, size_t size)
{
    struct kad_datagram d;
    memset(&a->reply, 0, sizeof a->reply);
    kad_recv(a->k, a->net->now, &a->from, data, size);
    while (kad_next_out(a->k, &d)) {
        struct krpc_msg m;
        if (!addr_equal(&d.to, &a->from))
            continue;
        a->bytes_out += d.size;
        assert_true(d.size <= sizeof a->buf);
        memcpy(a->buf, d.data, d.size);
        assert_int_equal(krpc_decode(a->buf, d.size, &m), 0);
        if (m.kind == KRPC_QUERY)
            continue;
        a->reply = m;
        a->replies++;
        /* The buffer must not be overwritten by a ping that follows. */
        while (kad_next_out(a->k, &d))
            if (addr_equal(&d.to, &a->from))
                a->bytes_out += d.size;
        break;
    }
    return &a->reply;
}

static struct krpc_msg *ask(struct asked *a, struct krpc_msg q)
{
    uint8_t buf[4000];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    put_be32(a->t, ++a->serial);
    q.kind = KRPC_QUERY;
    q.t = span(a->t, 4);
    if (!q.id)
        q.id = my_id;
    krpc_encode(&out, &q);
    assert_int_equal(out.err, 0);
    struct krpc_msg *r = ask_raw(a, buf, out.size);
    if (r->kind)
        assert_true(span_equal(r->t, q.t));
    return r;
}

static int setup(void **state)
{
    struct asked *a = calloc(1, sizeof *a);
    hash_sha1(word, "camellia", 8);
    a->net = net_new(20, &(struct net_options){.seed = 31, .k = 8});
    net_start_all(a->net);
    a->k = a->net->nodes[3].k;
    a->from = (struct addr){.family = 4, .ip = {127, 0, 0, 9}, .port = 5555};
    *state = a;
    return 0;
}

static int teardown(void **state)
{
    struct asked *a = *state;
    net_free(a->net);
    free(a);
    return 0;
}

/* It answers the ping that the node sends to who asks much, so it is proven and has no budget to fear. */
static void prove(struct asked *a)
{
    bool proven = false;
    for (unsigned i = 0; i < 20 && !proven; i++) {
        struct kad_datagram d;
        struct krpc_msg m, q = {.kind = KRPC_QUERY, .method = KRPC_FIND_NODE, .t = span("pp", 2), .id = my_id,
                                .target = a_target, .network = word};
        uint8_t buf[1000];
        struct bytes_out out = bytes_out(buf, sizeof buf);
        krpc_encode(&out, &q);
        kad_recv(a->k, a->net->now, &a->from, buf, out.size);
        while (!proven && kad_next_out(a->k, &d)) {
            if (!addr_equal(&d.to, &a->from) || krpc_decode(d.data, d.size, &m) || m.kind != KRPC_QUERY)
                continue;
            uint8_t tid[KRPC_T_MAX];
            memcpy(tid, m.t.data, m.t.size);
            struct krpc_msg r = {.kind = KRPC_REPLY, .t = span(tid, m.t.size), .id = my_id, .network = word};
            out = bytes_out(buf, sizeof buf);
            krpc_encode(&out, &r);
            assert_int_equal(kad_recv(a->k, a->net->now, &a->from, buf, out.size), 0);
            proven = true;
        }
        while (kad_next_out(a->k, &d))
            ;
    }
    assert_true(proven);
}

static void each_query_is_answered(void **state)
{
    struct asked *a = *state;
    prove(a);
    struct krpc_msg *r = ask(a, (struct krpc_msg){.method = KRPC_PING});
    assert_int_equal(r->kind, KRPC_REPLY);
    assert_memory_equal(r->id, kad_node_id(a->k), KAD_ID_SIZE);
    assert_memory_equal(r->network, word, 4);
    struct addr seen; /* BEP 42 */
    assert_int_equal(addr_from_compact(r->ip.data, r->ip.size, &seen), 0);
    assert_true(addr_equal(&seen, &a->from));
    r = ask(a, (struct krpc_msg){.method = KRPC_FIND_NODE, .target = a_target});
    assert_int_equal(r->nodes.size, 8 * KRPC_NODE4_SIZE);
    assert_int_equal(r->nodes6.size, 0);
    assert_null(r->token.data);
    r = ask(a, (struct krpc_msg){.method = KRPC_FIND_NODE, .target = a_target, .want = KRPC_WANT6});
    assert_int_equal(r->kind, KRPC_REPLY); /* BEP 32: it has no IPv6 contacts, and sends no IPv4 ones */
    assert_int_equal(r->nodes.size, 0);
    r = ask(a, (struct krpc_msg){.method = KRPC_FIND_NODE, .target = a_target, .want = KRPC_WANT4 | KRPC_WANT6});
    assert_int_equal(r->nodes.size, 8 * KRPC_NODE4_SIZE);
    r = ask(a, (struct krpc_msg){.method = KRPC_GET_PEERS, .target = a_target});
    assert_true(r->token.size > 0);
    assert_int_equal(r->nodes.size, 8 * KRPC_NODE4_SIZE);
    r = ask(a, (struct krpc_msg){.method = KRPC_GET, .target = a_target});
    assert_true(r->token.size > 0 && r->nodes.size > 0 && !r->v.data);
    r = ask(a, (struct krpc_msg){.method = KRPC_SGET, .target = a_target, .has_depth = true, .prefix = span("", 0)});
    assert_true(r->token.size > 0 && r->nodes.size > 0);
    assert_true(r->has_held && r->held == 0 && !r->more && !r->split && r->digest);
    r = ask(a, (struct krpc_msg){.method = KRPC_SGET, .target = a_target, .has_depth = true, .prefix = span("", 0),
                                 .after = a_target});
    assert_int_equal(r->nodes.size, 0); /* further pages carry no contacts */
}

static void what_is_wrong_is_named(void **state)
{
    struct asked *a = *state;
    prove(a);
    static const char *const protocol[] = {
        "d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe",
        "d1:ade1:q4:ping1:t2:aa1:y1:qe",
        "d1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id20:abcdefghij01234567899:info_hash3:xyze1:q9:get_peers1:t2:aa1:y1:qe",
        "d1:ad2:id20:abcdefghij01234567894:root20:mnopqrstuvwxyz123456e1:q4:sget1:t2:aa1:y1:qe",
        "d1:ad5:depthi2e2:id20:abcdefghij01234567896:prefix1:a4:root20:mnopqrstuvwxyz123456e1:q4:sget1:t2:aa1:y1:qe",
        "d1:ad5:depthi7e2:id20:abcdefghij01234567896:prefix7:aaaaaaa4:root20:mnopqrstuvwxyz123456e1:q4:sget1:t2:aa1:y1:qe",
        "d1:ad5:depthi1e2:id20:abcdefghij01234567896:prefix1:A4:root20:mnopqrstuvwxyz123456e1:q4:sget1:t2:aa1:y1:qe",
        "d1:ad2:id20:abcdefghij01234567891:v3:abce1:q3:put1:t2:aa1:y1:qe",
    };
    for (size_t i = 0; i < sizeof protocol / sizeof *protocol; i++) {
        struct krpc_msg *r = ask_raw(a, protocol[i], strlen(protocol[i]));
        assert_int_equal(r->kind, KRPC_ERROR);
        assert_int_equal(r->code, 203);
        assert_memory_equal(r->t.data, "aa", 2);
    }
    static const char unknown[] = "d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q4:vote1:t2:aa1:y1:qe";
    struct krpc_msg *r = ask_raw(a, unknown, strlen(unknown));
    assert_int_equal(r->code, 204);
    static const char extra[] = "d1:ad2:id20:abcdefghij01234567893:xyzi1ee1:q4:ping1:t2:aa1:y1:qe";
    r = ask_raw(a, extra, strlen(extra));
    assert_int_equal(r->kind, KRPC_REPLY);
    r = ask_raw(a, "garbage", 7); /* nothing to answer */
    assert_int_equal(r->kind, 0);
}

static struct krpc_msg put_query(const struct kad_item *item, struct span token)
{
    struct krpc_msg q = {.method = KRPC_PUT, .token = token, .v = {item->v.data, item->v.size}};
    if (!item->is_mutable)
        return q;
    q.k = item->pk;
    q.sig = item->sig;
    q.has_seq = true;
    q.seq = item->seq;
    q.salt = item->salt;
    return q;
}

static void bep44_put_and_its_errors(void **state)
{
    struct asked *a = *state;
    prove(a);
    struct identity *me = net_identity(4);
    uint8_t buf[100], token_bytes[40], target[KAD_ID_SIZE];
    struct kad_item item = net_item(me, "s", 5, net_value(a->net, buf, sizeof buf, "v"));
    kad_item_target(&item, target);
    struct krpc_msg *r = ask(a, (struct krpc_msg){.method = KRPC_GET, .target = target});
    memcpy(token_bytes, r->token.data, r->token.size);
    struct span token = span(token_bytes, r->token.size), none = {NULL, 0};

    assert_int_equal(ask(a, put_query(&item, none))->code, 203);
    assert_int_equal(ask(a, put_query(&item, span("xxxxxxxx", 8)))->code, 203);
    struct addr here = a->from;
    a->from.port++; /* a token is for one address */
    assert_int_equal(ask(a, put_query(&item, token))->code, 203);
    a->from = here;
    assert_int_equal(ask(a, put_query(&item, token))->kind, KRPC_REPLY);
    r = ask(a, (struct krpc_msg){.method = KRPC_GET, .target = target});
    assert_true(r->has_seq && r->seq == 5);
    assert_int_equal(r->v.size, item.v.size);
    assert_memory_equal(r->v.data, item.v.data, item.v.size);
    assert_memory_equal(r->sig, item.sig, SIG_SIZE);
    assert_memory_equal(r->k, me->pk, KEY_SIZE);
    r = ask(a, (struct krpc_msg){.method = KRPC_GET, .target = target, .has_seq = true, .seq = 5});
    assert_true(r->has_seq && !r->v.data && !r->sig); /* the asker has it already */
    r = ask(a, (struct krpc_msg){.method = KRPC_GET, .target = target, .has_seq = true, .seq = 4});
    assert_true(r->v.data != NULL);

    uint8_t buf2[100];
    struct kad_item old = net_item(me, "s", 4, net_value(a->net, buf2, sizeof buf2, "old"));
    assert_int_equal(ask(a, put_query(&old, token))->code, 302);
    struct kad_item next = net_item(me, "s", 6, net_value(a->net, buf2, sizeof buf2, "next"));
    struct krpc_msg q = put_query(&next, token);
    q.has_cas = true;
    q.cas = 4;
    assert_int_equal(ask(a, q)->code, 301);
    q.cas = 5;
    assert_int_equal(ask(a, q)->kind, KRPC_REPLY);
    struct kad_item forged = net_item(me, "s", 7, net_value(a->net, buf2, sizeof buf2, "next"));
    forged.sig[0] ^= 1;
    assert_int_equal(ask(a, put_query(&forged, token))->code, 206);
    uint8_t salt[65] = {0};
    struct krpc_msg salted = put_query(&next, token);
    salted.salt = span(salt, sizeof salt);
    assert_int_equal(ask(a, salted)->code, 207);
    uint8_t big[1100] = "1001:";
    struct krpc_msg large = {.method = KRPC_PUT, .token = token, .v = {big, 5 + 1001}};
    assert_int_equal(ask(a, large)->code, 205);
    identity_free(me);
}

static void announce_and_get_peers(void **state)
{
    struct asked *a = *state;
    prove(a);
    uint8_t token_bytes[40];
    struct krpc_msg *r = ask(a, (struct krpc_msg){.method = KRPC_GET_PEERS, .target = a_target});
    memcpy(token_bytes, r->token.data, r->token.size);
    struct span token = span(token_bytes, r->token.size);
    assert_int_equal(ask(a, (struct krpc_msg){.method = KRPC_ANNOUNCE_PEER, .target = a_target, .port = 6881})->code, 203);
    assert_int_equal(ask(a, (struct krpc_msg){.method = KRPC_ANNOUNCE_PEER, .target = a_target, .token = token})->code, 203);
    r = ask(a, (struct krpc_msg){.method = KRPC_ANNOUNCE_PEER, .target = a_target, .token = token, .port = 6881});
    assert_int_equal(r->kind, KRPC_REPLY);
    r = ask(a, (struct krpc_msg){.method = KRPC_GET_PEERS, .target = a_target});
    struct ben_iter it = ben_iter(r->values);
    struct ben v;
    struct span s;
    struct addr peer;
    assert_true(ben_next(&it, NULL, &v) && ben_str(v, &s) == 0);
    assert_int_equal(addr_from_compact(s.data, s.size, &peer), 0);
    assert_int_equal(peer.port, 6881);
    assert_true(addr_same_ip(&peer, &a->from));
    r = ask(a, (struct krpc_msg){.method = KRPC_ANNOUNCE_PEER, .target = a_target, .token = token, .implied_port = true});
    assert_int_equal(r->kind, KRPC_REPLY);
}

/* Sends one query; is it answered among what promises nothing, or only after the commit? */
static bool waits(struct asked *a, struct krpc_msg q)
{
    uint8_t buf[1000];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    struct kad_datagram d;
    unsigned plain = 0, all = 0;
    q.kind = KRPC_QUERY;
    q.t = span("ab", 2);
    q.id = my_id;
    krpc_encode(&out, &q);
    assert_int_equal(kad_recv(a->k, a->net->now, &a->from, buf, out.size), 0);
    while (kad_next_plain(a->k, &d))
        plain += memmem(d.data, d.size, "1:t2:ab", 7) != NULL;
    while (kad_next_out(a->k, &d))
        all += memmem(d.data, d.size, "1:t2:ab", 7) != NULL;
    assert_int_equal(plain + all, 1);
    return all == 1;
}

static void only_what_says_stored_waits(void **state)
{
    struct asked *a = *state;
    uint8_t token_bytes[40], buf[100];
    struct identity *me = net_identity(1);
    prove(a);
    struct krpc_msg *r = ask(a, (struct krpc_msg){.method = KRPC_GET, .target = a_target});
    memcpy(token_bytes, r->token.data, r->token.size);
    struct span token = span(token_bytes, r->token.size), v = net_value(a->net, buf, sizeof buf, "x");
    struct kad_item item = net_item(me, "s", 2, v);
    struct krpc_msg put = {.method = KRPC_PUT, .token = token, .v = {v.data, v.size}, .k = item.pk, .sig = item.sig,
                           .has_seq = true, .seq = 2, .salt = item.salt};
    struct kad_entry entry = {.seq = 1, .v = v};
    assert_int_equal(kad_entry_sign(&entry, a_target, me), 0);
    struct krpc_msg sput = {.method = KRPC_SPUT, .target = a_target, .has_depth = true, .token = token, .k = entry.pk,
                            .sig = entry.sig, .has_seq = true, .seq = 1, .v = {v.data, v.size}};
    assert_true(waits(a, put));
    assert_true(waits(a, put)); /* once more: the first may be in this very turn */
    assert_true(waits(a, sput));
    assert_true(waits(a, (struct krpc_msg){.method = KRPC_ANNOUNCE_PEER, .target = a_target, .token = token,
                                           .port = 1}));
    put.seq = 1;
    assert_false(waits(a, put)); /* 302 */
    assert_false(waits(a, (struct krpc_msg){.method = KRPC_PING}));
    assert_false(waits(a, (struct krpc_msg){.method = KRPC_GET, .target = a_target}));
    assert_false(waits(a, (struct krpc_msg){.method = KRPC_GET_PEERS, .target = a_target}));
    assert_false(waits(a, (struct krpc_msg){.method = KRPC_SGET, .target = a_target, .has_depth = true}));
    /* What the commit did not write is not said. */
    put.seq = 2;
    uint8_t bytes[1000];
    struct bytes_out out = bytes_out(bytes, sizeof bytes);
    struct kad_datagram d;
    put.kind = KRPC_QUERY;
    put.id = my_id;
    put.t = span("cd", 2);
    krpc_encode(&out, &put);
    assert_int_equal(kad_recv(a->k, a->net->now, &a->from, bytes, out.size), 0);
    kad_reset_store(a->k, a->net->now);
    while (kad_next_out(a->k, &d))
        assert_null(memmem(d.data, d.size, "1:t2:cd", 7));
    identity_free(me);
}

/* The largest reply fits a datagram: contacts give way before the value. */
static void contacts_give_way_to_the_value(void **state)
{
    (void)state;
    struct net *net = net_new(40, &(struct net_options){.seed = 32});
    net_start_all(net);
    struct identity *me = net_identity(5);
    uint8_t v[1000] = "996:";
    memset(v + 4, 'x', 996);
    struct kad_item item = net_item(me, "large", 1, span(v, 1000));
    struct result *put = net_put(net, 1, &item, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    struct result *get = net_get(net, 30, &item);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    assert_int_equal(get->n_value, 1000);
    assert_true(net->largest <= KAD_DATAGRAM_MAX);
    assert_true(net->largest > 1150);
    identity_free(me);
    net_free(net);
}

/* A spoofed sender gets a burst of 2 KiB a minute, then no more than it sent: no amplification. */
static void unproven_addresses_get_little(void **state)
{
    struct asked *a = *state;
    uint64_t in = 0;
    for (unsigned minute = 0; minute < 5; minute++) {
        for (unsigned i = 0; i < 600; i++) {
            uint8_t buf[300];
            struct krpc_msg q = {.kind = KRPC_QUERY, .method = KRPC_FIND_NODE, .t = span("tt", 2), .id = my_id,
                                 .target = a_target};
            struct bytes_out out = bytes_out(buf, sizeof buf);
            krpc_encode(&out, &q);
            in += out.size;
            ask_raw(a, buf, out.size);
            a->net->now.mono_ms += 100;
            kad_tick(a->k, a->net->now);
            struct kad_datagram d;
            while (kad_next_out(a->k, &d))
                a->bytes_out += addr_equal(&d.to, &a->from) ? d.size : 0;
        }
        assert_true(a->bytes_out <= in + 2048 + 640 * minute); /* 2 KiB in the first, what refills since */
    }
    assert_true(a->bytes_out > 2048);
}

/* Random and mutated datagrams: it serves on, and its memory is bounded. */
static void ten_thousand_bad_datagrams(void **state)
{
    struct asked *a = *state;
    static const char *const seeds[] = {
        "d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
        "d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234565:token8:12345678e1:q3:get1:t2:aa1:y1:qe",
        "d1:ad5:depthi0e2:id20:abcdefghij01234567896:prefix0:4:root20:mnopqrstuvwxyz123456e1:q4:sget1:t2:aa1:y1:qe",
        "d1:rd2:id20:mnopqrstuvwxyz1234565:nodes26:01234567890123456789ABCDEFe1:t6:aaaaaa1:y1:re",
        "d1:eli201e5:Errore1:t2:aa1:y1:ee",
    };
    struct rng *rng = &a->net->rng;
    struct kad_stats stats;
    size_t before = 0, after;
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t buf[400];
        size_t size;
        if (i == 2000)
            before = mallinfo2().uordblks;
        if (i % 3 == 0) {
            size = rng_below(rng, sizeof buf);
            rng_fill(rng, buf, size);
        } else {
            const char *seed = seeds[i % 5];
            size = strlen(seed);
            memcpy(buf, seed, size);
            for (unsigned n = rng_below(rng, 4); n > 0; n--)
                buf[rng_below(rng, (uint32_t)size)] = (uint8_t)rng_u32(rng);
        }
        a->from.ip[1] = (uint8_t)rng_u32(rng);
        a->from.ip[2] = (uint8_t)rng_u32(rng);
        a->from.port = (uint16_t)(1 + rng_below(rng, 65535));
        kad_recv(a->k, a->net->now, &a->from, buf, size);
        if (i % 16 == 0) {
            a->net->now.mono_ms += 5;
            kad_tick(a->k, a->net->now);
        }
        struct kad_datagram d;
        struct kad_event e;
        while (kad_next_out(a->k, &d))
            assert_true(d.size <= KAD_DATAGRAM_MAX);
        while (kad_next_event(a->k, &e))
            ;
    }
    after = mallinfo2().uordblks;
    assert_true(after < before + (1 << 20));
    kad_check(a->k);
    kad_stats(a->k, &stats);
    assert_true(stats.drop_malformed > 5000);
    assert_true(stats.drop_unexpected > 0);
    struct result *find = net_find(a->net, 3, a_target, false);
    net_run_until(a->net, find);
    assert_int_equal(find->status, 0);
    assert_int_equal(find->n_contacts, 8);
}

/* Answers, as `id`, every ping that the node has for `from`; true when there was one. */
static bool answer_pings(struct asked *a, const uint8_t *id)
{
    struct kad_datagram d;
    struct krpc_msg m;
    bool any = false;
    uint8_t buf[300], tid[KRPC_T_MAX];
    while (kad_next_out(a->k, &d)) {
        if (!addr_equal(&d.to, &a->from) || krpc_decode(d.data, d.size, &m) || m.kind != KRPC_QUERY)
            continue;
        memcpy(tid, m.t.data, m.t.size);
        struct krpc_msg r = {.kind = KRPC_REPLY, .t = span(tid, m.t.size), .id = id, .network = word};
        struct bytes_out out = bytes_out(buf, sizeof buf);
        krpc_encode(&out, &r);
        kad_recv(a->k, a->net->now, &a->from, buf, out.size);
        any = true;
    }
    return any;
}

static bool is_contact(struct asked *a)
{
    struct kad_contact c;
    for (size_t i = 0; kad_contact_at(a->k, a->net->now, i, &c); i++)
        if (addr_equal(&c.addr, &a->from))
            return true;
    return false;
}

/* Sends one ping query as `id` and answers what comes of it. Returns whether the node greeted us. */
static bool call_on(struct asked *a, const uint8_t *id, bool ro, bool network)
{
    uint8_t buf[300];
    struct krpc_msg q = {.kind = KRPC_QUERY, .method = KRPC_PING, .t = span("hi", 2), .id = id, .ro = ro,
                         .network = network ? word : NULL};
    struct bytes_out out = bytes_out(buf, sizeof buf);
    krpc_encode(&out, &q);
    kad_recv(a->k, a->net->now, &a->from, buf, out.size);
    return answer_pings(a, id);
}

/* Who becomes a contact: one that answers, of our network, not read-only, with an id that fits its address. */
static void who_becomes_a_contact(void **state)
{
    struct asked *a = *state;
    uint8_t near[KAD_ID_SIZE];
    memcpy(near, kad_node_id(a->k), KAD_ID_SIZE);
    near[19] ^= 1; /* beside the node: it would like to know such a one */
    assert_false(call_on(a, near, true, true));   /* BEP 43 */
    assert_false(is_contact(a));
    assert_false(call_on(a, near, false, false)); /* another network, or none */
    assert_false(is_contact(a));
    assert_true(call_on(a, near, false, true));
    assert_true(is_contact(a));
    near[19] ^= 3;
    a->from = (struct addr){.family = 4, .ip = {8, 8, 8, 8}, .port = 5555};
    call_on(a, near, false, true); /* BEP 42: not an id of that address, however much it answers */
    assert_false(is_contact(a));
    id_for_addr(&a->net->rng, &a->from, near);
    for (unsigned i = 0; i < 200 && !is_contact(a); i++) { /* one that fits, and falls where there is room */
        id_for_addr(&a->net->rng, &a->from, near);
        call_on(a, near, false, true);
        a->net->now.mono_ms += 2000;
        kad_tick(a->k, a->net->now);
        answer_pings(a, near);
    }
    assert_true(is_contact(a));
    assert_true(id_fits_addr(near, &a->from));
}

/* What a read-only node asks says so. */
static void read_only_says_so(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 2);
    struct now now = {.mono_ms = 5, .wall_ms = UINT64_C(1800000000000)};
    struct kad_config config = {.network = "camellia", .read_only = true, .use_v4 = true};
    struct kad *k = kad_new(&config, &rng, now);
    struct addr to = {.family = 4, .ip = {127, 0, 0, 1}, .port = 9};
    struct kad_datagram d;
    struct krpc_msg m;
    assert_int_equal(kad_join(k, now, &to), 0);
    assert_int_equal(kad_ping(k, now, &to, 1), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(kad_next_out(k, &d));
        assert_int_equal(krpc_decode(d.data, d.size, &m), 0);
        assert_true(m.ro);
    }
    static const char ping[] = "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    kad_recv(k, now, &to, (const uint8_t *)ping, strlen(ping));
    assert_false(kad_next_out(k, &d)); /* and it answers nobody */
    kad_free(k);
}

/* A reply that was not asked for, or comes from elsewhere, changes nothing. */
static void unasked_replies(void **state)
{
    struct asked *a = *state;
    struct kad_stats before, after;
    kad_stats(a->k, &before);
    struct krpc_msg r = {.kind = KRPC_REPLY, .t = span("\0\0aaaa", 6), .id = my_id, .network = word};
    uint8_t buf[300];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    krpc_encode(&out, &r);
    assert_int_equal(kad_recv(a->k, a->net->now, &a->from, buf, out.size), CAM_EREFUSED);
    kad_stats(a->k, &after);
    assert_int_equal(after.drop_unexpected, before.drop_unexpected + 1);
    assert_int_equal(after.contacts, before.contacts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_query_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(bep44_put_and_its_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(announce_and_get_peers, setup, teardown),
        cmocka_unit_test_setup_teardown(only_what_says_stored_waits, setup, teardown),
        cmocka_unit_test(contacts_give_way_to_the_value),
        cmocka_unit_test_setup_teardown(unproven_addresses_get_little, setup, teardown),
        cmocka_unit_test_setup_teardown(ten_thousand_bad_datagrams, setup, teardown),
        cmocka_unit_test_setup_teardown(unasked_replies, setup, teardown),
        cmocka_unit_test_setup_teardown(who_becomes_a_contact, setup, teardown),
        cmocka_unit_test(read_only_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
