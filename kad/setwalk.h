/* The walks over signed sets: setwalk.c looks at one shard, over all its holders, and setpages.c goes through
 * their pages; setfound.c is what was found there, setfresh.c what of it was refreshed last. On them stand
 * setread.c (reading and counting a whole set), setput.c (writing) and setshard.c (keeping a shard that we
 * hold the same at all its holders).
 *
 *     part of a read  LOOKING (sget, first pages) -> WRITING (further pages) -> setread_part_ended
 *     write           LOOKING (sget, nodes only) -> WRITING (sput) -> one level deeper if they say so, or
 *                     the end
 *     keep            LOOKING -> WRITING (pages, then sputs) -> the next shard of its tour, or the end
 */
#ifndef KAD_SETWALK_H
#define KAD_SETWALK_H
#include "kad/request.h"

#define SETWALK_FOUND_MAX 16384   /* entries in memory; a reader delivers each shard it is through with */
#define SETWALK_RANGES_MAX 32     /* walks side by side in one shard */
#define SETWALK_SPREAD 8          /* of those, over one digest */
#define SETWALK_SMALL 64          /* entries: up to this every reading asks SETWALK_HOLDERS for all of it */
#define SETWALK_HOLDERS 3
#define SETWALK_PAGES_MS 30000    /* for the pages of a shard, from the end of its lookup */
#define SETSHARD_PUSH_MS 60000    /* and for what is then handed on; the rest is in the next hour */
#define SETWALK_PASSES_MAX 4      /* over one digest, until what they bring is what it says */
#define SETWALK_GROUPS_MAX 32     /* distinct digests told apart */
#define SETWALK_SAID_MAX 40       /* values that a median is taken of: of all that are close, in two shards */

#define SETWALK_US 254            /* said by our own store */
#define SETWALK_COUNTED 255       /* said by one whose word counts, whoever that was */

struct setwalk_said {             /* of one thing by the holders, each once */
    uint8_t n;
    uint8_t by[SETWALK_SAID_MAX]; /* index of the holder, or as above */
    uint32_t s[SETWALK_SAID_MAX]; /* seconds */
};

struct setwalk_found {
    uint8_t slot[KAD_SLOT_SIZE];
    uint32_t groups;              /* bit g: a holder with digest g has this version */
    struct setwalk_said since;    /* of the key */
    struct setwalk_said age;      /* of this version; none: setfresh.c has judged */
    struct kad_entry entry;       /* v points below */
    uint8_t v[];
};

struct setwalk_finds {            /* by slot, each key once, its newest version */
    struct setwalk_found **at;
    uint32_t n, cap;
};

struct setwalk_cursor {           /* how far pages were read */
    uint8_t at[KAD_SLOT_SIZE];    /* slot of the last entry */
    uint8_t sum[KAD_ID_SIZE];     /* of the entries as far as there, as the digest is made */
};

struct setwalk_group {            /* holders that stated the same digest when they were asked first */
    uint8_t digest[KAD_ID_SIZE];
    uint8_t passes;               /* over all that it is made of, begun */
    uint8_t turn;                 /* whose turn it is to walk */
    bool whole;                   /* in this pass each walker goes through all, not through its part */
    bool done;                    /* nothing more to read */
};

struct setwalk_holder {
    struct request_node at;
    uint8_t digest[KAD_ID_SIZE];  /* as stated last */
    uint8_t group;
    bool split, more;
    bool disbelieved;             /* it listed what nobody signed: not heard any more */
    bool close;                   /* one of the k closest, whose word counts; set when the lookup has ended */
    uint32_t held;
    struct setwalk_cursor first;  /* its first page */
    struct setfresh_page *page;   /* of a fresh read: whom it lists, and how old */
};

struct setwalk_range {            /* a walk from its cursor to upto at one holder */
    struct setwalk_cursor from;
    uint8_t upto[KAD_SLOT_SIZE];
    uint8_t holder, tries;
    uint32_t entries;             /* read so far */
};

struct setshard;

struct setwalk {
    uint8_t root[KAD_ID_SIZE];
    struct kad_shard_id shard;    /* being looked at now */
    bool doubted;                 /* part of a read: most holders of one above did not call that split */

    /* found in it */
    bool any;                     /* somebody answered, or we hold some */
    struct setwalk_holder holders[LOOKUP_MAX];
    struct setwalk_range ranges[SETWALK_RANGES_MAX];
    struct setwalk_group groups[SETWALK_GROUPS_MAX];
    uint8_t n_holders, n_ranges, n_groups;
    uint8_t order[LOOKUP_MAX];    /* of the holders: in which they walk */
    uint64_t until_ms;            /* no further page is asked for then */
    struct setwalk_finds finds;

