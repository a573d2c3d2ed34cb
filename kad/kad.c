/* The façade: life, requests, what is saved, looking in. The verbs kad_recv and kad_tick are in node.c,
 * kad_next_event in event.c. */
#include "kad/kad.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/hash.h"
#include "kad/node.h"
#include "kad/peers.h"
#include "kad/request.h"
#include "kad/setread.h"

#define SAVE_SMALL 32          /* contacts: below this a changed table is saved within ... */
#define SAVE_SMALL_MS 1000
#define SAVE_MS 30000          /* ... else within this */
#define KAD_K_MAX 64
#define CONTACT_BYTES_MAX (1 + KAD_ID_SIZE + ADDR_COMPACT_MAX)

/* ---- life ---------------------------------------------------------------------------------------------- */

struct kad *kad_new(const struct kad_config *config, const struct rng *rng, struct now now)
{
    unsigned n_nets = config->use_v6 ? 2 : 1;
    struct kad *k = calloc(1, sizeof *k + n_nets * sizeof *k->net);
    uint8_t id[KAD_ID_SIZE], word[SHA1_SIZE];
    const char *network = config->network ? config->network : "";

    if (!k)
        return NULL;
    k->rng = *rng;
    k->now = now;
    k->k = config->k && config->k <= KAD_K_MAX ? config->k : KAD_K;
    k->n_nets = (uint8_t)n_nets;
    k->alpha = config->alpha ? config->alpha : KAD_ALPHA;
    k->read_only = config->read_only;
    k->without = config->without;
    k->has_network = network[0] != 0;
    hash_sha1(word, network, strlen(network));
    memcpy(k->network, word, sizeof k->network);
    k->datagram_max = k->has_network ? KAD_DATAGRAM_USUAL : KAD_DATAGRAM_PUBLIC;
    id_random(rng, id);
    for (unsigned net = 0; net < k->n_nets; net++) {
        k->net[net].used = net == 0 ? config->use_v4 : config->use_v6;
        table_init(&k->net[net].table, net == 0 ? 4 : 6, k->k, id);
        k->net[net].table.any_subnet = k->without & KAD_WITHOUT_SUBNETS;
    }
    rpc_init(&k->rpc, &k->rng);
    kad_verified_init(&k->verified, &k->rng);
    struct kad_store_config store = {.items_max = config->items_max, .entries_max = config->entries_max,
                                     .peers_max = config->peers_max, .persist = true,
                                     .no_shares = k->without & KAD_WITHOUT_SHARES,
                                     .no_splits = k->without & KAD_WITHOUT_SPLITS};
    k->guard = kad_guard_new(&k->rng);
    k->store = kad_store_new(&store, &k->rng, &k->verified);
    if (!k->guard || !k->store) {
        kad_free(k);
        return NULL;
    }
    if (k->without & KAD_WITHOUT_BUDGETS)
        kad_guard_disarm(k->guard);
    join_init(k);
    upkeep_init(k);
    k->request_next_ms = NOW_NEVER;
    k->self_dirty = true;
    return k;
}

void kad_free(struct kad *k)
{
    if (!k)
        return;
    request_free_all(k);
    event_clear(k);
    join_clear(k);
    upkeep_clear(k);
    spread_clear(k);
    rpc_clear(&k->rpc);
    rpc_queue_clear(&k->out);
    rpc_queue_clear(&k->stored);
    for (unsigned net = 0; net < k->n_nets; net++)
        table_clear(&k->net[net].table);
    kad_store_free(k->store);
    kad_guard_free(k->guard);
    kad_verified_clear(&k->verified);
    free(k->liars);
    free(k->dirty_buf);
    free(k->set_hints);
    free(k);
}

void kad_reset_store(struct kad *k, struct now now)
{
    k->now = now;
    kad_store_reset(k->store);
    rpc_queue_clear(&k->out);
    rpc_queue_clear(&k->stored);
    event_clear(k);
    k->self_dirty = k->table_changed = true; /* the write that failed may have been theirs */
}

/* ---- what is saved ------------------------------------------------------------------------------------- */

