#include "core/sntp_clock.h"
#include "core/sntp.h"

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* Agreement */

static int64_t low_of(struct sntp_opinion o)
{
    return o.offset_us - o.error_us;
}

static int64_t high_of(struct sntp_opinion o)
{
    return o.offset_us + o.error_us;
}

static int agree_with(const struct sntp_opinion *list, int count, int64_t point)
{
    int n = 0;
    for (int i = 0; i < count; i++)
        n += low_of(list[i]) <= point && point <= high_of(list[i]);
    return n;
}

/* Eight opinions at most, so the simple way is quick: the most agreement is reached at some lower end. Where
 * it is reached in several places, the span holds them all, and the error says so. */
int sntp_agree(const struct sntp_opinion *list, int count, int configured, struct sntp_opinion *ret)
{
    int most = 0;
    int64_t low = INT64_MAX, high = INT64_MIN;
    for (int i = 0; i < count; i++) {
        int n = agree_with(list, count, low_of(list[i]));
        most = n > most ? n : most;
    }
    if (most * 2 <= count || (configured >= 3 && most < 2))
        return 0;
    for (int i = 0; i < count; i++) {
        if (agree_with(list, count, low_of(list[i])) == most && low_of(list[i]) < low)
            low = low_of(list[i]);
        if (agree_with(list, count, high_of(list[i])) == most && high_of(list[i]) > high)
            high = high_of(list[i]);
    }
    /* The mean of those that reach into the span, by the weight of 1/error, and inside it. */
    double sum = 0, weights = 0;
    for (int i = 0; i < count; i++) {
        if (low_of(list[i]) > high || high_of(list[i]) < low)
            continue;
        double weight = 1.0 / (double)(list[i].error_us > 0 ? list[i].error_us : 1);
        sum += weight * (double)(list[i].offset_us - low);
        weights += weight;
    }
    int64_t offset = clamp(low + (int64_t)(sum / weights), low, high);
    int64_t error = high - offset > offset - low ? high - offset : offset - low;
    ret->offset_us = offset;
    ret->error_us = error > SNTP_ERROR_MIN_US ? error : SNTP_ERROR_MIN_US;
    return most;
}

/* The clock */

int64_t sntp_clock_offset_us(const struct sntp_clock *c, uint64_t mono_us)
{
    /* Of any slew: no overflow below. */
    const uint64_t longest_us = (uint64_t)SNTP_STEP_US * 1000000 / SNTP_SLEW_PPM;
    uint64_t passed_us = mono_us > c->slew_start_us ? mono_us - c->slew_start_us : 0;
    int64_t done = (int64_t)((passed_us < longest_us ? passed_us : longest_us) * SNTP_SLEW_PPM / 1000000);
    int64_t left = c->slew_us < 0 ? clamp(c->slew_us + done, c->slew_us, 0)
                                  : clamp(c->slew_us - done, 0, c->slew_us);
    return c->target_us - left;
}

uint64_t sntp_clock_error_us(const struct sntp_clock *c, uint64_t mono_us)
{
    uint64_t age_us = mono_us > c->error_at_us ? mono_us - c->error_at_us : 0;
    int64_t left = c->target_us - sntp_clock_offset_us(c, mono_us);
    return (uint64_t)c->error_us + age_us / 1000000 * SNTP_DRIFT_PPM + (uint64_t)(left < 0 ? -left : left);
}

enum sntp_take sntp_clock_take(struct sntp_clock *c, uint64_t mono_us, struct sntp_opinion agreed)
{
    int64_t diff = agreed.offset_us - sntp_clock_offset_us(c, mono_us), size = diff < 0 ? -diff : diff;
    bool far = size > SNTP_STEP_US;
    if (c->synced && size > SNTP_PANIC_US)
        return SNTP_REFUSED;
    if (c->synced && far && ++c->far_rounds < SNTP_STEP_ROUNDS)
        return SNTP_FAR;
    c->target_us = agreed.offset_us;
    c->slew_us = c->synced && !far ? diff : 0;
    c->slew_start_us = mono_us;
    c->error_us = agreed.error_us;
    c->error_at_us = mono_us;
    c->far_rounds = 0;
    c->synced = true;
    return SNTP_TAKEN;
}
