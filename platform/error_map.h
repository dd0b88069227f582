/* How the systems' error codes become weir's: one table for all systems, so that the same accident has the same name
 * everywhere. */
#ifndef WR_ERROR_MAP_H
#define WR_ERROR_MAP_H

#include <weir/error.h>

/* X(error, posix, winsock, win32): an errno, the code of WSAGetLastError for the same, and what a completion port or
 * GetLastError calls it. 0 where a system has no such code. Each system takes its own columns, and no code stands twice
 * in a column; what most connections end with stands first. The codes of getaddrinfo stand here too: Winsock has them
 * among its own, and those of glibc and musl are negative, as no errno is. Who includes this has <netdb.h>, by
 * os_net.h, or <winsock2.h>.
 *
 * Left out, and so WEIR_ESYSTEM: what a backend never lets out (EAGAIN, EINPROGRESS, EINTR), what would be a mistake of
 * ours (EBADF, ENOTSOCK), and all codes for a cancelled operation, since WEIR_ECANCELED comes from our own state. */
#define WR_ERROR_MAP(X)                                                           \
    X(WEIR_ECONNRESET, ECONNRESET, WSAECONNRESET, ERROR_NETNAME_DELETED)          \
    X(WEIR_EINVAL, EINVAL, WSAEINVAL, ERROR_INVALID_PARAMETER)                    \
    X(WEIR_ENOTSUP, EOPNOTSUPP, WSAEOPNOTSUPP, ERROR_NOT_SUPPORTED)               \
    X(WEIR_ENOTSUP, EPROTONOSUPPORT, WSAEPROTONOSUPPORT, 0)                       \
    X(WEIR_ENOTSUP, ENOPROTOOPT, WSAENOPROTOOPT, 0)                               \
    X(WEIR_ENOMEM, ENOMEM, 0, ERROR_NOT_ENOUGH_MEMORY)                            \
    X(WEIR_ENOMEM, 0, 0, ERROR_OUTOFMEMORY)                                       \
    X(WEIR_ENOMEM, 0, 0, ERROR_COMMITMENT_LIMIT)                                  \
    X(WEIR_EMFILE, EMFILE, WSAEMFILE, ERROR_TOO_MANY_OPEN_FILES)                  \
    X(WEIR_EMFILE, ENFILE, 0, 0)                                                  \
    X(WEIR_ENOBUFS, ENOBUFS, WSAENOBUFS, ERROR_NO_SYSTEM_RESOURCES)               \
    X(WEIR_ENOBUFS, 0, 0, ERROR_WORKING_SET_QUOTA)                                \
    X(WEIR_ENOBUFS, 0, 0, ERROR_NOT_ENOUGH_QUOTA)                                 \
    X(WEIR_EACCES, EACCES, WSAEACCES, ERROR_ACCESS_DENIED)                        \
    X(WEIR_EACCES, EPERM, 0, ERROR_PRIVILEGE_NOT_HELD)                            \
    X(WEIR_EACCES, EROFS, 0, ERROR_WRITE_PROTECT)                                 \
    X(WEIR_EADDRINUSE, EADDRINUSE, WSAEADDRINUSE, ERROR_DUP_NAME)                 \
    X(WEIR_EADDRNOTAVAIL, EADDRNOTAVAIL, WSAEADDRNOTAVAIL, ERROR_INVALID_NETNAME) \
    X(WEIR_EAFNOSUPPORT, EAFNOSUPPORT, WSAEAFNOSUPPORT, 0)                        \
    X(WEIR_EAFNOSUPPORT, EPFNOSUPPORT, WSAEPFNOSUPPORT, 0)                        \
    X(WEIR_ECONNREFUSED, ECONNREFUSED, WSAECONNREFUSED, ERROR_CONNECTION_REFUSED) \
    X(WEIR_ECONNREFUSED, 0, 0, ERROR_PORT_UNREACHABLE)                            \
    X(WEIR_ECONNRESET, EPIPE, WSAESHUTDOWN, ERROR_BROKEN_PIPE)                    \
    X(WEIR_ECONNRESET, ENOTCONN, WSAENOTCONN, ERROR_CONNECTION_INVALID)           \
    X(WEIR_ECONNRESET, ENETRESET, WSAENETRESET, 0)                                \
    X(WEIR_ECONNABORTED, ECONNABORTED, WSAECONNABORTED, ERROR_CONNECTION_ABORTED) \
    X(WEIR_ECONNABORTED, EPROTO, 0, 0)                                            \
    X(WEIR_ENETDOWN, ENETDOWN, WSAENETDOWN, ERROR_UNEXP_NET_ERR)                  \
    X(WEIR_ENETUNREACH, ENETUNREACH, WSAENETUNREACH, ERROR_NETWORK_UNREACHABLE)   \
    X(WEIR_ENETUNREACH, 0, 0, ERROR_PROTOCOL_UNREACHABLE)                         \
    X(WEIR_ENETUNREACH, 0, 0, ERROR_BAD_NETPATH)                                  \
    X(WEIR_EHOSTUNREACH, EHOSTUNREACH, WSAEHOSTUNREACH, ERROR_HOST_UNREACHABLE)   \
    X(WEIR_EHOSTUNREACH, EHOSTDOWN, WSAEHOSTDOWN, ERROR_HOST_DOWN)                \
    X(WEIR_ETIMEDOUT, ETIMEDOUT, WSAETIMEDOUT, ERROR_SEM_TIMEOUT)                 \
    X(WEIR_ETIMEDOUT, 0, 0, ERROR_TIMEOUT)                                        \
    X(WEIR_ENOENT, ENOENT, 0, ERROR_FILE_NOT_FOUND)                               \
    X(WEIR_ENOENT, ENOTDIR, 0, ERROR_PATH_NOT_FOUND)                              \
    X(WEIR_EFAULT, EFAULT, WSAEFAULT, ERROR_NOACCESS)                             \
    X(WEIR_EMSGSIZE, EMSGSIZE, WSAEMSGSIZE, ERROR_INVALID_USER_BUFFER)            \
    X(WEIR_EAI_NONAME, EAI_NONAME, WSAHOST_NOT_FOUND, 0)                          \
    X(WEIR_EAI_NONAME, EAI_NODATA, WSANO_DATA, 0)                                 \
    X(WEIR_EAI_NONAME, EAI_ADDRFAMILY, 0, 0)                                      \
    X(WEIR_EAI_AGAIN, EAI_AGAIN, WSATRY_AGAIN, 0)                                 \
    X(WEIR_EAI_FAIL, EAI_FAIL, WSANO_RECOVERY, 0)                                 \
    X(WEIR_EAFNOSUPPORT, EAI_FAMILY, 0, 0)                                        \
    X(WEIR_ENOMEM, EAI_MEMORY, 0, 0)

/* wr_error_from_system: the WEIR_E… of a system's code; 0 for 0, WEIR_ESYSTEM for one outside the table. [any], and in
 * signal handlers */
int wr_error_from_system(int code);

#endif
