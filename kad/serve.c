/* Answers to the queries of others. Each handler reads its arguments, does bounded work and fills in one
 * reply; what a peer may not do is answered with the error code that BEP 5 or BEP 44 names for it. The reply
 * to a write that was done waits for the commit. */
#include <string.h>

#include "core/err.h"
#include "kad/node.h"

#define SERVE_PEERS_MAX 50     /* compact peers in one reply to get_peers */
#define SERVE_ENVELOPE 220     /* bytes of an sget reply beside nodes and entries, at most */
#define SERVE_NEAR_MAX (KAD_K * 6) /* contacts looked through for those beyond a crowd */

/* What the parts of a reply are written into until the reply is encoded. */
struct serve_parts {
    uint8_t token[KAD_TOKEN_SIZE];
    uint8_t nodes[KAD_K * 4 * KRPC_NODE4_SIZE];
    uint8_t nodes6[KAD_K * 4 * KRPC_NODE6_SIZE];
    uint8_t digest[KAD_ID_SIZE];
    uint8_t list[KAD_DATAGRAM_MAX];
    struct kad_item item;
};

static void reply_error(struct kad *k, const struct addr *from, const struct krpc_msg *q, int code)
{
    struct krpc_msg r = {.kind = KRPC_ERROR, .t = q->t, .code = code, .text = span_str(kad_error_text(code))};

    if (code == KAD_ERROR_FULL)
        k->stats.refused_full++;
    node_reply(k, from, &r, false);
}

/* Where the k closest that we know stand too close together for a network of our size, half of the answer
 * names those beyond: else whoever crowds around a target would be all that is ever named. */
static size_t name_beyond(const struct kad *k, struct node_net *net, const uint8_t *target,
                          const struct table_contact **found, size_t n)
{
    double dense = LOOKUP_DENSE * node_net_estimate(k, net);
    size_t half = net->table.k / 2, first = net->table.k;

    if (n < first || half == 0 || (k->without & KAD_WITHOUT_DENSITY) ||
        id_distance(target, found[first - 1]->id) * dense >= (double)first)
        return n;
    size_t all = table_closest(&net->table, target, found, SERVE_NEAR_MAX, 0);
    while (first < all && id_distance(target, found[first]->id) * dense < (double)(first + 1))
        first++;
    for (n = half; n < net->table.k && first < all; n++)
        found[n] = found[first++];
    return n > half ? n : net->table.k;
}

static struct span closest_nodes(const struct kad *k, struct node_net *net, const uint8_t *target,
                                 uint8_t *buf)
{
    const struct table_contact *found[SERVE_NEAR_MAX];
    uint8_t *at = buf;
    size_t n = table_closest(&net->table, target, found, net->table.k, 0);

    n = name_beyond(k, net, target, found, n);

    for (size_t i = 0; i < n; i++) {
        struct addr addr = table_addr(&net->table, found[i]);
        memcpy(at, found[i]->id, KAD_ID_SIZE);
        at += KAD_ID_SIZE;
        at += addr_compact(&addr, at);
    }
    return span(buf, (size_t)(at - buf));
}

/* BEP 32: the families asked for by `want`, else the one the query came over. */
static void add_nodes(struct kad *k, const struct addr *from, const struct krpc_msg *q, const uint8_t *target,
                      struct serve_parts *parts, struct krpc_msg *r)
{
    uint8_t want = q->want ? q->want : from->family == 4 ? KRPC_WANT4 : KRPC_WANT6;

    if ((want & KRPC_WANT4) && k->net[0].used)
        r->nodes = closest_nodes(k, &k->net[0], target, parts->nodes);
    if ((want & KRPC_WANT6) && k->n_nets > 1)
        r->nodes6 = closest_nodes(k, &k->net[1], target, parts->nodes6);
}

static void add_token(struct kad *k, const struct addr *from, struct serve_parts *parts, struct krpc_msg *r)
{
    kad_guard_token(k->guard, k->now, from, parts->token);
    r->token = span(parts->token, sizeof parts->token);
}

static int serve_find_node(struct kad *k, const struct addr *from, const struct krpc_msg *q,
                           struct serve_parts *parts, struct krpc_msg *r)
{
    if (!q->target)
        return KAD_ERROR_PROTOCOL;
    add_nodes(k, from, q, q->target, parts, r);
    return 0;
}

static int serve_get_peers(struct kad *k, const struct addr *from, const struct krpc_msg *q,
                           struct serve_parts *parts, struct krpc_msg *r)
{
    struct addr peers[SERVE_PEERS_MAX];
    uint8_t compact[ADDR_COMPACT_MAX];

