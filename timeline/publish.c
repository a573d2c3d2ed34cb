#include "timeline/publish_table.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

/* ---- signing ------------------------------------------------------------------------------------------- */

static bool is_entry(const struct own_record *r)
{
    return r->kind == PUBLISH_CLAIM || r->kind == PUBLISH_FOLLOW;
}

static void root_of(const struct timeline *t, const struct own_record *r, uint8_t ret[KAD_ID_SIZE])
{
    if (r->kind == PUBLISH_CLAIM)
        record_name_root(t->account.name, ret);
    else
        record_followers_root(r->pk, ret);
}

/* Makes the record say what is true now. A seq is the time, or one more than the last where that is later. */
static int make(struct timeline *t, struct own_record *r)
{
    uint8_t value[KAD_OWN_VALUE_MAX];
    struct bytes_out out = bytes_out(value, sizeof value);
    int err = publish_value(t, r, &out);
    if (err)
        return err;
    if (r->kind == PUBLISH_CONNECTION && (r->value_size == 0 || publish_connection_is_wrong(t)))
        timeline_greet(t);
    memcpy(r->value, value, out.size);
    r->value_size = out.size;
    r->made_s = now_unix_s(t->now);
    r->seq = r->made_s > r->seq ? r->made_s : r->seq + 1;
    if (is_entry(r)) {
        uint8_t root[KAD_ID_SIZE];
        root_of(t, r, root);
        struct kad_entry entry = publish_entry_of(t, r);
        err = kad_entry_sign(&entry, root, t->account.identity);
        memcpy(r->sig, entry.sig, SIG_SIZE);
    } else {
        struct kad_item item = publish_item_of(t, r);
        err = kad_item_sign(&item, t->account.identity);
        memcpy(r->sig, item.sig, SIG_SIZE);
    }
    r->is_stale = false;
    r->put_s = 0;
    r->holders = 0;
    r->wait_ms = 0;
    publish_save(t, r);
    return err;
}

void publish_want(struct timeline *t, enum publish_kind kind, uint16_t page, const uint8_t *pk,
                  uint64_t after_ms)
{
    struct own_record *r = publish_take(t, kind, page, pk);
    if (!r)
        return;
    uint64_t at_ms = t->now.mono_ms + after_ms;
    if (r->is_stale && r->due_ms <= at_ms)
        return;
    r->is_stale = true;
    publish_due(t, r, at_ms);
}

int publish_follow(struct timeline *t, const uint8_t pk[KEY_SIZE], bool is_deleted)
{
    if (!t->account.identity)
        return CAM_ELOCKED;
    struct own_record *r = publish_take(t, PUBLISH_FOLLOW, 0, pk);
    if (!r)
        return CAM_EFULL;
    r->is_deleted = is_deleted;
    int err = make(t, r);
    publish_due(t, r, t->now.mono_ms);
    return err;
}

void publish_address_changed(struct timeline *t)
{
    struct own_record *r;
    publish_want(t, PUBLISH_CONNECTION, t->account.device, NULL, 0);
    /* The hints in follow entries only help to find us: after what is needed first, spread over some seconds.
     */
    uint64_t after_ms = 2000;
    for (size_t i = 0; (r = keymap_next(&t->publish.follows, &i)); after_ms += 20)
        if (!r->is_deleted)
            publish_want(t, PUBLISH_FOLLOW, 0, r->pk, after_ms);
}

void publish_review(struct timeline *t)
{
    struct own_record *r;
    for (struct publish_walk w = { 0 }; (r = publish_walk_next(&t->publish, &w));) {
        r->wait_ms = 0;
        publish_due(t, r, t->now.mono_ms);
    }
}

/* ---- putting ------------------------------------------------------------------------------------------- */

/* Holders that are enough: half of the network while it is small. */
static uint32_t enough(struct timeline *t)
{
    struct kad_stats stats;
    kad_stats(t->kad, &stats);
    uint32_t half = stats.contacts / 2;
    return half < 1 ? 1 : half > PUBLISH_ENOUGH ? PUBLISH_ENOUGH : half;
}

static void put(struct timeline *t, struct own_record *r)
{
    uint64_t tag = request_tag(REQUEST_PUBLISH, r->number);
    int err;
    if (is_entry(r)) {
        uint8_t root[KAD_ID_SIZE];
        root_of(t, r, root);
        struct kad_entry entry = publish_entry_of(t, r);
        err = kad_set_put(t->kad, t->now, root, &entry, tag);
    } else {
        struct kad_item item = publish_item_of(t, r);
        err = kad_put(t->kad, t->now, &item, NULL, tag);
    }
    if (err) {
        publish_due(t, r, t->now.mono_ms + PUBLISH_RETRY_MS);
        return;
    }
    r->is_putting = true;
    r->due_ms = NOW_NEVER;
    t->publish.n_running++;
}

