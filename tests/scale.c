/* The network at scale: unmodified kad/ objects by the thousands under virtual time, with churn, faults and a million
 * nodes where there is memory for them. One seed is one run, bit for bit.
 *
 *   scale --nodes N --seed S --hours H     a network in life: keys with and without repair, lookups, all measured
 *         [--keys N] [--mortal N] [--mutable EACH]   keys kept up, keys left to die, which are mutable and signed
 *         [--mean S] [--returns P]                   sessions, and the share of nodes that crash and come back
 *         [--loss P] [--duplicate P] [--reorder P] [--cuts N]   faults; each N-th hour the network is cut in two
 *         [--fill | --join]                          how it begins
 *   scale --curve [--nodes MAX] [--from N] lookups by the size of the network, 1,000 to MAX: the rows of docs/scale.tsv
 *   scale --alike [--nodes N] [--hours H]  networks that joined and lived beside one filled directly
 *   scale --seeds                          what every commit must pass; ends with "N passed, N failed"
 */
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/scale_mortal.h"
#include "tests/scale_seeds.h"
#include "tests/scale_shape.h"
#include "tests/scale_world.h"

#define JOIN_NODES_MAX 20000   /* beyond, tables are filled directly unless --join */
#define SAMPLE 500             /* gets in an hour of life */
#define FINDS 2000
#define MORTAL_MAX 10000       /* keys left to die unless told otherwise: as many as are kept, or these */
#define MUTABLE_EVERY 10

struct options {
    struct scale_world_config world;
    uint32_t keys, mortal, cuts, from;
    double hours;
    bool fill, join, curve, alike, seeds;
};

static struct scale_tally run_batch(struct scale_world *w, enum scale_kind kind, uint32_t first, uint32_t n, bool mortal,
                                    double per_s)
{
    struct scale_batch batch = {.kind = kind, .first_key = first, .n = n, .mortal = mortal, .per_s = per_s};
    struct scale_tally t;

    scale_work_run(w->work, &batch, &t);
    return t;
}

/* ---- a network in life --------------------------------------------------------------------------------- */

/* What a life is told by: the keys that are kept up, those that are left to die, and what was counted. */
struct sim {
    struct scale_world w;
    const struct options *o;
    struct scale_mortal *mortal;
    double begun_s, life_s;              /* real time; virtual time since life began */
    uint64_t life_ms;                    /* when life began */
    uint64_t gets, found, wrong;         /* hourly samples, and what was found of them */
    uint64_t sent_in_life;               /* without those samples */
};

static double put_rate(uint32_t keys)
{
    return keys / 120.0 > 50 ? keys / 120.0 : 50;
}

static void put_all(struct sim *s)
{
    const struct options *o = s->o;
    struct scale_tally kept = run_batch(&s->w, SCALE_PUT, 0, o->keys, false, put_rate(o->keys));
    struct scale_tally mortal = run_batch(&s->w, SCALE_PUT, 0, o->mortal, true, put_rate(o->keys));

    s->mortal = scale_mortal_new(s->w.work, o->mortal);
    printf("%u keys put to be kept up: %llu stored, %.2f holders each; %u put to be left to die: %llu stored, %.2f holders\n",
           o->keys, (unsigned long long)kept.good, kept.good ? (double)kept.holders / (double)kept.good : 0, o->mortal,
           (unsigned long long)mortal.good, scale_mortal_holders(s->mortal));
    scale_tally_clear(&kept);
    scale_tally_clear(&mortal);
}

/* How many nodes hold a key, on average over a sample: looked up, not asked for. */
static double sampled_holders(const struct sim *s)
{
    uint32_t slots[SCALE_HOLDERS_MAX], n = 0, holders = 0;

    for (uint32_t i = 0; i < s->o->keys; i += s->o->keys / SAMPLE + 1, n++)
        holders += scale_work_holders(s->w.work, i, false, slots);
    return n ? (double)holders / n : 0;
}

static void progress_head(void)
{
    puts("\n  hour    nodes  joined contacts    dead  sent/s,node    found  holders  held by   lost      MiB  real s"
         "  rolling hash");
}