    if (!q->target)
        return KAD_ERROR_PROTOCOL;
    add_token(k, from, parts, r);
    add_nodes(k, from, q, q->target, parts, r);
    size_t n = kad_store_peers(k->store, k->now, q->target, from->family, peers,
                               from->family == 4 ? SERVE_PEERS_MAX : SERVE_PEERS_MAX / 3);
    if (n == 0)
        return 0;
    struct bytes_out list = bytes_out(parts->list, sizeof parts->list);
    ben_put_list(&list);
    for (size_t i = 0; i < n; i++)
        ben_put_str(&list, compact, addr_compact(&peers[i], compact));
    ben_put_end(&list);
    r->values = (struct ben){parts->list, list.size};
    return 0;
}

/* Only who was given a token at this address may make us remember anything. */
static int check_writer(struct kad *k, const struct addr *from, const struct krpc_msg *q)
{
    if (!q->token.data || !kad_guard_token_ok(k->guard, k->now, from, q->token)) {
        k->stats.refused_token++;
        return KAD_ERROR_PROTOCOL;
    }
    return kad_guard_store(k->guard, k->now, from) ? 0 : KAD_ERROR_FULL;
}

static int serve_announce_peer(struct kad *k, const struct addr *from, const struct krpc_msg *q)
{
    struct addr peer = *from;

    if (!q->target || (!q->implied_port && q->port == 0))
        return KAD_ERROR_PROTOCOL;
    int code = check_writer(k, from, q);
    if (code)
        return code;
    if (!q->implied_port)
        peer.port = q->port;
    return kad_store_announce(k->store, k->now, q->target, &peer, from);
}

static int serve_get(struct kad *k, const struct addr *from, const struct krpc_msg *q,
                     struct serve_parts *parts, struct krpc_msg *r)
{
    struct kad_item *item = &parts->item;

    if (!q->target)
        return KAD_ERROR_PROTOCOL;
    add_token(k, from, parts, r);
    add_nodes(k, from, q, q->target, parts, r);
    if (kad_store_get(k->store, k->now, q->target, item))
        return 0;
    /* Who asks with the very version that we hold is another holder in its hour: it sees to the rest of them,
     * and we need not in ours (paper, section 2.5). An item that cannot change has the version 0. */
    if (q->has_seq && q->seq == item->seq && node_is_proven(k, from))
        kad_store_seen(k->store, k->now, KAD_RECORD_ITEM, q->target, NULL);
    if (item->is_mutable) {
        r->has_seq = true;
        r->seq = item->seq;
        if (q->has_seq && item->seq <= q->seq)
            return 0; /* BEP 44: the asker has this version already */
        r->k = item->pk;
        r->sig = item->sig;
    }
    r->v = (struct ben){item->v.data, item->v.size};
    return 0;
}

static int serve_put(struct kad *k, const struct addr *from, const struct krpc_msg *q)
{
    struct kad_item item = {.is_mutable = q->k != NULL, .v = {q->v.data, q->v.size}};

    if (!q->v.data || (item.is_mutable && (!q->sig || !q->has_seq)))
        return KAD_ERROR_PROTOCOL;
    int code = check_writer(k, from, q);
    if (code)
        return code;
    if (item.is_mutable) {
        memcpy(item.pk, q->k, KEY_SIZE);
        memcpy(item.sig, q->sig, SIG_SIZE);
        item.seq = q->seq;
        item.salt = q->salt;
    }
    code = kad_store_put(k->store, k->now, &item, q->has_cas ? &q->cas : NULL, from);
    if (code == KAD_ERROR_SIGNATURE)
        kad_guard_bad_store(k->guard, k->now, from);
    return code;
}

static int serve_sget(struct kad *k, const struct addr *from, const struct krpc_msg *q,
                      struct serve_parts *parts, struct krpc_msg *r)
{
    struct kad_shard_id shard;
    struct kad_set_page page;
    uint8_t target[KAD_ID_SIZE];
    struct kad_set_query query = {.after = q->after, .upto = q->upto, .fresh = q->fresh};

    if (!q->target || !q->has_depth || kad_shard_parse(&shard, q->target, q->depth, q->prefix))
        return KAD_ERROR_PROTOCOL;
    add_token(k, from, parts, r);
    kad_shard_target(&shard, target);
    if (!q->after)
        add_nodes(k, from, q, target, parts, r);
    size_t used = SERVE_ENVELOPE + r->nodes.size + r->nodes6.size, room = node_room(k, from);
    if (room > k->datagram_max)
        room = k->datagram_max;
    query.max_bytes = room > used ? room - used : 1; /* at least one entry: contacts give way to it */
    kad_store_set_get(k->store, k->now, &shard, &query, &page);
    /* Another holder in its hour, which holds the same: as with items, it sees to the rest. What both have is
     * left out. */
    if (q->digest && memcmp(q->digest, page.digest, KAD_ID_SIZE) == 0) {
        page.more = page.more || page.n_entries > 0;
        page.n_entries = 0;
        if (node_is_proven(k, from))
            kad_store_seen(k->store, k->now, KAD_RECORD_SHARD, target, &shard);
    }
    struct bytes_out list = bytes_out(parts->list, sizeof parts->list);
    ben_put_list(&list);
    for (size_t i = 0; i < page.n_entries; i++)
        kad_entry_put(&list, &page.entries[i]);
    ben_put_end(&list);
    if (list.err)
        return KAD_ERROR_GENERIC;
    memcpy(parts->digest, page.digest, KAD_ID_SIZE);
    r->entries = (struct ben){parts->list, list.size};
    r->digest = parts->digest;
    r->has_held = true;
    r->held = page.n;
    r->more = page.more;
    r->split = page.split;
    return 0;
}