/* Beside the store's records there are two, both replaced whole:
 *
 *     "node"     offset  size
 *                     0     1   version, 1
 *                     1    20   id on IPv4
 *                    21    20   id on IPv6, or the other once more when it is not used
 *                    41    16   token secret
 *                    57     4   mean round trip times 8, ms (so a restart knows at once how long to wait)
 *                    61     4   its deviation times 4, ms
 *
 *     "table"         0     1   version, 1
 *                     1     .   contacts: family 4 or 6, id 20, compact address 6 or 18
 */
#define SAVED_VERSION 1
#define NODE_RECORD_SIZE (1 + 2 * KAD_ID_SIZE + KAD_GUARD_SECRET_SIZE + 4 + 4)

static struct span save_node(struct kad *k)
{
    struct bytes_out out = bytes_out(k->dirty_buf, NODE_RECORD_SIZE);
    uint8_t secret[KAD_GUARD_SECRET_SIZE];

    kad_guard_secret(k->guard, secret);
    bytes_put_u8(&out, SAVED_VERSION);
    bytes_put(&out, k->net[0].table.self, KAD_ID_SIZE);
    bytes_put(&out, k->net[k->n_nets - 1].table.self, KAD_ID_SIZE);
    bytes_put(&out, secret, sizeof secret);
    bytes_put_u32(&out, k->rpc.has_rtt ? k->rpc.rtt8_ms : UINT32_MAX);
    bytes_put_u32(&out, k->rpc.dev4_ms);
    return span(out.buf, out.size);
}

/* A node at work goes back to what the disk says of records (kad_reset_store), not of itself. */
static bool is_at_work(const struct kad *k)
{
    return k->booted || node_contacts(k) > 0;
}

static int load_node(struct kad *k, struct span value)
{
    struct bytes_in in = bytes_in(value.data, value.size);
    uint8_t version = bytes_get_u8(&in);
    const uint8_t *id4 = bytes_get(&in, KAD_ID_SIZE), *id6 = bytes_get(&in, KAD_ID_SIZE);
    const uint8_t *secret = bytes_get(&in, KAD_GUARD_SECRET_SIZE);
    uint32_t rtt8_ms = bytes_get_u32(&in), dev4_ms = bytes_get_u32(&in);

    if (bytes_end(&in) || version != SAVED_VERSION)
        return CAM_EFORMAT;
    if (is_at_work(k))
        return 0;
    table_rename(&k->net[0].table, id4);
    if (k->n_nets > 1)
        table_rename(&k->net[1].table, id6);
    kad_guard_set_secret(k->guard, secret);
    if (rtt8_ms <= 8 * RPC_HARD_MAX_MS && dev4_ms <= 4 * RPC_HARD_MAX_MS) {
        k->rpc.rtt8_ms = rtt8_ms;
        k->rpc.dev4_ms = dev4_ms;
        k->rpc.has_rtt = true;
    }
    k->self_dirty = false;
    return 0;
}

static void save_contact(struct bytes_out *out, const uint8_t *id, const struct addr *addr)
{
    uint8_t compact[ADDR_COMPACT_MAX];

    bytes_put_u8(out, addr->family);
    bytes_put(out, id, KAD_ID_SIZE);
    bytes_put(out, compact, addr_compact(addr, compact));
}

static size_t saved_contacts(const struct kad *k)
{
    return node_contacts(k) + k->n_known;
}

/* Everybody in the table, and everybody who may come back. */
static struct span save_table(struct kad *k)
{
    struct bytes_out out = bytes_out(k->dirty_buf, 1 + saved_contacts(k) * CONTACT_BYTES_MAX);

    bytes_put_u8(&out, SAVED_VERSION);
    for (unsigned net = 0; net < k->n_nets; net++) {
        const struct table *t = &k->net[net].table;
        for (unsigned i = 0; i < t->n; i++) {
            struct addr addr = table_addr(t, &t->contacts[i]);
            save_contact(&out, t->contacts[i].id, &addr);
        }
    }
    for (unsigned i = 0; i < k->n_known; i++)
        if (!k->known[i].hint)
            save_contact(&out, k->known[i].id, &k->known[i].addr);
    return span(out.buf, out.size);
}

