/* A feed: what is held and known of the posts of one (author, device), and the rules by which more is let in.
 * Pure: no store, no clock. The caller feeds it headers and keeps what it says is new.
 *
 * Held posts are a few ranges of seq, each a chain that was verified down from a signed header. A range knows
 * the hash that the header below it must have, so backfill needs no further signature; two ranges that meet
 * with the right hash become one. A gap is what lies between ranges, below the newest header ever seen
 * signed (`known`) and above the floor; only chained headers close it.
 *
 *      floor          range 0            gap           range 1           known head
 *     ...3 |  4 5 6 7 8 9 10 11 12   (13 ... 40)   41 42 43 44 45   (46 ... 52)
 *          |  ^prev = hash of 3                    ^prev = the hash 40 must have
 *
 * Invariants (feed_check): ranges ascend, do not overlap or touch, 1 <= lo <= hi, lo > floor; ids rise with
 * seq across ranges, but for feeds that forked; at most FEED_RANGES_MAX of them; known_seq >= every hi.
 *
 * A fork (two different signed headers for one seq) never stops a feed: what was held first keeps its seq,
 * the other is kept beside it, as proof and to be shown, and the feed goes on along the higher signed head.
 *
 *     struct feed feed; struct feed_item items[N]; struct feed_verdict v;
 *     store_feed_load(store, author, device, &feed)  (or feed_init when CAM_ENOENT)
 *     items[i].header, .body, .state from POST or BATCH, newest first
 *     int err = feed_check_run(&feed, items, n, &rules, now, &v);   // 0: the run is authentic
 *     if (!err) {
 *         feed_apply_run(&feed, items, n, &v);
 *         store_feed_save(store, &feed);
 *         for each i with items[i].is_new: store_post_put(store, &feed, &items[i], ...)
 *         if (v.n_fill) for each other i with items[i].state HELD: store_post_fill(...)
 *         if (v.forked) store_fork_put(...)
 *         for each i with items[i].is_fork and .state HELD: store_fork_post_put(...)
 *     }
 *     while (feed_gap(&feed, &from, &to)) ask for it
 */
#ifndef TIMELINE_FEED_H
#define TIMELINE_FEED_H
#include "core/now.h"
#include "timeline/post.h"

#define FEED_RANGES_MAX 32 /* holes a feed may have; a run that would make more is put off (CAM_EAGAIN) */
#define FEED_RUN_MAX 1024           /* posts of one run; MESSAGE_BATCH_POSTS_MAX */
#define FEED_AHEAD_MS (5 * 1000)    /* a post up to this far in the future is taken at once */
#define FEED_HOLD_MS (60 * 1000)    /* up to this far it is held back until its time, beyond it is refused */

struct feed_range {
    uint64_t lo, hi;            /* seq, both held */
    uint64_t lo_id, hi_id;
    uint8_t lo_prev[HASH_SIZE]; /* hash of the header lo - 1; zero when lo is 1 */
    uint8_t hi_hash[HASH_SIZE];
};

struct feed {
    uint8_t author[KEY_SIZE];
    uint16_t device;
    uint32_t store_key;             /* the store's number of this feed; 0 until it was saved */
    struct feed_range ranges[FEED_RANGES_MAX]; /* ascending */
    uint32_t n_ranges;
    uint64_t floor_seq; /* headers at or below it are not sought and not held; 0 = none. The hash of
                           that header is the lowest range's lo_prev, once that range reaches it */
    uint64_t known_seq;             /* the newest header whose signature was seen, held or not; 0 = none */
    uint64_t known_id;
    uint8_t known_hash[HASH_SIZE];
    uint8_t known_header[POST_HEADER_SIZE]; /* what HAVE shows; meaningless while known_seq is 0 */
    uint64_t as_of_ms;              /* the author's own word that known is its newest, Unix ms; 0 = never */
    uint64_t forks;                 /* pairs of contradicting signed headers seen */
    uint64_t forked_seq;            /* the highest seq of such a pair; 0 = none */
    uint32_t bodies_missing;        /* held headers whose body is POST_MISSING */
};

/* One post of a run. The first four are the caller's, the rest is filled in by feed_check_run. */
struct feed_item {
    struct span header;    /* POST_HEADER_SIZE bytes */
    enum post_state state; /* as the sender says */
    struct span body;      /* POST_HELD */
    struct span proof_header, proof_body; /* POST_DELETED: the delete, or empty */

    struct post_header h;
    uint8_t hash[HASH_SIZE];
    bool is_new;           /* not held: to be stored */
    bool is_fork;          /* another post is held at its seq, and its body came: both are shown */
    bool is_shown;         /* post_is_shown, for bodies that are kept */
};
/* After feed_check_run returned 0 `state` is what is true here: POST_HELD for a body to be kept; POST_EXPIRED
 * by the header's lifespan or by ours, even when the body came; POST_DELETED with a valid proof; POST_MISSING
 * for all else. */

