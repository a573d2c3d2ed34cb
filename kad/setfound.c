/* What a walk over a signed set has found: entries in the order of their slots, each key once. */
#include <stdlib.h>
#include <string.h>

#include "kad/setwalk.h"

static uint32_t place_of(const struct setwalk_finds *finds, const uint8_t slot[KAD_SLOT_SIZE])
{
    uint32_t from = 0, to = finds->n;

    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (memcmp(finds->at[mid]->slot, slot, KAD_SLOT_SIZE) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

const struct setwalk_found *setwalk_find(const struct setwalk_finds *finds, const uint8_t slot[KAD_SLOT_SIZE])
{
    uint32_t at = place_of(finds, slot);

    return at < finds->n && memcmp(finds->at[at]->slot, slot, KAD_SLOT_SIZE) == 0 ? finds->at[at] : NULL;
}

/* ---- what holders say of an entry: nobody signed it; the median counts, which few cannot move ---------- */

uint32_t setwalk_median(uint32_t *of, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        uint32_t s = of[i];
        unsigned at = i;
        for (; at > 0 && of[at - 1] > s; at--)
            of[at] = of[at - 1];
        of[at] = s;
    }
    return n ? of[n / 2] : 0;
}

void setwalk_say(struct setwalk_said *said, uint8_t by, uint32_t s)
{
    for (unsigned i = 0; i < said->n; i++)
        if (said->by[i] == by && by != SETWALK_COUNTED)
            return;
    if (said->n == SETWALK_SAID_MAX)
        return;
    said->by[said->n] = by;
    said->s[said->n++] = s;
}

static void say_all(struct setwalk_said *to, const struct setwalk_said *from)
{
    for (unsigned i = 0; i < from->n; i++)
        setwalk_say(to, from->by[i], from->s[i]);
}

static bool counts(const struct setwalk *w, uint8_t by)
{
    return by >= SETWALK_US || (w->holders[by].close && !w->holders[by].disbelieved);
}

/* Whoever was asked on the way may be anybody, and be quick; who is close nobody can choose. */
static void count_of(const struct setwalk *w, struct setwalk_said *said)
{
    unsigned n = 0;
    bool any = false;

    for (unsigned i = 0; i < said->n; i++)
        any = any || counts(w, said->by[i]);
    for (unsigned i = 0; i < said->n; i++) {
        if (any && !counts(w, said->by[i]))
            continue;
        said->by[n] = SETWALK_COUNTED;
        said->s[n++] = said->s[i];
    }
    said->n = (uint8_t)n;
}

void setwalk_count_said(struct setwalk *w)
{
    for (uint32_t i = 0; i < w->finds.n; i++) {
        count_of(w, &w->finds.at[i]->since);
        count_of(w, &w->finds.at[i]->age);
    }
}

void setwalk_settle(struct setwalk_found *f)
{
    struct setwalk_said since = f->since, age = f->age;

    f->entry.since_s = setwalk_median(since.s, since.n);
    if (age.n)
        f->entry.age_s = setwalk_median(age.s, age.n);
}

/* ---- all that was found -------------------------------------------------------------------------------- */

static int version_order(const struct setwalk_found *a, const struct setwalk_found *b)
{
    return kad_version_compare(a->entry.seq, a->entry.v, b->entry.seq, b->entry.v);
}

/* The newer of two versions of a key stays; of the other only what was said of `since`, which is the
 * key's. Of ages that were judged in two shards the smaller holds: in the other, most holders have handed
 * the entry on. */
static struct setwalk_found *newer_of(struct setwalk_found *old, struct setwalk_found *more)
{
    int order = version_order(more, old);
    struct setwalk_found *stays = order > 0 ? more : old, *goes = order > 0 ? old : more;

    say_all(&stays->since, &goes->since);
    if (order == 0) {
        stays->groups |= goes->groups;
        say_all(&stays->age, &goes->age);
        if (goes->entry.age_s < stays->entry.age_s)
            stays->entry.age_s = goes->entry.age_s;
    }
    free(goes);
    return stays;
}

bool setwalk_finds_add(struct setwalk_finds *finds, struct setwalk_found *found)
{
    uint32_t at = place_of(finds, found->slot);

    if (at < finds->n && memcmp(finds->at[at]->slot, found->slot, KAD_SLOT_SIZE) == 0) {
        finds->at[at] = newer_of(finds->at[at], found);
        return true;
    }
    if (finds->n == finds->cap) {
        uint32_t cap = finds->cap ? finds->cap * 2 : 16;
        void *more = realloc(finds->at, cap * sizeof *finds->at);
        if (!more) {
            free(found);
            return false;
        }
        finds->at = more;
        finds->cap = cap;
    }
    memmove(&finds->at[at + 1], &finds->at[at], (finds->n - at) * sizeof *finds->at);
    finds->at[at] = found;
    finds->n++;
    return true;
}

void setwalk_finds_move(struct setwalk_finds *from, struct setwalk_finds *to,
                        const struct kad_shard_id *shard)
{
    uint32_t first = 0, end;

    while (first < from->n && !kad_shard_contains(shard, from->at[first]->slot))
        first++;
    for (end = first; end < from->n && kad_shard_contains(shard, from->at[end]->slot); end++)
        setwalk_finds_add(to, from->at[end]);
    if (end > first)
        memmove(&from->at[first], &from->at[end], (from->n - end) * sizeof *from->at);
    from->n -= end - first;
}

void setwalk_finds_forget(struct setwalk_finds *finds)
{
    for (uint32_t i = 0; i < finds->n; i++)
        free(finds->at[i]);
    free(finds->at);
    *finds = (struct setwalk_finds){0};
}
