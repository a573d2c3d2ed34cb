/* Records on disk. Each is one key and one value; a value ends with the CRC-32C of all before it. Big-endian.
 *
 *   key                                           value
 *   'i' target(20)                                1  flags(1)  source(8)  exp(4)  seen(4)
 *                                                   mutable: pk(32) sig(64) seq(8) salt-size(1) salt
 *                                                   v-size(2) v  crc(4)
 *   'e' depth(1) root(20) slot(20)                1  source(8)  since(4)  refreshed(4)  seen(4)
 *                                                   pk(32) sig(64) seq(8)  v-size(2) v  crc(4)
 *   's' depth(1) root(20) prefix(6, zero-filled)  1  split(4)  crc(4)
 *   'p' info-hash(20) family(1) ip(16) port(2)    1  source(8)  exp(4)  crc(4)
 *
 *   flags: 1 = mutable, 2 = v carries exp.  Times are Unix seconds; source is store_source(). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/hash.h"
#include "kad/store_impl.h"

#define VERSION 1
#define VALUE_MAX 1280

static_assert(VALUE_MAX >= 1 + 1 + 8 + 4 + 4 + 32 + 64 + 8 + 1 + KAD_SALT_MAX + 2 + KAD_VALUE_MAX + 4,
              "an item fits");

/* ---- keys --------------------------------------------------------------------------------------------- */

void store_mark_item(struct kad_store *s, struct store_item *item)
{
    uint8_t buf[KAD_STORE_KEY_MAX];
    struct bytes_out key = bytes_out(buf, sizeof buf);
    bytes_put_u8(&key, 'i');
    bytes_put(&key, item->record.target, KAD_ID_SIZE);
    store_mark(s, span(buf, key.size), &item->unit.dirty);
}

void store_mark_entry(struct kad_store *s, struct store_entry *e)
{
    uint8_t buf[KAD_STORE_KEY_MAX];
    struct bytes_out key = bytes_out(buf, sizeof buf);
    bytes_put_u8(&key, 'e');
    bytes_put_u8(&key, e->shard->at.depth);
    bytes_put(&key, e->shard->at.root, KAD_ID_SIZE);
    bytes_put(&key, e->slot, KAD_SLOT_SIZE);
    store_mark(s, span(buf, key.size), &e->unit.dirty);
}

void store_mark_split(struct kad_store *s, struct store_shard *shard)
{
    uint8_t buf[KAD_STORE_KEY_MAX];
    struct bytes_out key = bytes_out(buf, sizeof buf);
    bytes_put_u8(&key, 's');
    bytes_put_u8(&key, shard->at.depth);
    bytes_put(&key, shard->at.root, KAD_ID_SIZE);
    bytes_put(&key, shard->at.prefix, KAD_SHARD_DEPTH_MAX);
    store_mark(s, span(buf, key.size), &shard->split_dirty);
}

void store_mark_peer(struct kad_store *s, struct store_peer *peer)
{
    uint8_t buf[KAD_STORE_KEY_MAX];
    struct bytes_out key = bytes_out(buf, sizeof buf);
    bytes_put_u8(&key, 'p');
    bytes_put(&key, peer->list->record.target, KAD_ID_SIZE);
    bytes_put_u8(&key, peer->addr.family);
    bytes_put(&key, peer->addr.ip, 16);
    bytes_put_u16(&key, peer->addr.port);
    store_mark(s, span(buf, key.size), &peer->unit.dirty);
}

/* What a key names. Every field but kind is meaningful only for the kinds that have it. */
struct key {
    uint8_t kind;
    uint8_t target[KAD_ID_SIZE]; /* i p */
    struct kad_shard_id at;      /* e s */
    uint8_t slot[KAD_SLOT_SIZE]; /* e */
    struct addr addr;            /* p */
};

