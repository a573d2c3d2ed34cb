/* A large signed set over a simulated network of unmodified kad/ objects, from its first entry to the day
 * when nearly everybody has left: put by random nodes, read and counted by others, all judged against what
 * was put.
 *
 *   sets --entries N --nodes N --seed S [--rate PER_S] [--k K]    the table of docs/sets.md
 *        [--fill N]                           so many of the entries laid directly where they would lie
 *   sets --seeds                                what every commit must pass; ends with "N passed, N failed"
 *
 * Each signature is verified once in the process and then remembered (tests/sets_entry.h); all else is as
 * it is outside.
 */
#include <getopt.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scale_world.h"
#include "tests/sets_census.h"
#include "tests/sets_fill.h"

#define ESTIMATES 20
#define COLD 40          /* nodes that have never put into the set */
#define PARTS 8          /* of the growth; the set is read while some of them are put */
#define MERGE_HOURS_MAX 12
#define LEAVE_S 11500    /* until those who leave have left, beyond the time of their puts */

struct options {
    struct scale_config net;
    uint32_t entries, fill; /* of them laid directly */
    double rate;
};

static unsigned passed, failed;

static void expect(bool good, const char *what, double seen)
{
    printf("  %-4s %s: %g\n", good ? "ok" : "FAIL", what, seen);
    fflush(stdout);
    passed += good;
    failed += !good;
}

/* ---- what is printed ----------------------------------------------------------------------------------- */

static void show_puts(const char *name, const struct sets_puts *p)
{
    double n = p->asked ? p->asked : 1;

    printf("%-28s %9u stored %u, refused %u; at %.2f holders; %u datagrams each, %.1f with all that went on; p50 %u"
           " ms, p99 %u ms, most %u ms; CPU %.2f ms each\n", name, p->asked, p->stored, p->failed,
           (double)p->holders / n, p->each, p->datagrams / n, p->p50_ms, p->p99_ms, p->most_ms,
           p->cpu_s * 1000 / n);
    fflush(stdout);
}

static void show_reading(const char *name, const struct sets_reading *r, double quiet_per_s)
{
    printf("%-28s %9u live, %u tombstones, %u twice, %u missing, %u never put; %.0f k datagrams, %.1f s,"
           " CPU %.1f s\n", name, r->found, r->dead, r->twice, r->missing, r->unknown,
           (r->datagrams - quiet_per_s * r->virtual_s) / 1000, r->virtual_s, r->cpu_s);
    fflush(stdout);
}

static void show_census(const char *name, const struct sets_census *c, const struct sets *s)
{
    printf("%-28s leaves by depth", name);
    for (unsigned d = 0; d <= KAD_SHARD_DEPTH_MAX; d++)
        if (c->shards[d] || c->split[d])
            printf(" %u:%u", d, c->shards[d]);
    printf(", split");
    for (unsigned d = 0; d <= KAD_SHARD_DEPTH_MAX; d++)
        if (c->split[d])
            printf(" %u:%u", d, c->split[d]);
    printf("; %u-%.0f-%u entries a leaf; %.1f holders an entry, %u with less than half, %u lost; %.2f %% of copies"
           " above; %.0f KiB a node; %.0f MiB resident; %.1f h\n", c->smallest, c->mean, c->largest, c->holders,
           c->few, c->lost, c->copies ? 100 * (double)c->above / (double)c->copies : 0,
           (double)c->store_bytes / 1024, scale_resident_mib(),
           (double)(s->net->wheel.now_ms - SCALE_START_MS) / 3.6e6);
    fflush(stdout);
}

/* ---- the run ------------------------------------------------------------------------------------------- */

struct run {
    struct sets *s;
    const struct options *o;
    uint32_t stay, writers;    /* keys [0, stay) never leave; nodes [0, writers) write */
    uint32_t put_from;         /* keys from here on are put; those before it are laid directly, if any are */
    int64_t leave_s, stay_s;   /* when the entries of the others expire, and theirs */
    double quiet_per_s;
};

