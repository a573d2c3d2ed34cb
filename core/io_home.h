/* Where the files of one user lie.
 *
 *                   --home DIR            without
 *     config        DIR/config.ini        $XDG_CONFIG_HOME/camellia/config.ini   (~/.config)
 *     key           DIR/user.key          $XDG_DATA_HOME/camellia/user.key       (~/.local/share)
 *     transport     DIR/transport.key     $XDG_DATA_HOME/camellia/transport.key
 *     store         DIR/store.db          $XDG_DATA_HOME/camellia/store.db
 *     lock          DIR/lock              $XDG_DATA_HOME/camellia/lock
 *     log           DIR/camellia.log      $XDG_STATE_HOME/camellia/camellia.log  (~/.local/state)
 *     run           DIR/run               $XDG_DATA_HOME/camellia/run
 *     socket        run/node.sock
 *
 * A socket's path has room for 107 bytes only. Where run would be too long, it is a hash of the home's real
 * path under $XDG_RUNTIME_DIR/camellia, /run/user/UID/camellia or /tmp/camellia-UID, the first that is ours
 * and closed to others.
 *
 *     struct io_home home;
 *     err = io_home_paths("/home/ana/second", &home);    // computes; touches nothing
 *     if (!err) err = io_home_make(&home);               // makes the directories, 0700
 */
#ifndef CORE_IO_HOME_H
#define CORE_IO_HOME_H
#include <stdbool.h>

#define IO_HOME_PATH_SIZE 1024
#define IO_HOME_SOCKET_MAX 90  /* bytes of a socket's path that we allow ourselves */

struct io_home {
    char dir[IO_HOME_PATH_SIZE]; /* holds key, store and lock; absolute */
    char config[IO_HOME_PATH_SIZE];
    char key[IO_HOME_PATH_SIZE];
    char transport[IO_HOME_PATH_SIZE];
    char store[IO_HOME_PATH_SIZE];
    char lock[IO_HOME_PATH_SIZE];
    char log[IO_HOME_PATH_SIZE];
    char run[IO_HOME_PATH_SIZE];
    char socket[IO_HOME_PATH_SIZE];
    char run_base[IO_HOME_PATH_SIZE]; /* shared parent of a hashed run, to be checked too; else empty */
};

/* `dir` as --home gave it (relative is fine), or NULL for the XDG places. CAM_EINVAL when too long, empty or
 * when neither HOME nor the XDG variables say where. */
int io_home_paths(const char *dir, struct io_home *ret);

/* Makes the directories that are missing (0700) and checks that run is ours alone. CAM_EIO. */
int io_home_make(const struct io_home *home);

#endif
