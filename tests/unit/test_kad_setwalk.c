/* Signed sets over a network of whole nodes: many writers, many readers, holders that differ, shards that split. */
#include "kad/krpc.h"
#include "kad/setwalk.h"
#include "tests/unit/kad_net.h"

static const uint8_t root[KAD_ID_SIZE] = {0x5e, 0x70};

static struct kad_entry made_entry(struct net *net, uint8_t *buf, const struct identity *id, int64_t seq, bool tombstone)
{
    struct bytes_out out = bytes_out(buf, KAD_SET_VALUE_MAX);
    ben_put_dict(&out);
    if (tombstone) {
        ben_put_key(&out, "del");
        ben_put_int(&out, 1);
    }
    ben_put_key(&out, "exp");
    ben_put_int(&out, now_unix_s(net->now) + 20 * 86400);
    ben_put_key(&out, "name");
    ben_put_text(&out, "somebody");
    ben_put_end(&out);
    struct kad_entry entry = {.seq = seq, .v = span(buf, out.size)};
    assert_int_equal(kad_entry_sign(&entry, root, id), 0);
    return entry;
}

static struct identity *numbered(unsigned n)
{
    uint8_t seed[KEY_SIZE] = {0x11, (uint8_t)n, (uint8_t)(n >> 8)};
    return identity_from_seed(seed);
}

static void nine_at_the_same_instant(void **state)
{
    (void)state;
    struct net *net = net_new(30, &(struct net_options){.seed = 21, .latency_ms = 10});
    net_start_all(net);
    struct result *puts[9];
    struct identity *ids[9];
    for (unsigned i = 0; i < 9; i++) {
        uint8_t buf[KAD_SET_VALUE_MAX];
        ids[i] = numbered(i);
        struct kad_entry entry = made_entry(net, buf, ids[i], 1, false);
        puts[i] = net_set_put(net, 1 + i, root, &entry);
    }
    for (unsigned i = 0; i < 9; i++) {
        net_run_until(net, puts[i]);
        assert_int_equal(puts[i]->status, 0);
        assert_true(puts[i]->holders >= 15);
    }
    for (size_t i = 0; i < net->n; i++) {
        struct result *set = net_set_get(net, i, root, false, 0);
        net_run_until(net, set);
        assert_int_equal(set->status, 0);
        assert_int_equal(set->n_entries, 9);
        assert_true(set->holders >= 3);
    }
    net_check(net);
    for (unsigned i = 0; i < 9; i++)
        identity_free(ids[i]);
    net_free(net);
}

static void highest_seq_and_tombstones(void **state)
{
    (void)state;
    struct net *net = net_new(20, &(struct net_options){.seed = 22, .latency_ms = 5, .k = 8});
    net_start_all(net);
    struct identity *a = numbered(1), *b = numbered(2);
    uint8_t buf[KAD_SET_VALUE_MAX];
    struct kad_entry entry = made_entry(net, buf, a, 5, false);
    net_run_until(net, net_set_put(net, 1, root, &entry));
    entry = made_entry(net, buf, b, 2, false);
    net_run_until(net, net_set_put(net, 2, root, &entry));
    entry = made_entry(net, buf, a, 6, true);
    struct result *put = net_set_put(net, 3, root, &entry);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    entry = made_entry(net, buf, a, 4, false);
    put = net_set_put(net, 4, root, &entry);
    net_run_until(net, put);
    assert_int_equal(put->status, CAM_ESTALE);
    entry = made_entry(net, buf, b, 3, false);
    entry.sig[9] ^= 4;
    put = net_set_put(net, 5, root, &entry);
    net_run_until(net, put);
    assert_int_equal(put->status, CAM_EAUTH);
    struct result *set = net_set_get(net, 9, root, false, 0);
    net_run_until(net, set);
    assert_int_equal(set->n_entries, 2);
    for (unsigned i = 0; i < 2; i++) {
        bool is_a = memcmp(set->entries[i].pk, a->pk, KEY_SIZE) == 0;
        assert_int_equal(set->entries[i].seq, is_a ? 6 : 2);
        assert_int_equal(set->entries[i].tombstone, is_a);
    }
    identity_free(a);
    identity_free(b);
    net_check(net);
    net_free(net);
}

