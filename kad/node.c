/* Datagrams in and out, and what each of them teaches about contacts. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/node.h"
#include "kad/request.h"

size_t node_contacts(const struct kad *k)
{
    size_t n = 0;

    for (unsigned net = 0; net < k->n_nets; net++)
        n += k->net[net].table.n;
    return n;
}

size_t node_good(const struct kad *k)
{
    size_t n = 0;

    for (unsigned net = 0; net < k->n_nets; net++)
        n += table_good(&k->net[net].table);
    return n;
}

/* ---- out ----------------------------------------------------------------------------------------------- */

static void envelope(struct kad *k, const struct addr *to, struct krpc_msg *m)
{
    m->id = node_net_of(k, to)->table.self;
    m->network = k->has_network ? k->network : NULL;
    if (m->kind == KRPC_QUERY) {
        m->ro = k->read_only;
        bool finds = m->method == KRPC_FIND_NODE || m->method == KRPC_GET_PEERS || m->method == KRPC_GET ||
                     m->method == KRPC_SGET;
        if (finds && k->net[0].used && k->n_nets > 1)
            m->want = KRPC_WANT4 | KRPC_WANT6;
    }
}

static int send_query(struct kad *k, const struct rpc_tx *tx, struct krpc_msg *q)
{
    q->t = span(tx->tid, RPC_TID_SIZE);
    envelope(k, &tx->to, q);
    uint8_t buf[KAD_DATAGRAM_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    krpc_encode(&out, q);
    if (out.err || !rpc_queue_push(&k->out, &tx->to, out.buf, out.size))
        return CAM_EFULL;
    k->stats.out_kind[q->method]++;
    k->stats.out_datagrams++;
    k->stats.out_bytes += out.size;
    return 0;
}

int node_query(struct kad *k, struct rpc_tx *tx, struct krpc_msg *q)
{
    struct node_net *net = node_net_of(k, &tx->to);

    if (!net || !addr_is_usable(&tx->to))
        return CAM_EINVAL;
    const struct table_contact *contact = id_is_zero(tx->id) ? NULL : table_find(&net->table, tx->id);
    rpc_timeouts(&k->rpc, contact, tx);
    q->kind = KRPC_QUERY;
    tx->method = (uint8_t)q->method;
    if (!rpc_begin(&k->rpc, k->now.mono_ms, tx))
        return CAM_EFULL;
    /* What could not be queued is lost as it may be on the wire, and times out the same way. */
    send_query(k, tx, q);
    return 0;
}

void node_query_again(struct kad *k, const struct rpc_tx *tx, struct krpc_msg *q)
{
    q->kind = KRPC_QUERY;
    if (send_query(k, tx, q) == 0)
        rpc_resent(&k->rpc, k->now.mono_ms, tx);
}

static int ping(struct kad *k, const struct addr *to, const uint8_t *id, enum rpc_owner owner)
{
    struct rpc_tx tx = {.to = *to, .owner = (uint8_t)owner};
    struct krpc_msg q = {.method = KRPC_PING};

    if (id)
        memcpy(tx.id, id, KAD_ID_SIZE);
    return node_query(k, &tx, &q);
}

int node_ping(struct kad *k, const struct addr *to, const uint8_t *id)
{
    return ping(k, to, id, RPC_OWNER_TABLE);
}

/* A ping to somebody whom we only know from his queries, or from hearsay: it counts like a reply, for the
 * query may be forged. Whoever asks in many made-up names would have all our transactions wait for nobody: so
 * few at a time. */
void node_challenge(struct kad *k, const struct addr *to, const uint8_t *id)
{
    if (k->challenges >= NODE_CHALLENGES_MAX || rpc_is_asking(&k->rpc, to) ||
        !kad_guard_send(k->guard, k->now, to, NODE_PING_BYTES))
        return;
    if (ping(k, to, id, RPC_OWNER_CHALLENGE) == 0)
        k->challenges++;
}

/* Cuts whole contacts off until `over` bytes are saved; the longer list first. */
static void trim_nodes(struct krpc_msg *r, size_t over)
{
    while (over > 0 && r->nodes.size + r->nodes6.size > 0) {
        struct span *list = r->nodes6.size > r->nodes.size ? &r->nodes6 : &r->nodes;
        size_t one = list == &r->nodes ? KRPC_NODE4_SIZE : KRPC_NODE6_SIZE;
        list->size -= one;
        over -= over < one ? over : one;
    }
}

/* A contact that answers has proven its address; the guard is told when it matters, so that it need not
 * remember everybody whom we ever asked. */
static bool is_contact(struct kad *k, const struct addr *addr)
{
    const struct table *t = &node_net_of(k, addr)->table;

    for (unsigned i = 0; i < t->n; i++) {
        const struct table_contact *c = &t->contacts[i];
        struct addr at;
        if (c->fails > 0 || be16(c->port) != addr->port)
            continue;
        at = table_addr(t, c);
        if (addr_equal(&at, addr))
            return true;
    }
    return false;
}

bool node_is_proven(struct kad *k, const struct addr *addr)
{
    if (kad_guard_is_proven(k->guard, k->now, addr))
        return true;
    if (!is_contact(k, addr))
        return false;
    kad_guard_prove(k->guard, k->now, addr);
    return true;
}

size_t node_room(struct kad *k, const struct addr *to)
{
    size_t room = kad_guard_room(k->guard, k->now, to);

    return room < k->datagram_max && node_is_proven(k, to) ? kad_guard_room(k->guard, k->now, to) : room;
}

void node_reply(struct kad *k, const struct addr *to, struct krpc_msg *r, bool promises)
{
    uint8_t seen[ADDR_COMPACT_MAX];
    size_t room = node_room(k, to);
    size_t max = room < k->datagram_max ? room : k->datagram_max;

    envelope(k, to, r);
    r->ip = span(seen, addr_compact(to, seen));
    uint8_t buf[KAD_DATAGRAM_MAX * 3]; /* before contacts give way */
    struct bytes_out out = bytes_out(buf, sizeof buf);
    krpc_encode(&out, r);
    if (!out.err && out.size > max) {
        trim_nodes(r, out.size - max);
        out.size = 0;
        krpc_encode(&out, r);
    }
    /* Contacts give way to a value, but nothing else can:
     * one of 1000 bytes (BEP 44) needs more than is usual. */
    if (r->v.data)
        max = room < KAD_DATAGRAM_MAX ? room : KAD_DATAGRAM_MAX;
    if (out.err || out.size > max || !kad_guard_send(k->guard, k->now, to, out.size)) {
        k->stats.drop_budget++;
    } else if (rpc_queue_push(promises ? &k->stored : &k->out, to, out.buf, out.size)) {
        if (r->kind == KRPC_ERROR)
            k->stats.out_errors++;
        else
            k->stats.out_replies++;
        k->stats.out_datagrams++;
        k->stats.out_bytes += out.size;
    }
    /* Who asks much is to prove that it is where it says it is, before its budget runs out. */
    if (room < KAD_GUARD_BURST_BYTES / 2 && !kad_guard_is_proven(k->guard, k->now, to))
        node_challenge(k, to, NULL);
}

/* ---- contacts ------------------------------------------------------------------------------------------ */

bool node_network_ok(const struct kad *k, const struct krpc_msg *m)
{
    return !k->has_network || (m->network && memcmp(m->network, k->network, KRPC_NETWORK_SIZE) == 0);
}

bool node_acceptable(struct kad *k, const uint8_t *id, const struct addr *addr)
{
    struct node_net *net = node_net_of(k, addr);

    /* Zero stands for an id that is not known: whoever has it could not be told to have failed. */
    if (!net || !addr_is_usable(addr) || id_is_zero(id) || id_equal(id, net->table.self))
        return false;
    return !k->has_network || (k->without & KAD_WITHOUT_ADDRESS_IDS) || id_fits_addr(id, addr);
}

bool node_next_listed(struct kad *k, struct span *list, uint8_t family, uint8_t ret_id[KAD_ID_SIZE],
                      struct addr *ret)
{
    size_t compact = family == 4 ? 6 : 18, one = KAD_ID_SIZE + compact;

    while (list->size >= one) {
        const uint8_t *at = list->data;
        list->data += one;
        list->size -= one;
        if (addr_from_compact(at + KAD_ID_SIZE, compact, ret) || !node_acceptable(k, at, ret))
            continue;
        memcpy(ret_id, at, KAD_ID_SIZE);
        return true;
    }
    return false;
}

uint32_t node_mark(const struct kad *k, const void *data, size_t size)
{
    uint8_t hash[crypto_shorthash_BYTES];

    crypto_shorthash(hash, data, size, k->rpc.tid_key);
    uint32_t mark = be32(hash);
    return mark ? mark : 1;
}

static uint32_t addr_mark(const struct kad *k, const struct addr *addr)
{
    uint8_t compact[ADDR_COMPACT_MAX];

    return node_mark(k, compact, addr_compact(addr, compact));
}

bool node_is_suspect(struct kad *k, const uint8_t *id, const struct addr *addr)
{
    const struct table *t = &node_net_of(k, addr)->table;
    uint32_t now_s = (uint32_t)(k->now.mono_ms / 1000);

    if (t->failing == 0 && k->now.mono_ms > k->dead_until_ms)
        return false;
    const struct table_contact *c = table_find(t, id);
    if (c) {
        struct addr at = table_addr(t, c);
        if (addr_equal(&at, addr))
            return c->fails > 0;
    }
    uint32_t mark = addr_mark(k, addr);
    for (unsigned i = 0; i < NODE_DEAD_MAX; i++)
        if (k->dead[i].addr == mark && now_s - k->dead[i].at_s <= NODE_DEAD_MS / 1000)
            return true;
    return false;
}

static void mark_dead(struct kad *k, const struct addr *addr, bool dead)
{
    if (!dead && k->now.mono_ms > k->dead_until_ms)
        return;
    uint32_t mark = addr_mark(k, addr);
    for (unsigned i = 0; i < NODE_DEAD_MAX; i++)
        if (k->dead[i].addr == mark)
            k->dead[i].addr = 0;
    if (!dead)
        return;
    k->dead[k->next_dead].addr = mark;
    k->dead[k->next_dead].at_s = (uint32_t)(k->now.mono_ms / 1000);
    k->next_dead = (uint8_t)((k->next_dead + 1) % NODE_DEAD_MAX);
    k->dead_until_ms = k->now.mono_ms + NODE_DEAD_MS + 1000; /* at_s is in whole seconds */
}

static bool is_fresh(const struct kad *k, const struct node_mark *mark)
{
    return mark->addr && (uint32_t)(k->now.mono_ms / 1000) - mark->at_s <= NODE_LIARS_MS / 1000;
}

void node_note_liar(struct kad *k, const struct addr *addr, bool lies)
{
    uint32_t mark = addr_mark(k, addr);
    unsigned at = 0;

    if (!k->liars && lies)
        k->liars = calloc(NODE_LIARS_MAX, sizeof *k->liars);
    if (!k->liars)
        return;
    while (at < NODE_LIARS_MAX && k->liars[at].addr != mark)
        at++;
    if (at == NODE_LIARS_MAX && lies) {
        at = k->next_liar;
        k->next_liar = (uint8_t)((k->next_liar + 1) % NODE_LIARS_MAX);
    }
    if (at < NODE_LIARS_MAX)
        k->liars[at] = (struct node_mark){lies ? mark : 0, (uint32_t)(k->now.mono_ms / 1000)};
}

bool node_is_liar(struct kad *k, const struct addr *addr)
{
    uint32_t mark = k->liars ? addr_mark(k, addr) : 0;
    bool any = false;

    for (unsigned i = 0; k->liars && i < NODE_LIARS_MAX; i++) {
        bool fresh = is_fresh(k, &k->liars[i]);
        if (fresh && k->liars[i].addr == mark)
            return true;
        any = any || fresh;
    }
    if (!any) {
        free(k->liars);
        k->liars = NULL;
    }
    return false;
}

double node_net_estimate(const struct kad *k, struct node_net *net)
{
    uint32_t now_s = (uint32_t)(k->now.mono_ms / 1000) + 1;

    if (net->estimate_s != now_s) {
        net->estimate_s = now_s;
        net->estimate = net->used ? (float)table_estimate(&net->table) : 0;
    }
    return (double)net->estimate;
}

static double near_estimate(struct kad *k)
{
    double most = 0;

    for (unsigned net = 0; net < k->n_nets; net++) {
        double one = node_net_estimate(k, &k->net[net]);
        most = one > most ? one : most;
    }
    return most;
}

double node_estimate(struct kad *k)
{
    /* Our surroundings show growth at once, finished lookups only when there are some. */
    double near = near_estimate(k);
    return near > k->estimate ? near : k->estimate;
}

double node_estimate_least(struct kad *k)
{
    double near = near_estimate(k);
    return k->estimate > 0 && k->estimate < near ? k->estimate : near;
}

/* An answer to a query of ours: its sender lives, at this address, under this id. */
static void node_heard(struct kad *k, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    struct node_net *net = node_net_of(k, &tx->to);
    uint32_t rtt = tx->resent ? TABLE_RTT_UNKNOWN : (uint32_t)(k->now.mono_ms - tx->sent_ms);

    if (tx->owner == RPC_OWNER_CHALLENGE)
        kad_guard_prove(k->guard, k->now, &tx->to);
    k->heard_ms = k->now.mono_ms;
    mark_dead(k, &tx->to, false);
    if (rtt != TABLE_RTT_UNKNOWN)
        rpc_measured(&k->rpc, rtt);
    if (!m->id)
        return; /* an error reply carries none; table entries are renewed by replies alone */
    if (!id_is_zero(tx->id) && !id_equal(tx->id, m->id) && table_failed(&net->table, tx->id, &tx->to))
        k->table_changed = true; /* another node lives there now */
    if (!node_network_ok(k, m))
        return;
    vote_heard(k, &tx->to, m->ip);
    if (!node_acceptable(k, m->id, &tx->to))
        return;
    enum table_result result = table_heard(&net->table, k->now.mono_ms, m->id, &tx->to, rtt);
    if (result == TABLE_ADDED) {
        k->table_changed = true;
        upkeep_newcomer(k, m->id, &tx->to);
    }
    if (result == TABLE_MOVED) {
        /* Is the old address still alive? If not, this one takes its place. */
        struct addr old = table_addr(&net->table, table_find(&net->table, m->id));
        table_offer(&net->table, m->id, &tx->to);
        if (!rpc_is_asking(&k->rpc, &old))
            node_ping(k, &old, m->id);
    }
    if (!k->ready)
        join_liveness(k);
}

static void node_failed(struct kad *k, const struct rpc_tx *tx)
{
    struct node_net *net = node_net_of(k, &tx->to);

    k->stats.timeouts++;
    if (tx->owner != RPC_OWNER_CHALLENGE) /* whom to challenge is others' choice */
        mark_dead(k, &tx->to, true);
    if (id_is_zero(tx->id))
        return;
    /* If nobody at all answered since, it may be our own line that is down: doubt, but keep. */
    const struct table_contact *c = table_find(&net->table, tx->id);
    if (c && c->fails + 1 >= TABLE_FAILS_MAX && k->heard_ms < tx->sent_ms)
        return;
    if (table_failed(&net->table, tx->id, &tx->to)) {
        k->table_changed = true;
        join_lost(k, tx->id, &tx->to);
    }
    uint8_t id[KAD_ID_SIZE];
    struct addr addr;
    if (table_take_candidate(&net->table, id, &addr))
        node_challenge(k, &addr, id);
    upkeep_doubt(k);
    join_liveness(k);
}

/* ---- in ------------------------------------------------------------------------------------------------ */

/* By the owner of the transaction; m is NULL when it failed. */
static void tell_owner(struct kad *k, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    switch (tx->owner) {
    case RPC_OWNER_CHALLENGE:
        k->challenges--;
        break;
    case RPC_OWNER_REQUEST:
        if (m)
            request_answered(k, tx, m);
        else
            request_failed(k, tx);
        break;
    case RPC_OWNER_SPREAD:
        spread_answered(k, tx, m);
        break;
    case RPC_OWNER_JOIN:
        if (m)
            join_answered(k, tx, m);
        else
            join_failed(k, tx);
        break;
    default:
        break;
    }
}

int kad_recv(struct kad *k, struct now now, const struct addr *from, const uint8_t *buf, size_t size)
{
    struct krpc_msg m;
    struct rpc_tx tx;

    k->now = now;
    struct node_net *net = node_net_of(k, from);
    if (!net || !addr_is_usable(from))
        return CAM_EINVAL;
    k->stats.in_datagrams++;
    k->stats.in_bytes += size;
    if (!kad_guard_recv(k->guard, now, from, size)) {
        k->stats.drop_budget++;
        return CAM_EREFUSED;
    }
    if (krpc_decode(buf, size, &m)) {
        k->stats.drop_malformed++;
        return CAM_EFORMAT;
    }
    if (m.kind == KRPC_QUERY) {
        k->stats.in_queries++;
        k->stats.in_kind[m.method]++;
        serve_query(k, from, &m);
        return 0;
    }
    if (m.kind == KRPC_REPLY && (!m.id || m.bad)) {
        k->stats.drop_malformed++;
        return CAM_EFORMAT;
    }
    if (!rpc_take(&k->rpc, m.t, from, &tx)) {
        k->stats.drop_unexpected++;
        return CAM_EREFUSED;
    }
    if (m.kind == KRPC_REPLY)
        k->stats.in_replies++;
    else
        k->stats.in_errors++;
    node_heard(k, &tx, &m);
    /* A stranger's network is told nothing and believed nothing;
     * a plain ping may still see that it is there. */
    if (!node_network_ok(k, &m)) {
        k->stats.drop_version++;
        if (tx.method != KRPC_PING) {
            tell_owner(k, &tx, NULL);
            return CAM_EREFUSED;
        }
    }
    tell_owner(k, &tx, &m);
    return 0;
}

void kad_tick(struct kad *k, struct now now)
{
    struct rpc_tx tx;
    bool failed;

    k->now = now;
    while (rpc_next_due(&k->rpc, now.mono_ms, &tx, &failed)) {
        if (failed) {
            node_failed(k, &tx);
            tell_owner(k, &tx, NULL);
        } else if (tx.owner == RPC_OWNER_REQUEST) {
            request_stalled(k, &tx);
        }
    }
    kad_store_tick(k->store, now);
    kad_guard_tick(k->guard, now);
    join_tick(k);
    upkeep_tick(k);
    request_tick(k);
    rpc_trim(&k->rpc);
}
