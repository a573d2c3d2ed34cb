#include "timeline/person.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

/* ---- the table ----------------------------------------------------------------------------------------- */

void people_init(struct timeline *t)
{
    t->people = (struct people){ .n_guests = 0 };
    keymap_init(&t->people.by_pk, &t->rng);
}

void people_clear(struct timeline *t)
{
    struct person *p;
    for (size_t i = 0; (p = keymap_next(&t->people.by_pk, &i));)
        free(p);
    keymap_clear(&t->people.by_pk);
}

bool person_is_guest(const struct person *p) { return !p->follow && !p->follower; }

struct person *people_find(struct timeline *t, const uint8_t pk[KEY_SIZE])
{
    return keymap_get(&t->people.by_pk, pk);
}

static void forget(struct timeline *t, struct person *p)
{
    links_disown(t, p);
    keymap_remove(&t->people.by_pk, p->pk);
    free(p);
}

/* Makes room: of some guests the one unused for longest goes. One walk frees an eighth, so that a crowd of
 * strangers does not cost a walk each. */
static void evict(struct timeline *t)
{
    size_t target = PEOPLE_GUESTS_MAX / 8, n = 0;
    struct person **old = malloc(PEOPLE_GUESTS_MAX * sizeof *old);
    if (!old)
        return;
    struct person *p;
    uint64_t newest = t->now.mono_ms, oldest = newest;
    for (size_t i = 0; (p = keymap_next(&t->people.by_pk, &i));)
        if (person_is_guest(p) && p->used_ms < oldest)
            oldest = p->used_ms;
    uint64_t middle = oldest + (newest - oldest) / 2;
    for (size_t i = 0; (p = keymap_next(&t->people.by_pk, &i)) && n < target;)
        if (person_is_guest(p) && p->used_ms <= middle && p->used_ms < newest && !p->is_looking)
            old[n++] = p;
    for (size_t i = 0; i < n; i++)
        forget(t, old[i]);
    t->people.n_guests -= n;
    free(old);
}

struct person *people_take(struct timeline *t, const uint8_t pk[KEY_SIZE])
{
    struct person *p = people_find(t, pk);
    if (p) {
        p->used_ms = t->now.mono_ms;
        return p;
    }
    if (t->people.n_guests >= PEOPLE_GUESTS_MAX)
        evict(t);
    if (t->people.n_guests >= PEOPLE_GUESTS_MAX || !(p = calloc(1, sizeof *p)))
        return NULL;
    memcpy(p->pk, pk, KEY_SIZE);
    p->used_ms = t->now.mono_ms;
    if (keymap_put(&t->people.by_pk, p->pk, p)) {
        free(p);
        return NULL;
    }
    t->people.n_guests++;

    struct store_person known;
    if (store_person_get(t->store, pk, &known) == 0) {
        memcpy(p->name, known.name, sizeof p->name);
        p->profile_seq = known.profile_seq;
    }
    return p;
}

static int load_peer(void *ctx, const struct store_peer *row)
{
    struct person *p = ctx;
    if (p->n_peers < PERSON_PEERS_MAX)
        p->peers[p->n_peers++] = (struct peer){ .device = row->device, .proved = row->proved, .seq = row->seq,
                                                .dest = row->dest };
    return 0;
}

static void save_peer(struct timeline *t, const struct person *p, const struct peer *peer)
{
    struct store_peer row = {
        .device = peer->device, .seq = peer->seq, .proved = peer->proved, .dest = peer->dest
    };
    memcpy(row.pk, p->pk, KEY_SIZE);
    store_peer_put(t->store, &row);
}

void people_settle(struct timeline *t, struct person *p, bool was_guest)
{
    bool is_guest = person_is_guest(p);
    if (was_guest && !is_guest) {
        t->people.n_guests--;
        if (p->n_peers == 0) { /* taken up again after a restart */
            store_peer_each(t->store, p->pk, load_peer, p);
            for (size_t i = 0; i < p->n_peers; i++)
                if (p->peers[i].proved)
                    links_own(t, p->peers[i].dest.key, p, p->peers[i].device);
        } else { /* what was learned of a guest was not worth a write */
            for (size_t i = 0; i < p->n_peers; i++)
                save_peer(t, p, &p->peers[i]);
        }
    } else if (!was_guest && is_guest) {
        t->people.n_guests++;
        store_person_forget(t->store, p->pk); /* names cost nothing: who came and went leaves no row */
    }
    links_settle(t, p);
}

/* ---- where they are ------------------------------------------------------------------------------------ */

