/* The keys of config.ini: what each may hold and where it goes. Private to conf.c.
 *
 * A draft is a conf with what only the end of the file can put together: keys speak of years and days, of a
 * switch and a list; struct conf has seconds and a count.
 */
#ifndef CORE_CONF_KEY_H
#define CORE_CONF_KEY_H
#include "core/conf.h"

#define CONF_KEYS_MAX 40
#define CONF_SHOWN_MAX 48               /* characters of a wrong word that an error shows */
#define CONF_SHOWN_SIZE (CONF_SHOWN_MAX + 4)
#define CONF_WHY_SIZE 128

enum conf_unit { YEARS, MONTHS, WEEKS, DAYS, HOURS, MINUTES, SECONDS, UNITS };

struct conf_draft {
    struct conf conf;
    struct conf_host bootstrap;         /* the original's one peer */
    uint32_t span[UNITS];
    bool lifespan_active, sntp_active;
};

enum conf_kind { CONF_TEXT, CONF_BOOL, CONF_NUMBER, CONF_MEGABYTES, CONF_SPAN, CONF_WORD, CONF_PORT, CONF_IP,
                 CONF_IP6, CONF_HOST, CONF_JOIN, CONF_ROUTER, CONF_SERVER, CONF_UNUSED_IP, CONF_UNUSED_PORT };

struct conf_row {
    const char *section, *key;
    enum conf_kind kind;
    bool listed;                        /* false: the original's; there is a newer way to say it */
    size_t offset;                      /* of the value in the draft */
    uint32_t min, max;                  /* of a number; `max` bytes of a text */
    const char *const *words;           /* of a CONF_WORD, whose place is its value; ends in NULL */
};

extern const struct conf_row conf_rows[]; /* in the order of etc/config.ini; ends in a NULL section */

/* In any case; a space is as good as an underscore, the original wrote "LISTENING IP". */
bool conf_word_equal(const char *a, const char *b);
const struct conf_row *conf_row_find(const char *section, const char *key); /* NULL when there is none */

/* `again`: a list that was begun in this file goes on, otherwise it takes the place of the default one.
 * On CAM_ECONF `ret_wrong` is the word that was wrong, printable, and `ret_why` says why. */
int conf_row_set(const struct conf_row *row, bool again, const char *value, struct conf_draft *draft,
                 char ret_wrong[CONF_SHOWN_SIZE], char ret_why[CONF_WHY_SIZE]);
void conf_row_get(const struct conf_row *row, const struct conf_draft *draft, struct bytes_out *out);

/* Cut and with '?' for all that is not printable ASCII: safe in an error. */
void conf_shown(const char *text, char ret[CONF_SHOWN_SIZE]);

#endif
