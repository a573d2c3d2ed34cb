/* Whom a reader and a writer of a set believe that a shard is split, and where they look and put then. */
#include "kad/krpc.h"
#include "kad/setread.h"
#include "tests/unit/kad_net.h"

static const uint8_t root[KAD_ID_SIZE] = {0x5e, 0x72};

/* ---- what holders say ---------------------------------------------------------------------------------- */

/* Of `close` of the k closest, `split` say that it is; and `far` others, met on the way. All hold some. */
static struct setwalk *said(unsigned split, unsigned close, unsigned far)
{
    static struct setwalk w;

    w = (struct setwalk){.shard = {.depth = 2}, .n_holders = (uint8_t)(close + far)};
    for (unsigned i = 0; i < w.n_holders; i++)
        w.holders[i] = (struct setwalk_holder){
            .held = 9, .close = i < close, .split = i < split || i >= close};
    return &w;
}

static void two_make_a_split(void **state)
{
    (void)state;
    struct setwalk *w;
    assert_false(setwalk_is_split(said(0, 6, 0)));
    assert_false(setwalk_is_split(said(1, 6, 0)));
    assert_true(setwalk_is_split(said(2, 6, 0)));
    assert_true(setwalk_is_split(said(0, 6, 2)));
    w = said(1, 6, 0);
    for (unsigned i = 1; i < w->n_holders; i++)
        w->holders[i].held = 0;
    assert_true(setwalk_is_split(w)); /* one is enough where nobody else holds any of it */
    w = said(6, 6, 0);
    w->shard.depth = KAD_SHARD_DEPTH_MAX;
    assert_false(setwalk_is_split(w));
}

static void below_a_doubtful_split_it_takes_two_of_three(void **state)
{
    (void)state;
    static const struct { unsigned split, close, far; bool doubtful, sure; } cases[] = {
        {2, 6, 0, true, false},  {3, 6, 0, false, false}, {4, 6, 0, false, true},  {2, 6, 9, true, false},
        {4, 6, 9, false, true},  {5, 10, 0, false, false}, {6, 10, 0, false, false}, {7, 10, 0, false, true},
        {4, 10, 0, true, false}, {1, 1, 0, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct setwalk *w = said(cases[i].split, cases[i].close, cases[i].far);
        assert_int_equal(setwalk_is_doubtful(w), cases[i].doubtful);
        assert_int_equal(setwalk_is_sure(w), cases[i].sure);
        w->doubted = true;
        assert_int_equal(setwalk_is_split(w), cases[i].sure);
    }
}

/* ---- in a network -------------------------------------------------------------------------------------- */

enum { ASKED_MAX = 1024 };

/* Node numbers below claims[depth] call every shard of that depth split, and those below `nobody` name nodes
 * that do not exist. With `mute` nobody answers for what lies below the root. */
struct world {
    struct net *net;
    unsigned claims[KAD_SHARD_DEPTH_MAX + 1], nobody;
    bool mute;
    unsigned sgets[KAD_SHARD_DEPTH_MAX + 1], sputs[KAD_SHARD_DEPTH_MAX + 1];
    uint16_t made_up;
    struct asked { uint8_t t[8]; uint16_t from, to; uint8_t depth; } asked[ASKED_MAX];
    size_t next;
};

static void note_query(struct world *w, const struct net_datagram *d, const struct krpc_msg *m)
{
    struct asked *a = &w->asked[w->next++ % ASKED_MAX];

    if (!m->has_depth || m->t.size > sizeof a->t)
        return;
    *a = (struct asked){.from = d->from.port, .to = d->to.port, .depth = (uint8_t)m->depth};
    memcpy(a->t, m->t.data, m->t.size);
    w->sgets[m->depth] += m->method == KRPC_SGET;
    w->sputs[m->depth] += m->method == KRPC_SPUT;
}

/* The query that this is the reply to, or NULL. */
static const struct asked *query_of(const struct world *w, const struct net_datagram *d,
                                    const struct krpc_msg *m)
{
    for (size_t i = 0; i < ASKED_MAX && m->t.size <= 8; i++) {
        const struct asked *a = &w->asked[i];
        if (a->from == d->to.port && a->to == d->from.port && memcmp(a->t, m->t.data, m->t.size) == 0)
            return a;
    }
    return NULL;
}

static struct span made_up_nodes(struct world *w, uint8_t *buf, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint8_t *at = buf + i * KRPC_NODE4_SIZE;
        struct addr addr = {.family = 4, .ip = {127, 0, 0, 1}, .port = (uint16_t)(20000 + ++w->made_up)};
        memcpy(at, root, KAD_ID_SIZE);
        put_be16(at + 17, w->made_up);
        addr_compact(&addr, at + KAD_ID_SIZE);
    }
    return span(buf, n * KRPC_NODE4_SIZE);
}

