/* Which entries of a shard were refreshed last. A reader that asks for these gets of each holder one page,
 * of the entries that the holder calls youngest. The ages are not signed, and a liar would have its reader
 * believe that those are the freshest who have been gone for weeks.
 *
 * Honest holders agree: an age travels with its entry from holder to holder, so it says when the version
 * was put for the first time. And by its page a holder speaks of every entry: those that it lists are as
 * old as it says, all others are older than the oldest of these, or it does not hold them at all, when
 * nothing was left out. So for each entry each holder has one voice, and the median of them is its age:
 * less than half of them cannot make it younger or older than honest holders say.
 *
 * Who lists another version of the key has no voice: it missed the refresh, or the liar made one up.
 * Beyond the pages of most holders there is only that one bound for all; there our own store, if it holds
 * the shard, knows better. */
#include <stdlib.h>
#include <string.h>

#include "kad/setwalk.h"

struct setfresh_page {
    unsigned n;
    uint32_t oldest_s;
    struct {
        uint8_t slot[KAD_SLOT_SIZE];
        int64_t seq;
        uint32_t age_s;
    } at[KAD_SET_PAGE_MAX];
};

/* KAD_SET_PAGE_MAX: it does not list the slot. */
static unsigned listed_at(const struct setfresh_page *page, const uint8_t slot[KAD_SLOT_SIZE])
{
    for (unsigned i = 0; i < page->n; i++)
        if (memcmp(page->at[i].slot, slot, KAD_SLOT_SIZE) == 0)
            return i;
    return KAD_SET_PAGE_MAX;
}

bool setfresh_note(struct setwalk_holder *h, const uint8_t slot[KAD_SLOT_SIZE], const struct kad_entry *entry)
{
    if (!h->page)
        h->page = calloc(1, sizeof *h->page);
    struct setfresh_page *page = h->page;
    if (!page || page->n == KAD_SET_PAGE_MAX || listed_at(page, slot) < KAD_SET_PAGE_MAX)
        return false;
    memcpy(page->at[page->n].slot, slot, KAD_SLOT_SIZE);
    page->at[page->n].seq = entry->seq;
    page->at[page->n++].age_s = entry->age_s;
    if (entry->age_s > page->oldest_s)
        page->oldest_s = entry->age_s;
    return true;
}

struct voices {
    unsigned n, bounds;             /* of these so many say only that it is older */
    uint32_t ours_s;                /* our own store's, if it has a word in this */
    uint32_t ages_s[LOOKUP_MAX + 1];
};

static void say(struct voices *v, uint32_t age_s, bool bound)
{
    v->ages_s[v->n++] = age_s;
    v->bounds += bound;
}

static void holder_says(const struct setwalk_holder *h, const struct setwalk_found *f, struct voices *v)
{
    unsigned at = listed_at(h->page, f->slot);

    if (at == KAD_SET_PAGE_MAX)
        say(v, h->more && h->page->oldest_s < UINT32_MAX ? h->page->oldest_s + 1 : UINT32_MAX, true);
    else if (h->page->at[at].seq == f->entry.seq)
        say(v, h->page->at[at].age_s, false);
}

static void we_say(struct kad *k, const struct setwalk *w, const struct setwalk_found *f, struct voices *v)
{
    struct kad_entry ours;
    bool have = kad_store_entry_get(k->store, k->now, &w->shard, f->entry.pk, &ours) == 0;

    if (have && ours.seq != f->entry.seq)
        return;
    v->ours_s = have ? ours.age_s : UINT32_MAX;
    say(v, v->ours_s, !have);
}

static uint32_t judge(struct voices *v)
{
    uint32_t age_s = v->n ? setwalk_median(v->ages_s, v->n) : UINT32_MAX;

    return 2 * v->bounds >= v->n && v->ours_s > age_s ? v->ours_s : age_s;
}

static bool we_hold_some(struct kad *k, const struct setwalk *w)
{
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];

    return kad_store_entry_next(k->store, k->now, &w->shard, NULL, 0, &entry, slot);
}

void setfresh_judge(struct kad *k, struct setwalk *w)
{
    bool own = we_hold_some(k, w), any_close = false;

    /* The k closest are to hold it. Without them (we gave up early) those count who were met on the way. */
    for (unsigned i = 0; i < w->n_holders; i++)
        any_close = any_close || (w->holders[i].close && w->holders[i].page);
    for (uint32_t i = 0; i < w->finds.n; i++) {
        struct setwalk_found *f = w->finds.at[i];
        struct voices v = {0};
        if (own)
            we_say(k, w, f, &v);
        for (unsigned j = 0; j < w->n_holders; j++)
            if (w->holders[j].page && (w->holders[j].close || !any_close))
                holder_says(&w->holders[j], f, &v);
        f->entry.age_s = judge(&v);
        f->age.n = 0;
    }
}
