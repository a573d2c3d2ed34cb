/* The floor under an operation: what no implementation of it can leave undone, by a bare C loop.
 *
 * Counted, and taken from the operation that was just measured: one send and one receive for each of its datagrams,
 * of the very same sizes, over UDP sockets opened as a node opens them; and its signatures and verifications, over
 * the very same bytes. Not counted: waiting, parsing, looking anything up, knowing who sent, and more than two
 * sockets, so that the floor's caches are warm. In one point alone may a node stay below it: it may send and receive
 * several datagrams with one system call.
 *
 *     struct bench_floor *f = bench_floor_new();
 *     struct bench_floor_work work = {.sizes = sizes, .n = 34, .item = &item, .id = id, .sign = 1, .verify = 8};
 *     double us = bench_floor_us(f, &work);
 */
#ifndef TESTS_BENCH_FLOOR_H
#define TESTS_BENCH_FLOOR_H
#include <stddef.h>
#include <stdint.h>

#include "kad/kad.h"

struct bench_floor;

struct bench_floor_work {
    const uint16_t *sizes;       /* of the datagrams, in bytes */
    size_t n;
    const struct kad_item *item; /* what is signed and verified: mutable, signed by `id` */
    const struct identity *id;
    size_t sign, verify;         /* how often */
};

struct bench_floor *bench_floor_new(void); /* ends the program when there are no sockets */
void bench_floor_free(struct bench_floor *f);
double bench_floor_us(struct bench_floor *f, const struct bench_floor_work *work);

#endif
