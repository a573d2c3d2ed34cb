#include "tests/unit/tl_net.h"
#include "timeline/record.h"

/* Two nodes: register, follow, post, acknowledge, read. */
static void test_two(void **state)
{
    (void)state;
    struct net *net = net_town(2, 1);
    struct said *s = net_follow(net, 1, "u0");
    assert_int_equal(s->status, 0);
    assert_int_equal(s->n, 1);
    assert_true(s->rows[0].following);
    assert_false(s->rows[0].pending);
    assert_string_equal(s->rows[0].user.name, "u0");
    net_run(net, 100);

    s = net_post(net, 0, "hello");
    assert_int_equal(s->status, 0);
    assert_int_equal(s->rows[0].kind, TL_ROW_POSTED);
    assert_int_equal(s->rows[0].followers, 1);
    net_run(net, 100);
    s = net_read(net, 1, 0);
    assert_int_equal(s->status, 0);
    assert_int_equal(s->n, 1);
    assert_string_equal(s->texts[0], "hello");
    assert_true(s->rows[0].unread);
    assert_false(s->rows[0].has_via);
    assert_string_equal(s->rows[0].user.name, "u0");
    s = net_read(net, 1, 0);
    assert_false(s->rows[0].unread);
    s = net_status(net, 0);
    assert_int_equal(s->rows[0].outbox, 0); /* acknowledged */
    s = net_command(net, 0, (struct timeline_command){ .verb = TL_OUTBOX });
    assert_int_equal(s->n, 0);
    net_free(net);
}

/* A post made at the very moment of the follow is neither lost nor doubled, whichever comes first. */
static void test_post_while_followed(void **state)
{
    (void)state;
    for (uint64_t delay_ms = 0; delay_ms < 60; delay_ms += 3) {
        struct net *net = net_town(2, 100 + delay_ms);
        timeline_command(net->nodes[1].t, net->now,
                         &(struct timeline_command){ .verb = TL_FOLLOW, .who = "u0" });
        net_turn(net, 1);
        net_run(net, delay_ms);
        net_post(net, 0, "now");
        net_run(net, 1500);
        assert_int_equal(net_count(net, 1, "now"), 1);
        net_free(net);
    }
}

/* Register, login, post, follow and read without any network do what they can and say the rest. */
static void test_alone(void **state)
{
    (void)state;
    struct net *net = net_new(2, 2);
    net_start_at(net, 1, 0, -1);
    struct said *s = net_command(net, 1, (struct timeline_command){ .verb = TL_NAME_CHECK, .name = "ana" });
    assert_int_equal(s->status, CAM_ENET);
    s = net_command(net, 1, (struct timeline_command){ .verb = TL_POST, .text = span_str("x") });
    assert_int_equal(s->status, CAM_ELOCKED);
    s = net_command(net, 1, (struct timeline_command){ .verb = TL_WHOAMI });
    assert_int_equal(s->status, CAM_ENOENT);
    s = net_register(net, 1, "ana");
    assert_int_equal(s->status, CAM_EPENDING);
    assert_true(s->rows[0].name_pending);
    s = net_register(net, 1, "ana"); /* twice is the same account */
    assert_true(s->status == 0 || s->status == CAM_EPENDING);
    assert_int_equal(net_follow(net, 1, "bob")->status, CAM_ENET);
    s = net_post(net, 1, "to nobody");
    assert_int_equal(s->status, 0);
    assert_int_equal(s->rows[0].followers, 0);
    assert_int_equal(net_read(net, 1, 0)->n, 1);
    assert_int_equal(net_login(net, 1)->status, 0);

    /* The name is claimed when somebody comes. */
    net_start_at(net, 0, 0, 1);
    net_run(net, 6000);
    s = net_command(net, 1, (struct timeline_command){ .verb = TL_WHOAMI });
    assert_false(s->rows[0].name_pending);
    s = net_register(net, 0, "ana");
    assert_int_equal(s->status, CAM_ETAKEN);
    char text[WHO_SIZE];
    user_text("ana", net->nodes[1].identity->pk, text);
    assert_non_null(strstr(s->message, text));
    s = net_command(net, 0, (struct timeline_command){ .verb = TL_NAME_CHECK, .name = "ana" });
    assert_int_equal(s->status, CAM_ETAKEN);
    s = net_command(net, 0, (struct timeline_command){ .verb = TL_NAME_CHECK, .name = "bea" });
    assert_int_equal(s->status, 0);
    net_free(net);
}