static int serve_sput(struct kad *k, const struct addr *from, const struct krpc_msg *q, struct krpc_msg *r)
{
    struct kad_entry entry = {.seq = q->seq, .v = {q->v.data, q->v.size}};

    if (!q->target || !q->has_depth || !q->k || !q->has_seq || !q->sig || !q->v.data)
        return KAD_ERROR_PROTOCOL;
    int code = check_writer(k, from, q);
    if (code)
        return code;
    memcpy(entry.pk, q->k, KEY_SIZE);
    memcpy(entry.sig, q->sig, SIG_SIZE);
    entry.age_s = q->age_s;
    entry.since_s = q->since_s;
    code = kad_store_set_put(k->store, k->now, q->target, q->depth, &entry, from);
    if (code == KAD_ERROR_SIGNATURE)
        kad_guard_bad_store(k->guard, k->now, from);
    if (code != KAD_STORE_SPLIT)
        return code;
    r->split = true;
    return 0;
}

static bool take_credit(struct kad *k)
{
    uint64_t passed = k->now.mono_ms - k->greet_ms, credit = k->greet_credit + passed * NODE_GREET_PER_S;

    k->greet_ms = k->now.mono_ms;
    k->greet_credit = (uint16_t)(credit < NODE_GREET_BURST * 1000 ? credit : NODE_GREET_BURST * 1000);
    if (k->greet_credit < 1000)
        return false;
    k->greet_credit = (uint16_t)(k->greet_credit - 1000);
    return true;
}

/* Somebody asked us something and may be a contact. It becomes one if it answers a ping;
 * those are rationed. */
static void greet(struct kad *k, const struct addr *from, const struct krpc_msg *q)
{
    struct node_net *net = node_net_of(k, from);
    struct table *table = &net->table;
    struct addr at = *from;

    if (q->ro || !node_network_ok(k, q))
        return;
    if (node_acceptable(k, q->id, from)) {
        const struct table_contact *known = table_find(table, q->id);
        if (known)
            at = table_addr(table, known);
        if (known && addr_equal(&at, from))
            return;
        /* The same id at another address: it moved, unless the old place still answers; so ask there. */
        if (known || !table_has_room(table, q->id, from)) {
            table_offer(table, q->id, from);
            if (!known)
                return;
        }
    } else if (net->self.family != 0) {
        return; /* while we do not know our own address, anybody may tell it */
    }
    if (rpc_is_asking(&k->rpc, &at))
        return;
    /* A far bucket that is half full can wait: the candidate is tried when there is nothing better to do. */
    bool wanted = net->self.family == 0 || !node_acceptable(k, q->id, from) || table_is_wanted(table, q->id);
    if (wanted && take_credit(k)) {
        node_challenge(k, &at, node_acceptable(k, q->id, &at) ? q->id : NULL);
    } else {
        table_offer(table, q->id, from);
        upkeep_candidate(k);
    }
}

void serve_query(struct kad *k, const struct addr *from, const struct krpc_msg *q)
{
    struct serve_parts parts;
    struct krpc_msg r = {.kind = KRPC_REPLY, .t = q->t};
    bool writes = q->method == KRPC_ANNOUNCE_PEER || q->method == KRPC_PUT || q->method == KRPC_SPUT;
    int code = 0;

    if (k->read_only)
        return;
    if (q->bad || (q->method != KRPC_NONE && !q->id)) {
        reply_error(k, from, q, KAD_ERROR_PROTOCOL);
        return;
    }
    switch (q->method) {
    case KRPC_PING: break;
    case KRPC_FIND_NODE: code = serve_find_node(k, from, q, &parts, &r); break;
    case KRPC_GET_PEERS: code = serve_get_peers(k, from, q, &parts, &r); break;
    case KRPC_ANNOUNCE_PEER: code = serve_announce_peer(k, from, q); break;
    case KRPC_GET: code = serve_get(k, from, q, &parts, &r); break;
    case KRPC_PUT: code = serve_put(k, from, q); break;
    case KRPC_SGET: code = serve_sget(k, from, q, &parts, &r); break;
    case KRPC_SPUT: code = serve_sput(k, from, q, &r); break;
    default: code = KAD_ERROR_METHOD; break;
    }
    if (code)
        reply_error(k, from, q, code);
    else
        node_reply(k, from, &r, writes && !r.split); /* BEP 5, 44: it was done; here: it is on disk */
    if (q->id)
        greet(k, from, q);
}
