/* What this node holds for the network: items (BEP 44), shards of signed sets, and peers (BEP 5). Nothing
 * enters without its checks, in the order of their cost: size, form, expiry, seq and cas, room, and the
 * signature last. The caller has checked the write token and the sender's budget (kad/guard.h) before it
 * comes here.
 *
 * - Life: a value with `exp` lives until then; one whose exp is past, or beyond the life of its kind, is
 *   refused (never clipped). An item without exp lives 2 h from its last put. Peers live 30 minutes. What has
 *   expired is never seen again through this interface, even before kad_store_tick has removed it.
 * - Version: kad_version_compare. The same version put again changes nothing, but counts as seen: who put it
 *   has put it at the other holders too, so this node need not within the hour (kad_store_seen).
 * - Room: bounded by configuration, per sender and per key. When the store is full, a sender that has few
 *   records here displaces one of a sender that has many (16 drawn at random, the one of the largest sender
 *   goes), so a flood from a few places costs only itself; else 202.
 * - Memory: an empty store is one small allocation. Everything grows as it is used and shrinks again.
 *
 *     struct kad_store *s = kad_store_new(&config, &rng, &verified);
 *     int code = kad_store_put(s, now, &item, cas, &from);     // 0 or a KRPC error code to answer with
 *     while (kad_store_due(s, now, &record)) replicate(&record);
 *     while (kad_store_next_dirty(s, now, &dirty)) write(dirty.key, dirty.value);
 *
 *           put/announce                     tick: expired, or displaced
 *     (none) ----------> held, seen now -----------------------------------> (none), key dirty with no value
 *                        |  ^  put of the same version: seen
 *          due after 1 h |  |  put of a newer one: replaced
 *                        v  |
 *                  handed to the caller to replicate, next due in 1 h
 */
#ifndef KAD_STORE_H
#define KAD_STORE_H
#include "kad/set.h"
#include "kad/verified.h"

#define KAD_ITEMS_DEFAULT 65536
#define KAD_ENTRIES_DEFAULT 262144
#define KAD_PEERS_DEFAULT 16384
#define KAD_LIFE_MAX_S (400 * 86400) /* signed expiry: no kind known */
#define KAD_LIFE_CONNECTIONS_S 7200  /* salt "connections/..." */
#define KAD_LIFE_SLACK_S 600         /* clocks differ: an exp may lie this far beyond its kind's life */
#define KAD_LIFE_PLAIN_S 7200        /* BEP 44, values without exp */
#define KAD_LIFE_PEER_S 1800
#define KAD_REPLICATE_S 3600     /* +- 10 %, so that holders do not move together */
#define KAD_REPLICATE_FAR 6      /* times longer for an item that k closer ones hold */
#define KAD_REPLICATE_LEFT 12    /* times, at most, that it is left to others who say that they see to it */
#define KAD_KEY_ITEMS_MAX 1024   /* mutable items of one public key here */
#define KAD_KEY_ENTRIES_MAX 8192 /* set entries of one public key here, over all roots */
#define KAD_PEERS_PER_HASH_MAX 128

struct kad_store;

struct kad_store_config {
    uint32_t items_max, entries_max, peers_max; /* 0 = the defaults above */
    bool persist;                               /* keep dirty marks; the caller drains them each turn */
    bool no_shares, no_splits;                  /* experiments: a full store, a full shard stays as it is */
};

struct kad_store_stats {
    uint32_t items, entries, tombstones, shards, peers; /* entries does not count tombstones */
    uint64_t bytes;                                     /* memory of the records themselves */
    uint64_t refused_signature, refused_stale, refused_full, refused_form, displaced;
};

enum kad_record_kind { KAD_RECORD_ITEM = 1, KAD_RECORD_SHARD };

struct kad_record { /* borrowed from the store until it is next changed */
    enum kad_record_kind kind;
    uint8_t target[KAD_ID_SIZE];
    struct kad_item item;      /* ITEM */
    struct kad_shard_id shard; /* SHARD; its entries through kad_store_entry_next */
    uint32_t n;                /* SHARD: live entries */
    bool split;                /* SHARD: entries are to go down to the children */
};

/* `rng` and `verified` are borrowed and must outlive the store; `verified` may be NULL. NULL: no memory. */
struct kad_store *kad_store_new(const struct kad_store_config *config, const struct rng *rng,
                                struct kad_verified *verified);
void kad_store_free(struct kad_store *s);
void kad_store_reset(struct kad_store *s); /* forget all records and dirty marks; configuration stays */

/* ---- items (BEP 44) ----------------------------------------------------------------------------------- */

/* Put an item. `cas`: NULL, or the seq that must be held now (ignored when nothing is held). `from`: who sent
 * it; NULL for ourselves (no per-sender bound). Everything is copied.
 * 0 (stored, or the same version seen again), or 202 203 205 206 207 301 302. */
int kad_store_put(struct kad_store *s, struct now now, const struct kad_item *item, const int64_t *cas,
                  const struct addr *from);
/* 0 and a borrowed view, or CAM_ENOENT. */
int kad_store_get(struct kad_store *s, struct now now, const uint8_t target[KAD_ID_SIZE],
                  struct kad_item *ret_item);

/* ---- signed sets -------------------------------------------------------------------------------------- */

#define KAD_STORE_SPLIT 1 /* not stored: the shard is split, put it at depth + 1 */

