#include "iocp_faults_windows.h"

#include <signal.h>

faults_of_windows faults;

static const wr_calls *windows;

/* Whether this call is one that fails. */
static bool strikes(fault *f)
{
    f->calls++;
    if (f->after > 0) {
        f->after--;
        return false;
    }
    if (f->times == 0) return false;
    if (f->times > 0) f->times--;
    SetLastError((DWORD)f->code);
    return true;
}

/* ---- what is done when it returns ---- */

static bool skips(void)
{
    return faults.set_modes.times == 0 && !faults.layered;
}

/* Before the call: without a packet, if such a one is to have none. That is what an odd event says. */
static bool begin_at_once(fault *f, OVERLAPPED *overlapped)
{
    if (f->at_once == 0) return false;
    f->at_once--;
    if (skips()) overlapped->hEvent = (HANDLE)((ULONG_PTR)CreateEventW(NULL, TRUE, FALSE, NULL) | 1);
    return true;
}

/* After it: waits for its end. True if it went well; else the last error is its code. */
static bool end_at_once(SOCKET os, OVERLAPPED *overlapped, bool done)
{
    DWORD bytes, flags;
    HANDLE event = (HANDLE)((ULONG_PTR)overlapped->hEvent & ~(ULONG_PTR)1);
    if (event) (void)CloseHandle(event); /* Windows keeps its own hold on it */
    overlapped->hEvent = NULL;
    if (!done && WSAGetLastError() != WSA_IO_PENDING) return false;
    for (int ms = 0; !HasOverlappedIoCompleted(overlapped); ms++) {
        cr_assert_lt(ms, WORLD_PATIENCE_MS, "what was to be done at once is never done");
        Sleep(1);
    }
    return windows->wsa_result(os, overlapped, &bytes, FALSE, &flags);
}

/* ---- Winsock ---- */

static BOOL PASCAL fake_accept_ex(SOCKET listener, SOCKET socket, void *buffer, DWORD size, DWORD local, DWORD remote,
                                  DWORD *received, OVERLAPPED *overlapped)
{
    if (strikes(&faults.accept_ex)) return FALSE;
    bool at_once = begin_at_once(&faults.accept_ex, overlapped);
    BOOL done = windows->accept_ex(listener, socket, buffer, size, local, remote, received, overlapped);
    return at_once ? end_at_once(listener, overlapped, done) : done;
}

static BOOL PASCAL fake_connect_ex(SOCKET socket, const struct sockaddr *name, int length, void *buffer, DWORD size,
                                   DWORD *sent, OVERLAPPED *overlapped)
{
    if (strikes(&faults.connect_ex)) return FALSE;
    bool at_once = begin_at_once(&faults.connect_ex, overlapped);
    BOOL done = windows->connect_ex(socket, name, length, buffer, size, sent, overlapped);
    return at_once ? end_at_once(socket, overlapped, done) : done;
}

static int fake_create_socket(int family, SOCKET *out)
{
    return strikes(&faults.create_socket) ? faults.create_socket.code : windows->create_socket(family, out);
}

static int WSAAPI fake_wsa_recv(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *received, DWORD *flags,
                                WSAOVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    if (strikes(&faults.wsa_recv)) return SOCKET_ERROR;
    bool at_once = begin_at_once(&faults.wsa_recv, overlapped);
    int result = windows->wsa_recv(socket, buffers, count, received, flags, overlapped, routine);
    return at_once ? (end_at_once(socket, overlapped, result == 0) ? 0 : SOCKET_ERROR) : result;
}

static int WSAAPI fake_wsa_send(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *sent, DWORD flags,
                                WSAOVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    if (strikes(&faults.wsa_send)) return SOCKET_ERROR;
    WSABUF first = buffers[0];
    if (faults.send_at_most > 0) {
        if (first.len > faults.send_at_most) first.len = faults.send_at_most;
        buffers = &first;
        count = 1;
    }
    return windows->wsa_send(socket, buffers, count, sent, flags, overlapped, routine);
}

static int WSAAPI fake_wsa_send_to(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *sent, DWORD flags,
                                   const struct sockaddr *to, int length, WSAOVERLAPPED *overlapped,
                                   LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    if (strikes(&faults.wsa_send_to)) return SOCKET_ERROR;
    int result = windows->wsa_send_to(socket, buffers, count, sent, flags, to, length, overlapped, routine);
    if (faults.sends_pend <= 0 || result != 0) return result;
    faults.sends_pend--;
    SetLastError(WSA_IO_PENDING);
    return SOCKET_ERROR;
}

static BOOL WSAAPI fake_wsa_result(SOCKET socket, WSAOVERLAPPED *overlapped, DWORD *bytes, BOOL wait, DWORD *flags)
{
    BOOL listens = FALSE;
    int length = sizeof listens;
    cr_assert_eq(getsockopt(socket, SOL_SOCKET, SO_ACCEPTCONN, (char *)&listens, &length), 0);
    if (strikes(listens ? &faults.accept_result : &faults.stream_result)) return FALSE;
    return windows->wsa_result(socket, overlapped, bytes, wait, flags);
}

static int WSAAPI fake_recv(SOCKET socket, char *buffer, int size, int flags)
{
    return strikes(&faults.recv) ? SOCKET_ERROR : windows->recv(socket, buffer, size, flags);
}