static void progress(struct sim *s, double hour, const struct scale_tally *gets, double rate)
{
    struct scale_world *w = &s->w;
    struct scale_shape shape;

    scale_shape_take(w->net, &shape);
    printf("%6.2f %8u %7llu %8.1f %6.2f%% %12.3f %7.2f%% %8.2f %8.2f %6u %8.0f %7.0f  %016llx\n", hour, w->net->up,
           (unsigned long long)(w->life->joined + w->life->returned), scale_shape_mean(shape.size, shape.n),
           100 * shape.dead, rate, 100 * scale_tally_share(gets),
           gets->ended ? (double)gets->holders / (double)gets->ended : 0, s->o->keys ? sampled_holders(s) : 0,
           scale_mortal_lost(s->mortal), scale_resident_mib(), scale_real_s() - s->begun_s,
           (unsigned long long)w->net->hash);
    fflush(stdout);
    scale_shape_clear(&shape);
}

/* An hour with a cut network in its middle, if there is one; the sample of gets counts after it has healed. */
static void live(struct scale_world *w, double seconds, bool cut)
{
    if (!cut) {
        scale_world_run(w, seconds);
        return;
    }
    scale_world_run(w, seconds / 3);
    scale_net_cut(w->net, true);
    scale_world_run(w, seconds / 3);
    scale_net_cut(w->net, false);
    scale_world_run(w, seconds / 3);
}

/* Ctrl-C: the hour is lived to its end, and what there is by then is reported. */
static volatile sig_atomic_t enough;

static void on_interrupt(int signal)
{
    (void)signal;
    enough = 1;
}

static void live_all(struct sim *s)
{
    const struct options *o = s->o;
    struct scale_net *net = s->w.net;
    double step_s = o->hours < 1 ? o->hours * 3600 : 3600;
    uint32_t sample = o->keys < SAMPLE ? o->keys : SAMPLE;

    signal(SIGINT, on_interrupt);
    progress_head();
    for (uint32_t hour = 0; !enough && (hour + 0.5) * step_s < o->hours * 3600; hour++) {
        uint64_t before = net->counts.sent, from_ms = net->wheel.now_ms;
        uint64_t end_ms = s->life_ms + (uint64_t)((hour + 1) * step_s * 1000);
        live(&s->w, (double)(end_ms - from_ms) / 1000, o->cuts && hour % o->cuts == o->cuts - 1);
        uint64_t quiet = net->counts.sent - before;
        s->sent_in_life += quiet;
        /* Other keys each hour, for a get repairs what it finds. */
        struct scale_tally gets = run_batch(&s->w, SCALE_GET, o->keys > sample ? hour * sample % (o->keys - sample) : 0,
                                            sample, false, 50);
        s->gets += gets.asked - gets.gone;
        s->found += gets.good;
        s->wrong += gets.wrong;
        progress(s, (hour + 1) * step_s / 3600, &gets, (double)quiet * 1000 / (double)(end_ms - from_ms) / net->up);
        scale_tally_clear(&gets);
    }
    s->life_s = (double)(net->wheel.now_ms - s->life_ms) / 1000;
}

static void report_finds(struct scale_world *w)
{
    struct scale_tally t = run_batch(w, SCALE_FIND, 0, FINDS, false, 100);

    printf("finds of random ids            %9llu   hops to the first of the k closest %.2f, nodes asked %.1f\n",
           (unsigned long long)t.ended, scale_tally_hops(&t), t.ended ? (double)t.answers / (double)t.ended : 0);
    printf("  the true k closest, named    %8.3f%%   p50 %u ms, p99 %u ms\n",
           t.closest ? 100 * (double)t.named / (double)t.closest : 0, scale_tally_latency_ms(&t, 0.5),
           scale_tally_latency_ms(&t, 0.99));
    scale_tally_clear(&t);
}

/* Returns how many of the keys that were kept up nobody holds. */
static uint32_t report_kept(struct sim *s)
{
    uint32_t slots[SCALE_HOLDERS_MAX], lost = 0, least = UINT32_MAX;
    const uint32_t keys = s->o->keys;
    uint64_t holders = 0;

    for (uint32_t i = 0; i < keys; i++) {
        uint32_t n = scale_work_holders(s->w.work, i, false, slots);
        lost += n == 0;
        holders += n;
        least = n < least ? n : least;
    }
    struct scale_tally all = run_batch(&s->w, SCALE_GET, 0, keys, false, put_rate(keys));
    printf("keys with hourly repair        %9u   lost %u; held by %.1f nodes, at least %u; found by gets %llu of %llu\n",
           keys, lost, keys ? (double)holders / keys : 0, keys ? least : 0, (unsigned long long)all.good,
           (unsigned long long)(all.asked - all.gone));
    s->wrong += all.wrong;
    scale_tally_clear(&all);
    return lost;
}

