#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/store_impl.h"

/* The longest life that a holder grants, by salt. A new kind of record is a row here. */
static const struct {
    const char *salt_prefix;
    uint32_t life_s;
} lives[] = {
    {"connections/", KAD_LIFE_CONNECTIONS_S},
};

uint32_t store_life_s(struct span salt, bool is_mutable)
{
    for (size_t i = 0; is_mutable && i < sizeof lives / sizeof *lives; i++) {
        struct span prefix = span_str(lives[i].salt_prefix);
        if (salt.size >= prefix.size && memcmp(salt.data, prefix.data, prefix.size) == 0)
            return lives[i].life_s;
    }
    return KAD_LIFE_MAX_S;
}

void store_item_view(const struct store_item *item, struct kad_item *ret)
{
    *ret = (struct kad_item){
        .is_mutable = item->is_mutable,
        .salt = span(item->data, item->salt_size),
        .seq = item->seq,
        .v = span(item->data + item->salt_size, item->v_size),
    };
    memcpy(ret->pk, item->pk, KEY_SIZE);
    memcpy(ret->sig, item->sig, SIG_SIZE);
}

static size_t item_size(size_t data_size) { return sizeof(struct store_item) + data_size; }

static const uint8_t *item_key(const struct store_item *item) { return item->is_mutable ? item->pk : NULL; }

void store_item_remove(struct kad_store *s, struct store_item *item)
{
    store_mark_item(s, item);
    store_record_remove(s, &item->record);
    store_unit_remove(s, &item->unit, item_key(item));
    s->stats.items--;
    s->stats.bytes -= item_size((size_t)item->salt_size + item->v_size);
    free(item);
}

struct store_item *store_item_set(struct kad_store *s, struct now now, struct store_item *old,
                                  const uint8_t target[KAD_ID_SIZE], const struct kad_item *in,
                                  uint32_t exp_s, bool has_exp, uint64_t source)
{
    size_t salt_size = in->is_mutable ? in->salt.size : 0;
    size_t old_size = old ? item_size((size_t)old->salt_size + old->v_size) : 0;
    if (!old && store_reserve(s, POOL_ITEMS))
        return NULL;
    struct store_item *item = realloc(old, item_size(salt_size + in->v.size));
    if (!item)
        return NULL;
    if (old) {
        store_record_moved(s, &item->record);
        store_unit_moved(s, &item->unit);
    } else {
        memset(item, 0, sizeof *item);
        item->is_mutable = in->is_mutable;
        if (in->is_mutable)
            memcpy(item->pk, in->pk, KEY_SIZE);
        item->record.kind = STORE_ITEM;
        memcpy(item->record.target, target, KAD_ID_SIZE);
        store_record_add(s, &item->record);
        store_unit_add(s, &item->unit, POOL_ITEMS, source, item_key(item));
        s->stats.items++;
    }
    if (in->is_mutable) {
        memcpy(item->sig, in->sig, SIG_SIZE);
        item->seq = in->seq;
    }
    item->salt_size = (uint8_t)salt_size;
    item->v_size = (uint16_t)in->v.size;
    if (salt_size)
        memcpy(item->data, in->salt.data, salt_size);
    memcpy(item->data + salt_size, in->v.data, in->v.size);
    item->exp_s = exp_s;
    item->has_exp = has_exp;
    item->seen_s = store_now_s(now);
    item->record.kept_ms = now.mono_ms;
    s->stats.bytes += item_size(salt_size + in->v.size) - old_size;
    store_schedule(s, &item->record, HEAP_EXPIRES, (uint64_t)exp_s * 1000);
    store_schedule(s, &item->record, HEAP_DUE, has_exp ? store_due_ms(s, now) : STORE_NEVER);
    return item;
}

