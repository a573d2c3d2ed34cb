#include "tests/unit/tl_net.h"
#include "timeline/state.h"
#include "timeline/record.h"

static size_t users(const struct said *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->rows[i].kind == TL_ROW_USER;
    return n;
}

/* Nine follow one at the same instant: nine followers at the followed and at every reader within 5 s. */
static void test_nine_at_once(void **state)
{
    (void)state;
    struct net *net = net_town(10, 11);
    for (int i = 1; i < 10; i++) {
        timeline_command(net->nodes[i].t, net->now,
                         &(struct timeline_command){ .verb = TL_FOLLOW, .who = "u0" });
        net_turn(net, i);
    }
    net_run(net, 4000);
    for (int i = 0; i < 10; i++) {
        struct said *s = net_who(net, i, TL_FOLLOWERS, "u0");
        assert_int_equal(s->status, 0);
        assert_int_equal(users(s), 9);
        s = net_who(net, i, TL_PROFILE, "u0");
        assert_int_equal(s->n, 1);
        assert_int_equal(s->rows[0].followers, 9);
    }
    struct said *s = net_who(net, 0, TL_FOLLOWERS, "");
    assert_int_equal(users(s), 9);
    s = net_who(net, 3, TL_FOLLOWING, "");
    assert_int_equal(users(s), 1);
    s = net_who(net, 4, TL_FOLLOWING, "u3");
    assert_int_equal(users(s), 1);
    assert_string_equal(s->rows[0].user.name, "u0");
    net_free(net);
}

/* The end of a follow: no posts shown, none sent, none counted; and it can begin again. */
static void test_unfollow(void **state)
{
    (void)state;
    struct net *net = net_town(3, 12);
    net_follow(net, 1, "u0");
    net_follow(net, 2, "u0");
    net_run(net, 300);
    net_post(net, 0, "one");
    net_run(net, 300);
    assert_int_equal(net_count(net, 1, ""), 1);
    struct said *s = net_who(net, 1, TL_UNFOLLOW, "u0");
    assert_int_equal(s->status, 0);
    assert_false(s->rows[0].following);
    assert_int_equal(net_count(net, 1, ""), 0);
    net_run(net, 300);
    s = net_post(net, 0, "two");
    assert_int_equal(s->rows[0].followers, 1);
    net_run(net, 300);
    assert_int_equal(net_count(net, 1, ""), 0);
    assert_int_equal(users(net_who(net, 2, TL_FOLLOWERS, "u0")), 1);
    assert_int_equal(users(net_who(net, 0, TL_FOLLOWERS, "")), 1);
    assert_int_equal(users(net_who(net, 1, TL_FOLLOWING, "")), 0);
    assert_int_equal(net_who(net, 1, TL_UNFOLLOW, "u0")->status, CAM_ENOENT);

    /* The tombstone holds through a restart of everybody. */
    for (int i = 0; i < 3; i++)
        net_kill(net, i);
    for (int i = 0; i < 3; i++) {
        net_start_at(net, i, 0, -1);
        net_login(net, i);
    }
    net_run(net, 5000);
    assert_int_equal(users(net_who(net, 0, TL_FOLLOWERS, "")), 1);
    assert_int_equal(net_count(net, 1, ""), 0);

    assert_int_equal(net_follow(net, 1, "u0")->status, 0);
    net_run(net, 1000);
    assert_int_equal(net_count(net, 1, ""), 2);
    net_post(net, 0, "three");
    net_run(net, 300);
    assert_int_equal(net_count(net, 1, ""), 3);
    net_free(net);
}

/* A private follow writes nothing and still reads. */
static void test_private(void **state)
{
    (void)state;
    struct net *net = net_town(3, 13);
    net_post(net, 0, "one");
    struct said *s = net_command(net, 1, (struct timeline_command){ .verb = TL_FOLLOW, .who = "u0",
                                                                    .private_follow = true });
    assert_int_equal(s->status, 0);
    net_run(net, 1000);
    assert_int_equal(net_count(net, 1, "one"), 1);
    assert_int_equal(users(net_who(net, 0, TL_FOLLOWERS, "")), 0);
    assert_int_equal(users(net_who(net, 2, TL_FOLLOWERS, "u0")), 0);
    assert_int_equal(users(net_who(net, 2, TL_FOLLOWING, "u1")), 0);
    net_post(net, 0, "two");
    net_run(net, 400000); /* found by comparing */
    assert_int_equal(net_count(net, 1, "two"), 1);
    net_free(net);
}

static uint64_t told;

static bool count_told(struct net *net, int from, int to, uint8_t *data, size_t size)
{
    struct message m;
    (void)net;
    if (from == 1 && to == 2 && message_decode(span(data, size), &m) == 0) {
        told += m.kind == MESSAGE_BATCH ? m.batch.n_posts : 0;
        told += m.kind == MESSAGE_HAVE || m.kind == MESSAGE_WANT;
    }
    return true;
}