static bool claim(struct net *net, struct net_datagram *d)
{
    struct world *w = net->tamper_ctx;
    uint8_t copy[KAD_DATAGRAM_MAX], nodes[8 * KRPC_NODE4_SIZE];
    struct bytes_out out = bytes_out(d->data, sizeof d->data);
    struct krpc_msg m;
    unsigned from = d->from.port - 7000u;

    memcpy(copy, d->data, d->size);
    if (krpc_decode(copy, d->size, &m))
        return false;
    if (m.kind == KRPC_QUERY)
        note_query(w, d, &m);
    const struct asked *a = m.kind == KRPC_REPLY ? query_of(w, d, &m) : NULL;
    if (a && a->depth > 0 && w->mute)
        return true;
    if (!a || (from >= w->claims[a->depth] && from >= w->nobody))
        return false;
    m.split = m.split || from < w->claims[a->depth];
    if (from < w->nobody && m.nodes.data)
        m.nodes = made_up_nodes(w, nodes, 8);
    krpc_encode(&out, &m);
    assert_int_equal(out.err, 0);
    d->size = (uint16_t)out.size;
    return false;
}

/* Eleven nodes, all of them holders of everything; the last one reads and writes. */
static struct world *world_new(uint64_t seed, uint32_t latency_ms)
{
    struct world *w = calloc(1, sizeof *w);

    w->net = net_new(11, &(struct net_options){.seed = seed, .latency_ms = latency_ms});
    net_start_all(w->net);
    w->net->tamper = claim;
    w->net->tamper_ctx = w;
    return w;
}

static void world_free(struct world *w)
{
    net_check(w->net);
    net_free(w->net);
    free(w);
}

static struct kad_entry made_entry(struct world *w, uint8_t *buf, unsigned n, int64_t life_s)
{
    uint8_t seed[KEY_SIZE] = {0x13, (uint8_t)n, (uint8_t)(n >> 8)};
    struct identity *id = identity_from_seed(seed);
    struct bytes_out out = bytes_out(buf, KAD_SET_VALUE_MAX);

    ben_put_dict(&out);
    ben_put_key(&out, "exp");
    ben_put_int(&out, now_unix_s(w->net->now) + life_s);
    ben_put_end(&out);
    struct kad_entry entry = {.seq = 1, .v = span(buf, out.size)};
    assert_int_equal(kad_entry_sign(&entry, root, id), 0);
    identity_free(id);
    return entry;
}

/* Lays entries [from, to) at every node but the last, at one depth. */
static void lay(struct world *w, unsigned from, unsigned to, uint8_t depth, int64_t life_s)
{
    for (unsigned n = from; n < to; n++) {
        uint8_t buf[KAD_SET_VALUE_MAX];
        struct kad_entry entry = made_entry(w, buf, n, life_s);
        for (size_t i = 0; i < 10; i++) {
            struct kad_store *store = w->net->nodes[i].k->store;
            assert_int_equal(kad_store_set_put(store, w->net->now, root, depth, &entry, NULL), 0);
        }
    }
}

static struct result *read_all(struct world *w)
{
    struct result *set = net_set_get(w->net, 10, root, false, 0);

    memset(w->sgets, 0, sizeof w->sgets);
    net_run_until(w->net, set);
    assert_int_equal(set->status, 0);
    return set;
}

static struct kad_shard_id top(void)
{
    struct kad_shard_id at = {.depth = 0};

    memcpy(at.root, root, KAD_ID_SIZE);
    return at;
}

/* A root that has split, with one entry left that lives for so long. */
static void lay_split_root(struct world *w, int64_t life_s)
{
    struct kad_shard_id at = top();

    lay(w, 0, 1, 0, life_s);
    for (size_t i = 0; i < 10; i++)
        kad_store_split(w->net->nodes[i].k->store, w->net->now, &at);
}

static struct kad_set_page root_at(struct world *w, size_t node)
{
    struct kad_set_query query = {.max = 1};
    struct kad_set_page page;
    struct kad_shard_id at = top();

