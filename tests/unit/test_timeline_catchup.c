#include "tests/unit/tl_net.h"
#include "core/snowflake.h"
#include "timeline/catchup.h"
#include "timeline/links.h"
#include "timeline/post.h"
#include "timeline/record.h"

/* `n` nodes, all but the first following it. */
static struct net *fans(int n, uint64_t seed)
{
    struct net *net = net_town(n, seed);
    for (int i = 1; i < n; i++)
        assert_int_equal(net_follow(net, i, "u0")->status, 0);
    net_run(net, 1000);
    return net;
}

static void post_n(struct net *net, int first, int last)
{
    char text[16];
    for (int i = first; i <= last; i++) {
        snprintf(text, sizeof text, "p%d", i);
        assert_int_equal(net_post(net, 0, text)->status, 0);
    }
}

/* So many that each cannot be waited for. */
static void post_many(struct net *net, int n)
{
    char text[16];
    for (int i = 1; i <= n; i++) {
        snprintf(text, sizeof text, "p%d", i);
        timeline_command(net->nodes[0].t, net->now,
                         &(struct timeline_command){ .verb = TL_POST, .text = span_str(text) });
        if (i % 200 == 0) {
            net_turn(net, 0);
            net_run(net, 50);
        }
    }
}

/* Lets time pass until node i has n posts of node 0, all of them in order; how long it took. */
static uint64_t wait_for(struct net *net, int i, int n, uint64_t at_most_ms)
{
    uint64_t began = net->now.mono_ms;
    while (net_count(net, i, "p") < (size_t)n && net->now.mono_ms - began < at_most_ms)
        net_run(net, net->now.mono_ms - began < 5000 ? 10 : 500); /* each look reads the whole timeline */
    struct said *s = net_read(net, i, 4096);
    int seen = 0;
    for (size_t k = s->n; k-- > 0;) {
        char text[16];
        if (s->rows[k].kind != TL_ROW_POST || s->texts[k][0] != 'p')
            continue;
        snprintf(text, sizeof text, "p%d", ++seen);
        assert_string_equal(s->texts[k], text);
    }
    assert_int_equal(seen, n);
    return net->now.mono_ms - began;
}

static size_t gap_rows(struct net *net, int i)
{
    struct said *s = net_read(net, i, 1);
    size_t n = 0;
    for (size_t k = 0; k < s->n; k++)
        n += s->rows[k].kind == TL_ROW_GAP;
    return n;
}

/* Away for five posts: from the author; from another follower while the author is gone; from the one that is
 * left of many, the dead being silent. Always within 1.5 s. */
static void test_away(void **state)
{
    (void)state;
    for (int scene = 0; scene < 3; scene++) {
        struct net *net = fans(8, 31 + (uint64_t)scene);
        net_vanish(net, 7);
        post_n(net, 1, 5);
        net_run(net, 2000);
        if (scene >= 1)
            net_vanish(net, 0);
        for (int i = 1; scene == 2 && i < 6; i++)
            net_vanish(net, i);
        net_run(net, 500);
        net_start_at(net, 7, 0, -1);
        if (scene != 1)
            net_login(net, 7); /* locked, it catches up as well */
        uint64_t took = wait_for(net, 7, 5, 3000);
        print_message("scene %d: %d ms\n", scene, (int)took);
        assert_true(took <= 1200);
        assert_int_equal(gap_rows(net, 7), 0);
        net_free(net);
    }
}

/* Who begins to follow gets what was posted before; also from the other followers when the author is gone. */
static void test_old_posts(void **state)
{
    (void)state;
    struct net *net = fans(5, 35);
    net_who(net, 4, TL_UNFOLLOW, "u0");
    net_who(net, 3, TL_UNFOLLOW, "u0");
    post_n(net, 1, 30);
    net_run(net, 1000);
    net_follow(net, 4, "u0");
    assert_true(wait_for(net, 4, 30, 2000) < 500);
    net_vanish(net, 0);
    net_run(net, 100);
    net_follow(net, 3, "u0");
    assert_true(wait_for(net, 3, 30, 5000) < 2500);
    net_free(net);
}

/* Everybody is killed and comes back at other ports, told of nobody: all is there and new posts flow. */
static void test_everybody(void **state)
{
    (void)state;
    struct net *net = fans(6, 36);
    post_n(net, 1, 3);
    net_run(net, 1000);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 6; i++)
            net_kill(net, i);
        net_run(net, 1000);
        for (int i = 0; i < 6; i++) {
            /* One keeps its port the second time: somebody must be where somebody remembers. */
            net_start_at(net, i, round && i != 3 ? (uint16_t)(9700 + i) : 0, -1);
            net_login(net, i);
        }
        net_run(net, 8000);
        post_n(net, 4 + round, 4 + round);
        for (int i = 1; i < 6; i++) {
            uint64_t took = wait_for(net, i, 4 + round, 6000);
            if (took > 200)
                print_message("round %d node %d: %d ms\n", round, i, (int)took);
        }
        struct said *s = net_who(net, 0, TL_FOLLOWERS, "");
        assert_int_equal(s->n, 5);
    }
    net_free(net);
}

