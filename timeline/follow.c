#include "timeline/follow.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

/* ---- life ---------------------------------------------------------------------------------------------- */

void follows_init(struct timeline *t) { t->follows = (struct follows){ .mirror_ms = NOW_NEVER }; }

void follows_clear(struct timeline *t)
{
    struct follows *fs = &t->follows;
    for (size_t i = 0; i < fs->n; i++) {
        free(fs->list[i]->chase);
        free(fs->list[i]);
    }
    for (size_t i = 0; i < fs->n_followers; i++)
        free(fs->followers[i]);
    free(fs->list);
    free(fs->followers);
    follows_init(t);
}

/* Room for one more pointer in a list that grows by doubling. */
static int reserve(void *list_of_pointers, size_t n, size_t *cap)
{
    void ***list = list_of_pointers;
    if (n < *cap)
        return 0;
    size_t more = *cap ? *cap * 2 : 16;
    void **grown = realloc(*list, more * sizeof **list);
    if (!grown)
        return CAM_ESYS;
    *list = grown;
    *cap = more;
    return 0;
}

/* Puts a follow into the table; not yet into the store. */
static int take_follow(struct timeline *t, const uint8_t pk[KEY_SIZE], bool is_private, uint64_t since_ms,
                       struct follow **ret)
{
    struct follows *fs = &t->follows;
    if (fs->n >= FOLLOWS_MAX || reserve(&fs->list, fs->n, &fs->cap))
        return CAM_EFULL;
    struct person *p = people_take(t, pk);
    struct follow *f = calloc(1, sizeof *f);
    if (!p || !f) {
        free(f);
        return CAM_EFULL;
    }
    int err = store_feed_load(t->store, pk, 0, &f->feed);
    if (err == CAM_ENOENT)
        feed_init(&f->feed, pk, 0);
    else if (err) {
        free(f);
        return err;
    }
    f->who = p;
    f->is_private = is_private;
    f->since_ms = since_ms;
    f->chase_after_ms = NOW_NEVER;
    f->at = fs->n;
    fs->list[fs->n++] = f;
    bool was_guest = person_is_guest(p);
    p->follow = f;
    people_settle(t, p, was_guest);
    *ret = f;
    return 0;
}

static int take_follower(struct timeline *t, const struct store_follower *row, struct follower **ret)
{
    struct follows *fs = &t->follows;
    if (fs->n_followers >= FOLLOWERS_MAX || reserve(&fs->followers, fs->n_followers, &fs->cap_followers))
        return CAM_EFULL;
    struct person *p = people_take(t, row->pk);
    struct follower *f = calloc(1, sizeof *f);
    if (!p || !f) {
        free(f);
        return CAM_EFULL;
    }
    *f = (struct follower){ .who = p,
                            .seq = row->seq,
                            .expires_s = row->expires_s,
                            .since_ms = row->since_ms,
                            .start_seq = row->start_seq,
                            .acked_seq = row->acked_seq,
                            .sent_seq = row->acked_seq,
                            .due_ms = NOW_NEVER,
                            .at = fs->n_followers };
    fs->followers[fs->n_followers++] = f;
    bool was_guest = person_is_guest(p);
    p->follower = f;
    people_settle(t, p, was_guest);
    *ret = f;
    return 0;
}

static int load_follow(void *ctx, const struct store_follow *row)
{
    struct follow *ignored;
    int err = take_follow(ctx, row->pk, row->is_private, row->since_ms, &ignored);
    return err == CAM_EFULL ? 0 : err;
}

static int load_follower(void *ctx, const struct store_follower *row)
{
    struct follower *ignored;
    take_follower(ctx, row, &ignored);
    return 0;
}

int follows_load(struct timeline *t)
{
    int err = store_follow_each(t->store, load_follow, t);
    if (!err)
        err = store_follower_each(t->store, load_follower, t);
    if (t->account.exists)
        t->follows.mirror_ms = t->now.mono_ms;
    return err;
}

/* ---- whom we follow ------------------------------------------------------------------------------------ */

struct follow *follow_find(struct timeline *t, const uint8_t pk[KEY_SIZE])
{
    struct person *p = people_find(t, pk);
    return p ? p->follow : NULL;
}

static void republish_from(struct timeline *t, size_t at)
{
    for (size_t page = at / RECORD_PAGE_KEYS; page <= t->follows.n / RECORD_PAGE_KEYS; page++)
        publish_want(t, PUBLISH_FOLLOWING, (uint16_t)page, NULL, 300);
    publish_want(t, PUBLISH_PROFILE, 0, NULL, 1000);
}

