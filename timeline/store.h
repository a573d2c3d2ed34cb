/* The local store: everything a node must still know after it was killed. One SQLite database (WAL,
 * synchronous=FULL) behind plain functions; io_sqlite*.c implement them. `timeline` is handed one; only the
 * loop and tests open, commit and close it.
 *
 * Transactions: the first write of a turn begins one; store_commit makes the turn's writes durable, all of
 * them or none. After a failed write every further write fails with CAM_EIO until store_commit (which then
 * rolls back and says CAM_EIO) or store_rollback, so nothing is ever half applied; the store is usable after
 * that. Reads see the turn's own writes.
 *
 * Errors everywhere: 0; CAM_ENOENT for what is not there; CAM_EIO (disk full, unreadable); CAM_EFORMAT (the
 * database is damaged). What a callback is given is borrowed until it returns. A callback may read other
 * things but neither write nor start the same iteration; a value other than 0 stops it and is returned.
 *
 *     struct store *s; char why[STORE_MESSAGE_SIZE];
 *     if (store_open("home/store.db", &s, why)) fprintf(stderr, "camellia: %s\n", why);
 *     store_meta_put(s, "name", span_str("ana"));
 *     err = store_commit(s);
 *     store_close(s);
 */
#ifndef TIMELINE_STORE_H
#define TIMELINE_STORE_H
#include "core/now.h"
#include "timeline/feed.h"
#include "timeline/link.h"
#include "timeline/post.h"

#define STORE_MESSAGE_SIZE 512
#define STORE_META_KEY_MAX 64   /* characters */
#define STORE_KAD_KEY_MAX 64    /* bytes */
#define STORE_FORKS_MAX 16      /* proofs kept for one feed */
#define STORE_FORK_POSTS_MAX 3  /* posts kept beside the one held at a seq, which they contradict */

struct store;

/* ---- life and transactions ---------------------------------------------------------------------------- */

/* `path` is created when missing (its folder must exist); ":memory:" keeps nothing. On failure ret_message
 * names the file and the next step.
 *   CAM_EFORMAT  not a database, damaged, not a Camellia store, or written by a newer version
 *   CAM_EIO      unreadable, read-only, disk full;  CAM_ESYS  no memory, or another process has it locked */
int store_open(const char *path, struct store **ret_store, char ret_message[STORE_MESSAGE_SIZE]);
/* Rolls back what was not committed. NULL is fine. */
void store_close(struct store *s);

/* 0, also when nothing was written; CAM_EIO: nothing of this turn was kept. */
int store_commit(struct store *s);
void store_rollback(struct store *s);
bool store_is_dirty(const struct store *s); /* something waits for store_commit */
uint64_t store_bytes(struct store *s); /* on disk, or what it would be */
/* Reads every page and checks every index: for `doctor`. CAM_EFORMAT when damaged. */
int store_check(struct store *s, char ret_message[STORE_MESSAGE_SIZE]);

/* ---- meta: small named values ------------------------------------------------------------------------- */

/* Copies the value; CAM_ENOENT, CAM_ENOSPC when it has more than cap bytes. */
int store_meta_get(struct store *s, const char *key, void *ret, size_t cap, size_t *ret_size);
int store_meta_get_int(struct store *s, const char *key, int64_t *ret);
int store_meta_put(struct store *s, const char *key, struct span value); /* an empty value removes it */
int store_meta_put_int(struct store *s, const char *key, int64_t value);

/* ---- kad: the network's records that this node holds (kad_next_dirty, kad_load) ------------------------ */

int store_kad_put(struct store *s, struct span key, struct span value); /* an empty value removes it */
int store_kad_each(struct store *s, int (*each)(void *ctx, struct span key, struct span value), void *ctx);

/* ---- authors ------------------------------------------------------------------------------------------ */

enum store_role {
    STORE_HIDDEN = 0,   /* its posts are in no timeline; they go first when bytes are short */
    STORE_FOLLOWED = 1,
    STORE_OWN = 2,      /* us: listed, never collected, always read */
};

/* Sets whose timeline lines an author's posts are. What is shown changes at once; the index behind it follows
 * in slices (store_role_slice), so following someone with a million stored posts does not stall a turn.
 * STORE_OWN is set before the first own post is stored: whether a body may be collected is decided then. */