/* A long history: newest first, page by page, the gap told until it is closed. */
static void test_long(void **state)
{
    (void)state;
    struct net *net = net_town(2, 37);
    post_many(net, 3000);
    net_follow(net, 1, "u0");
    assert_true(wait_for(net, 1, 3000, 10000) < 200);
    assert_true(net->nodes[0].sent_messages[MESSAGE_BATCH] <= 3000 / 500 + 3); /* no page twice */
    assert_int_equal(gap_rows(net, 1), 0);
    struct said *s = net_who(net, 1, TL_PROFILE, "u0");
    assert_int_equal(s->rows[0].complete_to, 3000);
    assert_int_equal(s->rows[0].gaps, 0);
    assert_true(s->rows[0].time_ms > NET_EPOCH_MS);
    net_free(net);
}

static int n_lost;

/* Loses everything of node 0's that begins with its newest post: all HAVE, and the newest page once. */
static bool lose_newest(struct net *net, int from, int to, uint8_t *data, size_t size)
{
    (void)net, (void)to;
    struct message m;
    struct message_item item;
    if (from != 0 || message_decode(span(data, size), &m))
        return true;
    if (m.kind != MESSAGE_BATCH)
        return m.kind != MESSAGE_HAVE;
    struct ben_iter it = message_items(&m.batch);
    if (!message_item_next(&it, &item) || be64(item.header.data + 16) != 1500)
        return true;
    return n_lost++ > 0;
}

/* The newest page of an answer is lost and the older ones come: what they end at is not taken for the end. */
static void test_newest_page_lost(void **state)
{
    (void)state;
    struct net *net = net_town(2, 48);
    post_many(net, 1500);
    net->tamper = lose_newest;
    n_lost = 0;
    net_follow(net, 1, "u0");
    wait_for(net, 1, 1500, 2000);
    assert_int_equal(n_lost, 2); /* asked for once more, and not again */
    assert_int_equal(gap_rows(net, 1), 0);
    net_free(net);
}

static int speechless; /* the node whose first HELLO is lost */

static bool lose_hello(struct net *net, int from, int to, uint8_t *data, size_t size)
{
    (void)net, (void)to;
    struct message m;
    bool is_hello = message_decode(span(data, size), &m) == 0 && m.kind == MESSAGE_HELLO;
    return !is_hello || from != speechless || n_lost++ > 0;
}

/* The HELLO of one side is lost, and with it all that this side says: it is said again when nothing comes
 * back. The author's is asked for: it cannot know. */
static void test_hello_lost(void **state)
{
    (void)state;
    for (speechless = 0; speechless < 2; speechless++) {
        struct net *net = net_town(2, 50 + (uint64_t)speechless);
        post_n(net, 1, 5);
        net->tamper = lose_hello;
        n_lost = 0;
        net_follow(net, 1, "u0");
        wait_for(net, 1, 5, 4000);
        assert_true(n_lost > 0);
        net_run(net, 100);
        assert_int_equal(net_who(net, 0, TL_FOLLOWERS, "")->n, 1); /* FOLLOW was said again, too */
        post_n(net, 6, 20);
        wait_for(net, 1, 20, 100);
        for (int i = 0; i < 2; i++) /* and no HELLO answers another for ever */
            assert_true(net->nodes[i].sent_messages[MESSAGE_HELLO] <= 4);
        net_free(net);
    }
}

static uint64_t deaf_until_ms;

/* Nodes 0 and 2 never hear each other, and node 0 does not hear node 1 at first. */
static bool is_heard(struct net *net, int from, int to, uint8_t *data, size_t size)
{
    (void)data, (void)size;
    if (to == 0)
        return from == 1 && net->now.mono_ms >= deaf_until_ms;
    return from != 0 || to != 2;
}

/* Another follower that has nothing itself says that there is nothing. It is not the author's word: the
 * author is asked again. */
static void test_follower_knows_nothing(void **state)
{
    (void)state;
    struct net *net = net_town(3, 52);
    net->tamper = is_heard;
    deaf_until_ms = UINT64_MAX;
    net_follow(net, 2, "u0");
    net_run(net, 20000); /* so that 1 finds it in the set */
    post_n(net, 1, 5);
    net_follow(net, 1, "u0"); /* before the head record is out */
    net_run(net, 1000);
    deaf_until_ms = 0;
    uint64_t batches = net->nodes[2].sent_messages[MESSAGE_BATCH];
    assert_true(batches > 0 && net_count(net, 1, "p") == 0);
    wait_for(net, 1, 5, 5000);
    net_free(net);
}

/* A long history over links that lose a fifth of everything: slower, and complete. With the first seed the
 * newest page is lost, with the others HELLO of one side or of both. */
