#include "timeline/suggest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

#define NAMED_MAX 2 /* names spelled out in a reason; the others are counted */

/* Edges are sorted as pairs (a, b), so everybody's neighbours lie together and repeats are beside each other.
 */
struct pair {
    const uint8_t *a, *b;
};

static int pair_compare(const void *x, const void *y)
{
    const struct pair *p = x, *q = y;
    int order = memcmp(p->a, q->a, KEY_SIZE);
    return order ? order : memcmp(p->b, q->b, KEY_SIZE);
}

struct pairs {
    struct pair *at;
    size_t n;
};

static void pairs_sort(struct pairs *p)
{
    if (p->n == 0)
        return;
    qsort(p->at, p->n, sizeof *p->at, pair_compare);
    size_t kept = 1;
    for (size_t i = 1; i < p->n; i++)
        if (pair_compare(&p->at[i], &p->at[kept - 1]) != 0)
            p->at[kept++] = p->at[i];
    p->n = kept;
}

/* Where the pairs of `a` begin; *ret_n of them. */
static const struct pair *pairs_of(const struct pairs *p, const uint8_t *a, size_t *ret_n)
{
    size_t lo = 0, hi = p->n;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (memcmp(p->at[middle].a, a, KEY_SIZE) < 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    size_t n = 0;
    while (lo + n < p->n && memcmp(p->at[lo + n].a, a, KEY_SIZE) == 0)
        n++;
    *ret_n = n;
    return p->at + lo;
}

static bool pairs_have(const struct pairs *p, const uint8_t *a, const uint8_t *b)
{
    struct pair wanted = { a, b };
    return p->n > 0 && bsearch(&wanted, p->at, p->n, sizeof *p->at, pair_compare) != NULL;
}

/* One of the people you follow who follows the candidate. */
struct link {
    const uint8_t *candidate, *z;
    double weight;
};

static int link_compare(const void *x, const void *y)
{
    const struct link *p = x, *q = y;
    int order = memcmp(p->candidate, q->candidate, KEY_SIZE);
    if (order)
        return order;
    if (p->weight != q->weight)
        return p->weight > q->weight ? -1 : 1; /* who says most about it is named first */
    return memcmp(p->z, q->z, KEY_SIZE);
}

static int row_compare(const void *x, const void *y)
{
    const struct suggest_row *p = x, *q = y;
    if (p->score != q->score)
        return p->score > q->score ? -1 : 1;
    return memcmp(p->pk, q->pk, KEY_SIZE);
}

/* Reasons */

static void name_of(const struct suggest_input *in, const uint8_t *pk, char ret[NAME_SIZE])
{
    const char *name = in->name_of ? in->name_of(in->ctx, pk) : NULL;
    if (name && name[0] && name_check(name, strnlen(name, NAME_SIZE)) == 0)
        snprintf(ret, NAME_SIZE, "%s", name);
    else
        user_tag(pk, ret);
}

/* "followed by bob", "... bob and carol", "... bob, carol and 3 more you follow"; then "; follows you". */
static void write_reason(const struct suggest_input *in, const struct link *links, size_t n,
                         struct suggest_row *row)
{
    char first[NAME_SIZE] = "", second[NAME_SIZE] = "";
    const char *you = row->follows_you ? (n ? "; follows you" : "follows you") : "";
    if (n > 0)
        name_of(in, links[0].z, first);
    if (n > 1)
        name_of(in, links[1].z, second);
    if (n == 0)
        snprintf(row->reason, sizeof row->reason, "%s", you);
    else if (n == 1)
        snprintf(row->reason, sizeof row->reason, "followed by %s%s", first, you);
    else if (n == NAMED_MAX)
        snprintf(row->reason, sizeof row->reason, "followed by %s and %s%s", first, second, you);
    else
        snprintf(row->reason, sizeof row->reason, "followed by %s, %s and %u more you follow%s", first,
                 second, (unsigned)(n - NAMED_MAX), you);
}

/* Scoring */

static bool is_candidate(const struct suggest_input *in, const struct pairs *follows, const uint8_t *pk)
{
    if (memcmp(pk, in->self, KEY_SIZE) == 0 || pairs_have(follows, in->self, pk))
        return false;
    for (size_t i = 0; i < in->n_excluded; i++)
        if (memcmp(in->excluded[i], pk, KEY_SIZE) == 0)
            return false;
    return true;
}

static double weight_of(const struct pairs *linked, const uint8_t *z)
{
    size_t degree;
    pairs_of(linked, z, &degree);
    return 1 / log(2 + (double)degree);
}

/* Inserts a row where it belongs among the best so far; what falls off the end is forgotten. */
static void keep_best(struct suggest_row *rows, size_t max, size_t *n, const struct suggest_row *row)
{
    size_t at = *n;
    while (at > 0 && row_compare(row, &rows[at - 1]) < 0)
        at--;
    if (at == max)
        return;
    size_t last = *n < max ? (*n)++ : max - 1;
    memmove(&rows[at + 1], &rows[at], (last - at) * sizeof *rows);
    rows[at] = *row;
}

/* Every (candidate, z) with self -> z -> candidate, and (candidate, NULL) for those who follow you. */
static size_t collect_links(const struct suggest_input *in, const struct pairs *follows,
                            const struct pairs *linked, struct link *ret)
{
    size_t n = 0, n_followed, n_known;
    const struct pair *followed = pairs_of(follows, in->self, &n_followed);
    for (size_t i = 0; i < n_followed; i++) {
        const uint8_t *z = followed[i].b;
        double weight = weight_of(linked, z);
        const struct pair *known = pairs_of(follows, z, &n_known);
        for (size_t j = 0; j < n_known; j++)
            if (is_candidate(in, follows, known[j].b))
                ret[n++] = (struct link){ .candidate = known[j].b, .z = z, .weight = weight };
    }
    const struct pair *near = pairs_of(linked, in->self, &n_known);
    for (size_t i = 0; i < n_known; i++)
        if (pairs_have(follows, near[i].b, in->self) && is_candidate(in, follows, near[i].b))
            ret[n++] = (struct link){ .candidate = near[i].b };
    return n;
}

int suggest_people(const struct suggest_input *in, struct suggest_row *ret_rows, size_t max, size_t *ret_n)
{
    size_t n_edges = in->n_edges < SUGGEST_EDGES_MAX ? in->n_edges : SUGGEST_EDGES_MAX;
    /* follows: a follows b. linked: both ways, for degrees. An edge links at most twice: z -> c, c -> you. */
    struct pairs follows = { .at = malloc((n_edges + 1) * sizeof *follows.at) };
    struct pairs linked = { .at = malloc((2 * n_edges + 1) * sizeof *linked.at) };
    struct link *links = malloc((2 * n_edges + 1) * sizeof *links);
    int err = 0;
    if (!follows.at || !linked.at || !links) {
        err = CAM_ESYS;
        goto done;
    }
    for (size_t i = 0; i < n_edges; i++) {
        const struct suggest_edge *e = &in->edges[i];
        if (memcmp(e->from, e->to, KEY_SIZE) == 0)
            continue;
        follows.at[follows.n++] = (struct pair){ e->from, e->to };
        linked.at[linked.n++] = (struct pair){ e->from, e->to };
        linked.at[linked.n++] = (struct pair){ e->to, e->from };
    }
    pairs_sort(&follows);
    pairs_sort(&linked);

    size_t n_links = collect_links(in, &follows, &linked, links), n_rows = 0, next;
    qsort(links, n_links, sizeof *links, link_compare);
    for (size_t i = 0; i < n_links; i = next) {
        const uint8_t *candidate = links[i].candidate;
        struct suggest_row row = { .score = 0 };
        memcpy(row.pk, candidate, KEY_SIZE);
        size_t n_z = 0;
        for (next = i; next < n_links && memcmp(links[next].candidate, candidate, KEY_SIZE) == 0; next++) {
            row.score += links[next].weight;
            n_z += links[next].z != NULL;
            row.follows_you |= links[next].z == NULL;
        }
        /* Nobody between you, but they chose you: as much as one acquaintance of theirs would count. */
        if (row.follows_you)
            row.score = n_z ? row.score * 1.5 : weight_of(&linked, candidate);
        write_reason(in, &links[i], n_z, &row);
        keep_best(ret_rows, max, &n_rows, &row);
    }
    *ret_n = n_rows;
done:
    free(links);
    free(linked.at);
    free(follows.at);
    return err;
}