/* The version held was put again. Whoever did has put it at the others as well. */
static void item_seen(struct kad_store *s, struct now now, struct store_item *item)
{
    item->seen_s = store_now_s(now);
    if (item->has_exp) {
        store_leave(s, now, &item->record);
    } else { /* BEP 44: it lives two hours from the last put */
        item->exp_s = item->seen_s + KAD_LIFE_PLAIN_S;
        store_schedule(s, &item->record, HEAP_EXPIRES, (uint64_t)item->exp_s * 1000);
        store_mark_item(s, item);
    }
}

static struct store_item *item_find(struct kad_store *s, struct now now, const uint8_t target[KAD_ID_SIZE])
{
    struct store_item *item = (struct store_item *)store_find(s, STORE_ITEM, 0, target);
    if (item && (uint64_t)item->exp_s * 1000 <= now.wall_ms) {
        store_item_remove(s, item);
        return NULL;
    }
    return item;
}

int kad_store_put(struct kad_store *s, struct now now, const struct kad_item *in, const int64_t *cas,
                  const struct addr *from)
{
    int code = kad_item_check(in);
    int64_t now_s = now_unix_s(now);
    int64_t exp_s = code ? 0 : kad_value_expires_s(in->v);
    bool has_exp = exp_s > 0;
    if (!has_exp)
        exp_s = now_s + KAD_LIFE_PLAIN_S;
    else if (exp_s <= now_s || exp_s > now_s + store_life_s(in->salt, in->is_mutable) + KAD_LIFE_SLACK_S)
        code = KAD_ERROR_PROTOCOL;
    if (code) {
        s->stats.refused_form++;
        return code;
    }

    uint8_t target[KAD_ID_SIZE];
    kad_item_target(in, target);
    struct store_item *old = item_find(s, now, target);
    if (old && !in->is_mutable) {
        item_seen(s, now, old);
        return 0;
    }
    int newer = 1;
    if (old) {
        if (cas && *cas != old->seq) {
            s->stats.refused_stale++;
            return KAD_ERROR_CAS;
        }
        newer = kad_version_compare(in->seq, in->v, old->seq, span(old->data + old->salt_size, old->v_size));
        if (newer < 0) {
            s->stats.refused_stale++;
            return KAD_ERROR_STALE;
        }
        if (newer == 0 && memcmp(in->sig, old->sig, SIG_SIZE) == 0) {
            item_seen(s, now, old);
            return 0;
        }
    }

    uint64_t source = store_source(from);
    struct store_unit *victim = NULL;
    if (!old && (code = store_room(s, POOL_ITEMS, source, in->is_mutable ? in->pk : NULL, KAD_KEY_ITEMS_MAX,
                                   &victim))) {
        s->stats.refused_full++;
        return code;
    }
    code = store_verify_status(kad_verified_item(s->verified, in));
    if (code) {
        s->stats.refused_signature++;
        return code;
    }
    if (newer == 0) { /* another good signature of the same version */
        item_seen(s, now, old);
        return 0;
    }
    uint8_t salt[KAD_SALT_MAX], v[KAD_VALUE_MAX];
    struct kad_item copy = *in;
    if (victim) { /* what goes may be what `in` borrows from */
        memcpy(v, in->v.data, in->v.size);
        copy.v.data = v;
        if (in->is_mutable && in->salt.size) {
            memcpy(salt, in->salt.data, in->salt.size);
            copy.salt.data = salt;
        }
        store_displace(s, victim);
    }
    struct store_item *item = store_item_set(s, now, old, target, &copy, (uint32_t)exp_s, has_exp, source);
    if (!item)
        return KAD_ERROR_FULL;
    store_mark_item(s, item);
    return 0;
}

int kad_store_get(struct kad_store *s, struct now now, const uint8_t target[KAD_ID_SIZE],
                  struct kad_item *ret_item)
{
    struct store_item *item = item_find(s, now, target);
    if (!item)
        return CAM_ENOENT;
    store_item_view(item, ret_item);
    return 0;
}
