#include "core/sntp.h"
#include "core/err.h"
#include "core/sntp_clock.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RATE_SHIFT_MAX 10 /* RATE is answered by asking at most 1024 times less often */

static const struct sntp_timing usual = { 2000, 64000, 1024000, 3600000 };

struct sample {
    int64_t offset_us;  /* the server's Unix time minus our monotonic clock */
    int64_t delay_us;
    int64_t error_us;   /* when it was taken */
    uint64_t taken_us;
};

struct server {
    bool up, denied;
    unsigned rate_shift;
    uint64_t hold_until_ms; /* not to be asked before */
    /* In a round */
    bool in_round;
    int asked;
    uint64_t next_ms;
    struct sample best;
    bool has_sample;
    /* The one query under way */
    bool waiting, to_send, sent;
    uint64_t nonce, t1_us, timeout_ms;
};

struct sntp {
    struct rng rng;
    struct sntp_timing timing;
    int count;
    struct server server[SNTP_SERVERS_MAX];
    bool in_round;
    uint64_t round_ms;    /* when the next one begins */
    uint64_t interval_ms; /* between the last and the next; 0 before the first has ended */
    unsigned failures;    /* rounds in a row without a result */
    struct sntp_clock clock;
    struct sntp_status last;
};

struct sntp *sntp_new(int servers, const struct rng *rng, const struct sntp_timing *timing, struct now now)
{
    assert(servers >= 1 && servers <= SNTP_SERVERS_MAX);
    struct sntp *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->rng = *rng;
    s->timing = timing ? *timing : usual;
    s->count = servers;
    s->round_ms = now.mono_ms;
    return s;
}

void sntp_free(struct sntp *s)
{
    free(s);
}

uint64_t sntp_wall_ms(const struct sntp *s, struct now now)
{
    int64_t mono_us = (int64_t)(now.mono_ms * 1000);
    if (!s->clock.synced)
        return now.wall_ms;
    int64_t us = mono_us + sntp_clock_offset_us(&s->clock, (uint64_t)mono_us);
    return us > 0 ? (uint64_t)us / 1000 : 0;
}

void sntp_status(const struct sntp *s, struct now now, struct sntp_status *ret)
{
    const struct sntp_clock *c = &s->clock;
    uint64_t mono_us = now.mono_ms * 1000;
    *ret = s->last;
    ret->synced = c->synced;
    ret->servers = s->count;
    ret->up = 0;
    for (int i = 0; i < s->count; i++)
        ret->up += s->server[i].up && !s->server[i].denied;
    ret->offset_ms = c->synced ? (int64_t)sntp_wall_ms(s, now) - (int64_t)now.wall_ms : 0;
    ret->error_ms = c->synced ? (sntp_clock_error_us(c, mono_us) + 999) / 1000 : UINT64_MAX;
    uint64_t age_us = mono_us > c->error_at_us ? mono_us - c->error_at_us : 0;
    ret->synced_age_ms = c->synced ? age_us / 1000 : UINT64_MAX;
}

/* Takes what the servers agree on into the clock. */
static enum sntp_take update(struct sntp *s, uint64_t mono_us)
{
    struct sntp_opinion list[SNTP_SERVERS_MAX] = { { 0, 0 } }, agreed;
    int count = 0, usable = 0;
    for (int i = 0; i < s->count; i++) {
        const struct server *v = &s->server[i];
        usable += !v->denied;
        if (!v->has_sample)
            continue;
        uint64_t age_us = mono_us > v->best.taken_us ? mono_us - v->best.taken_us : 0;
        list[count++] = (struct sntp_opinion){
            v->best.offset_us, v->best.error_us + (int64_t)(age_us / 1000000 * SNTP_DRIFT_PPM) };
    }
    s->last.answering = count;
    s->last.agreeing = sntp_agree(list, count, usable, &agreed);
    if (!s->last.agreeing)
        return SNTP_REFUSED;
    enum sntp_take take = sntp_clock_take(&s->clock, mono_us, agreed);
    s->last.refused += take == SNTP_REFUSED;
    return take;
}

/* Rounds */

static void query_end(struct server *v)
{
    v->waiting = v->to_send = v->sent = false;
}

static void join_round(struct server *v, uint64_t mono_ms)
{
    query_end(v);
    v->in_round = true;
    v->has_sample = false;
    v->asked = 0;
    v->next_ms = mono_ms;
}

static void round_begin(struct sntp *s, uint64_t mono_ms)
{
    uint64_t next_ms = NOW_NEVER;
    for (int i = 0; i < s->count; i++) {
        struct server *v = &s->server[i];
        if (!v->up || v->denied)
            continue;
        if (mono_ms < v->hold_until_ms) {
            v->has_sample = false;
            next_ms = v->hold_until_ms < next_ms ? v->hold_until_ms : next_ms;
            continue;
        }
        join_round(v, mono_ms);
        s->in_round = true;
    }
    s->round_ms = next_ms; /* counts only when nobody could be asked */
}

