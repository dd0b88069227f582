/* Admission: counts of connections and addresses against a naive model, and the arithmetic of accept_rate. */
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "harness/weir_test.h"

enum { NS_A_MS = 1000000, NS_A_SECOND = 1000000000 };

/* A heap that knows what is out, and that refuses when told to. */
typedef struct ledger {
    size_t bytes;
    bool refuses;
} ledger;

static void *ledger_alloc(size_t size, void *data)
{
    ledger *l = data;
    if (l->refuses) return NULL;
    l->bytes += size;
    return malloc(size);
}

static void ledger_free(void *block, size_t size, void *data)
{
    ((ledger *)data)->bytes -= size;
    free(block);
}

static wr_heap ledger_heap(ledger *l)
{
    return (wr_heap){ .hook = { .alloc = ledger_alloc, .free = ledger_free, .data = l } };
}

static wr_addr ipv4(uint32_t number)
{
    wr_addr addr = { .family = WR_FAMILY_IPV4, .port = (uint16_t)(1024 + number % 60000) };
    addr.ip[0] = 10;
    addr.ip[1] = (uint8_t)(number >> 16);
    addr.ip[2] = (uint8_t)(number >> 8);
    addr.ip[3] = (uint8_t)number;
    return addr;
}

/* The `host`th address of a /64. */
static wr_addr ipv6(uint32_t network, uint64_t host)
{
    wr_addr addr = { .family = WR_FAMILY_IPV6, .port = 4000 };
    addr.ip[0] = 0x20;
    addr.ip[1] = 0x01;
    memcpy(addr.ip + 4, &network, sizeof network);
    memcpy(addr.ip + 8, &host, sizeof host);
    return addr;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

Test(limits, without_limits_everybody_enters_and_nothing_is_held)
{
    ledger l = { 0 };
    wr_heap heap = ledger_heap(&l);
    wr_limits limits;
    wr_limits_init(&limits, &heap);
    for (uint32_t i = 0; i < 1000; i++) {
        wr_addr peer = ipv4(i % 3);
        cr_assert_eq(wr_limits_enter(&limits, &peer), WR_ADMITTED);
        cr_assert_eq(wr_limits_pace(&limits, 5), 0);
    }
    cr_assert_eq(l.bytes, 0);
    for (uint32_t i = 0; i < 1000; i++) {
        wr_addr peer = ipv4(i % 3);
        wr_limits_leave(&limits, &peer);
    }
    wr_limits_destroy(&limits);
}

Test(limits, max_connections_counts_those_inside)
{
    ledger l = { 0 };
    wr_heap heap = ledger_heap(&l);
    wr_limits limits;
    wr_limits_init(&limits, &heap);
    limits.max_connections = 3;
    wr_addr peer = ipv4(1);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 3; i++) cr_assert_eq(wr_limits_enter(&limits, &peer), WR_ADMITTED);
        for (int i = 0; i < 10; i++) cr_assert_eq(wr_limits_enter(&limits, &peer), WR_OVER_CONNECTIONS);
        wr_limits_leave(&limits, &peer);
        cr_assert_eq(wr_limits_enter(&limits, &peer), WR_ADMITTED, "one has left");
        cr_assert_eq(wr_limits_enter(&limits, &peer), WR_OVER_CONNECTIONS);
        for (int i = 0; i < 3; i++) wr_limits_leave(&limits, &peer);
    }
    wr_limits_destroy(&limits);
}

Test(limits, one_refused_for_its_address_takes_no_place)
{
    ledger l = { 0 };
    wr_heap heap = ledger_heap(&l);
    wr_limits limits;
    wr_limits_init(&limits, &heap);
    limits.max_connections = 2;
    limits.max_per_address = 1;
    wr_addr first = ipv4(1), second = ipv4(2), third = ipv4(3);
    cr_assert_eq(wr_limits_enter(&limits, &first), WR_ADMITTED);
    for (int i = 0; i < 5; i++) cr_assert_eq(wr_limits_enter(&limits, &first), WR_OVER_ADDRESS);
    cr_assert_eq(wr_limits_enter(&limits, &second), WR_ADMITTED);
    cr_assert_eq(wr_limits_enter(&limits, &third), WR_OVER_CONNECTIONS);
    wr_limits_leave(&limits, &first);
    cr_assert_eq(wr_limits_enter(&limits, &third), WR_ADMITTED, "a full house left no trace of the third");
    wr_limits_leave(&limits, &second);
    wr_limits_leave(&limits, &third);
    wr_limits_destroy(&limits);
    cr_assert_eq(l.bytes, 0);
}

