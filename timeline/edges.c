#include "timeline/edges.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"
#include "timeline/suggest.h"

#define STEP_MS 100        /* between two persons of a round */
#define SOON_MS 300        /* after a follow: several follows make one round */
#define PROFILES_MAX 20    /* of one page: the names of those it lists */

enum lookup { LOOKUP_FOLLOWERS, LOOKUP_PAGE, LOOKUP_PROFILE };

void edges_init(struct timeline *t)
{
    t->edges = (struct edges){ .round_ms = NOW_NEVER, .step_ms = NOW_NEVER,
                                .number = t->edges.number };
}

void edges_soon(struct timeline *t)
{
    struct edges *e = &t->edges;
    uint64_t at_ms = t->now.mono_ms + SOON_MS;
    e->pause_ms = EDGES_AGAIN_MS;
    if (e->step_ms == NOW_NEVER)
        e->round_ms = deadline_min(e->round_ms, at_ms);
    else
        e->next = 0; /* a round is running: it begins anew */
}

/* ---- learning ------------------------------------------------------------------------------------------ */

void edges_learn(struct timeline *t, const uint8_t to[KEY_SIZE], const struct kad_entry *entries, size_t n)
{
    if (!follow_find(t, to))
        return;
    for (size_t i = 0; i < n; i++) {
        struct record_follow r;
        if (record_get_follow(entries[i].v, &r) || account_is(t, entries[i].pk))
            continue;
        if (r.deleted || r.expires_s < now_unix_s(t->now)) {
            store_edge_remove(t->store, entries[i].pk, to);
            continue;
        }
        struct store_edge e = { .seq = entries[i].seq, .has_dest = r.n_hints > 0 };
        memcpy(e.from, entries[i].pk, KEY_SIZE);
        memcpy(e.to, to, KEY_SIZE);
        memcpy(e.name, r.name, NAME_SIZE);
        if (e.has_dest) {
            e.dest.addr = r.hints[0].addr;
            memcpy(e.dest.key, r.hints[0].transport_key, LINK_KEY_SIZE);
        }
        store_edge_put(t->store, &e);
    }
    if (n)
        store_edge_trim(t->store, to, EDGES_PER_PERSON_MAX);
}

static uint64_t tag_of(const struct edges *e, enum lookup what)
{
    return request_tag(REQUEST_EDGES, (uint64_t)e->number << 2 | what);
}

/* The name of somebody that only a page has named. */
static void fetch_name(struct timeline *t, const uint8_t pk[KEY_SIZE])
{
    char name[NAME_SIZE];
    uint8_t target[KAD_ID_SIZE];
    people_name(t, pk, name);
    if (name[0])
        return;
    kad_mutable_target(pk, span_str("public"), target);
    t->edges.n_pending +=
        kad_get(t->kad, t->now, target, pk, span_str("public"), tag_of(&t->edges, LOOKUP_PROFILE)) == 0;
}

static void learn_page(struct timeline *t, const struct kad_item *item)
{
    struct record_following page;
    struct edges *e = &t->edges;
    if (memcmp(item->pk, e->at, KEY_SIZE) != 0 || record_get_following(item->v, &page))
        return;
    if (e->page == 0)
        store_edge_forget_from(t->store, e->at);
    for (size_t i = 0; i < page.n; i++) {
        struct store_edge edge = { .seq = item->seq };
        memcpy(edge.from, e->at, KEY_SIZE);
        memcpy(edge.to, page.keys + i * KEY_SIZE, KEY_SIZE);
        store_edge_put(t->store, &edge);
        if (i < PROFILES_MAX)
            fetch_name(t, edge.to);
    }
    if (page.n == RECORD_PAGE_KEYS && ++e->page < EDGES_PAGES_MAX) {
        uint8_t target[KAD_ID_SIZE];
        char buf[RECORD_SALT_SIZE];
        struct span salt = record_salt(buf, "following", e->page);
        kad_mutable_target(e->at, salt, target);
        e->n_pending += kad_get(t->kad, t->now, target, e->at, salt, tag_of(e, LOOKUP_PAGE)) == 0;
    }
}

void edges_event(struct timeline *t, const struct kad_event *ev)
{
    struct edges *e = &t->edges;
    if ((uint32_t)(ev->tag >> 2) != e->number)
        return;
    switch ((enum lookup)(ev->tag & 3)) {
    case LOOKUP_FOLLOWERS:
        edges_learn(t, e->at, ev->entries, ev->n_entries);
        break;
    case LOOKUP_PAGE:
        if (ev->kind == KAD_EVENT_GET && ev->status == 0 && ev->item)
            learn_page(t, ev->item);
        break;
    case LOOKUP_PROFILE: /* taken up where all values are */
        break;
    }
    if (ev->last && e->n_pending > 0 && --e->n_pending == 0)
        e->step_ms = t->now.mono_ms + STEP_MS;
}

