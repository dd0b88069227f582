/* Asio without Boost, as its documentation teaches it to those who want speed: an io_context a thread that is told not
 * to lock (ASIO_CONCURRENCY_HINT_UNSAFE), sockets bound to its executor's own type and not to any_io_executor, handlers
 * so small that the memory of the last one does for the next, and a plain write at once, with async_write for what the
 * system does not take. A read has a buffer of its connection's own, since Asio fills it before the handler
 * runs: a small one, which grows when it is filled. */
#include <asio.hpp>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <memory>
#include <netinet/in.h>
#include <utility>
#include <vector>

#include "address.h"
#include "peer.h"
#include "thread.h"

namespace
{

using asio::error_code;
using asio::ip::tcp;
using executor = asio::io_context::executor_type;
using stream = asio::basic_stream_socket<tcp, executor>;
using acceptor = asio::basic_socket_acceptor<tcp, executor>;
using reuse_port = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
using bind_without_port = asio::detail::socket_option::boolean<IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT>;

enum { BACKLOG = 4096 };
enum : size_t { BUFFER_LEAST = 1024, BUFFER_MOST = 65536 };

const char *version()
{
    static char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", ASIO_VERSION / 100000, ASIO_VERSION / 100 % 1000, ASIO_VERSION % 100);
    return text;
}

void check(const error_code &error, const char *what)
{
    if (error) fail("%s: %s", what, error.message().c_str());
}

/* Calls it, and fails if it throws: nothing may leave for weir-bench's C. */
template <typename Function> void guarded(Function function)
{
    try {
        function();
    } catch (const std::exception &thrown) {
        fail("%s", thrown.what());
    }
}

/* ---- servers ---- */

struct worker;

struct conn {
    explicit conn(worker &owner);

    worker &owner;
    stream socket;
    conn *next = nullptr; /* in the pool */
    size_t room = BUFFER_LEAST;
    std::unique_ptr<uint8_t[]> buffer{ new uint8_t[BUFFER_LEAST] };

    /* Of a member, in `broadcast`. */
    size_t place = 0;
    unsigned under_way = 0; /* handlers that are yet to run */
    bool left = false;
    std::vector<uint8_t> leaving, owed; /* what is being written, and what comes after it */
};

/* An io_context of its own, on a thread of its own. */
struct worker {
    asio::io_context context{ ASIO_CONCURRENCY_HINT_UNSAFE };
    acceptor listener{ context.get_executor() };
    conn *pool = nullptr;
    conn *accepting = nullptr;
    std::atomic<uint64_t> open{ 0 }; /* written by the worker alone */