static bool drop_sputs(struct net *net, struct net_datagram *d)
{
    struct krpc_msg m;
    (void)net;
    return krpc_decode(d->data, d->size, &m) == 0 && m.kind == KRPC_QUERY && m.method == KRPC_SPUT;
}

/* Each part of the network took some entries while it was cut: the reader sees the union; the hour mends it. */
static void holders_that_differ(void **state)
{
    (void)state;
    struct net *net = net_new(24, &(struct net_options){.seed = 23, .latency_ms = 5, .k = 8});
    net_start_all(net);
    for (size_t i = 0; i < net->n; i++)
        net->nodes[i].group = (int)(i % 3);
    for (unsigned i = 0; i < 90; i++) {
        uint8_t buf[KAD_SET_VALUE_MAX];
        struct identity *id = numbered(i);
        struct kad_entry entry = made_entry(net, buf, id, 1, false);
        struct result *put = net_set_put(net, i % net->n, root, &entry);
        net_run_until(net, put);
        assert_int_equal(put->status, 0);
        identity_free(id);
    }
    for (size_t i = 0; i < net->n; i++)
        net->nodes[i].group = 0;
    net_run(net, 40000);
    struct result *set = net_set_get(net, 7, root, false, 0);
    net_run_until(net, set);
    assert_int_equal(set->n_entries, 90);
    /* An hour later all who should hold the shard hold the same: what one is not sent it fetches. */
    net->tamper = drop_sputs;
    net_run(net, 90 * 60000);
    unsigned full = 0;
    for (size_t i = 0; i < net->n; i++) {
        struct kad_stats stats;
        kad_stats(net->nodes[i].k, &stats);
        full += stats.entries == 90;
    }
    assert_true(full >= 8);
    net_check(net);
    net_free(net);
}

/* `since` is what most holders say: a late holder does not make an old claim young, nor a new one old. */
static void oldest_claims_come_first(void **state)
{
    (void)state;
    struct net *net = net_new(20, &(struct net_options){.seed = 24, .latency_ms = 5, .k = 8});
    net_start_all(net);
    struct identity *ids[5];
    unsigned lost = 0;
    for (unsigned i = 0; i < 5; i++) {
        uint8_t buf[KAD_SET_VALUE_MAX];
        ids[i] = numbered(40 + i);
        struct kad_entry entry = made_entry(net, buf, ids[i], 1, false);
        net_run_until(net, net_set_put(net, i, root, &entry));
        net_run(net, 100000);
    }
    /* Two come back without their disk and are handed everything anew: for them all is young. */
    for (size_t i = 0; i < net->n; i++) {
        struct kad_stats stats;
        kad_stats(net->nodes[i].k, &stats);
        if (stats.entries == 0 || lost == 2)
            continue;
        net_kill(net, i);
        net_forget(&net->nodes[i]);
        net_up(net, i);
        net_join(net, i, i ? 0 : 1);
        lost++;
    }
    net_run(net, 5000);
    struct result *set = net_set_get(net, 12, root, false, 3);
    net_run_until(net, set);
    assert_int_equal(set->n_entries, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_memory_equal(set->entries[i].pk, ids[i]->pk, KEY_SIZE);
        assert_in_range(set->entries[i].since_s, 100 * (5 - i) - 5, 100 * (5 - i) + 30);
    }
    struct result *fresh = net_set_get(net, 13, root, true, 2);
    net_run_until(net, fresh);
    assert_int_equal(fresh->n_entries, 2);
    assert_memory_equal(fresh->entries[0].pk, ids[4]->pk, KEY_SIZE);
    assert_memory_equal(fresh->entries[1].pk, ids[3]->pk, KEY_SIZE);
    for (unsigned i = 0; i < 5; i++)
        identity_free(ids[i]);
    net_check(net);
    net_free(net);
}

static unsigned held_in_all(struct net *net)
{
    unsigned sum = 0;
    for (size_t i = 0; i < net->n; i++) {
        struct kad_stats stats;
        kad_stats(net->nodes[i].k, &stats);
        sum += stats.entries;
    }
    return sum;
}

