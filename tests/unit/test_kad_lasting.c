/* Records through time: all holders are exchanged one after another, and nothing that was true is lost. */
#include "kad/store.h"
#include "tests/unit/kad_net.h"

static const uint8_t root[KAD_ID_SIZE] = {0x5e, 0x71};

static struct identity *numbered(unsigned n)
{
    uint8_t seed[KEY_SIZE] = {0x12, (uint8_t)n, (uint8_t)(n >> 8)};
    return identity_from_seed(seed);
}

static void put_entry(struct net *net, size_t at, unsigned n)
{
    uint8_t buf[100];
    struct identity *id = numbered(n);
    struct kad_entry entry = {.seq = 1, .v = net_value(net, buf, sizeof buf, "somebody")};
    assert_int_equal(kad_entry_sign(&entry, root, id), 0);
    struct result *put = net_set_put(net, at, root, &entry);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    identity_free(id);
}

/* The first `alive` nodes begin; then each in turn is killed and one that nobody has seen takes its place. */
static void begin(struct net *net, size_t alive)
{
    for (size_t i = 0; i < alive; i++) {
        net_up(net, i);
        if (i > 0)
            net_join(net, i, 0);
        net_run(net, 100);
    }
    net_run(net, 3000);
}

static void exchange_all(struct net *net, size_t alive, uint64_t every_ms)
{
    for (size_t i = 0; i + alive < net->n; i++) {
        net_up(net, i + alive);
        net_join(net, i + alive, i + alive - 1);
        net_run(net, every_ms / 2);
        net_kill(net, i);
        net_run(net, every_ms / 2);
    }
}

/* Who claimed first is still first when no holder is left that saw it. */
static void since_outlives_its_holders(void **state)
{
    (void)state;
    enum { ALIVE = 9, CLAIMS = 15, STEP_MS = 600000 };
    struct net *net = net_new(2 * ALIVE, &(struct net_options){.seed = 31, .latency_ms = 5, .k = 4});
    begin(net, ALIVE);
    for (unsigned i = 0; i < CLAIMS; i++) {
        put_entry(net, i % ALIVE, i);
        net_run(net, STEP_MS);
    }
    uint64_t first_ms = net->now.mono_ms - (uint64_t)CLAIMS * STEP_MS;
    exchange_all(net, ALIVE, 3 * 3600 * 1000);
    struct result *set = net_set_get(net, net->n - 1, root, false, 0);
    net_run_until(net, set);
    assert_int_equal(set->n_entries, CLAIMS);
    for (unsigned i = 0; i < CLAIMS; i++) {
        struct identity *id = numbered(i);
        uint64_t true_s = (net->now.mono_ms - first_ms - (uint64_t)i * STEP_MS) / 1000;
        assert_memory_equal(set->entries[i].pk, id->pk, KEY_SIZE);
        assert_in_range(set->entries[i].since_s, true_s - 120, true_s + 120);
        identity_free(id);
    }
    net_check(net);
    net_free(net);
}

/* A set that was split stays readable as a whole when nobody is left of those who saw it split. */
static void a_split_outlives_its_holders(void **state)
{
    (void)state;
    enum { ALIVE = 12, CROWD = 540 };
    struct net *net = net_new(2 * ALIVE, &(struct net_options){.seed = 32, .latency_ms = 2, .k = 4});
    begin(net, ALIVE);
    for (unsigned i = 0; i < CROWD; i++)
        put_entry(net, i % ALIVE, i);
    net_run(net, 3 * 3600 * 1000);
    exchange_all(net, ALIVE, 3 * 3600 * 1000);
    for (size_t i = ALIVE; i < net->n; i += 5) {
        struct result *set = net_set_get(net, i, root, false, 0);
        net_run_until(net, set);
        assert_int_equal(set->n_entries, CROWD);
    }
    /* The parent is empty and split: writers go down at once, and half a day of hours keeps it so. */
    put_entry(net, net->n - 1, CROWD);
    struct result *set = net_set_get(net, net->n - 2, root, false, 0);
    net_run_until(net, set);
    assert_int_equal(set->n_entries, CROWD + 1);
    net_check(net);
    net_free(net);
}

/* A split that is still needed does not lapse after its week. */
static void a_split_that_is_needed_stays(void **state)
{
    (void)state;
    enum { ALIVE = 8, CROWD = 540 };
    struct net *net = net_new(ALIVE, &(struct net_options){.seed = 33, .latency_ms = 2, .k = 4});
    begin(net, ALIVE);
    for (unsigned i = 0; i < CROWD; i++)
        put_entry(net, i % ALIVE, i);
    net_run(net, 8 * 24 * 3600 * (uint64_t)1000);
    struct result *set = net_set_get(net, 3, root, false, 0);
    net_run_until(net, set);
    assert_int_equal(set->n_entries, CROWD);
    unsigned most = 0;
    for (size_t i = 0; i < net->n; i++) {
        struct kad_stats stats;
        kad_stats(net->nodes[i].k, &stats);
        most = stats.entries > most ? stats.entries : most;
    }
    assert_true(most <= CROWD); /* nobody holds parent and children twice over */
    net_check(net);
    net_free(net);
}

