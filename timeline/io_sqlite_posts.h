/* Private to the store's posts: how they lie in the database, and what is kept in memory beside it.
 *
 *   author  every key that wrote or relayed something, as a small integer; its role
 *   feed    one (author, device): the state of feed.h as a blob; how far the collector went through it
 *   post    key = feed << 40 | seq, so one tree holds every feed in order, a run is a range of it, and new
 *           posts go to the end of their feed's part. The header is stored as it was signed.
 *   line    the timeline: a row for each shown post with a body, of authors that are followed or us, in the
 *           order it is read: id, first bits of the author's key, post
 *   unread  how many unread lines there are in each stretch of some 19 hours. An index of them would cost as
 *           much as `line` itself: catching up on many authors touches another page of it with every post.
 *   due     when bodies with a lifespan of their author's expire
 *   fork    proofs of authors who contradicted themselves
 *
 * Invariants: a line's post is held, shown and listed (its author's role is not hidden), or its author is
 * being moved (role_slice); the counts in memory equal what the tables say once committed. */
#ifndef TIMELINE_IO_SQLITE_POSTS_H
#define TIMELINE_IO_SQLITE_POSTS_H
#include <assert.h>

#include "timeline/io_sqlite.h"

#define SQL_SEQ_BITS 40
#define SQL_FEED_MAX ((1 << 23) - 1) /* a post key stays positive */
static_assert(POST_SEQ_MAX == (UINT64_C(1) << SQL_SEQ_BITS) - 1, "a seq fits a post's key");

struct sql_feed { /* what writing and reading posts needs of their feed */
    uint32_t key; /* 0: this slot of the cache is free */
    uint32_t author;
    uint32_t device; /* with SQL_BRANCH_BIT and higher ones: a branch */
    bool has_forks;  /* proofs of them are held */
    uint32_t tie; /* the order of authors within one id */
    enum store_role role;
    uint64_t collected_seq; /* bodies at or below it were looked at by the collector */
};

/* A post that contradicts the one held at its seq lies in a branch: a row of `feed` of the same author whose
 * device is n * 65536 higher, n from 1 to STORE_FORK_POSTS_MAX. So it is listed, read and collected as any
 * other post, while its feed's chain is not touched. */
#define SQL_BRANCH_BIT 16
#define SQL_IS_DEVICE "f.device < 65536" /* no branch */
static_assert(1 << SQL_BRANCH_BIT == 65536, "SQL_IS_DEVICE says so");

#define SQL_FEEDS_CACHED 256
#define SQL_STRETCH_BITS 48 /* of an id: 2^26 ms and what lies below a millisecond */
#define SQL_STRETCHES (1 << (63 - SQL_STRETCH_BITS))
#define SQL_STRETCHES_CHANGED_MAX 64                      /* in one turn; with more, all are written */

struct sql_posts {
    struct sql_feed feeds[SQL_FEEDS_CACHED]; /* by key, direct mapped */
    uint32_t unread;                         /* lines, the sum of: */
    uint32_t unread_in[SQL_STRETCHES];
    uint32_t changed[SQL_STRETCHES_CHANGED_MAX], n_changed;
    uint64_t body_bytes;
    bool body_bytes_changed;
    uint64_t oldest_id;      /* no collectable line is older: where collecting by bytes goes on */
    uint32_t collect_feed;   /* where collecting by age goes on; 0 = at the first */
};

static inline int64_t sql_post_key(uint32_t feed, uint64_t seq)
{
    return (int64_t)((uint64_t)feed << SQL_SEQ_BITS | seq);
}
static inline uint32_t sql_key_feed(int64_t key) { return (uint32_t)((uint64_t)key >> SQL_SEQ_BITS); }
static inline uint64_t sql_key_seq(int64_t key) { return (uint64_t)key & POST_SEQ_MAX; }

/* 31 bits of the author's key: lines of one id are in the same order on every node. */
static inline uint32_t sql_tie(const uint8_t author[KEY_SIZE]) { return be32(author) >> 1; }

/* The number of an author, made when it is not there yet (create) or CAM_ENOENT. */
int sql_author(struct store *s, const uint8_t pk[KEY_SIZE], bool create, uint32_t *ret_author);
/* From the cache; valid until the next call. CAM_ENOENT. */
int sql_feed(struct store *s, uint32_t key, struct sql_feed **ret);
void sql_feeds_forget(struct store *s);

int sql_line_add(struct store *s, const struct sql_feed *feed, int64_t key, uint64_t id, bool unread);
int sql_line_remove(struct store *s, uint32_t tie, int64_t key, uint64_t id);
int sql_unread_reload(struct store *s);
int sql_unread_flush(struct store *s);
/* A body has come to a post that was just stored or filled: counts it, sets when it is due, lists it. */
int sql_body_added(struct store *s, const struct sql_feed *feed, int64_t key, const struct post_header *h,
                   size_t body_bytes, bool shown);
/* Removes the body, the header stays. */
int sql_body_remove(struct store *s, const struct sql_feed *feed, int64_t key, const struct post_header *h,
                    size_t body_bytes);
int sql_feed_collected(struct store *s, struct sql_feed *feed, uint64_t seq);

/* A new row of `feed`; a device of more than 16 bits is a branch. CAM_EFULL. */
int sql_feed_insert(struct store *s, const struct feed *feed, uint32_t device, uint32_t *ret_key);
/* store_post_put with the feed as the store knows it, and store_post_hash likewise. */
int sql_post_put(struct store *s, uint32_t feed, const struct feed_item *item, uint64_t received_ms,
                 const uint8_t *via);
int sql_post_hash(struct store *s, int64_t key, uint8_t ret[HASH_SIZE]);
/* Is there another post by that author under the same seq? */
int sql_is_forked(struct store *s, const struct sql_feed *feed, uint64_t seq, bool *ret);

#endif
