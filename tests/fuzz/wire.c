#include "fuzz/wire.h"

#include "fuzz/fuzz.h"
#include "platform/common/done.h"
#include "platform/common/posts.h"
#include "platform/cq.h"
#include "platform/os.h"

enum { BUFFER_SIZE = 16 * 1024, SLOT = 7 };

typedef struct wire {
    wr_cq base;
    wr_memory *memory;
    wr_pool buffers;
    wr_done done;
    wr_posts posts;
    uint64_t now_ns;
    wr_op *recv;
    wr_sock sock; /* the one stream; generation 0: none */
    uint32_t generations;
    unsigned listeners; /* open: detached or adopted; at most one */
    wr_op *accept;
    size_t received;
    unsigned piece; /* number of the next one */
} wire;

static const struct wr_cq_ops wire_ops;
static wire_script script;
static wire_sent sent;
static wire *current;

void wire_load(const wire_script *next)
{
    script = *next;
    sent.size = 0;
    sent.finished = sent.reset = sent.closed = false;
}

const wire_sent *wire_sent_now(void)
{
    return &sent;
}

size_t wire_piece(uint8_t cut)
{
    if (cut == 0) return SIZE_MAX;
    return cut <= 128 ? cut : (size_t)(cut - 127) * 32;
}

bool wire_settled(void)
{
    return current->buffers.leased == 0 && current->sock.generation == 0 && !current->recv;
}

static wire *wire_of(wr_cq *cq)
{
    return (wire *)cq;
}

static wire *wire_with(wr_cq *cq, wr_sock sock)
{
    wire *w = wire_of(cq);
    FUZZ_CHECK(sock.generation && sock.generation == w->sock.generation && sock.slot == SLOT, "a stale handle");
    return w;
}

static int wire_create(wr_cq **out, const wr_cq_options *options)
{
    wire *w = wr_alloc(options->memory, sizeof *w);
    if (!w) return WEIR_ENOMEM;
    memset(w, 0, sizeof *w);
    w->base.ops = &wire_ops;
    w->memory = options->memory;
    w->now_ns = 1;
    wr_pool_init(&w->buffers, w->memory, BUFFER_SIZE, 4);
    current = w;
    *out = &w->base;
    return 0;
}

static void wire_destroy(wr_cq *cq)
{
    wire *w = wire_of(cq);
    FUZZ_CHECK(w->sock.generation == 0, "a connection was not closed");
    FUZZ_CHECK(w->listeners == 0, "%u listeners were not closed", w->listeners);
    wr_pool_destroy(&w->buffers);
    wr_free(w->memory, w, sizeof *w);
    current = NULL;
}

static uint64_t wire_now(wr_cq *cq)
{
    return wire_of(cq)->now_ns++;
}

/* The next piece of the script, or its end. */
static void receive(wire *w, wr_completion *out)
{
    *out = (wr_completion){ .op = w->recv };
    size_t left = script.size - w->received;
    w->recv->pending = false;
    w->recv = NULL;
    if (left == 0) {
        out->error = script.resets ? WEIR_ECONNRESET : WEIR_EEOF;
        return;
    }
    uint8_t *buffer = wr_pool_get(&w->buffers);
    if (!buffer) {
        out->error = WEIR_ENOMEM;
        return;
    }
    size_t size = wire_piece(script.cuts[w->piece++ % WIRE_CUTS]);
    if (size > left) size = left;
    if (size > BUFFER_SIZE) size = BUFFER_SIZE;
    memcpy(buffer, script.bytes + w->received, size);
    w->received += size;
    out->buffer = buffer;
    out->size = (uint32_t)size;
}

