#include "core/conf_key.h"
#include "core/err.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const cost_words[] = { "interactive", "moderate", NULL };
static const char *const level_words[] = { "error", "warn", "info", "debug", NULL };
static const char *const bool_words[] = { "0", "1", "no", "yes", "false", "true", "off", "on", NULL };
_Static_assert(KEYFILE_INTERACTIVE == 0 && KEYFILE_MODERATE == 1, "cost_words");
_Static_assert(LOG_ERROR == 0 && LOG_DEBUG == 3, "level_words");

#define AT(member) offsetof(struct conf_draft, member)
#define UNIT(unit) (offsetof(struct conf_draft, span) + (unit) * sizeof(uint32_t))
#define LIFESPAN "MESSAGE_LIFESPAN"

const struct conf_row conf_rows[] = {
    { "DEFAULT", "NETWORK", CONF_TEXT, true, AT(conf.network), 0, CONF_NETWORK_MAX, NULL },
    { "DEFAULT", "IP", CONF_IP, true, AT(conf.listen), 0, 0, NULL },
    { "DEFAULT", "PORT", CONF_PORT, true, AT(conf.listen.port), 0, 65535, NULL },
    { "DEFAULT", "IP6", CONF_IP6, true, AT(conf.listen6), 0, 0, NULL },
    { "DEFAULT", "LISTENING_IP", CONF_UNUSED_IP, false, 0, 0, 0, NULL },
    { "DEFAULT", "LISTENING_PORT", CONF_UNUSED_PORT, false, 0, 0, 65535, NULL },
    { "BOOTSTRAP", "JOIN", CONF_JOIN, true, 0, 0, 0, NULL },
    { "BOOTSTRAP", "IP", CONF_HOST, false, AT(bootstrap), 0, 0, NULL },
    { "BOOTSTRAP", "PORT", CONF_PORT, false, AT(bootstrap.port), 1, 65535, NULL },
    { "BOOTSTRAP", "RESCUE", CONF_BOOL, true, AT(conf.rescue), 0, 0, NULL },
    { "BOOTSTRAP", "RESCUE_AFTER", CONF_NUMBER, true, AT(conf.rescue_after_s), 1, 86400, NULL },
    { "BOOTSTRAP", "RESCUE_JOIN", CONF_ROUTER, true, 0, 0, 0, NULL },
    { LIFESPAN, "ACTIVE", CONF_BOOL, true, AT(lifespan_active), 0, 0, NULL },
    { LIFESPAN, "YEARS", CONF_SPAN, true, UNIT(YEARS), 0, 100, NULL },
    { LIFESPAN, "MONTHS", CONF_SPAN, true, UNIT(MONTHS), 0, 1200, NULL },
    { LIFESPAN, "WEEKS", CONF_SPAN, true, UNIT(WEEKS), 0, 5200, NULL },
    { LIFESPAN, "DAYS", CONF_SPAN, true, UNIT(DAYS), 0, 36500, NULL },
    { LIFESPAN, "HOURS", CONF_SPAN, true, UNIT(HOURS), 0, 876000, NULL },
    { LIFESPAN, "MINUTES", CONF_SPAN, true, UNIT(MINUTES), 0, 52560000, NULL },
    { LIFESPAN, "SECONDS", CONF_SPAN, true, UNIT(SECONDS), 0, 3153600000, NULL },
    { "SNTP", "ACTIVE", CONF_BOOL, true, AT(sntp_active), 0, 0, NULL },
    { "SNTP", "SERVER", CONF_SERVER, true, 0, 0, 0, NULL },
    { "KADEMLIA", "K", CONF_NUMBER, true, AT(conf.k), 1, 32, NULL },
    { "KADEMLIA", "ALPHA", CONF_NUMBER, true, AT(conf.alpha), 1, 16, NULL },
    { "KADEMLIA", "READ_ONLY", CONF_BOOL, true, AT(conf.read_only), 0, 0, NULL },
    { "KEY", "COST", CONF_WORD, true, AT(conf.key_cost), 0, 0, cost_words },
    { "STORE", "MAX_MEGABYTES", CONF_MEGABYTES, true, AT(conf.store_max_bytes), 0, 1048576, NULL },
    { "LOG", "LEVEL", CONF_WORD, true, AT(conf.log_level), 0, 0, level_words },
    { NULL, NULL, CONF_TEXT, false, 0, 0, 0, NULL },
};
_Static_assert(sizeof conf_rows / sizeof *conf_rows <= CONF_KEYS_MAX, "a place for every key");
_Static_assert(sizeof(enum keyfile_cost) == sizeof(int) && sizeof(enum log_level) == sizeof(int),
               "CONF_WORD");

bool conf_word_equal(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        char x = *a == ' ' ? '_' : *a, y = *b == ' ' ? '_' : *b;
        if (strncasecmp(&x, &y, 1) != 0)
            return false;
    }
    return *a == *b;
}

