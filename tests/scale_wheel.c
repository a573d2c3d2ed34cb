#include "tests/scale_wheel.h"

#include <assert.h>

#define MASK (WHEEL_SLOTS - 1)

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    w->now_ms = now_ms;
    w->pending = 0;
    for (unsigned r = 0; r < WHEEL_RINGS; r++)
        for (unsigned i = 0; i < WHEEL_SLOTS; i++)
            w->slot[r][i].prev = w->slot[r][i].next = &w->slot[r][i];
}

static struct wheel_event *head_of(struct wheel *w, uint64_t at_ms)
{
    /* The finest ring of which the present turn reaches that far. (Not merely: whose slots do. So all events of a
     * coarse slot are together until it is dealt out, and those of one millisecond keep their order.) */
    unsigned r = 0;

    while (r < WHEEL_RINGS - 1 && at_ms >> ((r + 1) * WHEEL_BITS) != w->now_ms >> ((r + 1) * WHEEL_BITS))
        r++;
    return &w->slot[r][(at_ms >> (r * WHEEL_BITS)) & MASK];
}

static void append(struct wheel_event *head, struct wheel_event *e)
{
    e->prev = head->prev;
    e->next = head;
    head->prev->next = e;
    head->prev = e;
}

static void unlink_event(struct wheel_event *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
    e->prev = e->next = NULL;
}

void wheel_add(struct wheel *w, struct wheel_event *e, uint64_t at_ms)
{
    assert(!wheel_has(e));
    e->at_ms = at_ms > w->now_ms ? at_ms : w->now_ms;
    if (e->at_ms - w->now_ms > WHEEL_FAR_MS)
        e->at_ms = w->now_ms + WHEEL_FAR_MS;
    append(head_of(w, e->at_ms), e);
    w->pending++;
}

void wheel_remove(struct wheel *w, struct wheel_event *e)
{
    if (!wheel_has(e))
        return;
    unlink_event(e);
    w->pending--;
}

/* A coarse slot has come near: its events go where they belong now. */
static void deal_out(struct wheel *w, unsigned ring)
{
    struct wheel_event *head = &w->slot[ring][(w->now_ms >> (ring * WHEEL_BITS)) & MASK];

    while (head->next != head) {
        struct wheel_event *e = head->next;
        unlink_event(e);
        append(head_of(w, e->at_ms), e);
    }
}

const struct wheel_event *wheel_peek(const struct wheel *w, unsigned ahead_ms)
{
    for (unsigned i = 0; i <= ahead_ms; i++) {
        const struct wheel_event *head = &w->slot[0][(w->now_ms + i) & MASK];
        if (head->next != head)
            return head->next;
    }
    return NULL;
}

struct wheel_event *wheel_next(struct wheel *w, uint64_t until_ms)
{
    for (;;) {
        struct wheel_event *head = &w->slot[0][w->now_ms & MASK];
        if (head->next != head) {
            struct wheel_event *e = head->next;
            unlink_event(e);
            w->pending--;
            return e;
        }
        if (w->now_ms >= until_ms)
            return NULL;
        w->now_ms++;
        for (unsigned r = WHEEL_RINGS - 1; r > 0; r--)
            if ((w->now_ms & ((UINT64_C(1) << (r * WHEEL_BITS)) - 1)) == 0)
                deal_out(w, r);
    }
}
