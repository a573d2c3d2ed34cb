#include "tests/unit/tl_net.h"
#include "timeline/state.h"

static uint64_t message_count(const struct net *net, int i, enum message_kind kind)
{
    return net->nodes[i].sent_messages[kind];
}

/* `n` nodes, all but the first following it. */
static struct net *fans(int n, uint64_t seed)
{
    struct net *net = net_town(n, seed);
    for (int i = 1; i < n; i++)
        assert_int_equal(net_follow(net, i, "u0")->status, 0);
    net_run(net, 500);
    return net;
}

/* What node i has of node 0, oldest first, is exactly the first n posts "p1", "p2" ... */
static void assert_posts(struct net *net, int i, int n)
{
    struct said *s = net_read(net, i, 4096);
    int seen = 0;
    for (size_t k = s->n; k-- > 0;) {
        char text[16];
        if (s->rows[k].kind != TL_ROW_POST ||
            memcmp(s->rows[k].user.pk, net->nodes[0].identity->pk, KEY_SIZE) != 0)
            continue;
        snprintf(text, sizeof text, "p%d", ++seen);
        assert_string_equal(s->texts[k], text);
        assert_int_equal(s->rows[k].seq, seen);
    }
    assert_int_equal(seen, n);
}

static void post_n(struct net *net, int first, int last)
{
    char text[16];
    for (int i = first; i <= last; i++) {
        snprintf(text, sizeof text, "p%d", i);
        assert_int_equal(net_post(net, 0, text)->status, 0);
    }
}

/* A post reaches ten in the time of one way; twenty come complete and in order. */
static void test_ten(void **state)
{
    (void)state;
    struct net *net = fans(11, 21);
    post_n(net, 1, 1);
    net_run(net, NET_LINK_MS * 2 + 1);
    for (int i = 1; i < 11; i++)
        assert_posts(net, i, 1);
    post_n(net, 2, 20);
    net_run(net, 500);
    for (int i = 1; i < 11; i++)
        assert_posts(net, i, 20);
    assert_int_equal(net_status(net, 0)->rows[0].outbox, 0);
    assert_int_equal(message_count(net, 0, MESSAGE_POST) + message_count(net, 0, MESSAGE_BATCH) <= 200 + 20,
                     1);
    net_free(net);
}

/* Dead ones in the list delay nobody, whether their machine refuses or is silent. */
static void test_dead_delay_nobody(void **state)
{
    (void)state;
    struct net *net = fans(8, 22);
    net_kill(net, 1);
    net_vanish(net, 2);
    net_vanish(net, 3);
    post_n(net, 1, 5);
    net_run(net, NET_LINK_MS * 2 + 1);
    for (int i = 4; i < 8; i++)
        assert_posts(net, i, 5);
    net_run(net, 2000);
    struct said *s = net_command(net, 0, (struct timeline_command){ .verb = TL_OUTBOX });
    assert_int_equal(s->n, 5);
    assert_int_equal(s->rows[0].seq, 5); /* newest first */
    assert_int_equal(s->rows[0].received, 4);
    assert_int_equal(s->rows[0].waiting, 3);
    assert_true(s->rows[0].next_try_s > 0);

    /* An hour of trying is not many tries; back, they get all at once. */
    uint64_t sent = message_count(net, 0, MESSAGE_POST) + message_count(net, 0, MESSAGE_BATCH);
    net_run(net, 3600000);
    assert_true(message_count(net, 0, MESSAGE_POST) + message_count(net, 0, MESSAGE_BATCH) - sent < 3 * 30);
    for (int i = 1; i < 4; i++)
        net_start(net, i, 0);
    net_run(net, 1500);
    for (int i = 1; i < 4; i++)
        assert_posts(net, i, 5);
    assert_int_equal(net_status(net, 0)->rows[0].outbox, 0);
    net_free(net);
}

/* A follower of node 0 that has never been there, until `life_s` from now. */
static void add_dead(struct net *net, int number, int64_t life_s)
{
    uint8_t seed[KEY_SIZE] = { (uint8_t)number, (uint8_t)(number >> 8), 7 }, buf[300], root[KAD_ID_SIZE];
    struct identity *who = identity_from_seed(seed);
    struct record_follow f = { .name = "dead",
                               .expires_s = (int64_t)(net->now.wall_ms / 1000) + life_s,
                               .n_hints = 1 };
    struct bytes_out out = bytes_out(buf, sizeof buf);
    addr_parse("127.0.0.1:1", &f.hints[0].addr);
    memcpy(f.hints[0].transport_key, who->pk, LINK_KEY_SIZE);
    record_put_follow(&out, &f);
    struct kad_entry e = { .seq = 5, .v = span(buf, out.size) };
    record_followers_root(net->nodes[0].identity->pk, root);
    assert_int_equal(kad_entry_sign(&e, root, who), 0);
    assert_int_equal(follower_learn(net->nodes[0].t, &e), 0);
    identity_free(who);
}

