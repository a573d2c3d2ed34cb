/* Our own address is what others say, as long as not too many of them lie. */
#include "kad/node.h"
#include "tests/unit/kad_net.h"

#define ASKED 3
#define MINUTE_MS 60000

static struct {
    size_t n, of;              /* so many of the others say it, one in `of` */
    struct addr says, victim;
} lie;

/* In their replies: "2:ip6:" and the compact address. */
static bool bend(struct net *net, struct net_datagram *d)
{
    for (size_t i = 0; i < lie.n; i++) {
        if (!addr_equal(&d->from, &net->nodes[10 + lie.of * i].addr) || !addr_equal(&d->to, &lie.victim))
            continue;
        uint8_t *at = memmem(d->data, d->size, "2:ip6:", 6);
        if (at)
            addr_compact(&lie.says, at + 6);
    }
    return false;
}

static struct net *town(size_t liars, size_t of)
{
    struct net *net = net_new(60, &(struct net_options){.seed = 7, .latency_ms = 20, .public_addrs = true});
    net_start_all(net);
    net_run(net, 10 * MINUTE_MS);
    lie.n = liars;
    lie.of = of;
    lie.victim = net->nodes[ASKED].addr;
    lie.says = (struct addr){.family = 4, .ip = {66, 6, 6, 6}, .port = 666};
    net->tamper = bend;
    return net;
}

static bool believes(struct net *net)
{
    struct addr self = kad_self_addr(net->nodes[ASKED].k);
    return addr_equal(&self, &lie.says);
}

static void a_sixth_of_liars_changes_nothing(void **state)
{
    (void)state;
    struct net *net = town(9, 5);
    unsigned before = net->nodes[ASKED].addressed;
    uint8_t id[KAD_ID_SIZE];
    memcpy(id, kad_node_id(net->nodes[ASKED].k), KAD_ID_SIZE);
    for (unsigned minute = 0; minute < 6 * 60; minute++) {
        net_run(net, MINUTE_MS);
        assert_false(believes(net));
    }
    assert_int_equal(net->nodes[ASKED].addressed, before);
    assert_memory_equal(kad_node_id(net->nodes[ASKED].k), id, KAD_ID_SIZE);
    net_free(net);
}

/* A real change is seen by everybody; and whoever comes back has the id that it had there. */
static void what_all_say_is_believed(void **state)
{
    (void)state;
    struct net *net = town(50, 1);
    uint8_t there[KAD_ID_SIZE];
    struct kad *k = net->nodes[ASKED].k;
    net_run(net, 60 * MINUTE_MS);
    assert_true(believes(net));
    assert_true(id_fits_addr(kad_node_id(k), &lie.says));
    memcpy(there, kad_node_id(k), KAD_ID_SIZE);
    net->tamper = NULL;
    net_run(net, 60 * MINUTE_MS);
    assert_false(believes(net));
    assert_true(id_fits_addr(kad_node_id(k), &net->nodes[ASKED].addr));
    net->tamper = bend;
    net_run(net, 60 * MINUTE_MS);
    assert_true(believes(net));
    assert_memory_equal(kad_node_id(k), there, KAD_ID_SIZE);
    net_check(net);
    net_free(net);
}

static void vote(struct net *net, unsigned subnet, unsigned host, const struct addr *seen)
{
    struct addr voter = {.family = 4, .ip = {80, 1, (uint8_t)subnet, (uint8_t)host}, .port = 8000};
    uint8_t compact[ADDR_COMPACT_MAX];
    net->nodes[0].k->now = net->now;
    vote_heard(net->nodes[0].k, &voter, span(compact, addr_compact(seen, compact)));
}

static void a_subnet_has_one_vote_for_an_hour(void **state)
{
    (void)state;
    struct net *net = net_new(1, &(struct net_options){.seed = 1, .public_addrs = true});
    struct addr here = {.family = 4, .ip = {90, 1, 1, 1}, .port = 90}, there = {.family = 4, .ip = {91, 1, 1, 1}, .port = 91};
    net_up(net, 0);
    struct kad *k = net->nodes[0].k;
    vote(net, 1, 1, &here);
    assert_true(addr_equal(&k->net[0].self, &here)); /* the first is believed */
    vote(net, 2, 1, &here);
    for (unsigned host = 1; host < 100; host++)
        vote(net, 3, host, &there);
    assert_int_equal(k->net[0].n_votes, 3);
    assert_true(addr_equal(&k->net[0].self, &here));
    vote(net, 4, 1, &there);
    vote(net, 5, 1, &there); /* three of five: not two thirds */
    assert_true(addr_equal(&k->net[0].self, &here));
    vote(net, 6, 1, &there);
    assert_true(addr_equal(&k->net[0].self, &there));
    net->now.mono_ms += 80 * MINUTE_MS;
    vote(net, 7, 1, &here); /* the others' votes are too old */
    assert_true(addr_equal(&k->net[0].self, &here));
    for (unsigned subnet = 10; subnet < 10 + 2 * NODE_VOTES_MAX; subnet++)
        vote(net, subnet, 1, &here);
    assert_int_equal(k->net[0].n_votes, NODE_VOTES_MAX);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sixth_of_liars_changes_nothing),
        cmocka_unit_test(what_all_say_is_believed),
        cmocka_unit_test(a_subnet_has_one_vote_for_an_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
