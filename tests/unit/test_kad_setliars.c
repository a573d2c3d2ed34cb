/* Holders of a signed set that lie to its readers: about what there is, since when, and without an end. */
#include "kad/krpc.h"
#include "kad/node.h"
#include "kad/setwalk.h"
#include "tests/unit/kad_net.h"

enum { NODES = 60, HOLDERS = 16, LARGE = 200, SMALL = 40, OWN = 500, READER = 40 };

static const uint8_t root[KAD_ID_SIZE] = {0x5e, 0x71};

/* What a liar answers, in the reply and its list, which has been begun. */
typedef void (*lie)(const struct krpc_msg *q, struct krpc_msg *r, struct bytes_out *list);

static struct liars {
    lie lie;
    size_t at[HOLDERS];          /* nodes, those closest to the root first */
    bool lies[HOLDERS];
    struct addr reader;
    uint8_t digest[KAD_ID_SIZE]; /* of the honest */
    unsigned held, asked;
    struct kad_entry sorted[LARGE + OWN], forged; /* the set by slot; and one that nobody signed */
    unsigned n_sorted;           /* and with it what the liars signed themselves */
    uint64_t delay_ms;
    uint8_t value[KAD_SET_VALUE_MAX];
} liars;

/* ---- the set ------------------------------------------------------------------------------------------- */

static struct kad_entry signed_entry(unsigned n)
{
    uint8_t seed[KEY_SIZE] = {0x12, (uint8_t)n, (uint8_t)(n >> 8)};
    struct identity *id = identity_from_seed(seed);
    struct bytes_out out = bytes_out(liars.value, sizeof liars.value);

    ben_put_dict(&out);
    ben_put_key(&out, "exp");
    ben_put_int(&out, INT64_C(1800000000) + 20 * 86400);
    ben_put_end(&out);
    struct kad_entry entry = {.seq = 1, .v = span(liars.value, out.size)}; /* the same for all */
    assert_int_equal(kad_entry_sign(&entry, root, id), 0);
    identity_free(id);
    return entry;
}

static int slot_order(const void *a_, const void *b_)
{
    const struct kad_entry *a = a_, *b = b_;
    uint8_t slot_a[KAD_SLOT_SIZE], slot_b[KAD_SLOT_SIZE];

    kad_slot(a->pk, slot_a);
    kad_slot(b->pk, slot_b);
    return memcmp(slot_a, slot_b, KAD_SLOT_SIZE);
}

static struct net *by_distance_net;

static int by_distance(const void *a, const void *b)
{
    return id_compare(root, kad_node_id(by_distance_net->nodes[*(const size_t *)a].k),
                      kad_node_id(by_distance_net->nodes[*(const size_t *)b].k));
}

/* A network with a set of n entries, read by somebody who does not hold it. */
static struct net *set_new(unsigned n)
{
    struct net *net = net_new(NODES, &(struct net_options){.seed = 5, .latency_ms = 20});
    size_t order[NODES];

    net_start_all(net);
    liars = (struct liars){.held = n, .n_sorted = n};
    for (unsigned i = 0; i < n; i++) {
        struct kad_entry entry = signed_entry(i);
        struct result *put = net_set_put(net, i % 12, root, &entry);
        net_run_until(net, put);
        assert_int_equal(put->status, 0);
        kad_entry_digest(&entry, liars.digest);
        liars.sorted[i] = entry;
    }
    qsort(liars.sorted, n, sizeof liars.sorted[0], slot_order);
    net_run(net, 5000);
    for (size_t i = 0; i < NODES; i++)
        order[i] = i;
    by_distance_net = net;
    qsort(order, NODES, sizeof *order, by_distance);
    memcpy(liars.at, order, sizeof liars.at);
    liars.reader = net->nodes[order[READER]].addr;
    liars.forged = liars.sorted[n - 1];
    do
        rng_fill(&net->rng, liars.forged.pk, KEY_SIZE);
    while (slot_order(&liars.forged, &liars.sorted[n - 1]) < 0);
    return net;
}

/* ---- what the liars do --------------------------------------------------------------------------------- */