/* Notes how many entries are still held in shards that are split. */
static bool see_split(struct net *net, struct net_datagram *d)
{
    struct krpc_msg m;
    unsigned *held = net->tamper_ctx;
    if (krpc_decode(d->data, d->size, &m) == 0 && m.kind == KRPC_REPLY && m.split && m.held > *held)
        *held = m.held;
    return false;
}

/* More than a shard holds: it splits, and readers still see everybody once. */
static void a_crowd_splits_the_shard(void **state)
{
    (void)state;
    struct net *net = net_new(20, &(struct net_options){.seed = 25, .latency_ms = 2, .k = 4});
    net_start_all(net);
    const unsigned crowd = 700;
    for (unsigned i = 0; i < crowd; i++) {
        uint8_t buf[KAD_SET_VALUE_MAX];
        struct identity *id = numbered(i);
        struct kad_entry entry = made_entry(net, buf, id, 1, false);
        struct result *put = net_set_put(net, i % net->n, root, &entry);
        net_run_until(net, put);
        assert_int_equal(put->status, 0);
        identity_free(id);
    }
    struct result *set = net_set_get(net, 3, root, false, 0);
    net_run_until(net, set);
    assert_int_equal(set->n_entries, crowd);
    for (unsigned i = 0; i < set->n_entries; i++)
        for (unsigned j = i + 1; j < set->n_entries; j++)
            assert_memory_not_equal(set->entries[i].pk, set->entries[j].pk, KEY_SIZE);
    /* The crowd moves down, and is still whole; nobody keeps it above and below. */
    unsigned held_split = 0;
    net->tamper = see_split;
    net->tamper_ctx = &held_split;
    net_run_until(net, net_set_get(net, 8, root, false, 0));
    assert_true(held_split > 400);
    net_run(net, 2 * 3600 * 1000);
    assert_in_range(held_in_all(net), 700 * 4, 700 * 4 * 3 / 2);
    held_split = 0;
    set = net_set_get(net, 8, root, false, 0);
    net_run_until(net, set);
    assert_int_equal(set->n_entries, crowd);
    assert_true(held_split < 50);
    struct result *some = net_set_get(net, 5, root, true, 20);
    net_run_until(net, some);
    assert_int_equal(some->n_entries, 20);
    net_check(net);
    net_free(net);
}

/* A crowd that was split and has gone leaves one shard again. */
static void a_crowd_that_leaves(void **state)
{
    (void)state;
    struct net *net = net_new(10, &(struct net_options){.seed = 28, .latency_ms = 2, .k = 4});
    net_start_all(net);
    for (unsigned i = 0; i < 560; i++) {
        uint8_t buf[KAD_SET_VALUE_MAX];
        struct identity *id = numbered(i);
        struct bytes_out out = bytes_out(buf, sizeof buf);
        ben_put_dict(&out);
        ben_put_key(&out, "exp");
        ben_put_int(&out, now_unix_s(net->now) + (i < 10 ? 20 * 86400 : 5000));
        ben_put_end(&out);
        struct kad_entry entry = {.seq = 1, .v = span(buf, out.size)};
        assert_int_equal(kad_entry_sign(&entry, root, id), 0);
        net_run_until(net, net_set_put(net, i % net->n, root, &entry));
        identity_free(id);
    }
    unsigned held_split = 0;
    net->tamper = see_split;
    net->tamper_ctx = &held_split;
    net_run_until(net, net_set_get(net, 8, root, false, 0));
    assert_true(held_split > 400);
    net_run(net, 6 * 3600 * 1000);
    held_split = 0;
    struct result *set = net_set_get(net, 5, root, false, 0);
    uint64_t before = net->datagrams;
    net_run_until(net, set);
    assert_int_equal(set->n_entries, 10);
    assert_int_equal(held_split, 0);
    assert_true(net->datagrams - before < 60); /* one shard, not seventeen */
    net_check(net);
    net_free(net);
}