static int load_table(struct kad *k, struct span value)
{
    struct bytes_in in = bytes_in(value.data, value.size);
    struct addr addr;

    if (bytes_get_u8(&in) != SAVED_VERSION)
        return CAM_EFORMAT;
    if (is_at_work(k))
        return 0;
    while (bytes_left(&in) > 0 && !in.err) {
        uint8_t family = bytes_get_u8(&in);
        size_t size = family == 4 ? 6 : 18;
        const uint8_t *id = bytes_get(&in, KAD_ID_SIZE), *compact = bytes_get(&in, size);
        if (in.err || (family != 4 && family != 6) || addr_from_compact(compact, size, &addr))
            return CAM_EFORMAT;
        join_remember(k, id, &addr);
    }
    return bytes_end(&in);
}

int kad_load(struct kad *k, struct now now, struct span key, struct span value)
{
    k->now = now;
    if (span_equal(key, span_str("node")))
        return load_node(k, value);
    if (span_equal(key, span_str("table")))
        return load_table(k, value);
    if (kad_store_owns_key(key))
        return kad_store_load(k->store, now, key, value);
    return CAM_EFORMAT;
}

void kad_flush(struct kad *k, struct now now)
{
    k->now = now;
    k->self_dirty = k->table_dirty = true;
}

static uint64_t save_due_ms(const struct kad *k)
{
    bool small = node_contacts(k) < SAVE_SMALL;

    return k->table_changed ? k->saved_ms + (small ? SAVE_SMALL_MS : SAVE_MS) : NOW_NEVER;
}

bool kad_next_dirty(struct kad *k, struct kad_dirty *ret_dirty)
{
    bool table = k->table_dirty || save_due_ms(k) <= k->now.mono_ms;

    free(k->dirty_buf);
    k->dirty_buf = NULL;
    if (k->self_dirty || table) {
        size_t size = 1 + saved_contacts(k) * CONTACT_BYTES_MAX;
        k->dirty_buf = malloc(size > NODE_RECORD_SIZE ? size : NODE_RECORD_SIZE);
        if (!k->dirty_buf)
            return false;
        if (k->self_dirty) {
            k->self_dirty = false;
            *ret_dirty = (struct kad_dirty){span_str("node"), save_node(k)};
            return true;
        }
        k->table_dirty = k->table_changed = false;
        k->saved_ms = k->now.mono_ms;
        *ret_dirty = (struct kad_dirty){span_str("table"), save_table(k)};
        return true;
    }
    return kad_store_next_dirty(k->store, k->now, ret_dirty);
}

bool kad_next_out(struct kad *k, struct kad_datagram *ret_out)
{
    return rpc_queue_next(&k->out, ret_out) || rpc_queue_next(&k->stored, ret_out);
}

bool kad_next_plain(struct kad *k, struct kad_datagram *ret_out)
{
    return rpc_queue_next(&k->out, ret_out);
}

uint64_t kad_deadline_ms(const struct kad *k)
{
    uint64_t times[] = {rpc_deadline_ms(&k->rpc), join_deadline_ms(k), upkeep_deadline_ms(k),
                        request_deadline_ms(k), save_due_ms(k)};
    uint64_t next = NOW_NEVER;

    for (unsigned i = 0; i < sizeof times / sizeof *times; i++)
        next = times[i] < next ? times[i] : next;
    return next;
}

/* ---- requests ------------------------------------------------------------------------------------------ */

int kad_join(struct kad *k, struct now now, const struct addr *addr)
{
    k->now = now;
    return join_add(k, addr);
}

int kad_hint(struct kad *k, struct now now, const struct addr *addr)
{
    k->now = now;
    return join_hint(k, addr);
}

int kad_ping(struct kad *k, struct now now, const struct addr *addr, uint64_t tag)
{
    k->now = now;
    const struct node_net *net = node_net_of(k, addr);
    if (!net || !addr_is_usable(addr))
        return CAM_EINVAL;
    struct request *r = request_new(k, REQUEST_PING, NULL, tag);
    if (!r)
        return CAM_EFULL;
    r->addr = *addr;
    request_submit(k, r);
    return 0;
}

