/* Row 7: the memory of an idle node. NODES nodes on as many UDP sockets join one another on loopback, one after
 * another through any of those there are, and live on for IDLE_S seconds; then what the heap holds is divided by
 * their number, and the structure of a socket added. (bench_scale has the row for 10,000, with simulated datagrams.)
 *
 *   bench_memory [NODES]
 *
 * Datagrams are real. The nodes' clock is this process's own processor time, set forward while nothing is on its way
 * (bench_net.h): 10,000 nodes on two cores would otherwise take one another's turns for a slow network.
 *
 * Counted is what malloc has handed out since before the first node, its headers included: tables, addresses,
 * transactions, whatever a node keeps. Not counted is the kernel's side of a socket; it is shown beside the row. */
#include <malloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include "core/io_os.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_net.h"

#define NODES 2000
#define SPARE_FILES 64
#define IDLE_S 480 /* lookups after 3 s, 30 s and 5 minutes are over, guards forget after 3 more who proved an address */

static struct bench_net net;

static double heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();

    return (double)m.uordblks + (double)m.hblkhd;
}

/* What the kernel's slabs hold, sockets among all else; /proc/net/sockstat counts queued datagrams alone. */
static double slab_kib(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    char line[128];
    double kib = 0;

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "Slab: %lf", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

static size_t allow_files(size_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    if (limit.rlim_cur < wanted + SPARE_FILES) {
        limit.rlim_cur = wanted + SPARE_FILES < limit.rlim_max ? wanted + SPARE_FILES : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur < wanted + SPARE_FILES ? limit.rlim_cur - SPARE_FILES : wanted;
}

static size_t ready(uint64_t *ret_contacts)
{
    size_t n = 0;

    *ret_contacts = 0;
    for (size_t i = 0; i < net.n; i++) {
        struct kad_stats s;
        kad_stats(net.kad[i], &s);
        n += s.contacts >= KAD_K;
        *ret_contacts += s.contacts;
    }
    return n;
}

int main(int argc, char **argv)
{
    static struct series each;
    size_t wanted = argc > 1 ? (size_t)atol(argv[1]) : NODES, nodes = allow_files(wanted);
    struct rng rng = io_os_rng();
    uint64_t contacts;
    char what[96];

    bench_net_open(&net, &(struct bench_net_config){.nodes = nodes, .rng = rng, .own_time = true});
    double before = heap_bytes(), slab = slab_kib(), start = bench_us();
    while (net.n < nodes) {
        bench_net_add(&net, net.n ? rng_below(&rng, (uint32_t)net.n) : 0);
        bench_net_settle(&net);
    }
    bench_net_idle(&net, IDLE_S);
    size_t n_ready = ready(&contacts);
    series_add(&each, (heap_bytes() - before) / (double)nodes / 1024 + sizeof *net.udp / 1024.0);
    snprintf(what, sizeof what, "an idle node's memory, %zu joined, real sockets", nodes);
    bool reached = nodes == wanted && n_ready == nodes && series_median(&each) <= 12;
    bench_row("7", what, "KiB", &each, NULL, "<= 12 KiB", reached);
    printf("     %zu of %zu nodes have %d contacts, %.0f on average; %.0f datagrams a node; %+.1f KiB a node\n"
           "     of the kernel's slabs beside it; it took %.0f s\n",
           n_ready, nodes, KAD_K, (double)contacts / (double)nodes, (double)net.datagrams / (double)nodes,
           (slab_kib() - slab) / (double)nodes, (bench_us() - start) / 1e6);
    bench_net_close(&net);
    return n_ready == nodes ? 0 : 1;
}