    kad_store_set_get(w->net->nodes[node].k->store, w->net->now, &at, &query, &page);
    return page;
}

/* The root may have lost its last entry; all that there is lies below. */
static void a_root_without_entries_is_believed(void **state)
{
    (void)state;
    struct world *w = world_new(41, 2);
    lay_split_root(w, 60);
    lay(w, 1, 21, 1, 86400);
    net_run(w->net, 61000);
    assert_int_equal(read_all(w)->n_entries, 20);
    assert_true(w->sgets[1] > 0);
    world_free(w);
}

/* Below it a shard that nobody has an entry of has no children, whoever says so. */
static void below_it_an_entry_must_be_there(void **state)
{
    (void)state;
    struct world *w = world_new(42, 2);
    lay(w, 0, 5, 0, 86400);
    w->claims[0] = w->claims[1] = w->claims[2] = 10;
    assert_int_equal(read_all(w)->n_entries, 5);
    assert_true(w->sgets[1] > 0);
    assert_int_equal(w->sgets[2], 0);
    lay(w, 5, 6, 1, 86400); /* one of the sixteen has one */
    assert_int_equal(read_all(w)->n_entries, 6);
    assert_in_range(w->sgets[2], 1, 16 * 10);
    assert_int_equal(w->sgets[3], 0);
    world_free(w);
}

/* Few call the root split; all its children; few again theirs, which is not enough, however sure the step
 * between. */
static void doubt_goes_down(void **state)
{
    (void)state;
    struct world *w = world_new(43, 2);
    lay(w, 0, 100, 1, 86400); /* each of the sixteen has some */
    lay(w, 100, 120, 2, 86400);
    w->claims[0] = w->claims[2] = 3;
    w->claims[1] = 10;
    assert_int_equal(read_all(w)->n_entries, 120);
    assert_true(w->sgets[2] > 0);
    assert_int_equal(w->sgets[3], 0);
    w->claims[0] = 10; /* no doubt any more: two or three are enough */
    read_all(w);
    assert_true(w->sgets[3] > 0);
    world_free(w);
}

/* Of few who call a shard split those who named the dead are not heard. */
static void who_names_nobody_splits_nothing(void **state)
{
    (void)state;
    struct world *w = world_new(44, 2);
    lay(w, 0, 30, 0, 86400);
    w->claims[0] = 3;
    assert_int_equal(read_all(w)->n_entries, 30);
    assert_true(w->sgets[1] > 0);
    w->nobody = 3;
    assert_int_equal(read_all(w)->n_entries, 30);
    assert_int_equal(w->sgets[1], 0);
    world_free(w);
}

/* When its last entry is about to expire, another that lies below comes back to a split shard. */
static void a_split_shard_keeps_an_entry(void **state)
{
    (void)state;
    struct world *w = world_new(46, 2);
    lay_split_root(w, 2 * 3600);
    lay(w, 1, 1 + 2 * KAD_SHARD_MERGE_MAX, 1, 86400); /* too many to be merged */
    net_run(w->net, 3 * 3600 * 1000);
    for (size_t i = 0; i < 10; i++) {
        assert_true(root_at(w, i).split);
        assert_int_equal(root_at(w, i).n, 1);
    }
    world_free(w);
}

enum { WATCHED = 64 };

struct watch { /* of the first entries above */
    uint8_t pk[WATCHED][KEY_SIZE];
    bool had[WATCHED][11];
    unsigned dropped, least; /* below, when one was */
};

static bool holds(struct world *w, size_t node, uint8_t depth, const uint8_t pk[KEY_SIZE])
{
    struct kad_shard_id at;
    struct kad_entry held;
    uint8_t slot[KAD_SLOT_SIZE];

    kad_slot(pk, slot);
    kad_shard_of(&at, root, depth, slot);
    return kad_store_entry_get(w->net->nodes[node].k->store, w->net->now, &at, pk, &held) == 0;
}

/* Whoever has dropped one since the last look: so many have it below by now, at least. */
static void look_below(struct world *w, struct watch *watch)
{
    for (unsigned n = 0; n < WATCHED; n++) {
        unsigned below = 0, dropped = 0;
        for (size_t i = 0; i < 11; i++) {
            bool has = holds(w, i, 0, watch->pk[n]);
            dropped += watch->had[n][i] && !has;
            watch->had[n][i] = has;
            below += holds(w, i, 1, watch->pk[n]);
        }
        watch->dropped += dropped;
        if (dropped && below < watch->least)
            watch->least = below;
    }
}

