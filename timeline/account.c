#include "timeline/account.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/text.h"
#include "timeline/state.h"

/* ---- life ---------------------------------------------------------------------------------------------- */

void account_init(struct timeline *t)
{
    t->account = (struct account){ .claim_ms = NOW_NEVER };
}

static struct identity *identity_copy(const struct identity *from)
{
    struct identity *copy = sodium_malloc(sizeof *copy); /* locked memory, as identity_new's */
    if (copy)
        memcpy(copy, from, sizeof *copy);
    return copy;
}

void account_clear(struct timeline *t)
{
    identity_free(t->account.identity);
    account_init(t);
}

bool account_is(const struct timeline *t, const uint8_t pk[KEY_SIZE])
{
    return t->account.exists && memcmp(t->account.pk, pk, KEY_SIZE) == 0;
}

/* Our own feed and the last id that was given out. */
static int load_feed(struct timeline *t)
{
    struct account *a = &t->account;
    int err = store_feed_load(t->store, a->pk, a->device, &a->feed);
    if (err == CAM_ENOENT) {
        feed_init(&a->feed, a->pk, a->device);
        err = 0;
    }
    snowflake_init(&a->ids, a->feed.known_id);
    return err;
}

int account_load(struct timeline *t)
{
    struct account *a = &t->account;
    struct store_account row;
    int err = store_account_get(t->store, &row);
    if (err == CAM_ENOENT)
        return 0;
    if (err)
        return err;
    a->exists = true;
    memcpy(a->pk, row.pk, KEY_SIZE);
    memcpy(a->name, row.name, NAME_SIZE);
    a->device = row.device;
    a->instance = row.instance;
    a->created_ms = row.created_ms;
    a->name_state = row.name_state == NAME_CLAIMED || row.name_state == NAME_TAKEN
                        ? (enum name_state)row.name_state
                        : NAME_PENDING;
    memcpy(a->taken_by, row.taken_by, KEY_SIZE);
    a->claim_ms = a->name_state == NAME_PENDING ? t->now.mono_ms : NOW_NEVER;
    return load_feed(t);
}

static int save(struct timeline *t)
{
    const struct account *a = &t->account;
    struct store_account row = { .device = a->device, .instance = a->instance, .created_ms = a->created_ms,
                                 .name_state = a->name_state };
    memcpy(row.pk, a->pk, KEY_SIZE);
    memcpy(row.name, a->name, NAME_SIZE);
    memcpy(row.taken_by, a->taken_by, KEY_SIZE);
    return store_account_put(t->store, &row);
}

int account_create(struct timeline *t, const struct identity *identity, const char *name, uint16_t device)
{
    struct account *a = &t->account;
    struct identity *copy = identity_copy(identity);
    if (!copy)
        return CAM_ESYS;
    a->exists = true;
    memcpy(a->pk, identity->pk, KEY_SIZE);
    strncpy(a->name, name, NAME_SIZE - 1);
    a->device = device;
    a->instance = rng_u64(&t->rng) >> 1;
    a->created_ms = t->now.wall_ms;
    a->name_state = NAME_PENDING;
    a->identity = copy;
    a->claim_ms = t->now.mono_ms;
    int err = save(t);
    if (!err)
        err = store_author_role(t->store, a->pk, STORE_OWN);
    if (!err)
        err = load_feed(t);
    return err;
}

int account_unlock(struct timeline *t, const struct identity *identity)
{
    struct account *a = &t->account;
    if (!a->exists || memcmp(a->pk, identity->pk, KEY_SIZE) != 0)
        return CAM_EREFUSED;
    if (a->identity)
        return 0;
    a->identity = identity_copy(identity);
    if (!a->identity)
        return CAM_ESYS;
    if (a->name_state == NAME_PENDING)
        a->claim_ms = t->now.mono_ms;
    return 0;
}