static void answer(struct net *net, size_t from, const struct krpc_msg *q)
{
    struct net_datagram *d = malloc(sizeof *d);
    struct bytes_out out = bytes_out(d->data, sizeof d->data);
    const struct net_node *node = &net->nodes[from];
    uint8_t list_buf[KAD_DATAGRAM_MAX];
    struct bytes_out list = bytes_out(list_buf, sizeof list_buf);
    struct krpc_msg r = {.kind = KRPC_REPLY, .t = q->t, .id = kad_node_id(node->k),
                         .network = node->k->network, .token = span("tokentok", 8),
                         .has_held = true, .held = liars.held, .digest = liars.digest};

    ben_put_list(&list);
    liars.lie(q, &r, &list);
    ben_put_end(&list);
    assert_int_equal(list.err, 0);
    r.entries = (struct ben){list_buf, list.size};
    krpc_encode(&out, &r);
    assert_int_equal(out.err, 0);
    d->size = (uint16_t)out.size;
    d->from = node->addr;
    d->to = liars.reader;
    d->at_ms = net->now.mono_ms + liars.delay_ms;
    d->order = net->order++;
    net_heap_push(net, d);
    liars.asked++;
}

static bool answer_with_lies(struct net *net, struct net_datagram *d)
{
    struct krpc_msg q;

    if (!addr_equal(&d->from, &liars.reader) || krpc_decode(d->data, d->size, &q) || q.kind != KRPC_QUERY ||
        q.method != KRPC_SGET)
        return false;
    for (size_t i = 0; i < HOLDERS; i++)
        if (liars.lies[i] && addr_equal(&d->to, &net->nodes[liars.at[i]].addr)) {
            answer(net, liars.at[i], &q);
            return true;
        }
    return false;
}

static void lie_alone(struct net *net, lie how, size_t who)
{
    net->tamper = answer_with_lies;
    liars.lie = how;
    liars.delay_ms = 4; /* quick: it is heard before the honest */
    memset(liars.lies, 0, sizeof liars.lies);
    liars.lies[who] = true;
}

/* The others are told to begin behind an entry that does not exist, and behind that there is nothing. */
static void hide_behind_a_forged_one(const struct krpc_msg *q, struct krpc_msg *r, struct bytes_out *list)
{
    if (!q->after) {
        kad_entry_put(list, &liars.forged);
        r->more = true;
    }
}

/* The same with the last entry that there is. */
static void hide_behind_the_last(const struct krpc_msg *q, struct krpc_msg *r, struct bytes_out *list)
{
    if (!q->after) {
        kad_entry_put(list, &liars.sorted[liars.held - 1]);
        r->more = true;
    }
}

/* Its first page is honest as far as it goes, its part is empty. */
static void hide_its_part(const struct krpc_msg *q, struct krpc_msg *r, struct bytes_out *list)
{
    if (!q->after) {
        kad_entry_put(list, &liars.sorted[0]);
        r->more = true;
    }
}

static size_t read_all(struct net *net)
{
    struct result *r = net_set_get(net, net_at(net, &liars.reader) - net->nodes, root, false, 0);

    net_run_until(net, r);
    assert_int_equal(r->status, 0);
    return r->n_entries;
}

static uint64_t count_all(struct net *net)
{
    struct result *r = net_set_count(net, net_at(net, &liars.reader) - net->nodes, root, true);

    net_run_until(net, r);
    assert_int_equal(r->status, 0);
    assert_int_equal(r->spread, 0);
    return r->count;
}

/* ---- what there is ------------------------------------------------------------------------------------- */

/* Whichever of the holders it is, and wherever it stands among those who walk. */
static void one_liar_hides_nothing(void **state)
{
    static const lie ways[] = {hide_behind_a_forged_one, hide_behind_the_last, hide_its_part};
    (void)state;

    for (unsigned large = 0; large < 2; large++) {
        struct net *net = set_new(large ? LARGE : SMALL);
        for (size_t way = 0; way < sizeof ways / sizeof *ways; way++)
            for (size_t i = 0; i < HOLDERS; i++) {
                lie_alone(net, ways[way], i);
                assert_int_equal(read_all(net), liars.held);
                assert_int_equal(count_all(net), liars.held);
            }
        assert_true(liars.asked > 0);
        net_check(net);
        net_free(net);
    }
}

static void seven_of_sixteen_hide_nothing(void **state)
{
    (void)state;
    for (unsigned large = 0; large < 2; large++) {
        struct net *net = set_new(large ? LARGE : SMALL);
        for (unsigned round = 0; round < 8; round++) {
            lie_alone(net, round % 2 ? hide_behind_a_forged_one : hide_its_part, round);
            for (size_t i = 0; i < 7; i++)
                liars.lies[(round + 2 * i) % HOLDERS] = true;
            assert_int_equal(read_all(net), liars.held);
        }
        net_check(net);
        net_free(net);
    }
}

/* Who holds nothing does not make a set one that is read by few. */
static void say_that_there_is_nothing(const struct krpc_msg *q, struct krpc_msg *r, struct bytes_out *list)
{
    static const uint8_t none[KAD_ID_SIZE];

    (void)q;
    (void)list;
    r->digest = none;
    r->held = 0;
}

