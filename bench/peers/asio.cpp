/* Asio without Boost, as its documentation teaches it to those who want speed: an io_context a thread that is told not
 * to lock (ASIO_CONCURRENCY_HINT_UNSAFE), sockets bound to its executor's own type and not to any_io_executor, handlers
 * so small that the memory of the last one does for the next, and a plain write at once, with async_write for what the
 * system does not take. A read has a buffer of its connection's own: Asio fills it before the handler runs. */
#include <asio.hpp>
#include <atomic>
#include <cstring>
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

enum { BACKLOG = 4096, BUFFER = 16 * 1024 };

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
    std::unique_ptr<uint8_t[]> buffer{ new uint8_t[BUFFER] };
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

/* Sends at once what the system takes, and reads no more until the rest is gone too. */
void echo_answer(conn &conn, size_t size)
{
    error_code error;
    size_t took = conn.socket.write_some(asio::buffer(conn.buffer.get(), size), error);
    if (error && error != asio::error::would_block) {
        close_conn(conn);
    } else if (took == size) {
        echo_next(conn);
    } else {
        asio::async_write(conn.socket, asio::buffer(conn.buffer.get() + took, size - took),
                          [&conn](const error_code &failure, size_t) {
                              if (failure) {
                                  close_conn(conn);
                              } else {
                                  echo_next(conn);
                              }
                          });
    }
}

void echo_next(conn &conn)
{
    conn.socket.async_read_some(asio::buffer(conn.buffer.get(), BUFFER), [&conn](const error_code &error, size_t got) {
        if (error) {
            close_conn(conn);
        } else {
            echo_answer(conn, got);
        }
    });
}

void serve_echo(const job *job)
{
    serve(job, [](conn &conn) {
        error_code error;
        conn.socket.non_blocking(true, error);
        if (error) {
            close_conn(conn);
        } else {
            echo_next(conn);
        }
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

constexpr peer described()
{
    peer peer{};
    peer.name = "asio";
    peer.version = version;
    peer.takes_workers = true;
    peer.serve_accept = serve_accept;
    peer.serve_echo = serve_echo;
    peer.connect = { client_open, client_burst };
    return peer;
}

} // namespace

extern "C" {
extern const peer peer_asio;
const peer peer_asio = described();
}