static void test_long_with_loss(void **state)
{
    (void)state;
    const uint64_t seeds[] = { 44, 47, 15, 98 };
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        struct net *net = net_town(3, seeds[i]);
        post_many(net, 3000);
        net->loss_percent = 20;
        net_follow(net, 1, "u0");
        net_follow(net, 2, "u0");
        uint64_t began = net->now.mono_ms;
        while (net->now.mono_ms - began < 60000 &&
               (net_count(net, 1, "p") < 3000 || net_count(net, 2, "p") < 3000))
            net_run(net, 1000);
        print_message("with loss, seed %d: %d ms\n", (int)seeds[i], (int)(net->now.mono_ms - began));
        wait_for(net, 1, 3000, 0);
        wait_for(net, 2, 3000, 0);
        assert_int_equal(gap_rows(net, 1), 0);
        assert_int_equal(gap_rows(net, 2), 0);
        net_free(net);
    }
}

/* A head known from the network and nobody to get the posts from: the gap is shown, and closed later. */
static void test_gap_is_shown(void **state)
{
    (void)state;
    struct net *net = fans(4, 38);
    net_vanish(net, 3);
    post_n(net, 1, 4);
    net_run(net, 5000); /* the head record is out */
    net_vanish(net, 0);
    net_vanish(net, 1);
    net_start_at(net, 3, 0, 2);
    net_kill(net, 2); /* keeps the records' copies out of reach of posts: */
    struct store *kept = net->nodes[2].store;
    assert_non_null(kept);
    net_start_at(net, 2, 0, -1);
    net_login(net, 3);
    wait_for(net, 3, 4, 3000); /* 2 has them */
    net_free(net);

    net = net_town(4, 39); /* 2 and 3 hold records but follow nobody */
    net_follow(net, 1, "u0");
    net_run(net, 1000);
    net_vanish(net, 1);
    post_n(net, 1, 4);
    net_run(net, 8000);
    net_vanish(net, 0);
    net_run(net, 1000);
    net_start_at(net, 1, 0, 2);
    net_login(net, 1);
    net_run(net, 3000);
    struct said *s = net_read(net, 1, 10);
    assert_int_equal(s->n, 1);
    assert_int_equal(s->rows[0].kind, TL_ROW_GAP);
    assert_int_equal(s->rows[0].gaps, 4);
    s = net_who(net, 1, TL_PROFILE, "u0");
    assert_int_equal(s->rows[0].posts, 4);
    assert_int_equal(s->rows[0].gaps, 4);
    net_start(net, 0, 0);
    wait_for(net, 1, 4, 2000); /* locked, it serves */
    assert_int_equal(gap_rows(net, 1), 0);
    net_free(net);
}

/* A push that was lost without a word is found by comparing, from whoever has it. */
static void test_compare(void **state)
{
    (void)state;
    struct net *net = fans(5, 40);
    net->nodes[4].partitioned = true;
    post_n(net, 1, 2);
    net_run(net, 1000);
    net_vanish(net, 0);
    net->nodes[4].partitioned = false;
    wait_for(net, 4, 2, 700000);
    net_free(net);
}

static bool lose_have(struct net *net, int from, int to, uint8_t *data, size_t size)
{
    struct message m;
    (void)net, (void)from, (void)to;
    return message_decode(span(data, size), &m) || m.kind != MESSAGE_HAVE;
}

/* Nobody speaks of the feed, and its author is gone: the check finds its head in the network, and only then who
 * else has the posts. */
static void test_check_finds_more(void **state)
{
    (void)state;
    struct net *net = fans(5, 41);
    net->nodes[4].partitioned = true;
    post_n(net, 1, 2);
    net_run(net, 5000); /* and put the head */
    net_vanish(net, 0);
    net->nodes[4].partitioned = false;
    net->tamper = lose_have;
    wait_for(net, 4, 2, 700000);
    net_free(net);
}

static uint64_t set_queries(struct net *net, int i)
{
    struct kad_stats stats;
    kad_stats(net->nodes[i].kad, &stats);
    for (unsigned kind = 0; kad_query_name(kind); kind++)
        if (strcmp(kad_query_name(kind), "sget") == 0)
            return stats.out_kind[kind];
    return 0;
}

/* Where nothing is missing a check is one question to the author, who answers; or, when it is gone, a look at its
 * head. Neither reads who follows it. */
static void test_check_is_cheap(void **state)
{
    (void)state;
    struct net *net = net_town(4, 42);
    net_follow(net, 1, "u0");
    post_n(net, 1, 1);
    net_run(net, 20 * 60 * 1000); /* what is read soon after a follow has been read */
    uint64_t wants = net->nodes[1].sent_messages[MESSAGE_WANT], queries = set_queries(net, 1);
    net_run(net, 30 * 60 * 1000);
    assert_in_range(net->nodes[1].sent_messages[MESSAGE_WANT] - wants, 4, 8);
    assert_in_range(set_queries(net, 1) - queries, 0, 6);
    net_vanish(net, 0);
    wants = net->nodes[1].sent_messages[MESSAGE_WANT];
    queries = set_queries(net, 1);
    net_run(net, 30 * 60 * 1000);
    assert_in_range(net->nodes[1].sent_messages[MESSAGE_WANT] - wants, 4, 8);
    assert_in_range(set_queries(net, 1) - queries, 0, 16); /* upkeep, of three nodes */
    net_free(net);
}

