/* The time of one turn. Everything pure is handed this and never asks a clock.
 *
 * mono_ms: milliseconds of a clock that never steps; time-outs run on it; meaningless across restarts.
 * wall_ms: Unix milliseconds; ids, expiry and lifespans run on it; the only one ever stored.
 */
#ifndef CORE_NOW_H
#define CORE_NOW_H
#include <stdint.h>

struct now {
    uint64_t mono_ms;
    uint64_t wall_ms;
};

#define NOW_NEVER UINT64_MAX /* a deadline that does not come */

static inline int64_t now_unix_s(struct now now) { return (int64_t)(now.wall_ms / 1000); }

#endif
