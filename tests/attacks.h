/* The attacks: each a function that fights one trial, with the defences or without those it is about, and says in one
 * number how it went. tests/attacks.c has the table of them.
 */
#ifndef TESTS_ATTACKS_H
#define TESTS_ATTACKS_H
#include "tests/attacks_arena.h"

struct trial {
    bool quick;          /* smaller, for `make test` */
    uint64_t seed;
    uint16_t without;    /* enum kad_without: 0 when defended */
    unsigned variant;    /* of the attack */
};

/* Defences that are about one thing, switched off together. */
#define WITHOUT_READING (KAD_WITHOUT_DENSITY | KAD_WITHOUT_PATHS)
#define WITHOUT_ROUTING (WITHOUT_READING | KAD_WITHOUT_SUBNETS | KAD_WITHOUT_ADDRESS_IDS)
#define WITHOUT_NAMING (WITHOUT_READING | KAD_WITHOUT_DOUBT)

struct verdict {
    double value;        /* what the table shows */
    char note[200];      /* what else was measured */
};

/* attacks_route.c */
void attack_poison(const struct trial *t, struct verdict *ret);   /* contacts of three subnets, in the worst table */
void attack_eclipse(const struct trial *t, struct verdict *ret);  /* % of newcomers that find what honest nodes hold */
enum { SYBIL_BEFORE, SYBIL_AFTER, SYBIL_READER, SYBIL_SUBNETS_CHOSEN };
void attack_sybil(const struct trial *t, struct verdict *ret);    /* % of gets; they come before the put, after it,
                                                                   * before it and beside the reader too, or 256 do */
void attack_liars(const struct trial *t, struct verdict *ret);    /* % of gets; variant: enum hostile_names */
enum { FEW_IN_TIME, FEW_SLOWEST };
void attack_few(const struct trial *t, struct verdict *ret);      /* % of what a follow does, in time; or seconds of
                                                                   * which 99 of 100 take less */
/* attacks_records.c */
void attack_rollback(const struct trial *t, struct verdict *ret); /* % of gets; variant 0: hostile, 1: stale holders */
void attack_flood(const struct trial *t, struct verdict *ret);    /* % of honest records; variant: how many subnets */
void attack_set(const struct trial *t, struct verdict *ret);      /* % of honest entries; variant 0: flood, 1: "split" */
enum { SPOOF_STRANGERS, SPOOF_CONTACTS };
/* attacks_load.c */
void attack_spoof(const struct trial *t, struct verdict *ret);    /* bytes out beyond those in, of the worst minute; or,
                                                                   * to a contact, bytes a second of the worst minute */
void attack_junk(const struct trial *t, struct verdict *ret);     /* honest p99 with junk over that without */

struct made_entry { /* of a set: who, and what is said */
    struct identity *who;
    uint8_t v[64];
    struct kad_entry entry;
};

/* With a digit: keys are tried until one's slot begins with it, so that all crowd in one branch. */
void attack_entry_make(const struct arena *a, struct made_entry *m, const uint8_t *root, uint64_t key, int digit);
double attack_percent(uint32_t good, uint32_t all);

#endif
