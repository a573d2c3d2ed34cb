/* Inside the store: its structures, for the kad/store*.c alone.
 *
 * A record is what lies at one target: an item, a shard of a set, or the peers of an info-hash. It stands in
 * the map by target, in a dense vector, and in up to two heaps: by when it (or its first part) expires, and
 * by when it is due for replication. A unit is what counts against room: an item, an entry, a peer. It stands
 * in the pool of its kind, from which one is drawn when room must be made.
 *
 *     record: item ----------- is one unit          store.c         life, time, walking, statistics
 *             shard ---------- entries: units       store_records.c map, heaps, pools, dirty marks
 *             peer list ------ peers: units         store_item.c store_set.c store_peer.c store_disk.c
 */
#ifndef KAD_STORE_IMPL_H
#define KAD_STORE_IMPL_H
#include "kad/map.h"
#include "kad/store.h"

#define STORE_HEAP_NONE UINT32_MAX
#define STORE_NEVER UINT64_MAX
#define STORE_SPLIT_LIFE_S (7 * 86400) /* a split that nobody confirms lapses: the set may have shrunk */
#define STORE_SHARD_NEW_S 7200         /* see kad_store_shard_is_new */
#define STORE_TICK_MAX 256             /* records looked at in one tick */

enum store_kind { STORE_ITEM = KAD_RECORD_ITEM, STORE_SHARD = KAD_RECORD_SHARD, STORE_PEERS };
enum store_pool_kind { POOL_ITEMS, POOL_ENTRIES, POOL_PEERS, POOL_KINDS };
enum store_heap_kind { HEAP_EXPIRES, HEAP_DUE, HEAP_KINDS }; /* on wall_ms; on mono_ms */

struct store_record {
    uint8_t kind;
    uint8_t depth; /* shard; a root and a child's target may not be taken for one another */
    uint8_t target[KAD_ID_SIZE];
    uint32_t hash;
    uint32_t index;           /* in store.records */
    uint32_t pos[HEAP_KINDS]; /* in the heaps, or STORE_HEAP_NONE */
    uint64_t when[HEAP_KINDS];
    uint64_t kept_ms;         /* mono: when we last saw to it ourselves, or this version came; 0 = not yet */
};

struct store_unit {
    uint64_t source; /* store_source(): who brought it; 0 = ourselves */
    uint32_t index;  /* in its pool */
    uint8_t pool;
    bool dirty; /* its key waits in store.dirty */
};

struct store_item {
    struct store_record record;
    struct store_unit unit;
    uint8_t pk[KEY_SIZE], sig[SIG_SIZE];
    int64_t seq;
    uint32_t exp_s, seen_s; /* Unix seconds */
    bool is_mutable, has_exp;
    uint8_t salt_size;
    uint16_t v_size;
    uint8_t data[]; /* salt, then v */
};

struct store_entry {
    struct store_unit unit;
    struct store_shard *shard;
    uint8_t slot[KAD_SLOT_SIZE];
    uint8_t pk[KEY_SIZE], sig[SIG_SIZE];
    int64_t seq;
    uint32_t exp_s, seen_s, since_s, refreshed_s; /* Unix seconds */
    uint16_t v_size;
    bool tombstone;
    uint8_t v[];
};

struct store_shard {
    struct store_record record;
    struct kad_shard_id at;
    uint32_t n, cap, tombstones;  /* n counts tombstones too */
    struct store_entry **entries; /* by slot */
    uint32_t created_s;           /* Unix seconds; 0 = was loaded, or is no longer new */
    uint32_t split_s;             /* when it split, or that was last confirmed; 0 = not split */
    bool split_dirty;
    uint8_t digest[KAD_ID_SIZE];
};

struct store_peer {
    struct store_unit unit;
    struct store_peers *list;
    struct addr addr;
    uint32_t exp_s;
};

struct store_peers {
    struct store_record record;
    uint32_t n, cap, next; /* next: where the following answer starts */
    struct store_peer **peers;
};

struct store_heap {
    struct store_record **at;
    uint64_t first; /* the time of at[0]: asked for in every turn, when that record is far from any cache */
    uint32_t n, cap;
};

struct store_pool {
    struct store_unit **all;
    uint32_t n, cap, max;
    struct kad_map sources; /* how many units each source has here */
    struct kad_map keys;    /* how many each public key has (items, entries) */
};

struct store_dirty {
    uint8_t size;
    uint8_t key[KAD_STORE_KEY_MAX];
};

struct kad_store {
    const struct rng *rng;
    struct kad_verified *verified;
    bool persist, no_shares, no_splits;
    uint8_t hash_key[16];
    struct kad_map map; /* record hash -> index in records */
    struct store_record **records;
    uint32_t n_records, cap_records;
    struct store_heap heaps[HEAP_KINDS];
    struct store_pool pools[POOL_KINDS];
    struct store_dirty *dirty; /* a queue: drained from dirty_at, freed when empty */
    uint32_t n_dirty, dirty_at, cap_dirty;
    uint8_t *value; /* of the last kad_store_next_dirty */
    struct kad_store_stats stats;
};

/* ---- store_records.c ---------------------------------------------------------------------------------- */

