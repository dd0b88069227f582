/* What platform/os.h promises on every system; os_posix_test.c has what only POSIX can show. */
#include <stdlib.h>
#include <string.h>

#include "harness/weir_test.h"
#include "platform/cq.h"
#include "platform/memory.h"
#include "platform/os.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Locks and threads. */

enum { COUNTING_THREADS = 4, COUNTS_EACH = 20000 };

struct counter {
    wr_mutex lock;
    int count; /* guarded by lock */
};

static void count_up(void *arg)
{
    struct counter *counter = arg;
    for (int i = 0; i < COUNTS_EACH; i++) {
        wr_mutex_lock(&counter->lock);
        counter->count++;
        wr_mutex_unlock(&counter->lock);
    }
}

Test(mutex, lets_one_thread_at_a_time_through)
{
    struct counter counter = { .count = 0 };
    wr_thread threads[COUNTING_THREADS];
    wr_mutex_init(&counter.lock);
    for (int i = 0; i < COUNTING_THREADS; i++)
        cr_assert_eq(wr_thread_start(&threads[i], "counter", count_up, &counter), 0);
    for (int i = 0; i < COUNTING_THREADS; i++) wr_thread_join(&threads[i]);
    wr_mutex_destroy(&counter.lock);
    cr_assert_eq(counter.count, COUNTING_THREADS * COUNTS_EACH);
}

/* Players, each of whom waits for its turn: a wake-up that is lost ends in the time limit. */
enum { PLAYERS = 4, TURNS_EACH = 2000 };

struct game {
    wr_mutex lock;
    wr_cond changed;
    int turn, played; /* guarded by lock */
};

struct player {
    wr_thread thread;
    struct game *game;
    int number;
};

static void play(void *arg)
{
    const struct player *player = arg;
    struct game *game = player->game;
    for (int i = 0; i < TURNS_EACH; i++) {
        wr_mutex_lock(&game->lock);
        while (game->turn != player->number) wr_cond_wait(&game->changed, &game->lock);
        game->turn = (game->turn + 1) % PLAYERS;
        game->played++;
        wr_cond_wake(&game->changed);
        wr_mutex_unlock(&game->lock);
    }
}

Test(cond, a_wait_with_a_limit_ends_in_time_with_the_lock_held)
{
    wr_mutex lock;
    wr_cond cond;
    wr_mutex_init(&lock);
    wr_cond_init(&cond);
    wr_mutex_lock(&lock);
    uint64_t begin_ns = wr_os_now_ns(), now_ns = begin_ns;
    while (now_ns - begin_ns < 20 * 1000000) { /* it may also return for nothing */
        wr_cond_wait_ms(&cond, &lock, 20);
        now_ns = wr_os_now_ns();
        cr_assert_lt(now_ns - begin_ns, UINT64_C(10000000000), "no limit");
    }
    wr_mutex_unlock(&lock);
    wr_cond_destroy(&cond);
    wr_mutex_destroy(&lock);
}

Test(cond, wakes_all_who_wait_and_gives_each_the_lock)
{
    struct game game = { .turn = 0 };
    struct player players[PLAYERS];
    wr_mutex_init(&game.lock);
    wr_cond_init(&game.changed);
    for (int i = 0; i < PLAYERS; i++) {
        players[i] = (struct player){ .game = &game, .number = i };
        cr_assert_eq(wr_thread_start(&players[i].thread, "player", play, &players[i]), 0);
    }
    for (int i = 0; i < PLAYERS; i++) wr_thread_join(&players[i].thread);
    cr_assert_eq(game.played, PLAYERS * TURNS_EACH);
    wr_cond_destroy(&game.changed);
    wr_mutex_destroy(&game.lock);
}

static void write_late(void *arg)
{
    int *value = arg;
    wr_os_sleep_ms(30);
    *value = 42;
}

Test(thread, join_waits_for_the_end_and_sees_what_the_thread_wrote)
{
    int value = 0;
    wr_thread thread;
    cr_assert_eq(wr_thread_start(&thread, "writer", write_late, &value), 0);
    wr_thread_join(&thread);
    cr_assert_eq(value, 42);
}

/* The clock. */

