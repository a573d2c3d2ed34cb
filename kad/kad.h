/* The Kademlia network of a node, as a pure state machine: KRPC over UDP (BEP 5, 32, 42, 43, 44 and the
 * signed sets of docs/protocol.md). It owns the routing table, running lookups and the records it holds for
 * others. It does no I/O and asks no clock: the caller feeds datagrams and time, and drains what to send,
 * what happened and what to write to disk.
 *
 * Invariants: a request never answers before it returns; each accepted request ends in exactly one final
 * event with its tag; what an event or datagram points to is valid until the next call into the same kad.
 *
 *     struct kad *k = kad_new(&config, &rng, now);
 *     kad_join(k, now, &bootstrap);
 *     kad_get(k, now, target, NULL, 0, tag);
 *     loop: kad_recv(...)  kad_tick(k, now)
 *           while (kad_next_plain(k, &d))  send(d.to, d.data, d.size);
 *           while (kad_next_event(k, &e))  if (e.kind == KAD_EVENT_GET && e.tag == tag) use(e.item);
 *           while (kad_next_dirty(k, &r))  write r.key -> r.value in this turn's transaction, and commit
 *           while (kad_next_out(k, &d))    send(d.to, d.data, d.size);
 *           sleep until kad_deadline_ms(k)
 */
#ifndef KAD_KAD_H
#define KAD_KAD_H
#include "core/addr.h"
#include "core/identity.h"
#include "core/now.h"
#include "core/rng.h"

#define KAD_ID_SIZE 20
#define KAD_K 16                /* bucket size and replicas (DESIGN: Kademlia paper's k) */
#define KAD_ALPHA 4             /* queries in flight in a lookup */
#define KAD_DATAGRAM_MAX 1400   /* bytes: a put of KAD_VALUE_MAX, key, salt, signature and token needs 1362 */
#define KAD_DATAGRAM_USUAL 1232 /* all but such values stay below: IPv6's minimum MTU without headers */
#define KAD_DATAGRAM_PUBLIC 1024 /* the same on the public network */
#define KAD_VALUE_MAX 1000      /* BEP 44: bytes of a bencoded value */
#define KAD_OWN_VALUE_MAX 700   /* our own records stay below this */
#define KAD_SALT_MAX 64         /* BEP 44 */
#define KAD_SET_VALUE_MAX 300   /* bytes of a set entry's value */

struct kad;

/* Defences that an experiment switches off to see what each is worth (tests/attacks.c);
 * a node has them all. */
enum kad_without {
    KAD_WITHOUT_SUBNETS = 1,      /* limits by subnet in the table */
    KAD_WITHOUT_ADDRESS_IDS = 2,  /* ids bound to addresses, BEP 42 */
    KAD_WITHOUT_DENSITY = 4,      /* what stands too close together does not count */
    KAD_WITHOUT_PATHS = 8,        /* disjoint paths */
    KAD_WITHOUT_NEWEST = 16,      /* a get goes on beyond the first value, and repairs */
    KAD_WITHOUT_BUDGETS = 32,     /* budgets by address */
    KAD_WITHOUT_SHARES = 64,      /* a sender of few records displaces one of many */
    KAD_WITHOUT_SPLITS = 128,     /* a full shard splits */
    KAD_WITHOUT_DOUBT = 256,      /* whom the dead were named by is doubted */
};

struct kad_config {
    const char *network;  /* "camellia"; "" makes a plain citizen of the public DHT; copied */
    bool read_only;       /* BEP 43: sends ro=1, answers nothing, stores nothing */
    uint8_t k, alpha;     /* 0 = the defaults above */
    bool use_v4, use_v6;  /* address families the caller can send on */
    uint32_t items_max, entries_max, peers_max; /* records held for others; 0 = defaults */
    uint16_t without;     /* enum kad_without, for experiments: 0 */
};

/* ---- records ------------------------------------------------------------------------------------------ */

struct kad_item { /* a BEP 44 item; `salt` and `v` are borrowed; v is one bencoded value */
    bool is_mutable;
    uint8_t pk[KEY_SIZE];
    struct span salt;
    int64_t seq;
    uint8_t sig[SIG_SIZE];
    struct span v;
};

struct kad_entry { /* one key's entry in a signed set; `v` is a borrowed bencoded dict */
    uint8_t pk[KEY_SIZE];
    int64_t seq;
    uint8_t sig[SIG_SIZE];
    struct span v;
    uint32_t age_s;   /* seconds since its last refresh; from a reader: the median over holders */
    uint32_t since_s; /* seconds since first seen; likewise */
};

struct kad_contact {
    uint8_t id[KAD_ID_SIZE];
    struct addr addr;
    uint32_t rtt_ms;
    uint32_t age_s; /* since last heard */
};