int store_author_role(struct store *s, const uint8_t author[KEY_SIZE], enum store_role role);
enum store_role store_author_role_of(struct store *s, const uint8_t author[KEY_SIZE]);
/* Moves up to max_posts posts into or out of the timeline; *ret_more: call again in a later turn. */
int store_role_slice(struct store *s, uint32_t max_posts, bool *ret_more);

/* ---- feeds -------------------------------------------------------------------------------------------- */

/* The state as saved; CAM_ENOENT for a feed never seen. */
int store_feed_load(struct store *s, const uint8_t author[KEY_SIZE], uint16_t device, struct feed *ret_feed);
/* Inserts (and gives feed->store_key) or updates. After a rollback a feed first saved in that turn must be
 * loaded again. */
int store_feed_save(struct store *s, struct feed *feed);
/* All feeds of one author (author may be NULL: of everybody), in no order that matters. */
int store_feed_each(struct store *s, const uint8_t *author, int (*each)(void *ctx, const struct feed *feed),
                    void *ctx);
/* A proof that an author contradicted itself: two signed headers of one seq (or a header, and another that
 * does not hash to what the next one says). Kept up to STORE_FORKS_MAX for a feed, then ignored. `other`
 * empty: it is the one held at that seq, or, where none is, the one above it. */
int store_fork_put(struct store *s, const struct feed *feed, uint64_t seq, struct span header,
                   struct span other);
int store_fork_each(struct store *s, const struct feed *feed,
                    int (*each)(void *ctx, uint64_t seq, struct span header, struct span other), void *ctx);
/* At how many seqs there are proofs: at most STORE_FORKS_MAX. */
int store_fork_count(struct store *s, const struct feed *feed, uint64_t *ret_count);

/* ---- posts -------------------------------------------------------------------------------------------- */

/* The store's number of the post held at `seq`. */
uint64_t store_post_key(const struct feed *feed, uint64_t seq);

struct store_post {
    uint64_t key;        /* the store's number of this post */
    struct span header;  /* POST_HEADER_SIZE bytes */
    struct span body;    /* empty unless state is POST_HELD */
    enum post_state state;
    bool shown;          /* post_is_shown when it was stored */
    bool unread;         /* store_timeline only */
    bool fork;           /* store_timeline only: its author signed another post under the same seq */
    uint64_t received_ms;
    bool has_via;        /* it came through another follower */
    uint8_t via[KEY_SIZE];
};

/* Stores an item that feed_check_run called new. `feed` was saved at least once (store_key). `via`: who
 * relayed it, NULL when it came from its author. CAM_EDUP when it is there already. */
int store_post_put(struct store *s, const struct feed *feed, const struct feed_item *item,
                   uint64_t received_ms, const uint8_t *via);
/* Keeps a post that feed_check_run called a fork beside the one held at its seq: it is listed, read and
 * collected like that one, but no part of the chain, and nobody is served it. Up to STORE_FORK_POSTS_MAX of a
 * seq, then ignored. *ret_key: the store's number of it, 0 when it was not kept or is there already. */
int store_fork_post_put(struct store *s, const struct feed *feed, const struct feed_item *item,
                        uint64_t received_ms, const uint8_t *via, uint64_t *ret_key);
/* The body of a post stored as POST_MISSING has come, or is known to be expired or deleted (item->state, as
 * feed_check_run left it). Lowers feed->bodies_missing; save the feed afterwards. *ret_filled: it was
 * lacking. CAM_ENOENT when that post is not held. */
int store_post_fill(struct store *s, struct feed *feed, const struct feed_item *item, bool *ret_filled);
/* The newest stretch of posts whose bodies are missing; CAM_ENOENT when none is. */
int store_post_missing(struct store *s, const struct feed *feed, uint64_t *ret_from, uint64_t *ret_to);
/* Of those the oldest that the collector would have removed by now are expired, a thousand at most. Lowers
 * feed->bodies_missing; save the feed afterwards. Nothing where lifespan_s is 0: the collector is off. */
int store_post_missing_expire(struct store *s, struct feed *feed, uint32_t lifespan_s, struct now now);

/* Posts of a feed, newest first, from seq `to` down to `from`: what a WANT is answered from. Not held ones
 * are stepped over. */
int store_post_run(struct store *s, const struct feed *feed, uint64_t from, uint64_t to,
                   int (*each)(void *ctx, const struct store_post *post), void *ctx);