Test(limits, an_ipv6_customer_counts_by_his_64_bits)
{
    ledger l = { 0 };
    wr_heap heap = ledger_heap(&l);
    wr_limits limits;
    wr_limits_init(&limits, &heap);
    limits.max_per_address = 4;
    for (uint64_t host = 0; host < 4; host++) {
        wr_addr peer = ipv6(7, host << 32 | host);
        cr_assert_eq(wr_limits_enter(&limits, &peer), WR_ADMITTED);
    }
    wr_addr wanderer = ipv6(7, UINT64_MAX), neighbour = ipv6(8, 0);
    cr_assert_eq(wr_limits_enter(&limits, &wanderer), WR_OVER_ADDRESS);
    cr_assert_eq(wr_limits_enter(&limits, &neighbour), WR_ADMITTED);
    wr_limits_leave(&limits, &wanderer); /* any address of the network */
    cr_assert_eq(wr_limits_enter(&limits, &wanderer), WR_ADMITTED);
    wr_limits_destroy(&limits);
}

Test(limits, ports_and_families_are_told_apart_as_they_should)
{
    ledger l = { 0 };
    wr_heap heap = ledger_heap(&l);
    wr_limits limits;
    wr_limits_init(&limits, &heap);
    limits.max_per_address = 1;
    wr_addr four = { .family = WR_FAMILY_IPV4, .ip = { 1, 2, 3, 4 }, .port = 1 };
    wr_addr other_port = four;
    other_port.port = 2;
    wr_addr six = { .family = WR_FAMILY_IPV6, .ip = { 1, 2, 3, 4 } }; /* the same eight bytes */
    wr_addr local = { .family = WR_FAMILY_UNIX };
    cr_assert_eq(wr_limits_enter(&limits, &four), WR_ADMITTED);
    cr_assert_eq(wr_limits_enter(&limits, &other_port), WR_OVER_ADDRESS, "one host, whatever its port");
    cr_assert_eq(wr_limits_enter(&limits, &six), WR_ADMITTED, "another family is another host");
    for (int i = 0; i < 3; i++) cr_assert_eq(wr_limits_enter(&limits, &local), WR_ADMITTED, "no address to count by");
    for (int i = 0; i < 3; i++) wr_limits_leave(&limits, &local);
    wr_limits_destroy(&limits);
}

enum { PEERS = 600, MODEL_MAX = 3 };

/* Half of the peers are IPv4, half are IPv6 networks; several share a home in a small table. */
static wr_addr model_peer(uint32_t number, uint64_t random)
{
    return number % 2 ? ipv4(number * 4099) : ipv6(number, random);
}

Test(limits, agree_with_a_naive_model_while_the_table_grows_and_empties)
{
    static uint32_t counts[PEERS];
    ledger l = { 0 };
    wr_heap heap = ledger_heap(&l);
    wr_limits limits;
    wr_limits_init(&limits, &heap);
    limits.max_per_address = MODEL_MAX;
    uint64_t seed = 42;
    uint32_t present = 0;
    for (int step = 0; step < 400000; step++) {
        /* Waves: the few peers of a small table, then all of them, and back, so that entries are removed from crowded
         * runs and from thin ones. */
        uint32_t peers = step / 20000 % 2 ? PEERS : 40;
        uint32_t number = (uint32_t)(random_next(&seed) % peers);
        wr_addr peer = model_peer(number, random_next(&seed));
        bool enters = random_next(&seed) % 100 < (step / 50000 % 2 ? 70U : 35U);
        if (enters) {
            enum wr_admission expected = counts[number] == MODEL_MAX ? WR_OVER_ADDRESS : WR_ADMITTED;
            cr_assert_eq(wr_limits_enter(&limits, &peer), expected, "step %d, peer %u", step, number);
            if (expected == WR_ADMITTED) present += counts[number]++ == 0;
        } else if (counts[number] > 0) {
            wr_limits_leave(&limits, &peer);
            present -= --counts[number] == 0;
        }
        cr_assert_eq(limits.address_count, present, "step %d", step);
    }
    for (uint32_t number = 0; number < PEERS; number++) {
        wr_addr peer = model_peer(number, 1);
        while (counts[number] > 0) {
            wr_limits_leave(&limits, &peer);
            counts[number]--;
        }
    }
    cr_assert_eq(limits.address_count, 0);
    for (uint32_t i = 0; i < limits.address_room; i++) {
        wr_addr peer = ipv4(i);
        cr_assert_eq(wr_limits_enter(&limits, &peer), WR_ADMITTED, "an empty table is as good as new");
        wr_limits_leave(&limits, &peer);
    }
    wr_limits_destroy(&limits);
    cr_assert_eq(l.bytes, 0);
}

