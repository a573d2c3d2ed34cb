/* Peers of an info-hash: announced here and found there, what is taken of an answer, and how much. */
#include "kad/item.h"
#include "kad/krpc.h"
#include "kad/peers.h"
#include "kad/store.h"
#include "tests/unit/kad_net.h"

static const uint8_t hash[KAD_ID_SIZE] = "an info-hash of test";

static bool has_peer(const struct result *r, const struct addr *addr)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_peers; i++)
        n += addr_equal(&r->peers[i], addr);
    assert_true(n <= 1); /* each once */
    return n == 1;
}

static struct result *find_peers(struct net *net, size_t at)
{
    struct result *r = net_get_peers(net, at, hash);
    net_run_until(net, r);
    return r;
}

static void announced_here_found_everywhere(void **state)
{
    (void)state;
    struct net *net = net_new(50, &(struct net_options){.seed = 1, .latency_ms = 10});
    net_start_all(net);
    struct result *r = find_peers(net, 4);
    assert_int_equal(r->status, CAM_ENOENT);
    assert_int_equal(r->n_peers, 0);

    struct result *announce = net_announce(net, 7, hash, 4711), *implied = net_announce(net, 8, hash, 0);
    net_run_until(net, announce);
    net_run_until(net, implied);
    assert_int_equal(announce->status, 0);
    assert_true(announce->holders >= 15 && announce->holders <= 16);
    struct addr given = net->nodes[7].addr, seen = net->nodes[8].addr;
    given.port = 4711;
    for (size_t i = 0; i < net->n; i++) {
        r = find_peers(net, i);
        assert_int_equal(r->status, 0);
        assert_int_equal(r->n_peers, 2);
        assert_true(has_peer(r, &given) && has_peer(r, &seen));
        assert_true(r->holders >= 14);
    }
    /* Forgotten after half an hour, unless announced again. */
    net_run(net, KAD_LIFE_PEER_S * 1000ull / 2);
    net_run_until(net, net_announce(net, 8, hash, 0));
    net_run(net, KAD_LIFE_PEER_S * 1000ull / 2 + 5000);
    r = find_peers(net, 30);
    assert_int_equal(r->n_peers, 1);
    assert_true(has_peer(r, &seen));
    net_check(net);
    net_free(net);
}

static void without_anybody(void **state)
{
    (void)state;
    struct net *net = net_new(2, &(struct net_options){.seed = 2});
    net_up(net, 0);
    struct result *get = net_get_peers(net, 0, hash), *announce = net_announce(net, 0, hash, 1);
    net_run_until(net, get);
    net_run_until(net, announce);
    assert_int_equal(get->status, CAM_ENET);
    assert_int_equal(announce->status, CAM_ENET);
    /* Two are enough: the one asks the other, and both keep it. */
    net_up(net, 1);
    net_join(net, 1, 0);
    net_run(net, 3000);
    announce = net_announce(net, 1, hash, 99);
    net_run_until(net, announce);
    assert_int_equal(announce->holders, 1);
    struct kad_stats s;
    for (size_t i = 0; i < 2; i++) {
        kad_stats(net->nodes[i].k, &s);
        assert_int_equal(s.peers, 1);
        assert_int_equal(find_peers(net, i)->n_peers, 1);
    }
    net_free(net);
}

/* Over IPv6, and with both: each family is asked for its own, and named there (BEP 32). */
static void both_families(void **state)
{
    (void)state;
    struct net *net = net_new(24, &(struct net_options){.seed = 3, .dual = true});
    net_start_all(net);
    for (size_t i = 3; i < net->n; i += 3)
        assert_int_equal(kad_join(net->nodes[i].k, net->now, &net->nodes[0].addr6), 0);
    net_run(net, 5000);
    struct result *announce = net_announce(net, 3, hash, 500);
    net_run_until(net, announce);
    assert_int_equal(announce->status, 0);
    struct addr four = net->nodes[3].addr, six = net->nodes[3].addr6;
    four.port = six.port = 500;
    struct result *r = find_peers(net, 6); /* has both */
    assert_int_equal(r->n_peers, 2);
    assert_true(has_peer(r, &four) && has_peer(r, &six));
    r = find_peers(net, 7); /* IPv4 alone */
    assert_int_equal(r->n_peers, 1);
    assert_true(has_peer(r, &four));
    net_check(net);
    net_free(net);
}

