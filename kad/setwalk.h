/* The walks over signed sets (setwalk.c: what they share, and reading; setput.c: writing; setshard.c: keeping a
 * shard that we hold the same at all its holders).
 *
 *     read       LOOKING (sget, first pages) -> WRITING (further pages) -> the next shard, or the end
 *     write      LOOKING (sget, nodes only) -> WRITING (sput) -> one level deeper if they say so, or the end
 *     replicate  LOOKING -> WRITING: pages of those that differ from us -> store what is new to us -> WRITING: sput
 *                of what is new to them -> the end
 */
#ifndef KAD_SETWALK_H
#define KAD_SETWALK_H
#include "kad/request.h"

#define SETWALK_FOUND_MAX 16384   /* entries in memory; a reader delivers a shard when it is through with it */
#define SETWALK_SHARDS_MAX 8192   /* shards that one read goes through */
#define SETWALK_TODO_MAX (16 * KAD_SHARD_DEPTH_MAX)
#define SETWALK_RANGES_MAX 32     /* walks side by side in one shard */
#define SETWALK_SPREAD 8          /* of those, over one digest */
#define SETWALK_SMALL 64          /* entries: up to this every reading asks SETWALK_HOLDERS holders for all of it */
#define SETWALK_HOLDERS 3
#define SETWALK_PAGES_MAX 1024    /* pages of one range */
#define SETWALK_GROUPS_MAX 32     /* distinct digests told apart */
#define SETWALK_SINCE_MAX 9       /* values that a median is taken of */

struct setwalk_found {
    uint8_t slot[KAD_SLOT_SIZE];
    uint32_t groups;              /* bit g: a holder with digest g has this version */
    uint8_t n_since;
    uint32_t since_s[SETWALK_SINCE_MAX];
    struct kad_entry entry;       /* v points below */
    uint8_t v[];
};

struct setwalk_holder {
    struct request_node at;
    uint8_t digest[KAD_ID_SIZE];
    uint8_t group;
    bool split, more;
    uint32_t held;
    uint8_t last[KAD_SLOT_SIZE];  /* slot of the last entry of its first page */
};

struct setwalk_range { /* a walk over (after, upto] at one holder */
    uint8_t after[KAD_SLOT_SIZE], upto[KAD_SLOT_SIZE];
    uint8_t holder, tries;
    bool running;
    uint16_t pages;
};

struct setwalk {
    uint8_t root[KAD_ID_SIZE];
    struct kad_shard_id shard;    /* being looked at now */
    bool doubted;                 /* most holders of the shard above did not call that one split */

    /* found in it */
    struct setwalk_holder holders[LOOKUP_MAX];
    struct setwalk_range ranges[SETWALK_RANGES_MAX];
    uint8_t n_holders, n_ranges, n_groups;
    uint8_t digests[SETWALK_GROUPS_MAX][KAD_ID_SIZE];
    struct setwalk_found **found; /* by slot */
    uint32_t n_found, cap_found;

    /* reading */
    bool fresh, any;              /* any: somebody answered, or we hold some */
    uint32_t max, delivered, shards;
    struct kad_shard_id todo[SETWALK_TODO_MAX];
    bool todo_doubted[SETWALK_TODO_MAX];
    uint8_t n_todo;
    uint32_t most_holders;

    /* writing */
    struct kad_entry entry;
    uint8_t value[KAD_SET_VALUE_MAX];
    uint32_t splits;              /* holders that sent us one level down */

    /* replicating */
    struct kad_shard_id own;      /* the shard that we hold */
    uint8_t stage;
    uint8_t own_digest[KAD_ID_SIZE];
    bool own_split;
    bool pushing, teaching;
    uint8_t digit;
    uint32_t child_held;
    uint8_t cursor[KAD_SLOT_SIZE], push_pk[KEY_SIZE];
    bool has_cursor;
    int64_t push_seq;
    uint32_t acks, asked;
};

/* ---- setwalk.c ---- */
void setwalk_look(struct kad *k, struct request *r, const struct kad_shard_id *shard);
/* Takes one verified entry into `found`; group < 0: from our own store. */
void setwalk_take(struct kad *k, struct setwalk *w, const struct kad_entry *entry, int group);
void setwalk_forget(struct setwalk *w);
const struct setwalk_found *setwalk_find(const struct setwalk *w, const uint8_t slot[KAD_SLOT_SIZE]);
uint32_t setwalk_since(const struct setwalk_found *f); /* median */
/* Do the holders of the shard say that it is split? */
bool setwalk_is_split(const struct setwalk *w);
/* Only few of them do: then its children must be better attested. */
bool setwalk_is_doubtful(const struct setwalk *w);
/* Starts walking all that the first pages left out; true when something is under way. */
bool setwalk_start_ranges(struct kad *k, struct request *r, const uint8_t *skip_digest);
void setwalk_range_answer(struct kad *k, struct request *r, uint16_t part, const struct krpc_msg *m);

/* ---- setput.c ---- */
void setput_looked_up(struct kad *k, struct request *r);
void setput_written(struct kad *k, struct request *r, struct request_node at, const struct krpc_msg *m);
void setput_query(const struct request *r, const struct lookup_node *node, struct krpc_msg *q);

/* ---- setshard.c ---- */
void setshard_begin(struct kad *k, struct request *r);
void setshard_looked_up(struct kad *k, struct request *r);
void setshard_answer(struct kad *k, struct request *r, struct request_node at, uint16_t part, const struct krpc_msg *m);

#endif
