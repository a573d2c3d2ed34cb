/* A home: the folder (or the XDG folders) where one user of this machine keeps config, keys, store, log and the
 * running node's socket and lock. Both programs find everything through it; any number of homes live side by side.
 *
 *     --home DIR:   DIR/config.ini  DIR/user.key  DIR/transport.key  DIR/camellia.db  DIR/camelliad.log  DIR/port
 *                   DIR/run/lock    DIR/run/api   (run/ is 0700)
 *     otherwise:    $XDG_CONFIG_HOME/camellia/config.ini, the rest under $XDG_DATA_HOME/camellia
 *
 * Invariants: the node holds `lock` from before it opens anything until it ends; whoever wants to talk to `socket`
 * looks at the lock first, because ZeroMQ lets a second bind steal an ipc path and lets a client queue for a dead
 * node. The socket's path fits sun_path: where the home's is too long it lies in a short hashed folder.
 *
 *     struct home home; pid_t pid;
 *     if ((err = home_init(&home, option_home, why))) { say(why); return err; }
 *     if (home_node(&home, &pid) == 0) printf("running as %d\n", (int)pid);
 */
#ifndef CLI_HOME_H
#define CLI_HOME_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HOME_PATH_MAX 1024
#define HOME_WHY_MAX 1280    /* a message for a person, naming the path and the next step */
#define HOME_SOCKET_MAX 104  /* what libzmq and sun_path leave for the path itself */

struct home {
    char dir[HOME_PATH_MAX];       /* data folder, absolute, 0700 */
    char config[HOME_PATH_MAX];    /* config.ini; need not exist */
    char user_key[HOME_PATH_MAX];  /* the sealed key; need not exist */
    char transport_key[HOME_PATH_MAX];
    char store[HOME_PATH_MAX];
    char log[HOME_PATH_MAX];
    char port[HOME_PATH_MAX];      /* the port used last, so that a node returns at the same */
    char run[HOME_PATH_MAX];       /* folder of lock and socket, 0700 */
    char lock[HOME_PATH_MAX];
    char socket[HOME_SOCKET_MAX + 1];
};

/* Finds (and makes, 0700) the folders. `dir` NULL or "": the XDG ones. CAM_EINVAL path too long, CAM_EIO with
 * `ret_why` saying what and why; ret_why is set on errors only. */
int home_init(struct home *ret, const char *dir, char ret_why[HOME_WHY_MAX]);

/* Is a node running here? 0 and its pid (0 when it has just begun), or CAM_ENONODE. Never disturbs the lock. */
int home_node(const struct home *home, pid_t *ret_pid);

/* Takes the lock for the life of this process (or until home_unlock) and writes the pid into it.
 * CAM_ETAKEN when another node has it, with its pid in ret_why; CAM_EIO. */
int home_lock(const struct home *home, int *ret_fd, char ret_why[HOME_WHY_MAX]);
void home_unlock(int fd);

/* The remembered port, 0 when there is none; and remembering one (0 or CAM_EIO). */
uint16_t home_port(const struct home *home);
int home_set_port(const struct home *home, uint16_t port);

#endif
