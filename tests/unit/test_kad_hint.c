/* Addresses by hearsay: good ones bring a lonely node into the network, bad ones are tried a little and forgotten. */
#include "kad/node.h"
#include "tests/unit/kad_net.h"

static struct addr nobody_at(unsigned n)
{
    return (struct addr){.family = 4, .ip = {127, 0, 9, (uint8_t)n}, .port = (uint16_t)(100 + n)};
}

static void hint(struct net *net, size_t at, const struct addr *addr)
{
    assert_int_equal(kad_hint(net->nodes[at].k, net->now, addr), 0);
}

static void a_good_one_among_bad_ones(void **state)
{
    (void)state;
    struct net *net = net_new(11, &(struct net_options){.seed = 1, .latency_ms = 5});
    for (size_t i = 0; i < 10; i++) {
        net_up(net, i);
        if (i > 0)
            net_join(net, i, 0);
        net_run(net, 20);
    }
    net_up(net, 10);
    for (unsigned i = 0; i < NODE_HINTS_MAX - 1; i++) {
        struct addr bad = nobody_at(i);
        hint(net, 10, &bad);
    }
    hint(net, 10, &net->nodes[4].addr);
    hint(net, 10, &net->nodes[4].addr); /* once more is nothing new */
    struct addr more = nobody_at(200);
    assert_int_equal(kad_hint(net->nodes[10].k, net->now, &more), CAM_EFULL);
    net_run(net, 20000);
    assert_int_equal(net->nodes[10].ready, 1);
    struct kad_stats s;
    kad_stats(net->nodes[10].k, &s);
    assert_int_equal(s.contacts, 10); /* it looked around by itself */
    net_check(net);
    net_free(net);
}

/* Nobody is asked without end because somebody named him. */
static void bad_ones_are_forgotten(void **state)
{
    (void)state;
    struct net *net = net_new(1, &(struct net_options){.seed = 2});
    net_up(net, 0);
    for (unsigned i = 0; i < 8; i++) {
        struct addr bad = nobody_at(i);
        hint(net, 0, &bad);
    }
    uint64_t before = net->datagrams;
    net_run(net, 600000);
    assert_int_equal(net->datagrams - before, 8 * 3);
    for (unsigned i = 0; i < NODE_HINTS_MAX; i++) {
        struct addr bad = nobody_at(100 + i);
        hint(net, 0, &bad); /* there is room for all of them again */
    }
    net_check(net);
    net_free(net);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct net *net = net_new(1, &(struct net_options){.seed = 3});
    net_up(net, 0);
    struct addr bad[] = {{.family = 0}, {.family = 6, .ip = {0xfd}, .port = 1}, {.family = 4, .ip = {127, 0, 0, 1}},
                         {.family = 4, .ip = {224, 0, 0, 1}, .port = 9}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kad_hint(net->nodes[0].k, net->now, &bad[i]), CAM_EINVAL);
    net_free(net);
}

/* Only what has answered is worth remembering. */
static void hearsay_is_not_saved(void **state)
{
    (void)state;
    struct net *net = net_new(1, &(struct net_options){.seed = 4});
    struct kad_dirty dirty;
    net_up(net, 0);
    struct addr bad = nobody_at(1);
    hint(net, 0, &bad);
    kad_flush(net->nodes[0].k, net->now);
    unsigned tables = 0;
    while (kad_next_dirty(net->nodes[0].k, &dirty))
        if (span_equal(dirty.key, span_str("table"))) {
            tables++;
            assert_int_equal(dirty.value.size, 1);
        }
    assert_int_equal(tables, 1);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_one_among_bad_ones), cmocka_unit_test(bad_ones_are_forgotten),
        cmocka_unit_test(what_cannot_be_is_refused), cmocka_unit_test(hearsay_is_not_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