static int key_parse(struct span bytes, struct key *ret)
{
    struct bytes_in in = bytes_in(bytes.data, bytes.size);
    struct key key = {.kind = bytes_get_u8(&in)};
    uint8_t depth, root[KAD_ID_SIZE], prefix[KAD_SHARD_DEPTH_MAX];
    switch (key.kind) {
    case 'i':
        bytes_copy(&in, key.target, KAD_ID_SIZE);
        break;
    case 'e':
        depth = bytes_get_u8(&in);
        bytes_copy(&in, root, KAD_ID_SIZE);
        bytes_copy(&in, key.slot, KAD_SLOT_SIZE);
        if (depth > KAD_SHARD_DEPTH_MAX)
            return CAM_EFORMAT;
        kad_shard_of(&key.at, root, depth, key.slot);
        break;
    case 's':
        depth = bytes_get_u8(&in);
        bytes_copy(&in, root, KAD_ID_SIZE);
        bytes_copy(&in, prefix, sizeof prefix);
        if (depth > KAD_SHARD_DEPTH_MAX || kad_shard_parse(&key.at, root, depth, span(prefix, depth)))
            return CAM_EFORMAT;
        break;
    case 'p':
        bytes_copy(&in, key.target, KAD_ID_SIZE);
        key.addr.family = bytes_get_u8(&in);
        bytes_copy(&in, key.addr.ip, 16);
        key.addr.port = bytes_get_u16(&in);
        if (key.addr.family != 4 && key.addr.family != 6)
            return CAM_EFORMAT;
        break;
    default:
        return CAM_EFORMAT;
    }
    if (bytes_end(&in))
        return CAM_EFORMAT;
    *ret = key;
    return 0;
}

bool kad_store_owns_key(struct span key) { return key.size > 0 && memchr("iesp", key.data[0], 4) != NULL; }

/* ---- values: the writer of a kind beside its reader --------------------------------------------------- */

static void item_write(struct bytes_out *out, const struct store_item *item)
{
    bytes_put_u8(out, (uint8_t)(item->is_mutable | item->has_exp << 1));
    bytes_put_u64(out, item->unit.source);
    bytes_put_u32(out, item->exp_s);
    bytes_put_u32(out, item->seen_s);
    if (item->is_mutable) {
        bytes_put(out, item->pk, KEY_SIZE);
        bytes_put(out, item->sig, SIG_SIZE);
        bytes_put_u64(out, (uint64_t)item->seq);
        bytes_put_u8(out, item->salt_size);
        bytes_put(out, item->data, item->salt_size);
    }
    bytes_put_u16(out, item->v_size);
    bytes_put(out, item->data + item->salt_size, item->v_size);
}

/* After a start, what is due comes spread over the hour: how long it has been seen by nobody does not matter
 * much while the other holders were awake, and all at once would. */
static uint64_t loaded_due_ms(struct kad_store *s, struct now now)
{
    return now.mono_ms + rng_below(s->rng, KAD_REPLICATE_S * 1000);
}

static int item_read(struct kad_store *s, struct now now, const struct key *key, struct bytes_in *in)
{
    uint8_t flags = bytes_get_u8(in);
    uint64_t source = bytes_get_u64(in);
    uint32_t exp_s = bytes_get_u32(in), seen_s = bytes_get_u32(in);
    struct kad_item item = {.is_mutable = flags & 1};
    if (item.is_mutable) {
        bytes_copy(in, item.pk, KEY_SIZE);
        bytes_copy(in, item.sig, SIG_SIZE);
        item.seq = (int64_t)bytes_get_u64(in);
        item.salt.size = bytes_get_u8(in);
        item.salt.data = bytes_get(in, item.salt.size);
    }
    item.v.size = bytes_get_u16(in);
    item.v.data = bytes_get(in, item.v.size);
    if (bytes_end(in) || flags > 3 || kad_item_check(&item))
        return CAM_EFORMAT;
    uint8_t target[KAD_ID_SIZE];
    kad_item_target(&item, target);
    if (memcmp(target, key->target, KAD_ID_SIZE) != 0 || store_find(s, STORE_ITEM, 0, target))
        return CAM_EFORMAT;
    if ((uint64_t)exp_s * 1000 <= now.wall_ms)
        return CAM_EEXPIRED;
    if (s->pools[POOL_ITEMS].n >= s->pools[POOL_ITEMS].max)
        return CAM_EFULL;
    struct store_item *held = store_item_set(s, now, NULL, target, &item, exp_s, (flags & 2) != 0, source);
    if (!held)
        return CAM_ESYS;
    held->seen_s = seen_s;
    if (held->has_exp)
        store_schedule(s, &held->record, HEAP_DUE, loaded_due_ms(s, now));
    return 0;
}

