/* Events waiting for the caller: each is one block of memory with everything that it points to, so it stays
 * valid whatever the state machine does next, and is freed by the next call of kad_next_event. */
#include <stdlib.h>
#include <string.h>

#include "kad/node.h"

static struct span copy_span(uint8_t **at, struct span s)
{
    struct span copy = {*at, s.size};

    if (s.size)
        memcpy(*at, s.data, s.size);
    *at += s.size;
    return copy;
}

void event_push(struct kad *k, const struct kad_event *e)
{
    size_t fixed = sizeof(struct node_event), bytes = 0;
    size_t contacts = e->n_contacts * sizeof *e->contacts, entries = e->n_entries * sizeof *e->entries;
    size_t item = e->item ? sizeof *e->item : 0, peers = e->n_peers * sizeof *e->peers;

    if (e->item)
        bytes += e->item->salt.size + e->item->v.size;
    for (size_t i = 0; i < e->n_entries; i++)
        bytes += e->entries[i].v.size;
    /* All of these structs have the alignment of a uint64_t at most, and their sizes keep to it. */
    _Static_assert(sizeof(struct node_event) % 8 == 0 && sizeof(struct kad_item) % 8 == 0 &&
                   sizeof(struct kad_entry) % 8 == 0, "blocks follow one another");
    struct node_event *node = malloc(fixed + item + entries + contacts + peers + bytes);
    if (!node)
        return;
    node->next = NULL;
    node->e = *e;
    uint8_t *at = (uint8_t *)node + fixed, *tail = at + item + entries + contacts + peers;
    if (e->item) {
        struct kad_item *copy = (struct kad_item *)(void *)at;
        *copy = *e->item;
        copy->salt = copy_span(&tail, e->item->salt);
        copy->v = copy_span(&tail, e->item->v);
        node->e.item = copy;
        at += item;
    }
    if (e->n_entries) {
        struct kad_entry *copy = (struct kad_entry *)(void *)at;
        for (size_t i = 0; i < e->n_entries; i++) {
            copy[i] = e->entries[i];
            copy[i].v = copy_span(&tail, e->entries[i].v);
        }
        node->e.entries = copy;
        at += entries;
    }
    if (e->n_contacts) {
        memcpy(at, e->contacts, contacts);
        node->e.contacts = (const struct kad_contact *)(const void *)at;
        at += contacts;
    }
    if (e->n_peers) {
        memcpy(at, e->peers, peers);
        node->e.peers = (const struct addr *)(const void *)at;
    }
    if (k->events_last)
        k->events_last->next = node;
    else
        k->events = node;
    k->events_last = node;
}

bool kad_next_event(struct kad *k, struct kad_event *ret_event)
{
    free(k->delivered);
    k->delivered = k->events;
    if (!k->delivered)
        return false;
    k->events = k->delivered->next;
    if (!k->events)
        k->events_last = NULL;
    *ret_event = k->delivered->e;
    return true;
}

void event_clear(struct kad *k)
{
    struct kad_event e;

    while (kad_next_event(k, &e))
        ;
}
