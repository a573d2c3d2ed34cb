/* A timing wheel: events in order of their millisecond, those of one millisecond in the order they were added.
 * An event is part of something of the caller's (a node, a datagram); adding, removing and taking the next one cost
 * the same however many there are.
 *
 * Three rings of slots. What is due in the present turn of the first lies there, a slot a millisecond; later events
 * lie in coarser slots and are dealt out to the finer ring when their time has come.
 *
 *     wheel_init(&w, now_ms);
 *     wheel_add(&w, &node->timer, now_ms + 250);
 *     while ((e = wheel_next(&w, until_ms)) != NULL) happen(e);      // w.now_ms is its time
 */
#ifndef TESTS_SCALE_WHEEL_H
#define TESTS_SCALE_WHEEL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEEL_BITS 12
#define WHEEL_SLOTS (1u << WHEEL_BITS)
#define WHEEL_RINGS 3 /* of 4 s, 4.7 h, 2.2 years */
#define WHEEL_FAR_MS (UINT64_C(1) << 35) /* a year: what is farther off comes then */

struct wheel_event {
    struct wheel_event *prev, *next; /* next is NULL while it is in no wheel */
    uint64_t at_ms;
    uint32_t kind;                   /* the caller's: what it is part of */
    uint32_t arg;
};

struct wheel {
    uint64_t now_ms;
    uint64_t pending;                /* events inside */
    struct wheel_event slot[WHEEL_RINGS][WHEEL_SLOTS]; /* heads of circular lists */
};

void wheel_init(struct wheel *w, uint64_t now_ms);
void wheel_add(struct wheel *w, struct wheel_event *e, uint64_t at_ms); /* what is past is due now */
void wheel_remove(struct wheel *w, struct wheel_event *e);
static inline bool wheel_has(const struct wheel_event *e) { return e->next != NULL; }
/* Takes out the next event due at or before until_ms, and moves now_ms on to it; else to until_ms: NULL. */
struct wheel_event *wheel_next(struct wheel *w, uint64_t until_ms);
/* The event that comes next, if that is within so many milliseconds and near enough to see; NULL else. */
const struct wheel_event *wheel_peek(const struct wheel *w, unsigned ahead_ms);

#endif