Test(limits, without_memory_a_new_address_is_refused_and_the_counted_ones_stay_right)
{
    ledger l = { .refuses = true };
    wr_heap heap = ledger_heap(&l);
    wr_limits limits;
    wr_limits_init(&limits, &heap);
    limits.max_connections = 1000;
    limits.max_per_address = 2;
    wr_addr peer = ipv4(0);
    cr_assert_eq(wr_limits_enter(&limits, &peer), WR_NO_MEMORY);
    cr_assert_eq(limits.connections, 0, "one refused takes no place");
    l.refuses = false;
    cr_assert_eq(wr_limits_enter(&limits, &peer), WR_ADMITTED);
    l.refuses = true;
    uint32_t entered = 1;
    for (;; entered++) {
        peer = ipv4(entered);
        enum wr_admission result = wr_limits_enter(&limits, &peer);
        if (result == WR_NO_MEMORY) break;
        cr_assert_eq(result, WR_ADMITTED);
    }
    cr_assert_geq(entered, limits.address_room / 2, "the table that is there is used");
    cr_assert_eq(limits.connections, entered);
    l.refuses = false;
    for (uint32_t i = 0; i < entered; i++) {
        peer = ipv4(i);
        cr_assert_eq(wr_limits_enter(&limits, &peer), WR_ADMITTED, "peer %u", i);
        cr_assert_eq(wr_limits_enter(&limits, &peer), WR_OVER_ADDRESS, "peer %u", i);
        wr_limits_leave(&limits, &peer);
        wr_limits_leave(&limits, &peer);
    }
    cr_assert_eq(limits.address_count, 0);
    wr_limits_destroy(&limits);
    cr_assert_eq(l.bytes, 0);
}

/* ---- accept_rate ---- */

/* Accepts whenever the pace allows, through `ns` of a clock that stands still otherwise. Returns how many. */
static uint32_t accept_for(wr_limits *limits, uint64_t *now_ns, uint64_t ns)
{
    uint64_t end_ns = *now_ns + ns;
    uint32_t count = 0;
    while (*now_ns < end_ns) {
        count++;
        *now_ns += wr_limits_pace(limits, *now_ns);
        cr_assert_leq(count, 100000000, "never pauses");
    }
    return count;
}

Test(limits, accept_rate_holds_in_the_long_run)
{
    const uint32_t rates[] = { 1, 2, 7, 10, 11, 100, 999, 20000, 1000000 };
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        ledger l = { 0 };
        wr_heap heap = ledger_heap(&l);
        wr_limits limits;
        wr_limits_init(&limits, &heap);
        limits.accept_rate = rates[i];
        uint64_t now_ns = 777 * (uint64_t)NS_A_SECOND;
        uint32_t seconds = rates[i] > 10000 ? 3 : 100;
        uint32_t count = accept_for(&limits, &now_ns, seconds * (uint64_t)NS_A_SECOND);
        uint32_t burst = rates[i] < 10 ? 1 : rates[i] / 10;
        cr_expect_geq(count, rates[i] * seconds, "%u a second", rates[i]);
        /* One more for intervals that are cut to whole nanoseconds. */
        cr_expect_leq(count, rates[i] * seconds + burst + 1, "%u a second: %u in %u s", rates[i], count, seconds);
        wr_limits_destroy(&limits);
    }
}

Test(limits, accept_rate_bursts_by_a_tenth_and_no_more_however_long_it_was_quiet)
{
    const uint32_t rates[] = { 1, 5, 10, 20, 100, 5000 };
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        ledger l = { 0 };
        wr_heap heap = ledger_heap(&l);
        wr_limits limits;
        wr_limits_init(&limits, &heap);
        limits.accept_rate = rates[i];
        uint32_t burst = rates[i] < 10 ? 1 : rates[i] / 10;
        uint64_t now_ns = NS_A_SECOND;
        for (int round = 0; round < 3; round++) {
            for (uint32_t n = 1; n < burst; n++)
                cr_assert_eq(wr_limits_pace(&limits, now_ns), 0, "%u a second: %u in a burst", rates[i], n);
            uint64_t pause = wr_limits_pace(&limits, now_ns);
            cr_assert_gt(pause, 0, "%u a second: more than %u in a burst", rates[i], burst);
            cr_assert_leq(pause, NS_A_SECOND / rates[i]);
            now_ns += 3600 * (uint64_t)NS_A_SECOND;
        }
        wr_limits_destroy(&limits);
    }
}

Test(limits, accept_rate_of_more_than_a_clock_can_tell_is_none)
{
    ledger l = { 0 };
    wr_heap heap = ledger_heap(&l);
    wr_limits limits;
    wr_limits_init(&limits, &heap);
    limits.accept_rate = UINT32_MAX;
    for (int i = 0; i < 1000; i++) cr_assert_eq(wr_limits_pace(&limits, NS_A_MS), 0);
    wr_limits_destroy(&limits);
}

Test(limits, those_accepted_beyond_the_pace_are_paid_back)
{
    ledger l = { 0 };
    wr_heap heap = ledger_heap(&l);
    wr_limits limits;
    wr_limits_init(&limits, &heap);
    limits.accept_rate = 100;
    uint64_t pause = 0;
    for (int i = 0; i < 200; i++) pause = wr_limits_pace(&limits, NS_A_SECOND); /* workers that had them already */
    cr_assert_geq(pause, 1900 * (uint64_t)NS_A_MS);
    cr_assert_leq(pause, 2000 * (uint64_t)NS_A_MS);
    wr_limits_destroy(&limits);
}