int kad_find(struct kad *k, struct now now, const uint8_t target[KAD_ID_SIZE], bool trace, uint64_t tag)
{
    k->now = now;
    struct request *r = request_new(k, REQUEST_FIND, target, tag);
    if (!r)
        return CAM_EFULL;
    r->trace = trace;
    request_submit(k, r);
    return 0;
}

int kad_get(struct kad *k, struct now now, const uint8_t target[KAD_ID_SIZE], const uint8_t *pk,
            struct span salt, uint64_t tag)
{
    k->now = now;
    if (salt.size > KAD_SALT_MAX)
        return CAM_ETOOBIG;
    struct request *r = request_new(k, REQUEST_GET, target, tag);
    if (!r)
        return CAM_EFULL;
    if (pk)
        memcpy(r->item.pk, pk, KEY_SIZE);
    r->has_pk = pk != NULL;
    if (salt.size)
        memcpy(r->salt, salt.data, salt.size);
    r->item.salt = span(r->salt, salt.size);
    request_submit(k, r);
    return 0;
}

int kad_put(struct kad *k, struct now now, const struct kad_item *item, const int64_t *cas, uint64_t tag)
{
    uint8_t target[KAD_ID_SIZE];

    k->now = now;
    int code = kad_item_check(item);
    if (code)
        return code == KAD_ERROR_TOOBIG || code == KAD_ERROR_SALT ? CAM_ETOOBIG : CAM_EINVAL;
    kad_item_target(item, target);
    struct request *r = request_new(k, REQUEST_PUT, target, tag);
    if (!r)
        return CAM_EFULL;
    if (walk_set_item(r, item)) {
        request_discard(r);
        return CAM_EFULL;
    }
    r->has_cas = cas && item->is_mutable;
    r->cas = cas ? *cas : 0;
    request_submit(k, r);
    return 0;
}

int kad_set_put(struct kad *k, struct now now, const uint8_t root[KAD_ID_SIZE], const struct kad_entry *entry,
                uint64_t tag)
{
    k->now = now;
    int code = kad_entry_check(entry);
    if (code)
        return code == KAD_ERROR_TOOBIG ? CAM_ETOOBIG : CAM_EINVAL;
    struct request *r = request_new(k, REQUEST_SET_PUT, root, tag);
    if (!r)
        return CAM_EFULL;
    if (setwalk_for_put(r, root, entry)) {
        request_discard(r);
        return CAM_EFULL;
    }
    request_submit(k, r);
    return 0;
}

int kad_set_get(struct kad *k, struct now now, const uint8_t root[KAD_ID_SIZE], bool fresh, uint32_t max,
                uint64_t tag)
{
    k->now = now;
    struct request *r = request_new(k, REQUEST_SET_GET, root, tag);
    if (!r)
        return CAM_EFULL;
    if (setread_for_get(r, root, fresh, max)) {
        request_discard(r);
        return CAM_EFULL;
    }
    request_submit(k, r);
    return 0;
}

int kad_set_count(struct kad *k, struct now now, const uint8_t root[KAD_ID_SIZE], bool exact, uint64_t tag)
{
    k->now = now;
    struct request *r = request_new(k, REQUEST_SET_GET, root, tag);
    if (!r)
        return CAM_EFULL;
    if (setread_for_count(r, root, exact)) {
        request_discard(r);
        return CAM_EFULL;
    }
    request_submit(k, r);
    return 0;
}

int kad_get_peers(struct kad *k, struct now now, const uint8_t info_hash[KAD_ID_SIZE], uint64_t tag)
{
    k->now = now;
    struct request *r = request_new(k, REQUEST_PEERS, info_hash, tag);
    if (!r)
        return CAM_EFULL;
    if (peers_for_get(r)) {
        request_discard(r);
        return CAM_EFULL;
    }
    request_submit(k, r);
    return 0;
}

