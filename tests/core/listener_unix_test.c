/* Listening on a path: the file that stands for it, and whose it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/host.h"
#include "core/world.h"

static weir_address seen_peer;

static void look(weir_conn *conn)
{
    seen_peer = weir_conn_peer(conn);
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

/* A connection works if what it says comes back. */
static void check_echo(raw_peer peer)
{
    char heard[5];
    raw_send(peer, "hello", 5);
    raw_receive(peer, heard, 5);
    cr_assert_arr_eq(heard, "hello", 5);
}

static weir_runtime *make_runtime(unsigned workers)
{
    weir_runtime *runtime;
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = workers, .max_connections = 256 }),
                 0);
    return runtime;
}

static char path[HOST_PATH_MAX], unix_address[HOST_PATH_MAX + 8];

static void make_path(void)
{
    host_path(path);
    (void)snprintf(unix_address, sizeof unix_address, "unix:%s", path);
}

Test(listener_unix, on_a_path_serves_and_removes_its_file_at_the_close)
{
    make_path();
    world w = { .protocol = { .on_open = look, .on_message = echo }, .address = unix_address };
    world_start(&w);
    cr_assert_str_eq(weir_listener_address(w.listener).text, unix_address);
    cr_assert_eq(weir_listener_address(w.listener).family, WEIR_FAMILY_UNIX);
    raw_peer peer = raw_connect_unix(path);
    check_echo(peer);
    cr_assert_eq(seen_peer.family, WEIR_FAMILY_UNIX);
    cr_assert_str_eq(seen_peer.text, "unix:");
    cr_assert(host_exists(path));
    weir_listener_close(w.listener);
    WORLD_AWAIT(&w, !host_exists(path));
    check_echo(peer);
    raw_close(peer);
    world_stop(&w);
}

Test(listener_unix, on_a_path_removes_its_file_when_the_runtime_ends_started_or_not)
{
    for (int started = 0; started < 2; started++) {
        make_path();
        weir_runtime *runtime = make_runtime(2);
        cr_assert_eq(weir_listen(runtime, unix_address, &(weir_protocol){ 0 }, NULL, NULL), 0);
        cr_assert(host_exists(path));
        if (started) cr_assert_eq(weir_runtime_start(runtime), 0);
        weir_runtime_destroy(runtime);
        cr_assert_not(host_exists(path), "started: %d", started);
    }
}

Test(listener_unix, on_a_path_replaces_what_a_killed_listener_left)
{
    make_path();
    host_leave_dead_socket(path);
    world w = { .protocol = { .on_message = echo }, .address = unix_address };
    world_start(&w);
    raw_peer peer = raw_connect_unix(path);
    check_echo(peer);
    raw_close(peer);
    world_stop(&w);
}

Test(listener_unix, on_a_path_does_not_take_it_from_a_live_listener)
{
    make_path();
    world w = { .protocol = { .on_message = echo }, .address = unix_address };
    world_start(&w);
    weir_failure failure;
    int error = weir_listen(w.runtime, unix_address, &w.protocol, &(weir_listen_options){ .failure = &failure }, NULL);
    cr_assert_eq(error, WEIR_EADDRINUSE);
    cr_assert_eq(failure.step, WEIR_STEP_BIND);
    cr_assert_eq(failure.system_error, EADDRINUSE);
    raw_peer peer = raw_connect_unix(path);
    check_echo(peer);
    raw_close(peer);
    world_stop(&w);
}

Test(listener_unix, in_a_missing_folder_says_where_it_failed)
{
    static char missing[HOST_PATH_MAX + 16];
    make_path();
    (void)snprintf(missing, sizeof missing, "%s/x", unix_address);
    weir_failure failure;
    weir_runtime *runtime = make_runtime(1);
    const weir_listen_options options = { .failure = &failure };
    cr_assert_eq(weir_listen(runtime, missing, &(weir_protocol){ 0 }, &options, NULL), WEIR_ENOENT);
    cr_assert_eq(failure.step, WEIR_STEP_BIND);
    cr_assert_eq(failure.system_error, ENOENT);
    weir_runtime_destroy(runtime);
}

Test(listener_unix, on_a_path_leaves_a_file_that_is_no_socket)
{
    make_path();
    host_make_file(path);
    weir_failure failure;
    weir_runtime *runtime = make_runtime(1);
    const weir_listen_options options = { .failure = &failure };
    cr_assert_eq(weir_listen(runtime, unix_address, &(weir_protocol){ 0 }, &options, NULL), WEIR_EADDRINUSE);
    cr_assert_eq(failure.step, WEIR_STEP_BIND);
    cr_assert(host_exists(path));
    host_remove(path);
    cr_assert_eq(weir_listen(runtime, unix_address, &(weir_protocol){ 0 }, &options, NULL), 0);
    host_remove(path);
    host_make_file(path); /* put there by somebody else meanwhile */
    weir_runtime_destroy(runtime);
    cr_assert(host_exists(path));
    host_remove(path);
}

static void stop(weir_runtime *runtime, void *data)
{
    (void)data;
    weir_runtime_stop(runtime);
}

Test(listener_unix, leaves_no_file_when_the_runtime_stops_while_it_begins)
{
    int begun = 0;
    for (int i = 0; i < 300; i++) {
        make_path();
        weir_runtime *runtime = make_runtime(1);
        cr_assert_eq(weir_runtime_start(runtime), 0);
        cr_assert_eq(weir_post(runtime, 0, stop, NULL), 0); /* before the listener comes to the worker, or after */
        int error = weir_listen(runtime, unix_address, &(weir_protocol){ 0 }, NULL, NULL);
        cr_assert(error == 0 || error == WEIR_ESTOPPED);
        begun += error == 0;
        weir_runtime_destroy(runtime);
        cr_assert_not(host_exists(path), "in round %d, %s", i, weir_error_name(error));
    }
    cr_assert_gt(begun, 0);
}
