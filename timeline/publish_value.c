/* What our own records say, built from what is true now. */
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

uint32_t publish_refresh_s(enum publish_kind kind)
{
    switch (kind) {
    case PUBLISH_CONNECTION: return 30 * 60;
    case PUBLISH_FOLLOW: return RECORD_DAY_S;
    case PUBLISH_PROFILE:
    case PUBLISH_HEAD:
    case PUBLISH_CLAIM:
    case PUBLISH_FOLLOWING: break;
    }
    return 7 * RECORD_DAY_S;
}

static size_t public_follows(const struct timeline *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->follows.n; i++)
        n += !t->follows.list[i]->is_private;
    return n;
}

static void put_profile(struct timeline *t, int64_t now_s, struct bytes_out *out)
{
    const struct account *a = &t->account;
    size_t n = public_follows(t);
    struct record_profile p = { .bio = { NULL, 0 }, .devices = { a->device }, .n_devices = 1,
                                .followers = (uint32_t)t->follows.n_followers, .following = (uint32_t)n,
                                .pages = (uint32_t)((n + RECORD_PAGE_KEYS - 1) / RECORD_PAGE_KEYS),
                                .posts = a->feed.known_seq, .expires_s = now_s + RECORD_LIFE_LONG_S };
    memcpy(p.name, a->name, NAME_SIZE);
    record_put_profile(out, &p);
}

static void put_head(struct timeline *t, int64_t now_s, struct bytes_out *out)
{
    const struct account *a = &t->account;
    struct record_head h = { .seq = a->feed.known_seq, .id = a->feed.known_id, .at_ms = t->now.wall_ms,
                             .instance = a->instance, .expires_s = now_s + RECORD_LIFE_LONG_S };
    memcpy(h.hash, a->feed.known_hash, HASH_SIZE);
    record_put_head(out, &h);
}

/* The page's part of those we follow in public, in the order in which we began to. */
static void put_page(struct timeline *t, uint16_t page, int64_t now_s, struct bytes_out *out)
{
    uint8_t keys[RECORD_PAGE_KEYS * KEY_SIZE];
    struct record_following f = { .keys = keys, .expires_s = now_s + RECORD_LIFE_LONG_S };
    size_t skip = (size_t)page * RECORD_PAGE_KEYS;
    for (size_t i = 0; i < t->follows.n && f.n < RECORD_PAGE_KEYS; i++) {
        const struct follow *follow = t->follows.list[i];
        if (follow->is_private)
            continue;
        if (skip > 0) {
            skip--;
            continue;
        }
        memcpy(keys + f.n++ * KEY_SIZE, follow->who->pk, KEY_SIZE);
    }
    record_put_following(out, &f);
}

static void put_follow(struct timeline *t, bool is_deleted, int64_t now_s, struct bytes_out *out)
{
    const struct account *a = &t->account;
    struct record_follow f = { .deleted = is_deleted, .expires_s = now_s + RECORD_LIFE_FOLLOW_S };
    memcpy(f.name, a->name, NAME_SIZE);
    if (a->address.family) {
        f.hints[0] = (struct record_hint){ .device = a->device, .addr = a->address };
        memcpy(f.hints[0].transport_key, t->config.transport_pk, LINK_KEY_SIZE);
        f.n_hints = 1;
    }
    record_put_follow(out, &f);
}

int publish_value(struct timeline *t, const struct own_record *r, struct bytes_out *out)
{
    const struct account *a = &t->account;
    int64_t now_s = now_unix_s(t->now);
    switch (r->kind) {
    case PUBLISH_PROFILE:
        put_profile(t, now_s, out);
        break;
    case PUBLISH_CONNECTION: {
        if (!a->address.family)
            return CAM_EAGAIN;
        struct record_connection c = { .addr = a->address, .reachable = true,
                                       .expires_s = now_s + RECORD_LIFE_CONNECTION_S };
        memcpy(c.transport_key, t->config.transport_pk, LINK_KEY_SIZE);
        record_put_connection(out, &c);
        break;
    }
    case PUBLISH_HEAD:
        put_head(t, now_s, out);
        break;
    case PUBLISH_CLAIM:
        record_put_claim(out, &(struct record_claim){ .created_s = (int64_t)(a->created_ms / 1000),
                                                      .expires_s = now_s + RECORD_LIFE_LONG_S });
        break;
    case PUBLISH_FOLLOWING:
        put_page(t, r->page, now_s, out);
        break;
    case PUBLISH_FOLLOW:
        put_follow(t, r->is_deleted, now_s, out);
        break;
    }
    return out->err;
}