static void plain_citizens_and_loss(void **state)
{
    (void)state;
    struct net *net = net_new(40, &(struct net_options){.seed = 4, .latency_ms = 20, .network = ""});
    net_start_all(net);
    net->options.loss = 0.15;
    for (unsigned i = 0; i < 10; i++) {
        struct result *announce = net_announce(net, i, hash, (uint16_t)(1000 + i));
        net_run_until(net, announce);
        assert_int_equal(announce->status, 0);
        assert_true(announce->holders >= 10);
    }
    struct result *r = find_peers(net, 39);
    assert_int_equal(r->n_peers, 10);
    net_check(net);
    net_free(net);
}

/* ---- what others may say ------------------------------------------------------------------------------- */

static struct {
    const uint8_t *list; /* what everybody answers with, or NULL: PER_NODE peers of each one's own */
    size_t list_size;
    unsigned answered;
} lie;
#define PER_NODE 100

static size_t own_list(const struct addr *of, uint8_t *buf, size_t size)
{
    struct bytes_out out = bytes_out(buf, size);
    ben_put_list(&out);
    for (unsigned i = 0; i < PER_NODE; i++) {
        uint8_t compact[6] = {127, 1, (uint8_t)(of->port >> 8), (uint8_t)of->port, 1, (uint8_t)i};
        ben_put_str(&out, compact, sizeof compact);
    }
    ben_put_end(&out);
    return out.size;
}

/* Answers every get_peers in the place of the node that was asked. */
static bool answer_get_peers(struct net *net, struct net_datagram *d)
{
    struct krpc_msg q;
    uint8_t list[1200], buf[1500];
    struct net_node *node = net_at(net, &d->to);

    if (krpc_decode(d->data, d->size, &q) || q.kind != KRPC_QUERY || q.method != KRPC_GET_PEERS)
        return false;
    struct krpc_msg r = {.kind = KRPC_REPLY, .t = q.t, .id = kad_node_id(node->k), .network = q.network};
    r.values = lie.list ? (struct ben){lie.list, lie.list_size}
                        : (struct ben){list, own_list(&d->to, list, sizeof list)};
    struct bytes_out out = bytes_out(buf, sizeof buf);
    krpc_encode(&out, &r);
    assert_int_equal(out.err, 0);
    struct addr from = d->to, to = d->from;
    net_send(net, &from, &to, out.buf, out.size);
    lie.answered++;
    return true;
}

static struct result *lied_to(size_t n, bool public_addrs, const void *list, size_t size, unsigned *ret_asked)
{
    struct net *net = net_new(n, &(struct net_options){.seed = 5, .public_addrs = public_addrs});
    net_start_all(net);
    lie.list = list;
    lie.list_size = size;
    lie.answered = 0;
    net->tamper = answer_get_peers;
    struct result *r = find_peers(net, 0);
    net_check(net);
    *ret_asked = lie.answered;
    struct result *copy = malloc(sizeof *copy);
    memcpy(copy, r, sizeof *copy);
    net_free(net);
    return copy;
}

static void answers_are_bounded(void **state)
{
    (void)state;
    unsigned asked;
    struct result *r = lied_to(4, false, NULL, 0, &asked);
    assert_int_equal(asked, 3);
    assert_int_equal(r->n_peers, 3 * PEERS_ANSWER_MAX);
    assert_int_equal(r->holders, 3);
    free(r);
    r = lied_to(60, false, NULL, 0, &asked);
    assert_true(asked * PEERS_ANSWER_MAX >= PEERS_FOUND_MAX);
    assert_int_equal(r->n_peers, PEERS_FOUND_MAX);
    assert_int_equal(r->status, 0);
    free(r);
}