const struct conf_row *conf_row_find(const char *section, const char *key)
{
    for (const struct conf_row *row = conf_rows; row->section; row++)
        if (conf_word_equal(section, row->section) && conf_word_equal(key, row->key))
            return row;
    return NULL;
}

void conf_shown(const char *text, char ret[CONF_SHOWN_SIZE])
{
    size_t i;
    for (i = 0; text[i] && i < CONF_SHOWN_MAX; i++)
        ret[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    memcpy(ret + i, text[i] ? "..." : "", text[i] ? 4 : 1);
}

/* Reading a value: each returns NULL, or why not. */

static const char *read_number(const struct conf_row *row, const char *value, uint32_t *ret,
                               char why[CONF_WHY_SIZE])
{
    uint64_t n = 0;
    bool ok = *value && strlen(value) <= 10;
    for (const char *at = value; ok && *at; at++) {
        ok = *at >= '0' && *at <= '9';
        n = n * 10 + (uint64_t)(*at - '0');
    }
    if (ok && n >= row->min && n <= row->max) {
        *ret = (uint32_t)n;
        return NULL;
    }
    snprintf(why, CONF_WHY_SIZE, "not a number from %u to %u", row->min, row->max);
    return why;
}

static const char *read_word(const char *const *words, const char *value, int *ret, char why[CONF_WHY_SIZE])
{
    for (int i = 0; words[i]; i++) {
        if (!strcasecmp(value, words[i])) {
            *ret = i;
            return NULL;
        }
    }
    size_t used = (size_t)snprintf(why, CONF_WHY_SIZE, "not one of");
    for (int i = 0; words[i] && used < CONF_WHY_SIZE; i++)
        used += (size_t)snprintf(why + used, CONF_WHY_SIZE - used, "%s %s", i ? "," : "", words[i]);
    return why;
}

static const char *read_ip(const char *value, bool only_v6, struct addr *ret)
{
    char text[CONF_LINE_MAX + 8];
    struct addr addr;
    snprintf(text, sizeof text, strchr(value, ':') ? "[%s]:1" : "%s:1", value);
    if (addr_parse(text, &addr) || (only_v6 && addr.family != 6))
        return only_v6 ? "not a numeric IPv6 address" : "not a numeric IP address";
    addr.port = ret->port; /* PORT may have been read already */
    *ret = addr;
    return NULL;
}

static const char *read_host(const char *value, struct conf_host *ret)
{
    struct conf_host host;
    const char *colon = strchr(value, ':');
    if (conf_host_parse(value, 1, &host) || (colon && !strchr(colon + 1, ':')))
        return "not a host name or an address (the port goes into PORT)";
    memcpy(ret->host, host.host, sizeof ret->host);
    return NULL;
}

/* "a:1, b:2" joins the list; on an error `ret_wrong` is the one word of it. */
static const char *read_hosts(const char *value, uint16_t default_port, struct conf_host *list, int max,
                              int *count, char ret_wrong[CONF_SHOWN_SIZE], char why[CONF_WHY_SIZE])
{
    char text[CONF_LINE_MAX + 8], *rest = text, *word;
    snprintf(text, sizeof text, "%s", value);
    while ((word = strsep(&rest, ", \t"))) {
        if (!*word)
            continue;
        conf_shown(word, ret_wrong);
        if (*count == max) {
            snprintf(why, CONF_WHY_SIZE, "one more than the %d there can be", max);
            return why;
        }
        if (conf_host_parse(word, default_port, &list[*count]))
            return default_port ? "not HOST or HOST:PORT" : "not HOST:PORT";
        ++*count;
    }
    return NULL;
}

int conf_row_set(const struct conf_row *row, bool again, const char *value, struct conf_draft *draft,
                 char ret_wrong[CONF_SHOWN_SIZE], char ret_why[CONF_WHY_SIZE])
{
    unsigned char *place = (unsigned char *)draft + row->offset;
    struct conf *c = &draft->conf;
    struct addr unused = { .family = 0 };
    const char *why = NULL;
    uint32_t number = 0;
    int word = 0;

    conf_shown(value, ret_wrong);
    switch (row->kind) {
    case CONF_TEXT:
        if (strlen(value) > row->max)
            why = "too long";
        else
            memcpy(place, value, strlen(value) + 1);
        break;
    case CONF_BOOL:
        why = read_word(bool_words, value, &word, ret_why);
        if (!why)
            *(bool *)place = word % 2;
        break;
    case CONF_WORD:
        why = read_word(row->words, value, &word, ret_why);
        if (!why)
            memcpy(place, &word, sizeof word);
        break;
    case CONF_NUMBER:
        why = read_number(row, value, &number, ret_why);
        if (!why)
            memcpy(place, &(int){ (int)number }, sizeof(int));
        break;
    case CONF_MEGABYTES:
        why = read_number(row, value, &number, ret_why);
        if (!why)
            memcpy(place, &(uint64_t){ (uint64_t)number << 20 }, sizeof(uint64_t));
        break;
    case CONF_SPAN:
        why = read_number(row, value, &number, ret_why);
        if (!why)
            memcpy(place, &number, sizeof number);
        break;
    case CONF_PORT:
    case CONF_UNUSED_PORT:
        why = read_number(row, value, &number, ret_why);
        if (!why && row->kind == CONF_PORT)
            memcpy(place, &(uint16_t){ (uint16_t)number }, sizeof(uint16_t));
        break;
    case CONF_IP:
        why = read_ip(value, false, &c->listen);
        break;
    case CONF_IP6:
        memset(&c->listen6, 0, sizeof c->listen6);
        why = *value ? read_ip(value, true, &c->listen6) : NULL;
        break;
    case CONF_UNUSED_IP:
        why = read_ip(value, false, &unused);
        break;
    case CONF_HOST:
        why = read_host(value, &draft->bootstrap);
        break;
    case CONF_JOIN:
        c->join_count = again ? c->join_count : 0;
        why = read_hosts(value, 0, c->join, CONF_JOIN_MAX, &c->join_count, ret_wrong, ret_why);
        break;
    case CONF_ROUTER:
        c->rescue_join_count = again ? c->rescue_join_count : 0;
        why = read_hosts(value, 0, c->rescue_join, CONF_ROUTERS_MAX, &c->rescue_join_count, ret_wrong,
                         ret_why);
        break;
    case CONF_SERVER:
        c->sntp_count = again ? c->sntp_count : 0;
        why = read_hosts(value, CONF_NTP_PORT, c->sntp, CONF_SERVERS_MAX, &c->sntp_count, ret_wrong, ret_why);
        break;
    }
    if (!why)
        return 0;
    if (why != ret_why)
        snprintf(ret_why, CONF_WHY_SIZE, "%s", why);
    return CAM_ECONF;
}

/* Writing a value */

static void put_text(struct bytes_out *out, const char *text)
{
    bytes_put(out, text, strlen(text));
}

static void put_number(struct bytes_out *out, uint64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    put_text(out, text);
}

static void put_ip(struct bytes_out *out, const struct addr *addr)
{
    struct addr bare = *addr;
    char text[ADDR_TEXT_SIZE];
    if (!addr->family)
        return;
    bare.port = 1;
    addr_text(&bare, text); /* "1.2.3.4:1" or "[::1]:1" */
    if (addr->family == 6)
        bytes_put(out, text + 1, strlen(text) - 4);
    else
        bytes_put(out, text, strlen(text) - 2);
}

static void put_hosts(struct bytes_out *out, const struct conf_host *list, int count, uint16_t default_port)
{
    char text[CONF_HOST_MAX + 16];
    for (int i = 0; i < count; i++) {
        put_text(out, i ? ", " : "");
        if (list[i].port == default_port)
            put_text(out, list[i].host);
        else if (conf_host_text(&list[i], text, sizeof text) == 0)
            put_text(out, text);
    }
}

void conf_row_get(const struct conf_row *row, const struct conf_draft *draft, struct bytes_out *out)
{
    const unsigned char *place = (const unsigned char *)draft + row->offset;
    uint64_t u64;
    uint32_t u32;
    uint16_t u16;
    int word;
    switch (row->kind) {
    case CONF_TEXT: put_text(out, (const char *)place); break;
    case CONF_BOOL: put_number(out, *(const bool *)place); break;
    case CONF_NUMBER: memcpy(&word, place, sizeof word); put_number(out, (uint64_t)word); break;
    case CONF_WORD: memcpy(&word, place, sizeof word); put_text(out, row->words[word]); break;
    case CONF_MEGABYTES: memcpy(&u64, place, sizeof u64); put_number(out, u64 >> 20); break;
    case CONF_SPAN: memcpy(&u32, place, sizeof u32); put_number(out, u32); break;
    case CONF_PORT: memcpy(&u16, place, sizeof u16); put_number(out, u16); break;
    case CONF_IP: put_ip(out, &draft->conf.listen); break;
    case CONF_IP6: put_ip(out, &draft->conf.listen6); break;
    case CONF_HOST: put_text(out, draft->bootstrap.host); break;
    case CONF_JOIN: put_hosts(out, draft->conf.join, draft->conf.join_count, 0); break;
    case CONF_ROUTER: put_hosts(out, draft->conf.rescue_join, draft->conf.rescue_join_count, 0); break;
    case CONF_SERVER: put_hosts(out, draft->conf.sntp, draft->conf.sntp_count, CONF_NTP_PORT); break;
    case CONF_UNUSED_IP: case CONF_UNUSED_PORT: break;
    }
}
