/* Whole nodes together: joining, finding, storing, dying, coming back. */
#include "kad/node.h"
#include "tests/unit/kad_net.h"

static size_t closest_truth(struct net *net, const uint8_t *target, const uint8_t *except, const uint8_t **ret, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < net->n; i++) {
        if (!net->nodes[i].up || kad_node_id(net->nodes[i].k) == except)
            continue;
        const uint8_t *id = kad_node_id(net->nodes[i].k);
        size_t at = n < max ? n++ : max;
        while (at > 0 && id_compare(target, id, ret[at - 1]) < 0) {
            if (at < max)
                ret[at] = ret[at - 1];
            at--;
        }
        if (at < max)
            ret[at] = id;
    }
    return n;
}

static void find_is_exact(struct net *net, unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        uint8_t target[KAD_ID_SIZE];
        const uint8_t *truth[KAD_K];
        size_t from = rng_below(&net->rng, (uint32_t)net->n);
        if (!net->nodes[from].up)
            continue;
        id_random(&net->rng, target);
        struct result *find = net_find(net, from, target, false);
        net_run_until(net, find);
        size_t k = net->options.k ? net->options.k : KAD_K;
        size_t n = closest_truth(net, target, kad_node_id(net->nodes[from].k), truth, k);
        assert_int_equal(find->status, 0);
        assert_int_equal(find->n_contacts, n);
        for (size_t i = 0; i < n; i++)
            assert_memory_equal(find->contacts[i].id, truth[i], KAD_ID_SIZE);
    }
}

static void fifty_join_and_find(void **state)
{
    (void)state;
    struct net *net = net_new(50, &(struct net_options){.seed = 1, .latency_ms = 10, .k = 8});
    net_start_all(net);
    for (size_t i = 0; i < net->n; i++)
        assert_int_equal(net->nodes[i].ready, 1);
    find_is_exact(net, 100);
    net_check(net);
    net_free(net);
}

/* All at once, while every tenth datagram is lost. */
static void all_join_at_once_with_loss(void **state)
{
    (void)state;
    struct net *net = net_new(40, &(struct net_options){.seed = 2, .latency_ms = 20, .loss = 0.1});
    for (size_t i = 0; i < net->n; i++) {
        net_up(net, i);
        if (i > 0)
            net_join(net, i, 0);
    }
    net_run(net, 60000); /* five tries in the first half minute: one node in 4,000 has bad luck with all of them */
    for (size_t i = 0; i < net->n; i++)
        assert_true(net->nodes[i].ready >= 1);
    net->options.loss = 0;
    net_run(net, 40000); /* whom the loss made look dead is not asked for half a minute */
    find_is_exact(net, 40);
    net_check(net);
    net_free(net);
}

