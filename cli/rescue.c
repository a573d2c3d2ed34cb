#include "cli/rescue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "core/err.h"
#include "core/hash.h"

enum phase { RESTING, ANNOUNCING, ASKING };

#define SAVED_MAX 2 /* records of a kad that holds nothing for others: "node" and "table" */
static const char *const saved_keys[SAVED_MAX] = { "node", "table" };

struct saved {
    uint8_t *data;
    size_t size;
};

struct rescue {
    struct rescue_config config;
    struct rng rng;
    uint8_t hash[KAD_ID_SIZE];
    struct kad *kad;                 /* while open */
    bool alone, ready;               /* ready: somebody on the public network answers */
    bool closing, flushed;           /* flushed: what is to be remembered has been given out */
    enum phase phase;
    uint64_t alone_ms, round_ms, wait_ms; /* since when; the next round; from it to the one after */
    uint32_t rounds, handed;
    struct addr found[RESCUE_FOUND_MAX];
    uint32_t n_found, n_named;       /* kept, of how many that were named in this round */
    uint32_t next_found, ready_found; /* to be handed out: from, to */
    struct saved saved[SAVED_MAX];
    char key[sizeof RESCUE_KEY + 8]; /* of the record given last */
};

/* ---- life ------------------------------------------------------------------------------------------- */

struct rescue *rescue_new(const struct rescue_config *config, const struct rng *rng, struct now now)
{
    struct rescue *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->config = *config;
    r->config.network = NULL; /* its hash is all that is needed, and outlives the caller's text */
    if (!config->network[0])
        r->config.after_ms = 0;
    r->rng = *rng;
    hash_sha1(r->hash, config->network, strlen(config->network));
    r->alone = true;
    r->alone_ms = now.mono_ms;
    return r;
}

static void close_now(struct rescue *r)
{
    kad_free(r->kad);
    r->kad = NULL;
    r->closing = r->flushed = r->ready = false;
    r->phase = RESTING;
    r->n_found = r->n_named = r->next_found = r->ready_found = 0;
}

void rescue_free(struct rescue *r)
{
    if (!r)
        return;
    close_now(r);
    for (int i = 0; i < SAVED_MAX; i++)
        free(r->saved[i].data);
    free(r);
}

static int keep(struct saved *s, struct span value)
{
    uint8_t *data = malloc(value.size ? value.size : 1);

    if (!data)
        return CAM_ESYS;
    if (value.size)
        memcpy(data, value.data, value.size);
    free(s->data);
    *s = (struct saved){ data, value.size };
    return 0;
}

int rescue_load(struct rescue *r, struct span key, struct span value)
{
    size_t prefix = strlen(RESCUE_KEY);

    if (key.size < prefix || memcmp(key.data, RESCUE_KEY, prefix) != 0)
        return CAM_EFORMAT;
    for (int i = 0; i < SAVED_MAX; i++)
        if (span_equal(span(key.data + prefix, key.size - prefix), span_str(saved_keys[i])))
            return keep(&r->saved[i], value);
    return CAM_EFORMAT;
}

/* ---- opening and closing ---------------------------------------------------------------------------- */

static void open_now(struct rescue *r, struct now now)
{
    struct kad_config config = { .network = "", .read_only = true, .use_v4 = r->config.use_v4,
                                 .use_v6 = r->config.use_v6 };

    r->kad = kad_new(&config, &r->rng, now);
    if (!r->kad) {
        r->alone_ms = now.mono_ms;
        return;
    }
    /* What is damaged is as if it were not there: there are other ways in. */
    for (int i = 0; i < SAVED_MAX; i++)
        if (r->saved[i].size)
            kad_load(r->kad, now, span_str(saved_keys[i]), span(r->saved[i].data, r->saved[i].size));
    r->rounds = r->handed = 0;
    r->round_ms = now.mono_ms;
    r->wait_ms = RESCUE_ROUND_MIN_MS;
}

void rescue_peers(struct rescue *r, struct now now, bool any)
{
    if (r->alone == !any)
        return;
    r->alone = !any;
    r->alone_ms = now.mono_ms;
    if (!any || !r->kad)
        return;
    kad_flush(r->kad, now); /* who is there is written before it closes */
    r->closing = true;
}

void rescue_give_up(struct rescue *r, struct now now)
{
    close_now(r);
    r->alone_ms = now.mono_ms;
}

bool rescue_is_open(const struct rescue *r) { return r->kad && !r->closing; }

/* ---- a round ---------------------------------------------------------------------------------------- */

static bool is_self(const struct rescue *r, const struct addr *peer)
{
    struct addr self = kad_self_addr(r->kad);
    return peer->port == r->config.port && addr_same_ip(&self, peer);
}

/* Each that is named has the same chance to be kept, however many there are. */
static void take_named(struct rescue *r, const struct addr *peer)
{
    if (is_self(r, peer))
        return;
    uint32_t at = r->n_named++;
    if (at >= RESCUE_FOUND_MAX)
        at = rng_below(&r->rng, r->n_named);
    if (at >= RESCUE_FOUND_MAX)
        return;
    r->found[at] = *peer;
    if (r->n_found < RESCUE_FOUND_MAX)
        r->n_found++;
}

