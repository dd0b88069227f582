#include "usage.h"

struct usage usage_between(const struct usage *before, const struct usage *after)
{
    return (struct usage){ .cpu_ns = after->cpu_ns - before->cpu_ns,
                           .user_ns = after->user_ns - before->user_ns,
                           .system_ns = after->system_ns - before->system_ns,
                           .waited_ns = after->waited_ns - before->waited_ns };
}

struct usage usage_since(const struct usage *before)
{
    struct usage now = usage_now();
    return usage_between(before, &now);
}