void account_begin(struct timeline *t)
{
    account_readdress(t);
    publish_want(t, PUBLISH_PROFILE, 0, NULL, 0);
    publish_want(t, PUBLISH_CONNECTION, t->account.device, NULL, 0);
    publish_want(t, PUBLISH_HEAD, t->account.device, NULL, 500);
    publish_review(t);
    collector_start(&t->collector, t->now);
    t->follows.mirror_ms = t->now.mono_ms;
    catchup_all(t);
    edges_soon(t);
}

void account_row(struct timeline *t, struct timeline_row *row)
{
    const struct account *a = &t->account;
    memcpy(row->user.pk, a->pk, KEY_SIZE);
    memcpy(row->user.name, a->name, NAME_SIZE);
    row->device = a->device;
    row->address = a->address;
    row->locked = a->identity == NULL;
    row->name_pending = a->name_state != NAME_CLAIMED;
}

void account_lock(struct timeline *t)
{
    identity_free(t->account.identity);
    t->account.identity = NULL;
}

void account_readdress(struct timeline *t)
{
    struct addr address = t->config.listen;
    if (addr_is_any(&address)) {
        struct addr seen = kad_self_addr(t->kad);
        if (seen.family == 0)
            return; /* nobody has told us yet; what we had stays */
        address = seen;
        address.port = t->config.listen.port;
    }
    if (addr_equal(&address, &t->account.address))
        return;
    t->account.address = address;
    if (t->account.exists)
        publish_address_changed(t);
}

/* ---- posts --------------------------------------------------------------------------------------------- */

int account_post(struct timeline *t, struct span text, uint64_t *ret_id, uint64_t *ret_seq)
{
    struct account *a = &t->account;
    if (!a->identity)
        return CAM_ELOCKED;
    if (text.size == 0)
        return CAM_EINVAL;
    if (text.size > TIMELINE_TEXT_MAX)
        return CAM_ETOOBIG;
    int err = text_check_post(text.data, text.size);
    if (err)
        return err;

    uint8_t body[POST_BODY_MAX], header[POST_HEADER_SIZE];
    struct bytes_out out = bytes_out(body, sizeof body);
    post_body_encode(&out, &(struct post_body){ .text = text });
    if (out.err)
        return CAM_ETOOBIG;

    struct snowflake ids = a->ids;
    struct post_header h = { .kind = POST_KIND_POST, .device = a->device, .seq = a->feed.known_seq + 1 };
    err = snowflake_next(&ids, a->device, t->now.wall_ms, &h.id);
    if (!err && post_time_ms(&h) > t->now.wall_ms + FEED_HOLD_MS)
        err = CAM_EFUTURE; /* every follower would refuse it until then */
    if (err)
        return err;
    memcpy(h.prev, a->feed.known_hash, HASH_SIZE); /* zero before the first */
    post_header_set_body(&h, span(body, out.size));
    post_header_sign(&h, a->identity, header);

    /* No feed_check_run: what was signed a line above needs no proof, and verifying it would cost as much as
     * everything else together. */
    struct feed_item item = { .header = span(header, sizeof header),
                              .state = POST_HELD,
                              .body = span(body, out.size),
                              .h = h,
                              .is_new = true,
                              .is_shown = true };
    post_hash(header, item.hash);
    if (a->feed.store_key == 0 && (err = store_feed_save(t->store, &a->feed)))
        return err;
    err = store_post_put(t->store, &a->feed, &item, t->now.wall_ms, NULL);
    if (err)
        return err;
    feed_apply_run(&a->feed, &item, 1, NULL);
    a->feed_dirty = true;
    a->ids = ids;

    outbox_posted(t);
    reading_new_post(t, store_post_key(&a->feed, item.h.seq), &item, NULL);
    publish_want(t, PUBLISH_HEAD, a->device, NULL, 2000);
    *ret_id = h.id;
    *ret_seq = h.seq;
    return 0;
}

/* ---- the name ------------------------------------------------------------------------------------------ */