/* Put an entry into the shard at `depth` that its key belongs to. entry->age_s is what the sender claims (0
 * from the writer itself) and is believed for a version that is new here. since_s is not looked at: who could
 * claim it could take a name; an entry is first seen now, until kad_store_set_times says what the other
 * holders saw. 0, KAD_STORE_SPLIT, or 202 203 205 206 302. */
int kad_store_set_put(struct kad_store *s, struct now now, const uint8_t root[KAD_ID_SIZE], int64_t depth,
                      const struct kad_entry *entry, const struct addr *from);
/* A page of a shard. A shard not held is an empty page with n = 0 (and split as it is). */
void kad_store_set_get(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                       const struct kad_set_query *query, struct kad_set_page *ret_page);
/* The next entry after slot `after` (NULL: the first), tombstones too, that nobody has put here for
 * `unseen_s` seconds (0: any). Walks a whole shard for replication or hand-over. False past the end. */
bool kad_store_entry_next(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                          const uint8_t *after, uint32_t unseen_s, struct kad_entry *ret_entry,
                          uint8_t ret_slot[KAD_SLOT_SIZE]);
/* One key's entry: 0 or CAM_ENOENT. */
int kad_store_entry_get(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                        const uint8_t pk[KEY_SIZE], struct kad_entry *ret_entry);
/* The medians of since_s and age_s over the holders that were asked override what puts claimed; the latter
 * only of the version that we hold. */
void kad_store_set_times(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                         const struct kad_entry *entry);
/* True while the shard is so new here that the others should be asked for these (once; then call
 * kad_store_set_times for each entry). */
bool kad_store_shard_is_new(struct kad_store *s, struct now now, const struct kad_shard_id *at);
/* The holders of the child (or parent) have acknowledged this version: drop it here. A newer one stays, and
 * so does the last of a split shard, by which others hear of it. */
void kad_store_handed(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                      const uint8_t pk[KEY_SIZE], int64_t seq);
/* Most other holders say it is split / the children together hold fewer than KAD_SHARD_MERGE_MAX. */
void kad_store_split(struct kad_store *s, struct now now, const struct kad_shard_id *at);
void kad_store_reopen(struct kad_store *s, struct now now, const struct kad_shard_id *at);

/* ---- peers (BEP 5) ------------------------------------------------------------------------------------ */

/* 0 or 202 203. `peer` has the port to remember. */
int kad_store_announce(struct kad_store *s, struct now now, const uint8_t info_hash[KAD_ID_SIZE],
                       const struct addr *peer, const struct addr *from);
/* Up to `max` peers of one family (4, 6), a different part each time when there are more. Returns how many.
 * */
size_t kad_store_peers(struct kad_store *s, struct now now, const uint8_t info_hash[KAD_ID_SIZE],
                       uint8_t family, struct addr *ret_peers, size_t max);

/* ---- time --------------------------------------------------------------------------------------------- */

void kad_store_tick(struct kad_store *s, struct now now); /* removes what has expired; bounded work a call */
uint64_t kad_store_deadline_ms(const struct kad_store *s,
                               struct now now); /* mono_ms: next expiry or next due; NOW_NEVER */

/* The next record that nobody else has put here for an hour: replicate it to the k closest. It is next due in
 * an hour. Items without exp are never due (each put would lengthen their life). Of a shard, replicate what
 * kad_store_entry_next(..., KAD_REPLICATE_S / 2, ...) yields; a split one hands its entries down; one whose
 * parent is no longer split hands them up. False: nothing due now. */
bool kad_store_due(struct kad_store *s, struct now now, struct kad_record *ret_record);
/* The item lies at k nodes that are all closer to it than we are. */
void kad_store_far(struct kad_store *s, struct now now, const uint8_t target[KAD_ID_SIZE]);
/* Due again no earlier than in an hour: others say that they see to it. What has been left to them for
 * KAD_REPLICATE_LEFT hours is due all the same, as is a shard that is split or below the root. */
void kad_store_seen(struct kad_store *s, struct now now, enum kad_record_kind kind,
                    const uint8_t target[KAD_ID_SIZE],
                    const struct kad_shard_id *at); /* `at` for SHARD, else NULL */

/* Every replicable record, in any number of steps, while the store changes: none that stays is left out, some
 * may come twice. Start with cursor = KAD_WALK_START. For what a new contact should hold. */
#define KAD_WALK_START UINT32_MAX
bool kad_store_walk(struct kad_store *s, struct now now, uint32_t *cursor, struct kad_record *ret_record);

/* ---- disk --------------------------------------------------------------------------------------------- */

#define KAD_STORE_KEY_MAX 48
/* First byte of a key: 'i' item, 'e' set entry, 's' split shard, 'p' peer. Others are the caller's. */
bool kad_store_owns_key(struct span key);
/* The next record to write (empty value: remove). Borrowed until the next call. */
bool kad_store_next_dirty(struct kad_store *s, struct now now, struct kad_dirty *ret_dirty);
/* One saved record. One that has expired, or that a smaller configuration has no room for, is left out and
 * becomes dirty, to be removed: 0. CAM_EFORMAT: damaged, or held already; CAM_ESYS: no memory; both change
 * nothing. Signatures are not verified again: the disk is ours, and each value carries a checksum. */
int kad_store_load(struct kad_store *s, struct now now, struct span key, struct span value);

void kad_store_stats(const struct kad_store *s, struct kad_store_stats *ret_stats);
void kad_store_check(const struct kad_store *s); /* asserts every invariant */

#endif
