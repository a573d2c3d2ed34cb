/* The routing table of one address family: who we know, ordered by how many leading bits of their id they
 * share with ours (Kademlia paper, sections 2.2, 2.4, 4.1).
 *
 * - A contact enters only after it answered a query of ours; table_heard is called for answers and nothing
 *   else.
 * - Bucket b holds contacts with exactly b common bits, at most k of them. The relaxed rule: while the
 *   buckets beyond b hold fewer than k together, b may grow to TABLE_NEAR times k, so every contact of the
 *   smallest subtree around us with at least k nodes is kept; when the network grows it shrinks to k again.
 * - A full far bucket is spread over its range: a contact from a part of it where two or more are known gives
 *   way to a newcomer from a part where none is. So a step of a lookup gains as much as it can, wherever it
 *   leads.
 * - At most 2 contacts of one /24 (IPv6: /64) in a bucket and 10 in the table; local ranges are exempt.
 * - All contacts lie in one array, bucket after bucket, 32 bytes each (and 16 more for an IPv6 address),
 *   which grows as they come: a table of a million-node network is 9 KiB.
 *
 *     struct table t; table_init(&t, 4, 16, self);
 *     if (table_heard(&t, now, id, &addr, rtt_ms) == TABLE_ADDED) greet(id);
 *     size_t n = table_closest(&t, target, found, 16, 0);
 *
 *                    table_offer                    table_heard
 *      (unknown) ------------------> cached  ---------------------------+
 *          |                            ^ bucket full                   |
 *          |        table_heard         |                               v
 *          +------------------------>(entering)-------- room ------> good <--+
 *                                       |                            |       | table_heard
 *                     replaces a failing one of its bucket           | table_failed
 *                                       |                            v       |
 *                                       +------------------------ failing ---+
 *                                                                    | TABLE_FAILS_MAX times, or replaced
 *                                                                    v
 *                                                              (dropped: the caller remembers it)
 */
#ifndef KAD_TABLE_H
#define KAD_TABLE_H
#include "kad/id.h"

#define TABLE_BUCKETS 40          /* ids sharing 39 bits or more fall in the last: of 2^39 nodes, one does */
#define TABLE_NEAR 3              /* times k: the largest bucket of the relaxed rule */
#define TABLE_FAILS_MAX 3         /* unanswered queries in a row after which a contact is dropped */
#define TABLE_SUBNET_BUCKET_MAX 2
#define TABLE_SUBNET_MAX 10
#define TABLE_CACHE_MAX 16        /* replacement candidates, of all buckets together */

struct table_contact {            /* 32 bytes; the first 26 are BEP 5's compact node for IPv4 */
    uint8_t id[ID_SIZE];
    uint8_t ip[4];                /* IPv4 address, or the place of an IPv6 one in table.ip6, big-endian */
    uint8_t port[2];              /* big-endian */
    uint16_t seen_s;              /* when it last answered: seconds, modulo 2^16 */
    uint16_t rtt_ms;
    uint8_t dev_ms;               /* mean deviation of the round trip */
    uint8_t fails;                /* queries in a row without answer */
};

struct table {
    uint8_t self[ID_SIZE];
    uint8_t family, k;
    bool any_subnet;                        /* an experiment without the limits by subnet */
    uint8_t n_cache, cap_cache;
    uint16_t n, cap;
    uint16_t failing;                       /* contacts that did not answer the last query */
    uint16_t n_ip6, cap_ip6, free_ip6;      /* free_ip6: first free place + 1, chained */
    struct table_contact *contacts;
    struct table_contact *cache;            /* oldest first */
    uint8_t (*ip6)[16];
    uint8_t count[TABLE_BUCKETS];
    uint16_t refreshed_s[TABLE_BUCKETS];    /* last lookup in the bucket's range: seconds, modulo 2^16 */
};

enum table_result {
    TABLE_KNOWN,   /* was there: refreshed */
    TABLE_ADDED,
    TABLE_FULL,    /* kept as a replacement candidate: the bucket has k contacts that answer */
    TABLE_REFUSED, /* ourselves, too many of one subnet, an address of another family, no memory */
    TABLE_MOVED,   /* the id is known at another address: stays there while that one answers */
};