/* ---- hostile posts ---- */

struct made {
    uint8_t headers[8][POST_HEADER_SIZE], bodies[8][64];
    size_t sizes[8];
};

/* A chain of n posts by `who`, the k-th at wall + k * step_ms. */
static void make_chain(struct net *net, const struct identity *who, int n, int64_t ahead_ms, struct made *m)
{
    uint8_t prev[HASH_SIZE] = { 0 };
    for (int i = 0; i < n; i++) {
        char text[16];
        snprintf(text, sizeof text, "p%d", i + 1);
        struct bytes_out out = bytes_out(m->bodies[i], sizeof m->bodies[i]);
        post_body_encode(&out, &(struct post_body){ .text = span_str(text) });
        m->sizes[i] = out.size;
        struct post_header h = { .kind = POST_KIND_POST, .seq = (uint64_t)i + 1 };
        h.id = snowflake_floor((uint64_t)((int64_t)net->now.wall_ms + ahead_ms + i));
        memcpy(h.prev, prev, HASH_SIZE);
        post_header_set_body(&h, span(m->bodies[i], out.size));
        post_header_sign(&h, who, m->headers[i]);
        post_hash(m->headers[i], prev);
    }
}

static int give(struct net *net, int to, int as_link_of, const struct message *m)
{
    static uint8_t buf[LINK_MESSAGE_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    message_encode(&out, m);
    assert_int_equal(out.err, 0);
    struct link_event e = { .kind = LINK_RECEIVED, .bytes = span(buf, out.size) };
    memcpy(e.from_key, net->nodes[as_link_of].dest.key, LINK_KEY_SIZE);
    int err = timeline_recv(net->nodes[to].t, net->now, &e);
    net_turn(net, to);
    return err;
}

static int give_post(struct net *net, int to, int as_link_of, const struct made *made, int i)
{
    struct message m = { .kind = MESSAGE_POST,
                         .post = { .header = span(made->headers[i], POST_HEADER_SIZE),
                                   .body = span(made->bodies[i], made->sizes[i]),
                                   .range = message_range_all() } };
    return give(net, to, as_link_of, &m);
}

static int give_page(struct net *net, int to, int as_link_of, const uint8_t pk[KEY_SIZE],
                     const struct made *made, const int *which, int n, struct span head)
{
    static uint8_t buf[LINK_MESSAGE_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    struct message_batch_writer w;
    message_batch_begin_below(&w, &out, pk, 0, 0, head, MESSAGE_BATCH_BYTES);
    for (int i = 0; i < n; i++)
        assert_int_equal(message_batch_add(&w, span(made->headers[which[i]], POST_HEADER_SIZE),
                                           span(made->bodies[which[i]], made->sizes[which[i]]), POST_HELD),
                         0);
    message_batch_end(&w, 0);
    assert_int_equal(out.err, 0);
    struct link_event e = { .kind = LINK_RECEIVED, .bytes = span(buf, out.size) };
    memcpy(e.from_key, net->nodes[as_link_of].dest.key, LINK_KEY_SIZE);
    int err = timeline_recv(net->nodes[to].t, net->now, &e);
    net_turn(net, to);
    return err;
}

static int give_batch(struct net *net, int to, int as_link_of, const uint8_t pk[KEY_SIZE],
                      const struct made *made, const int *which, int n)
{
    return give_page(net, to, as_link_of, pk, made, which, n, span(NULL, 0));
}

/* A page that names the head above it: forged, it brings nothing; genuine, what lies between is a gap. */
static void test_page_head(void **state)
{
    (void)state;
    struct net *net = fans(3, 49);
    const uint8_t *author = net->nodes[0].identity->pk;
    struct made made;
    net_kill(net, 0);
    make_chain(net, net->nodes[0].identity, 4, 0, &made);
    struct span head = span(made.headers[3], POST_HEADER_SIZE);
    made.headers[3][POST_HEADER_SIZE - 1] ^= 1;
    assert_int_equal(give_page(net, 1, 2, author, &made, (int[]){ 1, 0 }, 2, head), CAM_EAUTH);
    assert_int_equal(net_count(net, 1, "p"), 0);
    made.headers[3][POST_HEADER_SIZE - 1] ^= 1;
    assert_int_equal(give_page(net, 1, 2, author, &made, (int[]){ 1, 0 }, 2, head), 0);
    assert_int_equal(net_count(net, 1, "p"), 2);
    assert_int_equal(net_who(net, 1, TL_PROFILE, "u0")->rows[0].gaps, 2);
    net_free(net);
}

static void test_hostile(void **state)
{
    (void)state;
    struct net *net = fans(3, 41);
    const uint8_t *author = net->nodes[0].identity->pk;
    struct made good, bad;
    net_follow(net, 1, "u2"); /* a friend is listened to for longer */
    net_run(net, 500);
    net_kill(net, 0); /* the posts of 0 are made by hand; 2 passes them on to 1 */
    make_chain(net, net->nodes[0].identity, 4, 0, &good);
    uint64_t refused = net_status(net, 1)->rows[0].refused, expect = 0;

    /* One bit changed anywhere. */
    for (size_t bit = 0; bit < POST_HEADER_SIZE * 8; bit += 5, expect++) {
        bad = good;
        bad.headers[0][bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(give_post(net, 1, 2, &bad, 0), 0);
    }
    for (size_t bit = 0; bit < good.sizes[0] * 8; bit++, expect++) {
        bad = good;
        bad.bodies[0][bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(give_post(net, 1, 2, &bad, 0), 0);
    }
    /* Signed by another whom nobody follows. */
    struct identity *stranger = identity_new(&net->rng);
    make_chain(net, stranger, 2, 0, &bad);
    assert_int_equal(give_post(net, 1, 2, &bad, 0), CAM_EREFUSED);
    identity_free(stranger);
    /* A batch with a post missing in the middle, in the wrong order, with a changed post in the middle. */
    assert_int_not_equal(give_batch(net, 1, 2, author, &good, (int[]){ 3, 1, 0 }, 3), 0);
    assert_int_not_equal(give_batch(net, 1, 2, author, &good, (int[]){ 0, 1, 2 }, 3), 0);
    bad = good;
    bad.bodies[1][bad.sizes[1] - 3] ^= 1;
    assert_int_not_equal(give_batch(net, 1, 2, author, &bad, (int[]){ 3, 2, 1, 0 }, 4), 0);
    /* A link that never said HELLO. */
    uint8_t key[LINK_KEY_SIZE] = { 9 };
    struct link_event e = { .kind = LINK_RECEIVED, .bytes = span_str("d1:m4:havee") };
    memcpy(e.from_key, key, LINK_KEY_SIZE);
    assert_int_not_equal(timeline_recv(net->nodes[1].t, net->now, &e), 0);
    assert_int_equal(net_count(net, 1, ""), 0);
    assert_int_equal(net_status(net, 1)->rows[0].refused - refused, expect + 5);

    net_run(net, 3000); /* so much forgery is not listened to for a while */
    /* The genuine ones, then the same again, then the same re-dated. */
    assert_int_equal(give_batch(net, 1, 2, author, &good, (int[]){ 3, 2, 1, 0 }, 4), 0);
    assert_int_equal(net_count(net, 1, "p"), 4);
    assert_int_equal(give_batch(net, 1, 2, author, &good, (int[]){ 3, 2, 1, 0 }, 4), 0);
    assert_int_equal(give_post(net, 1, 2, &good, 2), 0);
    bad = good;
    put_be64(bad.headers[3] + 8, be64(bad.headers[3] + 8) + 4096);
    assert_int_not_equal(give_post(net, 1, 2, &bad, 3), 0);
    assert_int_equal(net_count(net, 1, "p"), 4);
    struct said *s = net_read(net, 1, 10);
    assert_true(s->rows[0].has_via);
    assert_memory_equal(s->rows[0].via, net->nodes[2].identity->pk, KEY_SIZE);
    net_free(net);
}

/* An author who signs two posts under one number: both are read, live and later, each marked; the feed goes
 * on. */
static void test_fork(void **state)
{
    (void)state;
    struct net *net = fans(3, 47);
    const uint8_t *author = net->nodes[0].identity->pk;
    struct made good, other;
    net_follow(net, 1, "u2");
    net_run(net, 500);
    net_kill(net, 0);
    make_chain(net, net->nodes[0].identity, 4, 0, &good);
    make_chain(net, net->nodes[0].identity, 6, 100, &other); /* written a moment later */
    assert_int_equal(give_batch(net, 1, 2, author, &good, (int[]){ 3, 2, 1, 0 }, 4), 0);
    net_live(net, 1);
    net_run(net, 10);
    size_t before = net->live.n;
    for (int again = 0; again < 2; again++) {
        assert_int_equal(give_post(net, 1, 2, &other, 0), 0);
        assert_int_equal(net->live.n, before + 1);
    }
    assert_int_equal(give_batch(net, 1, 2, author, &other, (int[]){ 5, 4, 3, 2, 1, 0 }, 6), 0);
    assert_int_equal(net->live.n, before + 6);
    for (size_t i = before; i < net->live.n; i++)
        assert_int_equal(net->live.rows[i].fork, net->live.rows[i].seq <= 4);
    for (int round = 0; round < 2; round++) {
        struct said *s = net_read(net, 1, 100);
        size_t n = 0, forks = 0;
        for (size_t i = 0; i < s->n; i++) {
            if (s->rows[i].kind != TL_ROW_POST)
                continue;
            n++;
            forks += s->rows[i].fork;
            assert_int_equal(s->rows[i].fork, s->rows[i].seq <= 4);
            assert_false(s->rows[i].unread); /* seen as they came */
        }
        assert_true(n == 10 && forks == 8);
        assert_int_equal(net_status(net, 1)->rows[0].unread_count, 0);
        assert_int_equal(net_who(net, 1, TL_PROFILE, "u0")->rows[0].complete_to, 6);
        net_kill(net, 1);
        net_start(net, 1, 0);
    }
    net_free(net);
}

/* What was held first at a seq, and the higher head above it, are no one chain: they are served as two runs,
 * and a newcomer takes both without calling anybody a forger. */
static void test_fork_is_served(void **state)
{
    (void)state;
    struct net *net = net_town(4, 47);
    const uint8_t *author = net->nodes[0].identity->pk;
    struct made good, other;
    for (int i = 1; i < 3; i++)
        net_follow(net, i, "u0");
    net_follow(net, 1, "u2");
    net_run(net, 500);
    net_vanish(net, 0);
    make_chain(net, net->nodes[0].identity, 4, 0, &good);
    make_chain(net, net->nodes[0].identity, 6, 100, &other);
    assert_int_equal(give_batch(net, 1, 2, author, &good, (int[]){ 3, 2, 1, 0 }, 4), 0);
    assert_int_equal(give_batch(net, 1, 2, author, &other, (int[]){ 5, 4, 3, 2, 1, 0 }, 6), 0);
    net_vanish(net, 2);
    net_follow(net, 3, "u0");
    net_run(net, 60000);
    assert_int_equal(net_count(net, 3, "p"), 6);
    assert_int_equal(net_status(net, 3)->rows[0].refused, 0);
    struct said *s = net_who(net, 3, TL_PROFILE, "u0");
    assert_int_equal(s->rows[0].complete_to, 6);
    assert_int_equal(s->rows[0].forks, 1);
    net_free(net);
}

/* A header that contradicts a post held: whoever showed it is asked for its post, once. */
static void test_fork_is_fetched(void **state)
{
    (void)state;
    struct net *net = fans(3, 48);
    const uint8_t *author = net->nodes[0].identity->pk;
    struct made good, other;
    net_follow(net, 1, "u2");
    net_run(net, 500);
    net_kill(net, 0);
    make_chain(net, net->nodes[0].identity, 4, 0, &good);
    make_chain(net, net->nodes[0].identity, 4, 100, &other);
    assert_int_equal(give_batch(net, 1, 2, author, &good, (int[]){ 3, 2, 1, 0 }, 4), 0);
    assert_int_equal(give_batch(net, 2, 1, author, &other, (int[]){ 3, 2, 1, 0 }, 4), 0);
    net_run(net, 1000);
    uint64_t wants = net->nodes[1].sent_messages[MESSAGE_WANT];
    static uint8_t buf[4096];
    struct message_feed said = { .header = span(other.headers[3], POST_HEADER_SIZE) };
    memcpy(said.author, author, KEY_SIZE);
    for (int i = 0; i < 5; i++) {
        struct bytes_out out = bytes_out(buf, sizeof buf);
        struct message_have_writer w;
        message_have_begin(&w, &out, false);
        assert_int_equal(message_have_add(&w, &said), 0);
        message_have_end(&w);
        struct link_event e = { .kind = LINK_RECEIVED, .bytes = span(buf, out.size) };
        memcpy(e.from_key, net->nodes[2].dest.key, LINK_KEY_SIZE);
        timeline_recv(net->nodes[1].t, net->now, &e);
        net_turn(net, 1);
        net_run(net, 100);
    }
    assert_int_equal(net->nodes[1].sent_messages[MESSAGE_WANT] - wants, 1);
    assert_int_equal(net_count(net, 1, "p"), 5);
    assert_int_equal(net_count(net, 1, "p4"), 2);
    net_free(net);
}

/* The first that is heard of an author is a contradiction: two headers of one seq, in one HAVE. */
static void test_fork_heard_first(void **state)
{
    (void)state;
    struct net *net = net_town(3, 6);
    struct identity *author = identity_new(&net->rng);
    char id[USER_ID_SIZE];
    struct made made[2];
    net_follow(net, 2, "u1"); /* so that 1 knows 2 */
    user_id_text(author->pk, id);
    assert_int_equal(net_follow(net, 1, id)->status, 0);
    net_run(net, 5000);
    static uint8_t buf[4096];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    struct message_have_writer w;
    message_have_begin(&w, &out, false);
    for (int i = 0; i < 2; i++) {
        make_chain(net, author, 1, -100 * i, &made[i]);
        struct message_feed said = { .header = span(made[i].headers[0], POST_HEADER_SIZE) };
        memcpy(said.author, author->pk, KEY_SIZE);
        assert_int_equal(message_have_add(&w, &said), 0);
    }
    message_have_end(&w);
    struct link_event e = { .kind = LINK_RECEIVED, .bytes = span(buf, out.size) };
    memcpy(e.from_key, net->nodes[2].dest.key, LINK_KEY_SIZE);
    assert_int_equal(timeline_recv(net->nodes[1].t, net->now, &e), 0);
    net_turn(net, 1);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(net_who(net, 1, TL_PROFILE, id)->rows[0].forks, 1);
        net_kill(net, 1);
        net_start(net, 1, 0);
    }
    identity_free(author);
    net_free(net);
}

/* Bodies that the first one asked has let expire come from another. */
static void test_bodies(void **state)
{
    (void)state;
    struct net *net = net_new(4, 46);
    net->nodes[1].config.lifespan_s = 5;
    char name[NAME_SIZE];
    for (int i = 0; i < 4; i++)
        net_start(net, i, 0);
    net_run(net, 3000);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "u%d", i);
        net_register(net, i, name);
    }
    net_follow(net, 2, "u0");
    net_run(net, 5000); /* so that 1 is the fresher follower, asked first */
    net_follow(net, 1, "u0");
    net_run(net, 1000);
    post_n(net, 1, 6);
    net_run(net, 10000);
    assert_int_equal(net_count(net, 1, "p"), 0); /* expired there, and not back by asking */
    assert_int_equal(net_count(net, 2, "p"), 6);
    net_vanish(net, 0);
    net_follow(net, 3, "u0");
    wait_for(net, 3, 6, 5000);
    net_kill(net, 1);
    net_start(net, 1, 0);
    net_login(net, 1);
    net_run(net, 5000);
    assert_int_equal(net_count(net, 1, "p"), 0);
    net_free(net);
}

/* Headers that came without their bodies, from the only one who is there and keeps them for five seconds, are
 * missing; they come when the author is back, or are missed no longer when they would have been collected. */
static void test_bodies_are_missed(void **state)
{
    (void)state;
    for (int is_back = 0; is_back < 2; is_back++) {
        struct net *net = net_new(4, 46);
        net->nodes[1].config.lifespan_s = 5;
        net->nodes[3].config.lifespan_s = 3600;
        char name[NAME_SIZE];
        for (int i = 0; i < 4; i++)
            net_start(net, i, 0);
        net_run(net, 3000);
        for (int i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "u%d", i);
            net_register(net, i, name);
        }
        net_follow(net, 1, "u0");
        net_run(net, 1000);
        post_n(net, 1, 6);
        net_run(net, 10000);
        net_vanish(net, 0);
        net_follow(net, 3, "u0");
        net_run(net, 600000);
        struct said *s = net_read(net, 3, 10);
        assert_int_equal(s->n, 1);
        assert_int_equal(s->rows[0].kind, TL_ROW_GAP);
        assert_int_equal(s->rows[0].gaps, 6);
        assert_int_equal(net_who(net, 3, TL_PROFILE, "u0")->rows[0].gaps, 6);
        if (is_back) {
            net_start(net, 0, 0);
            wait_for(net, 3, 6, 15000); /* it reads first who follows it */
        } else {
            net_run(net, 3600000);
        }
        assert_int_equal(gap_rows(net, 3), 0);
        assert_int_equal(net_who(net, 3, TL_PROFILE, "u0")->rows[0].gaps, 0);
        net_free(net);
    }
}

