/* A chat room in one page: whoever connects hears what the others say, a line at a time.
 *
 * chat_server [ADDRESS]        default: 0.0.0.0:7777; Ctrl-C ends it
 *
 * docs/guide/first-server.md builds and runs it. */
#include <stdio.h>
#include <weir/weir.h>

static weir_group *room;

static void on_open(weir_conn *conn)
{
    static const char hello[] = "Welcome. What you type, all others read.\n";
    weir_send(conn, hello, sizeof hello - 1);
    if (weir_group_add(room, conn) != 0) weir_abort(conn); /* leaves by itself when the connection ends */
    printf("%s is here\n", weir_conn_peer(conn).text);
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    weir_buf *line = weir_buf_copy(bytes, size); /* one copy, however many read it */
    if (line) weir_group_send_except(room, line, weir_conn_get_id(conn));
    weir_buf_release(line);
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    printf("%s has gone: %s\n", weir_conn_peer(conn).text, weir_strerror(reason.error));
}

int main(int argc, char **argv)
{
    const weir_protocol protocol = {
        .on_open = on_open,
        .on_message = on_message,
        .on_close = on_close,
        .framing = weir_framing_line(),
        .max_message = 1000,
    };
    const char *address = argc > 1 ? argv[1] : "0.0.0.0:7777";
    weir_runtime *runtime = NULL;
    weir_listener *listener = NULL;

    setvbuf(stdout, NULL, _IONBF, 0); /* each line is seen at once, through a pipe too */
    int err = weir_runtime_create(&runtime, &(weir_runtime_options){ .stop_on_signals = true });
    if (err == 0) err = weir_group_create(runtime, &room);
    if (err == 0) err = weir_listen(runtime, address, &protocol, NULL, &listener);
    if (err == 0) {
        printf("listening on %s\n", weir_listener_address(listener).text);
        err = weir_runtime_run(runtime);
    }
    if (err != 0) fprintf(stderr, "%s: %s\n", address, weir_strerror(err));
    weir_runtime_destroy(runtime);
    return err != 0;
}