struct feed_rules {
    uint32_t lifespan_s; /* ours, of others' posts; 0 = the collector is off: keep all bodies */
    bool own;            /* our own feed: bodies never expire */
    /* The hash of a held header, for fork detection inside a range; NULL: only range ends are compared,
     * and no item is called a fork. 0, CAM_ENOENT, CAM_EIO. */
    int (*hash_at)(void *ctx, const struct feed *feed, uint64_t seq, uint8_t ret[HASH_SIZE]);
    void *ctx;
};

struct feed_verdict {
    uint32_t n_new;       /* items with is_new */
    uint32_t n_fill;      /* items already held whose body is offered, in a feed where bodies are missing */
    bool signature_checked; /* false: the chain vouched for it */
    bool extends_head;    /* the newest item is above all that was held: a live post, or the newest page */
    uint64_t wait_until_ms; /* with CAM_EAGAIN for a post from the near future: when (Unix ms) to try again;
                             * else 0 */
    bool forked;          /* the author signed two different headers for fork_seq */
    uint64_t fork_seq;
    uint8_t fork_header[POST_HEADER_SIZE]; /* the one that is not held */
    bool fork_has_other;  /* fork_other: the one it contradicts, where it is not in the store */
    uint8_t fork_other[POST_HEADER_SIZE];
};

void feed_init(struct feed *feed, const uint8_t author[KEY_SIZE], uint16_t device);

/* Is this run authentic and allowed, and what of it is new? Changes nothing but the items. Checked in the
 * order of cost: sizes and fields, author and device, seq falling by one and ids falling, duplicates, the
 * time window, the hash chain and body hashes, where it meets what is held, and the signature of the newest
 * header unless a header already verified vouches for it.
 *
 *   0             authentic (v->n_new may be 0 when it holds a fork or bodies only)
 *   CAM_EDUP      all of it is held, with the same hash: nothing to do
 *   CAM_EAGAIN    held back: v->wait_until_ms says until when, or 0: too many holes, fill some first
 *   CAM_EFUTURE   more than FEED_HOLD_MS ahead
 *   CAM_EFORMAT   malformed; a post missing in the middle; ids that do not rise
 *   CAM_EAUTH     tampered: a hash or signature does not match
 *   CAM_EREFUSED  another feed's
 *   CAM_ETOOBIG   more than FEED_RUN_MAX items */
int feed_check_run(const struct feed *feed, struct feed_item *items, size_t n_items,
                   const struct feed_rules *rules, struct now now, struct feed_verdict *ret_verdict);
/* Takes up a run that feed_check_run just accepted (returned 0) against this very state. `verdict` is NULL
 * for a post of our own: signed a moment ago on top of `known`, its item filled in by hand, it needs no
 * check. */
void feed_apply_run(struct feed *feed, const struct feed_item *items, size_t n_items,
                    const struct feed_verdict *verdict);

/* A signed header seen without its post (HAVE, a DHT head): raises `known`. The signature is checked only
 * when it says something new. 0: known was raised; CAM_EDUP: nothing new; else as feed_check_run; a
 * contradiction is reported in the verdict (may be NULL) and the higher head is followed. */
int feed_learn_head(struct feed *feed, struct span header, struct now now, struct feed_verdict *ret_verdict);
/* The author itself said (or its own feed head's `at`) that `seq` is its newest. Ignored unless seq is
 * known_seq. */
void feed_confirm_head(struct feed *feed, uint64_t seq, uint64_t at_ms);
/* Nothing at or below `seq` is to be had: stop seeking there. The floor stays below what is held, and never
 * falls. Floors are not signed: believe the author's own, or one that several holders agree on. True: it
 * moved. */
bool feed_raise_floor(struct feed *feed, uint64_t seq);

bool feed_holds(const struct feed *feed, uint64_t seq);
uint64_t feed_head_seq(const struct feed *feed);    /* the highest held; 0 = none */
uint64_t feed_complete_to(const struct feed *feed); /* all above the floor up to it is held; 0 = nothing */
uint64_t feed_missing(const struct feed *feed);     /* how many posts are known to exist and not held */
/* The newest gap, to ask for. False when there is none. */
bool feed_gap(const struct feed *feed, uint64_t *ret_from, uint64_t *ret_to);
/* The newest gap below `below` (exclusive), for asking several peers for several gaps at once. */
bool feed_gap_below(const struct feed *feed, uint64_t below, uint64_t *ret_from, uint64_t *ret_to);

/* The time window for one post. 0, CAM_EAGAIN (wait until *ret_until_ms), CAM_EFUTURE. */
int feed_check_time(uint64_t id, struct now now, uint64_t *ret_until_ms);

void feed_check(const struct feed *feed); /* asserts the invariants */

#endif
