#include "timeline/reading.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

/* One post as a row. False when its body does not decode: such a post is kept and relayed, not shown. */
static bool fill_row(struct timeline *t, const struct post_header *h, struct span body,
                     struct timeline_row *row)
{
    struct post_body decoded;
    if (post_body_decode(body, &decoded))
        return false;
    row->kind = TL_ROW_POST;
    answer_user(t, row, h->author);
    row->device = h->device;
    row->id = h->id;
    row->seq = h->seq;
    row->time_ms = post_time_ms(h);
    row->text = decoded.text;
    row->post_kind = h->kind;
    row->key_changed = people_key_changed(t, h->author);
    return true;
}

/* ---- a page -------------------------------------------------------------------------------------------- */

/* A post to be marked as read after the walk that found it: a callback may not write. */
struct shown {
    uint64_t key;
    uint8_t header[POST_HEADER_SIZE]; /* a copy: the store lends its own for the callback only */
};

static void mark_read(struct timeline *t, const struct shown *shown)
{
    struct store_post post = { .key = shown->key, .header = span(shown->header, POST_HEADER_SIZE) };
    store_mark_read(t->store, &post);
}

struct page {
    struct timeline *t;
    uint64_t client;
    struct shown *shown;
    size_t n;
};

static void set_via(struct timeline *t, struct timeline_row *row, const uint8_t pk[KEY_SIZE])
{
    memcpy(row->via, pk, KEY_SIZE);
    people_name(t, pk, row->via_name);
}

static int page_row(void *ctx, const struct store_post *post)
{
    struct page *page = ctx;
    struct post_header h;
    struct timeline_row row = { .unread = post->unread, .fork = post->fork, .has_via = post->has_via };
    if (post->has_via)
        set_via(page->t, &row, post->via);
    if (post_header_decode(post->header, &h) || !fill_row(page->t, &h, post->body, &row))
        return 0;
    answer_row(page->t, page->client, &row);
    if (post->unread) {
        struct shown *shown = &page->shown[page->n++];
        shown->key = post->key;
        memcpy(shown->header, post->header.data, POST_HEADER_SIZE);
    }
    return 0;
}

static void gap_rows(struct timeline *t, uint64_t client)
{
    uint32_t n = 0;
    for (size_t i = 0; i < t->follows.n && n < READING_GAPS_MAX; i++) {
        struct follow *f = t->follows.list[i];
        uint64_t missing = catchup_missing(t, f);
        if (missing == 0)
            continue;
        struct timeline_row row = { .kind = TL_ROW_GAP,
                                    .gaps = missing,
                                    .complete_to = feed_complete_to(&f->feed),
                                    .time_ms = f->feed.as_of_ms };
        answer_user(t, &row, f->who->pk);
        answer_row(t, client, &row);
        n++;
    }
}

static bool add_live(struct timeline *t, uint64_t client)
{
    for (size_t i = 0; i < READING_LIVE_MAX; i++)
        if (!t->reading.live[i].used) {
            t->reading.live[i].used = true;
            t->reading.live[i].client = client;
            t->reading.n_live++;
            return true;
        }
    return false;
}

void reading_command(struct timeline *t, const struct timeline_command *c)
{
    uint32_t limit = c->limit ? c->limit : READING_DEFAULT;
    if (limit > READING_LIMIT_MAX)
        limit = READING_LIMIT_MAX;
    struct page page = { .t = t, .client = c->client, .shown = calloc(limit, sizeof *page.shown) };
    if (!page.shown) {
        answer_done(t, c->client, CAM_ESYS, "out of memory");
        return;
    }
    if (c->before_id == 0)
        gap_rows(t, c->client);
    struct store_cursor before = { .id = c->before_id };
    int err = store_timeline(t->store, &before, c->unread_only, limit, page_row, &page);
    for (size_t i = 0; i < page.n; i++)
        mark_read(t, &page.shown[i]);
    free(page.shown);
    if (err)
        answer_done(t, c->client, err,
                    "the timeline cannot be read (%s): `camellia logout` and `camellia login` look at the "
                    "store again and say what is wrong", err_text(err));
    else if (!c->live)
        answer_done(t, c->client, 0, "%s", "");
    else if (!add_live(t, c->client))
        answer_done(t, c->client, CAM_EFULL, "too many are reading along (%d): end one", READING_LIVE_MAX);
}

/* ---- live ---------------------------------------------------------------------------------------------- */

void reading_cancel(struct timeline *t, uint64_t client)
{
    for (size_t i = 0; i < READING_LIVE_MAX; i++)
        if (t->reading.live[i].used && t->reading.live[i].client == client) {
            t->reading.live[i].used = false;
            t->reading.n_live--;
        }
}

void reading_new_post(struct timeline *t, uint64_t key, const struct feed_item *item, const uint8_t *via)
{
    if (t->reading.n_live == 0)
        return;
    struct timeline_row row = { .unread = !account_is(t, item->h.author), .fork = item->is_fork,
                                .has_via = via != NULL };
    if (via)
        set_via(t, &row, via);
    if (!fill_row(t, &item->h, item->body, &row))
        return;
    for (size_t i = 0; i < READING_LIVE_MAX; i++)
        if (t->reading.live[i].used)
            answer_row(t, t->reading.live[i].client, &row);
    struct store_post post = { .key = key, .header = item->header };
    if (row.unread)
        store_mark_read(t->store, &post); /* seen as it came */
}
