#include "tests/bench/bench_floor.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/io_udp.h"
#include "kad/item.h"
#include "tests/bench/bench.h"

struct bench_floor {
    struct io_udp udp[2];
    struct sockaddr_in at[2];
};

static void fail(const char *what)
{
    fprintf(stderr, "bench: the floor cannot %s\n", what);
    exit(71);
}

struct bench_floor *bench_floor_new(void)
{
    struct bench_floor *f = calloc(1, sizeof *f);
    struct addr any;

    addr_parse("127.0.0.1:0", &any);
    for (int i = 0; i < 2; i++) {
        if (!f || io_udp_open(&any, &f->udp[i]))
            fail("open its sockets");
        f->at[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(f->udp[i].addr.port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    }
    return f;
}

void bench_floor_free(struct bench_floor *f)
{
    for (int i = 0; i < 2; i++)
        io_udp_close(&f->udp[i]);
    free(f);
}

double bench_floor_us(struct bench_floor *f, const struct bench_floor_work *work)
{
    uint8_t buf[KAD_DATAGRAM_MAX] = {0}, bytes[KAD_ITEM_SIGNED_MAX], sig[SIG_SIZE];
    struct bytes_out signed_bytes = bytes_out(bytes, sizeof bytes);

    kad_item_signed_bytes(work->item, &signed_bytes);
    double start = bench_us();
    for (size_t i = 0; i < work->n; i++) {
        int from = (int)(i & 1);
        if (sendto(f->udp[from].fd, buf, work->sizes[i], 0, (struct sockaddr *)&f->at[!from], sizeof f->at[0]) < 0)
            fail("send");
        if (recv(f->udp[!from].fd, buf, sizeof buf, 0) < 0)
            fail("receive");
    }
    for (size_t i = 0; i < work->sign; i++)
        identity_sign(work->id, bytes, signed_bytes.size, sig);
    for (size_t i = 0; i < work->verify; i++)
        if (identity_verify(work->item->pk, bytes, signed_bytes.size, work->item->sig))
            fail("verify");
    return bench_us() - start;
}
