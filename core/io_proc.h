/* Processes: the node started in the background, with a word back when it is ready.
 *
 *     // the client
 *     const char *argv[] = { "/usr/bin/camelliad", "--home", dir, "--ready-fd", IO_PROC_READY_TEXT, NULL };
 *     err = io_proc_spawn(argv, home.log, 10000, &pid, text);      // 0: it said it was ready
 *     // the node
 *     io_proc_ready(ready_fd, 0, "127.0.0.1:8000");                // or an error and its reason
 */
#ifndef CORE_IO_PROC_H
#define CORE_IO_PROC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IO_PROC_READY_FD 3      /* where the child finds the pipe to answer on */
#define IO_PROC_READY_TEXT "3"
#define IO_PROC_TEXT_SIZE 512

/* Runs argv[0] (a path) in a session of its own: stdin /dev/null, stdout and stderr appended to log_path, no
 * other file inherited but the pipe, not our child (so it leaves no zombie here). Waits for io_proc_ready.
 *
 * 0 with pid and text; else the error that the child gave, with its text; CAM_ESYS when it could not start
 * or ended without a word; CAM_ETIMEOUT when it is silent (it is left running; text names the pid).
 * `ret_text` is always set. */
int io_proc_spawn(const char *const argv[], const char *log_path, uint64_t timeout_ms, pid_t *ret_pid,
                  char ret_text[IO_PROC_TEXT_SIZE]);

/* The child's word: err 0 or CAM_E..., one line of text. Closes fd. */
void io_proc_ready(int fd, int err, const char *text);

bool io_proc_alive(pid_t pid);  /* a zombie is not alive */
/* Waits until the process is gone. CAM_ETIMEOUT. */
int io_proc_wait_gone(pid_t pid, uint64_t timeout_ms);

/* The path of a program ("camelliad") that lies beside the one that runs. */
int io_proc_beside(const char *name, char *ret, size_t size); /* CAM_ENOFILE, CAM_ENOSPC */

#endif
