/* What both programs do with a home (core/io_home.h says where its files lie): open it, read its config.ini,
 * see whether a node runs in it, and the two small files of the node, its transport key and its remembered
 * address. Every failure comes with a line for a person that names the path and the next step.
 *
 *     struct io_home home; struct conf conf; pid_t pid; char why[HOME_WHY_MAX];
 *     if ((err = home_open(option_home, &home, why)) || (err = home_config(&home, NULL, &conf, why))) {
 *         fprintf(stderr, "camellia: %s\n", why); return err_status(err);
 *     }
 *     if (home_node(&home, &pid) == 0) printf("running as %d\n", (int)pid);
 */
#ifndef CLI_HOME_H
#define CLI_HOME_H
#include <stdint.h>
#include <sys/types.h>
#include "core/conf.h"
#include "core/io_home.h"
#include "core/keyfile.h"

#define HOME_WHY_MAX (IO_HOME_PATH_SIZE + 512)

/* Finds the folders and makes the missing ones. `dir` NULL: the XDG places. CAM_EINVAL, CAM_EIO. */
int home_open(const char *dir, struct io_home *ret, char ret_why[HOME_WHY_MAX]);

/* The settings: of `path`, or of the home's config.ini when NULL (which need not be there). CAM_ECONF,
 * CAM_ENOFILE (of a path that was given), CAM_EIO. */
int home_config(const struct io_home *home, const char *path, struct conf *ret, char ret_why[HOME_WHY_MAX]);

/* 0 and the pid of the node that runs here (0 when it has just begun), or CAM_ENONODE. Takes no lock. */
int home_node(const struct io_home *home, pid_t *ret_pid);

/* The node's own. Its transport key: read, or made and written on the first start. CAM_EFORMAT, CAM_EIO. */
int home_transport(const struct io_home *home, const struct rng *rng, struct transport *ret,
                   char ret_why[HOME_WHY_MAX]);
/* Where it listened last, so that it returns at the same address: CAM_ENOENT when there is none; and
 * remembering it (0 or CAM_EIO). */
int home_address(const struct io_home *home, struct addr *ret);
int home_set_address(const struct io_home *home, const struct addr *addr);

#endif
