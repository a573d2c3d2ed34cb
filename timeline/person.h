/* People: everybody this node knows something about, found by key. Whom we follow and who follows us stay in
 * memory and in the store; others are kept while there is room, least recently used first to go.
 *
 *     struct person *p = people_take(t, pk);          // found or made; NULL: no room
 *     people_learn_connection(t, item, false);        // from the network; a link's HELLO says true
 *     const struct link_dest *to = person_dest(p);    // NULL: not known where
 *
 * Resolving what a person typed: an id is itself; a name or name#tag is looked up among the pins, then among
 * those known by that name; what is left is a lookup of claims in the network (operation.c).
 */
#ifndef TIMELINE_PERSON_H
#define TIMELINE_PERSON_H
#include "timeline/keymap.h"
#include "timeline/record.h"
#include "timeline/store.h"

#define PEOPLE_GUESTS_MAX 4096   /* persons that are neither followed nor followers */
#define PERSON_PEERS_MAX 3       /* machines of one person */
#define PERSON_LOOK_MS 30000     /* between two lookups of somebody's connection record ... */
#define PERSON_LOOK_MAX_MS 3600000 /* ... doubling while they find nothing new, up to this */
#define PEOPLE_LOOKS_MAX 16      /* such lookups running */

struct timeline;
struct follow;
struct follower;

struct peer { /* a machine of somebody */
    uint16_t device;
    bool proved;       /* its transport key was proved on a link */
    int64_t seq;       /* of what told it: connection record or follow entry, both Unix seconds or later */
    struct link_dest dest;
};

struct person {
    uint8_t pk[KEY_SIZE];
    char name[NAME_SIZE]; /* what they call themselves; empty: not known */
    int64_t profile_seq;
    struct peer peers[PERSON_PEERS_MAX];
    size_t n_peers;
    struct follow *follow;     /* we follow them */
    struct follower *follower; /* they follow us */
    uint64_t used_ms;          /* mono; for guests */
    uint64_t look_after_ms;    /* mono: no connection lookup before */
    uint32_t look_wait_ms;
    bool is_looking;
};

struct people {
    struct keymap by_pk;
    size_t n_guests;
    uint32_t n_looks;
};

void people_init(struct timeline *t);
void people_clear(struct timeline *t);

struct person *people_find(struct timeline *t, const uint8_t pk[KEY_SIZE]);
struct person *people_take(struct timeline *t, const uint8_t pk[KEY_SIZE]);
/* Call after a person became or stopped being a follow or a follower: keeps the guests counted, and the
 * machines of those who are none on disk. */
void people_settle(struct timeline *t, struct person *p, bool was_guest);
bool person_is_guest(const struct person *p);

/* The machine that was heard of last; NULL when none is known. */
const struct link_dest *person_dest(const struct person *p);

/* Records about others, already verified by kad or by the caller. 0, CAM_ESTALE, CAM_EFORMAT. */
int people_learn_profile(struct timeline *t, const struct kad_item *item);
int people_learn_connection(struct timeline *t, const struct kad_item *item, bool is_proved);
/* A follow entry: the name and where its writer was. */
void people_learn_entry(struct timeline *t, const uint8_t pk[KEY_SIZE], const struct record_follow *f,
                        int64_t seq);

/* Looks for a newer connection record, unless that was done lately. What is found arrives by itself. */
void people_look(struct timeline *t, struct person *p);
void people_look_event(struct timeline *t, const struct kad_event *e);

/* Trust on first use. */
void people_pin(struct timeline *t, const char *name, const uint8_t pk[KEY_SIZE]);
/* Somebody else was the first we knew under this person's name. */
bool people_key_changed(struct timeline *t, const uint8_t pk[KEY_SIZE]);
/* What to call them: the pinned name, or what they call themselves, or nothing. */
void people_name(struct timeline *t, const uint8_t pk[KEY_SIZE], char ret[NAME_SIZE]);
/* Without the network: 0, CAM_ENOENT (ask the network), CAM_EINVAL, CAM_EAMBIG. */
int people_resolve(struct timeline *t, const struct who *who, uint8_t ret_pk[KEY_SIZE]);

#endif
