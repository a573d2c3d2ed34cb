/* A peer with bad intent, for the end-to-end tests: it speaks to running nodes over real UDP and real CURVE links,
 * and prints what they answered. What they thought of it, the scenarios read from the nodes themselves.
 *
 *     hostile dht ADDRESS USER          writes to others' records: one line "what code" for each
 *     hostile get ADDRESS USER SALT     a record as ADDRESS holds it: "SEQ SIG V", hex
 *     hostile put ADDRESS USER SALT SEQ SIG V [TOKEN]          prints the code, 0 for stored
 *     hostile entry ADDRESS OWNER WHO   WHO's entry in OWNER's follower set: "SEQ SIG V"
 *     hostile sput ADDRESS OWNER WHO SEQ SIG V
 *     hostile liar ADDRESS USER N       N nodes close to USER's records that lie about everything, until stdin ends
 *     hostile door ADDRESS USER         handshakes that must fail: one line "what answer" for each
 *     hostile half-open ADDRESS N       holds N unfinished handshakes until stdin ends
 *     hostile budget ADDRESS USER N     handshakes, each with a fresh key, until ten are refused, at most N
 *     hostile links ADDRESS USER NAME   a session on a link, commands on stdin (links.c)
 *     hostile crowd ADDRESS USER N      N strangers who ask and cannot be answered, until stdin ends
 *     hostile storm ADDRESS USER N SEED N mutated link messages
 *
 * ADDRESS is the victim's node, USER the id of whoever lives there. Attackers' keys are made from names, so that a
 * scenario can speak of them: `hostile id NAME`.
 */
#ifndef TESTS_HOSTILE_H
#define TESTS_HOSTILE_H
#include <stdio.h>
#include "core/addr.h"
#include "core/identity.h"
#include "kad/kad.h"
#include "kad/krpc.h"
#include "timeline/link.h"
#include "timeline/post.h"

#define ANSWER_MS 3000 /* how long a node may take to answer; sanitized nodes on a busy machine are slow */
#define FAR_S INT64_C(1000000000)

struct victim {
    struct addr addr;      /* UDP for Kademlia, TCP for links */
    uint8_t pk[KEY_SIZE];  /* whose node it is */
    uint8_t key[LINK_KEY_SIZE]; /* its transport key, from the record that it published */
    struct span record;    /* that record's bytes, in the next */
    struct kad_item item;
    uint8_t bytes[KAD_DATAGRAM_MAX];
};

void die(const char *what); /* "hostile: what", exit 1: the test itself is broken */
struct identity *identity_named(const char *name);
int64_t unix_s(void);
uint64_t unix_ms(void);

/* ---- udp.c: one question at a time */

struct dht {
    int fd, wait_ms;
    struct addr to;
    uint8_t id[KAD_ID_SIZE];
    uint8_t token[KRPC_TOKEN_MAX];
    size_t token_size; /* of the last reply that had one */
    uint8_t buf[2048];
    struct krpc_msg reply; /* borrows from buf */
};

void dht_open(struct dht *d, const struct addr *to);
void dht_close(struct dht *d);
int dht_socket(const struct addr *to); /* bound to a port of its own */
void dht_send(struct dht *d, struct krpc_msg *q);
/* Sends q and waits for the answer: 0 for a reply, the code of an error, -1 for silence. */
int dht_ask(struct dht *d, struct krpc_msg *q);
int dht_get(struct dht *d, const uint8_t pk[KEY_SIZE], const char *salt, struct kad_item *ret); /* verified; borrows; as ask */
int dht_entry(struct dht *d, const uint8_t owner[KEY_SIZE], const uint8_t who[KEY_SIZE], struct kad_entry *ret);
int dht_put(struct dht *d, const struct kad_item *item, const int64_t *cas);
int dht_sput(struct dht *d, const uint8_t root[KAD_ID_SIZE], const struct kad_entry *entry);
/* The victim's transport key. Dies when its node does not tell it. */
void victim_find(struct victim *v, const char *address, const char *user);
extern uint8_t network_word[KRPC_NETWORK_SIZE];

/* ---- the commands; each prints, and returns the exit status */

int attack_dht(struct victim *v);
int attack_liar(struct victim *v, int count);
int attack_door(struct victim *v);
int attack_half_open(const struct addr *to, int count);
int attack_budget(struct victim *v, int count);
int attack_links(struct victim *v, const char *name);
int attack_crowd(struct victim *v, int count);
int attack_storm(struct victim *v, int count, uint64_t seed);

#endif
