#include "tests/unit/kad_net.h"

static void put_and_get(void **state)
{
    (void)state;
    struct net *net = net_new(50, &(struct net_options){.seed = 1, .latency_ms = 10});
    net_start_all(net);
    for (size_t i = 0; i < net->n; i++)
        assert_int_equal(net->nodes[i].ready, 1);
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
    net_check(net);
    identity_free(me);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_and_get),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