static void medians_of_what_holders_say(void **state)
{
    (void)state;
    struct setwalk_found f = {.since = {.n = 5, .s = {900, 20, 800, 1000000, 700}},
                              .age = {.n = 4, .s = {0, 60, 61, 4000000}}};
    setwalk_settle(&f);
    assert_int_equal(f.entry.since_s, 800);
    assert_int_equal(f.entry.age_s, 61);
    f.since.n = 1;
    f.age.n = 0; /* judged already */
    setwalk_settle(&f);
    assert_int_equal(f.entry.since_s, 900);
    assert_int_equal(f.entry.age_s, 61);
    f.since.n = 0;
    setwalk_settle(&f);
    assert_int_equal(f.entry.since_s, 0);
    for (unsigned i = 0; i < 2 * SETWALK_SAID_MAX; i++)
        setwalk_say(&f.age, (uint8_t)i, i);
    assert_int_equal(f.age.n, SETWALK_SAID_MAX);
    setwalk_say(&f.since, 3, 10);
    setwalk_say(&f.since, 3, 20); /* again: not heard */
    setwalk_say(&f.since, SETWALK_COUNTED, 30);
    setwalk_say(&f.since, SETWALK_COUNTED, 40);
    assert_int_equal(f.since.n, 3);
}

static struct setwalk_found *said_of(struct setwalk *w, unsigned n)
{
    struct setwalk_found *f = calloc(1, sizeof *f);

    f->slot[0] = (uint8_t)n;
    setwalk_finds_add(&w->finds, f);
    return f;
}

/* Whoever was met on the way has no word where one of the k closest has; our own store has one. */
static void the_closest_are_heard(void **state)
{
    (void)state;
    struct setwalk *w = calloc(1, sizeof *w);
    struct setwalk_found *both = said_of(w, 1), *far = said_of(w, 2);
    w->n_holders = 20;
    for (uint8_t i = 0; i < 20; i++) {
        w->holders[i].close = i >= 17;
        setwalk_say(&both->since, i, i >= 17 ? 1000 + i : 5);
        if (i < 9)
            setwalk_say(&far->since, i, 100);
    }
    setwalk_say(&both->since, SETWALK_US, 2000);
    setwalk_count_said(w);
    for (unsigned i = 0; i < 2; i++) /* another shard: of the same holders nothing is known any more */
        setwalk_count_said(w);
    assert_int_equal(both->since.n, 4);
    assert_int_equal(far->since.n, 9);
    setwalk_settle(both);
    setwalk_settle(far);
    assert_int_equal(both->entry.since_s, 1019);
    assert_int_equal(far->entry.since_s, 100);
    setwalk_finds_forget(&w->finds);
    free(w);
}

/* ---- liars about how long ago an entry was refreshed ------------------------------------------------------ */

enum { AGED_DEAD = 3, AGED_LIVE = 12 }; /* far more than a page has */

struct aged {
    struct identity *dead[AGED_DEAD], *live[AGED_LIVE];
    struct kad_entry entries[AGED_DEAD];
    uint8_t values[AGED_DEAD][KAD_SET_VALUE_MAX];
    bool slander;           /* of the living they say that they are dead, too */
    unsigned liars, lies;   /* nodes below this number lie */
    uint64_t put_ms;        /* the last of them */
};

static struct aged *aged_new(struct net *net)
{
    struct aged *a = calloc(1, sizeof *a);
    uint8_t buf[KAD_SET_VALUE_MAX];

    net->tamper_ctx = a;
    for (unsigned i = 0; i < AGED_DEAD; i++) {
        a->dead[i] = numbered(100 + i);
        a->entries[i] = made_entry(net, a->values[i], a->dead[i], 1, false);
        net_run_until(net, net_set_put(net, i, root, &a->entries[i]));
    }
    net_run(net, 40 * 60000);
    for (unsigned i = 0; i < AGED_LIVE; i++) {
        a->live[i] = numbered(200 + i);
        struct kad_entry entry = made_entry(net, buf, a->live[i], 1, false);
        net_run_until(net, net_set_put(net, i % 8, root, &entry));
        net_run(net, 20000);
    }
    a->put_ms = net->now.mono_ms;
    return a;
}