const struct link_dest *person_dest(const struct person *p)
{
    const struct peer *best = NULL;
    for (size_t i = 0; i < p->n_peers; i++)
        if (!best || p->peers[i].seq > best->seq)
            best = &p->peers[i];
    return best ? &best->dest : NULL;
}

/* Takes up where a machine is. A record proved on a link counts at the same seq too: it proves the key. */
static int learn_peer(struct timeline *t, struct person *p, uint16_t device, const struct link_dest *dest,
                      int64_t seq, bool is_proved)
{
    struct peer *at = NULL;
    for (size_t i = 0; i < p->n_peers; i++)
        if (p->peers[i].device == device)
            at = &p->peers[i];
    if (at && (seq < at->seq || (seq == at->seq && (at->proved || !is_proved))))
        return CAM_ESTALE;
    if (!at && p->n_peers < PERSON_PEERS_MAX)
        at = &p->peers[p->n_peers++];
    if (!at) { /* the machine not heard of for longest gives way */
        at = &p->peers[0];
        for (size_t i = 1; i < p->n_peers; i++)
            if (p->peers[i].seq < at->seq)
                at = &p->peers[i];
        if (seq <= at->seq)
            return CAM_ESTALE;
        if (!person_is_guest(p))
            store_peer_drop(t->store, p->pk, at->device);
    }
    bool same_key = memcmp(at->dest.key, dest->key, LINK_KEY_SIZE) == 0;
    bool moved = !link_dest_equal(&at->dest, dest);
    if (!same_key)
        links_leave(t, at->dest.key, p);
    *at = (struct peer){
        .device = device, .proved = is_proved || (at->proved && same_key), .seq = seq, .dest = *dest
    };

    if (!person_is_guest(p))
        save_peer(t, p, at);
    if (moved) {
        p->look_wait_ms = 0;
        if (p->follower)
            outbox_wake(t, p->follower);
        if (p->follow) {
            follow_tell(
                t, p->follow); /* first: then nothing is posted between what we get and what we are owed */
            catchup_moved(t, p->follow, dest);
        }
    }
    return 0;
}

int people_learn_connection(struct timeline *t, const struct kad_item *item, bool is_proved)
{
    struct record_connection c;
    uint16_t device;
    if (record_salt_number(item->salt, "connections", &device) || record_get_connection(item->v, &c))
        return CAM_EFORMAT;
    struct person *p = people_take(t, item->pk);
    if (!p)
        return CAM_EFULL;
    struct link_dest dest = { .addr = c.addr };
    memcpy(dest.key, c.transport_key, LINK_KEY_SIZE);
    return learn_peer(t, p, device, &dest, item->seq, is_proved);
}

void people_learn_entry(struct timeline *t, const uint8_t pk[KEY_SIZE], const struct record_follow *f,
                        int64_t seq)
{
    struct person *p = people_take(t, pk);
    if (!p || f->deleted)
        return;
    for (size_t i = 0; i < f->n_hints; i++) {
        struct link_dest dest = { .addr = f->hints[i].addr };
        memcpy(dest.key, f->hints[i].transport_key, LINK_KEY_SIZE);
        learn_peer(t, p, f->hints[i].device, &dest, seq, false);
    }
    if (p->profile_seq == 0 && strcmp(p->name, f->name) != 0) {
        memcpy(p->name, f->name, sizeof p->name);
        struct store_person row = { .profile_seq = 0 };
        memcpy(row.pk, pk, KEY_SIZE);
        memcpy(row.name, f->name, sizeof row.name);
        if (!person_is_guest(p))
            store_person_put(t->store, &row);
    }
}

int people_learn_profile(struct timeline *t, const struct kad_item *item)
{
    struct record_profile r;
    if (record_get_profile(item->v, &r))
        return CAM_EFORMAT;
    struct person *p = people_take(t, item->pk);
    if (!p)
        return CAM_EFULL;
    if (item->seq <= p->profile_seq)
        return CAM_ESTALE;
    p->profile_seq = item->seq;
    memcpy(p->name, r.name, sizeof p->name);
    struct store_person row = { .profile_seq = item->seq, .profile_ms = t->now.wall_ms, .posts = r.posts,
                                .followers = r.followers, .following = r.following };
    memcpy(row.pk, p->pk, KEY_SIZE);
    memcpy(row.name, r.name, sizeof row.name);
    if (r.bio.size)
        memcpy(row.bio, r.bio.data, r.bio.size);
    /* Whom a command asked about is remembered too: that is few, and asked for by the user. */
    return store_person_put(t->store, &row);
}