static void report_mortal(const struct sim *s)
{
    const struct scale_life_config *life = &s->o->world.life;
    uint32_t n = s->o->mortal, lost = scale_mortal_lost(s->mortal);

    if (n == 0)
        return;
    printf("keys without repair            %9u   lost %.2f%%; copies that strayed: %u\n", n, 100.0 * lost / n,
           scale_mortal_strays(s->mortal));
    if (life->mean_s <= 0 || life->returns > 0) /* the formula is about those who never return */
        return;
    struct scale_mortal_fate f = scale_mortal_expected(s->mortal, life->mean_s, s->life_s);
    printf("  the residual-life formula    %8.2f%%   for sixteen holders each; %.2f%% for those they had, give or take "
           "%.2f%%:\n  %43.2f standard deviations off\n",
           100 * scale_unrepaired_loss(life->mean_s, s->life_s, KAD_K), 100 * f.share, 100 * f.deviation,
           f.deviation > 0 ? ((double)lost / n - f.share) / f.deviation : 0);
}

static int report(struct sim *s)
{
    struct scale_world *w = &s->w;
    const struct options *o = s->o;
    const struct scale_counts *c = &w->net->counts;

    printf("\n%u nodes, seed %llu, %.2f virtual hours, mean session %.0f s; loss %.3g, twice %.3g, late %.3g\n",
           w->net->config.slots, (unsigned long long)o->world.net.seed, s->life_s / 3600, o->world.life.mean_s,
           o->world.net.loss, o->world.net.duplicate, o->world.net.reorder);
    printf("nodes that came %llu, left %llu, crashed %llu, returned %llu\n", (unsigned long long)w->life->joined,
           (unsigned long long)w->life->left, (unsigned long long)w->life->crashed,
           (unsigned long long)w->life->returned);
    printf("datagrams                      %9.0f k   sent in life, without our gets: %.3f a second and node\n",
           (double)s->sent_in_life / 1e3, (double)s->sent_in_life / s->life_s / w->net->config.slots);
    printf("  of all %.0f k                 lost %llu, twice %llu, late %llu, cut off %llu, to nobody %llu\n",
           (double)c->sent / 1e3, (unsigned long long)c->lost, (unsigned long long)c->duplicated,
           (unsigned long long)c->reordered, (unsigned long long)c->cut, (unsigned long long)c->unreachable);
    uint32_t lost = report_kept(s);
    report_mortal(s);
    printf("gets in life                   %9llu   found %.3f%%; values never put: %llu\n", (unsigned long long)s->gets,
           s->gets ? 100 * (double)s->found / (double)s->gets : 0, (unsigned long long)s->wrong);
    report_finds(w);
    printf("memory                         %9.0f MiB resident, %.0f bytes of heap a node\n", scale_resident_mib(),
           scale_heap_bytes() / w->net->up);
    printf("time                           %9.0f s real, %.0f s of processor\n", scale_real_s() - s->begun_s,
           scale_cpu_s());
    printf("rolling hash                   %016llx\n", (unsigned long long)w->net->hash);
    return lost || s->wrong ? 1 : 0;
}

static int sim(const struct options *o)
{
    struct sim s = {.o = o, .begun_s = scale_real_s()};
    struct scale_world_config config = o->world;

    config.fill = o->fill || (!o->join && config.net.slots > JOIN_NODES_MAX);
    scale_world_open(&s.w, &config);
    printf("%u nodes %s: %.0f s, %.0f MiB, %.0f bytes of heap a node\n", s.w.net->up,
           config.fill ? "filled directly" : "joined", scale_real_s() - s.begun_s, scale_resident_mib(),
           scale_heap_bytes() / s.w.net->up);
    fflush(stdout);
    put_all(&s);
    scale_life_begin(s.w.life);
    s.life_ms = s.w.net->wheel.now_ms;
    live_all(&s);
    int status = report(&s);
    scale_mortal_free(s.mortal);
    scale_world_close(&s.w);
    return status;
}

