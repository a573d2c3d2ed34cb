#include "core/io_home.h"
#include "core/err.h"
#include "core/hash.h"
#include "core/io_os.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_CHARS 16 /* of the home's path, in hex: 64 bits, so that two homes do not meet */

/* Like snprintf into a path; once something did not fit, `err` stays. */
__attribute__((format(printf, 3, 4)))
static void put(int *err, char ret[IO_HOME_PATH_SIZE], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(ret, IO_HOME_PATH_SIZE, format, args);
    va_end(args);
    if (n < 0 || n >= IO_HOME_PATH_SIZE)
        *err = CAM_EINVAL;
}

/* $NAME/camellia, else ~/FALLBACK/camellia. The XDG specification: a relative path is to be ignored. */
static void put_xdg(int *err, char ret[IO_HOME_PATH_SIZE], const char *name, const char *fallback)
{
    const char *dir = getenv(name), *home = getenv("HOME");
    if (dir && *dir == '/')
        put(err, ret, "%s/camellia", dir);
    else if (home && *home == '/')
        put(err, ret, "%s/%s/camellia", home, fallback);
    else
        *err = CAM_EINVAL;
}

/* One spelling for one place, so that every program of this home finds the same socket: the part of the path
 * that is there is resolved, what is still to be made follows as it was given. */
static void put_real(int *err, char ret[IO_HOME_PATH_SIZE], const char *dir)
{
    char path[2 * IO_HOME_PATH_SIZE], cwd[IO_HOME_PATH_SIZE] = "";
    if (*dir != '/' && !getcwd(cwd, sizeof cwd))
        *err = CAM_EINVAL;
    int n = snprintf(path, sizeof path, "%s%s%s", cwd, *cwd ? "/" : "", dir);
    if (*err || n < 0 || n >= (int)sizeof path) {
        *err = CAM_EINVAL;
        return;
    }
    while (n && path[n - 1] == '/')
        path[--n] = 0;
    for (int there = n;;) {
        char next = path[there], *real;
        path[there] = 0;
        real = realpath(there ? path : "/", NULL);
        path[there] = next;
        if (real) {
            put(err, ret, "%s%s", there == 0 && n ? "" : real, path + there);
            free(real);
            return;
        }
        if (there == 0) {
            *err = CAM_EINVAL;
            return;
        }
        while (there && path[there - 1] != '/')
            there--;
        while (there && path[there - 1] == '/')
            there--;
    }
}

static bool is_ours_alone(const char *dir)
{
    struct stat st;
    return dir && *dir == '/' && lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           !(st.st_mode & 077);
}

/* A directory with room for a socket's name. Beside the home by default: then no environment variable can
 * make client and node disagree. */
static void put_run(int *err, struct io_home *h)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char system_runtime[64], name[2 * HASH_CHARS + 1];
    uint8_t hash[HASH_SIZE];
    put(err, h->run, "%s/run", h->dir);
    put(err, h->socket, "%s/node.sock", h->run);
    if (*err || strlen(h->socket) <= IO_HOME_SOCKET_MAX)
        return;
    hash_blake2b(hash, h->dir, strlen(h->dir));
    hex_encode(name, hash, HASH_CHARS / 2);
    snprintf(system_runtime, sizeof system_runtime, "/run/user/%lu", (unsigned long)geteuid());
    const size_t behind = strlen("/camellia//node.sock") + HASH_CHARS;
    if (is_ours_alone(runtime) && strlen(runtime) + behind <= IO_HOME_SOCKET_MAX)
        put(err, h->run_base, "%s/camellia", runtime);
    else if (is_ours_alone(system_runtime))
        put(err, h->run_base, "%s/camellia", system_runtime);
    else
        put(err, h->run_base, "/tmp/camellia-%lu", (unsigned long)geteuid());
    put(err, h->run, "%s/%s", h->run_base, name);
    put(err, h->socket, "%s/node.sock", h->run);
}

int io_home_paths(const char *dir, struct io_home *ret)
{
    struct io_home h;
    char config[IO_HOME_PATH_SIZE] = "", data[IO_HOME_PATH_SIZE] = "", state[IO_HOME_PATH_SIZE] = "";
    int err = dir && !*dir ? CAM_EINVAL : 0;
    memset(&h, 0, sizeof h);
    if (!dir) {
        put_xdg(&err, config, "XDG_CONFIG_HOME", ".config");
        put_xdg(&err, data, "XDG_DATA_HOME", ".local/share");
        put_xdg(&err, state, "XDG_STATE_HOME", ".local/state");
    }
    if (!err)
        put_real(&err, h.dir, dir ? dir : data);
    put(&err, h.config, "%s/config.ini", dir ? h.dir : config);
    put(&err, h.log, "%s/camellia.log", dir ? h.dir : state);
    put(&err, h.key, "%s/user.key", h.dir);
    put(&err, h.transport, "%s/transport.key", h.dir);
    put(&err, h.store, "%s/store.db", h.dir);
    put(&err, h.lock, "%s/lock", h.dir);
    put_run(&err, &h);
    if (!err)
        *ret = h;
    return err;
}

static int make_parent(const char *path)
{
    char dir[IO_HOME_PATH_SIZE];
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = 0;
    return io_os_mkdir(*dir ? dir : "/");
}

int io_home_make(const struct io_home *home)
{
    int err = io_os_mkdir(home->dir);
    if (!err)
        err = make_parent(home->config);
    if (!err)
        err = make_parent(home->log);
    if (!err && *home->run_base)
        err = io_os_mkdir_private(home->run_base);
    if (!err)
        err = io_os_mkdir_private(home->run);
    return err;
}
