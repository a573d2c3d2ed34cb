#include "tests/unit/tl_net.h"
#include "timeline/state.h"

/* HELLO of node `who` to node `to`, from a link with this key. */
static int hello(struct net *net, int to, int who, const uint8_t key[LINK_KEY_SIZE], int64_t seq)
{
    static uint8_t buf[LINK_MESSAGE_MAX];
    uint8_t value[200];
    struct record_connection c = { .addr = net->nodes[who].dest.addr,
                                   .reachable = true,
                                   .expires_s = (int64_t)(net->now.wall_ms / 1000) + 100 };
    struct bytes_out out = bytes_out(value, sizeof value);
    memcpy(c.transport_key, key, LINK_KEY_SIZE);
    record_put_connection(&out, &c);
    struct message m = { .kind = MESSAGE_HELLO };
    m.hello.record = (struct kad_item){ .is_mutable = true,
                                        .salt = span_str("connections/0"),
                                        .v = span(value, out.size),
                                        .seq = seq };
    kad_item_sign(&m.hello.record, net->nodes[who].identity);
    out = bytes_out(buf, sizeof buf);
    message_encode(&out, &m);
    assert_int_equal(out.err, 0);
    struct link_event e = { .kind = LINK_RECEIVED, .bytes = span(buf, out.size) };
    memcpy(e.from_key, key, LINK_KEY_SIZE);
    return timeline_recv(net->nodes[to].t, net->now, &e);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_quiet_friends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
