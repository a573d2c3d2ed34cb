/* The local API's transport and the homes it stands on: real sockets in a scratch folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>
#include "cli/home.h"
#include "cli/io_api.h"
#include "core/err.h"
#include "core/io_os.h"

struct fixture {
    char dir[64];
    struct io_home home;
    int lock;
    void *ctx;
    struct io_api_server *server;
    pthread_t thread;
    int requests; /* how many the serving thread answers before it ends */
    int rows;     /* rows in each answer */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char why[HOME_WHY_MAX];
    snprintf(f->dir, sizeof f->dir, "/tmp/camellia-ioapi-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(home_open(f->dir, &f->home, why), 0);
    f->lock = -1;
    f->ctx = zmq_ctx_new();
    *state = f;
    return 0;
}

static void serve(struct fixture *f)
{
    char why[HOME_WHY_MAX];
    assert_int_equal(io_os_lock(f->home.lock, &f->lock), 0);
    assert_int_equal(io_api_bind(&f->home, f->ctx, &f->server, why), 0);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    io_api_unbind(f->server);
    zmq_ctx_term(f->ctx);
    io_os_unlock(f->lock);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    int gone = system(command);
    free(f);
    return gone;
}

/* Waits as the loop does: on the descriptor, unless something is ready. */
static bool server_next(struct io_api_server *s, uint64_t *client, const char **text, size_t *size)
{
    for (int i = 0; i < 50; i++) {
        if (io_api_next(s, client, text, size))
            return true;
        if (io_api_ready(s))
            continue;
        struct pollfd fd = { io_api_server_fd(s), POLLIN, 0 };
        poll(&fd, 1, 100);
    }
    return false;
}

static void *serve_thread(void *arg)
{
    struct fixture *f = arg;
    uint64_t client;
    const char *text;
    size_t size;
    char reply[256];

    for (int i = 0; i < f->requests && server_next(f->server, &client, &text, &size); i++) {
        json_t *request = json_loadb(text, size, 0, NULL);
        json_int_t tag = json_integer_value(json_object_get(request, "tag"));
        json_decref(request);
        for (int row = 0; row < f->rows; row++) {
            int n = snprintf(reply, sizeof reply, "{\"v\":1,\"tag\":%lld,\"row\":{\"n\":%d}}", (long long)tag,
                             row);
            if (io_api_reply(f->server, client, reply, (size_t)n))
                break;
        }
        int n = snprintf(reply, sizeof reply,
                         "{\"v\":1,\"tag\":%lld,\"done\":true,\"status\":%d,\"error\":\"taken\"}",
                         (long long)tag, i == 0 ? 0 : 73);
        io_api_reply(f->server, client, reply, (size_t)n);
    }
    return NULL;
}

static bool count_row(void *ctx, json_t *row)
{
    int *count = ctx;
    assert_int_equal(json_integer_value(json_object_get(row, "n")), *count);
    return ++*count != 5000; /* one test stops there */
}

static void test_nobody_there(void **state)
{
    struct fixture *f = *state;
    struct io_api_client *c;
    pid_t pid;
    assert_int_equal(home_node(&f->home, &pid), CAM_ENONODE);
    assert_int_equal(io_api_connect(&f->home, &c), CAM_ENONODE);
    /* A socket file that a killed node left behind changes nothing: the lock decides. */
    FILE *left = fopen(f->home.socket, "w");
    if (left)
        fclose(left);
    assert_int_equal(io_api_connect(&f->home, &c), CAM_ENONODE);
}