    void count_open(uint64_t change)
    {
        open.store(open.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
    }

    conn *take()
    {
        conn *taken = pool;
        if (!taken) return new conn(*this);
        pool = taken->next;
        return taken;
    }
};

conn::conn(worker &owner_) : owner(owner_), socket(owner_.context.get_executor()) {}

std::vector<std::unique_ptr<worker>> *workers;

/* Nothing is under way on it any more. */
void close_conn(conn &conn)
{
    error_code ignored;
    conn.socket.close(ignored);
    conn.owner.count_open(-1ull);
    conn.next = conn.owner.pool;
    conn.owner.pool = &conn;
}

template <typename Opened> void accept_next(worker &worker, Opened opened)
{
    worker.accepting = worker.take();
    worker.listener.async_accept(worker.accepting->socket, [&worker, opened](const error_code &error) {
        conn *conn = worker.accepting;
        worker.count_open(1);
        if (!error) {
            opened(*conn);
        } else if (error == asio::error::connection_aborted) {
            close_conn(*conn);
        } else {
            check(error, "accept");
        }
        accept_next(worker, opened);
    });
}

uint16_t listen_with(worker &worker, uint16_t port, bool shared)
{
    acceptor &listener = worker.listener;
    listener.open(tcp::v4());
    if (shared) listener.set_option(reuse_port(true));
    listener.set_option(tcp::no_delay(true)); /* which connections inherit */
    listener.bind(tcp::endpoint(asio::ip::address_v4::loopback(), port));
    listener.listen(BACKLOG);
    return listener.local_endpoint().port();
}

void run_worker(void *worker_of_this)
{
    guarded([=] { static_cast<worker *>(worker_of_this)->context.run(); });
    fail("Asio's loop has ended");
}

template <typename Opened> void serve(const job *job, Opened opened)
{
    workers = new std::vector<std::unique_ptr<worker>>;
    uint16_t port = 0;
    guarded([=, &port] {
        for (unsigned i = 0; i < job->workers; i++) {
            workers->push_back(std::make_unique<worker>());
            port = listen_with(*workers->back(), port, job->workers > 1);
            accept_next(*workers->back(), opened);
        }
    });
    for (unsigned i = 1; i < job->workers; i++) thread_start(run_worker, (*workers)[i].get());
    serve_ready(port);
    run_worker((*workers)[0].get());
}

void serve_accept(const job *job)
{
    serve(job, [](conn &conn) { close_conn(conn); });
}

void echo_next(conn &conn);

/* All of `size` bytes has left. */
void echo_answered(conn &conn, size_t size)
{
    if (size == conn.room && conn.room < BUFFER_MOST) {
        conn.room *= 4;
        conn.buffer.reset(new uint8_t[conn.room]);
    }
    echo_next(conn);
}

/* Sends at once what the system takes, and reads no more until the rest is gone too. */
void echo_answer(conn &conn, size_t size)
{
    error_code error;
    size_t took = conn.socket.write_some(asio::buffer(conn.buffer.get(), size), error);
    if (error && error != asio::error::would_block) {
        close_conn(conn);
    } else if (took == size) {
        echo_answered(conn, size);
    } else {
        asio::async_write(conn.socket, asio::buffer(conn.buffer.get() + took, size - took),
                          [&conn, size](const error_code &failure, size_t) {
                              if (failure) {
                                  close_conn(conn);
                              } else {
                                  echo_answered(conn, size);
                              }
                          });
    }
}

void echo_next(conn &conn)
{
    conn.socket.async_read_some(asio::buffer(conn.buffer.get(), conn.room),
                                [&conn](const error_code &error, size_t got) {
                                    if (error) {
                                        close_conn(conn);
                                    } else {
                                        echo_answer(conn, got);
                                    }
                                });
}

/* write_some shall not wait. */
void never_wait(conn &conn)
{
    error_code error;
    conn.socket.non_blocking(true, error);
    check(error, "a socket that does not block");
}

void serve_echo(const job *job)
{
    serve(job, [](conn &conn) {
        never_wait(conn);
        echo_next(conn);
    });
}

void shares(uint64_t *connections)
{
    for (const auto &worker : *workers) *connections++ = worker->open.load(std::memory_order_relaxed);
}

/* ---- the room of `broadcast` ---- */

struct {
    std::vector<conn *> members;
    std::vector<uint8_t> packet;
    uint64_t packets = 0;
} room;

/* The socket is closed at once, and the rest goes with the last handler. */
void leave(conn &member)
{
    if (member.left) return;
    member.left = true;
    room.members[member.place] = room.members.back();
    room.members[member.place]->place = member.place;
    room.members.pop_back();
    error_code ignored;
    member.socket.close(ignored);
}

void under_way_no_more(conn &member)
{
    if (--member.under_way > 0 || !member.left) return;
    member.left = false;
    member.leaving.clear();
    member.owed.clear();
    close_conn(member);
}

void write_on(conn &member)
{
    member.under_way++;
    asio::async_write(member.socket, asio::buffer(member.leaving), [&member](const error_code &error, size_t) {
        member.leaving.clear();
        std::swap(member.leaving, member.owed);
        if (error) leave(member);
        if (!member.left && !member.leaving.empty()) write_on(member);
        under_way_no_more(member);
    });
}

void room_send(conn &member, const uint8_t *bytes, size_t size)
{
    if (!member.leaving.empty()) {
        member.owed.insert(member.owed.end(), bytes, bytes + size);
        return;
    }
    error_code error;
    size_t took = member.socket.write_some(asio::buffer(bytes, size), error);
    if (error && error != asio::error::would_block) {
        leave(member);
    } else if (took < size) {
        member.leaving.assign(bytes + took, bytes + size);
        write_on(member);
    }
}

/* From the last one on: one that leaves meanwhile is replaced by one that has the packet. */
void tell_all()
{
    broadcast_fill(room.packet.data(), static_cast<unsigned>(room.packet.size()), ++room.packets);
    for (size_t i = room.members.size(); i-- > 0;) {
        room_send(*room.members[i], room.packet.data(), room.packet.size());
    }
}

void room_next(conn &member)
{
    member.under_way++;
    member.socket.async_read_some(asio::buffer(member.buffer.get(), member.room),
                                  [&member](const error_code &error, size_t commands) {
                                      for (size_t i = 0; i < commands; i++) tell_all();
                                      if (error) leave(member);
                                      if (!member.left) room_next(member);
                                      under_way_no_more(member);
                                  });
}

void serve_broadcast(const job *job)
{
    room.packet.resize(job->size);
    serve(job, [](conn &conn) {
        static const uint8_t joined = BROADCAST_JOINED;
        never_wait(conn);
        conn.place = room.members.size();
        room.members.push_back(&conn);
        room_next(conn);
        room_send(conn, &joined, 1);
    });
}

/* ---- client ---- */

struct lane;

struct attempt {
    explicit attempt(lane &lane);