static void aged_free(struct aged *a)
{
    for (unsigned i = 0; i < AGED_DEAD; i++)
        identity_free(a->dead[i]);
    for (unsigned i = 0; i < AGED_LIVE; i++)
        identity_free(a->live[i]);
    free(a);
}

/* A liar's page has the dead first, refreshed just now; or the living, refreshed long ago. */
static bool lie_about_ages(struct net *net, struct net_datagram *d)
{
    struct aged *a = net->tamper_ctx;
    struct krpc_msg m;
    struct ben_iter it;
    struct ben one;
    uint8_t copy[KAD_DATAGRAM_MAX], list_buf[KAD_DATAGRAM_MAX];
    struct bytes_out list = bytes_out(list_buf, sizeof list_buf), out = bytes_out(d->data, sizeof d->data);

    if (d->from.port >= 7000 + a->liars)
        return false;
    memcpy(copy, d->data, d->size);
    if (krpc_decode(copy, d->size, &m) || m.kind != KRPC_REPLY || !m.entries.data)
        return false;
    ben_put_list(&list);
    for (unsigned i = 0; i <= AGED_DEAD && !a->slander; i++) /* one of them twice */
        kad_entry_put(&list, &a->entries[i % AGED_DEAD]);
    it = ben_iter(m.entries);
    while (a->slander && ben_next(&it, NULL, &one)) {
        struct kad_entry entry;
        assert_int_equal(kad_entry_get(one, &entry), 0);
        entry.age_s = 30 * 86400;
        kad_entry_put(&list, &entry);
    }
    ben_put_end(&list);
    m.entries = (struct ben){list_buf, list.size};
    krpc_encode(&out, &m);
    assert_int_equal(out.err, 0);
    d->size = (uint16_t)out.size;
    a->lies++;
    return false;
}

/* One that holds the whole set itself knows the order of all; another that of as many as pages list. */
static bool expect_the_living(struct net *net, const struct aged *a, size_t at)
{
    struct kad_stats stats;
    struct result *fresh;
    kad_stats(net->nodes[at].k, &stats);
    unsigned n = stats.entries == AGED_LIVE + AGED_DEAD ? AGED_LIVE : 3;

    fresh = net_set_get(net, at, root, true, n);
    net_run_until(net, fresh);
    assert_int_equal(fresh->n_entries, n);
    for (unsigned i = 0; i < n; i++) {
        assert_memory_equal(fresh->entries[i].pk, a->live[AGED_LIVE - 1 - i]->pk, KEY_SIZE);
        uint64_t age_s = 20 * (i + 1) + (net->now.mono_ms - a->put_ms) / 1000;
        assert_in_range(fresh->entries[i].age_s, 20 * (i + 1) - 2, age_s + 2);
    }
    return n == AGED_LIVE;
}

/* Less than half of the holders cannot make who is gone look fresh, nor who is there look gone. */
static void liars_make_nobody_younger_or_older(void **state)
{
    (void)state;
    struct net *net = net_new(24, &(struct net_options){.seed = 29, .latency_ms = 5});
    net_start_all(net);
    struct aged *a = aged_new(net);
    net->tamper = lie_about_ages;
    a->liars = 7;
    for (unsigned slander = 0; slander < 2; slander++) {
        a->slander = slander;
        a->lies = 0;
        unsigned whole = 0;
        for (size_t i = 7; i < net->n; i++)
            whole += expect_the_living(net, a, i);
        assert_in_range(whole, 3, net->n - 7 - 3);
        assert_true(a->lies > 5 * (net->n - 7)); /* they are holders like others, and are asked */
    }
    net_check(net);
    aged_free(a);
    net_free(net);
}

/* In the name of liars: whom they hand entries to is told that the dead are young. */
static bool hand_on_with_lies(struct net *net, struct net_datagram *d)
{
    struct aged *a = net->tamper_ctx;
    struct krpc_msg m;
    uint8_t copy[KAD_DATAGRAM_MAX];
    struct bytes_out out = bytes_out(d->data, sizeof d->data);

    if (d->from.port >= 7000 + a->liars)
        return false;
    memcpy(copy, d->data, d->size);
    if (krpc_decode(copy, d->size, &m) || m.kind != KRPC_QUERY || m.method != KRPC_SPUT)
        return false;
    m.age_s = 0;
    krpc_encode(&out, &m);
    assert_int_equal(out.err, 0);
    d->size = (uint16_t)out.size;
    a->lies++;
    return false;
}

