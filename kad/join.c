/* Getting in touch: the addresses that the user gave, the contacts remembered from disk, and those that were
 * lost, asked again and again while nobody answers, and now and then even when others do, so that two halves
 * of a network that was cut find each other again.
 *
 *     kad_join, kad_load, kad_hint, join_lost                answered
 *     (none) -----------------------------> waiting <------------------------ asking
 *                                            |  ^ |    join_tick: ask          ^
 *                                            |  | +----------------------------+
 *                    forgotten, unless given |  | join_failed: later, twice as long each time
 *                    by the user             v  +------------------------------+
 *
 *     nobody answers ("alone"): 1 s, 2 s ... 30 s      somebody does: 30 s, 1 min ... JOIN_TRIES_MAX times
 */
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/node.h"
#include "kad/request.h"

#define JOIN_AGAIN_MIN_MS 1000
#define JOIN_AGAIN_MAX_MS 30000
#define JOIN_LOST_MS 30000      /* with other contacts: first try of a lost one, then twice as long */
#define JOIN_BOOT_MS 50         /* how long the first answer waits for others before the first lookup */
#define JOIN_TRIES_MAX 8        /* tries after which a lost contact is forgotten */
#define JOIN_HINT_TRIES 3       /* tries after which hearsay is forgotten */
#define JOIN_GIVEN_MS 300000    /* with other contacts: how often an address given by the user is asked */

void join_init(struct kad *k)
{
    k->join_next_ms = NOW_NEVER;
    k->boot_ms = NOW_NEVER;
}

void join_clear(struct kad *k)
{
    free(k->known);
    k->known = NULL;
    k->n_known = k->cap_known = 0;
}

static struct node_known *find_known(struct kad *k, const struct addr *addr)
{
    for (unsigned i = 0; i < k->n_known; i++)
        if (addr_equal(&k->known[i].addr, addr))
            return &k->known[i];
    return NULL;
}

static struct node_known *add_known(struct kad *k, const struct addr *addr, uint64_t next_ms)
{
    if (k->n_known == k->cap_known) {
        uint16_t cap = (uint16_t)(k->cap_known ? k->cap_known * 2 : 2);
        void *more = realloc(k->known, cap * sizeof *k->known);
        if (!more)
            return NULL;
        k->known = more;
        k->cap_known = cap;
    }
    struct node_known *one = &k->known[k->n_known++];
    *one = (struct node_known){.addr = *addr, .next_ms = next_ms};
    if (next_ms < k->join_next_ms)
        k->join_next_ms = next_ms;
    return one;
}

static void forget(struct kad *k, struct node_known *one)
{
    k->asking = (uint16_t)(k->asking - one->asking);
    *one = k->known[--k->n_known];
    if (k->n_known == 0)
        join_clear(k);
}

int join_add(struct kad *k, const struct addr *addr)
{
    struct node_net *net = node_net_of(k, addr);
    unsigned given = 0;

    if (!net || !addr_is_usable(addr))
        return CAM_EINVAL;
    struct node_known *one = find_known(k, addr);
    for (unsigned i = 0; i < k->n_known; i++)
        given += k->known[i].join;
    if ((!one || !one->join) && given >= NODE_JOIN_MAX)
        return CAM_EFULL;
    if (!one)
        one = add_known(k, addr, k->now.mono_ms);
    if (!one)
        return CAM_ESYS;
    one->join = true;
    one->hint = false;
    one->next_ms = k->now.mono_ms;
    one->tries = 0;
    k->join_next_ms = k->now.mono_ms;
    join_tick(k);
    return 0;
}

int join_hint(struct kad *k, const struct addr *addr)
{
    struct node_net *net = node_net_of(k, addr);
    unsigned hints = 0;

    if (!net || !addr_is_usable(addr))
        return CAM_EINVAL;
    if (find_known(k, addr))
        return 0;
    for (unsigned i = 0; i < k->n_known; i++)
        hints += k->known[i].hint;
    if (hints >= NODE_HINTS_MAX)
        return CAM_EFULL;
    struct node_known *one = add_known(k, addr, k->now.mono_ms);
    if (!one)
        return CAM_ESYS;
    one->hint = true;
    return 0;
}

int join_remember(struct kad *k, const uint8_t id[KAD_ID_SIZE], const struct addr *addr)
{
    if (!node_acceptable(k, id, addr) || k->n_known >= NODE_REMEMBER_MAX || find_known(k, addr))
        return CAM_EFULL;
    struct node_known *one = add_known(k, addr, k->now.mono_ms);
    if (!one)
        return CAM_ESYS;
    memcpy(one->id, id, KAD_ID_SIZE);
    return 0;
}

void join_lost(struct kad *k, const uint8_t *id, const struct addr *addr)
{
    unsigned lost = 0;
    struct node_known *oldest = NULL;

    if (find_known(k, addr))
        return;
    for (unsigned i = 0; i < k->n_known; i++) {
        struct node_known *one = &k->known[i];
        if (one->join)
            continue;
        lost++;
        if (!one->asking && (!oldest || one->tries > oldest->tries))
            oldest = one;
    }
    if (lost >= NODE_LOST_MAX && oldest)
        forget(k, oldest);
    struct node_known *one =
        add_known(k, addr, k->now.mono_ms + (k->ready ? JOIN_LOST_MS : JOIN_AGAIN_MIN_MS));
    if (one)
        memcpy(one->id, id, KAD_ID_SIZE);
}