    lane &owner;
    stream socket;
    uint64_t since_ns = 0;
};

/* An io_context and its share of the window. */
struct lane {
    asio::io_context context{ ASIO_CONCURRENCY_HINT_UNSAFE };
    asio::steady_timer silence{ context };
    std::vector<attempt> attempts;
    tcp::endpoint server;
    semaphore *done = nullptr;
    ::limit limit{};
    ::tally tally{};
    uint64_t finished_before = 0; /* when silence was looked for last */
};

attempt::attempt(lane &lane) : owner(lane), socket(lane.context.get_executor()) {}

struct client {
    std::vector<std::unique_ptr<lane>> lanes;
    semaphore *lane_done = semaphore_create();
};

void attempt_start(attempt &attempt)
{
    lane &lane = attempt.owner;
    uint64_t now_ns = clock_ns();
    if (!tally_may_start(&lane.tally, &lane.limit, now_ns)) return;
    attempt.since_ns = now_ns;
    tcp::endpoint source(asio::ip::address_v4(address_next_source()), 0);
    attempt.socket.open(tcp::v4());
    attempt.socket.set_option(bind_without_port(true));
    attempt.socket.bind(source);
    attempt.socket.async_connect(lane.server, [&attempt](error_code connected) {
        check(connected, "connect");
        tally_finish(&attempt.owner.tally, clock_ns() - attempt.since_ns);
        attempt.socket.set_option(asio::socket_base::linger(true, 0));
        attempt.socket.close();
        attempt_start(attempt);
        if (tally_in_flight(&attempt.owner.tally) == 0) attempt.owner.silence.cancel();
    });
}

void look_for_silence(lane &lane)
{
    lane.silence.expires_after(std::chrono::milliseconds(SILENCE_MS));
    lane.silence.async_wait([&lane](const error_code &error) {
        if (error) return; /* the burst has ended */
        if (lane.tally.finished == lane.finished_before) fail("no connect ended for %d s", SILENCE_MS / 1000);
        lane.finished_before = lane.tally.finished;
        look_for_silence(lane);
    });
}

void *client_open(const job *job)
{
    auto *opened = new client;
    address server = address_of(job->address);
    for (unsigned i = 0; i < job->workers; i++) {
        opened->lanes.push_back(std::make_unique<lane>());
        lane &lane = *opened->lanes.back();
        lane.server = tcp::endpoint(asio::ip::address_v4(server.ip), server.port);
        lane.done = opened->lane_done;
        unsigned window = job->window / job->workers + (i < job->window % job->workers);
        lane.attempts.reserve(window);
        for (unsigned j = 0; j < window; j++) lane.attempts.emplace_back(lane);
    }
    return opened;
}

/* The loop ends when no attempt is left. */
void lane_run(void *lane_of_this)
{
    lane &lane = *static_cast<struct lane *>(lane_of_this);
    lane.finished_before = UINT64_MAX;
    lane.context.restart();
    guarded([&lane] {
        for (attempt &each : lane.attempts) attempt_start(each);
        if (tally_in_flight(&lane.tally) > 0) look_for_silence(lane);
        lane.context.run();
    });
    semaphore_post(lane.done);
}

void client_burst(void *state, const limit *limit, tally *tally)
{
    client &client = *static_cast<struct client *>(state);
    uint64_t count = client.lanes.size();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t rest = i == 0 ? limit->operations % count : 0;
        client.lanes[i]->limit = { limit->until_ns, limit->operations / count + rest };
        client.lanes[i]->tally = {};
    }
    for (uint64_t i = 1; i < count; i++) thread_start(lane_run, client.lanes[i].get());
    lane_run(client.lanes[0].get());
    for (uint64_t i = 0; i < count; i++) semaphore_wait(client.lane_done);
    for (const auto &each : client.lanes) {
        tally->started += each->tally.started;
        tally->finished += each->tally.finished;
        histogram_merge(&tally->latency, &each->tally.latency);
    }
}

/* ---- timers ---- */

/* Memory for the handlers of one timer, as Asio's documentation shows: two, since one that was cancelled by arming
 * again keeps its own until the loop turns. */
class handler_memory
{
  public:
    void *take(size_t size)
    {
        for (slot &each : slots) {
            if (each.used || size > sizeof each.bytes) continue;
            each.used = true;
            return each.bytes;
        }
        return operator new(size);
    }