/* A HELLO with a record whose transport key is not the link's, or of another's making. */
static void test_wrong_transport_key(void **state)
{
    (void)state;
    struct net *net = fans(3, 42);
    struct record_connection c = { .addr = net->nodes[2].dest.addr, .reachable = true,
                                   .expires_s = (int64_t)(net->now.wall_ms / 1000) + 100 };
    uint8_t value[200];
    for (int k = 0; k < 3; k++) {
        struct bytes_out out = bytes_out(value, sizeof value);
        memcpy(c.transport_key, net->nodes[k == 0 ? 1 : 2].dest.key, LINK_KEY_SIZE);
        record_put_connection(&out, &c);
        struct message m = { .kind = MESSAGE_HELLO };
        m.hello.record = (struct kad_item){ .is_mutable = true,
                                            .salt = span_str("connections/0"),
                                            .v = span(value, out.size),
                                            .seq = (int64_t)(net->now.wall_ms / 1000) + 50 };
        kad_item_sign(&m.hello.record, net->nodes[2].identity);
        if (k == 1) {
            memcpy(m.hello.record.pk, net->nodes[1].identity->pk, KEY_SIZE);
            assert_int_equal(give(net, 0, 2, &m), CAM_EREFUSED); /* the key is 2's, for some minutes */
            net_run(net, LINKS_OWNER_MS);
        }
        assert_int_equal(give(net, 0, 2, &m), k == 2 ? 0 : CAM_EAUTH);
    }
    net_free(net);
}