void claims_add(struct claims *c, const struct kad_event *e, struct now now)
{
    for (size_t i = 0; i < e->n_entries; i++) {
        const struct kad_entry *entry = &e->entries[i];
        struct record_claim claim;
        if (kad_entry_is_tombstone(entry) || record_get_claim(entry->v, &claim) ||
            claim.expires_s < now_unix_s(now))
            continue;
        struct claim *at = NULL;
        for (size_t k = 0; k < c->n; k++)
            if (memcmp(c->at[k].pk, entry->pk, KEY_SIZE) == 0)
                at = &c->at[k];
        if (!at && c->n < CLAIMS_MAX)
            at = &c->at[c->n++];
        if (!at) { /* full: the youngest gives way to an older one */
            at = &c->at[0];
            for (size_t k = 1; k < c->n; k++)
                if (c->at[k].since_s < at->since_s)
                    at = &c->at[k];
            if (at->since_s >= entry->since_s)
                continue;
        }
        memcpy(at->pk, entry->pk, KEY_SIZE);
        at->since_s = entry->since_s;
    }
    if (e->holders > c->holders)
        c->holders = e->holders;
}

static int older_first(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    if (x->since_s != y->since_s)
        return x->since_s > y->since_s ? -1 : 1;
    return memcmp(x->pk, y->pk, KEY_SIZE);
}

void claims_sort(struct claims *c) { qsort(c->at, c->n, sizeof *c->at, older_first); }

const struct claim *claims_first(const struct claims *c)
{
    const struct claim *first = NULL;
    for (size_t i = 0; i < c->n; i++)
        if (!first || older_first(&c->at[i], first) < 0)
            first = &c->at[i];
    return first;
}

void account_claimed(struct timeline *t)
{
    struct account *a = &t->account;
    if (a->name_state != NAME_PENDING)
        return;
    a->name_state = NAME_CLAIMED;
    a->claim_ms = NOW_NEVER;
    save(t);
}

void account_name_taken(struct timeline *t, const uint8_t by[KEY_SIZE])
{
    struct account *a = &t->account;
    a->name_state = NAME_TAKEN;
    memcpy(a->taken_by, by, KEY_SIZE);
    a->claim_ms = NOW_NEVER;
    save(t);
}

void account_claim_event(struct timeline *t, const struct kad_event *e)
{
    struct account *a = &t->account;
    claims_add(&a->claims, e, t->now);
    if (!e->last)
        return;
    a->claim_looking = false;
    if (!a->exists || a->name_state != NAME_PENDING)
        return;
    if (e->status == CAM_ENET && a->claims.n == 0)
        return; /* nobody was asked; account_tick tries again */
    const struct claim *first = claims_first(&a->claims);
    if (first && memcmp(first->pk, a->pk, KEY_SIZE) != 0)
        account_name_taken(t, first->pk);
    else
        publish_want(t, PUBLISH_CLAIM, 0, NULL, 0);
}

void account_tick(struct timeline *t)
{
    struct account *a = &t->account;
    if (a->feed_dirty) {
        store_feed_save(t->store, &a->feed);
        a->feed_dirty = false;
    }
    if (!a->exists || a->claim_looking || a->claim_ms > t->now.mono_ms || is_quiet(t))
        return;
    if (!a->identity || !t->ready) {
        a->claim_ms = NOW_NEVER; /* login and the first contact set it again */
        return;
    }
    uint8_t root[KAD_ID_SIZE];
    record_name_root(a->name, root);
    a->claims = (struct claims){ .n = 0 };
    a->claim_looking =
        kad_set_get(t->kad, t->now, root, false, CLAIMS_MAX, request_tag(REQUEST_CLAIM, 0)) == 0;
    a->claim_wait_ms = a->claim_wait_ms ? a->claim_wait_ms * 2 : CLAIM_CHECK_MS;
    if (a->claim_wait_ms > CLAIM_CHECK_MAX_MS)
        a->claim_wait_ms = CLAIM_CHECK_MAX_MS;
    a->claim_ms = t->now.mono_ms + a->claim_wait_ms;
}

uint64_t account_deadline_ms(const struct timeline *t)
{
    const struct account *a = &t->account;
    return a->exists && !a->claim_looking ? a->claim_ms : NOW_NEVER;
}