/* Another key in the same home is refused; bad names and texts are. */
static void test_refusals(void **state)
{
    (void)state;
    struct net *net = net_town(2, 3);
    struct said *s = net_command(net, 0, (struct timeline_command){ .verb = TL_REGISTER, .name = "eve",
                                                                    .identity = net->nodes[1].identity });
    assert_int_equal(s->status, CAM_ETAKEN);
    s = net_command(net, 0,
                    (struct timeline_command){ .verb = TL_LOGIN, .identity = net->nodes[1].identity });
    assert_int_equal(s->status, CAM_ETAKEN);
    assert_int_equal(net_follow(net, 0, "No Name")->status, CAM_EINVAL);
    assert_int_equal(net_follow(net, 0, "u0")->status, CAM_EINVAL);
    assert_int_equal(net_follow(net, 0, "nobody")->status, CAM_ENOENT);
    assert_int_equal(net_who(net, 0, TL_UNFOLLOW, "u1")->status, CAM_ENOENT);
    assert_int_equal(net_post(net, 0, "")->status, CAM_EINVAL);
    assert_int_equal(net_post(net, 0, "\x1b[31m")->status, CAM_EINVAL);
    assert_int_equal(net_post(net, 0, "\xff")->status, CAM_EINVAL);
    static char big[5000];
    memset(big, 'a', sizeof big - 1);
    assert_int_equal(net_post(net, 0, big)->status, CAM_ETOOBIG);
    big[TIMELINE_TEXT_MAX] = '\0';
    assert_int_equal(net_post(net, 0, big)->status, 0);
    assert_int_equal(net_command(net, 0, (struct timeline_command){ .verb = TL_LOGOUT })->status, 0);
    assert_int_equal(net_post(net, 0, "locked")->status, CAM_ELOCKED);
    assert_int_equal(net_follow(net, 0, "u1")->status, CAM_ELOCKED);
    assert_int_equal(net_login(net, 0)->status, 0);
    assert_int_equal(net_post(net, 0, "open")->status, 0);
    net_free(net);
}

/* Live reading: what is there, then what comes; nothing after the reader is gone. */
static void test_live(void **state)
{
    (void)state;
    struct net *net = net_town(2, 4);
    net_follow(net, 1, "u0");
    net_run(net, 200);
    net_post(net, 0, "before");
    net_run(net, 200);
    net_live(net, 1);
    assert_int_equal(net->live.n, 1);
    net_post(net, 0, "one");
    net_post(net, 0, "two");
    net_run(net, 200);
    net_post(net, 1, "mine");
    net_run(net, 200);
    assert_int_equal(net->live.n, 4);
    assert_false(net->live.done);
    assert_string_equal(net->live.texts[0], "before");
    assert_string_equal(net->live.texts[1], "one");
    assert_int_equal(net_status(net, 1)->rows[0].unread_count, 0); /* seen as they came */
    timeline_command(net->nodes[1].t, net->now, &(struct timeline_command){ .verb = TL_CANCEL,
                                                                            .client = net->live_client });
    net_post(net, 0, "three");
    net_run(net, 200);
    assert_int_equal(net->live.n, 4);
    net_free(net);
}

/* A commit that fails: the post was not made, its caller is told, memory is what the disk says. */
static void test_failed_commit(void **state)
{
    (void)state;
    struct net *net = net_town(2, 5);
    net_follow(net, 1, "u0");
    net_run(net, 200);
    assert_int_equal(net_post(net, 0, "one")->status, 0);
    net->nodes[0].commit_error = CAM_EIO;
    assert_int_equal(net_post(net, 0, "lost")->status, CAM_EIO);
    assert_int_equal(net_read(net, 0, 0)->n, 1);
    struct said *s = net_post(net, 0, "two");
    assert_int_equal(s->status, 0);
    assert_int_equal(s->rows[0].seq, 2);
    net_run(net, 500);
    assert_int_equal(net_count(net, 1, ""), 2);
    assert_int_equal(net_count(net, 1, "lost"), 0);
    net->nodes[1].commit_error = CAM_EIO; /* at the receiver: not acknowledged, so it comes again */
    net_post(net, 0, "three");
    net_run(net, 3000);
    assert_int_equal(net_count(net, 1, "three"), 1);
    assert_int_equal(net_status(net, 0)->rows[0].outbox, 0);
    net_free(net);
}

