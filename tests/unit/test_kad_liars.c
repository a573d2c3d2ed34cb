/* Who named nodes that do not exist is remembered for two minutes, and doubted from the start meanwhile. Others cannot
 * choose who is doubted; nor is what liars keep longer than it lives believed. */
#include "kad/krpc.h"
#include "kad/node.h"
#include "tests/unit/kad_net.h"

static struct addr addr_of(unsigned i)
{
    return (struct addr){.family = 4, .ip = {60, 0, (uint8_t)(i >> 8), (uint8_t)i}, .port = 4000};
}

static bool is_liar(struct net *net, const struct addr *addr)
{
    return node_is_liar(net->nodes[0].k, addr);
}

static void pass(struct net *net, uint64_t ms)
{
    net_run(net, ms);
    kad_tick(net->nodes[0].k, net->now);
}

static void a_liar_is_remembered_for_two_minutes(void **state)
{
    (void)state;
    struct net *net = net_new(1, &(struct net_options){.seed = 1});
    struct addr a = addr_of(1), b = addr_of(2), port = addr_of(1);
    port.port++;
    net_up(net, 0);
    struct kad *k = net->nodes[0].k;
    node_note_liar(k, &a, true);
    assert_true(is_liar(net, &a));
    assert_false(is_liar(net, &b));
    assert_false(is_liar(net, &port));
    pass(net, NODE_LIARS_MS / 2);
    node_note_liar(k, &b, true);
    pass(net, NODE_LIARS_MS / 2);
    assert_true(is_liar(net, &a)); /* to the second */
    pass(net, 1000);
    assert_false(is_liar(net, &a));
    assert_true(is_liar(net, &b));
    node_note_liar(k, &b, true); /* again: from now on */
    pass(net, NODE_LIARS_MS);
    assert_true(is_liar(net, &b));
    pass(net, 1000);
    assert_false(is_liar(net, &b));
    assert_null(k->liars); /* nobody lies: no memory either */
    net_free(net);
}

static void whose_nodes_answer_is_no_liar(void **state)
{
    (void)state;
    struct net *net = net_new(1, &(struct net_options){.seed = 2});
    struct addr a = addr_of(1), b = addr_of(2);
    net_up(net, 0);
    struct kad *k = net->nodes[0].k;
    node_note_liar(k, &a, false);
    assert_null(k->liars);
    node_note_liar(k, &a, true);
    node_note_liar(k, &b, true);
    node_note_liar(k, &a, false);
    assert_false(is_liar(net, &a));
    assert_true(is_liar(net, &b));
    net_free(net);
}

/* Not more of them than there is room for; the oldest goes first, and one that lies again takes no other's place. */
static void liars_are_bounded(void **state)
{
    (void)state;
    struct net *net = net_new(1, &(struct net_options){.seed = 3});
    net_up(net, 0);
    for (unsigned i = 0; i < NODE_LIARS_MAX + 1; i++)
        for (unsigned twice = 0; twice < 2; twice++) {
            struct addr a = addr_of(i);
            node_note_liar(net->nodes[0].k, &a, true);
        }
    for (unsigned i = 0; i < NODE_LIARS_MAX + 1; i++) {
        struct addr a = addr_of(i);
        assert_int_equal(is_liar(net, &a), i > 0);
    }
    net_free(net);
}

/* ---- in lookups ---------------------------------------------------------------------------------------- */

enum { LIARS = 4 };

struct ring {
    uint8_t target[KAD_ID_SIZE];
    struct addr at[LIARS];
    uint16_t made_up; /* so many; each has an address of its own, so nobody remembers that it is dead */
};