static uint32_t back_off(struct own_record *r, uint32_t first_ms, uint32_t max_ms)
{
    r->wait_ms = r->wait_ms ? r->wait_ms * 2 : first_ms;
    if (r->wait_ms > max_ms)
        r->wait_ms = max_ms;
    return r->wait_ms;
}

static void drop_tombstone(struct timeline *t, struct own_record *r)
{
    store_own_remove(t->store, (uint8_t)r->kind, r->page, r->pk);
    keymap_remove(&t->publish.follows, r->pk);
    free(r);
}

/* The transition function: what is to be done about a record whose time has come. */
static void step(struct timeline *t, struct own_record *r)
{
    uint64_t now_ms = t->now.mono_ms;
    int64_t now_s = now_unix_s(t->now);
    if (r->is_putting) {
        r->due_ms = NOW_NEVER; /* its event is the next thing that happens */
        return;
    }
    int64_t fresh_until_s = r->made_s + publish_refresh_s(r->kind);
    if (r->value_size && !r->is_deleted && fresh_until_s <= now_s)
        r->is_stale = true;
    if (r->is_stale && t->account.identity) {
        int err = make(t, r);
        if (err == CAM_EAGAIN) { /* our address is not known: account_readdress asks again */
            r->due_ms = NOW_NEVER;
            return;
        }
        fresh_until_s = r->made_s + publish_refresh_s(r->kind);
    }
    if (r->value_size == 0 || kad_value_expires_s(span(r->value, r->value_size)) <= now_s) {
        r->due_ms = NOW_NEVER; /* nothing that holders would take: login makes it anew */
        return;
    }
    if (r->put_s == 0 || r->holders < enough(t)) {
        if (!t->ready)
            r->due_ms = NOW_NEVER; /* publish_review */
        else if (t->publish.n_running >= PUBLISH_RUNNING_MAX)
            publish_due(t, r, now_ms + 50);
        else
            put(t, r);
        return;
    }
    uint64_t next_ms = fresh_until_s > now_s ? now_ms + (uint64_t)(fresh_until_s - now_s) * 1000 : NOW_NEVER;
    if (r->is_deleted)
        next_ms = NOW_NEVER;
    if (r->holders < PUBLISH_ENOUGH) /* the network may grow under it */
        next_ms = deadline_min(next_ms, now_ms + back_off(r, PUBLISH_LOOK_MS, PUBLISH_RETRY_MAX_MS));
    publish_due(t, r, next_ms);
}

void publish_event(struct timeline *t, const struct kad_event *e)
{
    if (!e->last)
        return;
    if (t->publish.n_running > 0)
        t->publish.n_running--;
    struct own_record *r;
    uint32_t number = (uint32_t)e->tag;
    for (struct publish_walk w = { 0 }; (r = publish_walk_next(&t->publish, &w));)
        if (r->number == number)
            break;
    if (!r)
        return;
    r->is_putting = false;
    if ((e->status == CAM_ESTALE || e->status == CAM_ECAS) && e->newer_seq >= r->seq) {
        r->seq = e->newer_seq; /* an earlier life of this home wrote more than it remembers */
        r->is_stale = true;
        publish_due(t, r, t->now.mono_ms);
        return;
    }
    if (r->is_stale && t->account.identity) {
        publish_due(t, r, t->now.mono_ms);
        return;
    }
    r->holders = e->holders;
    if (e->holders > 0) {
        if (r->kind == PUBLISH_CLAIM)
            account_claimed(t);
        op_published(t, r->kind, r->pk);
    }
    if (e->holders >= enough(t)) {
        r->put_s = now_unix_s(t->now);
        r->wait_ms = 0;
        publish_save(t, r);
        publish_due(t, r, t->now.mono_ms); /* step says when it is next needed */
    } else {
        publish_due(t, r, t->now.mono_ms + back_off(r, PUBLISH_RETRY_MS, PUBLISH_RETRY_MAX_MS));
    }
}

void publish_tick(struct timeline *t)
{
    struct publish *p = &t->publish;
    if (t->now.mono_ms < p->due_ms)
        return;
    struct own_record *r, *dead = NULL;
    for (struct publish_walk w = { 0 }; (r = publish_walk_next(p, &w));) {
        if (r->due_ms <= t->now.mono_ms)
            step(t, r);
        if (r->is_deleted && !r->is_putting && r->made_s + RECORD_LIFE_FOLLOW_S < now_unix_s(t->now))
            dead = r; /* one a walk: removing disturbs it */
    }
    if (dead)
        drop_tombstone(t, dead);
    p->due_ms = NOW_NEVER;
    for (struct publish_walk w = { 0 }; (r = publish_walk_next(p, &w));)
        p->due_ms = deadline_min(p->due_ms, r->due_ms);
}

uint64_t publish_deadline_ms(const struct timeline *t) { return t->publish.due_ms; }
