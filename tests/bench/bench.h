/* What the benchmarks share: a clock, series with median and spread, and the one row format.
 *
 * Each row stands beside its floor or its peer measured in the same run, because absolute times drift by a
 * factor of two between machines while ratios hold.
 */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BENCH_SAMPLES_MAX 20000

struct series {
    double v[BENCH_SAMPLES_MAX];
    size_t n;
    bool sorted;
};

static inline double bench_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static inline void series_add(struct series *s, double v)
{
    if (s->n == BENCH_SAMPLES_MAX) return;
    s->v[s->n++] = v;
    s->sorted = false;
}

static inline int series_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value below which `fraction` of the samples lie; 0 for an empty series. */
static inline double series_at(struct series *s, double fraction)
{
    if (s->n == 0) return 0;
    if (!s->sorted) qsort(s->v, s->n, sizeof s->v[0], series_compare);
    s->sorted = true;
    return s->v[(size_t)(fraction * (double)(s->n - 1) + 0.5)];
}

static inline double series_median(struct series *s) { return series_at(s, 0.5); }


/* One row. `beside` may be NULL when the budget is an absolute number. */
static inline void bench_row(const char *row, const char *what, const char *unit, struct series *measured,
                             struct series *beside, const char *budget, bool reached)
{
    char left[64], right[64] = "-", ratio[32] = "-";
    snprintf(left, sizeof left, "%.4g (%.3g-%.3g) %s", series_median(measured), series_at(measured, 0.1),
             series_at(measured, 0.9), unit);
    if (beside) {
        snprintf(right, sizeof right, "%.4g (%.3g-%.3g) %s", series_median(beside), series_at(beside, 0.1),
                 series_at(beside, 0.9), unit);
        if (series_median(beside) > 0)
            snprintf(ratio, sizeof ratio, "%.2f", series_median(measured) / series_median(beside));
    }
    printf("%-4s %-46s %22s %22s %9s  %-22s %s\n", row, what, left, right, ratio, budget, reached ? "yes" : "no");
    fflush(stdout);
}

#endif