    /* part of a read */
    struct request *reader;       /* whose part it is */
    bool fresh;

    /* writing */
    struct kad_entry entry;
    uint8_t value[KAD_SET_VALUE_MAX];
    bool here_split;              /* our own store sent us one level down */
    bool guessed;                 /* begun below the root, at the depth where this set's last put ended */

    struct setshard *keep;        /* keeping: setshard.c */
};

/* ---- setfound.c ---- */
const struct setwalk_found *setwalk_find(const struct setwalk_finds *finds,
                                         const uint8_t slot[KAD_SLOT_SIZE]);
/* Takes `found`, which is freed if what is there is newer. False: no memory, and it is freed. */
bool setwalk_finds_add(struct setwalk_finds *finds, struct setwalk_found *found);
/* What lies in the shard goes from one to the other. */
void setwalk_finds_move(struct setwalk_finds *from, struct setwalk_finds *to,
                        const struct kad_shard_id *shard);
void setwalk_finds_forget(struct setwalk_finds *finds);
/* Sorts them; of an even number the larger; 0 of none. */
uint32_t setwalk_median(uint32_t *of, unsigned n);
/* One more says so; who did before is not heard again. */
void setwalk_say(struct setwalk_said *said, uint8_t by, uint32_t s);
/* The lookup has ended, and what holders list has been read: from now on only those of their words are there
 * that count, of the k closest and of our own store; or all, where none of these speaks of the entry. */
void setwalk_count_said(struct setwalk *w);
/* Its entry gets the medians of what the holders said of `since` and `age`. */
void setwalk_settle(struct setwalk_found *f);

/* ---- setfresh.c ---- */
/* A holder lists this entry in its fresh page. False: once more, or more than a page has; not to be heard. */
bool setfresh_note(struct setwalk_holder *h, const uint8_t slot[KAD_SLOT_SIZE],
                   const struct kad_entry *entry);
/* The age of all that was found, by the word of most holders; UINT32_MAX where most do not hold it. */
void setfresh_judge(struct kad *k, struct setwalk *w);

/* ---- setwalk.c ---- */
void setwalk_look(struct kad *k, struct request *r, const struct kad_shard_id *shard);
/* Takes one entry of the shard into `finds`; h NULL: from our own store. CAM_EAUTH: it does not verify. */
int setwalk_take(struct kad *k, struct setwalk *w, const struct kad_entry *entry,
                 const struct setwalk_holder *h);
/* Takes a page of a holder's, as far as upto (NULL: the end). How many entries beyond the cursor there were;
 * the first that nobody signed is the last that the holder is heard of. */
unsigned setwalk_take_list(struct kad *k, struct setwalk *w, struct ben list, struct setwalk_holder *h,
                           struct setwalk_cursor *cursor, const uint8_t *upto);
/* Do the holders of the shard say that it is split? */
bool setwalk_is_split(const struct setwalk *w);
/* Less than half of the k closest do: then its children must be better attested. */
bool setwalk_is_doubtful(const struct setwalk *w);
/* Two of three of the k closest do: then there is no need to put anything here. */
bool setwalk_is_sure(const struct setwalk *w);

/* ---- setpages.c ---- */
/* Starts walking all that the first pages left out; true when something is under way. */
bool setwalk_start_ranges(struct kad *k, struct request *r, const uint8_t *skip_digest);
/* m NULL: no answer. False: that was the last page of all. */
bool setwalk_range_answer(struct kad *k, struct request *r, uint16_t part, const struct krpc_msg *m);
/* The query that `part` stands for; false: it is not of a range. */
bool setwalk_range_query(const struct setwalk *w, uint16_t part, struct krpc_msg *q);

/* ---- setput.c ---- */
void setput_begin(struct kad *k, struct request *r);
void setput_looked_up(struct kad *k, struct request *r);
void setput_written(struct kad *k, struct request *r, struct request_node at, const struct krpc_msg *m);
void setput_query(const struct request *r, const struct lookup_node *node, struct krpc_msg *q);

/* ---- setshard.c ---- */
struct setshard *setshard_new(const struct kad_record *record); /* NULL: no memory */
void setshard_begin(struct kad *k, struct request *r);
void setshard_looked_up(struct kad *k, struct request *r);
/* The digest of what we hold, where whoever holds the same may leave it out and leave the hour to us; or
 * NULL. */
const uint8_t *setshard_same(const struct request *r);
void setshard_answer(struct kad *k, struct request *r, struct request_node at, uint16_t part,
                     const struct krpc_msg *m);
/* The push that `part` stands for, to be sent again; false: its entry is not here any more, or long past. */
bool setshard_again(struct kad *k, struct request *r, struct request_node at, uint16_t part,
                    struct krpc_msg *q);

#endif
