/* Rows 1 to 4: put, get and lookup among 128 real nodes in one process on loopback UDP, k = 8, no disk. Each
 * operation stands beside its floor (bench_floor.h), taken right after it.
 *
 *   bench_kad [FILE]      writes its figures to FILE too, a `name value` a line, for who is to stand beside them */
#include <string.h>

#include "core/bencode.h"
#include "core/io_os.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_floor.h"
#include "tests/bench/bench_net.h"

#define NODES 128
#define K 8
#define OPERATIONS 400
#define WARM_S 3
#define OPERATION_MS 5000
#define VALUE_MAX 64

struct outcome { /* of the operation under way */
    bool first, done;
    int status;
    double first_us, done_us;
    size_t datagrams_at_first;
};

static struct bench_net net;
static struct outcome outcome;

static void on_event(void *ctx, size_t node, const struct kad_event *e)
{
    (void)ctx, (void)node;
    if (e->kind == KAD_EVENT_FIRST) {
        outcome.first = true;
        outcome.first_us = bench_us();
        outcome.datagrams_at_first = net.taped;
    }
    if (e->kind == KAD_EVENT_GET || e->kind == KAD_EVENT_PUT) {
        outcome.done = true;
        outcome.done_us = bench_us();
        outcome.status = e->status;
    }
}

static void open_net(struct rng rng)
{
    bench_net_open(&net, &(struct bench_net_config){.nodes = NODES, .k = K, .rng = rng, .on_event = on_event});
    for (size_t i = 0; i < NODES; i++) {
        bench_net_add(&net, 0);
        for (int p = 0; p < 20; p++)
            bench_net_pump(&net, 0);
    }
    bench_net_run(&net, WARM_S);
}

static bool wait_done(size_t node)
{
    bench_net_turn(&net, node);
    for (double end = bench_us() + OPERATION_MS * 1e3; !outcome.done && bench_us() < end;)
        bench_net_pump(&net, 1);
    return outcome.done && outcome.status == 0;
}

static void begin(void)
{
    outcome = (struct outcome){.first = false};
    net.taped = 0;
}

/* The two operations, each in a function of its own for a profiler to find: `--toggle-collect=run_put`. */

__attribute__((noinline)) static bool run_put(size_t writer, struct kad_item *item, const struct identity *id)
{
    kad_item_sign(item, id);
    return kad_put(net.kad[writer], bench_net_now(&net), item, NULL, 1) == 0 && wait_done(writer);
}

__attribute__((noinline)) static bool run_get(size_t reader, const struct kad_item *item)
{
    uint8_t target[KAD_ID_SIZE];

    kad_item_target(item, target);
    int err = kad_get(net.kad[reader], bench_net_now(&net), target, item->pk, span(NULL, 0), 2);
    return err == 0 && wait_done(reader) && outcome.first;
}

/* The value that every operation is about: `ret` takes VALUE_MAX bytes. */
static struct span make_value(uint8_t *ret)
{
    struct bytes_out out = bytes_out(ret, VALUE_MAX);

    ben_put_text(&out, "a value of forty bytes, more or less ...");
    return span(ret, out.size);
}

/* The median cost of one of something, of which `work` has `times`. */
static double cost_us(struct bench_floor *floor, const struct bench_floor_work *work, size_t times)
{
    static struct series each;

    each.n = 0;
    for (int i = 0; i < 50; i++)
        series_add(&each, bench_floor_us(floor, work) / (double)times);
    return series_median(&each);
}

/* What one datagram of usual size, one signature and one verification cost, beside what was measured. */
static void write_figures(const char *path, struct bench_floor *floor, const struct rng *rng, double put_us,
                          double first_us, double whole_ms)
{
    uint8_t value[VALUE_MAX];
    struct identity *id = identity_new(rng);
    struct kad_item item = {.is_mutable = true, .seq = 1, .v = make_value(value)};
    struct bench_floor_work send = {.sizes = net.tape, .n = net.taped, .item = &item, .id = id},
                            sign = {.item = &item, .id = id, .sign = 1},
                            verify = {.item = &item, .id = id, .verify = 1};
    FILE *f = fopen(path, "w");

    if (!f || kad_item_sign(&item, id))
        exit(74);
    fprintf(f, "put_us %f\nfirst_us %f\nwhole_ms %f\ndatagram_us %f\nsign_us %f\nverify_us %f\n", put_us, first_us,
            whole_ms, cost_us(floor, &send, net.taped), cost_us(floor, &sign, 1), cost_us(floor, &verify, 1));
    fclose(f);
    identity_free(id);
}

int main(int argc, char **argv)
{
    static struct series put, put_floor, first, first_floor, full, full_floor, put_sent, first_sent, full_sent;
    struct rng rng = io_os_rng();
    struct bench_floor *floor = bench_floor_new();
    size_t failed = 0;

    open_net(rng);
    for (uint32_t op = 0; op < OPERATIONS; op++) {
        struct identity *id = identity_new(&rng);
        uint8_t value[VALUE_MAX];
        struct kad_item item = {.is_mutable = true, .seq = 1, .v = make_value(value)};
        struct bench_floor_work work = {.sizes = net.tape, .item = &item, .id = id};
        uint32_t writer = rng_below(&rng, NODES), reader = rng_below(&rng, NODES);

        begin();
        double start = bench_us();
        if (run_put(writer, &item, id)) {
            work.n = net.taped;
            work.sign = 1;
            work.verify = K;
            series_add(&put, outcome.done_us - start);
            series_add(&put_sent, (double)net.taped);
            series_add(&put_floor, bench_floor_us(floor, &work));
        } else {
            failed++;
        }
        begin();
        start = bench_us();
        if (run_get(reader, &item)) {
            work.sign = 0;
            work.verify = 1;
            work.n = outcome.datagrams_at_first;
            series_add(&first, outcome.first_us - start);
            series_add(&first_sent, (double)work.n);
            series_add(&first_floor, bench_floor_us(floor, &work));
            work.n = net.taped;
            series_add(&full, (outcome.done_us - start) / 1e3);
            series_add(&full_sent, (double)work.n);
            series_add(&full_floor, bench_floor_us(floor, &work) / 1e3);
        } else {
            failed++;
        }
        identity_free(id);
        for (int p = 0; p < 5; p++)
            bench_net_pump(&net, 0);
    }
    bench_row("1", "signed put, 128 nodes, k = 8", "us", &put, &put_floor, "<= 1.5 x floor",
              series_median(&put) <= 1.5 * series_median(&put_floor));
    bench_row("2", "get, first verified value", "us", &first, &first_floor, "<= 1.5 x floor",
              series_median(&first) <= 1.5 * series_median(&first_floor));
    bench_row("3", "whole lookup with verify", "ms", &full, &full_floor, "<= 0.3 ms", series_median(&full) <= 0.3);
    bench_row("4", "datagrams of a put", "", &put_sent, NULL, "<= 40", series_median(&put_sent) <= 40);
    bench_row("4", "datagrams to the first value", "", &first_sent, NULL, "<= 10",
              series_median(&first_sent) <= 10);
    bench_row("4", "datagrams of a full get", "", &full_sent, NULL, "<= 24", series_median(&full_sent) <= 24);
    printf("     %zu of %d operations failed\n", failed, 2 * OPERATIONS);
    if (argc > 1)
        write_figures(argv[1], floor, &rng, series_median(&put), series_median(&first), series_median(&full));
    bench_net_close(&net);
    bench_floor_free(floor);
    return failed ? 1 : 0;
}
