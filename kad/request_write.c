/* The second phase of every put: one write to each of the k closest, and what became of them. */
#include "core/err.h"
#include "kad/request_impl.h"

#define PART_WRITE UINT16_MAX

static void write_family(struct kad *k, struct request *r, uint8_t family,
                         void (*fill)(const struct request *, const struct lookup_node *, struct krpc_msg *))
{
    struct request_node found[LOOKUP_MAX];
    size_t n = request_closest(r, family, found, LOOKUP_MAX), width = request_width(r, family), held = 0;

    for (size_t i = 0; i < n && held < width; i++) {
        struct lookup_node *node = request_node(r, found[i]);
        struct krpc_msg q = {.kind = KRPC_QUERY};
        if (node->refused)
            continue;
        held++;
        if (node->skip || node->written)
            continue;
        fill(r, node, &q);
        if (node->token_size == 0 || request_send(k, r, found[i], &q, PART_WRITE)) {
            node->refused = true;
            held--;
            continue;
        }
        node->written = true;
    }
}

void request_write_more(struct kad *k, struct request *r,
                        void (*fill)(const struct request *r, const struct lookup_node *node,
                                     struct krpc_msg *q))
{
    write_family(k, r, 4, fill);
    write_family(k, r, 6, fill);
}

bool request_note_write(struct request *r, struct lookup_node *node, const struct krpc_msg *m)
{
    if (m && m->kind == KRPC_REPLY)
        return true;
    if (m && (m->code == KAD_ERROR_CAS || m->code == KAD_ERROR_STALE)) {
        r->behind++;
        if (node->has_seq && node->seq > r->newer_seq)
            r->newer_seq = node->seq;
        return false;
    }
    if (m)
        r->refusal = m->code;
    node->refused = true;
    return false;
}

int request_write_status(const struct request *r)
{
    if (r->status)
        return r->status;
    /* One liar must not be able to call a good put stale: as many must say so as stored it. */
    if (r->behind > 0 && r->behind >= r->holders)
        return r->has_cas ? CAM_ECAS : CAM_ESTALE;
    if (r->holders > 0)
        return 0;
    return r->refusal ? kad_error_status(r->refusal) : CAM_ENET;
}