/* Target of an item: SHA1(v) when immutable, SHA1(pk + salt) when mutable (BEP 44). */
void kad_item_target(const struct kad_item *item, uint8_t ret_target[KAD_ID_SIZE]);
void kad_mutable_target(const uint8_t pk[KEY_SIZE], struct span salt, uint8_t ret_target[KAD_ID_SIZE]);
/* Fill in pk and sig of a mutable item / an entry. CAM_ETOOBIG. */
int kad_item_sign(struct kad_item *item, const struct identity *id);
int kad_entry_sign(struct kad_entry *entry, const uint8_t root[KAD_ID_SIZE], const struct identity *id);
/* 0, CAM_EAUTH, CAM_ETOOBIG or CAM_EFORMAT. Does not look at seq or expiry. */
int kad_item_verify(const struct kad_item *item);
int kad_entry_verify(const struct kad_entry *entry, const uint8_t root[KAD_ID_SIZE]);
bool kad_entry_is_tombstone(const struct kad_entry *entry); /* v has del = 1 */
int64_t kad_value_expires_s(struct span v); /* the signed `exp` of a dict value, Unix seconds; 0 = none */

/* ---- life --------------------------------------------------------------------------------------------- */

/* NULL: no memory. */
struct kad *kad_new(const struct kad_config *config, const struct rng *rng, struct now now);
void kad_free(struct kad *k);

/* One saved record, as kad_next_dirty gave it. Before the first kad_tick.
 * A damaged one is skipped: CAM_EFORMAT. */
int kad_load(struct kad *k, struct now now, struct span key, struct span value);
/* Makes the routing table dirty now (at exit); otherwise it is every 30 s,
 * and within 1 s while it is small. */
void kad_flush(struct kad *k, struct now now);
/* Forget unsent output, what promises too, events and dirty marks and everything not loaded: used after a
 * failed commit, followed by kad_load of what is on disk. */
void kad_reset_store(struct kad *k, struct now now);

/* ---- the five verbs, and dirty ------------------------------------------------------------------------ */

struct kad_datagram {
    struct addr to;
    const uint8_t *data;
    size_t size;
};

enum kad_event_kind {
    KAD_EVENT_READY,    /* the table has its first verified contact (again, after it had none) */
    KAD_EVENT_ALONE,    /* the last live contact is gone */
    KAD_EVENT_ADDRESS,  /* what others see as our address changed: `addr` (BEP 42 votes) */
    KAD_EVENT_PING,     /* final: status, contacts[0] with id, addr, rtt */
    KAD_EVENT_HOP,      /* of a traced find: one answer: contacts[0] answered, n_contacts-1 learned follow */
    KAD_EVENT_FIND,     /* final: contacts = the k closest, closest first */
    KAD_EVENT_FIRST,    /* of a get: the first verified value; GET still follows */
    KAD_EVENT_GET,      /* final: status 0 and item, or CAM_ENOENT / CAM_ENET; holders = who had it */
    KAD_EVENT_PUT,      /* final: holders that stored it; CAM_ENET none; CAM_ECAS, CAM_ESTALE: newer held */
    KAD_EVENT_SET,      /* of a set get: some entries, verified, each key once; final when `last` */
    KAD_EVENT_SET_PUT,  /* final, as PUT */
    KAD_EVENT_PEERS,    /* of get_peers: some, each once, as they come; the last: status as GET, holders */
    KAD_EVENT_ANNOUNCE, /* final: holders that took it; CAM_ENET none */
    KAD_EVENT_SET_COUNT, /* final: count, spread, shards */
};

struct kad_event {
    enum kad_event_kind kind;
    uint64_t tag;
    int status;                    /* 0 or CAM_E... */
    bool last;                     /* no further event with this tag */
    uint8_t target[KAD_ID_SIZE];
    struct addr addr;              /* ADDRESS */
    const struct kad_item *item;   /* FIRST, GET */
    const struct kad_contact *contacts;
    size_t n_contacts;
    const struct kad_entry *entries; /* SET: highest seq of each key, tombstones included */
    size_t n_entries;
    const struct addr *peers;      /* PEERS */
    size_t n_peers;
    uint32_t holders;              /* others that stored / had it; our own copy is not counted */
    uint64_t count;                /* SET_COUNT: live entries; tombstones do not count */
    uint64_t spread;               /* SET_COUNT: standard error of an estimate, in entries; 0: exact */
    uint32_t shards;               /* SET_COUNT: leaves of the set that were read whole */
    int64_t newer_seq;             /* PUT with CAM_ESTALE or CAM_ECAS: the seq a holder has */
};

struct kad_dirty {
    struct span key;   /* at most 64 bytes */
    struct span value; /* empty: remove the key */
};

/* Feed one datagram. Returns 0 or why it was dropped (counted; nothing for the caller to do). */
int kad_recv(struct kad *k, struct now now, const struct addr *from, const uint8_t *buf, size_t size);
void kad_tick(struct kad *k, struct now now);
uint64_t kad_deadline_ms(const struct kad *k); /* mono_ms of the next needed tick, or NOW_NEVER */
/* What is to be sent, after the commit of what kad_next_dirty gave:
 * replies that say "stored" are among it. */
