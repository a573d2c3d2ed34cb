/* Host and port as people write them; the part of conf.h that the command line uses too. */
#include "core/conf.h"
#include "core/err.h"
#include <stdio.h>
#include <string.h>

static int parse_port(const char *text, uint16_t *ret)
{
    unsigned port = 0;
    if (!*text || strlen(text) > 5)
        return CAM_EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return CAM_EINVAL;
        port = port * 10 + (unsigned)(*text - '0');
    }
    if (port == 0 || port > 65535)
        return CAM_EINVAL;
    *ret = (uint16_t)port;
    return 0;
}

/* A numeric address of the given family, or for family 0 either a numeric IPv4 or a name as DNS has it. */
static int check_host(const char *host, int family)
{
    char text[CONF_HOST_MAX + 16];
    struct addr addr;
    bool name = false, before_dot = false;
    if (family == 6) {
        snprintf(text, sizeof text, "[%s]:1", host);
        return addr_parse(text, &addr) == 0 && addr.family == 6 ? 0 : CAM_EINVAL;
    }
    for (const char *at = host; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        bool inside = letter || (*at >= '0' && *at <= '9') || *at == '-' || *at == '_';
        if (!inside && !(*at == '.' && before_dot))
            return CAM_EINVAL;
        before_dot = inside;
        name = name || letter;
    }
    if (!*host || name)
        return *host ? 0 : CAM_EINVAL;
    snprintf(text, sizeof text, "%s:1", host);
    return addr_parse(text, &addr);
}

int conf_host_parse(const char *text, uint16_t default_port, struct conf_host *ret)
{
    struct conf_host out;
    const char *host = text, *end, *port = NULL;
    const char *first = strchr(text, ':'), *last = strrchr(text, ':');
    int family = 0;
    if (*text == '[') {
        host = text + 1;
        end = strchr(host, ']');
        if (!end || (end[1] && end[1] != ':'))
            return CAM_EINVAL;
        port = end[1] ? end + 2 : NULL;
        family = 6;
    } else if (first && first != last) { /* a bare IPv6 address: its last group is no port */
        end = text + strlen(text);
        family = 6;
    } else {
        end = first ? first : text + strlen(text);
        port = first ? first + 1 : NULL;
    }
    if (end == host || (size_t)(end - host) > CONF_HOST_MAX)
        return CAM_EINVAL;
    memset(&out, 0, sizeof out);
    memcpy(out.host, host, (size_t)(end - host));
    out.port = default_port;
    if (check_host(out.host, family) || (port ? parse_port(port, &out.port) : default_port ? 0 : CAM_EINVAL))
        return CAM_EINVAL;
    *ret = out;
    return 0;
}

int conf_host_text(const struct conf_host *host, char *ret, size_t size)
{
    bool v6 = strchr(host->host, ':') != NULL;
    int n = snprintf(ret, size, v6 ? "[%s]:%u" : "%s:%u", host->host, host->port);
    return n >= 0 && (size_t)n < size ? 0 : CAM_ENOSPC;
}