static uint64_t queries(struct net *net, int i)
{
    struct kad_stats stats;
    uint64_t n = 0;
    kad_stats(net->nodes[i].kad, &stats);
    for (size_t k = 0; k < sizeof stats.out_kind / sizeof stats.out_kind[0]; k++)
        n += stats.out_kind[k];
    return n;
}

/* A disk that stays full: each turn fails, and none begins everything anew. With room again the node is as
 * after a start. */
static void test_full_disk(void **state)
{
    (void)state;
    struct net *net = net_town(8, 62);
    char id[USER_ID_SIZE];
    for (int i = 0; i < 30; i++) {
        uint8_t seed[KEY_SIZE] = { (uint8_t)i, 77 };
        struct identity *who = identity_from_seed(seed);
        user_id_text(who->pk, id);
        net_follow(net, 1, id);
        identity_free(who);
    }
    net_follow(net, 1, "u0");
    net_run(net, 600000);
    uint64_t before = queries(net, 1);
    for (int k = 0; k < 240; k++) { /* a minute, as the loop paces it */
        net->nodes[1].commit_error = CAM_EIO;
        net_turn(net, 1);
        net_run(net, 250);
    }
    assert_in_range(queries(net, 1) - before, 0, 500);
    net_post(net, 0, "heard");
    net_run(net, 1000);
    assert_int_equal(net_count(net, 1, "heard"), 1);
    net_kill(net, 0);
    net_run(net, 60000);
    assert_int_equal(net_post(net, 1, "said")->status, 0);
    net_free(net);
}

/* Nothing to do is nothing done: an idle node sleeps. */
static void test_idle(void **state)
{
    (void)state;
    struct net *net = net_town(4, 6);
    for (int i = 1; i < 4; i++)
        net_follow(net, i, "u0");
    net_post(net, 0, "hello");
    net_run(net, 60000);
    uint64_t before[4], sent[4];
    for (int i = 0; i < 4; i++) {
        before[i] = net->nodes[i].all_turns;
        sent[i] = net->nodes[i].sent_bytes;
    }
    net_run(net, 3600000);
    for (int i = 0; i < 4; i++) {
        uint64_t turns = net->nodes[i].all_turns - before[i], bytes = net->nodes[i].sent_bytes - sent[i];
        print_message("node %d: %.2f turns/s, %.1f link bytes/s\n", i, (double)turns / 3600,
                      (double)bytes / 3600);
        assert_true(turns < 3600 * 4);
        assert_true(bytes < 3600 * 40);
    }
    net_free(net);
}

/* A crowd of strangers who say HELLO and more: bounded in memory, and a newcomer still gets in. */
static void test_crowd(void **state)
{
    (void)state;
    struct net *net = net_town(3, 9);
    struct identity *stranger = identity_new(&net->rng);
    uint8_t value[200], buf[600];
    net_follow(net, 1, "u0");
    for (int i = 0; i < 6000; i++) {
        struct link_event e = { .kind = LINK_RECEIVED };
        struct record_connection c = { .addr = net->nodes[2].dest.addr,
                                       .reachable = true,
                                       .expires_s = INT64_MAX / 2 };
        struct message m = { .kind = MESSAGE_HELLO };
        struct bytes_out out = bytes_out(value, sizeof value);
        uint8_t seed[KEY_SIZE];
        rng_fill(&net->rng, seed, sizeof seed);
        rng_fill(&net->rng, e.from_key, LINK_KEY_SIZE);
        memcpy(c.transport_key, e.from_key, LINK_KEY_SIZE);
        record_put_connection(&out, &c);
        identity_free(stranger);
        stranger = identity_from_seed(seed);
        m.hello.record = (struct kad_item){ .is_mutable = true, .salt = span_str("connections/0"), .seq = 1,
                                            .v = span(value, out.size) };
        kad_item_sign(&m.hello.record, stranger);
        out = bytes_out(buf, sizeof buf);
        message_encode(&out, &m);
        e.bytes = span(buf, out.size);
        if (timeline_admits(net->nodes[0].t, e.from_key))
            timeline_recv(net->nodes[0].t, net->now, &e);
        m = (struct message){ .kind = MESSAGE_WANT, .want = { .from = 1, .bytes_max = UINT32_MAX } };
        memcpy(m.want.author, net->nodes[0].identity->pk, KEY_SIZE);
        out = bytes_out(buf, sizeof buf);
        message_encode(&out, &m);
        e.bytes = span(buf, out.size);
        timeline_recv(net->nodes[0].t, net->now, &e);
        if (i % 10 == 0)
            net_run(net, 100);
    }
    identity_free(stranger);
    net_run(net, 2000);
    assert_int_equal(net_follow(net, 2, "u0")->status, 0);
    net_run(net, 1000);
    assert_int_equal(net_post(net, 0, "still here")->rows[0].followers, 2);
    net_run(net, 1000);
    assert_int_equal(net_count(net, 1, "still"), 1);
    assert_int_equal(net_count(net, 2, "still"), 1);
    net_free(net);
}

