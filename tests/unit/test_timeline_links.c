#include "tests/unit/tl_net.h"
#include "timeline/state.h"

static int give(struct net *net, int to, const uint8_t key[LINK_KEY_SIZE], const struct message *m)
{
    static uint8_t buf[LINK_MESSAGE_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    message_encode(&out, m);
    assert_int_equal(out.err, 0);
    struct link_event e = { .kind = LINK_RECEIVED, .bytes = span(buf, out.size) };
    memcpy(e.from_key, key, LINK_KEY_SIZE);
    return timeline_recv(net->nodes[to].t, net->now, &e);
}

/* HELLO of this person's machine to node `to`, from a link with this key. */
static int hello_of(struct net *net, int to, const struct identity *who, int device,
                    const uint8_t key[LINK_KEY_SIZE], int64_t seq)
{
    uint8_t value[200];
    char salt[32];
    struct record_connection c = { .addr = net->nodes[1].dest.addr,
                                   .reachable = true,
                                   .expires_s = (int64_t)(net->now.wall_ms / 1000) + 100 };
    struct bytes_out out = bytes_out(value, sizeof value);
    memcpy(c.transport_key, key, LINK_KEY_SIZE);
    record_put_connection(&out, &c);
    snprintf(salt, sizeof salt, "connections/%d", device);
    struct message m = { .kind = MESSAGE_HELLO };
    m.hello.record = (struct kad_item){ .is_mutable = true,
                                        .salt = span_str(salt),
                                        .v = span(value, out.size),
                                        .seq = seq };
    kad_item_sign(&m.hello.record, who);
    return give(net, to, key, &m);
}

/* FOLLOW of node 0, or its end. */
static int follow_of(struct net *net, const struct identity *who, const uint8_t key[LINK_KEY_SIZE],
                     int64_t seq, bool deleted)
{
    uint8_t value[300], root[KAD_ID_SIZE];
    struct record_follow f = { .name = "somebody",
                               .deleted = deleted,
                               .expires_s = (int64_t)(net->now.wall_ms / 1000) + 1000 };
    struct bytes_out out = bytes_out(value, sizeof value);
    record_put_follow(&out, &f);
    struct message m = { .kind = MESSAGE_FOLLOW };
    m.follow.entry = (struct kad_entry){ .seq = seq, .v = span(value, out.size) };
    record_followers_root(net->nodes[0].identity->pk, root);
    assert_int_equal(kad_entry_sign(&m.follow.entry, root, who), 0);
    return give(net, 0, key, &m);
}

static struct identity *somebody(int number)
{
    uint8_t seed[KEY_SIZE] = { (uint8_t)number, (uint8_t)(number >> 8), 9 };
    return identity_from_seed(seed);
}

/* HELLO of node `who` to node `to`, from a link with this key. */
static int hello(struct net *net, int to, int who, const uint8_t key[LINK_KEY_SIZE], int64_t seq)
{
    return hello_of(net, to, net->nodes[who].identity, 0, key, seq);
}

static void pass(struct net *net, uint64_t ms)
{
    net->now.mono_ms += ms;
    net->now.wall_ms += ms;
}

static struct net *town_of_three(uint64_t seed)
{
    struct net *net = net_town(4, seed);
    assert_int_equal(net_follow(net, 2, "u0")->status, 0);
    net_run(net, 500);
    return net;
}

/* One follower with a new transport key every few milliseconds: only the last is its own, and a newcomer is
 * heard all the while. */
static void test_many_keys(void **state)
{
    (void)state;
    enum { KEYS = 3000 };
    struct net *net = town_of_three(8);
    struct timeline *t = net->nodes[0].t;
    int64_t seq = (int64_t)(net->now.wall_ms / 1000) + 50;
    uint8_t key[LINK_KEY_SIZE] = { 0xee }, newcomer[LINK_KEY_SIZE] = { 0xdd };
    size_t before = t->links.by_key.n;
    for (int i = 0; i < KEYS; i++) {
        pass(net, 11); /* as fast as strangers' signatures are checked */
        put_be32(key + 1, (uint32_t)i);
        assert_int_equal(hello(net, 0, 2, key, seq + i), 0);
        out_clear(&t->out[0]);
        out_clear(&t->out[1]);
    }
    assert_true(t->links.by_key.n <= before + LINKS_STRANGERS_MAX);
    const struct link *l = links_find(t, key);
    assert_true(l && l->is_friend && l->owner == people_find(t, net->nodes[2].identity->pk));
    pass(net, 11);
    assert_int_equal(hello(net, 0, 3, newcomer, seq), 0);
    /* An older key of that machine, with an older word. */
    put_be32(key + 1, KEYS - 2);
    assert_int_equal(hello(net, 0, 2, key, seq + KEYS - 2), CAM_EREFUSED);
    assert_null(links_find(t, key)->owner);
    timeline_check(t);
    net_free(net);
}

/* Where all places are friends', one that was quiet for long gives way. */
static void test_quiet_friends(void **state)
{
    (void)state;
    struct net *net = town_of_three(9);
    struct timeline *t = net->nodes[0].t;
    struct person *p = people_find(t, net->nodes[2].identity->pk);
    uint8_t key[LINK_KEY_SIZE] = { 0xee }, newcomer[LINK_KEY_SIZE] = { 0xdd };
    int64_t seq = (int64_t)(net->now.wall_ms / 1000) + 50;
    for (int i = 0; t->links.by_key.n < LINKS_MAX; i++) {
        put_be32(key + 1, (uint32_t)i);
        links_own(t, key, p, 0);
    }
    assert_int_equal(hello(net, 0, 3, newcomer, seq), CAM_EFULL); /* all are in use */
    pass(net, LINKS_QUIET_MS + 1);
    assert_int_equal(hello(net, 0, 3, newcomer, seq), 0);
    timeline_check(t);
    net_free(net);
}

static int count_peer(void *ctx, const struct store_peer *peer)
{
    (void)peer;
    ++*(int *)ctx;
    return 0;
}

/* Names cost nothing: a link is one person's for some minutes, and who came and went leaves no row. */
static void test_many_names(void **state)
{
    (void)state;
    struct net *net = town_of_three(10);
    struct timeline *t = net->nodes[0].t;
    uint8_t key[LINK_KEY_SIZE] = { 0xab };
    struct identity *first = somebody(0);
    assert_int_equal(hello_of(net, 0, first, 0, key, 5), 0);
    for (int i = 1; i < 20; i++) {
        struct identity *who = somebody(i);
        assert_int_equal(hello_of(net, 0, who, 0, key, 5), CAM_EREFUSED);
        identity_free(who);
    }
    assert_int_equal(hello_of(net, 0, first, 0, key, 6), 0);
    pass(net, LINKS_OWNER_MS);
    identity_free(first);
    for (int i = 20; i < 40; i++, key[1]++) {
        struct identity *who = somebody(i);
        struct store_person row;
        int peers = 0;
        assert_int_equal(hello_of(net, 0, who, 0, key, 5), 0);
        assert_int_equal(follow_of(net, who, key, 10, false), 0);
        assert_int_equal(store_peer_each(net->nodes[0].store, who->pk, count_peer, &peers), 0);
        assert_true(peers == 1 && store_person_get(net->nodes[0].store, who->pk, &row) == 0);
        pass(net, 10);
        assert_int_equal(follow_of(net, who, key, 11, true), 0);
        assert_int_equal(store_peer_each(net->nodes[0].store, who->pk, count_peer, &peers), 0);
        assert_int_equal(peers, 1); /* as counted before */
        assert_int_equal(store_person_get(net->nodes[0].store, who->pk, &row), CAM_ENOENT);
        identity_free(who);
    }
    timeline_check(t);
    net_free(net);
}

/* New followers are taken up at a rate that all links share; the rest is found in the network's set. */
static void test_many_followers(void **state)
{
    (void)state;
    struct net *net = town_of_three(11);
    struct timeline *t = net->nodes[0].t;
    uint8_t key[LINK_KEY_SIZE] = { 0xac };
    size_t before = t->follows.n_followers;
    for (int i = 0; i < 800; i++) {
        struct identity *who = somebody(i);
        pass(net, 20);
        put_be32(key + 1, (uint32_t)i);
        assert_int_equal(hello_of(net, 0, who, 0, key, 5), 0);
        follow_of(net, who, key, 10, false);
        identity_free(who);
        out_clear(&t->out[0]);
        out_clear(&t->out[1]);
    }
    assert_in_range(t->follows.n_followers - before, LINKS_FOLLOWERS_BURST,
                    LINKS_FOLLOWERS_BURST + 16 * LINKS_FOLLOWERS_PER_S + 1);
    net_free(net);
}

static int newest_seq(void *ctx, const struct store_peer *peer)
{
    int64_t *ret = ctx;
    *ret = peer->seq > *ret ? peer->seq : *ret;
    return 0;
}

/* Of many machines of one person the three heard of last are remembered, after a restart too. */
static void test_many_machines(void **state)
{
    (void)state;
    struct net *net = town_of_three(12);
    const struct identity *who = net->nodes[2].identity;
    uint8_t key[LINK_KEY_SIZE] = { 0xad };
    int64_t seq = (int64_t)(net->now.wall_ms / 1000) + 50, newest = 0;
    int peers = 0;
    for (int device = 1; device < 8; device++) {
        pass(net, 1000);
        key[1] = (uint8_t)device;
        assert_int_equal(hello_of(net, 0, who, device, key, seq + device), 0);
    }
    net_turn(net, 0);
    net_kill(net, 0);
    assert_int_equal(store_peer_each(net->nodes[0].store, who->pk, count_peer, &peers), 0);
    assert_int_equal(store_peer_each(net->nodes[0].store, who->pk, newest_seq, &newest), 0);
    assert_int_equal(peers, PERSON_PEERS_MAX);
    assert_int_equal(newest, seq + 7);
    net_start(net, 0, 0);
    assert_memory_equal(person_dest(people_find(net->nodes[0].t, who->pk))->key, key, LINK_KEY_SIZE);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_quiet_friends),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_many_followers),
        cmocka_unit_test(test_many_machines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
