/* Who follows whom, as far as it concerns us: the follower sets and following pages of those we follow,
 * cached so that suggestions need no network and catching up knows whom else to ask.
 *
 * They are read at login, when we follow somebody, soon after that again, and every day; one person at
 * a time.
 */
#ifndef TIMELINE_EDGES_H
#define TIMELINE_EDGES_H
#include "timeline/keymap.h"
#include "timeline/store.h"

#define EDGES_PER_PERSON_MAX 256   /* followers of one followed person kept */
#define EDGES_REFRESH_MS (24 * 3600 * 1000)
#define EDGES_AGAIN_MS \
    5000 /* the first rounds after a follow are closer: what others say is young then too */
#define EDGES_PAGES_MAX 8          /* of following/N read of one person */

struct timeline;
struct timeline_command;
struct kad_event;
struct kad_entry;

struct edges {
    uint8_t at[KEY_SIZE];     /* whose are being read */
    bool running;
    uint32_t n_pending;       /* answers awaited */
    uint16_t page;
    size_t next;              /* index in follows.list */
    uint64_t round_ms;        /* mono: when the next round begins */
    uint32_t pause_ms;        /* between the running round and the one after it */
    uint64_t step_ms;         /* mono: when the next person is read */
    uint32_t number;          /* in tags */
};

void edges_init(struct timeline *t);
/* Entries of somebody's follower set that came by, whoever asked: kept when we follow them. */
void edges_learn(struct timeline *t, const uint8_t to[KEY_SIZE], const struct kad_entry *entries, size_t n);
void edges_soon(struct timeline *t); /* a round at once */
void edges_event(struct timeline *t, const struct kad_event *e);
void edges_tick(struct timeline *t);
uint64_t edges_deadline_ms(const struct timeline *t);
void edges_suggest(struct timeline *t, const struct timeline_command *c);

#endif