/* Ids rise through restarts and a clock that goes back. */
static void test_ids_rise(void **state)
{
    (void)state;
    struct net *net = net_new(1, 7);
    uint64_t last = 0;
    net_start(net, 0, 0);
    net_register(net, 0, "ana");
    for (int i = 0; i < 30; i++) {
        struct said *s = net_post(net, 0, "x");
        assert_int_equal(s->status, 0);
        assert_true(s->rows[0].id > last);
        assert_int_equal(s->rows[0].seq, i + 1);
        last = s->rows[0].id;
        if (i % 5 == 4) {
            net_kill(net, 0);
            net->now.wall_ms -= 5000;
            net_start(net, 0, 0);
            assert_int_equal(net_login(net, 0)->status, 0);
        }
    }
    net_free(net);
}

/* The first post waits for the clock where one is expected, 2 s at most. */
static void test_clock(void **state)
{
    (void)state;
    struct net *net = net_new(1, 8);
    net->nodes[0].config.synced_clock_expected = true;
    net_start(net, 0, 0);
    net_register(net, 0, "ana");
    net_kill(net, 0);
    net_start(net, 0, 0);
    net_login(net, 0);
    uint64_t began = net->now.mono_ms;
    assert_int_equal(net_post(net, 0, "waits")->status, 0);
    assert_in_range(net->now.mono_ms - began, 1500, 2001);
    net_kill(net, 0);
    net_start(net, 0, 0);
    net_login(net, 0);
    timeline_clock_synced(net->nodes[0].t, net->now);
    began = net->now.mono_ms;
    assert_int_equal(net_post(net, 0, "does not")->status, 0);
    assert_int_equal(net->now.mono_ms, began);
    net_free(net);
}

/* A start with a clock that is forty days ahead, until a server sets it: no post and no follower goes by that
 * clock, whether held before or coming in; set, it counts. */
static void test_clock_ahead(void **state)
{
    const uint64_t ahead_ms = UINT64_C(40) * 86400 * 1000;
    (void)state;
    struct net *net = net_new(2, 52);
    for (int i = 0; i < 2; i++) {
        net->nodes[i].config.lifespan_s = 86400;
        net->nodes[i].config.synced_clock_expected = true;
        net_start(net, i, 0);
        timeline_clock_synced(net->nodes[i].t, net->now);
    }
    net_run(net, 3000);
    net_register(net, 0, "u0");
    net_register(net, 1, "u1");
    net_follow(net, 1, "u0");
    net_run(net, 500);
    net_post(net, 0, "p1");
    net_run(net, 3000);
    net_kill(net, 1);
    net_post(net, 0, "p2");
    net_run(net, 100);
    net_kill(net, 0);
    net->now.wall_ms += ahead_ms;
    for (int i = 0; i < 2; i++)
        net_start(net, i, 0);
    net_run(net, 120000); /* a collector's round, and all that catching up brings */
    net->now.wall_ms -= ahead_ms;
    for (int i = 0; i < 2; i++) {
        timeline_clock_synced(net->nodes[i].t, net->now);
        net_login(net, i);
    }
    net_run(net, 120000);
    assert_int_equal(net_count(net, 1, "p"), 2);
    assert_int_equal(net_who(net, 0, TL_FOLLOWERS, "")->n, 1);
    net_run(net, 86400000);
    assert_int_equal(net_count(net, 1, "p"), 0);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two),   cmocka_unit_test(test_post_while_followed),
        cmocka_unit_test(test_alone), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_live),  cmocka_unit_test(test_failed_commit),
        cmocka_unit_test(test_idle),  cmocka_unit_test(test_ids_rise),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_clock), cmocka_unit_test(test_clock_ahead),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
