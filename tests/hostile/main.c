#include "tests/hostile/hostile.h"
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "core/err.h"
#include "core/hash.h"
#include "core/io_os.h"
#include "timeline/record.h"

void die(const char *what)
{
    fprintf(stderr, "hostile: %s\n", what);
    exit(1);
}

struct identity *identity_named(const char *name)
{
    uint8_t seed[HASH_SIZE];
    hash_blake2b(seed, name, strlen(name));
    struct identity *id = identity_from_seed(seed);
    if (!id)
        die("no memory");
    return id;
}

uint64_t unix_ms(void) { return io_os_now().wall_ms; }
int64_t unix_s(void) { return (int64_t)(unix_ms() / 1000); }

static void parse_user(const char *text, uint8_t ret_pk[KEY_SIZE])
{
    if (user_id_parse(text, ret_pk))
        die("that is no user id");
}

static struct addr parse_addr(const char *text)
{
    struct addr a;
    if (addr_parse(text, &a))
        die("that is no address");
    return a;
}

#define VALUE_MAX 2048

static struct span parse_hex(const char *text, uint8_t buf[VALUE_MAX])
{
    size_t size = strlen(text) / 2;
    if (size > VALUE_MAX || hex_decode(buf, size, text))
        die("that is no hex");
    return span(buf, size);
}

static void print_hex(const char *before, const void *data, size_t size)
{
    char hex[2 * VALUE_MAX + 1];
    hex_encode(hex, data, size);
    printf("%s%s", before, hex);
}

/* ---- records, one at a time ------------------------------------------------------------------------------ */

static int command_id(char **a)
{
    char text[USER_ID_SIZE];
    struct identity *id = identity_named(a[0]);
    user_id_text(id->pk, text);
    identity_free(id);
    puts(text);
    return 0;
}

static void print_version(int64_t seq, const uint8_t *sig, struct span v)
{
    printf("%lld", (long long)seq);
    print_hex(" ", sig, SIG_SIZE);
    print_hex(" ", v.data, v.size);
    puts("");
}

static int command_get(char **a)
{
    struct dht d;
    struct kad_item item;
    uint8_t pk[KEY_SIZE];
    struct addr to = parse_addr(a[0]);
    parse_user(a[1], pk);
    dht_open(&d, &to);
    int code = dht_get(&d, pk, a[2], &item);
    if (code == 0)
        print_version(item.seq, item.sig, item.v);
    else
        puts("none");
    dht_close(&d);
    return 0;
}

static int command_entry(char **a)
{
    struct dht d;
    struct kad_entry entry;
    uint8_t owner[KEY_SIZE], who[KEY_SIZE];
    struct addr to = parse_addr(a[0]);
    parse_user(a[1], owner);
    parse_user(a[2], who);
    dht_open(&d, &to);
    int code = dht_entry(&d, owner, who, &entry);
    if (code == 0)
        print_version(entry.seq, entry.sig, entry.v);
    else
        puts("none");
    dht_close(&d);
    return 0;
}

static void take_sig(const char *text, uint8_t ret[SIG_SIZE])
{
    uint8_t buf[VALUE_MAX];
    if (parse_hex(text, buf).size != SIG_SIZE)
        die("that is no signature");
    memcpy(ret, buf, SIG_SIZE);
}

static int command_put(char **a)
{
    struct dht d;
    struct addr to = parse_addr(a[0]);
    uint8_t v[VALUE_MAX];
    struct kad_item item = { .is_mutable = true, .salt = span_str(a[2]), .seq = strtoll(a[3], NULL, 10) };
    item.v = parse_hex(a[5], v);
    parse_user(a[1], item.pk);
    take_sig(a[4], item.sig);
    dht_open(&d, &to);
    printf("%d\n", dht_put(&d, &item, NULL));
    dht_close(&d);
    return 0;
}

static int command_sput(char **a)
{
    struct dht d;
    struct addr to = parse_addr(a[0]);
    struct kad_entry entry = { .seq = strtoll(a[3], NULL, 10) };
    uint8_t owner[KEY_SIZE], root[KAD_ID_SIZE], v[VALUE_MAX];
    entry.v = parse_hex(a[5], v);
    parse_user(a[1], owner);
    parse_user(a[2], entry.pk);
    take_sig(a[4], entry.sig);
    record_followers_root(owner, root);
    dht_open(&d, &to);
    printf("%d\n", dht_sput(&d, root, &entry));
    dht_close(&d);
    return 0;
}

static int command_half_open(char **a)
{
    struct addr to = parse_addr(a[0]);
    return attack_half_open(&to, atoi(a[1]));
}

/* ---- those that know their victim ------------------------------------------------------------------------ */

static struct victim the_victim;

static struct victim *find(char **a)
{
    victim_find(&the_victim, a[0], a[1]);
    return &the_victim;
}

static int command_dht(char **a) { return attack_dht(find(a)); }
static int command_liar(char **a) { return attack_liar(find(a), atoi(a[2])); }
static int command_door(char **a) { return attack_door(find(a)); }
static int command_budget(char **a) { return attack_budget(find(a), atoi(a[2])); }
static int command_crowd(char **a) { return attack_crowd(find(a), atoi(a[2])); }
static int command_links(char **a) { return attack_links(find(a), a[2]); }
static int command_storm(char **a) { return attack_storm(find(a), atoi(a[2]), strtoull(a[3], NULL, 10)); }

static const struct {
    const char *name;
    int args;
    int (*run)(char **args);
} commands[] = {
    { "id", 1, command_id },         { "get", 3, command_get },       { "put", 6, command_put },
    { "entry", 3, command_entry },   { "sput", 6, command_sput },     { "dht", 2, command_dht },
    { "liar", 3, command_liar },     { "door", 2, command_door },     { "half-open", 2, command_half_open },
    { "budget", 3, command_budget }, { "links", 3, command_links },   { "storm", 4, command_storm },
    { "crowd", 3, command_crowd },
};

int main(int argc, char **argv)
{
    if (sodium_init() < 0)
        die("libsodium");
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0 && argc == 2 + commands[i].args)
            return commands[i].run(argv + 2);
    die("usage: hostile COMMAND ARGS..., see tests/hostile/hostile.h");
    return 64;
}