static int WSAAPI fake_recv_from(SOCKET socket, char *buffer, int size, int flags, struct sockaddr *from, int *length)
{
    return strikes(&faults.recv_from) ? SOCKET_ERROR : windows->recv_from(socket, buffer, size, flags, from, length);
}

static int WSAAPI fake_getpeername(SOCKET socket, struct sockaddr *name, int *length)
{
    return strikes(&faults.getpeername) ? SOCKET_ERROR : windows->getpeername(socket, name, length);
}

static int WSAAPI fake_getsockopt(SOCKET socket, int level, int option, char *value, int *length)
{
    int result = windows->getsockopt(socket, level, option, value, length);
    if (option == SO_PROTOCOL_INFOW && faults.layered)
        ((WSAPROTOCOL_INFOW *)(void *)value)->dwServiceFlags1 &= ~(DWORD)XP1_IFS_HANDLES;
    return result;
}

static int WSAAPI fake_setsockopt(SOCKET socket, int level, int option, const char *value, int length)
{
    if (option == SO_UPDATE_ACCEPT_CONTEXT) {
        cr_assert_eq(length, sizeof faults.context);
        memcpy(&faults.context, value, sizeof faults.context);
        if (strikes(&faults.accept_context)) return SOCKET_ERROR;
    }
    if (option == SO_UPDATE_CONNECT_CONTEXT && strikes(&faults.connect_context)) return SOCKET_ERROR;
    return windows->setsockopt(socket, level, option, value, length);
}

/* ---- the port ---- */

static HANDLE WINAPI fake_create_port(HANDLE file, HANDLE port, ULONG_PTR key, DWORD threads)
{
    if (strikes(&faults.create_port)) return NULL;
    if (!port) faults.threads = threads;
    return windows->create_port(file, port, key, threads);
}

static BOOL WINAPI fake_set_modes(HANDLE file, UCHAR modes)
{
    return !strikes(&faults.set_modes) && windows->set_modes(file, modes);
}

static BOOL WINAPI fake_get_packets(HANDLE port, OVERLAPPED_ENTRY *packets, ULONG room, ULONG *count, DWORD timeout_ms,
                                    BOOL alertable)
{
    faults.timeout_ms = timeout_ms;
    faults.alertable = alertable;
    if (strikes(&faults.get_packets)) return FALSE;
    if (faults.packets_at_most > 0 && room > faults.packets_at_most) {
        SetLastError(ERROR_NO_SYSTEM_RESOURCES);
        return FALSE;
    }
    return windows->get_packets(port, packets, room, count, timeout_ms, alertable);
}

static BOOL WINAPI fake_post_packet(HANDLE port, DWORD bytes, ULONG_PTR key, OVERLAPPED *overlapped)
{
    return !strikes(&faults.post_packet) && windows->post_packet(port, bytes, key, overlapped);
}

/* It does what it is for, whatever it says. */
static BOOL WINAPI fake_cancel_io(HANDLE file, OVERLAPPED *overlapped)
{
    BOOL done = windows->cancel_io(file, overlapped);
    return !strikes(&faults.cancel_io) && done;
}

static HANDLE WINAPI fake_create_timer(SECURITY_ATTRIBUTES *attributes, const wchar_t *name, DWORD flags, DWORD access)
{
    return strikes(&faults.create_timer) ? NULL : windows->create_timer(attributes, name, flags, access);
}

/* ---- worlds ---- */

static int create_queue(wr_cq **out, const wr_cq_options *options)
{
    static wr_calls calls;
    windows = wr_calls_get();
    cr_assert_not_null(windows);
    calls = (wr_calls){
        .accept_ex = fake_accept_ex,
        .get_accept_addresses = windows->get_accept_addresses,
        .connect_ex = fake_connect_ex,
        .create_socket = fake_create_socket,
        .wsa_recv = fake_wsa_recv,
        .wsa_send = fake_wsa_send,
        .wsa_send_to = fake_wsa_send_to,
        .wsa_result = fake_wsa_result,
        .recv = fake_recv,
        .recv_from = fake_recv_from,
        .getpeername = fake_getpeername,
        .getsockopt = fake_getsockopt,
        .setsockopt = fake_setsockopt,
        .create_port = fake_create_port,
        .set_modes = fake_set_modes,
        .get_packets = fake_get_packets,
        .post_packet = fake_post_packet,
        .cancel_io = fake_cancel_io,
        .create_timer = fake_create_timer,
    };
    return wr_iocp_create(&calls, out, options);
}

struct wr_cq_ops faults_ops;

__attribute__((constructor)) static void make_ops(void)
{
    faults_ops = wr_cq_iocp;
    faults_ops.create = create_queue;
}

void faults_in_a_world(void (*body)(world *w))
{
    world w;
    world_open(&w, &faults_ops);
    body(&w);
    cr_assert_null(w.in_flight, "the test leaves an operation in flight, whose deed is gone");
    world_close(&w);
}

void faults_no_skip(void)
{
    faults.set_modes = (fault){ .times = ALWAYS, .code = ERROR_INVALID_FUNCTION };
}

static void succeed(int signal_number)
{
    (void)signal_number;
    _Exit(0);
}

void faults_await_abort(void)
{
    (void)signal(SIGABRT, succeed);
}