int kad_announce(struct kad *k, struct now now, const uint8_t info_hash[KAD_ID_SIZE], uint16_t port,
                 uint64_t tag)
{
    k->now = now;
    struct request *r = request_new(k, REQUEST_ANNOUNCE, info_hash, tag);
    if (!r)
        return CAM_EFULL;
    if (peers_for_announce(r, port)) {
        request_discard(r);
        return CAM_EFULL;
    }
    request_submit(k, r);
    return 0;
}

/* ---- looking in ---------------------------------------------------------------------------------------- */

const uint8_t *kad_node_id(const struct kad *k)
{
    return k->net[k->net[0].used ? 0 : 1].table.self;
}

struct addr kad_self_addr(const struct kad *k)
{
    return k->net[k->net[0].self.family || k->n_nets == 1 ? 0 : 1].self;
}

/* The duration below which `share` of the lookups stayed, to a quarter of an octave. */
static uint32_t latency_at(const struct kad *k, double share)
{
    uint64_t all = 0, seen = 0;

    for (unsigned i = 0; i < 64; i++)
        all += k->latency[i];
    for (unsigned i = 0; i < 64; i++) {
        seen += k->latency[i];
        if (seen > 0 && (double)seen >= share * (double)all)
            return (uint32_t)(exp2(i / 4.0) - 0.5);
    }
    return 0;
}

_Static_assert(KAD_QUERY_KINDS == KRPC_METHODS, "each kind of query is counted");

const char *kad_query_name(unsigned kind)
{
    if (kind >= KRPC_METHODS)
        return NULL;
    return kind == KRPC_NONE ? "unknown" : krpc_method_name((enum krpc_method)kind);
}

void kad_stats(const struct kad *k, struct kad_stats *ret_stats)
{
    struct kad_store_stats held;
    struct kad_stats *s = ret_stats;

    kad_store_stats(k->store, &held);
    *s = k->stats;
    s->contacts = (uint32_t)node_good(k);
    for (unsigned net = 0; net < k->n_nets; net++) {
        const struct table *t = &k->net[net].table;
        s->contacts_v6 = t->family == 6 ? (uint32_t)table_good(t) : 0;
        s->cached += t->n_cache;
        for (unsigned b = 0; b < TABLE_BUCKETS; b++)
            s->buckets += t->count[b] > 0;
    }
    s->items = held.items;
    s->entries = held.entries;
    s->peers = held.peers;
    s->store_bytes = held.bytes;
    s->lookups_running = k->n_active + k->n_inner;
    s->lookup_p50_ms = latency_at(k, 0.50);
    s->lookup_p99_ms = latency_at(k, 0.99);
    s->refused_signature += held.refused_signature;
    s->refused_stale += held.refused_stale;
    s->refused_full += held.refused_full;
    s->refused_form += held.refused_form;
}

bool kad_contact_at(const struct kad *k, struct now now, size_t i, struct kad_contact *ret_contact)
{
    unsigned net = 0;

    while (net < k->n_nets && i >= k->net[net].table.n)
        i -= k->net[net++].table.n;
    if (net == k->n_nets)
        return false;
    const struct table *t = &k->net[net].table;
    const struct table_contact *c = &t->contacts[i];
    memcpy(ret_contact->id, c->id, KAD_ID_SIZE);
    ret_contact->addr = table_addr(t, c);
    ret_contact->rtt_ms = c->rtt_ms;
    ret_contact->age_s = table_age_s(c, now.mono_ms);
    return true;
}

void kad_check(const struct kad *k)
{
    for (unsigned net = 0; net < k->n_nets; net++)
        table_check(&k->net[net].table);
    rpc_check(&k->rpc);
    request_check(k);
    kad_store_check(k->store);
    kad_guard_check(k->guard);
    assert(k->n_known <= NODE_REMEMBER_MAX + NODE_JOIN_MAX + NODE_HINTS_MAX + NODE_LOST_MAX &&
           k->asking <= k->n_known);
    const struct rpc_queue *queues[] = {&k->out, &k->stored};
    for (unsigned i = 0; i < 2; i++)
        assert(queues[i]->head <= queues[i]->tail && queues[i]->tail <= queues[i]->cap &&
               queues[i]->cap <= RPC_QUEUE_MAX);
}