Test(clock, never_goes_back_and_is_never_0)
{
    uint64_t before = wr_os_now_ns();
    cr_assert_neq(before, 0);
    for (int i = 0; i < 100000; i++) {
        uint64_t now = wr_os_now_ns();
        cr_assert_geq(now, before);
        before = now;
    }
}

Test(clock, a_sleep_is_never_short)
{
    const uint32_t lengths_ms[] = { 0, 1, 7, 40 };
    for (size_t i = 0; i < COUNT(lengths_ms); i++) {
        uint64_t before = wr_os_now_ns();
        wr_os_sleep_ms(lengths_ms[i]);
        cr_assert_geq(wr_os_now_ns() - before, (uint64_t)lengths_ms[i] * 1000000);
    }
}

Test(clock, a_sleep_may_pass_a_second)
{
    enum { SLEEP_MS = 1999 }; /* whose fraction carries into the seconds, whenever it begins */
    uint64_t before = wr_os_now_ns();
    wr_os_sleep_ms(SLEEP_MS);
    uint64_t slept_ms = (wr_os_now_ns() - before) / 1000000;
    cr_assert_geq(slept_ms, SLEEP_MS);
    cr_assert_lt(slept_ms, (uint64_t)10 * SLEEP_MS, "slept for %llu ms", (unsigned long long)slept_ms);
}

Test(cores, there_is_at_least_one)
{
    cr_assert_geq(wr_os_cores(), 1);
}

/* Addresses. */

static bool parse(const char *text, wr_addr *addr)
{
    return wr_os_ip_parse(text, strlen(text), addr);
}

Test(ip, ipv4_is_read_into_the_first_four_bytes)
{
    const struct {
        const char *text;
        uint8_t ip[16];
    } good[] = {
        { "0.0.0.0", { 0 } },
        { "127.0.0.1", { 127, 0, 0, 1 } },
        { "255.255.255.255", { 255, 255, 255, 255 } },
        { "::ffff:1.2.3.4", { 1, 2, 3, 4 } },
        { "::FFFF:0a0b:0c0d", { 10, 11, 12, 13 } },
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        wr_addr addr = { .scope = 9, .port = 7 };
        cr_assert(parse(good[i].text, &addr), "%s", good[i].text);
        cr_assert_eq(addr.family, WR_FAMILY_IPV4, "%s", good[i].text);
        cr_assert_eq(addr.scope, 0);
        cr_assert_eq(addr.port, 7, "the port is not this function's");
        cr_assert_arr_eq(addr.ip, good[i].ip, sizeof addr.ip, "%s", good[i].text);
    }
}

Test(ip, ipv6_is_read_with_its_scope)
{
    const struct {
        const char *text;
        uint8_t ip[16];
        uint32_t scope;
    } good[] = {
        { "::", { 0 }, 0 },
        { "::1", { [15] = 1 }, 0 },
        { "2001:db8::ff", { 0x20, 0x01, 0x0d, 0xb8, [15] = 0xff }, 0 },
        { "1:2:3:4:5:6:7:8", { 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8 }, 0 },
        { "::1.2.3.4", { [12] = 1, 2, 3, 4 }, 0 },
        { "fe80::1%4000000000", { 0xfe, 0x80, [15] = 1 }, 4000000000 },
        { "fe80::1%4294967295", { 0xfe, 0x80, [15] = 1 }, UINT32_MAX },
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        wr_addr addr = { .scope = 9 };
        cr_assert(parse(good[i].text, &addr), "%s", good[i].text);
        cr_assert_eq(addr.family, WR_FAMILY_IPV6, "%s", good[i].text);
        cr_assert_eq(addr.scope, good[i].scope, "%s", good[i].text);
        cr_assert_arr_eq(addr.ip, good[i].ip, sizeof addr.ip, "%s", good[i].text);
    }
}

