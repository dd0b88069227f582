/* The first UDP server: sends every datagram back to whoever it says it is from.
 *
 * udp_echo [ADDRESS]        default: port 7777 of every IPv4 address of this host
 *
 * An answer is never longer than its question, so nobody gains by lying about where a question came from. A server that
 * answers more than it was asked must first see proof of the address: docs/guide/udp.md. Ends on Ctrl-C. */
#include <stdio.h>
#include <weir/weir.h>

static void on_datagram(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    weir_udp_send(socket, from, bytes, size); /* leaves with all others of this pass, in as few calls as can be */
}

static void on_close(weir_udp_socket *socket, weir_reason reason)
{
    printf("Socket %u closed: %s\n", weir_udp_socket_worker(socket), weir_strerror(reason.error));
}

int main(int argc, char **argv)
{
    static const weir_udp_protocol echo = { .on_datagram = on_datagram, .on_close = on_close };
    const char *address = argc > 1 ? argv[1] : "0.0.0.0:7777";
    weir_failure failure = { 0 };
    weir_runtime *runtime = NULL;
    weir_udp *udp = NULL;

    setvbuf(stdout, NULL, _IONBF, 0); /* each line is seen at once, through a pipe too */

    int err = weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 2, .stop_on_signals = true });
    if (err == 0) err = weir_udp_open(runtime, address, &echo, &(weir_udp_options){ .failure = &failure }, &udp);
    if (err == 0) {
        printf("Echoing on %s\n", weir_udp_address(udp).text);
        err = weir_runtime_run(runtime);
    }
    if (err != 0) fprintf(stderr, "udp_echo: %s\n", failure.error == err ? failure.text : weir_strerror(err));
    weir_runtime_destroy(runtime);
    return err == 0 ? 0 : 1;
}