/* ---- the curve ----------------------------------------------------------------------------------------- */

static int curve(const struct options *o)
{
    static const uint32_t sizes[] = {1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000};

    printf("nodes\tready_s\tmib\tbytes_a_node\tcontacts\tputs\tgets\tfound\thops\tasked\tnamed\tp50_ms\tp99_ms\treal_s\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && sizes[i] <= o->world.net.slots; i++) {
        if (sizes[i] < o->from)
            continue;
        struct scale_world_config config = o->world;
        struct scale_world w;
        struct scale_shape s;
        double begun_s = scale_real_s();
        config.net.slots = sizes[i];
        config.fill = true;
        config.life.mean_s = 0;
        config.mutable_every = 0;
        scale_world_open(&w, &config);
        double ready_s = scale_real_s() - begun_s;
        struct scale_tally puts = run_batch(&w, SCALE_PUT, 0, FINDS, false, 400);
        struct scale_tally gets = run_batch(&w, SCALE_GET, 0, FINDS, false, 400);
        struct scale_tally finds = run_batch(&w, SCALE_FIND, 0, FINDS, false, 400);
        scale_shape_take(w.net, &s);
        printf("%u\t%.1f\t%.0f\t%.0f\t%.1f\t%llu\t%llu\t%llu\t%.3f\t%.2f\t%.5f\t%u\t%u\t%.1f\n", sizes[i], ready_s,
               scale_resident_mib(), scale_heap_bytes() / w.net->up, scale_shape_mean(s.size, s.n),
               (unsigned long long)puts.good, (unsigned long long)gets.ended, (unsigned long long)gets.good,
               scale_tally_hops(&finds), (double)finds.answers / (double)finds.ended,
               (double)finds.named / (double)finds.closest, scale_tally_latency_ms(&gets, 0.5),
               scale_tally_latency_ms(&gets, 0.99), scale_real_s() - begun_s);
        fflush(stdout);
        scale_shape_clear(&s);
        scale_tally_clear(&puts);
        scale_tally_clear(&gets);
        scale_tally_clear(&finds);
        scale_world_close(&w);
    }
    return 0;
}

/* ---- joined and filled --------------------------------------------------------------------------------- */

static void show_shape(struct scale_world *w, const char *name, const struct scale_shape *beside, struct scale_shape *s)
{
    scale_shape_take(w->net, s);
    struct scale_tally t = run_batch(w, SCALE_FIND, 0, FINDS, false, 200);
    printf("%-24s contacts %6.1f (p10 %3u p90 %3u)  known by %6.1f (p10 %3u p90 %3u)  near %7.3f%%  hops %.2f"
           "  p50 %u ms", name, scale_shape_mean(s->size, s->n), scale_shape_at(s->size, s->n, 0.1),
           scale_shape_at(s->size, s->n, 0.9), scale_shape_mean(s->known, s->n), scale_shape_at(s->known, s->n, 0.1),
           scale_shape_at(s->known, s->n, 0.9), 100 * s->near, scale_tally_hops(&t), scale_tally_latency_ms(&t, 0.5));
    if (beside)
        printf("  apart: size %.3f, known %.3f", scale_shape_apart(s->size, s->n, beside->size, beside->n),
               scale_shape_apart(s->known, s->n, beside->known, beside->n));
    printf("\n%24s contacts by bucket:", "");
    for (unsigned b = 0; b < SCALE_BUCKETS && s->bucket[b] >= 0.01; b++)
        printf(" %.2f", s->bucket[b]);
    printf("\n%24s sixteenths covered:", "");
    for (unsigned b = 0; b < SCALE_BUCKETS && s->bucket[b] >= 0.01; b++)
        printf(" %.2f", s->spread[b]);
    printf("\n");
    fflush(stdout);
    scale_tally_clear(&t);
}

