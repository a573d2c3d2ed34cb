#include "timeline/collector.h"

bool collector_is_expired(const struct post_header *h, bool own, uint32_t lifespan_s, struct now now)
{
    return !own && lifespan_s != 0 && post_expires_ms(h, lifespan_s) <= now.wall_ms;
}

void collector_init(struct collector *c, uint32_t lifespan_s, uint64_t bytes_max)
{
    *c = (struct collector){ .lifespan_s = lifespan_s, .bytes_max = bytes_max, .due_ms = NOW_NEVER };
}

void collector_start(struct collector *c, struct now now)
{
    if (c->lifespan_s != 0)
        c->due_ms = c->round_ms = now.mono_ms;
}

uint64_t collector_deadline_ms(const struct collector *c) { return c->due_ms; }

int collector_run(struct collector *c, struct store *store, struct now now)
{
    if (now.mono_ms < c->due_ms)
        return 0;
    uint32_t by_age = 0, by_size = 0;
    bool more = false, more_by_size = false;
    int err = 0;
    if (!c->is_clock_unset)
        err = store_collect_expired(store, now, c->lifespan_s, COLLECTOR_SLICE_POSTS, &by_age, &more);
    if (!err && c->bytes_max != 0 && !more)
        err = store_collect_bytes(store, c->bytes_max, COLLECTOR_SLICE_POSTS, &by_size, &more_by_size);
    if (err)
        return err;
    c->removed += by_age + by_size;

    if (more || more_by_size) {
        c->due_ms = now.mono_ms; /* the next turn: others get theirs in between */
        return 0;
    }
    /* Rounds begin a minute apart, a second where posts live for less; and not in a burst after a sleep. */
    uint64_t pause_ms =
        c->lifespan_s * UINT64_C(1000) < COLLECTOR_ROUND_MS ? COLLECTOR_SHORT_MS : COLLECTOR_ROUND_MS;
    c->round_ms += pause_ms;
    if (c->round_ms <= now.mono_ms)
        c->round_ms = now.mono_ms + pause_ms;
    c->due_ms = c->round_ms;
    return 0;
}
