/* The one error vocabulary of weir, from the backends up to the embedder.
 *
 * A function that can fail returns 0, or one of the negative WEIR_E… below. System codes (errno, WSAGetLastError)
 * are mapped to this table at the bottom of the library, travel along for logs, and never steer logic.
 * The file stands below platform/ because a backend speaks these codes too; it is installed with the other headers. */
#ifndef WEIR_ERROR_H
#define WEIR_ERROR_H

#include <weir/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, number, text). The numbers are part of the ABI: append, never renumber. */
#define WEIR_ERRORS(X)                                                  \
    /* What the caller asked for. */                                    \
    X(EINVAL, 1, "invalid argument")                                    \
    X(ESTATE, 2, "not possible in this state")                          \
    X(ENOTSUP, 3, "not supported on this system")                       \
    X(EADDRESS, 4, "the address text is not understood")                \
    X(ENOMEM, 5, "out of memory")                                       \
    X(ELIMIT, 6, "a configured limit is reached")                       \
    X(ECANCELED, 7, "canceled")                                         \
    /* What the system said. */                                         \
    X(ESYSTEM, 20, "a system error outside this table")                 \
    X(EMFILE, 21, "no descriptor is free")                              \
    X(ENOBUFS, 22, "the kernel is out of buffer space")                 \
    X(EACCES, 23, "permission denied")                                  \
    X(EADDRINUSE, 24, "the address is in use")                          \
    X(EADDRNOTAVAIL, 25, "the address is not available here")           \
    X(EAFNOSUPPORT, 26, "the address family is not supported here")     \
    X(ECONNREFUSED, 27, "the peer refused the connection")              \
    X(ECONNRESET, 28, "the peer reset the connection")                  \
    X(ECONNABORTED, 29, "the system ended the connection")              \
    X(ENETDOWN, 30, "the network is down")                              \
    X(ENETUNREACH, 31, "the network is unreachable")                    \
    X(EHOSTUNREACH, 32, "the host is unreachable")                      \
    X(ETIMEDOUT, 33, "timed out")                                       \
    X(ENOENT, 34, "no such file or directory")                          \
    X(EFAULT, 35, "a buffer was not readable")                          \
    /* What the resolver said; the names are getaddrinfo's. */          \
    X(EAI_NONAME, 36, "the name is not known")                          \
    X(EAI_AGAIN, 37, "temporary failure in name resolution")            \
    X(EAI_FAIL, 38, "permanent failure in name resolution")             \
    /* How a connection ended. */                                       \
    X(ECLOSED, 50, "closed by this side")                               \
    X(EABORTED, 51, "aborted by this side")                             \
    X(EEOF, 52, "closed by the peer")                                   \
    X(ETRUNCATED, 53, "closed by the peer in the middle of a message")  \
    X(EHANDSHAKE, 54, "no whole message before the handshake deadline") \
    X(EIDLE, 55, "nothing received before the idle deadline")           \
    X(EFRAME, 56, "malformed frame")                                    \
    X(EMSGSIZE, 57, "the message is too long")                          \
    X(ESLOW, 58, "the peer reads too slowly")                           \
    X(ESTOPPED, 59, "the runtime is stopping")

enum weir_error {
    WEIR_OK = 0,
#define WEIR_ERROR_VALUE(name, number, text) WEIR_##name = -(number),
    WEIR_ERRORS(WEIR_ERROR_VALUE)
#undef WEIR_ERROR_VALUE
};

/* weir_strerror: what `error` means, in English, for logs. [any]
 * Static storage; "unknown error" for a number that is not in the table. */
WEIR_API const char *weir_strerror(int error);

/* weir_error_name: the constant's own name, such as "WEIR_ECONNRESET"; "WEIR_OK" for 0. [any]
 * Static storage; "WEIR_?" for a number that is not in the table. */
WEIR_API const char *weir_error_name(int error);

#ifdef __cplusplus
}
#endif

#endif
