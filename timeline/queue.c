#include "timeline/queue.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"

/* ---- shared bytes -------------------------------------------------------------------------------------- */

struct buf *buf_new(struct span bytes)
{
    struct buf *b = malloc(sizeof *b + bytes.size);
    if (!b)
        return NULL;
    b->refs = 1;
    b->size = bytes.size;
    if (bytes.size)
        memcpy(b->data, bytes.data, bytes.size);
    return b;
}

void buf_drop(struct buf *b)
{
    if (b && --b->refs == 0)
        free(b);
}

/* ---- messages out -------------------------------------------------------------------------------------- */

static int out_grow(struct out_queue *q)
{
    size_t cap = q->cap ? q->cap * 2 : 64;
    struct out_item *items = malloc(cap * sizeof *items);
    if (!items)
        return CAM_ESYS;
    for (size_t i = 0; i < q->n; i++)
        items[i] = q->items[(q->first + i) & (q->cap - 1)];
    free(q->items);
    q->items = items;
    q->first = 0;
    q->cap = cap;
    return 0;
}

int out_push(struct out_queue *q, const struct link_dest *to, struct buf *b)
{
    if (q->n == OUT_MESSAGES_MAX || q->bytes + b->size > OUT_BYTES_MAX)
        return CAM_EFULL;
    if (q->n == q->cap && out_grow(q))
        return CAM_ESYS;
    b->refs++;
    q->items[(q->first + q->n++) & (q->cap - 1)] = (struct out_item){ *to, b };
    q->bytes += b->size;
    return 0;
}

bool out_pop(struct out_queue *q, struct link_send *ret)
{
    buf_drop(q->lent);
    q->lent = NULL;
    if (q->n == 0)
        return false;
    struct out_item *item = &q->items[q->first];
    q->lent = item->bytes;
    *ret = (struct link_send){ .to = item->to, .bytes = span(item->bytes->data, item->bytes->size) };
    q->bytes -= item->bytes->size;
    q->first = (q->first + 1) & (q->cap - 1);
    q->n--;
    return true;
}

void out_clear(struct out_queue *q)
{
    struct link_send ignored;
    while (out_pop(q, &ignored))
        ;
    free(q->items);
    *q = (struct out_queue){ .items = NULL };
}

/* ---- answers ------------------------------------------------------------------------------------------- */

void answers_init(struct answer_queue *q) { *q = (struct answer_queue){ .last = &q->first }; }

int answers_push(struct answer_queue *q, const struct timeline_answer *a)
{
    if (q->n >= ANSWERS_MAX && !a->last)
        return CAM_EFULL; /* the last answer always finds room: a client never waits for nothing */
    struct answer_item *item = malloc(sizeof *item + a->row.text.size);
    if (!item)
        return CAM_ESYS;
    item->next = NULL;
    item->answer = *a;
    if (a->row.text.size) {
        uint8_t *text = (uint8_t *)(item + 1);
        memcpy(text, a->row.text.data, a->row.text.size);
        item->answer.row.text.data = text;
    }
    *q->last = item;
    q->last = &item->next;
    q->n++;
    return 0;
}

bool answers_pop(struct answer_queue *q, struct timeline_answer *ret)
{
    free(q->lent);
    q->lent = q->first;
    if (!q->first)
        return false;
    q->first = q->lent->next;
    if (!q->first)
        q->last = &q->first;
    q->n--;
    *ret = q->lent->answer;
    return true;
}

void answers_clear(struct answer_queue *q)
{
    struct timeline_answer ignored;
    while (answers_pop(q, &ignored))
        ;
    answers_init(q);
}