static void entry_write(struct bytes_out *out, const struct store_entry *e)
{
    bytes_put_u64(out, e->unit.source);
    bytes_put_u32(out, e->since_s);
    bytes_put_u32(out, e->refreshed_s);
    bytes_put_u32(out, e->seen_s);
    bytes_put(out, e->pk, KEY_SIZE);
    bytes_put(out, e->sig, SIG_SIZE);
    bytes_put_u64(out, (uint64_t)e->seq);
    bytes_put_u16(out, e->v_size);
    bytes_put(out, e->v, e->v_size);
}

static int entry_read(struct kad_store *s, struct now now, const struct key *key, struct bytes_in *in)
{
    struct kad_entry entry = {0};
    uint64_t source = bytes_get_u64(in);
    uint32_t since_s = bytes_get_u32(in), refreshed_s = bytes_get_u32(in), seen_s = bytes_get_u32(in);
    bytes_copy(in, entry.pk, KEY_SIZE);
    bytes_copy(in, entry.sig, SIG_SIZE);
    entry.seq = (int64_t)bytes_get_u64(in);
    entry.v.size = bytes_get_u16(in);
    entry.v.data = bytes_get(in, entry.v.size);
    uint8_t slot[KAD_SLOT_SIZE];
    kad_slot(entry.pk, slot);
    if (bytes_end(in) || kad_entry_check(&entry) || memcmp(slot, key->slot, KAD_SLOT_SIZE) != 0)
        return CAM_EFORMAT;
    int64_t exp_s = kad_value_expires_s(entry.v);
    if (exp_s <= now_unix_s(now))
        return CAM_EEXPIRED;
    if (exp_s > UINT32_MAX)
        return CAM_EFORMAT;
    struct store_shard *shard = store_shard_find(s, &key->at);
    uint32_t at;
    if (shard && store_entry_find(shard, slot, &at))
        return CAM_EFORMAT;
    if (s->pools[POOL_ENTRIES].n >= s->pools[POOL_ENTRIES].max ||
        (shard && shard->n >= KAD_SHARD_ENTRIES_MAX))
        return CAM_EFULL;
    bool made = !shard;
    if (made && !(shard = store_shard_make(s, now, &key->at)))
        return CAM_ESYS;
    struct store_entry *e = store_entry_set(s, shard, NULL, &entry, (uint32_t)exp_s, source);
    if (made) {
        shard->created_s = 0;
        store_schedule(s, &shard->record, HEAP_DUE, loaded_due_ms(s, now));
    }
    if (!e) {
        store_shard_settle(s, shard);
        return CAM_ESYS;
    }
    e->since_s = since_s;
    e->refreshed_s = refreshed_s;
    e->seen_s = seen_s;
    return 0;
}

static void split_write(struct bytes_out *out, const struct store_shard *shard)
{
    bytes_put_u32(out, shard->split_s);
}

static int split_read(struct kad_store *s, struct now now, const struct key *key, struct bytes_in *in)
{
    uint32_t split_s = bytes_get_u32(in);
    if (bytes_end(in) || !split_s || key->at.depth == KAD_SHARD_DEPTH_MAX)
        return CAM_EFORMAT;
    if (((uint64_t)split_s + STORE_SPLIT_LIFE_S) * 1000 <= now.wall_ms)
        return CAM_EEXPIRED;
    bool made = !store_shard_find(s, &key->at);
    struct store_shard *shard = store_shard_make(s, now, &key->at);
    if (!shard)
        return CAM_ESYS;
    if (made) {
        shard->created_s = 0;
        store_schedule(s, &shard->record, HEAP_DUE, loaded_due_ms(s, now));
    }
    shard->split_s = split_s;
    store_shard_settle(s, shard);
    return 0;
}

static void peer_write(struct bytes_out *out, const struct store_peer *peer)
{
    bytes_put_u64(out, peer->unit.source);
    bytes_put_u32(out, peer->exp_s);
}