static void expect_reading(const struct sets_reading *r)
{
    expect(r->ended && r->status == 0, "the read ended, with status", r->status);
    expect(r->missing == 0, "stored before the read and not found", r->missing);
    expect(r->twice == 0 && r->unknown == 0, "keys that came twice, or never were", r->twice + r->unknown);
    expect(r->late == 0, "found although their tombstone was stored before", r->late);
}

static void put_part(struct run *run, uint32_t first, uint32_t n, const char *name)
{
    struct sets_puts puts;
    struct sets_batch b = {.first = first, .n = n, .per_s = run->o->rate, .slots = run->writers};

    b.version = (struct sets_version){.seq = 1, .exp_s = first < run->stay ? run->stay_s : run->leave_s};
    sets_put(run->s, &b, &puts);
    show_puts(name, &puts);
    expect(puts.stored == n, "entries stored", puts.stored);
}

static void fill(struct run *run)
{
    struct sets_version stay = {.seq = 1, .exp_s = run->stay_s}, leave = {.seq = 1, .exp_s = run->leave_s};

    sets_fill(run->s, 0, run->stay, run->o->entries, &stay);
    sets_fill(run->s, run->stay, run->put_from - run->stay, run->o->entries, &leave);
    printf("%-28s %9u\n", "laid directly", run->put_from);
}

/* Grows to its full size; in every third part of the way somebody reads while others write. */
static void grow(struct run *run)
{
    uint32_t first = run->put_from, n = run->o->entries - first;
    struct sets_reading r;

    if (run->put_from > run->stay)
        fill(run);
    else
        put_part(run, 0, run->stay, "put, the first ones");
    for (unsigned part = 0; part < PARTS; part++) {
        uint32_t size = part + 1 < PARTS ? n / PARTS : run->o->entries - first;
        bool read = part % 3 == 1;
        if (read)
            sets_read_begin(run->s, sets_random_slot(run->s), &r);
        put_part(run, first, size, "put, and handed down");
        first += size;
        if (!read)
            continue;
        sets_read_end(run->s, &r);
        show_reading("read meanwhile", &r, 0);
        expect_reading(&r);
    }
}

static struct sets_census take_census(struct run *run, const char *name)
{
    struct sets_census c;

    sets_census_take(run->s, &c);
    show_census(name, &c, run->s);
    expect(c.lost == 0, "entries that no node holds", c.lost);
    expect(c.few == 0, "entries with less than half of their holders", c.few);
    return c;
}

/* Until nothing but the last entry of each shard lies above a leaf. */
static void settle(struct run *run)
{
    uint64_t sent = run->s->net->counts.sent;
    double hours = 0;
    struct sets_census c;

    do {
        sets_run_s(run->s, 1800);
        hours += 0.5;
        c = take_census(run, "settling");
    } while (c.above > 40 * (uint64_t)c.splits_made && hours < 5);
    expect(c.above <= 40 * (uint64_t)c.splits_made, "copies above a leaf, for each split shard",
           c.splits_made ? (double)c.above / c.splits_made : 0);
    printf("%-28s %9.1f hours; %.2f datagrams a second and node\n", "handed down after", hours,
           (double)(run->s->net->counts.sent - sent) / hours / 3600 / run->s->net->up);
    run->quiet_per_s = sets_quiet_per_s(run->s);
    printf("%-28s %9.2f datagrams a second and node\n", "kept up at", run->quiet_per_s / run->s->net->up);
}

/* What a put costs who has never put into this set, and who has. The same keys again, as each of them would
 * daily. */
