/* A login server that is linked to a world server: each line of a player's goes to the world, and what the world
 * answers goes back to that player. While the world is away a player is told so at once; nothing is kept for it.
 *
 * linked_server LISTEN WORLD        such as 0.0.0.0:7777 world.internal:7000
 *
 * Any line server can be the world: echo_server --framing line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/weir.h>

enum { LINE_MAX = 1000, ID_DIGITS = 16 };

static weir_link *world;

/* ---- players ---- */

static void on_player_line(weir_conn *conn, const void *bytes, size_t size)
{
    static const char away[] = "the world is away\n";
    char request[ID_DIGITS + 1 + LINE_MAX];
    int length = snprintf(request, sizeof request, "%016" PRIx64 " ", weir_conn_get_id(conn));
    memcpy(request + length, bytes, size);
    if (weir_link_send(world, request, (size_t)length + size) != 0) weir_send(conn, away, sizeof away - 1);
}

/* ---- the world ---- */

/* The id is safe wherever it comes from: one that has gone, or never was, reaches nobody. */
static void on_world_line(weir_conn *conn, const void *bytes, size_t size)
{
    const char *line = bytes;
    if (size <= ID_DIGITS) return;
    weir_conn_id player = strtoull(line, NULL, 16);
    weir_send_to(weir_conn_runtime(conn), player, line + ID_DIGITS + 1, size - ID_DIGITS - 1);
}

static void on_world_state(weir_link *link, weir_link_state state, void *data)
{
    weir_link_status status;
    (void)data;
    weir_link_get_status(link, &status);
    if (state == WEIR_LINK_UP) printf("the world is here\n");
    if (state == WEIR_LINK_WAITING)
        printf("the world is away, next attempt in %" PRIu32 " ms: %s\n", status.wait_ms, status.failure.text);
}

int main(int argc, char **argv)
{
    const weir_protocol players = { .on_message = on_player_line,
                                    .framing = weir_framing_line(),
                                    .max_message = LINE_MAX };
    const weir_protocol of_world = { .on_message = on_world_line, .framing = weir_framing_line() };
    weir_failure failure = { 0 };
    const weir_link_options patient = {
        .backoff_ms_min = 50, .backoff_ms_max = 5000, .connect.failure = &failure, .on_state = on_world_state
    };
    weir_listener *listener = NULL;
    weir_runtime *runtime = NULL;

    if (argc != 3) {
        fprintf(stderr, "usage: linked_server LISTEN WORLD\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IONBF, 0); /* each line is seen at once, through a pipe too */

    int err = weir_runtime_create(&runtime, &(weir_runtime_options){ .stop_on_signals = true });
    if (err == 0) err = weir_link_open(runtime, argv[2], &of_world, &patient, &world);
    if (err == 0)
        err = weir_listen(runtime, argv[1], &players, &(weir_listen_options){ .failure = &failure }, &listener);
    if (err == 0) printf("listening on %s\n", weir_listener_address(listener).text);
    if (err == 0) err = weir_runtime_run(runtime);
    if (err != 0) fprintf(stderr, "linked_server: %s\n", failure.error == err ? failure.text : weir_strerror(err));
    weir_runtime_destroy(runtime);
    return err == 0 ? 0 : 1;
}