/* One post signed while the clock was three days ahead: those below it arrive, the next one is refused with
 * the date, and when that has come everything goes on. */
static void test_clock_was_ahead(void **state)
{
    const uint64_t ahead_ms = UINT64_C(3) * 86400 * 1000;
    (void)state;
    struct net *net = net_town(3, 51);
    net_follow(net, 1, "u0");
    net_run(net, 500);
    post_n(net, 1, 1);
    net_run(net, 500);
    net_vanish(net, 1);
    post_n(net, 2, 4);
    net->now.wall_ms += ahead_ms;
    post_n(net, 5, 5);
    net->now.wall_ms -= ahead_ms;
    struct said *s = net_post(net, 0, "p6");
    assert_int_equal(s->status, CAM_EFUTURE);
    assert_non_null(strstr(s->message, "2023-11-17 22:13 UTC")); /* three days after NET_EPOCH_MS */
    assert_int_equal(net_count(net, 0, "p"), 5);
    net_start(net, 1, 0);
    net_login(net, 1);
    net_follow(net, 2, "u0");
    net_run(net, 5000);
    for (int i = 1; i < 3; i++)
        assert_int_equal(net_count(net, i, "p"), 4);
    net->now.wall_ms += ahead_ms;
    post_n(net, 6, 6);
    for (int i = 1; i < 3; i++)
        wait_for(net, i, 6, 2000000);
    net_free(net);
}

