/* Snowflake ids of posts: 63 bits, ordered by time.
 *
 *     bit 63     62 .......... 22   21 ..... 12   11 ..... 0
 *       0        milliseconds       device        sequence
 *                since 2020-01-01   0..1023       0..4095
 *                00:00:00 UTC
 *
 * Ids of one author and device rise strictly, whatever the clock does: the next is above the last one, which
 * is read back from the last own post after a restart. A full millisecond, or a clock that went back,
 * borrows from the next millisecond. Zero is no id.
 *
 *     struct snowflake ids; uint64_t id;
 *     snowflake_init(&ids, last_own_post_id);        // 0 when there is none
 *     if (snowflake_next(&ids, device, now.wall_ms, &id)) ...
 */
#ifndef CORE_SNOWFLAKE_H
#define CORE_SNOWFLAKE_H
#include <stddef.h>
#include <stdint.h>

#define SNOWFLAKE_EPOCH_MS UINT64_C(1577836800000) /* 2020-01-01T00:00:00Z in Unix milliseconds */
#define SNOWFLAKE_DEVICE_MAX 1023
#define SNOWFLAKE_SEQ_MAX 4095
#define SNOWFLAKE_MS_MAX ((UINT64_C(1) << 41) - 1) /* runs out in 2089 */
#define SNOWFLAKE_ID_MAX ((UINT64_C(1) << 63) - 1)
#define SNOWFLAKE_TEXT_SIZE 20 /* 19 digits and the terminator */

struct snowflake {
    uint64_t last;
};

void snowflake_init(struct snowflake *s, uint64_t last_id);

/* The next id; it is then the last one. A clock before 2020 counts as 2020. CAM_EINVAL for a device over
 * the maximum; CAM_ETOOBIG when the milliseconds run out (nothing changes then). */
int snowflake_next(struct snowflake *s, unsigned device, uint64_t wall_ms, uint64_t *ret_id);

uint64_t snowflake_time_ms(uint64_t id);   /* Unix milliseconds */
unsigned snowflake_device(uint64_t id);
unsigned snowflake_seq(uint64_t id);
/* The smallest id a post of that time can have: the edge of a range by time. Clamped to the valid range. */
uint64_t snowflake_floor(uint64_t wall_ms);

/* Decimal: 1..SNOWFLAKE_ID_MAX without sign, space or leading zero. CAM_EINVAL. */
int snowflake_parse(const char *text, uint64_t *ret_id);
const char *snowflake_text(uint64_t id, char ret[SNOWFLAKE_TEXT_SIZE]); /* returns ret */

#endif