Test(ip, what_is_no_address_is_refused_and_changes_nothing)
{
    const char *const bad[] = {
        "",
        " ",
        "localhost",
        "1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.4.",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.010",
        "0x7f.0.0.1",
        "2130706433",
        "+1.2.3.4",
        " 1.2.3.4",
        "1.2.3.4 ",
        "1.2.3.-4",
        ":",
        ":::",
        "1::2::3",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "::g",
        "[::1]",
        "::1 ",
        "fe80::1%",
        "fe80::1%0",
        "fe80::1%no-such-if",
        "fe80::1%4294967296",
        "fe80::1%99999999999999999999999999",
        "fe80::1%-1",
        "fe80::1%1%1",
        "1.2.3.4%1",
        "::ffff:1.2.3.4%1",
        "0000:0000:0000:0000:0000:0000:0000:0000%an-interface-with-much-too-long-a-name",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        wr_addr addr = { .scope = 9, .port = 7, .family = WR_FAMILY_UNIX };
        cr_assert_not(parse(bad[i], &addr), "\"%s\"", bad[i]);
        cr_assert(addr.scope == 9 && addr.port == 7 && addr.family == WR_FAMILY_UNIX && addr.ip[0] == 0, "\"%s\"",
                  bad[i]);
    }
}

Test(ip, only_the_given_length_is_read)
{
    wr_addr addr = { 0 };
    cr_assert(wr_os_ip_parse("10.0.0.255:80", strlen("10.0.0.255"), &addr));
    cr_assert_eq(addr.ip[3], 255);
    cr_assert(wr_os_ip_parse("10.0.0.255:80", strlen("10.0.0.2"), &addr));
    cr_assert_eq(addr.ip[3], 2);

    char exact[7]; /* not ended by a 0: a read beyond is AddressSanitizer's to see */
    memcpy(exact, "1.2.3.4", sizeof exact);
    cr_assert(wr_os_ip_parse(exact, sizeof exact, &addr));
    cr_assert_eq(addr.ip[3], 4);
}

Test(ip, a_0_byte_inside_is_refused)
{
    wr_addr addr = { 0 };
    cr_assert_not(wr_os_ip_parse("1.2.3.4\0", 8, &addr));
    cr_assert_not(wr_os_ip_parse("::1\0junk", 8, &addr));
}

Test(ip, what_is_formatted_reads_back_the_same)
{
    const char *const texts[] = { "0.0.0.0",
                                  "192.168.10.254",
                                  "::",
                                  "::1",
                                  "2001:db8::ff00:42:8329",
                                  "fe80::1%4000000000",
                                  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        wr_addr addr = { 0 }, again = { 0 };
        char text[WR_IP_TEXT_MAX];
        cr_assert(parse(texts[i], &addr));
        wr_os_ip_format(&addr, text);
        cr_assert_str_eq(text, texts[i]);
        cr_assert(parse(text, &again));
        cr_assert_arr_eq(&addr, &again, sizeof addr);
    }
}

Test(ip, no_address_is_an_empty_text)
{
    char text[WR_IP_TEXT_MAX] = "before";
    wr_os_ip_format(&(wr_addr){ .family = WR_FAMILY_NONE }, text);
    cr_assert_str_eq(text, "");
}

/* Words for errors. */

Test(error_text, is_never_empty_and_differs_by_code)
{
    char first[128] = "", second[128] = "", unknown[128] = "";
    wr_os_error_text(2, first, sizeof first);
    wr_os_error_text(5, second, sizeof second);
    wr_os_error_text(123456, unknown, sizeof unknown);
    cr_assert_neq(first[0], 0);
    cr_assert_neq(second[0], 0);
    cr_assert_neq(unknown[0], 0);
    cr_assert_str_neq(first, second);
}

Test(error_text, stays_within_its_capacity)
{
    char whole[128];
    wr_os_error_text(2, whole, sizeof whole);
    for (size_t capacity = 0; capacity <= strlen(whole); capacity++) {
        char text[128];
        memset(text, '#', sizeof text);
        wr_os_error_text(2, text, capacity);
        cr_assert_eq(text[capacity], '#');
        if (capacity > 0) cr_assert_not_null(memchr(text, 0, capacity), "no 0 within %zu bytes", capacity);
    }
}

/* Memory. */

Test(memory, malloc_memory_counts_what_is_held)
{
    wr_memory memory = wr_malloc_memory();
    uint8_t *first = wr_alloc(&memory, 1000), *second = wr_alloc(&memory, 24);
    cr_assert(first && second);
    memset(first, 1, 1000);
    memset(second, 2, 24);
    cr_assert_eq(memory.used, 1024);
    wr_free(&memory, first, 1000);
    cr_assert_eq(memory.used, 24);
    wr_free(&memory, NULL, 77);
    wr_free(&memory, second, 24);
    cr_assert_eq(memory.used, 0);
}

