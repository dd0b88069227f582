#include "platform/cq.h"
#include "platform/epoll/epoll.h"
#include "platform/sim.h"

const struct wr_cq_ops *const wr_cq_backends[] = { &wr_cq_epoll, &wr_cq_sim, NULL };