/* The hash of a held header: feed_rules.hash_at (ctx is the store). */
int store_post_hash(void *store, const struct feed *feed, uint64_t seq, uint8_t ret[HASH_SIZE]);
/* The post of that id. CAM_ENOENT. Calls `each` once. */
int store_post_find(struct store *s, const uint8_t author[KEY_SIZE], uint64_t id,
                    int (*each)(void *ctx, const struct store_post *post), void *ctx);
/* Posts of an author that are held here, of all devices. */
int store_post_count(struct store *s, const uint8_t author[KEY_SIZE], uint64_t *ret_count);

/* ---- the timeline ------------------------------------------------------------------------------------- */

/* A place between two lines. Lines are ordered by id, ties by author. */
struct store_cursor {
    uint64_t id;     /* 0 = above the newest */
    bool has_author; /* false: below every line of that id */
    uint8_t author[KEY_SIZE];
};

/* Lines below the cursor, newest first, at most `limit`: shown posts of followed authors and our own whose
 * bodies are held. */
int store_timeline(struct store *s, const struct store_cursor *before, bool unread_only, uint32_t limit,
                   int (*each)(void *ctx, const struct store_post *post), void *ctx);
int store_timeline_count(struct store *s, uint64_t *ret_lines);
uint32_t store_unread(const struct store *s);
int store_mark_read(struct store *s, const struct store_post *post); /* fine when it is read already */

/* ---- what the collector needs (collector.h holds the rules) ------------------------------------------- */

/* A body past its lifespan: removes up to max_posts bodies of others that expired by `now`, by the author's
 * lifespan or ours (lifespan_s > 0). *ret_removed of them; *ret_more: there may be more. */
int store_collect_expired(struct store *s, struct now now, uint32_t lifespan_s, uint32_t max_posts,
                          uint32_t *ret_removed, bool *ret_more);
/* Others' bodies, oldest first (those of hidden authors before all), until they take at most bytes_max. */
int store_collect_bytes(struct store *s, uint64_t bytes_max, uint32_t max_posts, uint32_t *ret_removed,
                        bool *ret_more);
uint64_t store_body_bytes(const struct store *s); /* of others' bodies that are held */

/* ---- people: who is known, followed, following; the outbox; own records (io_sqlite_people.c) ----------- */
/* (this section and that file belong together: functions declared below this line are implemented there) */

struct store_account { /* the user of this home */
    uint8_t pk[KEY_SIZE];
    char name[NAME_SIZE];
    uint16_t device;
    uint64_t instance;   /* random: tells this home from a copy of it */
    uint64_t created_ms; /* when the name was asked for */
    int64_t name_state;  /* account.h: enum name_state */
    uint8_t taken_by[KEY_SIZE]; /* the earlier claimant, when the name turned out to be taken */
};
int store_account_get(struct store *s, struct store_account *ret);
int store_account_put(struct store *s, const struct store_account *a);

struct store_person { /* what somebody says of themselves, as last seen */
    uint8_t pk[KEY_SIZE];
    char name[NAME_SIZE]; /* empty: not known */
    char bio[257];
    int64_t profile_seq;  /* 0: no profile was seen; the name is from a follow entry */
    uint64_t profile_ms;
    uint64_t posts;
    uint32_t followers, following;
};
int store_person_get(struct store *s, const uint8_t pk[KEY_SIZE], struct store_person *ret);
int store_person_put(struct store *s, const struct store_person *p);
/* Everybody of that name or whose tag matters, for `name#tag` without a network. */
int store_person_named(struct store *s, const char *name,
                       int (*each)(void *ctx, const struct store_person *p), void *ctx);

/* Somebody who is neither followed nor a follower any more: their machines go, and what they call themselves
 * where neither a profile was seen nor the name is pinned. */
int store_person_forget(struct store *s, const uint8_t pk[KEY_SIZE]);

struct store_peer { /* a machine of somebody */
    uint8_t pk[KEY_SIZE];
    uint16_t device;
    int64_t seq;             /* of the record or hint that told it */
    bool proved;             /* its transport key was proved on a link */
    struct link_dest dest;
};
int store_peer_put(struct store *s, const struct store_peer *p);
int store_peer_drop(struct store *s, const uint8_t pk[KEY_SIZE], uint16_t device);
/* Those heard of last come first. */
int store_peer_each(struct store *s, const uint8_t pk[KEY_SIZE],
                    int (*each)(void *ctx, const struct store_peer *p), void *ctx);

