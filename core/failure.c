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

int wr_failure_system(wr_failure *failure, int error, enum wr_step step, int system_error)
{
    static const struct {
        weir_step step;
        const char *name;
    } steps[] = { [WR_STEP_NONE] = { WEIR_STEP_NONE, "" },
                  [WR_STEP_SOCKET] = { WEIR_STEP_SOCKET, "socket" },
                  [WR_STEP_BIND] = { WEIR_STEP_BIND, "bind" },
                  [WR_STEP_LISTEN] = { WEIR_STEP_LISTEN, "listen" } };
    weir_failure *out = failure->out;
    if (!out) return error;
    char system[64];
    wr_os_error_text(system_error, system, sizeof system);
    out->error = error;
    out->system_error = system_error;
    out->step = steps[step].step;
    (void)snprintf(out->text, sizeof out->text, "%s %.120s: %s: %s (%d)", failure->what, failure->address,
                   steps[step].name, system, system_error);
    return error;
}

void wr_failure_ended(const wr_failure *failure, weir_step step, int error, int system_error)
{
    weir_failure *out = failure->out;
    const char *name = step == WEIR_STEP_RESOLVE ? "resolve: " : step == WEIR_STEP_CONNECT ? "connect: " : "";
    *out = (weir_failure){ .error = error, .system_error = system_error, .step = step };
    int length = snprintf(out->text, sizeof out->text, "%s %.120s: %s%s", failure->what, failure->address, name,
                          weir_strerror(error));
    if (system_error == 0 || length < 0 || (size_t)length >= sizeof out->text) return;
    char system[64];
    wr_os_error_text(system_error, system, sizeof system);
    (void)snprintf(out->text + length, sizeof out->text - (size_t)length, ": %s (%d)", system, system_error);
}