/* Where datagrams are lost as well: who has not confirmed an entry is not to be counted out, or few would be
 * half of those that are left. */
static void half_of_all_have_what_is_dropped(void **state)
{
    (void)state;
    struct world *w = world_new(50, 20);
    struct watch watch = {.least = 11};
    uint8_t buf[KAD_SET_VALUE_MAX];
    lay(w, 0, KAD_SHARD_ENTRIES_MAX, 0, 86400);
    for (unsigned n = 0; n < WATCHED; n++)
        memcpy(watch.pk[n], made_entry(w, buf, n, 86400).pk, KEY_SIZE);
    struct kad_entry entry = made_entry(w, buf, KAD_SHARD_ENTRIES_MAX, 86400);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(kad_store_set_put(w->net->nodes[i].k->store, w->net->now, root, 0, &entry, NULL),
                         KAD_STORE_SPLIT);
    w->net->options.loss = 0.1;
    for (unsigned s = 0; s < 20 * 60; s++) {
        look_below(w, &watch);
        net_run(w->net, 1000);
    }
    assert_true(watch.dropped > 10 * WATCHED / 2);
    assert_in_range(watch.least, 5, 11);
    world_free(w);
}

/* A holder believes that its shard is split when most of the others say so, and not when few do: then it goes
 * to the children. As these hold nothing, it takes its mark off again. */
static void holders_believe_most_of_the_others(void **state)
{
    (void)state;
    for (unsigned claims = 4; claims <= 8; claims += 4) {
        struct world *w = world_new(47, 2);
        lay(w, 0, 30, 0, 86400);
        w->claims[0] = claims;
        net_run(w->net, 80 * 60000);
        assert_true(w->sgets[0] > 0);
        assert_int_equal(w->sgets[1] > 0, claims == 8);
        world_free(w);
    }
}

/* What waits for shards that only few speak of, and in which nobody answers, waits for SETREAD_DOUBT_MS. */
static void a_doubtful_split_costs_little_time(void **state)
{
    (void)state;
    struct world *w = world_new(48, 300);
    lay(w, 0, 30, 0, 86400);
    w->mute = true;
    struct result *set = read_all(w);
    uint64_t plain_ms = set->done_ms - set->started_ms;
    w->claims[0] = 3;
    set = read_all(w);
    assert_int_equal(set->n_entries, 30);
    assert_true(w->sgets[1] > 0);
    assert_in_range(set->done_ms - set->started_ms - plain_ms, 1, SETREAD_DOUBT_MS);
    world_free(w);
}

/* A writer asks before it goes down, by putting its entry, unless two of three of the holders say that it
 * must; and then it does where half of them do. */
static void a_writer_puts_unless_most_send_it_down(void **state)
{
    (void)state;
    static const struct { unsigned claim; bool here, below; } cases[] = {
        {0, true, false}, {4, true, false}, {5, true, true},
        {6, true, true},  {7, false, true}, {10, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = world_new(45, 2);
        uint8_t buf[KAD_SET_VALUE_MAX];
        struct kad_entry entry = made_entry(w, buf, 0, 86400);
        w->claims[0] = cases[i].claim;
        struct result *put = net_set_put(w->net, 10, root, &entry);
        net_run_until(w->net, put);
        assert_int_equal(put->status, 0);
        assert_int_equal(w->sputs[0] > 0, cases[i].here);
        assert_int_equal(w->sputs[1] > 0, cases[i].below);
        assert_int_equal(read_all(w)->n_entries, 1);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_make_a_split),
        cmocka_unit_test(below_a_doubtful_split_it_takes_two_of_three),
        cmocka_unit_test(a_root_without_entries_is_believed),
        cmocka_unit_test(below_it_an_entry_must_be_there),
        cmocka_unit_test(doubt_goes_down),
        cmocka_unit_test(who_names_nobody_splits_nothing),
        cmocka_unit_test(a_split_shard_keeps_an_entry),
        cmocka_unit_test(half_of_all_have_what_is_dropped),
        cmocka_unit_test(holders_believe_most_of_the_others),
        cmocka_unit_test(a_doubtful_split_costs_little_time),
        cmocka_unit_test(a_writer_puts_unless_most_send_it_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