static void send_link(struct net *net, int to, int as_link_of, struct span bytes)
{
    struct link_event e = { .kind = LINK_RECEIVED, .bytes = bytes };
    memcpy(e.from_key, net->nodes[as_link_of].dest.key, LINK_KEY_SIZE);
    assert_int_equal(timeline_recv(net->nodes[to].t, net->now, &e), 0);
    net_turn(net, to);
}

/* Whoever asks a private follower for posts of that author, or what it holds of them, learns nothing. */
static void test_private_is_not_told(void **state)
{
    (void)state;
    struct net *net = net_town(3, 16);
    uint8_t buf[1024];
    net_post(net, 0, "one");
    net_follow(net, 2, "u1"); /* so that 1 listens to 2 */
    net_command(net, 1, (struct timeline_command){ .verb = TL_FOLLOW, .who = "u0", .private_follow = true });
    net_run(net, 1000);
    assert_int_equal(net_count(net, 1, "one"), 1);
    told = 0;
    net->tamper = count_told;
    struct message m = { .kind = MESSAGE_WANT, .want = { .from = 1, .bytes_max = 100000 } };
    memcpy(m.want.author, net->nodes[0].identity->pk, KEY_SIZE);
    struct bytes_out out = bytes_out(buf, sizeof buf);
    message_encode(&out, &m);
    send_link(net, 1, 2, span(buf, out.size));
    struct message_have_writer w;
    struct message_feed feed = { .device = 0 };
    memcpy(feed.author, net->nodes[0].identity->pk, KEY_SIZE);
    out = bytes_out(buf, sizeof buf);
    message_have_begin(&w, &out, true);
    message_have_add(&w, &feed);
    message_have_end(&w);
    send_link(net, 1, 2, span(buf, out.size));
    net_run(net, 100);
    assert_int_equal(told, 0);
    net_free(net);
}

/* One who says that nothing is new, unasked, does not keep a private follower from asking the author. */
static void test_private_is_not_kept_quiet(void **state)
{
    (void)state;
    struct net *net = net_town(4, 14);
    uint8_t buf[1024];
    net_post(net, 0, "one");
    net_follow(net, 2, "u1"); /* so that 1 listens to 2 */
    net_follow(net, 3, "u2");
    net_follow(net, 1, "u2"); /* of whom 1 compares with 3 */
    net_command(net, 1, (struct timeline_command){ .verb = TL_FOLLOW, .who = "u0", .private_follow = true });
    net_run(net, 100000);
    net_post(net, 0, "two");
    struct message_have_writer w;
    struct message_feed feed = { .device = 0 };
    memcpy(feed.author, net->nodes[0].identity->pk, KEY_SIZE);
    struct bytes_out out = bytes_out(buf, sizeof buf);
    message_have_begin(&w, &out, false);
    message_have_add(&w, &feed);
    message_have_end(&w);
    for (int s = 0; s < 1200 && net_count(net, 1, "two") == 0; s++) {
        net_run(net, 1000);
        send_link(net, 1, 2, span(buf, out.size));
    }
    assert_int_equal(net_count(net, 1, "two"), 1);
    net_free(net);
}

static int n_follows_lost;

static bool lose_follows(struct net *net, int from, int to, uint8_t *data, size_t size)
{
    struct message m;
    (void)net, (void)from, (void)to;
    if (n_follows_lost == 0 || message_decode(span(data, size), &m) || m.kind != MESSAGE_FOLLOW)
        return true;
    n_follows_lost--;
    return false;
}

/* A FOLLOW that is lost alone is said again when the author answers; both lost, when a check finds a post
 * that the author did not send by itself. */
static void test_follow_lost(void **state)
{
    (void)state;
    for (int lost = 1; lost <= 2; lost++) {
        struct net *net = net_town(3, 17);
        net_post(net, 0, "one");
        net_run(net, 20000); /* its own reading of the set is an hour away */
        n_follows_lost = lost;
        net->tamper = lose_follows;
        net_follow(net, 1, "u0");
        net_run(net, 3000);
        assert_int_equal(net->nodes[0].t->follows.n_followers, lost == 1);
        net_post(net, 0, "two");
        net_run(net, lost == 1 ? 100 : 700000);
        assert_int_equal(net_count(net, 1, "two"), 1);
        assert_int_equal(net->nodes[0].t->follows.n_followers, 1);
        net_post(net, 0, "three");
        net_run(net, 100);
        assert_int_equal(net_count(net, 1, "three"), 1);
        net_free(net);
    }
}

/* ---- forged and stale entries on a link ---- */

static void send_follow(struct net *net, int to, int as_link_of, const struct kad_entry *entry, int want)
{
    uint8_t buf[1024];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    struct message m = { .kind = MESSAGE_FOLLOW, .follow = { .entry = *entry } };
    message_encode(&out, &m);
    assert_int_equal(out.err, 0);
    struct link_event e = { .kind = LINK_RECEIVED, .bytes = span(buf, out.size) };
    memcpy(e.from_key, net->nodes[as_link_of].dest.key, LINK_KEY_SIZE);
    assert_int_equal(timeline_recv(net->nodes[to].t, net->now, &e), want);
    net_turn(net, to);
}