static void round_begin(struct rescue *r, struct now now)
{
    r->n_found = r->n_named = r->next_found = r->ready_found = 0;
    r->phase = ANNOUNCING;
    if (kad_announce(r->kad, now, r->hash, r->config.port, 0))
        r->phase = RESTING;
    r->round_ms = now.mono_ms + r->wait_ms;
    r->wait_ms = r->wait_ms * 2 < RESCUE_ROUND_MAX_MS ? r->wait_ms * 2 : RESCUE_ROUND_MAX_MS;
}

static void take_event(struct rescue *r, struct now now, const struct kad_event *e)
{
    switch (e->kind) {
    case KAD_EVENT_READY: r->ready = true; break;
    case KAD_EVENT_ALONE: r->ready = false; break;
    case KAD_EVENT_ANNOUNCE:
        r->phase = kad_get_peers(r->kad, now, r->hash, 0) ? RESTING : ASKING;
        break;
    case KAD_EVENT_PEERS:
        for (size_t i = 0; i < e->n_peers; i++)
            take_named(r, &e->peers[i]);
        if (!e->last)
            break;
        r->ready_found = r->n_found;
        r->handed += r->n_found;
        r->rounds++;
        r->phase = RESTING;
        break;
    default: break;
    }
}

void rescue_tick(struct rescue *r, struct now now)
{
    struct kad_event e;

    if (r->flushed)
        close_now(r);
    if (!r->kad && r->alone && r->config.after_ms && now.mono_ms >= r->alone_ms + r->config.after_ms)
        open_now(r, now);
    if (!rescue_is_open(r))
        return;
    kad_tick(r->kad, now);
    while (kad_next_event(r->kad, &e))
        take_event(r, now, &e);
    if (r->ready && r->phase == RESTING && now.mono_ms >= r->round_ms)
        round_begin(r, now);
}

uint64_t rescue_deadline_ms(const struct rescue *r)
{
    uint64_t at = NOW_NEVER, kad_at;

    if (r->closing)
        return 0;
    if (!r->kad)
        return r->alone && r->config.after_ms ? r->alone_ms + r->config.after_ms : NOW_NEVER;
    if (r->ready && r->phase == RESTING)
        at = r->round_ms;
    kad_at = kad_deadline_ms(r->kad);
    return kad_at < at ? kad_at : at;
}

/* ---- in and out ------------------------------------------------------------------------------------- */

void rescue_join(struct rescue *r, struct now now, const struct addr *addr)
{
    /* One too many, or of a family we do not have: the others will do. */
    if (rescue_is_open(r))
        kad_join(r->kad, now, addr);
}

void rescue_recv(struct rescue *r, struct now now, const struct addr *from, const uint8_t *buf, size_t size)
{
    if (rescue_is_open(r))
        kad_recv(r->kad, now, from, buf, size); /* what it refuses, it counts */
}

bool rescue_next_out(struct rescue *r, struct kad_datagram *ret_out)
{
    return rescue_is_open(r) && kad_next_out(r->kad, ret_out);
}

bool rescue_next_found(struct rescue *r, struct addr *ret)
{
    if (r->next_found >= r->ready_found)
        return false;
    *ret = r->found[r->next_found++];
    return true;
}

bool rescue_next_dirty(struct rescue *r, struct kad_dirty *ret_dirty)
{
    if (!r->kad)
        return false;
    while (kad_next_dirty(r->kad, ret_dirty)) {
        for (int i = 0; i < SAVED_MAX; i++) {
            if (!span_equal(ret_dirty->key, span_str(saved_keys[i])) || keep(&r->saved[i], ret_dirty->value))
                continue;
            strcpy(r->key, RESCUE_KEY);
            strcat(r->key, saved_keys[i]);
            ret_dirty->key = span_str(r->key);
            return true;
        }
    }
    r->flushed = r->closing;
    return false;
}

void rescue_status(const struct rescue *r, struct rescue_status *ret)
{
    *ret = (struct rescue_status){ .on = r->config.after_ms != 0, .open = rescue_is_open(r),
                                   .rounds = r->rounds, .found = r->handed, .opens_ms = NOW_NEVER };
    if (!ret->open) {
        ret->rounds = ret->found = 0;
        if (ret->on && r->alone)
            ret->opens_ms = r->alone_ms + r->config.after_ms;
        return;
    }
    struct kad_stats stats;
    kad_stats(r->kad, &stats);
    ret->contacts = stats.contacts;
}

void rescue_check(const struct rescue *r)
{
    assert(r->kad || (!r->closing && !r->ready && r->phase == RESTING));
    assert(r->n_found <= RESCUE_FOUND_MAX && r->n_found <= r->n_named);
    assert(r->next_found <= r->ready_found && r->ready_found <= r->n_found);
    if (r->kad)
        kad_check(r->kad);
}