static unsigned wire_wait(wr_cq *cq, wr_completion *out, unsigned capacity, uint64_t deadline_ns)
{
    wire *w = wire_of(cq);
    unsigned count = 0;
    if (deadline_ns != WR_DEADLINE_NEVER && w->now_ns < deadline_ns) w->now_ns = deadline_ns;
    while (count < capacity) {
        wr_op *op = wr_done_take(&w->done);
        if (!op) break;
        out[count] = (wr_completion){ .op = op, .error = op->error };
        if (op->kind == WR_OP_CONNECT && op->error == 0) out[count].connected = w->sock;
        count++;
    }
    while (count < capacity) {
        wr_op *op = wr_posts_take(&w->posts);
        if (!op) break;
        op->pending = false;
        out[count++] = (wr_completion){ .op = op };
    }
    if (w->recv && count < capacity) receive(w, &out[count++]);
    return count;
}

static void wire_post(wr_cq *cq, wr_op *op)
{
    wr_op_begin(op, WR_OP_POST, 0);
    (void)wr_posts_push(&wire_of(cq)->posts, op);
}

/* Port 1 is taken, so that a failure of the system can be had. */
static int wire_listen(wr_cq *cq, const wr_listen_params *params, wr_listen_result *out)
{
    *out = (wr_listen_result){ .bound = params->local.addr };
    if (params->local.addr.port == 1) {
        out->step = WR_STEP_BIND;
        return WEIR_EADDRINUSE;
    }
    if (out->bound.port == 0) out->bound.port = 2;
    wire_of(cq)->listeners++;
    return 0;
}

static int wire_adopt(wr_cq *cq, wr_detached socket, wr_sock *out)
{
    (void)cq;
    (void)socket;
    *out = (wr_sock){ .slot = 0, .generation = 1 };
    return 0;
}

static void wire_discard(wr_cq *cq, wr_detached socket)
{
    (void)socket;
    FUZZ_CHECK(wire_of(cq)->listeners > 0, "a listener is closed twice");
    wire_of(cq)->listeners--;
}

static void wire_accept(wr_cq *cq, wr_sock listener, wr_op *op)
{
    wr_op_begin(op, WR_OP_ACCEPT, listener.slot);
    wire_of(cq)->accept = op; /* nobody ever comes */
}

static void wire_connect(wr_cq *cq, const wr_connect_params *params, wr_op *op)
{
    wire *w = wire_of(cq);
    (void)params;
    FUZZ_CHECK(w->sock.generation == 0, "two connections at once");
    wr_op_begin(op, WR_OP_CONNECT, SLOT);
    w->sock = (wr_sock){ .slot = SLOT, .generation = ++w->generations };
    w->received = 0;
    w->piece = 0;
    wr_done_add(&w->done, op, 0, 0);
}

static void wire_cancel(wr_cq *cq, wr_op *op)
{
    wire *w = wire_of(cq);
    if (!op->pending || w->accept != op) return;
    w->accept = NULL;
    wr_done_add(&w->done, op, WEIR_ECANCELED, 0);
}

static void wire_recv(wr_cq *cq, wr_sock sock, wr_op *op)
{
    wire *w = wire_with(cq, sock);
    FUZZ_CHECK(!w->recv, "two receives at once");
    wr_op_begin(op, WR_OP_RECV, SLOT);
    w->recv = op;
}

static void wire_buf_return(wr_cq *cq, uint8_t *buffer)
{
    wr_pool_put(&wire_of(cq)->buffers, buffer);
}

static void wire_send(wr_cq *cq, wr_sock sock, wr_op *op, const wr_slice *slices)
{
    wire *w = wire_with(cq, sock);
    wr_op_begin(op, WR_OP_SEND, SLOT);
    FUZZ_CHECK(!sent.finished, "a send after FIN");
    for (const wr_slice *slice = slices; slice; slice = slice->next) {
        FUZZ_CHECK(slice->size > 0, "an empty slice");
        if (sent.size + slice->size > sent.room) {
            sent.room = (sent.size + slice->size) * 2;
            sent.bytes = realloc(sent.bytes, sent.room);
            FUZZ_CHECK(sent.bytes, "out of memory");
        }
        memcpy(sent.bytes + sent.size, slice->data, slice->size);
        sent.size += slice->size;
    }
    wr_done_add(&w->done, op, 0, 0);
}