/* More dead ones than are served in a turn: the living gets its posts, and nothing turns in vain. The dead
 * are forgotten after a month, whatever their entries say. */
static void test_many_dead(void **state)
{
    (void)state;
    struct net *net = net_town(2, 5);
    for (int i = 0; i < OUTBOX_TURN_FOLLOWERS + 40; i++)
        add_dead(net, i, i % 2 ? 1000 : INT64_C(1000000000));
    net_turn(net, 0);
    assert_int_equal(net_follow(net, 1, "u0")->status, 0);
    net_run(net, 2000);
    post_n(net, 1, 1);
    net_run(net, 20000);
    assert_posts(net, 1, 1);
    uint64_t turns = net->nodes[0].all_turns;
    post_n(net, 2, 70);
    net_run(net, 10000);
    assert_posts(net, 1, 70);
    assert_in_range(net->nodes[0].all_turns - turns, 1, 5000);
    for (size_t i = 0; i < net->nodes[0].t->follows.n_followers; i++)
        assert_true(net->nodes[0].t->follows.followers[i]->expires_s <=
                    (int64_t)(net->now.wall_ms / 1000) + RECORD_LIFE_FOLLOW_S);
    net_free(net);
}

/* An author whose store was lost numbers its posts from 1 again: they are kept beside the first ones, and so
 * acknowledged, not sent for ever. */
static void test_forked_author(void **state)
{
    (void)state;
    struct net *net = net_town(4, 71);
    char why[STORE_MESSAGE_SIZE];
    net_follow(net, 1, "u0");
    net_follow(net, 2, "u0");
    net_run(net, 500);
    post_n(net, 1, 8);
    net_run(net, 2000);
    net_kill(net, 0);
    store_close(net->nodes[0].store);
    assert_int_equal(store_open(":memory:", &net->nodes[0].store, why), 0);
    net_run(net, 5000);
    net_start_at(net, 0, 0, 1);
    net_run(net, 2000);
    net_command(net, 0, (struct timeline_command){ .verb = TL_LOGIN,
                                                   .name = "u0",
                                                   .identity = net->nodes[0].identity });
    net_run(net, 60000);
    for (int i = 1; i <= 3; i++) {
        net_post(net, 0, "new");
        net_run(net, i == 1 ? 2000 : 0); /* one alone, and two in a turn */
    }
    net_run(net, 10000);
    for (int i = 1; i < 3; i++)
        assert_int_equal(net_count(net, i, "new"), 3);
    assert_int_equal(net_status(net, 0)->rows[0].outbox, 0);
    uint64_t sent = message_count(net, 0, MESSAGE_POST) + message_count(net, 0, MESSAGE_BATCH);
    net_run(net, 600000);
    assert_true(message_count(net, 0, MESSAGE_POST) + message_count(net, 0, MESSAGE_BATCH) - sent < 10);
    net_free(net);
}

/* SIGKILL of the author right after `post` returned: the post is out on its return, once, in order. */
static void test_killed_author(void **state)
{
    (void)state;
    struct net *net = fans(5, 23);
    for (int k = 1; k <= 10; k++) {
        post_n(net, k, k);
        net_kill(net, 0);
        net_run(net, (uint64_t)k * 37);
        net_start_at(net, 0, 0, -1); /* nobody told where to join; and locked, for half of the time */
        if (k % 2)
            net_login(net, 0);
        net_run(net, 700);
        if (k % 2 == 0)
            net_login(net, 0);
        for (int i = 1; i < 5; i++)
            assert_posts(net, i, k);
    }
    assert_int_equal(net_status(net, 0)->rows[0].outbox, 0);
    net_free(net);
}

/* Several posts in one turn leave as one run, acknowledged at once. */
static void test_runs(void **state)
{
    (void)state;
    struct net *net = fans(3, 24);
    char text[16];
    uint64_t posts = message_count(net, 0, MESSAGE_POST), batches = message_count(net, 0, MESSAGE_BATCH);
    uint64_t acks = message_count(net, 1, MESSAGE_ACK);
    for (int i = 1; i <= 300; i++) {
        snprintf(text, sizeof text, "p%d", i);
        timeline_command(net->nodes[0].t, net->now,
                         &(struct timeline_command){ .verb = TL_POST, .text = span_str(text) });
    }
    net_turn(net, 0);
    net_run(net, 200);
    for (int i = 1; i < 3; i++)
        assert_posts(net, i, 300);
    assert_int_equal(message_count(net, 0, MESSAGE_POST) - posts, 0);
    assert_in_range(message_count(net, 0, MESSAGE_BATCH) - batches, 2, 6);
    assert_in_range(message_count(net, 1, MESSAGE_ACK) - acks, 1, 3);
    assert_int_equal(net_status(net, 0)->rows[0].outbox, 0);
    net_free(net);
}

