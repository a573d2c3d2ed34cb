/* Large signed sets over a network of whole nodes: shards that split more than once, are merged back,
 * outlive their holders; reading them meanwhile, and counting them, with holders that lie. */
#include "kad/krpc.h"
#include "kad/node.h"
#include "kad/set.h"
#include "kad/setread.h"
#include "tests/unit/kad_net.h"

static const uint8_t root[KAD_ID_SIZE] = {0x5e, 0x71};

#define LONG_S (20 * 86400)

/* The writer of number n; with `narrow` all slots begin with the digit 0. */
static struct identity *writer(unsigned n, bool narrow)
{
    for (unsigned tries = 0;; tries++) {
        uint8_t seed[KEY_SIZE] = {0x12, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)tries, (uint8_t)(tries >> 8)};
        uint8_t slot[KAD_SLOT_SIZE];
        struct identity *id = identity_from_seed(seed);
        kad_slot(id->pk, slot);
        if (!narrow || slot[0] < 0x10)
            return id;
        identity_free(id);
    }
}

static struct result *put(struct net *net, size_t at, unsigned n, bool narrow, int64_t seq, int64_t life_s,
                          bool del)
{
    uint8_t buf[KAD_SET_VALUE_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    struct identity *id = writer(n, narrow);
    ben_put_dict(&out);
    if (del) {
        ben_put_key(&out, "del");
        ben_put_int(&out, 1);
    }
    ben_put_key(&out, "exp");
    ben_put_int(&out, now_unix_s(net->now) + life_s);
    ben_put_end(&out);
    struct kad_entry entry = {.seq = seq, .v = span(buf, out.size)};
    assert_int_equal(kad_entry_sign(&entry, root, id), 0);
    identity_free(id);
    return net_set_put(net, at, root, &entry);
}

static void put_crowd(struct net *net, unsigned n, bool narrow, unsigned stay)
{
    struct result *last = NULL;
    for (unsigned i = 0; i < n; i++) {
        last = put(net, i % 12, i, narrow, 1, i < stay ? LONG_S : 5000, false);
        if (i % 10 == 9 || i + 1 == n)
            net_run_until(net, last);
        assert_int_equal(last->status, 0);
    }
}

static void expect_count(struct net *net, size_t at, bool exact, uint64_t count)
{
    struct result *r = net_set_count(net, at, root, exact);
    net_run_until(net, r);
    assert_int_equal(r->status, 0);
    assert_int_equal(r->count, count);
    assert_int_equal(r->spread, 0);
}

static void tombstones_do_not_count(void **state)
{
    (void)state;
    struct net *net = net_new(20, &(struct net_options){.seed = 31, .latency_ms = 2, .k = 8});
    net_start_all(net);
    expect_count(net, 3, true, 0);
    expect_count(net, 3, false, 0);
    put_crowd(net, 30, false, 30);
    for (unsigned i = 0; i < 7; i++)
        net_run_until(net, put(net, 5, i, false, 2, LONG_S, true));
    expect_count(net, 3, true, 23);
    expect_count(net, 4, false, 23);
    struct net *alone = net_new(1, &(struct net_options){.seed = 32});
    net_up(alone, 0);
    struct result *r = net_set_count(alone, 0, root, false);
    net_run_until(alone, r);
    assert_int_equal(r->status, CAM_ENET);
    net_free(alone);
    net_check(net);
    net_free(net);
}

static unsigned one_in; /* of so many nodes lies */

/* It says that it holds a million entries and that its shard is split, whatever it is asked. */
static bool lie(struct net *net, struct net_datagram *d)
{
    struct krpc_msg m;
    (void)net;
    if (d->from.port % one_in || krpc_decode(d->data, d->size, &m) || m.kind != KRPC_REPLY || !m.digest)
        return false;
    uint8_t copy[KAD_DATAGRAM_MAX];
    memcpy(copy, d->data, d->size);
    assert_int_equal(krpc_decode(copy, d->size, &m), 0);
    m.held = 1000000;
    m.split = true;
    struct bytes_out out = bytes_out(d->data, sizeof d->data);
    krpc_encode(&out, &m);
    if (!out.err)
        d->size = (uint16_t)out.size;
    return false;
}

static void nobody_is_believed_a_number(void **state)
{
    (void)state;
    struct net *net = net_new(30, &(struct net_options){.seed = 33, .latency_ms = 2, .k = 8});
    net_start_all(net);
    put_crowd(net, 90, false, 90);
    net->tamper = lie;
    one_in = 4;
    for (size_t i = 0; i < 6; i++) {
        expect_count(net, i, i % 2 == 0, 90);
        struct result *set = net_set_get(net, i, root, false, 0);
        net_run_until(net, set);
        assert_int_equal(set->n_entries, 90);
        assert_true(set->datagrams_at_end - set->datagrams_at_start < 2000);
    }
    net_free(net);
}

/* Every second node calls every shard split, which all are holders of. What is put meanwhile is put where readers look,
 * and no reader goes through shards without end. */
static void half_of_them_call_all_split(void **state)
{
    (void)state;
    struct net *net = net_new(13, &(struct net_options){.seed = 36, .latency_ms = 2});
    net_start_all(net);
    put_crowd(net, 5, false, 5);
    net->tamper = lie;
    one_in = 2;
    put_crowd(net, 10, false, 10);
    for (size_t i = 0; i < net->n; i++) {
        struct result *set = net_set_get(net, i, root, false, 0);
        net_run_until(net, set);
        assert_int_equal(set->status, 0);
        assert_int_equal(set->n_entries, 10);
        assert_true(set->datagrams_at_end - set->datagrams_at_start < 3000);
    }
    net_check(net);
    net_free(net);
}

static void a_crowd_is_counted(void **state)
{
    (void)state;
    struct net *net = net_new(20, &(struct net_options){.seed = 34, .latency_ms = 2, .k = 4});
    net_start_all(net);
    put_crowd(net, 700, false, 700);
    expect_count(net, 5, true, 700); /* most of them still lie above, waiting to be handed down */
    expect_count(net, 6, false, 700);
    net_run(net, 3 * 3600 * 1000);
    struct result *r = net_set_count(net, 7, root, false);
    net_run_until(net, r);
    assert_int_equal(r->count, 700);
    assert_int_equal(r->spread, 0); /* one leaf of each sixteenth: there are no others */
    assert_int_equal(r->shards, 16);
    net_free(net);
}

struct census {
    uint32_t entries, above; /* over all nodes; of them in shards that are split */
    uint32_t marks;          /* nodes that hold the root and know that it is split */
};

static struct census census(struct net *net, size_t first)
{
    struct census c = {0};
    for (size_t i = first; i < net->n; i++) {
        uint32_t cursor = KAD_WALK_START;
        struct kad_record record;
        if (!net->nodes[i].up)
            continue;
        struct kad_store *store = net->nodes[i].k->store;
        while (kad_store_walk(store, net->now, &cursor, &record)) {
            c.entries += record.n;
            c.above += record.split ? record.n : 0;
            c.marks += record.split && record.shard.depth == 0;
        }
    }
    return c;
}

/* The child that everything goes into splits before the root has handed anything down to it. */
static void entries_go_down_more_than_one_level(void **state)
{
    (void)state;
    struct net *net = net_new(20, &(struct net_options){.seed = 35, .latency_ms = 2, .k = 4});
    net_start_all(net);
    put_crowd(net, 1200, true, 1200);
    assert_true(census(net, 0).above >= 2 * 512 * 4);
    expect_count(net, 3, true, 1200);
    net_run(net, 3 * 3600 * 1000);
    struct census after = census(net, 0);
    assert_in_range(after.entries, 1200 * 4, 1200 * 4 * 3 / 2);
    assert_in_range(after.above, 1, 2 * 8); /* one stays at each holder of a split shard */
    expect_count(net, 3, true, 1200);
    /* All in one sixteenth: an estimate has little to go by, and says so. */
    struct result *r = net_set_count(net, 7, root, false);
    net_run_until(net, r);
    assert_true(r->spread > 100);
    assert_true(r->count < 1200 + 5 * r->spread && r->count + 5 * r->spread > 1200);
    assert_true(r->shards < 16 + 16);
    net_free(net);
}

/* Everybody who saw the set split goes, one after another; those who came meanwhile know it as it was,
 * though the shards in between hold nothing that could be handed on but the one entry that stays. */
static void a_split_outlives_its_holders(void **state)
{
    (void)state;
    struct net *net = net_new(28, &(struct net_options){.seed = 36, .latency_ms = 2, .k = 4});
    for (size_t i = 0; i < 14; i++) {
        net_up(net, i);
        if (i > 0)
            net_join(net, i, 0);
        net_run(net, 200);
    }
    put_crowd(net, 600, true, 600);
    net_run(net, 2 * 3600 * 1000);
    for (size_t i = 0; i < 14; i++) {
        net_up(net, 14 + i);
        net_join(net, 14 + i, i < 13 ? 13 : 14);
        net_run(net, 2000000);
        net_kill(net, i);
        net_run(net, 2000000);
    }
    assert_true(census(net, 14).marks >= 2);
    struct result *set = net_set_get(net, 20, root, false, 0);
    net_run_until(net, set);
    assert_int_equal(set->n_entries, 600);
    net_check(net);
    net_free(net);
}

/* While a crowd leaves and its shards are merged, those who stay are seen, each once, at every moment. */
static void merging_hides_nobody(void **state)
{
    (void)state;
    enum { CROWD = 700, STAY = 60 };
    struct net *net = net_new(16, &(struct net_options){.seed = 37, .latency_ms = 2, .k = 4});
    net_start_all(net);
    put_crowd(net, CROWD, false, STAY);
    uint64_t end_ms = net->now.mono_ms + 6 * 3600 * 1000;
    net_run(net, 5100 * 1000);
    unsigned tombstones = 0;
    while (net->now.mono_ms < end_ms) {
        struct result *set = net_set_get(net, 3, root, false, 0);
        net_run_until(net, set);
        assert_int_equal(set->n_entries, STAY);
        for (unsigned i = 0; i < set->n_entries; i++)
            for (unsigned j = i + 1; j < set->n_entries; j++)
                assert_memory_not_equal(set->entries[i].pk, set->entries[j].pk, KEY_SIZE);
        for (unsigned i = 0; i < set->n_entries; i++)
            tombstones += set->entries[i].tombstone;
        net_run(net, 120 * 1000);
    }
    assert_int_equal(tombstones, 0);
    assert_int_equal(census(net, 0).marks, 0);
    struct census c = census(net, 0);
    assert_in_range(c.entries, STAY * 4, STAY * 4 * 3 / 2);
    net_free(net);
}

/* A shard of tombstones looks empty by what its holders count; merged, it would be too full and split
 * again. */
static void tombstones_are_not_merged(void **state)
{
    (void)state;
    struct net *net = net_new(16, &(struct net_options){.seed = 38, .latency_ms = 2, .k = 4});
    net_start_all(net);
    put_crowd(net, 600, false, 600);
    net_run(net, 2 * 3600 * 1000);
    for (unsigned i = 0; i < 590; i++)
        net_run_until(net, put(net, i % 12, i, false, 2, LONG_S, true));
    for (unsigned hour = 0; hour < 4; hour++) {
        net_run(net, 3600 * 1000);
        assert_true(census(net, 0).marks >= 4);
        expect_count(net, 3, true, 10);
    }
    net_free(net);
}

/* Who has put into a deep set before does not come down from its root again. */
static void a_writer_remembers_the_depth(void **state)
{
    (void)state;
    struct net *net = net_new(20, &(struct net_options){.seed = 39, .latency_ms = 2, .k = 4});
    net_start_all(net);
    put_crowd(net, 1100, true, 10);
    struct result *r = put(net, 15, 2000, true, 1, LONG_S, false), *again;
    net_run_until(net, r);
    uint64_t first = r->datagrams_at_end - r->datagrams_at_start;
    again = put(net, 15, 2001, true, 1, LONG_S, false);
    net_run_until(net, again);
    assert_int_equal(again->status, 0);
    assert_true(again->datagrams_at_end - again->datagrams_at_start < first * 5 / 6);
    expect_count(net, 3, true, 1102);
    /* The set has shrunk to one shard: what is remembered leads nowhere, and the entry is put where readers
     * look. */
    net_run(net, 9 * 3600 * 1000);
    assert_int_equal(census(net, 0).marks, 0);
    again = put(net, 15, 2002, true, 1, LONG_S, false);
    net_run_until(net, again);
    assert_int_equal(again->status, 0);
    expect_count(net, 3, true, 13);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tombstones_do_not_count),
        cmocka_unit_test(nobody_is_believed_a_number),
        cmocka_unit_test(half_of_them_call_all_split),
        cmocka_unit_test(a_crowd_is_counted),
        cmocka_unit_test(entries_go_down_more_than_one_level),
        cmocka_unit_test(a_split_outlives_its_holders),
        cmocka_unit_test(merging_hides_nobody),
        cmocka_unit_test(tombstones_are_not_merged),
        cmocka_unit_test(a_writer_remembers_the_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
