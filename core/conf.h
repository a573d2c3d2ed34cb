/* config.ini: text in, a struct with every setting out.
 *
 * Sections and keys are the original's ([DEFAULT], [BOOTSTRAP], [MESSAGE_LIFESPAN]) with ours beside
 * them; etc/config.ini lists them all with their defaults. Keys and sections in any case, a space in a
 * key is as good as '_'. What is wrong is named with its line, never skipped: an unknown key, a key given
 * twice, a value out of range, a line that libinih would cut or join to another without a word.
 *
 *     struct conf conf; char why[CONF_ERROR_SIZE];
 *     int err = conf_parse(text, size, &conf, why);
 *     if (err) fprintf(stderr, "camellia: %s\n", why);
 *     // "config.ini line 12: [MESSAGE_LIFESPAN] DAYS = x: not a number from 0 to 36500"
 */
#ifndef CORE_CONF_H
#define CORE_CONF_H
#include "core/addr.h"
#include "core/keyfile.h"
#include "core/log.h"

#define CONF_SIZE_MAX 65536   /* bytes of a config.ini */
#define CONF_LINE_MAX 196     /* bytes of a line without its end; libinih cuts past 198 */
#define CONF_ERROR_SIZE 320
#define CONF_HOST_MAX 191     /* characters of a host name or address */
#define CONF_NETWORK_MAX 64   /* bytes of a network's name */
#define CONF_JOIN_MAX 16
#define CONF_ROUTERS_MAX 8
#define CONF_SERVERS_MAX 8
#define CONF_NOTES_MAX 4
#define CONF_NTP_PORT 123
#define CONF_BOOTSTRAP_PORT 8000 /* the original's, where [BOOTSTRAP] gives an IP alone */

struct conf_host { /* a name or a numeric address, and a port; resolved at the edge */
    char host[CONF_HOST_MAX + 1];
    uint16_t port;
};

struct conf {
    /* [DEFAULT] */
    char network[CONF_NETWORK_MAX + 1]; /* empty: a plain citizen of the public DHT */
    struct addr listen;      /* UDP for Kademlia, TCP for posts; port 0: pick one once and keep it */
    struct addr listen6;     /* family 0: none; same port as `listen` */
    /* [BOOTSTRAP] */
    struct conf_host join[CONF_JOIN_MAX];
    int join_count;
    bool rescue;             /* look for peers on the public DHT when alone for ... */
    int rescue_after_s;      /* ... so long */
    struct conf_host rescue_join[CONF_ROUTERS_MAX]; /* how to enter it */
    int rescue_join_count;
    /* [MESSAGE_LIFESPAN] */
    uint32_t lifespan_s;     /* 0: posts are kept for ever (ACTIVE = 0) */
    /* [SNTP] */
    struct conf_host sntp[CONF_SERVERS_MAX];
    int sntp_count;          /* 0: the node runs on its own clock */
    /* [KADEMLIA] */
    int k, alpha;
    bool read_only;          /* BEP 43 */
    /* [KEY] */
    enum keyfile_cost key_cost;
    /* [STORE] */
    uint64_t store_max_bytes; /* budget for other people's posts; 0: none */
    /* [LOG] */
    enum log_level log_level;

    /* Words for the user about keys that were understood but do nothing here, ready to print. */
    char notes[CONF_NOTES_MAX][CONF_ERROR_SIZE];
    int note_count;
};

void conf_defaults(struct conf *ret);

/* `text` need not end in NUL. On CAM_ECONF (wrong) or CAM_ETOOBIG (over CONF_SIZE_MAX) `ret_error` holds a
 * line for the user and `ret` is untouched. `ret_error` holds printable ASCII only. */
int conf_parse(const char *text, size_t size, struct conf *ret, char ret_error[CONF_ERROR_SIZE]);

/* Every setting the same; notes are not compared. */
bool conf_equal(const struct conf *a, const struct conf *b);

/* The value of one key as config.ini would have it ("DAYS" of "MESSAGE_LIFESPAN", in any case). Lists are
 * joined by ", "; a lifespan is shown in years of 365 days, days and less. CAM_ENOENT for no such key,
 * CAM_ENOSPC. */
int conf_get(const struct conf *conf, const char *section, const char *key, char *ret, size_t size);

/* Walk all keys: section and key number `index`, in the order of etc/config.ini. false past the last. The
 * original's keys that have a newer way to say the same (JOIN for BOOTSTRAP's IP and PORT) are left out. */
bool conf_key(int index, const char **ret_section, const char **ret_key);

/* "HOST:PORT", "[V6]:PORT"; with default_port > 0 also "HOST", "[V6]", "V6". The port is 1..65535.
 * CAM_EINVAL. For --join too. */
int conf_host_parse(const char *text, uint16_t default_port, struct conf_host *ret);
/* The other way round, "[V6]:PORT" for IPv6. CAM_ENOSPC. */
int conf_host_text(const struct conf_host *host, char *ret, size_t size);

#endif
