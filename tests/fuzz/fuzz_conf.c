/* config.ini from any bytes: no crash, an error is one printable line, and what was accepted can be written
 * out with conf_get and read back as the same settings. */
#include "core/conf.h"
#include "core/err.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char file[1 << 16], value[4096];
    struct conf conf, again;
    char why[CONF_ERROR_SIZE] = "";
    const char *section, *key;
    int err = conf_parse((const char *)data, size, &conf, why);
    if (err) {
        if (!*why || strlen(why) >= sizeof why)
            abort();
        for (const char *at = why; *at; at++)
            if (*at < 0x20 || *at > 0x7e)
                abort();
        return 0;
    }
    size_t used = 0;
    for (int i = 0; conf_key(i, &section, &key); i++) {
        if (conf_get(&conf, section, key, value, sizeof value))
            abort();
        if (!strcmp(key, "NETWORK")) /* it may begin with what is a comment behind a space */
            continue;
        if (strlen(value) > 150)     /* a list that takes several lines */
            return 0;
        used += (size_t)snprintf(file + used, sizeof file - used, "[%s]\n%s = %s\n", section, key, value);
    }
    if (conf_parse(file, used, &again, why))
        abort();
    memcpy(again.network, conf.network, sizeof conf.network);
    if (!conf_equal(&conf, &again))
        abort();
    return 0;
}
