/* The table of our own records: kept in memory and in the store, looked into by those who need what they say.
 */
#include "timeline/publish_table.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

/* ---- the table ----------------------------------------------------------------------------------------- */

void publish_init(struct timeline *t)
{
    t->publish = (struct publish){ .due_ms = NOW_NEVER, .next_number = t->publish.next_number };
    keymap_init(&t->publish.follows, &t->rng);
}

struct own_record *publish_walk_next(struct publish *p, struct publish_walk *w)
{
    while (w->fixed < 4 + PUBLISH_PAGES_MAX) {
        size_t i = w->fixed++;
        struct own_record *r = i == 0   ? p->profile
                               : i == 1 ? p->connection
                               : i == 2 ? p->head
                               : i == 3 ? p->claim
                                        : p->pages[i - 4];
        if (r)
            return r;
    }
    return keymap_next(&p->follows, &w->in_map);
}

void publish_clear(struct timeline *t)
{
    struct own_record *r;
    for (struct publish_walk w = { 0 }; (r = publish_walk_next(&t->publish, &w));)
        free(r);
    keymap_clear(&t->publish.follows);
    publish_init(t);
}

static struct own_record **place_of(struct publish *p, enum publish_kind kind, uint16_t page)
{
    switch (kind) {
    case PUBLISH_PROFILE: return &p->profile;
    case PUBLISH_CONNECTION: return &p->connection;
    case PUBLISH_HEAD: return &p->head;
    case PUBLISH_CLAIM: return &p->claim;
    case PUBLISH_FOLLOWING: return page < PUBLISH_PAGES_MAX ? &p->pages[page] : NULL;
    case PUBLISH_FOLLOW: break;
    }
    return NULL;
}

static void set_salt(struct own_record *r)
{
    const char *what = r->kind == PUBLISH_CONNECTION ? "connections"
                       : r->kind == PUBLISH_HEAD     ? "head"
                                                     : "following";
    if (r->kind == PUBLISH_PROFILE) {
        strcpy(r->salt, "public");
        r->salt_size = strlen(r->salt);
    } else {
        r->salt_size = record_salt(r->salt, what, r->page).size;
    }
}

struct own_record *publish_find(struct publish *p, enum publish_kind kind, uint16_t page, const uint8_t *pk)
{
    if (kind == PUBLISH_FOLLOW)
        return keymap_get(&p->follows, pk);
    struct own_record **place = place_of(p, kind, page);
    return place ? *place : NULL;
}

struct own_record *publish_take(struct timeline *t, enum publish_kind kind, uint16_t page, const uint8_t *pk)
{
    struct publish *p = &t->publish;
    struct own_record *r = publish_find(p, kind, page, pk);
    if (r)
        return r;
    struct own_record **place = place_of(p, kind, page);
    if (kind == PUBLISH_FOLLOW ? p->follows.n >= 2 * FOLLOWS_MAX : !place) /* twice: tombstones linger */
        return NULL;
    r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->kind = kind;
    r->page = page;
    r->due_ms = NOW_NEVER;
    r->number = ++p->next_number;
    set_salt(r);
    if (kind == PUBLISH_FOLLOW) {
        memcpy(r->pk, pk, KEY_SIZE);
        if (keymap_put(&p->follows, r->pk, r)) {
            free(r);
            return NULL;
        }
    } else {
        *place = r;
    }
    return r;
}

void publish_due(struct timeline *t, struct own_record *r, uint64_t at_ms)
{
    r->due_ms = at_ms;
    t->publish.due_ms = deadline_min(t->publish.due_ms, at_ms);
}

static int load_one(void *ctx, const struct store_own *row)
{
    struct timeline *t = ctx;
    if (row->kind < PUBLISH_PROFILE || row->kind > PUBLISH_FOLLOW || row->value.size > KAD_OWN_VALUE_MAX)
        return 0;
    struct own_record *r = publish_take(t, row->kind, row->page, row->pk);
    if (!r)
        return 0;
    memcpy(r->value, row->value.data, row->value.size);
    r->value_size = row->value.size;
    r->seq = row->seq;
    memcpy(r->sig, row->sig, SIG_SIZE);
    r->made_s = row->made_s;
    r->put_s = row->put_s;
    r->holders = row->holders;
    struct record_follow f;
    r->is_deleted = r->kind == PUBLISH_FOLLOW && record_get_follow(row->value, &f) == 0 && f.deleted;
    publish_due(t, r, t->now.mono_ms);
    return 0;
}

int publish_load(struct timeline *t) { return store_own_each(t->store, load_one, t); }

void publish_save(struct timeline *t, const struct own_record *r)
{
    struct store_own row = { .kind = (uint8_t)r->kind, .page = r->page, .seq = r->seq,
                             .value = span(r->value, r->value_size), .made_s = r->made_s, .put_s = r->put_s,
                             .holders = r->holders };
    memcpy(row.pk, r->pk, KEY_SIZE);
    memcpy(row.sig, r->sig, SIG_SIZE);
    store_own_put(t->store, &row);
}

struct kad_item publish_item_of(const struct timeline *t, const struct own_record *r)
{
    struct kad_item item = { .is_mutable = true, .salt = span(r->salt, r->salt_size), .seq = r->seq,
                             .v = span(r->value, r->value_size) };
    memcpy(item.pk, t->account.pk, KEY_SIZE);
    memcpy(item.sig, r->sig, SIG_SIZE);
    return item;
}

struct kad_entry publish_entry_of(const struct timeline *t, const struct own_record *r)
{
    struct kad_entry entry = { .seq = r->seq, .v = span(r->value, r->value_size) };
    memcpy(entry.pk, t->account.pk, KEY_SIZE);
    memcpy(entry.sig, r->sig, SIG_SIZE);
    return entry;
}

/* ---- what others of us need ---------------------------------------------------------------------------- */

bool publish_connection(struct timeline *t, struct kad_item *ret_item)
{
    const struct own_record *r = t->publish.connection;
    if (!r || r->value_size == 0)
        return false;
    *ret_item = publish_item_of(t, r);
    return true;
}

int64_t publish_connection_seq(const struct timeline *t)
{
    const struct own_record *r = t->publish.connection;
    return r && r->value_size ? r->seq : 0;
}

bool publish_connection_is_wrong(const struct timeline *t)
{
    const struct own_record *r = t->publish.connection;
    struct record_connection c;
    return r && r->value_size && t->account.address.family &&
           (record_get_connection(span(r->value, r->value_size), &c) ||
            !addr_equal(&c.addr, &t->account.address));
}

bool publish_follow_entry(struct timeline *t, const uint8_t pk[KEY_SIZE], struct kad_entry *ret_entry)
{
    const struct own_record *r = publish_find(&t->publish, PUBLISH_FOLLOW, 0, pk);
    if (!r || r->value_size == 0)
        return false;
    *ret_entry = publish_entry_of(t, r);
    return true;
}

bool publish_follow_is_kept(struct timeline *t, const uint8_t pk[KEY_SIZE])
{
    const struct own_record *r = publish_find(&t->publish, PUBLISH_FOLLOW, 0, pk);
    return r && r->holders > 0;
}
