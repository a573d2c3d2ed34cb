/* Staying in touch, and keeping records where they belong. Each part has a time of its own in struct kad; a
 * tick does what is due, in small portions, and upkeep_deadline_ms names the next.
 *
 *     doubt       contacts that did not answer are asked again, until they do or are dropped
 *     liveness    contacts not heard for a quarter of an hour are asked whether they live
 *     candidate   one replacement candidate at a time is tried
 *     look        a lookup of our own id, some seconds after the first and then each hour: many may have
 *                 joined at the same time as we
 *     refresh     a lookup in the range of each bucket that saw none for an hour (BEP 5 says 15 minutes; the
 *                 paper says an hour, and most ranges are crossed by other lookups anyway)
 *     hand-over   a new contact gets the records that it should hold (paper, section 2.5)
 *     replicate   records that nobody has put here for an hour go to the k closest again
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/node.h"
#include "kad/request.h"

#define DOUBT_MS 2000
#define DOUBT_ALONE_MAX_MS 30000
#define DOUBT_BATCH 16
#define LIVENESS_S 900
#define LIVENESS_BATCH 8
#define LIVENESS_AGAIN_MS 5000
#define CANDIDATE_MS 1000
#define LOOK_FIRST_MS 3000     /* after the first lookup; then 30 s, 5 minutes, and each hour */
#define LOOK_FEW_S 10          /* with few contacts: then after this, and twice as long each time ... */
#define LOOKS_MAX 5            /* ... this often */
#define REFRESH_S 3600
#define REFRESH_STEP_MS 1000   /* between two refreshes */
#define HANDOVER_BATCH 32      /* records looked at in one step */
#define HANDOVER_STEP_MS 20
#define REPLICATE_STEP_MS 20

void upkeep_init(struct kad *k)
{
    for (unsigned net = 0; net < k->n_nets; net++)
        for (unsigned b = 0; b < TABLE_BUCKETS; b++)
            k->net[net].table.refreshed_s[b] = (uint16_t)(k->now.mono_ms / 1000);
    k->doubt_ms = k->candidate_ms = k->liveness_ms = k->refresh_ms = k->handover_ms = k->look_ms = NOW_NEVER;
    spread_init(k);
    k->greet_credit = NODE_GREET_BURST * 1000;
    k->greet_ms = k->now.mono_ms;
}

void upkeep_clear(struct kad *k)
{
    free(k->newcomers);
    k->newcomers = NULL;
    k->n_newcomers = 0;
}

static void sooner(uint64_t *when, uint64_t at)
{
    if (at < *when)
        *when = at;
}

void upkeep_doubt(struct kad *k)
{
    sooner(&k->doubt_ms, k->now.mono_ms + DOUBT_MS);
}

void upkeep_again(struct kad *k)
{
    if (k->doubt_ms != NOW_NEVER)
        k->doubt_ms = k->now.mono_ms;
}

void upkeep_candidate(struct kad *k)
{
    sooner(&k->candidate_ms, k->now.mono_ms + CANDIDATE_MS);
}

void upkeep_booted(struct kad *k)
{
    k->looks = 0;
    k->look_ms = k->now.mono_ms + LOOK_FIRST_MS;
    sooner(&k->refresh_ms, k->now.mono_ms + REFRESH_STEP_MS);
    spread_begin(k);
    upkeep_candidate(k);
}

/* ---- contacts ------------------------------------------------------------------------------------------ */

/* Asks contacts with `failing` ones or long silent ones first in line; returns how many were asked. */
static unsigned ask_contacts(struct kad *k, bool failing, uint32_t age_s, unsigned max)
{
    unsigned asked = 0;

    for (unsigned net = 0; net < k->n_nets; net++) {
        const struct table *t = &k->net[net].table;
        unsigned first = t->n ? rng_below(&k->rng, t->n) : 0;
        for (unsigned i = 0; i < t->n && asked < max; i++) {
            const struct table_contact *c = &t->contacts[first + i < t->n ? first + i : first + i - t->n];
            bool due = failing ? c->fails > 0 : c->fails == 0 && table_age_s(c, k->now.mono_ms) >= age_s;
            if (!due)
                continue;
            struct addr addr = table_addr(t, c);
            if (!rpc_is_asking(&k->rpc, &addr) && node_ping(k, &addr, c->id) == 0)
                asked++;
        }
    }
    return asked;
}

static void tick_doubt(struct kad *k)
{
    bool any = false;
    uint64_t wait = DOUBT_MS;

    k->doubt_ms = NOW_NEVER;
    /* One that lives is asked as well: if it answers and the others do not,
     * it is not our line that is down. */
    if (ask_contacts(k, true, 0, DOUBT_BATCH) > 0)
        ask_contacts(k, false, 0, 1);
    for (unsigned net = 0; net < k->n_nets; net++)
        any = any || table_good(&k->net[net].table) < k->net[net].table.n;
    if (!k->ready) { /* everybody is silent: ever more slowly */
        wait = (uint64_t)DOUBT_MS << (k->alone_tries < 5 ? k->alone_tries++ : 5);
        wait = wait < DOUBT_ALONE_MAX_MS ? wait : DOUBT_ALONE_MAX_MS;
    }
    if (any)
        k->doubt_ms = k->now.mono_ms + wait;
}