static struct kad_entry make_entry(struct net *net, int who, int whom, int64_t seq, bool deleted,
                                   uint8_t buf[300])
{
    struct record_follow f = { .deleted = deleted, .expires_s = (int64_t)(net->now.wall_ms / 1000) + 1000 };
    struct bytes_out out = bytes_out(buf, 300);
    uint8_t root[KAD_ID_SIZE];
    snprintf(f.name, sizeof f.name, "u%d", who);
    record_put_follow(&out, &f);
    struct kad_entry e = { .seq = seq, .v = span(buf, out.size) };
    record_followers_root(net->nodes[whom].identity->pk, root);
    assert_int_equal(kad_entry_sign(&e, root, net->nodes[who].identity), 0);
    return e;
}

static void test_forged(void **state)
{
    (void)state;
    struct net *net = net_town(4, 14);
    uint8_t buf[300];
    for (int i = 1; i < 4; i++) /* all are known to each other's links */
        net_follow(net, i, "u0");
    net_run(net, 500);
    for (int i = 2; i < 4; i++)
        net_who(net, i, TL_UNFOLLOW, "u0");
    net_run(net, 500);
    assert_int_equal(users(net_who(net, 0, TL_FOLLOWERS, "")), 1);
    uint64_t refused = net_status(net, 0)->rows[0].refused;
    int64_t now_s = (int64_t)(net->now.wall_ms / 1000);

    struct kad_entry e = make_entry(net, 2, 1, now_s + 10, false, buf); /* signed for another's set */
    send_follow(net, 0, 2, &e, CAM_EAUTH);
    e = make_entry(net, 2, 0, now_s + 10, false, buf);
    send_follow(net, 0, 3, &e, CAM_EREFUSED); /* by somebody else's link */
    e.sig[5] ^= 1;
    send_follow(net, 0, 2, &e, CAM_EAUTH);
    e.sig[5] ^= 1;
    e.seq++;
    send_follow(net, 0, 2, &e, CAM_EAUTH);
    memcpy(e.pk, net->nodes[3].identity->pk, KEY_SIZE); /* 2 makes 3 follow */
    send_follow(net, 0, 3, &e, CAM_EAUTH);
    e = make_entry(net, 1, 0, 5, true, buf); /* an old tombstone */
    send_follow(net, 0, 1, &e, CAM_ESTALE);
    assert_int_equal(users(net_who(net, 0, TL_FOLLOWERS, "")), 1);
    assert_int_equal(net_status(net, 0)->rows[0].refused, refused + 6);

    e = make_entry(net, 2, 0, now_s + 10, false, buf); /* the genuine one */
    send_follow(net, 0, 2, &e, 0);
    assert_int_equal(users(net_who(net, 0, TL_FOLLOWERS, "")), 2);
    net_free(net);
}

/* Follows, followers and the order of pages survive restarts; more than one page of them. */
static void test_many(void **state)
{
    (void)state;
    struct net *net = net_town(2, 15);
    char id[USER_ID_SIZE];
    uint8_t pk[KEY_SIZE] = { 0 };
    for (int i = 0; i < 45; i++) { /* keys of nobody who is there */
        pk[0] = (uint8_t)i;
        pk[1] = 1;
        user_id_text(pk, id);
        assert_int_equal(net_follow(net, 1, id)->status, 0);
    }
    net_run(net, 10000);
    assert_int_equal(users(net_who(net, 0, TL_FOLLOWING, "u1")), 45);
    pk[0] = 3;
    user_id_text(pk, id);
    assert_int_equal(net_who(net, 1, TL_UNFOLLOW, id)->status, 0);
    net_run(net, 10000);
    assert_int_equal(users(net_who(net, 0, TL_FOLLOWING, "u1")), 44);
    net_kill(net, 1);
    net_start(net, 1, 0);
    net_login(net, 1);
    assert_int_equal(users(net_who(net, 1, TL_FOLLOWING, "")), 44);
    for (int i = 40; i < 45; i++) {
        pk[0] = (uint8_t)i;
        user_id_text(pk, id);
        assert_int_equal(net_who(net, 1, TL_UNFOLLOW, id)->status, 0);
    }
    net_run(net, 20000);
    assert_int_equal(users(net_who(net, 0, TL_FOLLOWING, "u1")), 39);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follow_lost),
        cmocka_unit_test(test_private_is_not_told), cmocka_unit_test(test_private_is_not_kept_quiet),
        cmocka_unit_test(test_nine_at_once), cmocka_unit_test(test_unfollow), cmocka_unit_test(test_private),
        cmocka_unit_test(test_forged),       cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