/* ---- rounds -------------------------------------------------------------------------------------------- */

static void read_one(struct timeline *t, const struct follow *f)
{
    struct edges *e = &t->edges;
    uint8_t target[KAD_ID_SIZE];
    char buf[RECORD_SALT_SIZE];
    memcpy(e->at, f->who->pk, KEY_SIZE);
    e->number++;
    e->page = 0;
    e->n_pending = 0;
    record_followers_root(e->at, target);
    e->n_pending +=
        kad_set_get(t->kad, t->now, target, true, EDGES_PER_PERSON_MAX, tag_of(e, LOOKUP_FOLLOWERS)) == 0;
    struct span salt = record_salt(buf, "following", 0);
    kad_mutable_target(e->at, salt, target);
    e->n_pending += kad_get(t->kad, t->now, target, e->at, salt, tag_of(e, LOOKUP_PAGE)) == 0;
}

void edges_tick(struct timeline *t)
{
    struct edges *e = &t->edges;
    uint64_t now_ms = t->now.mono_ms;
    if (!t->ready)
        return;
    if (e->step_ms == NOW_NEVER && e->round_ms <= now_ms) {
        e->next = 0;
        e->step_ms = now_ms;
        e->round_ms = NOW_NEVER;
    }
    if (e->step_ms > now_ms)
        return;
    if (e->next >= t->follows.n) {
        e->step_ms = NOW_NEVER;
        e->round_ms = now_ms + e->pause_ms;
        e->pause_ms = e->pause_ms * 12 < EDGES_REFRESH_MS ? e->pause_ms * 12 : EDGES_REFRESH_MS;
        return;
    }
    read_one(t, t->follows.list[e->next++]);
    e->step_ms =
        now_ms + (e->n_pending ? 5000 : 1000); /* sooner when all is in; a full table of requests waits */
}

uint64_t edges_deadline_ms(const struct timeline *t)
{
    return t->ready && t->account.exists ? deadline_min(t->edges.round_ms, t->edges.step_ms) : NOW_NEVER;
}

/* ---- suggestions --------------------------------------------------------------------------------------- */

struct graph {
    struct suggest_edge *at;
    size_t n, cap;
};

static int add(struct graph *g, const uint8_t from[KEY_SIZE], const uint8_t to[KEY_SIZE])
{
    if (g->n == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 1024;
        struct suggest_edge *grown = realloc(g->at, cap * sizeof *grown);
        if (!grown)
            return CAM_ESYS;
        g->at = grown;
        g->cap = cap;
    }
    memcpy(g->at[g->n].from, from, KEY_SIZE);
    memcpy(g->at[g->n++].to, to, KEY_SIZE);
    return 0;
}

static int add_edge(void *ctx, const struct store_edge *e) { return add(ctx, e->from, e->to); }

struct names {
    struct timeline *t;
    char name[NAME_SIZE];
};

static const char *name_of(void *ctx, const uint8_t pk[KEY_SIZE])
{
    struct names *names = ctx;
    people_name(names->t, pk, names->name);
    return names->name;
}

void edges_suggest(struct timeline *t, const struct timeline_command *c)
{
    struct graph g = { .n = 0 };
    struct suggest_row rows[50];
    struct names names = { .t = t };
    size_t max = c->limit ? c->limit : 10, n = 0;
    if (max > sizeof rows / sizeof *rows)
        max = sizeof rows / sizeof *rows;
    int err = store_edge_each(t->store, SUGGEST_EDGES_MAX, add_edge, &g);
    for (size_t i = 0; i < t->follows.n && !err; i++)
        err = add(&g, t->account.pk, t->follows.list[i]->who->pk);
    for (size_t i = 0; i < t->follows.n_followers && !err; i++)
        err = add(&g, t->follows.followers[i]->who->pk, t->account.pk);
    if (!err) {
        struct suggest_input in = { .self = t->account.pk, .edges = g.at, .n_edges = g.n, .name_of = name_of,
                                    .ctx = &names };
        err = suggest_people(&in, rows, max, &n);
    }
    free(g.at);
    for (size_t i = 0; i < n && !err; i++) {
        struct timeline_row row = { .kind = TL_ROW_SUGGEST, .score = rows[i].score };
        answer_user(t, &row, rows[i].pk);
        memcpy(row.reason, rows[i].reason, sizeof row.reason);
        answer_row(t, c->client, &row);
    }
    if (err)
        answer_done(t, c->client, err, "no suggestions: %s", err_text(err));
    else if (n == 0)
        answer_done(t, c->client, 0,
                    "no suggestions yet: follow somebody first, they come from whom they follow");
    else
        answer_done(t, c->client, 0, "%s", "");
}
