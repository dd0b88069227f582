/* The first socket program: a server that greets whoever connects.
 *
 * hello_server [ADDRESS]        default: port 7777 of every address of this host, IPv4 and IPv6
 *
 * What a course builds from socket, bind, listen and accept is one weir_listen; where one of those steps fails, the
 * system's own error code is printed, as such a program does. Ends on Ctrl-C. */
#include <stdio.h>
#include <weir/weir.h>

static const char greeting[] = "Hello, client!";

static void on_open(weir_conn *conn)
{
    printf("Client Connected! IP = %s\n", weir_conn_peer(conn).host);
}

/* TCP carries bytes, not packets: these are as many as have come. Where a program's messages begin and end is said in
 * weir_protocol.framing; a greeting is short enough to do without. */
static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    printf("Client says: %.*s\n", (int)size, (const char *)bytes);
    weir_send(conn, greeting, sizeof greeting - 1);
}

static void on_accept_error(weir_listener *listener, weir_reason reason)
{
    (void)listener;
    printf("Accept ErrorCode : %d\n", reason.system_error); /* the listener itself lives on */
}

static void print_failure(const weir_failure *failure)
{
    switch (failure->step) {
    case WEIR_STEP_SOCKET:
        printf("Socket ErrorCode : %d\n", failure->system_error);
        break;
    case WEIR_STEP_BIND:
        printf("Bind ErrorCode : %d\n", failure->system_error);
        break;
    case WEIR_STEP_LISTEN:
        printf("Listen ErrorCode : %d\n", failure->system_error);
        break;
    default: /* refused before the system was asked: a bad address, say */
        printf("%s\n", failure->text);
        break;
    }
}

/* [::] takes IPv4 clients too, but a host without IPv6 cannot listen on it. */
static int listen_on(weir_runtime *runtime, const char *address, weir_failure *failure, weir_listener **listener)
{
    static const weir_protocol protocol = { .on_open = on_open, .on_message = on_message };
    const weir_listen_options options = { .on_accept_error = on_accept_error, .failure = failure };

    if (address != NULL) return weir_listen(runtime, address, &protocol, &options, listener);
    int err = weir_listen(runtime, "[::]:7777", &protocol, &options, listener);
    if (err == WEIR_EAFNOSUPPORT || err == WEIR_EADDRNOTAVAIL)
        err = weir_listen(runtime, "0.0.0.0:7777", &protocol, &options, listener);
    return err;
}

int main(int argc, char **argv)
{
    const char *address = argc > 1 ? argv[1] : NULL;
    weir_runtime *runtime = NULL;
    weir_listener *listener = NULL;
    weir_failure failure = { 0 };

    setvbuf(stdout, NULL, _IONBF, 0); /* each line is seen at once, through a pipe too */

    int err = weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 1, .stop_on_signals = true });
    if (err == 0) err = listen_on(runtime, address, &failure, &listener);
    if (err == 0) {
        printf("Listening on %s\n", weir_listener_address(listener).text);
        err = weir_runtime_run(runtime);
    }
    if (err != 0 && failure.error == err)
        print_failure(&failure);
    else if (err != 0)
        printf("hello_server: %s\n", weir_strerror(err));
    weir_runtime_destroy(runtime);
    return err == 0 ? 0 : 1;
}
