/* The SNTP client's logic: whom to ask when, whom to believe, and the clock that comes of it.
 * RFC 4330 and 5905 on the wire; pure: io_sntp.h has the sockets.
 *
 * What it keeps is an offset from the monotonic clock, so a step of the system's clock never shows in an
 * id. Rounds of SNTP_SAMPLES queries go to every server; of each server the sample with the shortest trip
 * counts; the offset is taken where most of the answering servers agree within their error bounds
 * (Marzullo's intersection), and a lone voice is not believed where three or more servers are configured.
 * Without such a majority the clock runs on and its uncertainty grows by 15 ppm.
 *
 *     unsynchronized --majority--> synchronized (a step to the offset, once)
 *     synchronized: off by <= 128 ms      slew, at most 500 ppm, so the clock never goes back
 *                   off by more, 3 rounds step          off by > 1000 s: refused, always
 *
 * Rounds come 64, 128 ... 1024 seconds apart, then hourly; failed rounds and large corrections begin
 * again at 64. A server that says RATE is asked half as often from then on, DENY or RSTR never again.
 *
 *     struct sntp *s = sntp_new(4, &rng, NULL, now);
 *     sntp_set_up(s, i, true, now);                       // its address is known
 *     sntp_tick(s, now);
 *     while (sntp_next_out(s, &q)) { t1 = mono_us(); send(q.server, q.packet); sntp_sent(s, q.server, t1); }
 *     sntp_recv(s, now, server, buf, size, t4_mono_us);   // T4 as near the arrival as one can get it
 *     id_ms = sntp_wall_ms(s, now);
 */
#ifndef CORE_SNTP_H
#define CORE_SNTP_H
#include "core/bytes.h"
#include "core/now.h"
#include "core/rng.h"

#define SNTP_SERVERS_MAX 8
#define SNTP_PACKET_SIZE 48
#define SNTP_SAMPLES 4              /* queries to a server in a round */
#define SNTP_DELAY_MAX_US 1000000   /* a longer trip says too little; also the time-out of a query */
#define SNTP_ROOT_MAX_US 1500000    /* root delay / 2 + root dispersion, RFC 5905's MAXDIST as ntpd has it */
#define SNTP_ERROR_MIN_US 1000      /* nobody is believed to be better than this */
#define SNTP_DRIFT_PPM 15           /* RFC 5905's PHI */
#define SNTP_SLEW_PPM 500
#define SNTP_STEP_US 128000
#define SNTP_STEP_ROUNDS 3
#define SNTP_PANIC_US INT64_C(1000000000)

struct sntp;

struct sntp_timing { /* for tests, and for people who ask their own server */
    uint32_t gap_ms;       /* between two queries to a server in a round; 2000 */
    uint32_t poll_min_ms;  /* 64 s; doubles ... */
    uint32_t poll_max_ms;  /* ... up to 1024 s, */
    uint32_t poll_idle_ms; /* then 1 h */
};

struct sntp_query {
    int server;
    uint8_t packet[SNTP_PACKET_SIZE];
};

struct sntp_status {
    bool synced;            /* an agreement was reached since the start */
    int servers;            /* configured */
    int up;                 /* with a known address and not refusing us */
    int answering;          /* gave a good sample in the last round */
    int agreeing;           /* of those, the majority's size; 0 when there was none */
    int64_t offset_ms;      /* our clock minus the system's; 0 unsynchronized */
    uint64_t error_ms;      /* how far off it may be; UINT64_MAX unsynchronized */
    uint64_t synced_age_ms; /* since the last agreement that was used; UINT64_MAX for none */
    uint32_t refused;       /* corrections beyond 1000 s that were refused */
    uint32_t bad;           /* malformed, forged, late or insane answers */
    uint32_t kod;           /* kisses of death obeyed */
};

/* `servers` 1..SNTP_SERVERS_MAX; `rng` is copied, its context borrowed. `timing` NULL for the usual one.
 * All servers are down until sntp_set_up. NULL when out of memory. */
struct sntp *sntp_new(int servers, const struct rng *rng, const struct sntp_timing *timing, struct now now);
void sntp_free(struct sntp *s);

void sntp_set_up(struct sntp *s, int server, bool up, struct now now);
bool sntp_is_denied(const struct sntp *s, int server); /* it told us to go away, for good */

void sntp_tick(struct sntp *s, struct now now);
uint64_t sntp_deadline_ms(const struct sntp *s); /* mono_ms when sntp_tick must run next, or NOW_NEVER */
bool sntp_next_out(struct sntp *s, struct sntp_query *ret);

/* When the query given last for this server left. Without it its answer is not used. */
void sntp_sent(struct sntp *s, int server, uint64_t t1_mono_us);
bool sntp_is_waiting(const struct sntp *s, int server); /* a query is under way: its socket is still needed */
/* It could not be sent, or an ICMP error came back: counts as a time-out, without the wait. */
void sntp_failed(struct sntp *s, struct now now, int server);

/* An answer. 0 when it gave a sample; CAM_EFORMAT malformed or insane, CAM_EAUTH not an answer to our query
 * (forged, late, repeated), CAM_EREFUSED a kiss of death. All but 0 are for tests and counters. */
int sntp_recv(struct sntp *s, struct now now, int server, const void *buf, size_t size, uint64_t t4_mono_us);

/* The corrected clock in Unix milliseconds; the system's own (now.wall_ms) while unsynchronized. */
uint64_t sntp_wall_ms(const struct sntp *s, struct now now);
void sntp_status(const struct sntp *s, struct now now, struct sntp_status *ret);

/* The wire, exposed for tests and responders in tests. */
struct sntp_packet {
    uint8_t leap, version, mode, stratum;
    int8_t poll, precision;
    uint32_t root_delay, root_dispersion; /* 16.16 seconds */
    uint8_t refid[4];
    uint64_t reference, origin, receive, transmit; /* NTP timestamps, 32.32 seconds since 1900 */
};

void sntp_encode(const struct sntp_packet *p, uint8_t ret[SNTP_PACKET_SIZE]);
int sntp_decode(const void *buf, size_t size, struct sntp_packet *ret); /* CAM_EFORMAT */
uint64_t sntp_from_unix_us(int64_t unix_us);
int64_t sntp_to_unix_us(uint64_t ntp); /* in 2020..2156: an earlier value belongs to the next era */

#endif