static void empty_holders_hide_nothing(void **state)
{
    (void)state;
    struct net *net = set_new(SMALL);
    lie_alone(net, say_that_there_is_nothing, 1);
    for (size_t i = 0; i < 7; i++)
        liars.lies[2 * i] = true;
    assert_int_equal(read_all(net), SMALL);
    net_free(net);
}

/* ---- since when ---------------------------------------------------------------------------------------- */

static void say_just_now(const struct krpc_msg *q, struct krpc_msg *r, struct bytes_out *list)
{
    struct kad_entry entry = liars.sorted[0];

    (void)q;
    (void)r;
    entry.since_s = entry.age_s = 0;
    kad_entry_put(list, &entry);
}

static void say_long_ago(const struct krpc_msg *q, struct krpc_msg *r, struct bytes_out *list)
{
    struct kad_entry entry = liars.sorted[0];

    (void)q;
    (void)r;
    entry.since_s = entry.age_s = 400 * 86400;
    kad_entry_put(list, &entry);
}

static uint32_t read_since(struct net *net)
{
    struct result *r = net_set_get(net, net_at(net, &liars.reader) - net->nodes, root, false, 0);

    net_run_until(net, r);
    assert_int_equal(r->n_entries, 1);
    return r->entries[0].since_s;
}

/* Less than half of the k closest do not move it, however quick they are; with more they may. */
static void seven_of_sixteen_do_not_move_since(void **state)
{
    (void)state;
    struct net *net = set_new(1);
    net_run(net, 3000000);
    uint32_t honest_s = read_since(net);
    assert_in_range(honest_s, 3000, 3100);
    for (unsigned old = 0; old < 2; old++)
        for (size_t n = 1; n <= 7; n++) {
            lie_alone(net, old ? say_long_ago : say_just_now, 0);
            for (size_t i = 0; i < n; i++)
                liars.lies[i] = true;
            assert_in_range(read_since(net), honest_s, honest_s + 60);
        }
    for (size_t i = 0; i < 9; i++)
        liars.lies[i] = true;
    assert_int_equal(read_since(net), 400 * 86400);
    net_free(net);
}

/* ---- without an end ------------------------------------------------------------------------------------ */

static void put_next(const struct krpc_msg *q, struct bytes_out *list)
{
    uint8_t slot[KAD_SLOT_SIZE];
    unsigned at = 0;

    for (; q->after && at < liars.n_sorted; at++) {
        kad_slot(liars.sorted[at].pk, slot);
        if (memcmp(slot, q->after, KAD_SLOT_SIZE) > 0)
            break;
    }
    if (at < liars.n_sorted)
        kad_entry_put(list, &liars.sorted[at]);
}

/* One that is there, then three that nobody signed. */
static void forge_page_after_page(const struct krpc_msg *q, struct krpc_msg *r, struct bytes_out *list)
{
    static const uint8_t other[KAD_ID_SIZE] = {1};
    struct kad_entry entry = liars.forged;

    put_next(q, list);
    for (unsigned i = 0; i < 3; i++) {
        entry.seq = i;
        kad_entry_put(list, &entry);
    }
    r->digest = other;
    r->more = true;
}

static void list_one_by_one(const struct krpc_msg *q, struct krpc_msg *r, struct bytes_out *list)
{
    static const uint8_t other[KAD_ID_SIZE] = {1};

    put_next(q, list);
    r->digest = other;
    r->more = true;
}

/* One that lists far more than there is, one by one, each page as late as it may be. */
static void dawdle(struct net *net)
{
    lie_alone(net, list_one_by_one, 2);
    liars.delay_ms = 150;
    while (liars.n_sorted < liars.held + OWN) {
        liars.sorted[liars.n_sorted] = signed_entry(1000 + liars.n_sorted);
        liars.n_sorted++;
    }
    qsort(liars.sorted, liars.n_sorted, sizeof liars.sorted[0], slot_order);
}

static void who_forges_is_heard_once(void **state)
{
    (void)state;
    struct net *net = set_new(SMALL);
    const struct kad *k = net_at(net, &liars.reader)->k;
    lie_alone(net, forge_page_after_page, 2);
    for (size_t i = 0; i < 7; i++)
        liars.lies[2 * i] = true;
    uint64_t before = k->stats.refused_signature;
    assert_int_equal(read_all(net), SMALL);
    assert_int_equal(k->stats.refused_signature - before, 7);
    assert_int_equal(liars.asked, 7);
    net_free(net);
}