    void give_back(void *memory)
    {
        for (slot &each : slots) {
            if (memory != each.bytes) continue;
            each.used = false;
            return;
        }
        operator delete(memory);
    }

  private:
    struct slot {
        alignas(std::max_align_t) unsigned char bytes[112];
        bool used = false;
    };
    slot slots[2];
};

template <typename T> struct handler_allocator {
    using value_type = T;

    handler_memory *memory;

    explicit handler_allocator(handler_memory *from) : memory(from) {}

    template <typename Other> handler_allocator(const handler_allocator<Other> &other) : memory(other.memory) {}

    T *allocate(size_t count)
    {
        return static_cast<T *>(memory->take(count * sizeof(T)));
    }

    void deallocate(T *block, size_t)
    {
        memory->give_back(block);
    }

    template <typename Other> bool operator==(const handler_allocator<Other> &other) const
    {
        return memory == other.memory;
    }
};

using clock = std::chrono::steady_clock;
using timer = asio::basic_waitable_timer<clock, asio::wait_traits<clock>, executor>;

struct timed {
    explicit timed(asio::io_context &context) : each(context.get_executor()) {}

    timer each;
    handler_memory memory;
};

struct timers {
    asio::io_context context{ ASIO_CONCURRENCY_HINT_UNSAFE };
    std::deque<timed> all;
    uint64_t fired = 0;
};

struct on_timer {
    using allocator_type = handler_allocator<char>;

    uint64_t *fired;
    handler_memory *memory;

    allocator_type get_allocator() const noexcept
    {
        return allocator_type(memory);
    }

    void operator()(const error_code &cancelled) const
    {
        if (!cancelled) (*fired)++;
    }
};

void *timers_open(const job *job)
{
    auto *opened = new timers;
    for (unsigned i = 0; i < job->timers; i++) opened->all.emplace_back(opened->context);
    return opened;
}

void timers_arm(void *state, const uint32_t *delays_ms)
{
    timers &timers = *static_cast<struct timers *>(state);
    timers.fired = 0;
    guarded([&timers, delays_ms]() mutable {
        clock::time_point now = clock::now();
        for (timed &timed : timers.all) {
            timed.each.expires_at(now + std::chrono::milliseconds(*delays_ms++));
            timed.each.async_wait(on_timer{ &timers.fired, &timed.memory });
        }
    });
}

/* The loop ends when no timer is armed. */
uint64_t timers_run(void *state)
{
    timers &timers = *static_cast<struct timers *>(state);
    timers.context.restart();
    guarded([&timers] { timers.context.run(); });
    return timers.fired;
}

/* ---- messages between threads ---- */

/* With locks in the scheduler, which others call now, and none in the reactor. */
struct posts {
    asio::io_context context{ ASIO_CONCURRENCY_HINT_UNSAFE_IO };
    asio::executor_work_guard<executor> work{ context.get_executor() };
};

void post_run(void *posts_of_this)
{
    guarded([=] { static_cast<posts *>(posts_of_this)->context.run(); });
    fail("Asio's loop has ended");
}

void *post_open(const job *)
{
    auto *opened = new posts;
    thread_start(post_run, opened);
    return opened;
}

void post_one(void *state, unsigned producer)
{
    asio::post(static_cast<posts *>(state)->context, [producer] { post_received(producer); });
}

constexpr peer described()
{
    peer peer{};
    peer.name = "asio";
    peer.version = version;
    peer.takes_workers = true;
    peer.connects_so = true;
    peer.serve_accept = serve_accept;
    peer.serve_echo = serve_echo;
    peer.serve_broadcast = serve_broadcast;
    peer.connect = { client_open, client_burst };
    peer.timers = { timers_open, timers_arm, timers_run };
    peer.post = { post_open, post_one };
    peer.shares = shares;
    return peer;
}

} // namespace

extern "C" {
extern const peer peer_asio;
const peer peer_asio = described();
}