static int peer_read(struct kad_store *s, struct now now, const struct key *key, struct bytes_in *in)
{
    uint64_t source = bytes_get_u64(in);
    uint32_t exp_s = bytes_get_u32(in);
    if (bytes_end(in) || !addr_is_usable(&key->addr))
        return CAM_EFORMAT;
    if ((uint64_t)exp_s * 1000 <= now.wall_ms)
        return CAM_EEXPIRED;
    const struct store_record *list = store_find(s, STORE_PEERS, 0, key->target);
    if (s->pools[POOL_PEERS].n >= s->pools[POOL_PEERS].max ||
        (list && ((const struct store_peers *)list)->n >= KAD_PEERS_PER_HASH_MAX))
        return CAM_EFULL;
    return store_peer_set(s, now, key->target, &key->addr, exp_s, source) ? 0 : CAM_ESYS;
}

/* ---- draining and loading ----------------------------------------------------------------------------- */

/* Writes the value that a key has now; writes nothing when there is none any more. */
static void value_write(struct kad_store *s, const struct key *key, struct bytes_out *out)
{
    struct store_shard *shard = NULL;
    uint32_t at;
    switch (key->kind) {
    case 'i': {
        struct store_item *item = (struct store_item *)store_find(s, STORE_ITEM, 0, key->target);
        if (item) {
            item->unit.dirty = false;
            item_write(out, item);
        }
        break;
    }
    case 'e': {
        shard = store_shard_find(s, &key->at);
        struct store_entry *e = shard ? store_entry_find(shard, key->slot, &at) : NULL;
        if (e) {
            e->unit.dirty = false;
            entry_write(out, e);
        }
        break;
    }
    case 's':
        shard = store_shard_find(s, &key->at);
        if (shard)
            shard->split_dirty = false;
        if (shard && shard->split_s)
            split_write(out, shard);
        break;
    case 'p': {
        const struct store_peers *list =
            (const struct store_peers *)store_find(s, STORE_PEERS, 0, key->target);
        for (uint32_t i = 0; list && i < list->n; i++)
            if (addr_equal(&list->peers[i]->addr, &key->addr)) {
                list->peers[i]->unit.dirty = false;
                peer_write(out, list->peers[i]);
            }
        break;
    }
    }
}

bool kad_store_next_dirty(struct kad_store *s, struct now now, struct kad_dirty *ret_dirty)
{
    (void)now;
    if (s->dirty_at == s->n_dirty || (!s->value && !(s->value = malloc(VALUE_MAX)))) {
        if (s->dirty_at == s->n_dirty) {
            free(s->dirty);
            free(s->value);
            s->dirty = NULL;
            s->value = NULL;
            s->n_dirty = s->cap_dirty = s->dirty_at = 0;
        }
        return false;
    }
    const struct store_dirty *d = &s->dirty[s->dirty_at++];
    struct key key;
    int err = key_parse(span(d->key, d->size), &key);
    assert(!err); /* we wrote it */
    (void)err;
    struct bytes_out out = bytes_out(s->value, VALUE_MAX);
    bytes_put_u8(&out, VERSION);
    value_write(s, &key, &out);
    if (out.size > 1)
        bytes_put_u32(&out, hash_crc32c(s->value, out.size));
    assert(!out.err);
    ret_dirty->key = span(d->key, d->size);
    ret_dirty->value = span(s->value, out.size > 1 ? out.size : 0);
    return true;
}

int kad_store_load(struct kad_store *s, struct now now, struct span key_bytes, struct span value)
{
    struct key key;
    if (key_parse(key_bytes, &key) || value.size < 5 ||
        be32(value.data + value.size - 4) != hash_crc32c(value.data, value.size - 4))
        return CAM_EFORMAT;
    struct bytes_in in = bytes_in(value.data, value.size - 4);
    if (bytes_get_u8(&in) != VERSION)
        return CAM_EFORMAT;
    int err = key.kind == 'i'   ? item_read(s, now, &key, &in)
              : key.kind == 'e' ? entry_read(s, now, &key, &in)
              : key.kind == 's' ? split_read(s, now, &key, &in)
                                : peer_read(s, now, &key, &in);
    if (err != CAM_EEXPIRED && err != CAM_EFULL)
        return err;
    bool marked = false;
    store_mark(s, key_bytes, &marked);
    return 0;
}