/* ---- items ---------------------------------------------------------------------------------------------- */

static struct {
    bool asked[40];
} replication;

/* Notes who asks for an item with the seq it has: a holder at its hourly work. */
static bool note_replication(struct net *net, struct net_datagram *d)
{
    if (memmem(d->data, d->size, "1:q3:get", 8) && memmem(d->data, d->size, "3:seqi", 6))
        for (size_t i = 0; i < net->n; i++)
            if (addr_equal(&net->nodes[i].addr, &d->from))
                replication.asked[i] = true;
    return false;
}

/* Sixteen holders, and each hour the first few of them see to it that all have it. */
static void one_works_for_all(bool is_mutable)
{
    struct net *net = net_new(24, &(struct net_options){.seed = 35, .latency_ms = 5});
    begin(net, net->n);
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct span v = net_value(net, buf, sizeof buf, "still here");
    struct kad_item item = is_mutable ? net_item(me, "public", 1, v) : (struct kad_item){.v = v};
    struct result *put = net_put(net, 0, &item, NULL);
    net_run_until(net, put);
    assert_in_range(put->holders, 15, 16);
    net->tamper = note_replication;
    unsigned workers = 0, idle_hours = 0;
    for (int hour = 0; hour < 12; hour++) {
        memset(&replication, 0, sizeof replication);
        net_run(net, 3600 * 1000);
        unsigned n = 0;
        for (size_t i = 0; i < net->n; i++)
            n += replication.asked[i];
        workers += n;
        idle_hours += n == 0;
    }
    assert_in_range(workers, 10, 60); /* of 192, were each to do it for itself */
    assert_in_range(idle_hours, 0, 2); /* the hours of the wall and of the holders do not begin together */
    identity_free(me);
    net_check(net);
    net_free(net);
}

static void one_holder_does_the_work_of_the_hour(void **state)
{
    (void)state;
    one_works_for_all(true);
    one_works_for_all(false);
}

/* Notes who says what it holds of a set: a holder in its hour. */
static bool note_comparison(struct net *net, struct net_datagram *d)
{
    if (memmem(d->data, d->size, "1:q4:sget", 9) && memmem(d->data, d->size, "3:dig20:", 8))
        for (size_t i = 0; i < net->n; i++)
            if (addr_equal(&net->nodes[i].addr, &d->from))
                replication.asked[i] = true;
    return false;
}

/* Of sixteen holders a few compare what they hold in an hour, and each does now and then, whatever others say. */
static void few_compare_a_set_for_all(void **state)
{
    (void)state;
    enum { NODES = 24, HOURS = 24 };
    struct net *net = net_new(NODES, &(struct net_options){.seed = 39, .latency_ms = 5});
    begin(net, net->n);
    for (unsigned i = 0; i < 5; i++)
        put_entry(net, i, i);
    net_run(net, 3 * 3600 * 1000); /* all have compared once by themselves: the shard is not new to them */
    net->tamper = note_comparison;
    unsigned workers = 0, holders = 0, idle_hours = 0;
    bool ever[NODES] = {false};
    for (int hour = 0; hour < HOURS; hour++) {
        memset(&replication, 0, sizeof replication);
        net_run(net, 3600 * 1000);
        unsigned n = 0;
        for (size_t i = 0; i < net->n; i++) {
            n += replication.asked[i];
            ever[i] = ever[i] || replication.asked[i];
        }
        workers += n;
        idle_hours += n == 0;
    }
    for (size_t i = 0; i < net->n; i++) {
        struct kad_stats stats;
        kad_stats(net->nodes[i].k, &stats);
        holders += stats.entries > 0;
        assert_true(ever[i] == (stats.entries > 0));
    }
    assert_true(holders >= 15);
    assert_in_range(workers, HOURS, HOURS * 5); /* of 384, were each to do it for itself */
    assert_in_range(idle_hours, 0, 2);
    net_check(net);
    net_free(net);
}

