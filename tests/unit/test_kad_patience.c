/* When round trips grow beyond what we were used to, we go on waiting for the answers all the same. */
#include "kad/node.h"
#include "tests/unit/kad_net.h"

#define HOUR_MS 3600000

static struct net *town(void)
{
    struct net *net = net_new(30, &(struct net_options){.seed = 7, .latency_ms = 10});
    net_start_all(net);
    net_run(net, 600000);
    return net;
}

static void expect_all_in_touch(struct net *net)
{
    for (size_t i = 0; i < net->n; i++) {
        assert_true(net->nodes[i].k->ready);
        assert_true(node_good(net->nodes[i].k) >= net->n / 2);
    }
}

static void all_lines_become_slower(void **state)
{
    (void)state;
    struct net *net = town();
    expect_all_in_touch(net);
    net->options.latency_ms = 150; /* round trips of 300 ms, for 20 */
    net_run(net, HOUR_MS);
    expect_all_in_touch(net);
    net->options.latency_ms = 300;
    net_run(net, HOUR_MS);
    expect_all_in_touch(net);
    net_check(net);
    net_free(net);
}

/* What it remembers of round trips is from a faster line. */
static void comes_back_on_a_slower_line(void **state)
{
    (void)state;
    struct net *net = town();
    kad_flush(net->nodes[1].k, net->now);
    net_drain(net, &net->nodes[1]);
    net_kill(net, 1);
    net->options.latency_ms = 300;
    net_run(net, HOUR_MS);
    net_up(net, 1);
    assert_true(net->nodes[1].k->rpc.rtt8_ms < 8 * 100);
    net_join(net, 1, 2);
    net_run(net, 300000);
    expect_all_in_touch(net);
    net_free(net);
}

static void who_answered_only_after_a_second_sending_is_a_stranger(void **state)
{
    (void)state;
    struct net *net = net_new(1, &(struct net_options){.seed = 7});
    struct addr addr = {.family = 4, .ip = {127, 0, 0, 9}, .port = 9000};
    uint8_t id[KAD_ID_SIZE] = {0x77};
    struct rpc_tx stranger = {.to = addr, .owner = RPC_OWNER_TABLE}, contact = stranger;
    struct krpc_msg q = {.method = KRPC_PING};
    net_up(net, 0);
    struct kad *k = net->nodes[0].k;
    k->now = net->now;
    for (unsigned i = 0; i < 100; i++)
        rpc_measured(&k->rpc, i % 2 ? 280 : 320);
    assert_int_equal(table_heard(&k->net[0].table, net->now.mono_ms, id, &addr, TABLE_RTT_UNKNOWN), TABLE_ADDED);
    memcpy(contact.id, id, KAD_ID_SIZE);
    assert_int_equal(node_query(k, &stranger, &q), 0);
    assert_int_equal(node_query(k, &contact, &q), 0);
    assert_true(stranger.soft_ms > 300);
    assert_int_equal(contact.soft_ms, stranger.soft_ms);
    assert_int_equal(contact.hard_ms, stranger.hard_ms);
    /* Its first measurement counts whole. */
    assert_int_equal(table_heard(&k->net[0].table, net->now.mono_ms, id, &addr, 200), TABLE_KNOWN);
    assert_int_equal(table_find(&k->net[0].table, id)->rtt_ms, 200);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_lines_become_slower),
        cmocka_unit_test(comes_back_on_a_slower_line),
        cmocka_unit_test(who_answered_only_after_a_second_sending_is_a_stranger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