bool kad_next_out(struct kad *k, struct kad_datagram *ret_out);
/* The part of it that promises nothing and need not wait for the disk: queries, and all other replies. */
bool kad_next_plain(struct kad *k, struct kad_datagram *ret_out);
bool kad_next_event(struct kad *k, struct kad_event *ret_event);
bool kad_next_dirty(struct kad *k, struct kad_dirty *ret_dirty);

/* ---- requests ----------------------------------------------------------------------------------------- */
/* All return 0 or CAM_EFULL (too many running), CAM_EINVAL, CAM_ETOOBIG; with an empty table and no join
 * address left they are accepted and end with CAM_ENET. `tag` is the caller's and comes back unchanged. */

/* A node to enter the network by. May be called at any time; kept and retried while the table is empty. */
int kad_join(struct kad *k, struct now now, const struct addr *addr);
/* Somebody who may be in our network, by hearsay: tried a few times, then forgotten.
 * CAM_EFULL: NODE_HINTS_MAX are being tried. */
int kad_hint(struct kad *k, struct now now, const struct addr *addr);
int kad_ping(struct kad *k, struct now now, const struct addr *addr, uint64_t tag);
int kad_find(struct kad *k, struct now now, const uint8_t target[KAD_ID_SIZE], bool trace, uint64_t tag);
/* An item at `target`. For a mutable one give pk (else NULL: immutable or either) and its salt, so that
 * answers can be verified. The node's own store counts as one more source. */
int kad_get(struct kad *k, struct now now, const uint8_t target[KAD_ID_SIZE], const uint8_t *pk,
            struct span salt, uint64_t tag);
/* Store at the k closest, and here when we are among them. `item` is copied; a mutable one must be signed.
 * `cas`: NULL or the seq that must be there now (BEP 44). */
int kad_put(struct kad *k, struct now now, const struct kad_item *item, const int64_t *cas, uint64_t tag);
int kad_set_put(struct kad *k, struct now now, const uint8_t root[KAD_ID_SIZE], const struct kad_entry *entry,
                uint64_t tag);
/* All entries under root, or the most recently refreshed ones (fresh), at most `max` (0 = no bound). */
int kad_set_get(struct kad *k, struct now now, const uint8_t root[KAD_ID_SIZE], bool fresh, uint32_t max,
                uint64_t tag);

/* Who announced itself under info_hash (BEP 5), as addresses that others say: nothing vouches for them. The
 * last event has CAM_ENOENT when nobody knows any. */
int kad_get_peers(struct kad *k, struct now now, const uint8_t info_hash[KAD_ID_SIZE], uint64_t tag);
/* Announces us under info_hash at the k closest, and here when we are among them: this node's address as
 * others see it, with `port`, or port 0: the one that they see. Holders forget it after KAD_LIFE_PEER_S;
 * repeating is the caller's. */
int kad_announce(struct kad *k, struct now now, const uint8_t info_hash[KAD_ID_SIZE], uint16_t port,
                 uint64_t tag);
/* How many live entries there are under root, each verified: nobody's word is taken for a number. With
 * `exact` all shards are read; else some at random, until the standard error is 1.5 % of the count or 64 were
 * read. A set of few shards is counted exactly either way. CAM_ENET: nobody answered. */
int kad_set_count(struct kad *k, struct now now, const uint8_t root[KAD_ID_SIZE], bool exact, uint64_t tag);

/* ---- looking in --------------------------------------------------------------------------------------- */

#define KAD_QUERY_KINDS 9 /* of queries: kad_query_name says which */

struct kad_stats {
    uint32_t contacts, contacts_v6, cached; /* live in the table, and replacement candidates */
    uint32_t buckets;                       /* with a contact in them */
    uint32_t items, entries, peers;         /* held for the network */
    uint64_t store_bytes;
    uint32_t lookups_running;
    uint64_t lookups_done, lookups_failed;  /* failed: no value where one was asked / no contact */
    uint32_t lookup_p50_ms, lookup_p99_ms;
    uint64_t in_datagrams, out_datagrams, in_bytes, out_bytes;
    uint64_t in_queries, in_replies, in_errors, out_replies, out_errors;
    uint64_t in_kind[KAD_QUERY_KINDS], out_kind[KAD_QUERY_KINDS]; /* queries; kad_query_name names them */
    uint64_t drop_malformed, drop_unexpected, drop_budget, drop_version; /* why datagrams were dropped */
    uint64_t refused_signature, refused_stale, refused_token, refused_full, refused_form; /* why puts were */
    uint32_t timeouts;
};

const uint8_t *kad_node_id(const struct kad *k);
struct addr kad_self_addr(const struct kad *k);      /* as others see us; family 0 while unknown */
void kad_stats(const struct kad *k, struct kad_stats *ret_stats);
/* "ping", ... as on the wire; "unknown" for 0; NULL past the end. */
const char *kad_query_name(unsigned kind);
/* The i-th contact of the table in some order; false past the end. */
bool kad_contact_at(const struct kad *k, struct now now, size_t i, struct kad_contact *ret_contact);
void kad_check(const struct kad *k); /* asserts every invariant of table, lookups, transactions, store */

#endif
