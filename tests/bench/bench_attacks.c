/* Row 9: gets that find, a fifth of the nodes lying, and 32 Sybils on distinct subnets beside a key. The
 * attacks are those of `make attacks`, on unmodified kad/ objects under virtual time; beside each stands the
 * same without the defences that it is about. Smaller than there, so that it takes seconds: the whole table
 * is docs/attacks.md. */
#include <sodium.h>
#include <stdio.h>

#include "tests/attacks.h"
#include "tests/attacks_hostile.h"
#include "tests/bench/bench.h"

#define SEEDS 2
#define FOUND_PERCENT 99

static const struct {
    const char *what;
    void (*run)(const struct trial *t, struct verdict *ret);
    unsigned variant;
    uint16_t without;
    bool quick;
} rows[] = {
    {"20 % of 500 nodes lie: they name one another", attack_liars, HOSTILE_PALS, WITHOUT_READING, false},
    {"20 % of 500 nodes lie: they name nobody", attack_liars, HOSTILE_FORGED, WITHOUT_NAMING, false},
    {"32 Sybils beside a key, then it is put", attack_sybil, SYBIL_BEFORE, WITHOUT_READING, true},
    {"it is put, then 32 Sybils come", attack_sybil, SYBIL_AFTER, WITHOUT_READING, true},
};

static void measure(size_t row, uint16_t without, struct series *ret)
{
    struct trial t = {.quick = rows[row].quick, .variant = rows[row].variant, .without = without};

    ret->n = 0;
    for (t.seed = 1; t.seed <= SEEDS; t.seed++) {
        struct verdict v = {0};
        rows[row].run(&t, &v);
        series_add(ret, v.value);
    }
}

int main(void)
{
    static struct series with, bare;
    bool good = true;

    if (sodium_init() < 0)
        return 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        measure(i, 0, &with);
        measure(i, rows[i].without, &bare);
        bool reached = series_at(&with, 0) >= FOUND_PERCENT; /* the worst seed */
        bench_row("9", rows[i].what, "%", &with, &bare, ">= 99 %", reached);
        good = good && reached;
    }
    return good ? 0 : 1;
}