bool join_pending(const struct kad *k)
{
    return k->n_known > 0;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static bool ask(struct kad *k, struct node_known *one)
{
    struct rpc_tx tx = {.to = one->addr, .owner = RPC_OWNER_JOIN, .tries = one->tries};
    struct krpc_msg q = {.method = KRPC_FIND_NODE, .target = node_net_of(k, &one->addr)->table.self};

    memcpy(tx.id, one->id, KAD_ID_SIZE);
    if (node_query(k, &tx, &q))
        return false;
    one->asking = true;
    k->asking++;
    return true;
}

static void try_later(const struct kad *k, struct node_known *one)
{
    uint64_t wait;

    if (!k->ready) {
        wait = (uint64_t)JOIN_AGAIN_MIN_MS << (one->tries < 5 ? one->tries : 5);
        wait = wait < JOIN_AGAIN_MAX_MS ? wait : JOIN_AGAIN_MAX_MS;
    } else {
        wait = one->join ? JOIN_GIVEN_MS : (uint64_t)JOIN_LOST_MS << (one->tries < 7 ? one->tries : 7);
    }
    one->next_ms = k->now.mono_ms + wait;
}

static bool in_table(struct kad *k, const struct addr *addr)
{
    const struct table *t = &node_net_of(k, addr)->table;

    for (unsigned i = 0; i < t->n; i++) {
        struct addr at = table_addr(t, &t->contacts[i]);
        if (t->contacts[i].fails == 0 && addr_equal(&at, addr))
            return true;
    }
    return false;
}

void join_tick(struct kad *k)
{
    uint64_t now_ms = k->now.mono_ms;

    if (k->boot_ms <= now_ms) {
        k->boot_ms = NOW_NEVER;
        if (!k->booted && k->ready)
            request_boot(k, NULL, NULL);
    }
    if (k->join_next_ms > now_ms)
        return;
    k->join_next_ms = NOW_NEVER;
    for (unsigned i = 0; i < k->n_known; i++) {
        struct node_known *one = &k->known[i];
        if (one->asking)
            continue;
        if (one->next_ms <= now_ms && in_table(k, &one->addr)) {
            if (!one->join) {
                forget(k, one);
                i--;
                continue;
            }
            try_later(k, one);
        }
        if (one->next_ms <= now_ms && k->asking < NODE_ASKING_MAX && !ask(k, one))
            try_later(k, one);
        if (!one->asking && one->next_ms < k->join_next_ms)
            /* Somebody due has to wait for an answer, which looks again. */
            k->join_next_ms = one->next_ms > now_ms ? one->next_ms : k->join_next_ms;
    }
}

static struct node_known *asked(struct kad *k, const struct rpc_tx *tx)
{
    struct node_known *one = find_known(k, &tx->to);

    if (!one || !one->asking)
        return NULL;
    one->asking = false;
    k->asking--;
    k->join_next_ms = k->now.mono_ms; /* there is room to ask the next */
    return one;
}

void join_answered(struct kad *k, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    struct node_known *one = asked(k, tx);

    if (m->kind != KRPC_REPLY) {
        if (one && one->hint)
            forget(k, one);
        else if (one)
            try_later(k, one);
        return;
    }
    if (one) {
        one->tries = 0;
        try_later(k, one);
        if (!one->join)
            forget(k, one);
    }
    if (k->booted || !k->ready)
        return;
    /* The more nodes the first lookup begins with, the harder it is to lead astray;
     * but it does not wait long. */
    if (k->asking == 0 || node_contacts(k) >= REQUEST_PATHS) {
        k->boot_ms = NOW_NEVER;
        request_boot(k, tx, m);
    } else if (k->boot_ms == NOW_NEVER) {
        k->boot_ms = k->now.mono_ms + JOIN_BOOT_MS;
    }
}

void join_failed(struct kad *k, const struct rpc_tx *tx)
{
    struct node_known *one = asked(k, tx);

    if (!one)
        return;
    if (one->tries < UINT8_MAX)
        one->tries++;
    try_later(k, one);
    if ((!one->join && k->ready && one->tries >= JOIN_TRIES_MAX) ||
        (one->hint && one->tries >= JOIN_HINT_TRIES))
        forget(k, one);
}

void join_booted(struct kad *k)
{
    k->booted = true;
    upkeep_booted(k);
}

void join_elsewhere(struct kad *k)
{
    k->booted = false;
    k->boot_ms = k->now.mono_ms + JOIN_BOOT_MS;
}

void join_liveness(struct kad *k)
{
    bool ready = node_good(k) > 0;
    struct kad_event e = {.kind = ready ? KAD_EVENT_READY : KAD_EVENT_ALONE};

    if (ready == k->ready)
        return;
    k->ready = ready;
    k->alone_tries = 0;
    event_push(k, &e);
    if (ready) {
        upkeep_again(k);
        request_wake(k);
        return;
    }
    k->booted = false;
    for (unsigned i = 0; i < k->n_known; i++) { /* no time to lose now */
        k->known[i].tries = 0;
        k->known[i].next_ms = k->now.mono_ms + JOIN_AGAIN_MIN_MS;
    }
    k->join_next_ms = k->now.mono_ms + JOIN_AGAIN_MIN_MS;
}

uint64_t join_deadline_ms(const struct kad *k)
{
    return k->boot_ms < k->join_next_ms ? k->boot_ms : k->join_next_ms;
}