static void put_here_get_everywhere(void **state)
{
    (void)state;
    struct net *net = net_new(50, &(struct net_options){.seed = 1, .latency_ms = 10});
    net_start_all(net);
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct kad_item item = net_item(me, "public", 1, net_value(net, buf, sizeof buf, "hello"));
    struct result *put = net_put(net, 7, &item, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    assert_true(put->holders >= 15);
    for (size_t i = 0; i < net->n; i++) {
        struct result *get = net_get(net, i, &item);
        net_run_until(net, get);
        assert_int_equal(get->status, 0);
        assert_int_equal(get->seq, 1);
        assert_int_equal(get->firsts, 1);
        assert_true(get->holders >= 15);
        assert_memory_equal(get->value, item.v.data, item.v.size);
    }
    /* Immutable, and without a signed life. */
    struct kad_item plain = {.v = span_str("12:Hello World!")};
    put = net_put(net, 3, &plain, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    struct result *get = net_get(net, 44, &plain);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    assert_memory_equal(get->value, "12:Hello World!", 15);
    /* And what nobody stored. */
    struct kad_item none = {.v = span_str("4:none")};
    get = net_get(net, 9, &none);
    net_run_until(net, get);
    assert_int_equal(get->status, CAM_ENOENT);
    assert_int_equal(get->n_value, 0);
    net_check(net);
    identity_free(me);
    net_free(net);
}

/* A first node has nobody to store with: it keeps its own, and hands it to those who come. */
static void a_lone_node_serves_later_ones(void **state)
{
    (void)state;
    struct net *net = net_new(5, &(struct net_options){.seed = 3});
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    net_up(net, 0);
    struct kad_item item = net_item(me, "", 4, net_value(net, buf, sizeof buf, "first"));
    struct result *put = net_put(net, 0, &item, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, CAM_ENET);
    assert_int_equal(put->holders, 0);
    struct result *get = net_get(net, 0, &item);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    assert_int_equal(get->holders, 0);
    for (size_t i = 1; i < 5; i++) {
        net_up(net, i);
        net_join(net, i, 0);
        net_run(net, 500);
    }
    net_run(net, 2000);
    net_kill(net, 0); /* the others were handed it, being among the k closest */
    for (size_t i = 1; i < 5; i++) {
        get = net_get(net, i, &item);
        net_run_until(net, get);
        assert_int_equal(get->status, 0);
        assert_memory_equal(get->value, item.v.data, item.v.size);
    }
    net_check(net);
    identity_free(me);
    net_free(net);
}

static void without_anybody(void **state)
{
    (void)state;
    struct net *net = net_new(2, &(struct net_options){.seed = 4});
    struct kad_item none = {.v = span_str("4:none")};
    uint8_t root[KAD_ID_SIZE] = {1};
    net_up(net, 0);
    struct result *get = net_get(net, 0, &none), *find = net_find(net, 0, root, false);
    struct result *set = net_set_get(net, 0, root, false, 0);
    net_run_until(net, set);
    assert_true(get->done && find->done);
    assert_int_equal(get->status, CAM_ENET);
    assert_int_equal(find->status, CAM_ENET);
    assert_int_equal(set->status, CAM_ENET);
    /* With an address to join by, it waits for that a while. */
    net_join(net, 0, 1);
    get = net_get(net, 0, &none);
    net_run(net, 1000);
    assert_false(get->done);
    net_run_until(net, get);
    assert_int_equal(get->status, CAM_ENET);
    /* The address is tried again and again: it may come up at any time. */
    net_run(net, 100000);
    assert_int_equal(net->nodes[0].ready, 0);
    net_up(net, 1);
    net_run(net, 31000);
    assert_int_equal(net->nodes[0].ready, 1);
    struct result *ping = net_ping(net, 0, &net->nodes[1].addr);
    net_run_until(net, ping);
    assert_int_equal(ping->status, 0);
    assert_memory_equal(ping->contacts[0].id, kad_node_id(net->nodes[1].k), KAD_ID_SIZE);
    net_kill(net, 1);
    ping = net_ping(net, 0, &net->nodes[1].addr);
    net_run_until(net, ping);
    assert_int_equal(ping->status, CAM_ETIMEOUT);
    net_free(net);
}

/* Half of them go at once: what they held is still found, quickly, and the dead are forgotten. */
static void half_of_them_die(void **state)
{
    (void)state;
    struct net *net = net_new(60, &(struct net_options){.seed = 5, .latency_ms = 1});
    net_start_all(net);
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct kad_item items[10];
    for (unsigned i = 0; i < 10; i++) {
        char salt[3] = {'s', (char)('0' + i), 0};
        items[i] = net_item(me, salt, 1, net_value(net, buf, sizeof buf, "keep"));
        items[i].salt = span_str(i == 0 ? "s0" : i == 1 ? "s1" : i == 2 ? "s2" : i == 3 ? "s3" : i == 4 ? "s4"
                               : i == 5 ? "s5" : i == 6 ? "s6" : i == 7 ? "s7" : i == 8 ? "s8" : "s9");
        struct result *put = net_put(net, i, &items[i], NULL);
        net_run_until(net, put);
        assert_int_equal(put->status, 0);
    }
    for (size_t i = 0; i < net->n; i += 2)
        net_kill(net, i);
    for (unsigned i = 0; i < 10; i++) {
        struct result *get = net_get(net, 1 + 2 * i, &items[i]);
        net_run_until(net, get);
        assert_int_equal(get->status, 0);
        /* The dead cost a few time-outs side by side, never a second each. */
        assert_true(get->first_ms - get->started_ms <= 500);
        assert_true(get->done_ms - get->started_ms <= 2500);
    }
    /* The same again: known dead contacts are asked no more. */
    uint64_t worst = 0;
    for (unsigned i = 0; i < 10; i++) {
        struct result *get = net_get(net, 1 + 2 * i, &items[i]);
        net_run_until(net, get);
        assert_int_equal(get->status, 0);
        if (get->done_ms - get->started_ms > worst)
            worst = get->done_ms - get->started_ms;
    }
    assert_true(worst <= 800);
    net_run(net, 40 * 60000);
    find_is_exact(net, 20);
    for (size_t i = 1; i < net->n; i += 2) {
        struct kad_contact c;
        for (size_t j = 0; kad_contact_at(net->nodes[i].k, net->now, j, &c); j++)
            assert_true(net_at(net, &c.addr)->up);
    }
    net_check(net);
    identity_free(me);
    net_free(net);
}

/* The reader finds the newest version though most holders have an old one, and mends those. */
static void stale_holders_are_repaired(void **state)
{
    (void)state;
    struct net *net = net_new(40, &(struct net_options){.seed = 6, .latency_ms = 5, .k = 8});
    net_start_all(net);
    struct identity *me = net_identity(1);
    uint8_t buf1[100], buf2[100];
    struct kad_item old = net_item(me, "x", 1, net_value(net, buf1, sizeof buf1, "old"));
    struct kad_item new = net_item(me, "x", 3, net_value(net, buf2, sizeof buf2, "new"));
    net_run_until(net, net_put(net, 1, &old, NULL));
    /* All but two holders are cut off while the new version is written. */
    uint8_t target[KAD_ID_SIZE];
    const uint8_t *near[8];
    kad_item_target(&old, target);
    closest_truth(net, target, NULL, near, 8);
    for (size_t i = 0; i < net->n; i++)
        for (unsigned j = 2; j < 8; j++)
            if (kad_node_id(net->nodes[i].k) == near[j])
                net->nodes[i].group = 1;
    size_t writer = 0;
    while (net->nodes[writer].group)
        writer++;
    struct result *put = net_put(net, writer, &new, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    for (size_t i = 0; i < net->n; i++)
        net->nodes[i].group = 0;
    net_run(net, 40000);
    /* A version between the two: most holders would take it, but it has been overtaken. */
    uint8_t buf3[100];
    struct kad_item between = net_item(me, "x", 2, net_value(net, buf3, sizeof buf3, "between"));
    put = net_put(net, writer + 3, &between, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, CAM_ESTALE);
    assert_int_equal(put->newer_seq, 3);
    assert_int_equal(put->holders, 0);
    struct result *get = net_get(net, writer + 1, &old);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    assert_int_equal(get->seq, 3);
    net_run(net, 2000);
    get = net_get(net, writer + 2, &old);
    net_run_until(net, get);
    assert_int_equal(get->seq, 3);
    assert_true(get->holders >= 7);
    net_check(net);
    identity_free(me);
    net_free(net);
}

static void cas_and_stale(void **state)
{
    (void)state;
    struct net *net = net_new(30, &(struct net_options){.seed = 7, .latency_ms = 5, .k = 8});
    net_start_all(net);
    struct identity *me = net_identity(1);
    uint8_t a[100], b[100];
    struct kad_item five = net_item(me, "c", 5, net_value(net, a, sizeof a, "five"));
    struct kad_item four = net_item(me, "c", 4, net_value(net, a, sizeof a, "five"));
    struct kad_item six = net_item(me, "c", 6, net_value(net, b, sizeof b, "six"));
    struct result *put = net_put(net, 0, &five, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    size_t far = 1; /* one that holds nothing, so that it is others who refuse */
    struct kad_stats stats;
    for (kad_stats(net->nodes[far].k, &stats); stats.items > 0; kad_stats(net->nodes[++far].k, &stats))
        ;
    put = net_put(net, far, &four, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, CAM_ESTALE);
    assert_int_equal(put->newer_seq, 5);
    int64_t cas = 3;
    put = net_put(net, far, &six, &cas);
    net_run_until(net, put);
    assert_int_equal(put->status, CAM_ECAS);
    cas = 5;
    put = net_put(net, 3, &six, &cas);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    assert_true(put->holders >= 7);
    /* Again: who wrote second finds another writer there. */
    put = net_put(net, 4, &six, &cas);
    net_run_until(net, put);
    assert_int_equal(put->status, CAM_ECAS);
    assert_int_equal(put->newer_seq, 6);
    /* Two values of one seq: one wins everywhere. */
    struct kad_item other = net_item(me, "c", 6, net_value(net, a, sizeof a, "another six"));
    put = net_put(net, 5, &other, NULL);
    net_run_until(net, put);
    struct result *get = net_get(net, 6, &other);
    net_run_until(net, get);
    bool other_wins = put->status == 0;
    assert_memory_equal(get->value, other_wins ? other.v.data : six.v.data, other_wins ? other.v.size : six.v.size);
    if (!other_wins) {
        assert_int_equal(put->status, CAM_ESTALE);
        assert_int_equal(put->newer_seq, 6);
    }
    /* Somebody else's signature. */
    struct kad_item forged = net_item(me, "c", 7, net_value(net, a, sizeof a, "forged"));
    forged.sig[3] ^= 1;
    put = net_put(net, 5, &forged, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, CAM_EAUTH);
    assert_int_equal(put->holders, 0);
    uint64_t refused = 0;
    for (size_t i = 0; i < net->n; i++) {
        kad_stats(net->nodes[i].k, &stats);
        refused += stats.refused_signature;
    }
    assert_true(refused >= 7);
    get = net_get(net, 6, &other);
    net_run_until(net, get);
    assert_int_equal(get->seq, 6);
    net_check(net);
    identity_free(me);
    net_free(net);
}

/* Two halves that cannot see each other, and then can again. */
static void partitions_heal(void **state)
{
    (void)state;
    struct net *net = net_new(24, &(struct net_options){.seed = 8, .latency_ms = 5});
    net_start_all(net);
    net_run(net, 31000);
    for (size_t i = 0; i < 24; i++) { /* from now on nobody has an address to join by */
        net_kill(net, i);
        net_up(net, i);
    }
    net_run(net, 10000);
    for (size_t i = 12; i < 24; i++)
        net->nodes[i].group = 1;
    net_run(net, 30 * 60000);
    struct identity *me = net_identity(1);
    uint8_t a[100], b[100];
    struct kad_item left = net_item(me, "left", 1, net_value(net, a, sizeof a, "left"));
    struct kad_item right = net_item(me, "right", 1, net_value(net, b, sizeof b, "right"));
    struct result *put = net_put(net, 0, &left, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    put = net_put(net, 23, &right, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    struct result *get = net_get(net, 23, &left);
    net_run_until(net, get);
    assert_int_equal(get->status, CAM_ENOENT);
    for (size_t i = 12; i < 24; i++)
        net->nodes[i].group = 0;
    net_run(net, 10 * 60000);
    get = net_get(net, 23, &left);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    get = net_get(net, 0, &right);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    net_run(net, 60 * 60000);
    find_is_exact(net, 20);
    net_check(net);
    identity_free(me);
    net_free(net);
}

/* A node that is cut off altogether says so, and finds back by itself. */
static void alone_and_back(void **state)
{
    (void)state;
    struct net *net = net_new(30, &(struct net_options){.seed = 9, .latency_ms = 5});
    net_start_all(net);
    net_run(net, 31000);
    net->nodes[4].group = 1;
    uint8_t target[KAD_ID_SIZE] = {7};
    struct kad_contact c;
    size_t known = 0, kept = 0;
    while (kad_contact_at(net->nodes[4].k, net->now, known, &c))
        known++;
    net_run_until(net, net_find(net, 4, target, false));
    net_run(net, 30 * 60000);
    assert_int_equal(net->nodes[4].alone, 1);
    assert_int_equal(net->nodes[4].ready, 1);
    /* When everybody is silent it is not them who are dead: it forgets nobody. */
    while (kad_contact_at(net->nodes[4].k, net->now, kept, &c))
        kept++;
    assert_true(known > 20 && kept == known);
    net->nodes[4].group = 0;
    uint64_t until = net->now.mono_ms + 35000;
    while (net->nodes[4].ready < 2 && net_step(net, until))
        ;
    assert_int_equal(net->nodes[4].ready, 2);
    net_run(net, 5000); /* with the first answer it asks for all the others again */
    struct result *find = net_find(net, 4, target, true);
    net_run_until(net, find);
    assert_int_equal(find->n_contacts, KAD_K);
    assert_true(find->hops >= KAD_K);
    net_check(net);
    net_free(net);
}

/* Everybody is killed; they return from what they saved, no address given, some at other ports. */
static void all_killed_and_back(void **state)
{
    (void)state;
    struct net *net = net_new(20, &(struct net_options){.seed = 10, .latency_ms = 2});
    net_start_all(net);
    struct identity *me = net_identity(1), *other = net_identity(2);
    uint8_t buf[100], buf2[100], root[KAD_ID_SIZE] = {9};
    struct kad_item item = net_item(me, "public", 1, net_value(net, buf, sizeof buf, "still here"));
    net_run_until(net, net_put(net, 0, &item, NULL));
    struct kad_entry entry = {.seq = 3, .v = net_value(net, buf2, sizeof buf2, "follows")};
    assert_int_equal(kad_entry_sign(&entry, root, other), 0);
    net_run_until(net, net_set_put(net, 1, root, &entry));
    uint8_t ids[20][KAD_ID_SIZE];
    net_run(net, 2000);
    for (size_t i = 0; i < net->n; i++) {
        memcpy(ids[i], kad_node_id(net->nodes[i].k), KAD_ID_SIZE);
        net_kill(net, i);
    }
    net->now.mono_ms = 5000; /* another boot */
    net->now.wall_ms += 600000;
    for (size_t i = 0; i < net->n; i++) {
        net->nodes[i].ready = 0;
        if (i % 5 == 0)
            net->nodes[i].addr.port = (uint16_t)(9000 + i);
        net_up(net, i);
        assert_memory_equal(ids[i], kad_node_id(net->nodes[i].k), KAD_ID_SIZE);
    }
    net_run(net, 3000);
    for (size_t i = 0; i < net->n; i++) {
        assert_int_equal(net->nodes[i].ready, 1);
        struct result *get = net_get(net, i, &item);
        net_run_until(net, get);
        assert_int_equal(get->status, 0);
        struct result *set = net_set_get(net, i, root, false, 0);
        net_run_until(net, set);
        assert_int_equal(set->n_entries, 1);
        assert_int_equal(set->entries[0].seq, 3);
    }
    find_is_exact(net, 30);
    net_check(net);
    identity_free(me);
    identity_free(other);
    net_free(net);
}

/* One node moves while the others live: the old address dies out. */
static void a_node_moves(void **state)
{
    (void)state;
    struct net *net = net_new(12, &(struct net_options){.seed = 11, .latency_ms = 2});
    net_start_all(net);
    net_kill(net, 5);
    net->nodes[5].addr.port = 9999;
    net_up(net, 5);
    net_run(net, 20000);
    for (size_t i = 0; i < net->n; i++) {
        struct result *find = net_find(net, i, kad_node_id(net->nodes[5].k), false);
        net_run_until(net, find);
        if (i == 5)
            continue;
        assert_memory_equal(find->contacts[0].id, kad_node_id(net->nodes[5].k), KAD_ID_SIZE);
        assert_int_equal(find->contacts[0].addr.port, 9999);
    }
    net_check(net);
    net_free(net);
}

static void read_only_nodes_hold_nothing(void **state)
{
    (void)state;
    struct net *net = net_new(12, &(struct net_options){.seed = 12, .latency_ms = 2});
    net->nodes[3].read_only = net->nodes[4].read_only = true;
    net_start_all(net);
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct kad_item item = net_item(me, "", 1, net_value(net, buf, sizeof buf, "v"));
    struct result *put = net_put(net, 3, &item, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    assert_int_equal(put->holders, 10);
    struct result *get = net_get(net, 4, &item);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    for (size_t i = 0; i < net->n; i++) {
        struct kad_contact c;
        struct kad_stats stats;
        for (size_t j = 0; kad_contact_at(net->nodes[i].k, net->now, j, &c); j++)
            assert_true(c.addr.port != net->nodes[3].addr.port && c.addr.port != net->nodes[4].addr.port);
        kad_stats(net->nodes[i].k, &stats);
        assert_int_equal(stats.items, net->nodes[i].read_only ? 0 : 1);
    }
    struct result *ping = net_ping(net, 0, &net->nodes[3].addr);
    net_run_until(net, ping);
    assert_int_equal(ping->status, CAM_ETIMEOUT);
    net_check(net);
    identity_free(me);
    net_free(net);
}

/* Another network's nodes are answered, but never become contacts or are named to anybody. */
static void networks_stay_apart(void **state)
{
    (void)state;
    struct net *net = net_new(16, &(struct net_options){.seed = 13, .latency_ms = 2});
    for (size_t i = 8; i < 16; i++)
        net->nodes[i].network = i == 15 ? "" : "another";
    net_start_all(net); /* all by node 0 of "camellia" */
    for (size_t i = 9; i < 15; i++)
        net_join(net, i, 8);
    net_run(net, 60000);
    for (size_t i = 0; i < 15; i++) {
        struct kad_contact c;
        size_t n = 0;
        for (; kad_contact_at(net->nodes[i].k, net->now, n, &c); n++)
            assert_string_equal(net_at(net, &c.addr)->network, net->nodes[i].network);
        assert_true(n >= (i < 8 ? 7 : 6));
    }
    /* A plain DHT client is served by ours, though it is no contact of theirs. */
    struct result *ping = net_ping(net, 15, &net->nodes[1].addr);
    net_run_until(net, ping);
    assert_int_equal(ping->status, 0);
    assert_int_equal(net->nodes[15].ready, 1);
    struct kad_item plain = {.v = span_str("5:plain")};
    net_run_until(net, net_put(net, 2, &plain, NULL));
    struct result *get = net_get(net, 15, &plain);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    net_check(net);
    net_free(net);
}

static void over_ipv6(void **state)
{
    (void)state;
    struct net *net = net_new(30, &(struct net_options){.seed = 14, .latency_ms = 5, .v6 = true, .k = 8});
    net_start_all(net);
    find_is_exact(net, 30);
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct kad_item item = net_item(me, "six", 1, net_value(net, buf, sizeof buf, "v"));
    net_run_until(net, net_put(net, 3, &item, NULL));
    struct result *get = net_get(net, 20, &item);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    assert_true(get->holders >= 7);
    struct kad_stats stats;
    kad_stats(net->nodes[3].k, &stats);
    assert_true(stats.contacts_v6 >= 8);
    net_check(net);
    identity_free(me);
    net_free(net);
}

/* Every third node speaks both: those learn of the IPv6 network through `want` alone. */
static void both_families(void **state)
{
    (void)state;
    struct net *net = net_new(24, &(struct net_options){.seed = 15, .latency_ms = 5, .dual = true});
    net_start_all(net);
    net_run(net, 30000);
    struct result *ping = net_ping(net, 3, &net->nodes[0].addr6);
    net_run_until(net, ping);
    assert_int_equal(ping->status, 0);
    for (size_t i = 6; i < net->n; i += 3) {
        net_run_until(net, net_ping(net, i, &net->nodes[0].addr6));
        uint8_t target[KAD_ID_SIZE];
        id_random(&net->rng, target);
        net_run_until(net, net_find(net, i, target, false));
    }
    net_run(net, 30000);
    struct kad_stats stats;
    kad_stats(net->nodes[6].k, &stats);
    assert_true(stats.contacts_v6 >= 5);
    assert_true(stats.contacts - stats.contacts_v6 >= 16);
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct kad_item item = net_item(me, "", 1, net_value(net, buf, sizeof buf, "v"));
    net_run_until(net, net_put(net, 1, &item, NULL)); /* IPv4 only */
    for (size_t i = 0; i < net->n; i++) {
        struct result *get = net_get(net, i, &item);
        net_run_until(net, get);
        assert_int_equal(get->status, 0);
    }
    net_check(net);
    identity_free(me);
    net_free(net);
}

/* On routable addresses ids follow from the address (BEP 42): everybody learns theirs and takes the id. */
static void ids_are_bound_to_addresses(void **state)
{
    (void)state;
    struct net *net = net_new(40, &(struct net_options){.seed = 16, .latency_ms = 5, .public_addrs = true, .k = 8});
    net_start_all(net);
    net_run(net, 60000);
    for (size_t i = 0; i < net->n; i++) {
        struct addr self = kad_self_addr(net->nodes[i].k);
        assert_true(net->nodes[i].addressed >= 1);
        assert_true(addr_equal(&self, &net->nodes[i].addr));
        assert_true(id_fits_addr(kad_node_id(net->nodes[i].k), &self));
    }
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct kad_item item = net_item(me, "", 1, net_value(net, buf, sizeof buf, "v"));
    struct result *put = net_put(net, 3, &item, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    struct result *get = net_get(net, 20, &item);
    net_run_until(net, get);
    assert_int_equal(get->status, 0);
    net_check(net);
    identity_free(me);
    net_free(net);
}

/* A saved contact list must not vanish because nobody of it answered at one start. */
static void memory_outlives_a_bad_day(void **state)
{
    (void)state;
    struct net *net = net_new(6, &(struct net_options){.seed = 17});
    net_start_all(net);
    for (size_t i = 0; i < 6; i++)
        net_kill(net, i);
    for (unsigned day = 0; day < 3; day++) {
        net_up(net, 3);
        net_run(net, 120000);
        kad_flush(net->nodes[3].k, net->now);
        net_drain(net, &net->nodes[3]);
        net_kill(net, 3);
    }
    net->nodes[3].ready = 0;
    net_up(net, 3);
    net_run(net, 5000);
    assert_int_equal(net->nodes[3].ready, 0);
    net_forget(&net->nodes[1]); /* so that it is node 3 who remembers */
    net_up(net, 1);
    net_run(net, 40000);
    assert_int_equal(net->nodes[3].ready, 1);
    net_free(net);
}

/* After a commit that failed, records are read back while the node is at work: it goes on being what it is, and what it
 * has to do is still scheduled. */
static void a_bad_commit_is_no_new_life(void **state)
{
    (void)state;
    struct net *net = net_new(20, &(struct net_options){.seed = 23, .latency_ms = 10});
    net_start_all(net);
    net_run(net, 600000);
    struct net_node *node = &net->nodes[4];
    uint8_t id[KAD_ID_SIZE];
    size_t contacts = node_contacts(node->k);
    memcpy(id, kad_node_id(node->k), KAD_ID_SIZE);
    kad_reset_store(node->k, net->now);
    for (const struct net_record *r = node->disk; r; r = r->next)
        assert_int_equal(kad_load(node->k, net->now, span(r->bytes, r->key_size),
                                  span(r->bytes + r->key_size, r->value_size)), 0);
    net_drain(net, node);
    assert_memory_equal(kad_node_id(node->k), id, KAD_ID_SIZE);
    assert_int_equal(node_contacts(node->k), contacts);
    assert_true(node->k->look_ms != NOW_NEVER && node->k->refresh_ms != NOW_NEVER && node->k->spread_ms != NOW_NEVER);
    net_free(net);
}

/* Holders that change a byte of what they hold are found out. */
static bool lie(struct net *net, struct net_datagram *d)
{
    static const char what[] = "hello";
    (void)net;
    if (d->from.port % 4 == 0)
        return false; /* some are honest */
    for (size_t i = 0; i + sizeof what - 1 <= d->size; i++)
        if (memcmp(d->data + i, what, sizeof what - 1) == 0)
            d->data[i] ^= 0x20;
    return false;
}

static void liars_are_not_believed(void **state)
{
    (void)state;
    struct net *net = net_new(30, &(struct net_options){.seed = 18, .latency_ms = 5});
    net_start_all(net);
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct kad_item item = net_item(me, "public", 1, net_value(net, buf, sizeof buf, "hello"));
    struct kad_item plain = {.v = span_str("12:hello there!")};
    net_run_until(net, net_put(net, 7, &item, NULL));
    net_run_until(net, net_put(net, 7, &plain, NULL));
    net->tamper = lie;
    for (size_t i = 0; i < net->n; i++) {
        struct result *get = net_get(net, i, &item);
        net_run_until(net, get);
        assert_int_equal(get->status, 0);
        assert_memory_equal(get->value, item.v.data, item.v.size);
        assert_true(get->holders >= 1 && get->holders <= 8);
        get = net_get(net, i, &plain);
        net_run_until(net, get);
        assert_memory_equal(get->value, plain.v.data, plain.v.size);
    }
    identity_free(me);
    net_free(net);
}

/* Every query is lost the first time it is sent. */
static bool drop_first_copy(struct net *net, struct net_datagram *d)
{
    static uint8_t seen[1024][6];
    static size_t at;
    (void)net;
    for (size_t i = 0; i + 11 < d->size; i++) {
        if (memcmp(d->data + i, "1:t6:", 5) != 0 || memcmp(d->data + i + 11, "1:y1:q", 6) != 0)
            continue;
        for (size_t j = 0; j < 1024; j++)
            if (memcmp(seen[j], d->data + i + 5, 6) == 0)
                return false;
        memcpy(seen[at++ % 1024], d->data + i + 5, 6);
        return true;
    }
    return false;
}

static void the_closest_are_asked_twice(void **state)
{
    (void)state;
    struct net *net = net_new(14, &(struct net_options){.seed = 19, .latency_ms = 5});
    net_start_all(net);
    struct identity *me = net_identity(1);
    uint8_t buf[100];
    struct kad_item item = net_item(me, "", 1, net_value(net, buf, sizeof buf, "v"));
    net->tamper = drop_first_copy;
    struct result *put = net_put(net, 2, &item, NULL);
    net_run_until(net, put);
    assert_int_equal(put->status, 0);
    assert_int_equal(put->holders, 13);
    struct result *get = net_get(net, 9, &item);
    net_run_until(net, get);
    assert_int_equal(get->holders, 13);
    struct kad_entry entry = {.seq = 1, .v = item.v};
    uint8_t root[KAD_ID_SIZE] = {5};
    assert_int_equal(kad_entry_sign(&entry, root, me), 0);
    put = net_set_put(net, 4, root, &entry);
    net_run_until(net, put);
    assert_int_equal(put->holders, 13);
    identity_free(me);
    net_free(net);
}

/* The closest nodes lack a value that others beyond them hold: the paths of the second try find it. */
static bool drop_puts(struct net *net, struct net_datagram *d)
{
    (void)net;
    for (size_t i = 0; i + 8 <= d->size; i++)
        if (memcmp(d->data + i, "1:q3:put", 8) == 0)
            return true;
    return false;
}

static void a_failed_get_goes_over_other_paths(void **state)
{
    (void)state;
    struct net *net = net_new(40, &(struct net_options){.seed = 20, .latency_ms = 5, .k = 4});
    for (size_t i = 0; i < 12; i++) {
        net_up(net, i);
        if (i > 0)
            net_join(net, i, 0);
        net_run(net, 100);
    }
    char texts[20][8];
    struct kad_item items[20];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(texts[i], sizeof texts[i], "3:f%02u", i);
        items[i] = (struct kad_item){.v = span(texts[i], 5)};
        struct result *put = net_put(net, 3, &items[i], NULL);
        net_run_until(net, put);
        assert_int_equal(put->status, 0);
    }
    net->tamper = drop_puts; /* nobody hands anything to those who come now */
    for (size_t i = 12; i < 40; i++) {
        net_up(net, i);
        net_join(net, i, 0);
        net_run(net, 300);
    }
    net_run(net, 40000);
    unsigned tried = 0;
    for (unsigned i = 0; i < 20; i++) {
        uint8_t target[KAD_ID_SIZE];
        const uint8_t *near[4];
        unsigned old = 0;
        kad_item_target(&items[i], target);
        closest_truth(net, target, NULL, near, 4);
        for (unsigned j = 0; j < 12 * 4; j++)
            old += near[j % 4] == kad_node_id(net->nodes[j / 4].k);
        if (old > 0)
            continue; /* one of the four closest is a holder: the first path finds it */
        tried++;
        struct result *get = net_get(net, 39 - i, &items[i]);
        while (!get->done && net_step(net, NOW_NEVER))
            kad_check(net->nodes[39 - i].k); /* no node on two paths */
        assert_int_equal(get->status, 0);
    }
    assert_true(tried >= 1);
    net_check(net);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fifty_join_and_find),
        cmocka_unit_test(all_join_at_once_with_loss),
        cmocka_unit_test(put_here_get_everywhere),
        cmocka_unit_test(a_lone_node_serves_later_ones),
        cmocka_unit_test(without_anybody),
        cmocka_unit_test(half_of_them_die),
        cmocka_unit_test(stale_holders_are_repaired),
        cmocka_unit_test(cas_and_stale),
        cmocka_unit_test(partitions_heal),
        cmocka_unit_test(alone_and_back),
        cmocka_unit_test(all_killed_and_back),
        cmocka_unit_test(a_node_moves),
        cmocka_unit_test(read_only_nodes_hold_nothing),
        cmocka_unit_test(networks_stay_apart),
        cmocka_unit_test(over_ipv6),
        cmocka_unit_test(both_families),
        cmocka_unit_test(ids_are_bound_to_addresses),
        cmocka_unit_test(memory_outlives_a_bad_day),
        cmocka_unit_test(a_bad_commit_is_no_new_life),
        cmocka_unit_test(liars_are_not_believed),
        cmocka_unit_test(the_closest_are_asked_twice),
        cmocka_unit_test(a_failed_get_goes_over_other_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