void table_init(struct table *t, uint8_t family, uint8_t k, const uint8_t self[ID_SIZE]);
void table_clear(struct table *t);
/* We have another id now: every contact falls in another bucket; those that no longer fit are left out. */
void table_rename(struct table *t, const uint8_t self[ID_SIZE]);

unsigned table_bucket(const struct table *t, const uint8_t id[ID_SIZE]);
unsigned table_bucket_start(const struct table *t, unsigned b); /* where it begins in `contacts` */
unsigned table_depth(const struct table *t); /* 1 + the deepest bucket with a contact; 0 when empty */

#define TABLE_RTT_UNKNOWN UINT32_MAX /* the query was sent twice: nobody knows which one was answered */

/* The contact answered a query of ours in rtt_ms. */
enum table_result table_heard(struct table *t, uint64_t mono_ms, const uint8_t id[ID_SIZE],
                              const struct addr *addr, uint32_t rtt_ms);
/* A query of ours to it was not answered. True when it was dropped for that. */
bool table_failed(struct table *t, const uint8_t id[ID_SIZE], const struct addr *addr);
/* Would a contact with this id and address enter if it answered? (Nothing is changed.) */
bool table_has_room(const struct table *t, const uint8_t id[ID_SIZE], const struct addr *addr);
/* Does it lie in the smallest subtree around us that has k contacts, all of whom we keep? */
bool table_is_near(const struct table *t, const uint8_t id[ID_SIZE]);
/* Is a contact with this id one we should know soon: near us, or of a bucket that is less than half full? */
bool table_is_wanted(const struct table *t, const uint8_t id[ID_SIZE]);
/* It asked us something; kept as a replacement candidate, unverified. */
void table_offer(struct table *t, const uint8_t id[ID_SIZE], const struct addr *addr);
/* Takes out the youngest candidate that would enter its bucket now. */
bool table_take_candidate(struct table *t, uint8_t ret_id[ID_SIZE], struct addr *ret_addr);

/* Is its round trip known? Not when it has answered only what was sent twice. */
bool table_is_measured(const struct table_contact *c);
struct table_contact *table_find(const struct table *t, const uint8_t id[ID_SIZE]);
struct addr table_addr(const struct table *t, const struct table_contact *c);
uint32_t table_age_s(const struct table_contact *c, uint64_t mono_ms);
/* Writes pointers to the `max` contacts closest to target, closest first; those with more than `fails_max`
 * unanswered queries are left out. Pointers hold until the table changes. */
size_t table_closest(const struct table *t, const uint8_t target[ID_SIZE], const struct table_contact **ret,
                     size_t max, unsigned fails_max);
size_t table_good(const struct table *t); /* contacts that answered the last query */

/* May it hold all that there are in its range, being part of the smallest subtree
 * around us with k contacts? */
bool table_bucket_is_near(const struct table *t, unsigned bucket);

/* A part of a far bucket's range in which no contact is known. */
struct table_gap {
    uint8_t bucket, part;
};

/* The gap that an id would fill if it is one: its bucket, and the part of that. */
struct table_gap table_gap_of(const struct table *t, const uint8_t id[ID_SIZE]);
bool table_gap_is_among(const struct table_gap *gaps, unsigned n, struct table_gap gap);
/* Moves on to the first gap that is not before *at; false when there is none. */
bool table_next_gap(const struct table *t, struct table_gap *at);
/* A random id in it. */
void table_random_in_gap(const struct table *t, const struct rng *rng, struct table_gap gap,
                         uint8_t ret[ID_SIZE]);

/* A lookup went through the range of `target`: its bucket needs no refresh. */
void table_touch(struct table *t, uint64_t mono_ms, const uint8_t target[ID_SIZE]);
/* The number of nodes in the network as our surroundings suggest, at least 1. */
double table_estimate(const struct table *t);
void table_check(const struct table *t);

#endif