/* Those in the ring name nodes beside the target that do not exist. */
static bool name_nobody(struct net *net, struct net_datagram *d)
{
    struct ring *ring = net->tamper_ctx;
    struct krpc_msg m;
    uint8_t copy[KAD_DATAGRAM_MAX], nodes[8 * KRPC_NODE4_SIZE];
    struct bytes_out out = bytes_out(d->data, sizeof d->data);
    bool lies = false;

    for (unsigned i = 0; i < LIARS; i++)
        lies = lies || addr_equal(&d->from, &ring->at[i]);
    memcpy(copy, d->data, d->size);
    if (!lies || krpc_decode(copy, d->size, &m) || m.kind != KRPC_REPLY || !m.nodes.data)
        return false;
    for (uint8_t *at = nodes; at < nodes + sizeof nodes; at += KRPC_NODE4_SIZE) {
        struct addr nobody = {.family = 4, .ip = {127, 0, 0, 1}, .port = (uint16_t)(20000 + ring->made_up)};
        memcpy(at, ring->target, KAD_ID_SIZE);
        put_be16(at + 17, (uint16_t)(be16(at + 17) ^ ++ring->made_up));
        addr_compact(&nobody, at + KAD_ID_SIZE);
    }
    m.nodes = span(nodes, sizeof nodes);
    krpc_encode(&out, &m);
    assert_int_equal(out.err, 0);
    d->size = (uint16_t)out.size;
    return false;
}

static unsigned count_liars(struct net *net, size_t at, const struct ring *ring)
{
    unsigned n = 0;

    kad_tick(net->nodes[at].k, net->now);
    for (unsigned i = 0; i < LIARS; i++)
        n += node_is_liar(net->nodes[at].k, &ring->at[i]);
    return n;
}

static uint64_t find_ms(struct net *net, size_t at, const struct ring *ring)
{
    struct result *r = net_find(net, at, ring->target, false);

    net_run_until(net, r);
    assert_int_equal(r->status, 0);
    return r->done_ms - r->started_ms;
}

/* The first lookup waits for the dead twice: until it doubts who named them, and for all others together. The next
 * does not wait for the first; and after two minutes all is as before. */
static void the_next_lookup_doubts_them_from_the_start(void **state)
{
    (void)state;
    enum { READER = 39 };
    struct net *net = net_new(40, &(struct net_options){.seed = 4, .latency_ms = 20, .k = 8});
    struct ring ring = {.target = {0x77}};
    net_start_all(net);
    struct result *r = net_find(net, READER, ring.target, false);
    net_run_until(net, r);
    for (unsigned i = 0; i < LIARS; i++) /* every second of the closest */
        ring.at[i] = r->contacts[2 * i].addr;
    net->tamper = name_nobody;
    net->tamper_ctx = &ring;
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(count_liars(net, READER, &ring), 0);
        uint64_t first_ms = find_ms(net, READER, &ring);
        assert_int_equal(count_liars(net, READER, &ring), LIARS);
        net_run(net, 1000);
        assert_true(find_ms(net, READER, &ring) * 3 < first_ms * 2);
        net_run(net, NODE_LIARS_MS + 1000);
    }
    net_check(net);
    net_free(net);
}

/* ---- who is called dead -------------------------------------------------------------------------------- */

static void ask_as(struct net *net, const struct addr *from)
{
    uint8_t buf[KAD_DATAGRAM_MAX], id[KAD_ID_SIZE];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    struct krpc_msg q = {.kind = KRPC_QUERY, .method = KRPC_FIND_NODE, .id = id, .target = id, .t = span("aa", 2)};

    id_for_addr(&net->rng, from, id);
    krpc_encode(&out, &q);
    kad_recv(net->nodes[0].k, net->now, from, buf, out.size);
    net_drain(net, &net->nodes[0]);
}

/* Marks of addresses are keyed: CRC-32C is linear, so two of every 2^32 pairs of addresses have the same, by a difference
 * that anybody can compute. */
static void nobody_chooses_who_is_doubted(void **state)
{
    (void)state;
    static const uint8_t same_crc[6] = {0x00, 0x01, 0x03, 0x83, 0x6b, 0xf2};
    struct net *net = net_new(8, &(struct net_options){.seed = 5, .latency_ms = 20, .public_addrs = true});
    net_start_all(net);
    struct kad *k = net->nodes[0].k;
    struct addr honest = addr_of(7), made_up;
    uint8_t id[KAD_ID_SIZE], twin[ADDR_COMPACT_MAX], compact[ADDR_COMPACT_MAX];
    id_for_addr(&net->rng, &honest, id);
    size_t size = addr_compact(&honest, compact);
    for (size_t i = 0; i < size; i++)
        twin[i] = compact[i] ^ same_crc[i];
    assert_int_equal(hash_crc32c(twin, size), hash_crc32c(compact, size));
    assert_int_equal(addr_from_compact(twin, size, &made_up), 0);
    for (unsigned i = 0; i < 6; i++)
        ask_as(net, &made_up);
    net_run(net, 2500);
    assert_false(node_is_suspect(k, id, &honest));
    /* Nor does it do to ask in somebody's own name: a challenge that gets lost is nobody's fault. */
    for (unsigned i = 0; i < 6; i++)
        ask_as(net, &honest);
    net_run(net, 2500);
    assert_false(node_is_suspect(k, id, &honest));
    net_free(net);
}

