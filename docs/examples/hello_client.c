/* The first socket program, the other end: connects, says hello, prints what it is told.
 *
 * hello_client [ADDRESS]        default 127.0.0.1:7777 */
#include <stdio.h>
#include <weir/weir.h>

static bool connected, answered;

static void on_open(weir_conn *conn)
{
    connected = true;
    printf("Connected to %s\n", weir_conn_peer(conn).text);
    weir_send(conn, "Hello!", 6);
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    answered = true;
    printf("Server says: %.*s\n", (int)size, (const char *)bytes);
    weir_close(conn);
}

/* Called exactly once, also for a connection that never opened. The system has no code for what weir itself decides,
 * such as that the server took too long to answer. */
static void on_close(weir_conn *conn, weir_reason reason)
{
    if (!connected && reason.system_error != 0)
        printf("Connect ErrorCode : %d\n", reason.system_error);
    else if (!answered)
        printf("No answer: %s\n", weir_strerror(reason.error));
    weir_runtime_stop(weir_conn_runtime(conn));
}

int main(int argc, char **argv)
{
    const char *address = argc > 1 ? argv[1] : "127.0.0.1:7777";
    const weir_protocol protocol = { .on_open = on_open, .on_message = on_message, .on_close = on_close };
    weir_runtime *runtime = NULL;
    weir_failure failure = { 0 };

    setvbuf(stdout, NULL, _IONBF, 0); /* each line is seen at once, through a pipe too */

    int err = weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 1 });
    if (err == 0) err = weir_connect(runtime, address, &protocol, &(weir_connect_options){ .failure = &failure }, NULL);
    if (err == 0) err = weir_runtime_run(runtime);
    if (err != 0) printf("hello_client: %s\n", failure.error == err ? failure.text : weir_strerror(err));
    weir_runtime_destroy(runtime);
    return answered ? 0 : 1;
}