/* Pins: the key that a name first stood for here. */
int store_pin_get(struct store *s, const char *name, uint8_t ret_pk[KEY_SIZE]);
int store_pin_put(struct store *s, const char *name, const uint8_t pk[KEY_SIZE],
                  uint64_t at_ms); /* CAM_EDUP */
int store_pin_of(struct store *s, const uint8_t pk[KEY_SIZE], char ret_name[NAME_SIZE]);

struct store_follow { /* somebody we follow */
    uint8_t pk[KEY_SIZE];
    bool is_private;
    uint64_t since_ms;
};
int store_follow_put(struct store *s, const struct store_follow *f);
int store_follow_remove(struct store *s, const uint8_t pk[KEY_SIZE]);
int store_follow_each(struct store *s, int (*each)(void *ctx, const struct store_follow *f), void *ctx);

struct store_follower { /* somebody who follows us, and what of our posts they have confirmed */
    uint8_t pk[KEY_SIZE];
    int64_t seq;             /* of their signed entry */
    int64_t expires_s;
    uint64_t since_ms;
    uint64_t start_seq;      /* our newest post when they came: what is above it is owed to them */
    uint64_t acked_seq;      /* everything up to it is theirs */
};
int store_follower_put(struct store *s, const struct store_follower *f);
int store_follower_remove(struct store *s, const uint8_t pk[KEY_SIZE]);
int store_follower_each(struct store *s, int (*each)(void *ctx, const struct store_follower *f), void *ctx);

struct store_edge { /* `from` follows `to`: a cached public fact, and where `from` was then */
    uint8_t from[KEY_SIZE], to[KEY_SIZE];
    int64_t seq;
    char name[NAME_SIZE];    /* of `from`; empty when not known */
    bool has_dest;
    struct link_dest dest;   /* of `from` */
};
int store_edge_put(struct store *s, const struct store_edge *e);
int store_edge_remove(struct store *s, const uint8_t from[KEY_SIZE], const uint8_t to[KEY_SIZE]);
/* Keeps the `keep` edges to `to` that were refreshed last. */
int store_edge_trim(struct store *s, const uint8_t to[KEY_SIZE], uint32_t keep);
/* Forgets that `from` follows anybody, where no entry with an address says so: before its pages are read
 * anew. */
int store_edge_forget_from(struct store *s, const uint8_t from[KEY_SIZE]);
/* The followers of `to` with an address, most recently refreshed first. */
int store_edge_to(struct store *s, const uint8_t to[KEY_SIZE], uint32_t limit,
                  int (*each)(void *ctx, const struct store_edge *e), void *ctx);
/* Whom `from` follows. */
int store_edge_from(struct store *s, const uint8_t from[KEY_SIZE],
                    int (*each)(void *ctx, const struct store_edge *e), void *ctx);
/* Of those who follow anybody at a known address, the first whose key comes after `after`, as on a ring;
 * ret may be `after`. CAM_ENOENT: nobody. */
int store_edge_next(struct store *s, const uint8_t after[KEY_SIZE], uint8_t ret[KEY_SIZE]);
int store_edge_each(struct store *s, uint32_t limit, int (*each)(void *ctx, const struct store_edge *e),
                    void *ctx);
/* What somebody called themselves in a follow entry; CAM_ENOENT. */
int store_edge_name(struct store *s, const uint8_t from[KEY_SIZE], char ret_name[NAME_SIZE]);
int store_edge_count(struct store *s, uint64_t *ret_count);

struct store_own { /* one of our own records in the network, as last signed */
    uint8_t kind;            /* publish.h: enum publish_kind */
    uint16_t page;
    uint8_t pk[KEY_SIZE];    /* a follow entry: whom; else zero */
    int64_t seq;
    uint8_t sig[SIG_SIZE];
    struct span value;       /* borrowed */
    int64_t made_s;          /* when it was signed */
    int64_t put_s;           /* when enough holders last had it; 0 = not yet */
    uint32_t holders;
};
int store_own_put(struct store *s, const struct store_own *o);
int store_own_remove(struct store *s, uint8_t kind, uint16_t page, const uint8_t pk[KEY_SIZE]);
int store_own_each(struct store *s, int (*each)(void *ctx, const struct store_own *o), void *ctx);

#endif
