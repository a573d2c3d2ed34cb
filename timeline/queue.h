/* What a timeline has to say: messages for links, in two queues (one may leave before the commit, the other
 * promises something and may not), and answers for the local user.
 *
 * A message is encoded once and shared by all its receivers. Both message queues are bounded; what does not
 * fit is dropped, which is what a link may do anyway: acknowledgement and repair live above.
 *
 *     struct buf *b = buf_new(bytes);
 *     out_push(&q, &dest, b); out_push(&q, &other, b);
 *     buf_drop(b);
 *     while (out_pop(&q, &send)) ...           // send.bytes lives until the next pop
 */
#ifndef TIMELINE_QUEUE_H
#define TIMELINE_QUEUE_H
#include "timeline/timeline.h"

#define OUT_MESSAGES_MAX 8192
#define OUT_BYTES_MAX \
    (64u * 1024 * 1024) /* of distinct pushes; a shared message counts once for each receiver */
#define ANSWERS_MAX 65536

struct buf {
    uint32_t refs;
    size_t size;
    uint8_t data[];
};

struct buf *buf_new(struct span bytes); /* one reference; NULL: no memory */
void buf_drop(struct buf *b);           /* NULL is fine */

struct out_item {
    struct link_dest to;
    struct buf *bytes;
};

struct out_queue {
    struct out_item *items; /* a ring of `cap`, which is 0 or a power of two */
    size_t cap, first, n, bytes;
    struct buf *lent; /* what the last pop gave out */
};

/* Takes its own reference. CAM_EFULL, CAM_ESYS. */
int out_push(struct out_queue *q, const struct link_dest *to, struct buf *b);
bool out_pop(struct out_queue *q, struct link_send *ret);
void out_clear(struct out_queue *q);

struct answer_item {
    struct answer_item *next;
    struct timeline_answer answer; /* its text, if any, lies behind the struct */
};

struct answer_queue {
    struct answer_item *first, **last;
    size_t n;
    struct answer_item *lent;
};

void answers_init(struct answer_queue *q);
/* Copies the answer with its text. CAM_EFULL, CAM_ESYS. */
int answers_push(struct answer_queue *q, const struct timeline_answer *a);
bool answers_pop(struct answer_queue *q, struct timeline_answer *ret);
void answers_clear(struct answer_queue *q);

#endif