static void tick_liveness(struct kad *k)
{
    uint32_t oldest = 0;

    ask_contacts(k, false, LIVENESS_S, LIVENESS_BATCH);
    k->liveness_ms = NOW_NEVER;
    for (unsigned net = 0; net < k->n_nets; net++) {
        const struct table *t = &k->net[net].table;
        for (unsigned i = 0; i < t->n; i++) {
            uint32_t age = table_age_s(&t->contacts[i], k->now.mono_ms);
            oldest = age > oldest && t->contacts[i].fails == 0 ? age : oldest;
        }
    }
    uint64_t wait = oldest < LIVENESS_S ? (LIVENESS_S - oldest) * UINT64_C(1000) : 0;
    if (k->ready)
        k->liveness_ms = k->now.mono_ms + (wait > LIVENESS_AGAIN_MS ? wait : LIVENESS_AGAIN_MS);
}

static void tick_candidate(struct kad *k)
{
    uint8_t id[KAD_ID_SIZE];
    struct addr addr;

    k->candidate_ms = NOW_NEVER;
    for (unsigned net = 0; net < k->n_nets; net++) {
        if (!table_take_candidate(&k->net[net].table, id, &addr))
            continue;
        node_challenge(k, &addr, id);
        upkeep_candidate(k);
    }
}

/* ---- refresh ------------------------------------------------------------------------------------------- */

static void refresh_bucket(struct kad *k, struct table *t, unsigned b)
{
    uint8_t target[KAD_ID_SIZE];

    id_random_in_bucket(&k->rng, t->self, b, target);
    t->refreshed_s[b] = (uint16_t)(k->now.mono_ms / 1000);
    struct request *r = request_new(k, REQUEST_REFRESH, target, 0);
    if (r)
        request_submit(k, r);
}

static bool refresh_one(struct kad *k, unsigned net)
{
    struct table *t = &k->net[net].table;
    unsigned depth = table_depth(t);
    uint16_t now_s = (uint16_t)(k->now.mono_ms / 1000);

    for (unsigned b = 0; b < depth; b++) {
        if ((uint16_t)(now_s - t->refreshed_s[b]) < REFRESH_S)
            continue;
        refresh_bucket(k, t, b);
        return true;
    }
    return false;
}

static void tick_look(struct kad *k)
{
    static const uint32_t wait_s[] = {LOOK_FIRST_MS / 100, LOOK_FIRST_MS / 10, REFRESH_S};

    for (unsigned net = 0; net < k->n_nets; net++) {
        if (k->net[net].table.n == 0 || k->n_inner >= REQUEST_INNER_MAX)
            continue;
        struct request *r = request_new(k, REQUEST_REFRESH, k->net[net].table.self, 0);
        if (r)
            request_submit(k, r);
        if (id_equal(k->net[0].table.self, k->net[k->n_nets - 1].table.self))
            break; /* one lookup goes through both families */
    }
    /* Who came in through somebody that knew nobody yet would wait long to be found. */
    bool few = node_contacts(k) < k->k / 2;
    uint32_t wait = wait_s[k->looks < 2 ? k->looks : 2], soon = (uint32_t)LOOK_FEW_S << k->looks;
    k->look_ms = k->now.mono_ms + (few && soon < wait ? soon : wait) * UINT64_C(1000);
    if (k->looks < LOOKS_MAX)
        k->looks++;
}

static void tick_refresh(struct kad *k)
{
    bool did = false;

    for (unsigned net = 0; net < k->n_nets && k->n_inner < REQUEST_INNER_MAX; net++)
        did = refresh_one(k, net) || did;
    uint64_t wait = did ? REFRESH_STEP_MS : REFRESH_S * 100 + rng_below(&k->rng, REFRESH_S * 50);
    k->refresh_ms = k->now.mono_ms + wait;
}

/* ---- records ------------------------------------------------------------------------------------------- */

void upkeep_newcomer(struct kad *k, const uint8_t *id, const struct addr *addr)
{
    struct kad_store_stats held;

    kad_store_stats(k->store, &held);
    if (held.items + held.entries + held.tombstones == 0 || k->read_only)
        return;
    /* A far one is not among the k closest to anything that we are the closest to. */
    if (!table_is_near(&node_net_of(k, addr)->table, id))
        return;
    if (!k->newcomers)
        k->newcomers = malloc(NODE_NEWCOMERS_MAX * sizeof *k->newcomers);
    if (!k->newcomers || k->n_newcomers == NODE_NEWCOMERS_MAX)
        return; /* the hourly replication will find it */
    struct node_newcomer *one = &k->newcomers[k->n_newcomers++];
    memcpy(one->id, id, KAD_ID_SIZE);
    one->addr = *addr;
    if (k->n_newcomers == 1) {
        k->walk_cursor = KAD_WALK_START;
        sooner(&k->handover_ms, k->now.mono_ms + HANDOVER_STEP_MS);
    }
}