static void nobody_has_no_id(void **state)
{
    (void)state;
    struct net *net = net_new(1, &(struct net_options){.seed = 6});
    struct addr addr = {.family = 4, .ip = {127, 0, 0, 1}, .port = 9000};
    uint8_t id[KAD_ID_SIZE] = {0};
    net_up(net, 0);
    assert_false(node_acceptable(net->nodes[0].k, id, &addr));
    id[3] = 1;
    assert_true(node_acceptable(net->nodes[0].k, id, &addr));
    net_free(net);
}

/* ---- what is kept too long ----------------------------------------------------------------------------- */

static struct {
    struct kad_item item;
    const uint8_t *id;
    struct addr at;
    unsigned puts;
} keeper;

/* Of all that are asked for it, one answers with what the others have dropped. */
static bool keep_too_long(struct net *net, struct net_datagram *d)
{
    struct krpc_msg q;
    if (krpc_decode(d->data, d->size, &q) || q.kind != KRPC_QUERY)
        return false;
    keeper.puts += q.method == KRPC_PUT;
    if (!addr_equal(&d->to, &keeper.at) || q.method != KRPC_GET)
        return false;
    struct krpc_msg r = {.kind = KRPC_REPLY, .t = q.t, .id = keeper.id, .network = net->nodes[0].k->network,
                         .token = span("tokentok", 8), .has_seq = true, .seq = keeper.item.seq, .k = keeper.item.pk,
                         .sig = keeper.item.sig, .v = {keeper.item.v.data, keeper.item.v.size}};
    struct net_datagram *reply = malloc(sizeof *reply);
    *reply = (struct net_datagram){.at_ms = net->now.mono_ms, .order = net->order++, .from = d->to, .to = d->from};
    struct bytes_out out = bytes_out(reply->data, sizeof reply->data);
    krpc_encode(&out, &r);
    reply->size = (uint16_t)out.size;
    net_heap_push(net, reply);
    return true;
}

static void what_has_expired_is_not_found(void **state)
{
    (void)state;
    struct net *net = net_new(40, &(struct net_options){.seed = 9, .latency_ms = 20});
    struct identity *me = net_identity(3);
    uint8_t buf[100], target[KAD_ID_SIZE];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    net_start_all(net);
    ben_put_dict(&out);
    ben_put_key(&out, "exp");
    ben_put_int(&out, now_unix_s(net->now) + KAD_LIFE_CONNECTIONS_S);
    ben_put_end(&out);
    keeper.item = net_item(me, "connections/0", 5, span(buf, out.size));
    kad_item_target(&keeper.item, target);
    net_run_until(net, net_put(net, 1, &keeper.item, NULL));
    struct result *r = net_find(net, 30, target, false);
    net_run_until(net, r);
    keeper.at = r->contacts[0].addr;
    keeper.id = kad_node_id(net_at(net, &keeper.at)->k);
    net->tamper = keep_too_long;
    r = net_get(net, 30, &keeper.item);
    net_run_until(net, r);
    assert_int_equal(r->status, 0);
    net_run(net, 3600000 * 3);
    keeper.puts = 0;
    r = net_get(net, 30, &keeper.item);
    net_run_until(net, r);
    net_run(net, 2000);
    assert_int_equal(r->status, CAM_ENOENT);
    assert_int_equal(keeper.puts, 0); /* and nobody is put it again */
    identity_free(me);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_liar_is_remembered_for_two_minutes),
        cmocka_unit_test(whose_nodes_answer_is_no_liar),
        cmocka_unit_test(liars_are_bounded),
        cmocka_unit_test(the_next_lookup_doubts_them_from_the_start),
        cmocka_unit_test(nobody_chooses_who_is_doubted),
        cmocka_unit_test(nobody_has_no_id),
        cmocka_unit_test(what_has_expired_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