static int alike(const struct options *o)
{
    struct scale_world_config config = o->world;
    struct scale_world w, other;
    struct scale_shape filled, s;
    char name[32];

    scale_world_open(&w, &config);
    config.fill = true;
    config.like = &w.net->ids; /* what ids make of a table is the same in both */
    scale_world_open(&other, &config);
    show_shape(&other, "filled directly", NULL, &filled);
    scale_world_close(&other);
    show_shape(&w, "joined, settled", &filled, &s);
    scale_shape_clear(&s);
    scale_life_begin(w.life);
    for (unsigned hour = 1; hour <= (unsigned)o->hours; hour++) {
        /* Every node looks something up about each quarter of an hour. */
        struct scale_tally t = run_batch(&w, SCALE_FIND, 0, 4 * config.net.slots, false, config.net.slots / 800.0);
        scale_tally_clear(&t);
        snprintf(name, sizeof name, "lived for %u h", hour);
        show_shape(&w, name, &filled, &s);
        scale_shape_clear(&s);
    }
    scale_shape_clear(&filled);
    scale_world_close(&w);
    return 0;
}

/* ---- the command line ---------------------------------------------------------------------------------- */

static const struct option long_options[] = {
    {"nodes", required_argument, NULL, 'n'},  {"seed", required_argument, NULL, 's'},
    {"hours", required_argument, NULL, 'h'},  {"keys", required_argument, NULL, 'k'},
    {"mean", required_argument, NULL, 'm'},   {"loss", required_argument, NULL, 'l'},
    {"duplicate", required_argument, NULL, 'd'}, {"reorder", required_argument, NULL, 'r'},
    {"returns", required_argument, NULL, 'R'}, {"cuts", required_argument, NULL, 'c'},
    {"mutable", required_argument, NULL, 'M'}, {"mortal", required_argument, NULL, 'o'},
    {"from", required_argument, NULL, 'F'},
    {"fill", no_argument, NULL, 'f'},
    {"join", no_argument, NULL, 'j'},         {"curve", no_argument, NULL, 'C'},
    {"alike", no_argument, NULL, 'A'},        {"seeds", no_argument, NULL, 'S'},
    {NULL, 0, NULL, 0},
};

static bool parse(int argc, char **argv, struct options *o)
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case 'n': o->world.net.slots = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 's': o->world.net.seed = strtoull(optarg, NULL, 10); break;
        case 'h': o->hours = atof(optarg); break;
        case 'k': o->keys = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'm': o->world.life.mean_s = atof(optarg); break;
        case 'l': o->world.net.loss = atof(optarg); break;
        case 'd': o->world.net.duplicate = atof(optarg); break;
        case 'r': o->world.net.reorder = atof(optarg); break;
        case 'R': o->world.life.returns = atof(optarg); break;
        case 'c': o->cuts = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'F': o->from = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'o': o->mortal = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'M': o->world.mutable_every = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'f': o->fill = true; break;
        case 'j': o->join = true; break;
        case 'C': o->curve = true; break;
        case 'A': o->alike = true; break;
        case 'S': o->seeds = true; break;
        default: return false;
        }
    }
    return optind == argc && o->world.net.slots > 0;
}

/* With many nodes each thing that is touched lies in a page of its own. glibc asks for huge ones if it is told so
 * before it starts. */
static void begin_with_huge_pages(char **argv)
{
    if (getenv("GLIBC_TUNABLES"))
        return;
    setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 1);
    execv("/proc/self/exe", argv); /* where that cannot be, without */
}

int main(int argc, char **argv)
{
    struct options o = {
        .world = {.mutable_every = MUTABLE_EVERY, .net = {.slots = 1000, .seed = 1},
                  .life = {.mean_s = SCALE_SESSION_MEAN_S, .away_s = 600, .moves = 0.3}},
        .keys = 1000, .mortal = UINT32_MAX, .hours = 24,
    };

    if (sodium_init() < 0 || !parse(argc, argv, &o)) {
        fputs("scale --nodes N --seed S --hours H | --curve | --alike | --seeds   (see the head of tests/scale.c)\n", stderr);
        return 64;
    }
    if (o.mortal == UINT32_MAX)
        o.mortal = o.keys < MORTAL_MAX ? o.keys : MORTAL_MAX;
    if (o.seeds)
        return scale_seeds();
    if (o.curve || o.world.net.slots > JOIN_NODES_MAX)
        begin_with_huge_pages(argv);
    if (o.curve)
        return curve(&o);
    return o.alike ? alike(&o) : sim(&o);
}
