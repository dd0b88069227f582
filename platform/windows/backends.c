#include "platform/cq.h"
#include "platform/iocp/iocp.h"

const struct wr_cq_ops *const wr_cq_backends[] = { &wr_cq_iocp, NULL };