static void pages_come_to_an_end(void **state)
{
    (void)state;
    struct net *net = set_new(LARGE);
    dawdle(net);
    struct result *r = net_set_get(net, net_at(net, &liars.reader) - net->nodes, root, false, 0);
    net_run_until(net, r);
    assert_in_range(r->n_entries, LARGE, LARGE + OWN);
    assert_in_range(r->done_ms - r->started_ms, SETWALK_PAGES_MS, SETWALK_PAGES_MS + 5000);
    net_free(net);
}

/* The same of a holder in its hour: it has eight places for all that it holds. */
static void a_holder_comes_to_an_end(void **state)
{
    (void)state;
    struct net *net = set_new(LARGE);
    const struct kad *k = net->nodes[liars.at[4]].k;
    uint64_t longest_ms = 0;
    liars.reader = net->nodes[liars.at[4]].addr;
    dawdle(net);
    for (unsigned s = 0; s < 2 * 3600; s++) {
        net_run(net, 1000);
        for (const struct request *r = k->first; r; r = r->next)
            if (r->kind == REQUEST_SHARD && net->now.mono_ms - r->started_ms > longest_ms)
                longest_ms = net->now.mono_ms - r->started_ms;
    }
    assert_in_range(longest_ms, SETWALK_PAGES_MS, SETWALK_PAGES_MS + SETSHARD_PUSH_MS);
    net_check(net);
    net_free(net);
}

/* ---- sets that change ---------------------------------------------------------------------------------- */

static uint64_t datagrams_of_read(struct net *net)
{
    uint64_t before = net->datagrams;

    assert_int_equal(read_all(net), liars.held);
    return net->datagrams - before;
}

struct change {
    bool all_the_same;
    uint8_t digest[KAD_ID_SIZE], now[KAD_ID_SIZE];
};

/* The digest that holders state is not that of what they list; each page states another, or all the same. */
static bool state_another(struct net *net, struct net_datagram *d)
{
    struct change *c = net->tamper_ctx;
    struct krpc_msg m;
    uint8_t copy[KAD_DATAGRAM_MAX];
    struct bytes_out out = bytes_out(d->data, sizeof d->data);

    memcpy(copy, d->data, d->size);
    if (krpc_decode(copy, d->size, &m) || m.kind != KRPC_REPLY || !m.digest ||
        memcmp(m.digest, liars.digest, KAD_ID_SIZE) != 0)
        return false;
    rng_fill(&net->rng, c->now, KAD_ID_SIZE);
    m.digest = c->all_the_same || m.nodes.data ? c->digest : c->now;
    krpc_encode(&out, &m);
    assert_int_equal(out.err, 0);
    d->size = (uint16_t)out.size;
    return false;
}

/* Honest holders may state what no walk brings, because entries come and go. The walk ends all the same, and
 * soon where they do not agree any more. */
static void a_set_that_changes_is_read_to_an_end(void **state)
{
    (void)state;
    struct change c = {.digest = {7}};
    struct net *net = set_new(LARGE);
    uint64_t calm = datagrams_of_read(net);

    net->tamper = state_another;
    net->tamper_ctx = &c;
    assert_in_range(datagrams_of_read(net), calm, 3 * calm);
    c.all_the_same = true;
    assert_in_range(datagrams_of_read(net), calm, 10 * calm);
    net_check(net);
    net_free(net);
}

/* One entry that comes during the walk explains what is beyond the digest: nobody walks again for it. */
static void an_entry_that_comes_meanwhile_costs_nothing(void **state)
{
    (void)state;
    struct net *net = set_new(LARGE);
    uint64_t calm = datagrams_of_read(net);
    struct change c = {.all_the_same = true};

    memcpy(c.digest, liars.digest, KAD_ID_SIZE);
    kad_entry_digest(&liars.sorted[liars.held - 1], c.digest);
    net->tamper = state_another;
    net->tamper_ctx = &c;
    assert_in_range(datagrams_of_read(net), calm - 20, calm + 20);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_liar_hides_nothing),
        cmocka_unit_test(seven_of_sixteen_hide_nothing),
        cmocka_unit_test(empty_holders_hide_nothing),
        cmocka_unit_test(seven_of_sixteen_do_not_move_since),
        cmocka_unit_test(who_forges_is_heard_once),
        cmocka_unit_test(pages_come_to_an_end),
        cmocka_unit_test(a_holder_comes_to_an_end),
        cmocka_unit_test(a_set_that_changes_is_read_to_an_end),
        cmocka_unit_test(an_entry_that_comes_meanwhile_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