/* The sender's network as one number: /24 or /48, since those come cheap together; ip and port in local
 * ranges. */
uint64_t store_source(const struct addr *from);

uint32_t store_hash(const struct kad_store *s, uint8_t kind, uint8_t depth,
                    const uint8_t target[KAD_ID_SIZE]);
struct store_record *store_find(const struct kad_store *s, uint8_t kind, uint8_t depth,
                                const uint8_t target[KAD_ID_SIZE]);
/* Grows everything that adding one record and one unit needs, so that adding cannot fail. CAM_ESYS. */
int store_reserve(struct kad_store *s, enum store_pool_kind pool);
void store_record_add(struct kad_store *s,
                      struct store_record *r); /* kind, depth, target are set; reserved */
void store_record_remove(struct kad_store *s, struct store_record *r); /* does not free it */
void store_record_moved(struct kad_store *s, struct store_record *r);  /* after realloc */
void store_schedule(struct kad_store *s, struct store_record *r, enum store_heap_kind h, uint64_t when);

/* Whether a unit from `source` may be added: 0, or KAD_ERROR_FULL. When somebody must give way for it,
 * *ret_victim is who (removed by the caller once the signature was found good), else NULL. `key`: NULL, or
 * the public key that it counts for, at most key_max of them. */
int store_room(struct kad_store *s, enum store_pool_kind pool, uint64_t source, const uint8_t *key,
               uint32_t key_max, struct store_unit **ret_victim);
void store_unit_add(struct kad_store *s, struct store_unit *u, enum store_pool_kind pool, uint64_t source,
                    const uint8_t *key); /* reserved */
void store_unit_remove(struct kad_store *s, struct store_unit *u, const uint8_t *key);
void store_unit_moved(struct kad_store *s, struct store_unit *u);
/* Removes a unit of any kind with all that hangs on it. */
void store_displace(struct kad_store *s, struct store_unit *u);

/* Puts a key in the queue of what must be written; the value is looked up when it is drained. */
void store_mark(struct kad_store *s, struct span key, bool *dirty);
uint64_t store_due_ms(struct kad_store *s, struct now now); /* in an hour, more or less */
/* Others say that they see to it in this hour; see kad_store_seen. */
void store_leave(struct kad_store *s, struct now now, struct store_record *r);
int store_verify_status(int err); /* CAM_E of a verification -> the error code to answer with */

/* ---- store_item.c ------------------------------------------------------------------------------------- */

void store_item_view(const struct store_item *item, struct kad_item *ret);
uint32_t store_life_s(struct span salt, bool is_mutable); /* the longest life of an item's kind */
void store_item_remove(struct kad_store *s, struct store_item *item);
/* Adds an item that was checked, or replaces the version held (`old`, may be NULL). NULL: no memory. */
struct store_item *store_item_set(struct kad_store *s, struct now now, struct store_item *old,
                                  const uint8_t target[KAD_ID_SIZE], const struct kad_item *item,
                                  uint32_t exp_s, bool has_exp, uint64_t source);

/* ---- store_set.c -------------------------------------------------------------------------------------- */

struct store_shard *store_shard_find(struct kad_store *s, const struct kad_shard_id *at);
struct store_shard *store_shard_make(struct kad_store *s, struct now now,
                                     const struct kad_shard_id *at);                     /* NULL */
void store_shard_expire(struct kad_store *s, struct now now, struct store_shard *shard); /* may free it */
void store_shard_settle(struct kad_store *s, struct store_shard *shard); /* may free it; sets its expiry */
uint32_t store_shard_seen_s(
    const struct store_shard *shard); /* the longest ago that one of its entries was put */
struct store_entry *store_entry_find(const struct store_shard *shard, const uint8_t slot[KAD_SLOT_SIZE],
                                     uint32_t *ret_at);
struct store_entry *store_entry_set(struct kad_store *s, struct store_shard *shard, struct store_entry *old,
                                    const struct kad_entry *entry, uint32_t exp_s, uint64_t source);
void store_entry_remove(struct kad_store *s, struct store_entry *entry); /* leaves the shard, even if empty */
void store_entry_view(const struct store_entry *e, struct now now, struct kad_entry *ret);

/* ---- store_peer.c ------------------------------------------------------------------------------------- */

void store_peer_remove(struct kad_store *s,
                       struct store_peer *peer); /* frees its list when it was the last */
void store_peers_expire(struct kad_store *s, struct now now, struct store_peers *list);
struct store_peer *store_peer_set(struct kad_store *s, struct now now, const uint8_t info_hash[KAD_ID_SIZE],
                                  const struct addr *addr, uint32_t exp_s, uint64_t source);

/* ---- store_disk.c ------------------------------------------------------------------------------------- */

void store_mark_item(struct kad_store *s, struct store_item *item);
void store_mark_entry(struct kad_store *s, struct store_entry *entry);
void store_mark_split(struct kad_store *s, struct store_shard *shard);
void store_mark_peer(struct kad_store *s, struct store_peer *peer);

static inline uint32_t store_now_s(struct now now) { return (uint32_t)(now.wall_ms / 1000); }

#endif
