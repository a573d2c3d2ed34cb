/* Our own records in the network: signed here, put there, put again until enough holders have them, made anew
 * before they expire. All of it is in the store, so nothing is forgotten by a restart.
 *
 *             publish_want                  publish_tick                 REQUEST_PUBLISH event
 *     (none) -------------> STALE ------------------------> PUTTING ------------------------------> KEPT
 *                             ^    built, signed, saved        |   enough holders                     |
 *                             |                                | too few, nobody, no network          |
 *                             |    publish_want, or            v                                      |
 *                             +--- time to refresh <---- WAITING --- backoff over, kad ready --> PUTTING
 *                             +-----------------------------------------------------------------------+
 *
 * A STALE record of a locked node stays as it is: what was signed before is put until it expires.
 */
#ifndef TIMELINE_PUBLISH_H
#define TIMELINE_PUBLISH_H
#include "timeline/keymap.h"
#include "timeline/record.h"

#define PUBLISH_PAGES_MAX 205      /* pages of following/N: FOLLOWS_MAX / RECORD_PAGE_KEYS, rounded up */
#define PUBLISH_RUNNING_MAX 8      /* puts at a time */
#define PUBLISH_ENOUGH 8           /* holders, where the network has as many */
#define PUBLISH_RETRY_MS 1000      /* the first wait after a put that reached too few ... */
#define PUBLISH_RETRY_MAX_MS 300000 /* ... doubling up to this */
#define PUBLISH_LOOK_MS 30000      /* how often we look whether the network has grown under a record */

struct timeline;

enum publish_kind { /* stored: do not renumber */
    PUBLISH_PROFILE = 1,
    PUBLISH_CONNECTION = 2,
    PUBLISH_HEAD = 3,
    PUBLISH_CLAIM = 4,
    PUBLISH_FOLLOWING = 5, /* page N */
    PUBLISH_FOLLOW = 6,    /* our entry in the follower set of pk */
};

struct own_record {
    enum publish_kind kind;
    uint16_t page;
    uint8_t pk[KEY_SIZE];   /* PUBLISH_FOLLOW: whom */
    char salt[RECORD_SALT_SIZE];
    size_t salt_size;
    uint8_t value[KAD_OWN_VALUE_MAX];
    size_t value_size;      /* 0: never signed */
    int64_t seq;
    uint8_t sig[SIG_SIZE];
    int64_t made_s, put_s;  /* Unix; put_s 0: not at enough holders yet */
    uint32_t holders;
    bool is_stale;          /* to be signed anew */
    bool is_putting;
    bool is_deleted;        /* PUBLISH_FOLLOW: a tombstone */
    uint64_t due_ms;        /* mono: when something is to be done about it */
    uint32_t wait_ms;
    uint32_t number;        /* in tags; never reused */
};

struct publish {
    struct own_record *profile, *connection, *head, *claim;
    struct own_record *pages[PUBLISH_PAGES_MAX];
    struct keymap follows;  /* by pk; PUBLISH_FOLLOW, tombstones too */
    uint32_t next_number;
    uint32_t n_running;
    uint64_t due_ms;        /* the smallest due_ms, or earlier */
};

void publish_init(struct timeline *t);
void publish_clear(struct timeline *t);
int publish_load(struct timeline *t);

/* This record does not say what is true any more: make it anew. `pk` for PUBLISH_FOLLOW, else NULL. after_ms:
 * not before that, so that what changes often is put once. */
void publish_want(struct timeline *t, enum publish_kind kind, uint16_t page, const uint8_t *pk,
                  uint64_t after_ms);
/* Our follow of somebody, or its end, at once: signed now. CAM_ELOCKED, CAM_EFULL. */
int publish_follow(struct timeline *t, const uint8_t pk[KEY_SIZE], bool is_deleted);
/* Everything that names our address. */
void publish_address_changed(struct timeline *t);
/* The network is there (again), or the key: looks at every record now. */
void publish_review(struct timeline *t);

/* Our connection record as last signed, for HELLO; false while there is none. Borrowed. */
bool publish_connection(struct timeline *t, struct kad_item *ret_item);
int64_t publish_connection_seq(const struct timeline *t); /* 0: none */
/* Does the record that HELLO shows name another address than ours? (Locked, and we moved.) */
bool publish_connection_is_wrong(const struct timeline *t);
/* Our entry in somebody's follower set, for FOLLOW; false when there is none. Borrowed. */
bool publish_follow_entry(struct timeline *t, const uint8_t pk[KEY_SIZE], struct kad_entry *ret_entry);
/* Is it at enough holders? */
bool publish_follow_is_kept(struct timeline *t, const uint8_t pk[KEY_SIZE]);

void publish_event(struct timeline *t, const struct kad_event *e);
void publish_tick(struct timeline *t);
uint64_t publish_deadline_ms(const struct timeline *t);

/* What the records say now (publish_value.c). CAM_EAGAIN: cannot be said yet (our address is not known). */
int publish_value(struct timeline *t, const struct own_record *r, struct bytes_out *out);
uint32_t publish_refresh_s(enum publish_kind kind); /* signed anew this long after */

#endif