static void *refuse(wr_memory *memory, size_t size)
{
    (void)memory;
    (void)size;
    return NULL;
}

Test(memory, a_failed_allocation_counts_nothing)
{
    wr_memory memory = { .alloc = refuse };
    cr_assert_null(wr_alloc(&memory, 1000));
    cr_assert_eq(memory.used, 0);
    wr_free(&memory, NULL, 1000);
    cr_assert_eq(memory.used, 0);
}

/* ---- names ---- */

/* The system's network must have been started, as the first queue does. */
static wr_memory resolve_memory;
static wr_cq *resolve_queue;

static void start_network(void)
{
    resolve_memory = wr_malloc_memory();
    cr_assert_eq(wr_cq_create(wr_cq_backends[0], &resolve_queue, &(wr_cq_options){ .memory = &resolve_memory }), 0);
}

static void end_network(void)
{
    wr_cq_destroy(resolve_queue);
}

Test(resolve, gives_the_addresses_of_this_host_in_their_family, .init = start_network, .fini = end_network)
{
    wr_addr addresses[8];
    int system_error = 1;
    int count = wr_os_resolve("localhost", WR_FAMILY_IPV4, addresses, COUNT(addresses), &system_error);
    cr_assert_geq(count, 1, "%s", weir_error_name(count));
    cr_assert_eq(system_error, 0);
    for (int i = 0; i < count; i++) {
        cr_assert_eq(addresses[i].family, WR_FAMILY_IPV4);
        cr_assert_eq(addresses[i].ip[0], 127);
        cr_assert_eq(addresses[i].port, 0);
    }
    cr_assert_geq(wr_os_resolve("localhost", WR_FAMILY_NONE, addresses, 1, &system_error), 1);
}

Test(resolve, takes_numbers_for_names_but_not_of_the_other_family, .init = start_network, .fini = end_network)
{
    wr_addr address;
    int system_error;
    cr_assert_eq(wr_os_resolve("::1", WR_FAMILY_NONE, &address, 1, &system_error), 1);
    cr_assert_eq(address.family, WR_FAMILY_IPV6);
    cr_assert_eq(address.ip[15], 1);
    /* Which of its errors is a matter of taste between systems; Wine passes on the code of the C library below it. */
    cr_assert_lt(wr_os_resolve("127.0.0.1", WR_FAMILY_IPV6, &address, 1, &system_error), 0);
    cr_assert_neq(system_error, 0);
    char text[80];
    wr_os_error_text(system_error, text, sizeof text);
    cr_assert_neq(text[0], 0);
}

/* No name server is asked for names under "invalid", or each says that it knows none (RFC 6761). */
Test(resolve, says_that_nobody_has_the_name, .init = start_network, .fini = end_network)
{
    wr_addr address;
    int system_error;
    int error = wr_os_resolve("nobody.invalid", WR_FAMILY_NONE, &address, 1, &system_error);
    cr_assert(error == WEIR_EAI_NONAME || error == WEIR_EAI_AGAIN, "%s", weir_error_name(error));
    cr_assert_neq(system_error, 0);
}

Test(random, gives_other_numbers_each_time)
{
    uint64_t all_or = 0, all_and = UINT64_MAX, numbers[64];
    for (size_t i = 0; i < COUNT(numbers); i++) {
        numbers[i] = wr_os_random();
        all_or |= numbers[i];
        all_and &= numbers[i];
        for (size_t j = 0; j < i; j++) cr_assert_neq(numbers[i], numbers[j]);
    }
    cr_assert_eq(all_or, UINT64_MAX, "each bit is set in some");
    cr_assert_eq(all_and, 0, "and not in others");
}

static void tell(void *arg)
{
    atomic_store((_Atomic bool *)arg, true);
}

Test(thread, a_detached_one_runs_to_its_end_by_itself)
{
    static wr_thread thread;
    static _Atomic bool told;
    cr_assert_eq(wr_thread_start(&thread, "detached", tell, (void *)&told), 0);
    wr_thread_detach(&thread);
    for (int i = 0; i < 10000 && !told; i++) wr_os_sleep_ms(1);
    cr_assert(told);
}