/* The network grows, and most of those who held an item are no longer among the closest: they leave it to those. */
static void who_is_far_works_seldom(void **state)
{
    (void)state;
    enum { FIRST = 6, HOURS = 24 };
    struct net *net = net_new(40, &(struct net_options){.seed = 38, .latency_ms = 5, .k = 4});
    begin(net, FIRST);
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct kad_item item = net_item(me, "public", 1, net_value(net, buf, sizeof buf, "still here"));
    net_run_until(net, net_put(net, 0, &item, NULL));
    for (size_t i = FIRST; i < net->n; i++) {
        net_up(net, i);
        net_join(net, i, 0);
        net_run(net, 1000);
    }
    net_run(net, 2 * 3600 * 1000); /* all have had their hour */
    net->tamper = note_replication;
    unsigned workers = 0;
    for (int hour = 0; hour < HOURS; hour++) {
        memset(&replication, 0, sizeof replication);
        net_run(net, 3600 * 1000);
        for (size_t i = 0; i < net->n; i++)
            workers += replication.asked[i];
    }
    unsigned holders = 0;
    for (size_t i = 0; i < net->n; i++) {
        struct kad_stats stats;
        kad_stats(net->nodes[i].k, &stats);
        holders += stats.items;
    }
    assert_true(holders >= 10); /* four are closest, the others were once */
    /* One of the closest each hour, give or take the ends, and each of the far ones in its turn. */
    assert_in_range(workers, HOURS - 4, HOURS + 4 + holders * HOURS / KAD_REPLICATE_FAR);
    identity_free(me);
    net_check(net);
    net_free(net);
}

static void an_item_outlives_its_holders(void **state)
{
    (void)state;
    enum { ALIVE = 10 };
    struct net *net = net_new(3 * ALIVE, &(struct net_options){.seed = 36, .latency_ms = 5, .k = 4});
    begin(net, ALIVE);
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct kad_item item = net_item(me, "public", 1, net_value(net, buf, sizeof buf, "still here"));
    net_run_until(net, net_put(net, 0, &item, NULL));
    exchange_all(net, ALIVE, 2 * 3600 * 1000);
    struct result *get = net_get(net, net->n - 1, &item);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    assert_true(get->holders >= 3);
    identity_free(me);
    net_check(net);
    net_free(net);
}

/* ---- a holder that lies about who was first ------------------------------------------------------------ */

static struct addr liar;

static void put_key(struct bytes_out *out, struct span key) { ben_put_str(out, key.data, key.size); }

/* Rewrites the liar's pages: each entry five times over, each time first seen a year ago. */
static bool lie_about_since(struct net *net, struct net_datagram *d)
{
    struct ben message, value, inner;
    struct span key;
    (void)net;
    if (!addr_equal(&d->from, &liar) || ben_parse(d->data, d->size, &message))
        return false;
    uint8_t buf[16384];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    ben_put_dict(&out);
    for (struct ben_iter it = ben_iter(message); ben_next(&it, &key, &value);) {
        put_key(&out, key);
        if (!span_equal(key, span_str("r"))) {
            ben_put_raw(&out, value);
            continue;
        }
        ben_put_dict(&out);
        for (struct ben_iter in = ben_iter(value); ben_next(&in, &key, &inner);) {
            struct ben one, part;
            if (span_equal(key, span_str("nodes")))
                continue; /* room for more lies */
            put_key(&out, key);
            if (!span_equal(key, span_str("e")) || ben_type(inner) != BEN_LIST) {
                ben_put_raw(&out, inner);
                continue;
            }
            ben_put_list(&out);
            for (struct ben_iter list = ben_iter(inner); ben_next(&list, NULL, &one);)
                for (int copy = 0; copy < 5; copy++) {
                    ben_put_list(&out);
                    int at = 0;
                    for (struct ben_iter parts = ben_iter(one); ben_next(&parts, NULL, &part); at++)
                        if (at < 5)
                            ben_put_raw(&out, part);
                    ben_put_int(&out, 365 * 86400);
                    ben_put_end(&out);
                }
            ben_put_end(&out);
        }
        ben_put_end(&out);
    }
    ben_put_end(&out);
    assert_true(!out.err && out.size <= sizeof d->data);
    memcpy(d->data, buf, out.size);
    d->size = (uint16_t)out.size;
    return false;
}

static void one_liar_makes_no_first_claim(void **state)
{
    (void)state;
    struct net *net = net_new(9, &(struct net_options){.seed = 34, .latency_ms = 2, .k = 4});
    begin(net, 9);
    put_entry(net, 1, 0);
    net_run(net, 60000);
    for (size_t i = 0; i < net->n; i++) { /* each of them may be the one that lies */
        liar = net->nodes[i].addr;
        net->tamper = lie_about_since;
        struct result *set = net_set_get(net, (i + 1) % net->n, root, false, 0);
        net_run_until(net, set);
        assert_int_equal(set->n_entries, 1);
        assert_in_range(set->entries[0].since_s, 55, 70);
    }
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(since_outlives_its_holders),
        cmocka_unit_test(a_split_outlives_its_holders),
        cmocka_unit_test(a_split_that_is_needed_stays),
        cmocka_unit_test(one_liar_makes_no_first_claim),
        cmocka_unit_test(one_holder_does_the_work_of_the_hour),
        cmocka_unit_test(few_compare_a_set_for_all),
        cmocka_unit_test(who_is_far_works_seldom),
        cmocka_unit_test(an_item_outlives_its_holders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
