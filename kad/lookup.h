/* One iterative lookup: the nodes closest to a target that are known so far, and which to ask next. It sends
 * nothing itself; kad/request_run.c asks the nodes it names and tells it what became of that.
 *
 * - Nodes are kept in order of distance, the LOOKUP_MAX closest of those heard of.
 * - It has ended when the k closest nodes that did not fail have answered.
 * - Sybils: nodes beside the target that stand more than LOOKUP_DENSE times closer together than the
 *   network's size allows do not count; the lookup goes on to k more beyond them.
 * - Liars: where the k closest stand LOOKUP_SPARSE deviations farther apart than the network's size allows,
 *   those in between have been kept from us; the lookup goes on to whom else it knows until it hears of them.
 * - Known failing nodes ("suspects") are asked only when nobody else answered.
 * - Who names the dead is doubted: once LOOKUP_LIES of the nodes that somebody named are silent, and more
 *   than answered, those that nobody else vouches for ("held back") wait until all others have been asked.
 *   Then they are asked many at a time and once each, so however many a liar makes up, they cost one soft
 *   time-out together; and nobody who lives is passed over for who named it.
 *
 *     struct lookup l; lookup_init(&l, target, 16, 4, estimate);
 *     lookup_offer(&l, id, &addr, false);
 *     while ((i = lookup_next(&l)) >= 0) { send(l.nodes[i]); lookup_sent(&l, i); }
 *     answer:   lookup_answered(&l, i); lookup_offer(... each node it names ...);
 *     time-out: lookup_failed(&l, i);
 *     if (lookup_done(&l)) n = lookup_closest(&l, found, 16);
 *
 *      lookup_offer
 *      lookup_named        lookup_sent        lookup_answered
 *     -------------> NEW --------------> ASKED -------------> ANSWERED
 *              |      ^ lookup_plain       | lookup_stalled: another may be asked meanwhile
 *              |      +--------------------+ lookup_failed
 *              +---> SUSPECT               +--------------> FAILED ---lookup_offer, other address---> NEW
 */
#ifndef KAD_LOOKUP_H
#define KAD_LOOKUP_H
#include "kad/id.h"
#include "kad/krpc.h"

#define LOOKUP_MAX 80     /* nodes remembered */
#define LOOKUP_DENSE 8    /* times denser than the network: DESIGN section 4 */
#define LOOKUP_SPARSE 4   /* standard deviations sparser than the network: more than chance leaves out ... */
#define LOOKUP_WIDER 2    /* ... and then times k nodes are to answer */
#define LOOKUP_FIRST 2    /* asked before the first answer: what it names is closer than what we know, so more
                           * would mostly be asked for nothing */
#define LOOKUP_REOFFERS 2 /* how often a failed node may come back under another address */
#define LOOKUP_LIES 2     /* silent nodes, and more than answered, after which who named them is doubted */
#define LOOKUP_HELD_MAX 64 /* of those held back, asked at a time */
#define LOOKUP_NAMERS_MAX 64 /* who answered, told apart; further ones are never doubted */

enum lookup_state {
    LOOKUP_NEW,
    LOOKUP_SUSPECT,
    LOOKUP_ASKED,
    LOOKUP_STALLED,
    LOOKUP_ANSWERED,
    LOOKUP_FAILED
};

struct lookup_node {
    uint8_t id[ID_SIZE];
    struct addr addr;
    struct addr other;        /* where others say that it is, tried when it does not answer; or none */
    int8_t other_by;
    uint8_t state;
    uint8_t reoffers;
    bool plain;               /* knows not our method: asked with find_node, cannot hold what we look for */
    bool written, skip, refused; /* marks of the request: a put was sent; needs none; would not take it */
    bool has_seq;
    bool vouched;             /* by what we knew before */
    uint8_t namer;            /* its bit in named_by, plus 1; 0: it has not answered */
    uint64_t named_by;        /* who named it, a bit each */
    uint8_t version;          /* of a get: the number of the version it holds, 0 none */
    uint8_t token_size;
    uint16_t rtt_ms;
    int64_t seq;              /* of the item it holds */
    uint8_t token[KRPC_TOKEN_MAX];
};

struct lookup {
    uint8_t target[ID_SIZE];
    uint8_t k, alpha;
    uint8_t witnesses;        /* asked beyond the closest: do they know others that those keep from us? */
    uint8_t n;                /* in order[] */
    uint8_t asked, stalled;   /* in these states now */
    uint8_t answered;
    uint8_t n_namers;
    bool trusting;            /* an experiment: nobody is doubted */
    uint64_t doubted, told;   /* of the namers, a bit each; told: by lookup_doubt */
    struct { uint8_t silent, live; } named[LOOKUP_NAMERS_MAX]; /* of the nodes each named, new to us */
    double estimate;          /* nodes in the network, at most; 0: unknown, no density rule */
    double least;             /* nodes in the network, at least; 0: unknown, no sparseness rule */
    uint8_t order[LOOKUP_MAX]; /* indices of nodes, closest first */
    struct lookup_node nodes[LOOKUP_MAX];
};

void lookup_init(struct lookup *l, const uint8_t target[ID_SIZE], uint8_t k, uint8_t alpha, double estimate);
#define LOOKUP_OURS -1     /* named by what we knew before */
#define LOOKUP_STRANGER -2 /* named by somebody whom this lookup did not ask */

/* A node that `by`, who answered, named. Its index, or -1: known already,
 * or farther than all that are kept. */
int lookup_named(struct lookup *l, int by, const uint8_t id[ID_SIZE], const struct addr *addr, bool suspect);
/* The same of a node that we knew. */
int lookup_offer(struct lookup *l, const uint8_t id[ID_SIZE], const struct addr *addr, bool suspect);
int lookup_find(const struct lookup *l, const uint8_t id[ID_SIZE]); /* index or -1 */
/* The next node to ask now, or -1. */
int lookup_next(const struct lookup *l);
void lookup_sent(struct lookup *l, int node);
void lookup_stalled(struct lookup *l, int node);
void lookup_answered(struct lookup *l, int node);
void lookup_failed(struct lookup *l, int node);
void lookup_plain(struct lookup *l, int node); /* it answered "method unknown" */
/* It answered, and is known to name the dead. */
void lookup_doubt(struct lookup *l, int node);
/* 1: most of the nodes it named are silent; -1: it was doubted, and its nodes do answer; 0: neither. */
int lookup_lies(const struct lookup *l, int node);
/* Is it held back, because only those who are doubted named it? */
bool lookup_is_held(const struct lookup *l, int node);
/* Is the node among the k closest that have not failed? Those are asked twice. */
bool lookup_is_close(const struct lookup *l, int node);
bool lookup_done(const struct lookup *l);
/* Indices of the closest nodes that answered and can hold things, closest first; of those the ones that count
 * as k plausible holders when max is 0 < max <= LOOKUP_MAX. */
size_t lookup_closest(const struct lookup *l, uint8_t ret[LOOKUP_MAX], size_t max);
/* How many holders there should be: k, or more where the density rule sets nodes aside,
 * or where too few are known. */
size_t lookup_width(const struct lookup *l);
void lookup_check(const struct lookup *l);

#endif