static void round_end(struct sntp *s, uint64_t mono_ms, enum sntp_take take)
{
    const struct sntp_timing *t = &s->timing;
    if (take == SNTP_TAKEN) {
        s->interval_ms = s->failures || !s->interval_ms ? t->poll_min_ms : s->interval_ms * 2;
        if (s->interval_ms > t->poll_max_ms)
            s->interval_ms = t->poll_idle_ms;
        s->failures = 0;
    } else { /* a large correction is asked about again soon, silence less and less often */
        s->failures = take == SNTP_FAR ? 1 : s->failures + 1;
        s->interval_ms = t->poll_min_ms;
        for (unsigned i = 1; i < s->failures && s->interval_ms * 2 <= t->poll_max_ms; i++)
            s->interval_ms *= 2;
    }
    for (int i = 0; i < s->count; i++) {
        struct server *v = &s->server[i];
        if (v->in_round && v->rate_shift && v->hold_until_ms <= mono_ms)
            v->hold_until_ms = mono_ms + (s->interval_ms << v->rate_shift);
        v->in_round = false;
    }
    s->in_round = false;
    /* Not all nodes of the world at the same instant. */
    s->round_ms = mono_ms + s->interval_ms + rng_below(&s->rng, (uint32_t)(s->interval_ms / 16) + 1);
}

/* Looks at what there is. Before the first agreement that is after every answer, so a node has the right time
 * one trip after its start; afterwards once a round, with the best of all samples. */
static void settle(struct sntp *s, uint64_t mono_ms)
{
    bool waiting = false, more = false;
    for (int i = 0; i < s->count; i++) {
        const struct server *v = &s->server[i];
        waiting = waiting || v->waiting;
        more = more || (v->in_round && v->asked < SNTP_SAMPLES);
    }
    if (!s->in_round || waiting || (more && s->clock.synced))
        return;
    enum sntp_take take = update(s, mono_ms * 1000);
    if (!more)
        round_end(s, mono_ms, take);
}

void sntp_set_up(struct sntp *s, int server, bool up, struct now now)
{
    assert(server >= 0 && server < s->count);
    struct server *v = &s->server[server];
    if (v->up == up)
        return;
    v->up = up;
    if (!up) {
        query_end(v);
        v->in_round = v->has_sample = false;
        settle(s, now.mono_ms);
    } else if (!v->denied && !s->clock.synced && s->in_round) {
        join_round(v, now.mono_ms);
    } else if (!s->in_round && (!s->clock.synced || s->round_ms == NOW_NEVER)) {
        s->round_ms = now.mono_ms;
    }
}

bool sntp_is_denied(const struct sntp *s, int server)
{
    return s->server[server].denied;
}

