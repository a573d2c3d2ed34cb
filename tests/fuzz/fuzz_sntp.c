/* The SNTP client under a hostile server. The input is a script: a byte that says how much time passes and which
 * server speaks, then 48 bytes of answer; by a bit of the first byte the answer is given our nonce, so that what lies
 * behind that check is reached too. The clock must stay within its rules whatever is said. */
#include "core/sntp.h"
#include "core/err.h"
#include <stdlib.h>
#include <string.h>

#define SERVERS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 1);
    uint64_t mono_us = 1000000;
    struct now now = { mono_us / 1000, UINT64_C(1714564800000) };
    struct sntp *s = sntp_new(SERVERS, &rng, NULL, now);
    struct sntp_query q;
    struct sntp_status st;
    uint8_t nonce[SERVERS][8] = { { 0 } };
    check(s != NULL);
    for (int i = 0; i < SERVERS; i++)
        sntp_set_up(s, i, true, now);
    while (size >= 1 + SNTP_PACKET_SIZE) {
        uint8_t op = data[0], wire[SNTP_PACKET_SIZE];
        int server = op % SERVERS;
        memcpy(wire, data + 1, sizeof wire);
        data += 1 + SNTP_PACKET_SIZE, size -= 1 + SNTP_PACKET_SIZE;
        uint64_t at = sntp_deadline_ms(s);
        if ((op & 0x40) && at != NOW_NEVER && at > mono_us / 1000)
            mono_us = at * 1000;
        else
            mono_us += (uint64_t)(op & 0x3f) * 1000;
        now.wall_ms += mono_us / 1000 - now.mono_ms;
        now.mono_ms = mono_us / 1000;
        sntp_tick(s, now);
        while (sntp_next_out(s, &q)) {
            memcpy(nonce[q.server], q.packet + 40, 8);
            sntp_sent(s, q.server, mono_us);
        }
        if (op & 0x80)
            memcpy(wire + 24, nonce[server], 8);
        uint64_t before = sntp_wall_ms(s, now);
        sntp_status(s, now, &st);
        bool was_synced = st.synced;
        mono_us += op & 0x1f;
        int err = sntp_recv(s, now, server, wire, sizeof wire, mono_us);
        check(err == 0 || err == CAM_EFORMAT || err == CAM_EAUTH || err == CAM_EREFUSED);
        sntp_status(s, now, &st);
        check(st.synced || (sntp_wall_ms(s, now) == now.wall_ms && st.error_ms == UINT64_MAX));
        check(!was_synced || st.synced);
        check(st.agreeing <= st.answering && st.answering <= SERVERS && st.up <= SERVERS);
        if (was_synced) { /* nothing but the first step may move it by more than 1000 s */
            uint64_t after = sntp_wall_ms(s, now), moved = after > before ? after - before : before - after;
            check(moved <= SNTP_PANIC_US / 1000 + 1);
        }
        if (st.synced) { /* 2020 .. 2156, and the bound is a bound */
            check(sntp_wall_ms(s, now) > UINT64_C(1577000000000) && sntp_wall_ms(s, now) < UINT64_C(5900000000000));
            check(st.error_ms >= 1 && st.error_ms < UINT64_C(1) << 40);
        }
    }
    sntp_free(s);
    return 0;
}