static void wire_shutdown(wr_cq *cq, wr_sock sock)
{
    (void)wire_with(cq, sock);
    sent.finished = true;
}

static void wire_close(wr_cq *cq, wr_sock sock, wr_op *op, bool reset)
{
    wire *w = wire_of(cq);
    wr_op_begin(op, WR_OP_CLOSE, sock.slot);
    if (sock.slot != SLOT) {
        if (w->accept) wire_cancel(cq, w->accept);
        wire_discard(cq, (wr_detached){ 0 });
    } else {
        (void)wire_with(cq, sock);
        if (w->recv) wr_done_add(&w->done, w->recv, WEIR_ECANCELED, 0);
        w->recv = NULL;
        w->sock.generation = 0;
        sent.reset = reset;
        sent.closed = true;
    }
    wr_done_add(&w->done, op, 0, 0);
}

static void wire_local(wr_cq *cq, wr_sock sock, wr_addr *out)
{
    (void)wire_with(cq, sock);
    *out = (wr_addr){ .family = WR_FAMILY_IPV4, .ip = { 127, 0, 0, 1 }, .port = 3 };
}

static const struct wr_cq_ops wire_ops = {
    .name = "wire",
    .caps = WR_CAP_SHARED_PORT | WR_CAP_UNIX,
    .create = wire_create,
    .destroy = wire_destroy,
    .now = wire_now,
    .wait = wire_wait,
    .post = wire_post,
    .listen = wire_listen,
    .adopt = wire_adopt,
    .discard = wire_discard,
    .accept = wire_accept,
    .connect = wire_connect,
    .cancel = wire_cancel,
    .recv = wire_recv,
    .buf_return = wire_buf_return,
    .send = wire_send,
    .shutdown = wire_shutdown,
    .close = wire_close,
    .local = wire_local,
};

/* Instead of those of the system: the linker takes this one, and leaves the library's own out. */
const struct wr_cq_ops *const wr_cq_backends[] = { &wire_ops, NULL };

/* In the place of the system's resolver too: no name server is asked for what a fuzzer makes up. What a name means
 * depends on its first byte. */
int wr_os_resolve(const char *name, enum wr_family family, wr_addr *out, unsigned capacity, int *system_error)
{
    static const int errors[] = { WEIR_EAI_NONAME, WEIR_EAI_AGAIN, WEIR_EAI_FAIL, WEIR_ENOMEM };
    *system_error = 0;
    unsigned count = (unsigned char)name[0] % 4;
    if (count == 0) return errors[(unsigned char)name[0] / 4 % 4];
    for (unsigned i = 0; i < count && i < capacity; i++)
        out[i] = (wr_addr){ .ip = { 127, 0, 0, (uint8_t)i }, .family = family ? (uint8_t)family : WR_FAMILY_IPV4 };
    return (int)count;
}

/* ---- the runtime ---- */

static size_t memory_used;
static int64_t refuse_after = -1;

static void *counted_alloc(size_t size, void *data)
{
    (void)data;
    if (refuse_after == 0) return NULL;
    if (refuse_after > 0) refuse_after--;
    memory_used += size;
    return malloc(size);
}

static void counted_free(void *block, size_t size, void *data)
{
    (void)data;
    FUZZ_CHECK(memory_used >= size, "more is freed than was allocated");
    memory_used -= size;
    free(block);
}

void wire_refuse(int64_t after)
{
    refuse_after = after;
}

size_t wire_memory(void)
{
    return memory_used;
}

weir_runtime *wire_runtime(void)
{
    const weir_allocator allocator = { .alloc = counted_alloc, .free = counted_free };
    weir_runtime *runtime;
    int error = weir_runtime_create(
        &runtime, &(weir_runtime_options){ .manual = true, .max_connections = 4, .allocator = &allocator });
    FUZZ_CHECK(error == 0, "weir_runtime_create: %s", weir_error_name(error));
    return runtime;
}
