/* Hostile peers: every attack with its number, defended and with the defences it is about switched off, on networks of
 * unmodified `kad/` objects under virtual time.
 *
 *     attacks            the table                          (make attacks)
 *     attacks --seeds    smaller, defended only, asserted: "N passed, N failed"; with a WORD, of these rows
 *     attacks WORD       the rows whose name contains WORD
 *     attacks WORD N     the same, of seeds 1 to N: the worst of them, and each
 */
#include "tests/attacks.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kad/guard.h"
#include "tests/attacks_hostile.h"

struct attack {
    const char *name, *measures;
    void (*run)(const struct trial *t, struct verdict *ret);
    unsigned variant;
    uint16_t without;
    bool at_most;        /* the target is a ceiling */
    double target;
    const char *counts;  /* in `make test`, beside other work, instead of a time: this, ... */
    double counted;      /* ... and its target; NULL and 0: the same */
};

static const struct attack attacks[] = {
    {"table poisoning from 3 subnets", "of them in a table", attack_poison, 0, KAD_WITHOUT_SUBNETS, true, 30, NULL, 0},
    {"eclipse at bootstrap", "routes of 20", attack_eclipse, 0, WITHOUT_ROUTING, false, 20, NULL, 0},
    {"32 Sybils beside a key, then the put", "% of gets", attack_sybil, SYBIL_BEFORE, WITHOUT_READING, false, 99, NULL, 0},
    {"the put, then 32 Sybils beside its key", "% of gets", attack_sybil, SYBIL_AFTER, WITHOUT_READING, false, 99, NULL, 0},
    {"32 beside the key and 32 beside the reader", "% of gets", attack_sybil, SYBIL_READER, WITHOUT_READING, false, 99, NULL, 0},
    {"256 subnets, in each the id next to the key", "% of gets", attack_sybil, SYBIL_SUBNETS_CHOSEN, WITHOUT_READING, false, 99, NULL, 0},
    {"20 % lie: they name one another", "% of gets", attack_liars, HOSTILE_PALS, WITHOUT_READING, false, 99, NULL, 0},
    {"20 % lie: they name nobody", "% of gets", attack_liars, HOSTILE_FORGED, WITHOUT_NAMING, false, 99, NULL, 0},
    {"5 of 11 name nobody, beside a key", "% of operations in time", attack_few, FEW_IN_TIME, WITHOUT_NAMING, false, 99, NULL, 0},
    {"5 of 11 name nobody: how long it takes", "s, p99", attack_few, FEW_SLOWEST, WITHOUT_NAMING, true, 3, NULL, 0},
    {"rollback: 15 of 16 holders are hostile", "% newest", attack_rollback, 0, KAD_WITHOUT_NEWEST, false, 99, NULL, 0},
    {"rollback: 15 of 16 holders are behind", "% newest", attack_rollback, 1, KAD_WITHOUT_NEWEST, false, 99, NULL, 0},
    {"flood of records from one address", "% of records", attack_flood, 1, KAD_WITHOUT_SHARES | KAD_WITHOUT_BUDGETS, false, 99, NULL, 0},
    {"flood of records from 256 subnets", "% of records", attack_flood, 256, KAD_WITHOUT_SHARES | KAD_WITHOUT_BUDGETS, false, 99, NULL, 0},
    {"a set crowded by strangers", "% of entries", attack_set, 0, KAD_WITHOUT_SPLITS, false, 99, NULL, 0},
    {"Sybils call a set split", "% of entries", attack_set, 1, WITHOUT_READING, false, 99, NULL, 0},
    {"spoofed sources", "bytes a minute beyond", attack_spoof, SPOOF_STRANGERS, KAD_WITHOUT_BUDGETS, true, 2048, NULL, 0},
    {"spoofed sources: contacts of ours", "bytes a second", attack_spoof, SPOOF_CONTACTS, KAD_WITHOUT_BUDGETS, true,
     KAD_GUARD_PROVEN_BYTES_S, NULL, 0},
    {"junk at line rate", "p99, times without", attack_junk, 0, KAD_WITHOUT_BUDGETS, true, 2, "bad signatures verified",
     KAD_GUARD_STORES_BURST / KAD_GUARD_BAD_STORE + 1},
};

static bool reached(const struct attack *at, const struct verdict *v, double target)
{
    return at->at_most ? v->value <= target : v->value >= target;
}

/* The worst of so many seeds. */
static void fight(const struct attack *at, const struct trial *trial, unsigned long n_seeds, struct verdict *ret)
{
    struct trial t = *trial;

    for (t.seed = 1; t.seed <= n_seeds; t.seed++) {
        struct verdict v = {0};
        at->run(&t, &v);
        if (n_seeds > 1)
            fprintf(stderr, "    %s %s, seed %u: %.4g; %s\n", at->name, t.without ? "undefended" : "defended", (unsigned)t.seed,
                    v.value, v.note);
        if (t.seed == 1 || (at->at_most ? v.value > ret->value : v.value < ret->value))
            *ret = v;
    }
}

static int table(const char *word, unsigned long n_seeds)
{
    printf("| attack | what is counted | defended | undefended | target | reached |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        const struct attack *at = &attacks[i];
        struct trial t = {.variant = at->variant};
        struct verdict with = {0}, bare = {0};
        if (word && !strstr(at->name, word))
            continue;
        fight(at, &t, n_seeds, &with);
        t.without = at->without;
        fight(at, &t, n_seeds, &bare);
        printf("| %s | %s | **%.4g** | %.4g | %s %.4g | %s |\n", at->name, at->measures, with.value, bare.value,
               at->at_most ? "<=" : ">=", at->target, reached(at, &with, at->target) ? "yes" : "no");
        fprintf(stderr, "    defended: %s\n    undefended: %s\n", with.note, bare.note);
        fflush(stdout);
    }
    return 0;
}

static int seeds(const char *word)
{
    unsigned passed = 0, failed = 0;

    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        const struct attack *at = &attacks[i];
        struct trial t = {.quick = true, .seed = 2, .variant = at->variant};
        struct verdict v = {0};
        if (word && !strstr(at->name, word))
            continue;
        at->run(&t, &v);
        double target = at->counts ? at->counted : at->target;
        bool ok = reached(at, &v, target);
        passed += ok;
        failed += !ok;
        printf("%s %s: %.4g %s (%s %.4g); %s\n", ok ? "ok  " : "FAIL", at->name, v.value, at->counts ? at->counts : at->measures,
               at->at_most ? "<=" : ">=", target, v.note);
        fflush(stdout);
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}

int main(int argc, char **argv)
{
    if (sodium_init() < 0)
        return 2;
    if (argc > 1 && strcmp(argv[1], "--seeds") == 0)
        return seeds(argc > 2 ? argv[2] : NULL);
    return table(argc > 1 ? argv[1] : NULL, argc > 2 ? strtoul(argv[2], NULL, 10) : 1);
}
