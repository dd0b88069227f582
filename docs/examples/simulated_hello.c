/* A first test in the simulator: a server and a client in one process, on one thread, in virtual time.
 *
 * simulated_hello        prints when the client was greeted; exits with 1 if it was not */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <weir/sim.h>
#include <weir/weir.h>

/* ---- the server under test ---- */

static void server_message(weir_conn *conn, const void *bytes, size_t size)
{
    if (size == 6 && memcmp(bytes, "Hello\n", 6) == 0) weir_send(conn, "Hello, client!\n", 15);
}

/* ---- the test ---- */

static bool greeted;

static void client_open(weir_conn *conn)
{
    weir_send(conn, "Hello\n", 6);
}

static void client_message(weir_conn *conn, const void *bytes, size_t size)
{
    greeted = size == 15 && memcmp(bytes, "Hello, client!\n", 15) == 0;
    weir_close(conn);
}

static bool is_greeted(void *data)
{
    (void)data;
    return greeted;
}

int main(void)
{
    const weir_protocol server = { .on_message = server_message, .framing = weir_framing_line() };
    const weir_protocol client = { .on_open = client_open,
                                   .on_message = client_message,
                                   .framing = weir_framing_line() };
    weir_sim *sim = NULL;
    weir_runtime *runtime = NULL;

    int err = weir_sim_create(&sim, &(weir_sim_options){ .seed = 1, .latency_us_min = 20000, .latency_us_max = 60000 });
    if (err == 0) err = weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 2, .sim = sim });
    if (err == 0) err = weir_listen(runtime, "10.0.0.1:7777", &server, NULL, NULL);
    if (err == 0) err = weir_connect(runtime, "10.0.0.1:7777", &client, NULL, NULL);
    if (err == 0) err = weir_sim_run_until(sim, is_greeted, NULL, 5 * UINT64_C(1000000000)); /* within 5 s */

    if (err == 0)
        printf("greeted after %" PRIu64 " us\n", weir_sim_now_ns(sim) / 1000);
    else
        printf("not greeted: %s\n", weir_strerror(err));
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
    return err != 0;
}