void sntp_tick(struct sntp *s, struct now now)
{
    uint64_t ms = now.mono_ms;
    if (!s->in_round && ms >= s->round_ms)
        round_begin(s, ms);
    for (int i = 0; i < s->count; i++) {
        struct server *v = &s->server[i];
        if (v->waiting && ms >= v->timeout_ms)
            query_end(v);
    }
    settle(s, ms);
    for (int i = 0; i < s->count; i++) {
        struct server *v = &s->server[i];
        if (!v->in_round || v->waiting || v->asked == SNTP_SAMPLES || ms < v->next_ms)
            continue;
        do
            v->nonce = rng_u64(&s->rng);
        while (v->nonce == 0); /* what a server that copies nothing would send back */
        v->asked++;
        v->waiting = v->to_send = true;
        v->timeout_ms = ms + SNTP_DELAY_MAX_US / 1000;
        v->next_ms = ms + s->timing.gap_ms;
    }
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t sntp_deadline_ms(const struct sntp *s)
{
    uint64_t at = s->in_round ? NOW_NEVER : s->round_ms;
    for (int i = 0; i < s->count; i++) {
        const struct server *v = &s->server[i];
        if (v->waiting)
            at = sooner(at, v->timeout_ms);
        else if (v->in_round && v->asked < SNTP_SAMPLES)
            at = sooner(at, v->next_ms);
    }
    return at;
}

bool sntp_next_out(struct sntp *s, struct sntp_query *ret)
{
    for (int i = 0; i < s->count; i++) {
        struct server *v = &s->server[i];
        if (!v->to_send)
            continue;
        struct sntp_packet p = { .version = 4, .mode = 3, .transmit = v->nonce };
        v->to_send = false;
        ret->server = i;
        sntp_encode(&p, ret->packet);
        return true;
    }
    return false;
}

void sntp_sent(struct sntp *s, int server, uint64_t t1_mono_us)
{
    assert(server >= 0 && server < s->count);
    struct server *v = &s->server[server];
    v->sent = v->waiting;
    v->t1_us = t1_mono_us;
}

bool sntp_is_waiting(const struct sntp *s, int server)
{
    return s->server[server].waiting;
}

void sntp_failed(struct sntp *s, struct now now, int server)
{
    assert(server >= 0 && server < s->count);
    query_end(&s->server[server]);
    settle(s, now.mono_ms);
}

/* Answers */

/* A kiss of death, RFC 5905 section 7.4. */
static int kissed(struct sntp *s, struct server *v, const struct sntp_packet *p, uint64_t mono_ms)
{
    bool rate = !memcmp(p->refid, "RATE", 4),
         deny = !memcmp(p->refid, "DENY", 4) || !memcmp(p->refid, "RSTR", 4);
    if (!rate && !deny)
        return CAM_EFORMAT; /* INIT, STEP ...: it has no time to tell yet */
    s->last.kod++;
    v->asked = SNTP_SAMPLES; /* not once more in this round */
    v->denied = deny;
    v->has_sample = v->has_sample && !deny;
    if (rate) {
        uint64_t interval_ms = s->interval_ms ? s->interval_ms : s->timing.poll_min_ms;
        uint64_t wait_ms = interval_ms << (v->rate_shift + 1);
        uint64_t asked_for_ms = p->poll > 0 && p->poll <= 17 ? UINT64_C(1000) << p->poll : 0;
        v->rate_shift += v->rate_shift < RATE_SHIFT_MAX;
        v->hold_until_ms = mono_ms + (wait_ms > asked_for_ms ? wait_ms : asked_for_ms);
    }
    return CAM_EREFUSED;
}

static int64_t short_us(uint32_t v) /* 16.16 seconds */
{
    return (int64_t)(((uint64_t)v * 1000000) >> 16);
}

/* RFC 4330 section 5 and RFC 5905 appendix A.5.1.1: what an answer may say, and the sample in it. */
static int measure(const struct sntp_packet *p, uint64_t t1_us, uint64_t t4_us, struct sample *ret)
{
    int64_t root_us = short_us(p->root_delay) / 2 + short_us(p->root_dispersion);
    if (p->leap == 3 || p->stratum == 0 || p->stratum > 15 || p->precision > 0 ||
        root_us > SNTP_ROOT_MAX_US || p->receive == 0 || p->transmit == 0)
        return CAM_EFORMAT;
    int64_t t2 = sntp_to_unix_us(p->receive), t3 = sntp_to_unix_us(p->transmit);
    int64_t t1 = (int64_t)t1_us, t4 = (int64_t)t4_us;
    int64_t delay = (t4 - t1) - (t3 - t2);
    if (t3 < t2 || t4 < t1 || delay >= SNTP_DELAY_MAX_US || delay < -SNTP_ERROR_MIN_US)
        return CAM_EFORMAT;
    if (p->reference && sntp_to_unix_us(p->reference) > t3) /* set in its own future */
        return CAM_EFORMAT;
    delay = delay > 0 ? delay : 0; /* two clocks' graininess */
    int64_t grain_us = p->precision > -20 ? 1000000 >> -p->precision : 1;
    int64_t error = delay / 2 + root_us + grain_us + 1;
    ret->offset_us = ((t2 - t1) + (t3 - t4)) / 2;
    ret->delay_us = delay;
    ret->error_us = error > SNTP_ERROR_MIN_US ? error : SNTP_ERROR_MIN_US;
    ret->taken_us = t4_us;
    return 0;
}

int sntp_recv(struct sntp *s, struct now now, int server, const void *buf, size_t size, uint64_t t4_mono_us)
{
    assert(server >= 0 && server < s->count);
    struct server *v = &s->server[server];
    struct sntp_packet p;
    struct sample sample;
    int err = sntp_decode(buf, size, &p);
    if (!err && (p.mode != 4 || p.version < 3 || p.version > 4))
        err = CAM_EFORMAT;
    /* Without our 64 bits anybody may have sent it: the true answer can still come. */
    if (err || !v->waiting || !v->sent || p.origin != v->nonce) {
        s->last.bad++;
        return err ? err : CAM_EAUTH;
    }
    query_end(v);
    err = p.stratum == 0 ? kissed(s, v, &p, now.mono_ms) : measure(&p, v->t1_us, t4_mono_us, &sample);
    s->last.bad += err == CAM_EFORMAT;
    if (!err && (!v->has_sample || sample.delay_us < v->best.delay_us)) {
        v->best = sample;
        v->has_sample = true;
    }
    settle(s, now.mono_ms);
    return err;
}
