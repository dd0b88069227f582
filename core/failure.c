#include "core/failure.h"

#include <stdio.h>

#include "platform/os.h"

wr_failure wr_failure_begin(weir_failure *out, const char *what, const char *address)
{
    if (out) *out = (weir_failure){ .error = 0 };
    return (wr_failure){ .out = out, .what = what, .address = address ? address : "(null)" };
}

int wr_failure_option(wr_failure *failure, int error, const char *why)
{
    weir_failure *out = failure->out;
    if (!out) return error;
    out->error = error;
    out->step = WEIR_STEP_OPTIONS;
    (void)snprintf(out->text, sizeof out->text, "%s %.120s: %s", failure->what, failure->address, why);
    return error;
}

static weir_step step_of(enum wr_step step)
{
    switch (step) {
    case WR_STEP_SOCKET:
        return WEIR_STEP_SOCKET;
    case WR_STEP_BIND:
        return WEIR_STEP_BIND;
    case WR_STEP_LISTEN:
        return WEIR_STEP_LISTEN;
    default:
        return WEIR_STEP_NONE;
    }
}

int wr_failure_system(wr_failure *failure, int error, enum wr_step step, int system_error)
{
    static const char *const names[] = { "", "socket", "bind", "listen" };
    weir_failure *out = failure->out;
    if (!out) return error;
    char system[64];
    wr_os_error_text(system_error, system, sizeof system);
    out->error = error;
    out->system_error = system_error;
    out->step = step_of(step);
    (void)snprintf(out->text, sizeof out->text, "%s %.120s: %s: %s (%d)", failure->what, failure->address, names[step],
                   system, system_error);
    return error;
}