/* A newcomer believes who hands it the shard, until it has compared itself with the other holders. */
static void newcomers_learn_the_age(void **state)
{
    (void)state;
    struct net *net = net_new(12, &(struct net_options){.seed = 30, .latency_ms = 2});
    for (size_t i = 0; i < 11; i++) {
        net_up(net, i);
        if (i > 0)
            net_join(net, i, 0);
        net_run(net, 100);
    }
    net_run(net, 2000);
    struct aged *a = aged_new(net);
    struct kad_shard_id at = {.depth = 0};
    struct kad_entry entry;
    memcpy(at.root, root, KAD_ID_SIZE);
    net->tamper = hand_on_with_lies;
    a->liars = 11; /* whoever is the first to hand it on */
    net_up(net, 11);
    net_join(net, 11, 0);
    net_run(net, 60000);
    a->liars = 0;
    assert_true(a->lies > 0);
    assert_int_equal(kad_store_entry_get(net->nodes[11].k->store, net->now, &at, a->dead[0]->pk, &entry), 0);
    assert_in_range(entry.age_s, 0, 120);
    net_run(net, 100 * 60000);
    assert_int_equal(kad_store_entry_get(net->nodes[11].k->store, net->now, &at, a->dead[0]->pk, &entry), 0);
    assert_in_range(entry.age_s, 144 * 60, 150 * 60);
    net_check(net);
    aged_free(a);
    net_free(net);
}

/* Who joins later and should hold the shard is handed it. */
static void newcomers_are_handed_the_shard(void **state)
{
    (void)state;
    struct net *net = net_new(12, &(struct net_options){.seed = 26, .latency_ms = 2});
    for (size_t i = 0; i < 6; i++) {
        net_up(net, i);
        if (i > 0)
            net_join(net, i, 0);
        net_run(net, 100);
    }
    net_run(net, 2000);
    for (unsigned i = 0; i < 40; i++) {
        uint8_t buf[KAD_SET_VALUE_MAX];
        struct identity *id = numbered(i);
        struct kad_entry entry = made_entry(net, buf, id, 1, false);
        net_run_until(net, net_set_put(net, i % 6, root, &entry));
        identity_free(id);
    }
    for (size_t i = 6; i < 12; i++) {
        net_up(net, i);
        net_join(net, i, 0);
        net_run(net, 1000);
    }
    net_run(net, 10000);
    for (size_t i = 6; i < 12; i++) {
        struct kad_stats stats;
        kad_stats(net->nodes[i].k, &stats);
        assert_int_equal(stats.entries, 40);
    }
    for (size_t i = 0; i < 6; i++)
        net_kill(net, i);
    struct result *set = net_set_get(net, 9, root, false, 0);
    net_run_until(net, set);
    assert_int_equal(set->n_entries, 40);
    net_check(net);
    net_free(net);
}

static void an_empty_set_is_no_error(void **state)
{
    (void)state;
    struct net *net = net_new(10, &(struct net_options){.seed = 27, .latency_ms = 2});
    net_start_all(net);
    struct result *set = net_set_get(net, 3, root, false, 64);
    net_run_until(net, set);
    assert_int_equal(set->status, 0);
    assert_int_equal(set->n_entries, 0);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nine_at_the_same_instant),
        cmocka_unit_test(highest_seq_and_tombstones),
        cmocka_unit_test(holders_that_differ),
        cmocka_unit_test(oldest_claims_come_first),
        cmocka_unit_test(a_crowd_splits_the_shard),
        cmocka_unit_test(newcomers_are_handed_the_shard),
        cmocka_unit_test(a_crowd_that_leaves),
        cmocka_unit_test(medians_of_what_holders_say),
        cmocka_unit_test(the_closest_are_heard),
        cmocka_unit_test(liars_make_nobody_younger_or_older),
        cmocka_unit_test(newcomers_learn_the_age),
        cmocka_unit_test(an_empty_set_is_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