/* Paper, section 2.5: of all who hold a record only the closest hands it over;
 * and only to one of the k closest. */
static bool is_ours_to_hand(struct kad *k, const uint8_t *target, const struct node_newcomer *to)
{
    const struct node_net *net = node_net_of(k, &to->addr);
    const struct table_contact *near[UINT8_MAX];
    size_t n = table_closest(&net->table, target, near, 2, 0); /* mostly enough to see that it is not ours */

    for (size_t i = 0; i < n; i++)
        if (!id_equal(near[i]->id, to->id) && id_compare(target, near[i]->id, net->table.self) < 0)
            return false;
    n = table_closest(&net->table, target, near, k->k, 0);
    for (size_t i = 0; i < n; i++)
        if (id_equal(near[i]->id, to->id))
            return true;
    return false;
}

static struct request *request_for(struct kad *k, const struct kad_record *record, bool handover)
{
    bool item = record->kind == KAD_RECORD_ITEM;
    enum request_kind kind = item ? handover ? REQUEST_HANDOVER : REQUEST_REPLICATE
                                  : handover ? REQUEST_SHARD_HANDOVER : REQUEST_SHARD;
    struct request *r = request_new(k, kind, record->target, 0);
    if (!r)
        return NULL;
    r->own_copy = true;
    r->version = 1;
    if (item ? walk_set_item(r, &record->item) : setwalk_for_shard(r, record)) {
        request_discard(r);
        return NULL;
    }
    return r;
}

static void tick_handover(struct kad *k)
{
    struct kad_record record;

    k->handover_ms = NOW_NEVER;
    if (k->n_newcomers == 0)
        return;
    struct node_newcomer to = k->newcomers[0];
    for (unsigned i = 0; i < HANDOVER_BATCH && k->n_inner < REQUEST_INNER_MAX; i++) {
        if (!kad_store_walk(k->store, k->now, &k->walk_cursor, &record)) {
            k->n_newcomers--;
            memmove(k->newcomers, k->newcomers + 1, k->n_newcomers * sizeof *k->newcomers);
            k->walk_cursor = KAD_WALK_START;
            if (k->n_newcomers == 0)
                upkeep_clear(k);
            break;
        }
        if (!is_ours_to_hand(k, record.target, &to))
            continue;
        struct request *r = request_for(k, &record, true);
        if (!r)
            break;
        r->fixed = true;
        r->addr = to.addr;
        memcpy(r->peer_id, to.id, KAD_ID_SIZE);
        request_submit(k, r);
    }
    if (k->n_newcomers)
        k->handover_ms = k->now.mono_ms + HANDOVER_STEP_MS;
}

static void tick_replicate(struct kad *k)
{
    struct kad_record record;

    if (!k->ready || k->now.mono_ms < k->replicate_ms)
        return;
    while (k->n_inner < REQUEST_INNER_MAX && kad_store_due(k->store, k->now, &record)) {
        struct request *r = request_for(k, &record, false);
        if (!r)
            break;
        request_submit(k, r);
    }
    k->replicate_ms = k->now.mono_ms + REPLICATE_STEP_MS;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

void upkeep_tick(struct kad *k)
{
    uint64_t now_ms = k->now.mono_ms;

    if (k->ready && k->liveness_ms == NOW_NEVER)
        k->liveness_ms = now_ms + LIVENESS_S * UINT64_C(1000);
    if (k->doubt_ms <= now_ms)
        tick_doubt(k);
    if (k->candidate_ms <= now_ms)
        tick_candidate(k);
    if (k->liveness_ms <= now_ms)
        tick_liveness(k);
    if (k->look_ms <= now_ms)
        tick_look(k);
    if (k->refresh_ms <= now_ms)
        tick_refresh(k);
    spread_tick(k);
    if (k->handover_ms <= now_ms)
        tick_handover(k);
    tick_replicate(k);
}

uint64_t upkeep_deadline_ms(const struct kad *k)
{
    uint64_t next = NOW_NEVER;

    sooner(&next, k->doubt_ms);
    sooner(&next, k->candidate_ms);
    sooner(&next, k->liveness_ms);
    sooner(&next, k->look_ms);
    sooner(&next, k->refresh_ms);
    sooner(&next, k->spread_ms);
    sooner(&next, k->handover_ms);
    if (k->ready) {
        uint64_t store = kad_store_deadline_ms(k->store, k->now);
        sooner(&next, store > k->replicate_ms ? store : k->replicate_ms);
    }
    return next;
}