int follow_add(struct timeline *t, const uint8_t pk[KEY_SIZE], bool is_private)
{
    struct follows *fs = &t->follows;
    if (account_is(t, pk))
        return CAM_EINVAL;
    if (!t->account.identity)
        return CAM_ELOCKED;
    if (follow_find(t, pk))
        return 0;

    uint64_t since_ms = t->now.wall_ms; /* rising, so that the order is the same after a restart */
    if (fs->n && since_ms <= fs->list[fs->n - 1]->since_ms)
        since_ms = fs->list[fs->n - 1]->since_ms + 1;
    struct follow *f;
    int err = take_follow(t, pk, is_private, since_ms, &f);
    if (err)
        return err;
    struct store_follow row = { .is_private = is_private, .since_ms = since_ms };
    memcpy(row.pk, pk, KEY_SIZE);
    store_follow_put(t->store, &row);
    store_author_role(t->store, pk, STORE_FOLLOWED);
    t->roles_lag = true;
    f->is_new = true;
    if (!is_private) {
        err = publish_follow(t, pk, false);
        republish_from(t, f->at);
        follow_tell(t, f);
    }
    catchup_start(t, f);
    edges_soon(t);
    return err;
}

int follow_drop(struct timeline *t, const uint8_t pk[KEY_SIZE])
{
    struct follows *fs = &t->follows;
    struct follow *f = follow_find(t, pk);
    if (!f)
        return CAM_ENOENT;
    if (!t->account.identity)
        return CAM_ELOCKED;
    int err = f->is_private ? 0 : publish_follow(t, pk, true);
    if (err)
        return err;
    if (!f->is_private)
        follow_tell(t, f);
    catchup_end(t, f);
    store_follow_remove(t->store, pk);
    store_author_role(t->store, pk, STORE_HIDDEN);
    t->roles_lag = true;

    if (f->feed_dirty)
        store_feed_save(t->store, &f->feed);
    for (struct follow **link = &fs->touched; *link; link = &(*link)->next_touched)
        if (*link == f) {
            *link = f->next_touched;
            break;
        }
    size_t at = f->at;
    memmove(&fs->list[at], &fs->list[at + 1], (fs->n - at - 1) * sizeof *fs->list);
    fs->n--;
    for (size_t i = at; i < fs->n; i++)
        fs->list[i]->at = i;
    f->who->follow = NULL;
    people_settle(t, f->who, false);
    bool was_private = f->is_private;
    free(f);
    if (!was_private)
        republish_from(t, at);
    return 0;
}

void follow_tell(struct timeline *t, struct follow *f)
{
    struct message m = { .kind = MESSAGE_FOLLOW };
    const struct link_dest *to = person_dest(f->who);
    if (f->is_private || !to || !publish_follow_entry(t, f->who->pk, &m.follow.entry) ||
        m.follow.entry.seq == (int64_t)f->told_seq)
        return;
    if (links_send_message(t, to, &m, true) == 0)
        f->told_seq = (uint64_t)m.follow.entry.seq;
}

void follow_touched(struct timeline *t, struct follow *f, bool feed_dirty)
{
    f->feed_dirty |= feed_dirty;
    if (f->is_touched)
        return;
    f->is_touched = true;
    f->next_touched = t->follows.touched;
    t->follows.touched = f;
}

/* ---- who follows us ------------------------------------------------------------------------------------ */

void follower_touched(struct timeline *t, struct follower *f)
{
    if (f->is_touched)
        return;
    f->is_touched = true;
    f->next_touched = t->follows.touched_followers;
    t->follows.touched_followers = f;
}

static void save_follower(struct timeline *t, const struct follower *f)
{
    struct store_follower row = { .seq = f->seq, .expires_s = f->expires_s, .since_ms = f->since_ms,
                                  .start_seq = f->start_seq, .acked_seq = f->acked_seq };
    memcpy(row.pk, f->who->pk, KEY_SIZE);
    store_follower_put(t->store, &row);
}

static void remove_follower(struct timeline *t, struct follower *f)
{
    struct follows *fs = &t->follows;
    for (struct follower **link = &fs->touched_followers; *link; link = &(*link)->next_touched)
        if (*link == f) {
            *link = f->next_touched;
            break;
        }
    store_follower_remove(t->store, f->who->pk);
    struct follower *last = fs->followers[--fs->n_followers];
    fs->followers[f->at] = last;
    last->at = f->at;
    f->who->follower = NULL;
    people_settle(t, f->who, false);
    free(f);
}

