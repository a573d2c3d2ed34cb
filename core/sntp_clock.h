/* Two parts of the SNTP client that stand on their own: whom to believe, and the clock that follows.
 * Private to sntp.c and its tests.
 */
#ifndef CORE_SNTP_CLOCK_H
#define CORE_SNTP_CLOCK_H
#include <stdbool.h>
#include <stdint.h>

struct sntp_opinion { /* "the true offset is within error_us of offset_us" */
    int64_t offset_us, error_us;
};

/* The offset on which most agree: Marzullo's algorithm as RFC 5905 section 11.2.1 has it. `configured` is how
 * many could have answered; where that is three or more, one alone is not believed. Returns how many agree, 0
 * for no majority of those that answered (then nothing is set). */
int sntp_agree(const struct sntp_opinion *list, int count, int configured, struct sntp_opinion *ret);

/* monotonic clock + target, less what is still to be slewed. Zero: never set. */
struct sntp_clock {
    bool synced;
    int64_t target_us;
    int64_t slew_us;         /* the size of the slew that began at slew_start_us */
    uint64_t slew_start_us;
    int64_t error_us;        /* at error_at_us; it grows from there */
    uint64_t error_at_us;
    int far_rounds;          /* corrections beyond SNTP_STEP_US in a row, waiting for a third */
};

enum sntp_take { SNTP_TAKEN, SNTP_FAR, SNTP_REFUSED };

/* What sntp.h's diagram does with an agreed offset. SNTP_FAR: not yet, ask again soon. SNTP_REFUSED: beyond
 * SNTP_PANIC_US. */
enum sntp_take sntp_clock_take(struct sntp_clock *c, uint64_t mono_us, struct sntp_opinion agreed);

int64_t sntp_clock_offset_us(const struct sntp_clock *c, uint64_t mono_us);
uint64_t sntp_clock_error_us(const struct sntp_clock *c, uint64_t mono_us);

#endif