void people_look(struct timeline *t, struct person *p)
{
    if (p->is_looking || t->now.mono_ms < p->look_after_ms || t->people.n_looks >= PEOPLE_LOOKS_MAX)
        return;
    char buf[RECORD_SALT_SIZE];
    struct span salt = record_salt(buf, "connections", p->n_peers ? p->peers[0].device : 0);
    uint8_t target[KAD_ID_SIZE];
    kad_mutable_target(p->pk, salt, target);
    if (kad_get(t->kad, t->now, target, p->pk, salt, request_tag(REQUEST_LOOK, be32(p->pk))))
        return;
    p->is_looking = true;
    t->people.n_looks++;
    p->look_wait_ms = p->look_wait_ms ? p->look_wait_ms * 2 : PERSON_LOOK_MS;
    if (p->look_wait_ms > PERSON_LOOK_MAX_MS)
        p->look_wait_ms = PERSON_LOOK_MAX_MS;
    p->look_after_ms = t->now.mono_ms + p->look_wait_ms;
}

void people_look_event(struct timeline *t, const struct kad_event *e)
{
    if (!e->last)
        return;
    /* The value was taken up where all values are (timeline.c). Here only the count of running ones ends. */
    if (t->people.n_looks > 0)
        t->people.n_looks--;
    struct person *p;
    for (size_t i = 0; (p = keymap_next(&t->people.by_pk, &i));)
        if (p->is_looking && be32(p->pk) == (uint32_t)e->tag)
            p->is_looking = false;
}

/* ---- names --------------------------------------------------------------------------------------------- */

void people_pin(struct timeline *t, const char *name, const uint8_t pk[KEY_SIZE])
{
    store_pin_put(t->store, name, pk, t->now.wall_ms); /* the first pin stays */
}

bool people_key_changed(struct timeline *t, const uint8_t pk[KEY_SIZE])
{
    uint8_t pinned[KEY_SIZE];
    struct person *p = people_find(t, pk);
    return p && p->name[0] && store_pin_get(t->store, p->name, pinned) == 0 &&
           memcmp(pinned, pk, KEY_SIZE) != 0;
}

void people_name(struct timeline *t, const uint8_t pk[KEY_SIZE], char ret[NAME_SIZE])
{
    if (t->account.exists && memcmp(pk, t->account.pk, KEY_SIZE) == 0) {
        memcpy(ret, t->account.name, NAME_SIZE);
        return;
    }
    struct store_person known;
    struct person *p = people_find(t, pk);
    if (store_pin_of(t->store, pk, ret) == 0)
        return;
    ret[0] = '\0';
    if (p)
        memcpy(ret, p->name, NAME_SIZE);
    else if (store_person_get(t->store, pk, &known) == 0)
        memcpy(ret, known.name, NAME_SIZE);
    if (!ret[0])
        store_edge_name(t->store, pk, ret);
}

struct by_tag {
    const struct who *who;
    uint8_t pk[KEY_SIZE];
    size_t n;
};

static int match_tag(void *ctx, const struct store_person *p)
{
    struct by_tag *found = ctx;
    char tag[TAG_SIZE];
    user_tag(p->pk, tag);
    if (strcmp(tag, found->who->tag) == 0) {
        memcpy(found->pk, p->pk, KEY_SIZE);
        found->n++;
    }
    return 0;
}

int people_resolve(struct timeline *t, const struct who *who, uint8_t ret_pk[KEY_SIZE])
{
    if (who->has_pk) {
        memcpy(ret_pk, who->pk, KEY_SIZE);
        return 0;
    }
    char tag[TAG_SIZE];
    uint8_t pinned[KEY_SIZE];
    if (store_pin_get(t->store, who->name, pinned) == 0) {
        user_tag(pinned, tag);
        if (!who->tag[0] || strcmp(tag, who->tag) == 0) {
            memcpy(ret_pk, pinned, KEY_SIZE);
            return 0;
        }
    }
    if (t->account.exists && strcmp(who->name, t->account.name) == 0) {
        user_tag(t->account.pk, tag);
        if (!who->tag[0] || strcmp(tag, who->tag) == 0) {
            memcpy(ret_pk, t->account.pk, KEY_SIZE);
            return 0;
        }
    }
    if (!who->tag[0])
        return CAM_ENOENT;
    struct by_tag found = { .who = who };
    int err = store_person_named(t->store, who->name, match_tag, &found);
    if (err)
        return err;
    if (found.n != 1)
        return found.n ? CAM_EAMBIG : CAM_ENOENT;
    memcpy(ret_pk, found.pk, KEY_SIZE);
    return 0;
}