int follower_learn(struct timeline *t, const struct kad_entry *entry)
{
    struct record_follow record;
    if (!t->account.exists || account_is(t, entry->pk))
        return CAM_EINVAL;
    if (record_get_follow(entry->v, &record))
        return CAM_EFORMAT;
    struct person *p = people_find(t, entry->pk);
    struct follower *f = p ? p->follower : NULL;
    if (f && entry->seq <= f->seq)
        return entry->seq == f->seq ? CAM_EDUP : CAM_ESTALE;
    if (record.deleted || (clock_is_set(t) && record.expires_s < now_unix_s(t->now))) {
        if (f) {
            remove_follower(t, f);
            publish_want(t, PUBLISH_PROFILE, 0, NULL, 5000);
        }
        return 0;
    }
    bool is_new = !f;
    if (is_new) {
        uint64_t head = t->account.feed.known_seq;
        struct store_follower row = { .since_ms = t->now.wall_ms, .start_seq = head, .acked_seq = head };
        memcpy(row.pk, entry->pk, KEY_SIZE);
        int err = take_follower(t, &row, &f);
        if (err)
            return err;
        publish_want(t, PUBLISH_PROFILE, 0, NULL, 5000);
    }
    f->seq = entry->seq;
    /* No longer than the network would keep it: whoever is gone holds a place for a month at most. */
    int64_t last_s = now_unix_s(t->now) + RECORD_LIFE_FOLLOW_S;
    f->expires_s = record.expires_s < last_s || !clock_is_set(t) ? record.expires_s : last_s;
    follower_touched(t, f);
    people_learn_entry(t, entry->pk, &record, entry->seq);
    if (is_new && person_dest(f->who)) /* what it is not owed it may still lack: it compares */
        catchup_tell_head(t, person_dest(f->who));
    return 0;
}

int follower_message(struct timeline *t, const struct message_follow *m)
{
    const struct kad_entry *entry = &m->entry;
    if (!t->account.exists)
        return CAM_EREFUSED;
    /* Cheapest first: what is known already is not verified again. */
    struct person *p = people_find(t, entry->pk);
    if (p && p->follower && entry->seq <= p->follower->seq)
        return entry->seq == p->follower->seq ? CAM_EDUP : CAM_ESTALE;
    uint8_t root[KAD_ID_SIZE];
    record_followers_root(t->account.pk, root);
    int err = kad_entry_verify(entry, root);
    if (!err && !(p && p->follower) && !kad_entry_is_tombstone(entry) && !links_may_follow(t))
        return CAM_EREFUSED; /* the mirror finds it */
    return err ? err : follower_learn(t, entry);
}

/* ---- the mirror and the turn's end --------------------------------------------------------------------- */

void follows_mirror_event(struct timeline *t, const struct kad_event *e)
{
    for (size_t i = 0; i < e->n_entries; i++)
        follower_learn(t, &e->entries[i]);
    if (!e->last)
        return;
    t->follows.mirror_running = false;
    t->follows.mirror_ms = t->now.mono_ms + (e->status == CAM_ENET ? MIRROR_RETRY_MS : MIRROR_MS);
}

static void read_mirror(struct timeline *t)
{
    struct follows *fs = &t->follows;
    int64_t now_s = now_unix_s(t->now);
    for (size_t i = clock_is_set(t) ? fs->n_followers : 0; i-- > 0;)
        if (fs->followers[i]->expires_s < now_s)
            remove_follower(t, fs->followers[i]); /* not refreshed for a month: gone without a word */
    if (!t->ready) {
        fs->mirror_ms = NOW_NEVER; /* the first contact sets it again */
        return;
    }
    uint8_t root[KAD_ID_SIZE];
    record_followers_root(t->account.pk, root);
    fs->mirror_running =
        kad_set_get(t->kad, t->now, root, false, FOLLOWERS_MAX, request_tag(REQUEST_MIRROR, 0)) == 0;
    fs->mirror_ms = t->now.mono_ms + MIRROR_RETRY_MS;
}

void follows_tick(struct timeline *t)
{
    struct follows *fs = &t->follows;
    if (t->account.exists && !fs->mirror_running && fs->mirror_ms <= t->now.mono_ms && !is_quiet(t))
        read_mirror(t);
    while (fs->touched) {
        struct follow *f = fs->touched;
        fs->touched = f->next_touched;
        f->is_touched = false;
        if (f->feed_dirty)
            store_feed_save(t->store, &f->feed);
        f->feed_dirty = false;
    }
    while (fs->touched_followers) {
        struct follower *f = fs->touched_followers;
        fs->touched_followers = f->next_touched;
        f->is_touched = false;
        save_follower(t, f);
    }
}

uint64_t follows_deadline_ms(const struct timeline *t)
{
    return t->account.exists && !t->follows.mirror_running ? t->follows.mirror_ms : NOW_NEVER;
}