/* Lossy links: everything arrives all the same, once and in order. */
static void test_loss(void **state)
{
    (void)state;
    struct net *net = fans(5, 25);
    net->loss_percent = 25;
    for (int k = 1; k <= 40; k++) {
        post_n(net, k, k);
        net_run(net, 50);
    }
    net_run(net, 30000);
    net->loss_percent = 0;
    net_run(net, 60000);
    for (int i = 1; i < 5; i++)
        assert_posts(net, i, 40);
    assert_int_equal(net_status(net, 0)->rows[0].outbox, 0);
    net_free(net);
}

/* `post --wait`: answered when all have it, or at the time-out with who is missing. */
static void test_wait(void **state)
{
    (void)state;
    struct net *net = fans(3, 26);
    struct said *s = net_command(
        net, 0, (struct timeline_command){ .verb = TL_POST, .text = span_str("p1"), .wait_ms = 5000 });
    assert_int_equal(s->status, 0);
    assert_int_equal(s->rows[0].received, 2);
    net_kill(net, 2);
    uint64_t began = net->now.mono_ms;
    s = net_command(net, 0,
                    (struct timeline_command){ .verb = TL_POST, .text = span_str("p2"), .wait_ms = 1000 });
    assert_int_equal(s->status, CAM_EPENDING);
    assert_int_equal(s->rows[0].received, 1);
    assert_int_equal(s->rows[0].waiting, 1);
    assert_in_range(net->now.mono_ms - began, 1000, 1100);
    net_free(net);
}

/* ---- acknowledgements that count for nothing ---- */

static int ack(struct net *net, int as_link_of, uint64_t from, uint64_t seq, const uint8_t hash[HASH_SIZE])
{
    uint8_t buf[512];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    struct message m = { .kind = MESSAGE_ACK,
                         .ack = {
                             .from = from, .seq = seq, .range = message_range_all(), .stored_below = 1 } };
    memcpy(m.ack.author, net->nodes[0].identity->pk, KEY_SIZE);
    memcpy(m.ack.hash, hash, HASH_SIZE);
    message_encode(&out, &m);
    assert_int_equal(out.err, 0);
    struct link_event e = { .kind = LINK_RECEIVED, .bytes = span(buf, out.size) };
    memcpy(e.from_key, net->nodes[as_link_of].dest.key, LINK_KEY_SIZE);
    return timeline_recv(net->nodes[0].t, net->now, &e);
}

static void test_false_acks(void **state)
{
    (void)state;
    struct net *net = fans(4, 27);
    net_who(net, 3, TL_UNFOLLOW, "u0"); /* known here, but not asked */
    net_run(net, 500);
    net_kill(net, 1);
    post_n(net, 1, 2);
    net_run(net, 500);
    uint8_t zero[HASH_SIZE] = { 0 }, hash[HASH_SIZE];
    struct feed feed;
    assert_int_equal(store_feed_load(net->nodes[0].store, net->nodes[0].identity->pk, 0, &feed), 0);
    memcpy(hash, feed.known_hash, HASH_SIZE);
    uint64_t refused = net_status(net, 0)->rows[0].refused;
    assert_int_equal(ack(net, 3, 1, 2, hash), CAM_EREFUSED);
    assert_int_equal(ack(net, 1, 1, 2, zero), CAM_EAUTH);   /* it cannot have it: it does not know the hash */
    assert_int_equal(ack(net, 1, 1, 7, hash), CAM_EREFUSED); /* of a post that does not exist */
    assert_int_equal(ack(net, 1, 2, 2, hash), 0); /* with a hole below: it is still owed the first */
    struct said *s = net_command(net, 0, (struct timeline_command){ .verb = TL_OUTBOX });
    assert_int_equal(s->n, 2);
    assert_int_equal(net_status(net, 0)->rows[0].refused, refused + 3);
    assert_int_equal(ack(net, 1, 1, 2, hash), 0);
    assert_int_equal(net_command(net, 0, (struct timeline_command){ .verb = TL_OUTBOX })->n, 0);
    net_free(net);
}

/* A follower that comes back at another address says so itself; so does the author. */
static void test_moved(void **state)
{
    (void)state;
    struct net *net = fans(4, 28);
    net_kill(net, 1);
    post_n(net, 1, 2);
    net_run(net, 3000);
    net_start(net, 1, 9500);
    net_login(net, 1);
    net_run(net, 1000);
    assert_posts(net, 1, 2);
    post_n(net, 3, 3);
    net_run(net, 100);
    assert_posts(net, 1, 3);
    net_kill(net, 0);
    net_start_at(net, 0, 9600, -1);
    net_login(net, 0);
    net_run(net, 1000);
    post_n(net, 4, 4);
    net_run(net, 500);
    for (int i = 1; i < 4; i++)
        assert_posts(net, i, 4);
    assert_int_equal(net_status(net, 0)->rows[0].outbox, 0);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_dead), cmocka_unit_test(test_forked_author),
        cmocka_unit_test(test_ten),           cmocka_unit_test(test_dead_delay_nobody),
        cmocka_unit_test(test_killed_author), cmocka_unit_test(test_runs),
        cmocka_unit_test(test_loss),          cmocka_unit_test(test_wait),
        cmocka_unit_test(test_false_acks),    cmocka_unit_test(test_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