static void only_what_has_the_form(void **state)
{
    (void)state;
    static const struct { const char *list; size_t size; } bad[] = {
#define LIST(s) {s, sizeof s - 1}
        LIST("le"),
        LIST("li7ee"),
        LIST("llee"),
        LIST("l5:\x7f\0\0\1\1e"),                                 /* no port */
        LIST("l7:\x7f\0\0\1\1\1\1e"),
        LIST("l6:\x7f\0\0\1\0\0e"),                               /* port 0 */
        LIST("l6:\0\0\0\0\1\1e"),
        LIST("l6:\xe0\0\0\1\1\1e"),                               /* multicast */
        LIST("l6:\xff\xff\xff\xff\1\1e"),
        LIST("l18:\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\1e"),       /* IPv6, said over IPv4 */
        LIST("l0:e"),
#undef LIST
    };
    unsigned asked;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct result *r = lied_to(3, false, bad[i].list, bad[i].size, &asked);
        assert_int_equal(asked, 2);
        assert_int_equal(r->n_peers, 0);
        assert_int_equal(r->status, CAM_ENOENT);
        assert_int_equal(r->holders, 0);
        free(r);
    }
    /* One good one among bad ones is taken, once, however often it is named. */
    static const char mixed[] = "l6:\x7f\0\0\1\1\1" "5:spam!" "i0e" "6:\x7f\0\0\1\1\1" "6:\x7f\0\0\1\0\0e";
    struct result *r = lied_to(3, false, mixed, sizeof mixed - 1, &asked);
    assert_int_equal(r->n_peers, 1);
    assert_int_equal(r->peers[0].port, 0x0101);
    assert_int_equal(r->holders, 2);
    free(r);
}

/* Somebody far away cannot send us to addresses inside our own walls. */
static void no_local_peers_from_afar(void **state)
{
    (void)state;
    static const char list[] = "l6:\x7f\0\0\1\1\1" "6:\xc0\xa8\1\1\1\1" "6:\x14\1\1\1\1\1" "e";
    unsigned asked;
    struct result *r = lied_to(3, true, list, sizeof list - 1, &asked);
    assert_int_equal(r->n_peers, 1);
    assert_int_equal(r->peers[0].ip[0], 20);
    free(r);
    r = lied_to(3, false, list, sizeof list - 1, &asked);
    assert_int_equal(r->n_peers, 3);
    free(r);
}

/* ---- announcing to those who do not want it ------------------------------------------------------------- */

static unsigned refusals;

static bool break_tokens(struct net *net, struct net_datagram *d)
{
    uint8_t *token = memmem(d->data, d->size, "5:token8:", 9);
    (void)net;
    if (token && memmem(d->data, d->size, "13:announce_peer", 16)) {
        token[9] ^= 1;
        refusals++;
    }
    return false;
}

static bool drop_announces(struct net *net, struct net_datagram *d)
{
    (void)net;
    return memmem(d->data, d->size, "13:announce_peer", 16) != NULL;
}

static void refused_and_unanswered_announces(void **state)
{
    (void)state;
    struct net *net = net_new(30, &(struct net_options){.seed = 6});
    net_start_all(net);
    net->tamper = break_tokens;
    struct result *r = net_announce(net, 2, hash, 5);
    net_run_until(net, r);
    assert_int_equal(r->status, kad_error_status(KAD_ERROR_PROTOCOL));
    assert_int_equal(r->holders, 0);
    assert_true(refusals >= 15);
    net->tamper = drop_announces;
    r = net_announce(net, 2, hash, 5);
    net_run_until(net, r);
    assert_int_equal(r->status, CAM_ENET);
    net_check(net);
    net_free(net);
}

/* A read-only node announces like any other, and keeps nothing itself (BEP 43). */
static void read_only_announces(void **state)
{
    (void)state;
    struct net *net = net_new(6, &(struct net_options){.seed = 7});
    struct kad_stats s;
    net->nodes[5].read_only = true;
    net_start_all(net);
    struct result *r = net_announce(net, 5, hash, 77);
    net_run_until(net, r);
    assert_int_equal(r->holders, 5);
    kad_stats(net->nodes[5].k, &s);
    assert_int_equal(s.peers, 0);
    assert_int_equal(find_peers(net, 0)->n_peers, 1);
    net_free(net);
}

static void ends_with_the_node(void **state)
{
    (void)state;
    struct net *net = net_new(10, &(struct net_options){.seed = 8, .latency_ms = 50});
    net_start_all(net);
    for (unsigned i = 0; i < 5; i++) {
        net_get_peers(net, 1, hash);
        net_announce(net, 1, hash, 1);
    }
    net_run(net, 70);
    net_check(net);
    net_free(net); /* the sanitizer sees what is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(announced_here_found_everywhere), cmocka_unit_test(without_anybody),
        cmocka_unit_test(both_families), cmocka_unit_test(plain_citizens_and_loss),
        cmocka_unit_test(answers_are_bounded), cmocka_unit_test(only_what_has_the_form),
        cmocka_unit_test(no_local_peers_from_afar), cmocka_unit_test(refused_and_unanswered_announces),
        cmocka_unit_test(read_only_announces), cmocka_unit_test(ends_with_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
