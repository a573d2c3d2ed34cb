#include "tests/scale_mortal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scale_life.h"
#include "tests/scale_memory.h"

#define MORTAL "6:mortali1e" /* scale_work.c puts it in their values */

struct holder { uint32_t slot, generation; };

struct scale_mortal {
    struct scale_work *work;
    struct scale_net *net;
    uint32_t n;
    uint32_t *first;        /* by key, n + 1: where its holders begin */
    struct holder *holders;
};

static bool is_put_of_one(const uint8_t *data, size_t size)
{
    /* A put ends in: 1:q3:put 1:t6:...... 1:y1:qe */
    static const char method[] = "1:q3:put1:t6:";
    const size_t back = sizeof method - 1 + 6 + 7;

    return size > back && memcmp(data + size - back, method, sizeof method - 1) == 0 &&
           memmem(data, size, MORTAL, sizeof MORTAL - 1) != NULL;
}

struct scale_mortal *scale_mortal_new(struct scale_work *w, uint32_t n)
{
    struct scale_mortal *m = scale_alloc(1, sizeof *m);
    struct scale_net *net = scale_work_net(w);
    uint32_t slots[SCALE_HOLDERS_MAX], cap = 0;

    m->work = w;
    m->net = net;
    m->n = n;
    m->first = scale_alloc(n + 1, sizeof *m->first);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t held = scale_work_holders(w, i, true, slots), at = m->first[i];
        if (at + held > cap) {
            cap = 2 * cap + SCALE_HOLDERS_MAX;
            m->holders = scale_realloc(m->holders, cap * sizeof *m->holders);
        }
        for (uint32_t j = 0; j < held; j++)
            m->holders[at + j] = (struct holder){slots[j], net->nodes[slots[j]].generation};
        m->first[i + 1] = at + held;
    }
    net->swallow = is_put_of_one;
    return m;
}

void scale_mortal_free(struct scale_mortal *m)
{
    m->net->swallow = NULL;
    free(m->first);
    free(m->holders);
    free(m);
}

double scale_mortal_holders(const struct scale_mortal *m)
{
    return m->n ? (double)m->first[m->n] / m->n : 0;
}

/* Which keys each slot holds: where its keys begin in *ret_keys. */
static uint32_t *by_slot(const struct scale_mortal *m, uint32_t **ret_keys)
{
    uint32_t slots = m->net->config.slots, all = m->first[m->n];
    uint32_t *first = scale_alloc(slots + 1, sizeof *first), *next = scale_alloc(slots + 1, sizeof *next);
    uint32_t *keys = scale_alloc(all, sizeof *keys);

    for (uint32_t i = 0; i < all; i++)
        first[m->holders[i].slot + 1]++;
    for (uint32_t i = 0; i < slots; i++)
        first[i + 1] += first[i];
    memcpy(next, first, slots * sizeof *next);
    for (uint32_t key = 0; key < m->n; key++)
        for (uint32_t i = m->first[key]; i < m->first[key + 1]; i++)
            keys[next[m->holders[i].slot]++] = key;
    free(next);
    *ret_keys = keys;
    return first;
}

struct scale_mortal_fate scale_mortal_expected(const struct scale_mortal *m, double mean_s, double t_s)
{
    double p = scale_unrepaired_loss(mean_s, t_s, 1), sum = 0, variance = 0;
    uint32_t *keys, *first = by_slot(m, &keys);
    uint32_t *shared = scale_alloc(m->n, sizeof *shared), *touched = scale_alloc(m->n, sizeof *touched);

    for (uint32_t key = 0; key < m->n; key++) {
        uint32_t held = m->first[key + 1] - m->first[key], n_touched = 0;
        sum += pow(p, held);
        for (uint32_t i = m->first[key]; i < m->first[key + 1]; i++) {
            uint32_t slot = m->holders[i].slot;
            for (uint32_t j = first[slot]; j < first[slot + 1]; j++)
                if (shared[keys[j]]++ == 0)
                    touched[n_touched++] = keys[j];
        }
        for (uint32_t i = 0; i < n_touched; i++) { /* the key itself is among them: its own variance */
            uint32_t other = touched[i], both = held + m->first[other + 1] - m->first[other];
            variance += pow(p, both - shared[other]) - pow(p, both);
            shared[other] = 0;
        }
    }
    free(first);
    free(keys);
    free(shared);
    free(touched);
    return (struct scale_mortal_fate){m->n ? sum / m->n : 0, m->n ? sqrt(variance) / m->n : 0};
}

uint32_t scale_mortal_lost(const struct scale_mortal *m)
{
    uint32_t slots[SCALE_HOLDERS_MAX], lost = 0;

    for (uint32_t key = 0; key < m->n; key++)
        lost += scale_work_holders(m->work, key, true, slots) == 0;
    return lost;
}

static bool held_it(const struct scale_mortal *m, uint32_t key, uint32_t slot)
{
    for (uint32_t i = m->first[key]; i < m->first[key + 1]; i++)
        if (m->holders[i].slot == slot)
            return m->holders[i].generation == m->net->nodes[slot].generation;
    return false;
}

uint32_t scale_mortal_strays(const struct scale_mortal *m)
{
    uint32_t slots[SCALE_HOLDERS_MAX], strays = 0;

    for (uint32_t key = 0; key < m->n; key++) {
        uint32_t held = scale_work_holders(m->work, key, true, slots);
        for (uint32_t i = 0; i < held; i++)
            strays += !held_it(m, key, slots[i]);
    }
    return strays;
}
