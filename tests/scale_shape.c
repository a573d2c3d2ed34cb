#include "tests/scale_shape.h"

#include <stdlib.h>
#include <string.h>

#include "tests/scale_memory.h"

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Which sixteenth of the range of bucket b: the four bits after the one that differs. */
static unsigned sixteenth(const uint8_t id[KAD_ID_SIZE], unsigned b)
{
    unsigned v = 0;

    for (unsigned bit = b + 1; bit < b + 5; bit++)
        v = v << 1 | (id[bit / 8] >> (7 - bit % 8) & 1);
    return v;
}

static void look_at(const struct scale_net *net, uint32_t slot, struct scale_shape *s, uint32_t *known, uint64_t *dead,
                    uint64_t *near, uint64_t *nearest)
{
    struct kad *kad = net->nodes[slot].kad;
    const uint8_t *self = kad_node_id(kad);
    uint32_t truth[KAD_K + 1], size = 0, count[SCALE_BUCKETS] = {0}, parts[SCALE_BUCKETS] = {0};
    size_t n = scale_ids_closest(&net->ids, self, truth, KAD_K + 1);
    struct kad_contact c;

    for (; kad_contact_at(kad, scale_net_now(net), size, &c); size++) {
        uint32_t other = scale_net_slot(net, &c.addr);
        unsigned b = id_common_bits(self, c.id);
        b = b < SCALE_BUCKETS ? b : SCALE_BUCKETS - 1;
        count[b]++;
        parts[b] |= 1u << sixteenth(c.id, b);
        if (other == SCALE_NONE) {
            ++*dead;
            continue;
        }
        known[other]++;
        for (size_t i = 0; i < n; i++)
            *near += truth[i] == other && other != slot;
    }
    *nearest += n > 0 ? n - 1 : 0;
    s->size[s->n] = size;
    for (unsigned b = 0; b < SCALE_BUCKETS; b++) {
        s->bucket[b] += count[b];
        s->spread[b] += __builtin_popcount(parts[b]);
    }
}

void scale_shape_take(const struct scale_net *net, struct scale_shape *ret)
{
    uint32_t *known = scale_alloc(net->config.slots, sizeof *known);
    uint64_t dead = 0, near = 0, nearest = 0, contacts = 0;

    *ret = (struct scale_shape){.size = scale_alloc(net->up, sizeof *ret->size),
                                .known = scale_alloc(net->up, sizeof *ret->known)};
    for (uint32_t i = 0; i < net->config.slots; i++) {
        if (!net->nodes[i].kad)
            continue;
        look_at(net, i, ret, known, &dead, &near, &nearest);
        contacts += ret->size[ret->n];
        ret->n++;
    }
    for (uint32_t i = 0, n = 0; i < net->config.slots; i++)
        if (net->nodes[i].kad)
            ret->known[n++] = known[i];
    qsort(ret->size, ret->n, sizeof *ret->size, compare);
    qsort(ret->known, ret->n, sizeof *ret->known, compare);
    for (unsigned b = 0; b < SCALE_BUCKETS && ret->n > 0; b++) {
        ret->bucket[b] /= ret->n;
        ret->spread[b] /= ret->n;
    }
    ret->dead = contacts ? (double)dead / (double)contacts : 0;
    ret->near = nearest ? (double)near / (double)nearest : 1;
    free(known);
}

void scale_shape_clear(struct scale_shape *s)
{
    free(s->size);
    free(s->known);
    *s = (struct scale_shape){0};
}

double scale_shape_mean(const uint32_t *v, uint32_t n)
{
    double sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += v[i];
    return n ? sum / n : 0;
}

double scale_shape_apart(const uint32_t *a, uint32_t n_a, const uint32_t *b, uint32_t n_b)
{
    double most = 0;

    for (uint32_t i = 0, j = 0; i < n_a && j < n_b;) {
        uint32_t v = a[i] < b[j] ? a[i] : b[j];
        while (i < n_a && a[i] == v)
            i++;
        while (j < n_b && b[j] == v)
            j++;
        double apart = fabs((double)i / n_a - (double)j / n_b);
        most = apart > most ? apart : most;
    }
    return most;
}
