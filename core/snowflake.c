#include "core/snowflake.h"
#include "core/err.h"
#include <stdio.h>

#define SEQ_BITS 12
#define DEVICE_BITS 10
#define TIME_SHIFT (SEQ_BITS + DEVICE_BITS)

static uint64_t pack(uint64_t ms, unsigned device, uint64_t seq)
{
    return ms << TIME_SHIFT | (uint64_t)device << SEQ_BITS | seq;
}

static uint64_t since_epoch(uint64_t wall_ms)
{
    return wall_ms > SNOWFLAKE_EPOCH_MS ? wall_ms - SNOWFLAKE_EPOCH_MS : 0;
}

void snowflake_init(struct snowflake *s, uint64_t last_id)
{
    s->last = last_id;
}

int snowflake_next(struct snowflake *s, unsigned device, uint64_t wall_ms, uint64_t *ret_id)
{
    if (device > SNOWFLAKE_DEVICE_MAX)
        return CAM_EINVAL;
    uint64_t ms = since_epoch(wall_ms), last_ms = s->last >> TIME_SHIFT;
    if (ms < last_ms)
        ms = last_ms; /* the clock went back, or we borrowed: stay where the ids are */
    uint64_t id = pack(ms, device, 0);
    if (ms <= SNOWFLAKE_MS_MAX && id <= s->last) {
        if (snowflake_device(s->last) == device && snowflake_seq(s->last) < SNOWFLAKE_SEQ_MAX)
            id = s->last + 1;
        else /* the millisecond is full, or belongs to a higher device since the index changed */
            id = pack(++ms, device, 0);
    }
    if (ms > SNOWFLAKE_MS_MAX)
        return CAM_ETOOBIG;
    s->last = id;
    *ret_id = id;
    return 0;
}

uint64_t snowflake_time_ms(uint64_t id)
{
    return (id >> TIME_SHIFT) + SNOWFLAKE_EPOCH_MS;
}

unsigned snowflake_device(uint64_t id)
{
    return (unsigned)(id >> SEQ_BITS) & SNOWFLAKE_DEVICE_MAX;
}

unsigned snowflake_seq(uint64_t id)
{
    return (unsigned)id & SNOWFLAKE_SEQ_MAX;
}

uint64_t snowflake_floor(uint64_t wall_ms)
{
    uint64_t ms = since_epoch(wall_ms);
    return ms > SNOWFLAKE_MS_MAX ? SNOWFLAKE_ID_MAX : pack(ms, 0, 0);
}

int snowflake_parse(const char *text, uint64_t *ret_id)
{
    if (*text < '1' || *text > '9')
        return CAM_EINVAL;
    uint64_t id = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return CAM_EINVAL;
        unsigned digit = (unsigned)(*text - '0');
        if (id > (SNOWFLAKE_ID_MAX - digit) / 10)
            return CAM_EINVAL;
        id = id * 10 + digit;
    }
    *ret_id = id;
    return 0;
}

const char *snowflake_text(uint64_t id, char ret[SNOWFLAKE_TEXT_SIZE])
{
    /* Nine quintillion has 19 digits; a 20th, of a number that is no id, would not fit. */
    snprintf(ret, SNOWFLAKE_TEXT_SIZE, "%llu", (unsigned long long)id);
    return ret;
}