/* Posts from the near future are held back until their time; from farther away refused. */
static void test_future(void **state)
{
    (void)state;
    struct net *net = fans(3, 43);
    struct made made;
    net_kill(net, 0);
    make_chain(net, net->nodes[0].identity, 1, 3000, &made);
    assert_int_equal(give_post(net, 1, 2, &made, 0), 0); /* a clock may be a little fast */
    assert_int_equal(net_count(net, 1, "p"), 1);
    make_chain(net, net->nodes[0].identity, 1, 30000, &made);
    assert_int_equal(give_post(net, 2, 1, &made, 0), 0);
    assert_int_equal(net_count(net, 2, "p"), 0);
    net_run(net, 20000);
    assert_int_equal(net_count(net, 2, "p"), 0);
    net_run(net, 11000);
    assert_int_equal(net_count(net, 2, "p"), 1);
    net_free(net);
    net = fans(3, 44);
    net_kill(net, 0);
    make_chain(net, net->nodes[0].identity, 1, 70000, &made);
    assert_int_equal(give_post(net, 1, 2, &made, 0), CAM_EFUTURE);
    net_free(net);
}

/* Ten thousand messages of noise: refused, and the node works on with what it had. */
static void test_noise(void **state)
{
    (void)state;
    struct net *net = fans(3, 45);
    struct made made;
    uint8_t buf[1500];
    make_chain(net, net->nodes[1].identity, 1, 0, &made);
    struct message m = { .kind = MESSAGE_POST, .post = { .header = span(made.headers[0], POST_HEADER_SIZE),
                                                         .body = span(made.bodies[0], made.sizes[0]) } };
    struct bytes_out out = bytes_out(buf, sizeof buf);
    message_encode(&out, &m);
    for (int i = 0; i < 10000; i++) {
        uint8_t noise[1500];
        size_t size = i % 2 ? out.size : 1 + rng_below(&net->rng, 1400);
        if (i % 2)
            memcpy(noise, buf, size);
        else
            rng_fill(&net->rng, noise, size);
        noise[rng_below(&net->rng, (uint32_t)size)] ^= (uint8_t)(1 + rng_below(&net->rng, 255));
        struct link_event e = { .kind = LINK_RECEIVED, .bytes = span(noise, size) };
        if (i % 3)
            rng_fill(&net->rng, e.from_key, LINK_KEY_SIZE);
        else
            memcpy(e.from_key, net->nodes[1].dest.key, LINK_KEY_SIZE);
        timeline_recv(net->nodes[2].t, net->now, &e);
        if (i % 100 == 0)
            net_run(net, 20);
    }
    net_run(net, 1000);
    post_n(net, 1, 1);
    net_run(net, 1000);
    assert_int_equal(net_count(net, 2, "p"), 1);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_away),         cmocka_unit_test(test_old_posts),
        cmocka_unit_test(test_everybody),    cmocka_unit_test(test_long),
        cmocka_unit_test(test_gap_is_shown), cmocka_unit_test(test_compare),
        cmocka_unit_test(test_hostile),      cmocka_unit_test(test_wrong_transport_key),
        cmocka_unit_test(test_future),       cmocka_unit_test(test_noise),
        cmocka_unit_test(test_bodies),       cmocka_unit_test(test_newest_page_lost),
        cmocka_unit_test(test_page_head),    cmocka_unit_test(test_hello_lost),
        cmocka_unit_test(test_follower_knows_nothing),
        cmocka_unit_test(test_long_with_loss), cmocka_unit_test(test_fork),
        cmocka_unit_test(test_check_finds_more), cmocka_unit_test(test_check_is_cheap),
        cmocka_unit_test(test_clock_was_ahead), cmocka_unit_test(test_bodies_are_missed),
        cmocka_unit_test(test_fork_is_fetched),
        cmocka_unit_test(test_fork_heard_first), cmocka_unit_test(test_fork_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