static void test_requests_and_rows(void **state)
{
    struct fixture *f = *state;
    struct io_api_client *c;
    struct io_api_reply done;
    struct stat st;
    pid_t pid;
    int rows = 0;

    serve(f);
    assert_int_equal(home_node(&f->home, &pid), 0);
    assert_int_equal(pid, getpid());
    assert_int_equal(stat(f->home.run, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(f->home.socket, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    f->requests = 2;
    f->rows = 3000;
    assert_int_equal(pthread_create(&f->thread, NULL, serve_thread, f), 0);
    assert_int_equal(io_api_connect(&f->home, &c), 0);
    assert_int_equal(io_api_call(c, json_pack("{s:s}", "do", "x"), 5000, count_row, &rows, &done), 0);
    assert_int_equal(rows, 3000);
    assert_int_equal(done.status, 0);
    assert_string_equal(done.message, "");
    io_api_reply_clear(&done);
    assert_int_equal(io_api_call(c, json_pack("{s:s}", "do", "x"), 5000, NULL, NULL, &done), 0);
    assert_int_equal(done.status, 73);
    assert_string_equal(done.error, "taken");
    io_api_reply_clear(&done);
    pthread_join(f->thread, NULL);
    io_api_close(c);
}

static void test_row_stops_and_cancels(void **state)
{
    struct fixture *f = *state;
    struct io_api_client *c;
    struct io_api_reply done;
    uint64_t client;
    const char *text;
    size_t size;
    int rows = 0;

    serve(f);
    f->requests = 1;
    f->rows = 6000;
    pthread_create(&f->thread, NULL, serve_thread, f);
    assert_int_equal(io_api_connect(&f->home, &c), 0);
    assert_int_equal(io_api_call(c, json_pack("{s:s}", "do", "x"), 5000, count_row, &rows, &done), CAM_EINTR);
    assert_int_equal(rows, 5000);
    pthread_join(f->thread, NULL);
    assert_true(server_next(f->server, &client, &text, &size));
    assert_non_null(memmem(text, size, "\"cancel\"", 8));
    io_api_close(c);
}

static void test_two_clients_are_apart(void **state)
{
    struct fixture *f = *state;
    struct io_api_client *a, *b;
    struct io_api_reply reply;
    uint64_t from_a, from_b;
    const char *text;
    size_t size;

    serve(f);
    assert_int_equal(io_api_connect(&f->home, &a), 0);
    assert_int_equal(io_api_connect(&f->home, &b), 0);
    assert_int_equal(io_api_send(a, json_pack("{s:s}", "do", "a"), 1), 0);
    assert_true(server_next(f->server, &from_a, &text, &size));
    assert_non_null(memmem(text, size, "\"a\"", 3));
    assert_int_equal(io_api_send(b, json_pack("{s:s}", "do", "b"), 1), 0);
    assert_true(server_next(f->server, &from_b, &text, &size));
    assert_true(from_a != from_b);
    assert_int_equal(io_api_reply(f->server, from_b, "{\"tag\":1,\"row\":{}}", 18), 0);
    assert_int_equal(io_api_recv(b, 2000, &reply), 0);
    assert_non_null(reply.row);
    assert_false(reply.done);
    io_api_reply_clear(&reply);
    assert_int_equal(io_api_recv(a, 0, &reply), CAM_ETIMEOUT);
    assert_int_equal(io_api_recv(a, 50, &reply), CAM_ETIMEOUT);
    /* What is no reply is said to be none. */
    assert_int_equal(io_api_reply(f->server, from_a, "nonsense", 8), 0);
    assert_int_equal(io_api_recv(a, 2000, &reply), CAM_EFORMAT);
    /* Whoever is gone cannot be answered, and that is told. */
    io_api_close(a);
    int err = 0;
    for (int i = 0; i < 200 && !err; i++) {
        err = io_api_reply(f->server, from_a, "{}", 2);
        usleep(5000);
    }
    assert_int_equal(err, CAM_ENOENT);
    assert_int_equal(io_api_reply(f->server, 12345, "{}", 2), CAM_ENOENT);
    io_api_close(b);
}

static void test_sizes_and_bad_requests(void **state)
{
    struct fixture *f = *state;
    struct io_api_client *c;
    uint64_t client;
    const char *text;
    size_t size;
    char *big = malloc(IO_API_MESSAGE_MAX + 1);

    serve(f);
    assert_int_equal(io_api_connect(&f->home, &c), 0);
    memset(big, 'x', IO_API_MESSAGE_MAX);
    big[IO_API_MESSAGE_MAX] = '\0';
    assert_int_equal(io_api_send(c, json_pack("{s:s}", "text", big), 1), CAM_ETOOBIG);
    big[IO_API_MESSAGE_MAX - 64] = '\0';
    assert_int_equal(io_api_send(c, json_pack("{s:s}", "text", big), 1), 0);
    assert_true(server_next(f->server, &client, &text, &size));
    assert_true(size > IO_API_MESSAGE_MAX - 64);
    assert_int_equal(io_api_send(c, NULL, 2), CAM_EINVAL); /* json_pack could not make it */
    assert_int_equal(io_api_send(c, json_array(), 2), CAM_EINVAL);

    /* Whoever chooses a routing id of his own, or sends several frames, is not read; a REQ is. */
    char endpoint[IO_HOME_PATH_SIZE + 8];
    const int zero = 0;
    snprintf(endpoint, sizeof endpoint, "ipc://%s", f->home.socket);
    void *odd = zmq_socket(f->ctx, ZMQ_DEALER), *req = zmq_socket(f->ctx, ZMQ_REQ);
    zmq_setsockopt(odd, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(req, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(odd, ZMQ_ROUTING_ID, "mallo", 5);
    zmq_connect(odd, endpoint);
    zmq_send(odd, "{\"odd\":1}", 9, 0);
    zmq_connect(req, endpoint);
    zmq_send(req, "{\"req\":1}", 9, 0);
    assert_true(server_next(f->server, &client, &text, &size));
    assert_int_equal(size, 9);
    assert_memory_equal(text, "{\"req\":1}", 9);
    zmq_close(odd);
    zmq_close(req);
    io_api_close(c);
    free(big);
}

static void test_node_that_dies(void **state)
{
    struct fixture *f = *state;
    struct io_api_client *c;
    struct io_api_reply reply;

    serve(f);
    assert_int_equal(io_api_connect(&f->home, &c), 0);
    assert_int_equal(io_api_send(c, json_pack("{s:s}", "do", "x"), 1), 0);
    io_api_unbind(f->server);
    f->server = NULL;
    io_os_unlock(f->lock);
    f->lock = -1;
    uint64_t began = io_os_now().mono_ms;
    assert_int_equal(io_api_recv(c, -1, &reply), CAM_ENONODE);
    assert_true(io_os_now().mono_ms - began < 3000);
    assert_int_equal(io_api_send(c, json_pack("{s:s}", "do", "x"), 2), CAM_ENONODE);
    io_api_close(c);
}

/* JSON's memory is wiped: look at it through an allocator that keeps what was freed. */
static void test_wiped_memory(void **state)
{
    json_malloc_t get;
    json_free_t release;
    (void)state;
    io_api_wipe_json();
    json_get_alloc_funcs(&get, &release);
    char *p = get(64);
    memset(p, 's', 64);
    /* Under AddressSanitizer a freed block stays in quarantine and may not be read: so look at the function.
     */
    assert_ptr_equal(get, malloc);
    assert_ptr_not_equal(release, free);
    release(p);
    release(NULL);
}

static void test_home_files(void **state)
{
    struct fixture *f = *state;
    char why[HOME_WHY_MAX] = "", path[HOME_WHY_MAX];
    struct rng rng = io_os_rng();
    struct transport made, again;
    struct addr addr, got;
    struct conf conf;

    /* the transport key is made once, and is private */
    assert_int_equal(home_transport(&f->home, &rng, &made, why), 0);
    assert_int_equal(io_os_check_private(f->home.transport), 0);
    assert_int_equal(home_transport(&f->home, &rng, &again, why), 0);
    assert_memory_equal(made.sk, again.sk, KEY_SIZE);
    assert_int_equal(made.instance, again.instance);
    assert_int_equal(chmod(f->home.transport, 0644), 0);
    assert_int_not_equal(home_transport(&f->home, &rng, &again, why), 0);
    assert_non_null(strstr(why, "chmod 600"));
    assert_int_equal(io_os_write_atomic(f->home.transport, "garbage", 7, 0600), 0);
    assert_int_equal(home_transport(&f->home, &rng, &again, why), CAM_EFORMAT);
    assert_non_null(strstr(why, "damaged"));

    /* the address */
    assert_int_equal(home_address(&f->home, &got), CAM_ENOENT);
    assert_int_equal(addr_parse("127.0.0.1:4567", &addr), 0);
    assert_int_equal(home_set_address(&f->home, &addr), 0);
    assert_int_equal(home_address(&f->home, &got), 0);
    assert_true(addr_equal(&addr, &got));
    snprintf(path, sizeof path, "%s/address", f->home.dir);
    assert_int_equal(io_os_write_atomic(path, "127.0.0.1:0\n", 12, 0600), 0);
    assert_int_equal(home_address(&f->home, &got), CAM_ENOENT);
    assert_int_equal(io_os_write_atomic(path, "nonsense", 8, 0600), 0);
    assert_int_equal(home_address(&f->home, &got), CAM_ENOENT);

    /* config: none is fine, one that was asked for must be there, a wrong one names its line */
    assert_int_equal(home_config(&f->home, NULL, &conf, why), 0);
    assert_int_equal(home_config(&f->home, "/nonexistent/config.ini", &conf, why), CAM_ENOFILE);
    assert_int_equal(io_os_write_atomic(f->home.config, "[DEFAULT]\nnonsense = 1\n", 23, 0600), 0);
    assert_int_equal(home_config(&f->home, NULL, &conf, why), CAM_ECONF);
    assert_non_null(strstr(why, "line 2"));
    assert_int_not_equal(home_open("", &f->home, why), 0);
    assert_int_not_equal(home_open("/proc/nowhere", &f->home, why), 0);
    assert_non_null(strstr(why, "/proc/nowhere"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nobody_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_and_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_row_stops_and_cancels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_clients_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes_and_bad_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_node_that_dies, setup, teardown),
        cmocka_unit_test(test_wiped_memory),
        cmocka_unit_test_setup_teardown(test_home_files, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
