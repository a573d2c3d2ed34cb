#include "cli/home.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/err.h"
#include "core/io_os.h"

#define HOME_ADDRESS_FILE "address"

int home_open(const char *dir, struct io_home *ret, char ret_why[HOME_WHY_MAX])
{
    struct io_home home;
    int err = io_home_paths(dir, &home);

    if (err) {
        snprintf(ret_why, HOME_WHY_MAX, dir ? "--home %.*s: the path is empty or too long" :
                 "neither HOME nor the XDG variables say where this user's files lie: give --home DIR",
                 IO_HOME_PATH_SIZE, dir ? dir : "");
        return err;
    }
    errno = 0;
    err = io_home_make(&home);
    if (err) {
        snprintf(ret_why, HOME_WHY_MAX,
                 "cannot use %s (%s): it must be yours and writable; another place: --home DIR", home.dir,
                 errno ? strerror(errno) : "its run folder is open to others");
        return err;
    }
    *ret = home;
    return 0;
}

int home_config(const struct io_home *home, const char *path, struct conf *ret, char ret_why[HOME_WHY_MAX])
{
    const char *file = path ? path : home->config;
    char line[CONF_ERROR_SIZE];
    uint8_t *data;
    size_t size;

    errno = 0;
    int err = io_os_read(file, CONF_SIZE_MAX, &data, &size);
    if (err == CAM_ENOFILE && !path) {
        conf_defaults(ret);
        return 0;
    }
    if (err == CAM_ETOOBIG) {
        snprintf(ret_why, HOME_WHY_MAX, "%s: larger than %d bytes, that is no config.ini", file,
                 CONF_SIZE_MAX);
        return CAM_ECONF;
    }
    if (err) {
        snprintf(ret_why, HOME_WHY_MAX, "cannot read %s: %s", file, errno ? strerror(errno) : err_text(err));
        return err;
    }
    err = conf_parse((const char *)data, size, ret, line);
    if (err)
        snprintf(ret_why, HOME_WHY_MAX, "%s (%s)", line, file);
    free(data);
    return err;
}

int home_node(const struct io_home *home, pid_t *ret_pid)
{
    return io_os_lock_holder(home->lock, ret_pid) ? CAM_ENONODE : 0;
}

int home_transport(const struct io_home *home, const struct rng *rng, struct transport *ret,
                   char ret_why[HOME_WHY_MAX])
{
    const char *path = home->transport;
    uint8_t made[KEYFILE_TRANSPORT_SIZE], *data;
    size_t size;

    errno = 0;
    int err = io_os_check_private(path);
    if (err == CAM_ENOFILE) {
        transport_new(rng, ret);
        keyfile_transport_encode(ret, made);
        err = io_os_write_atomic(path, made, sizeof made, 0600);
        explicit_bzero(made, sizeof made);
        if (err) {
            snprintf(ret_why, HOME_WHY_MAX, "cannot write %s: %s", path,
                     errno ? strerror(errno) : err_text(err));
            transport_clear(ret);
        }
        return err;
    }
    if (err) {
        snprintf(ret_why, HOME_WHY_MAX, "%s must be yours and closed to others: chmod 600 it", path);
        return err;
    }
    err = io_os_read(path, KEYFILE_TRANSPORT_SIZE, &data, &size);
    if (err == CAM_ETOOBIG)
        err = CAM_EFORMAT;
    if (!err) {
        err = keyfile_transport_decode(data, size, ret);
        explicit_bzero(data, size);
        free(data);
    }
    if (err == CAM_EFORMAT)
        snprintf(ret_why, HOME_WHY_MAX,
                 "%s is damaged: move it away, the node makes a new one and tells its followers", path);
    else if (err)
        snprintf(ret_why, HOME_WHY_MAX, "cannot read %s: %s", path, errno ? strerror(errno) : err_text(err));
    return err;
}

static bool address_path(const struct io_home *home, char ret[HOME_WHY_MAX])
{
    return snprintf(ret, HOME_WHY_MAX, "%s/%s", home->dir, HOME_ADDRESS_FILE) < HOME_WHY_MAX;
}

int home_address(const struct io_home *home, struct addr *ret)
{
    char path[HOME_WHY_MAX];
    uint8_t *data;
    size_t size;

    if (!address_path(home, path) || io_os_read(path, ADDR_TEXT_SIZE, &data, &size))
        return CAM_ENOENT;
    data[strcspn((const char *)data, "\n")] = '\0';
    int err = addr_parse((const char *)data, ret);
    free(data);
    return err || ret->port == 0 ? CAM_ENOENT : 0; /* a hint: nonsense counts as none */
}

int home_set_address(const struct io_home *home, const struct addr *addr)
{
    char path[HOME_WHY_MAX], text[ADDR_TEXT_SIZE], line[ADDR_TEXT_SIZE + 1];
    struct addr last;

    if (home_address(home, &last) == 0 && addr_equal(&last, addr))
        return 0; /* spares the disk at every start */
    if (!address_path(home, path))
        return CAM_EIO;
    int size = snprintf(line, sizeof line, "%s\n", addr_text(addr, text));
    return io_os_write_atomic(path, line, (size_t)size, 0600);
}