static void put_again(struct run *run)
{
    struct sets_batch b = {.n = COLD, .per_s = 2, .from_slot = run->writers, .slots = COLD};
    struct sets_puts puts;

    b.version = (struct sets_version){.seq = 2, .exp_s = run->stay_s};
    sets_put(run->s, &b, &puts);
    show_puts("put again, first time there", &puts);
    expect(puts.stored == COLD, "entries stored", puts.stored);
    b.version.seq = 3;
    sets_put(run->s, &b, &puts);
    show_puts("put again, knowing the depth", &puts);
    expect(puts.stored == COLD, "entries stored", puts.stored);
}

static void read_all(struct run *run, const char *name, uint32_t live)
{
    struct sets_reading r;

    sets_read(run->s, sets_random_slot(run->s), &r);
    show_reading(name, &r, run->quiet_per_s);
    expect_reading(&r);
    expect(r.found == live, "live entries found", r.found);
}

static void count_all(struct run *run, uint32_t live)
{
    struct sets_reading r;

    sets_count(run->s, sets_random_slot(run->s), true, &r);
    printf("%-28s %9llu in %u leaves; %.0f k datagrams, %.1f s, CPU %.1f s\n", "count, exact",
           (unsigned long long)r.count, r.shards, (r.datagrams - run->quiet_per_s * r.virtual_s) / 1000,
           r.virtual_s, r.cpu_s);
    expect(r.count == live && r.spread == 0, "live entries counted", (double)r.count);
}

static void estimate(struct run *run, uint32_t live, double most)
{
    double worst = 0, sum = 0, datagrams = 0, virtual_s = 0, shards = 0, beyond = 0;
    struct sets_reading r;

    for (unsigned i = 0; i < ESTIMATES; i++) {
        sets_count(run->s, sets_random_slot(run->s), false, &r);
        double error = fabs((double)r.count / live - 1);
        worst = error > worst ? error : worst;
        sum += error;
        beyond += fabs((double)r.count - live) > 3 * (double)r.spread;
        datagrams += r.datagrams - run->quiet_per_s * r.virtual_s;
        virtual_s += r.virtual_s;
        shards += r.shards;
    }
    printf("%-28s %9u off by %.2f %% on average, %.2f %% at worst; %.1f leaves, %.0f datagrams, %.1f s each\n",
           "count, estimated", ESTIMATES, 100 * sum / ESTIMATES, 100 * worst, shards / ESTIMATES,
           datagrams / ESTIMATES, virtual_s / ESTIMATES);
    expect(worst <= most, "worst error of an estimate, %", 100 * worst);
    expect(beyond <= 1, "estimates off by more than three times what they say", beyond);
}

/* All leave, but the first few: a tombstone each, which lives a minute longer than what it takes away. */
static void leave(struct run *run)
{
    struct sets_batch b = {.first = run->stay, .n = run->o->entries - run->stay, .per_s = run->o->rate};
    struct sets_puts puts;
    struct sets_reading r;

    b.version = (struct sets_version){.seq = 4, .exp_s = run->leave_s + 60, .del = true};
    sets_read_begin(run->s, sets_random_slot(run->s), &r);
    sets_put(run->s, &b, &puts);
    sets_read_end(run->s, &r);
    show_puts("tombstones", &puts);
    show_reading("read meanwhile", &r, 0);
    expect(puts.stored == b.n, "tombstones stored", puts.stored);
    expect_reading(&r);
}

/* What has expired is gone; shards that hold few are merged; whoever stayed is seen at all times. */
static void merge(struct run *run)
{
    struct sets_census c;
    uint32_t leaves = 0, before;
    unsigned still = 0;

    sets_run_s(run->s, (double)(run->leave_s + 61 - sets_now_s(run->s)));
    for (unsigned half = 0; half < 2 * MERGE_HOURS_MAX && still < 4; half++) {
        sets_run_s(run->s, 1800);
        c = take_census(run, "merging");
        read_all(run, "read meanwhile", run->stay);
        before = leaves;
        leaves = c.splits_made;
        for (unsigned d = 0; d <= KAD_SHARD_DEPTH_MAX; d++)
            leaves += c.shards[d];
        still = leaves == before ? still + 1 : 0;
    }
    expect(c.dead == 0, "tombstones left", (double)c.dead);
    /* Nothing is left that could be merged: whatever is split has at least 128 entries below. */
    uint32_t most = run->stay / 128 + (run->stay >= 128 ? 17 * (run->stay / 128) : 1);
    printf("%-28s %9u shards, of which %u split\n", "left after merging", leaves, c.splits_made);
    expect(c.splits_made <= run->stay / 100 && leaves <= most + 1, "shards left", leaves);
}

