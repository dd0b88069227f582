#include "platform/cq.h"
#include "platform/iocp/iocp.h"
#include "platform/sim.h"

const struct wr_cq_ops *const wr_cq_backends[] = { &wr_cq_iocp, &wr_cq_sim, NULL };