static void run_all(const struct options *o)
{
    struct run run = {.o = o, .stay = o->entries / 100, .writers = o->net.slots};
    run.stay = run.stay > COLD ? run.stay : COLD;
    struct scale_config net = o->net;
    double begun_s = scale_real_s(), cpu_s = scale_cpu_s();

    net.slots += COLD;
    sets_verified_open(2 * o->entries + 4096);
    run.s = sets_new(&net, o->entries);
    printf("%u nodes joined, k = %u, %u entries to come, seed %llu; every signature is verified once in this"
           " process and remembered\n", run.s->net->up, net.k ? net.k : KAD_K, o->entries, (unsigned long long)net.seed);
    run.put_from = o->fill > run.stay && o->fill < o->entries ? o->fill : run.stay;
    double grow_s = (o->entries - run.put_from) / o->rate, go_s = (o->entries - run.stay) / o->rate;
    run.leave_s = sets_now_s(run.s) + (int64_t)(grow_s + go_s) + LEAVE_S;
    run.stay_s = sets_now_s(run.s) + 30 * 86400;
    grow(&run);
    settle(&run);
    put_again(&run);
    read_all(&run, "read", o->entries);
    count_all(&run, o->entries);
    estimate(&run, o->entries, 0.05);
    leave(&run);
    read_all(&run, "read, with tombstones", run.stay);
    count_all(&run, run.stay);
    merge(&run);
    for (uint32_t i = 0; i < net.slots; i++)
        kad_check(run.s->net->nodes[i].kad);
    struct sets_verified v = sets_verified_counts();
    printf("%-28s %9llu of %llu asked for (each costs about 45 us elsewhere)\n", "signatures verified",
           (unsigned long long)v.made, (unsigned long long)v.asked);
    printf("%-28s %9llu M; %.0f s of CPU, %.0f s of real time\n", "datagrams in all",
           (unsigned long long)(run.s->net->counts.sent / 1000000), scale_cpu_s() - cpu_s,
           scale_real_s() - begun_s);
    printf("rolling hash                 %016llx\n", (unsigned long long)run.s->net->hash);
    sets_free(run.s);
    sets_verified_open(0);
}

static const struct option long_options[] = {
    {"entries", required_argument, NULL, 'e'}, {"nodes", required_argument, NULL, 'n'},
    {"seed", required_argument, NULL, 's'},    {"rate", required_argument, NULL, 'r'},
    {"k", required_argument, NULL, 'k'},       {"fill", required_argument, NULL, 'f'},
    {"seeds", no_argument, NULL, 'S'},         {NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
    struct options o = {.net = {.slots = 1000, .seed = 1}, .entries = 1000000, .rate = 1000};
    bool seeds = false;
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case 'e': o.entries = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'n': o.net.slots = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 's': o.net.seed = strtoull(optarg, NULL, 10); break;
        case 'r': o.rate = atof(optarg); break;
        case 'k': o.net.k = (uint8_t)strtoul(optarg, NULL, 10); break;
        case 'f': o.fill = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'S': seeds = true; break;
        default: return 64;
        }
    }
    if (optind != argc || o.entries < 1000 || o.net.slots < 20 || sodium_init() < 0)
        return 64;
    if (seeds)
        o = (struct options){.net = {.slots = 60, .seed = 2, .k = 4}, .entries = 3000, .rate = 200};
    run_all(&o);
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}
