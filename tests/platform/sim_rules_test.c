/* The simulator is stricter than a kernel: each broken rule of platform/cq.h ends the program, with words. */
#define _POSIX_C_SOURCE 200809L /* popen */
#include <stdio.h>
#include <string.h>

#include "harness/weir_test.h"

enum { RULES_MAX = 64, LINE_SIZE = 256 };

static FILE *run(const char *name)
{
    char command[512];
#ifdef _WIN32
    snprintf(command, sizeof command, "\"" WR_BREAK_RULE_PROGRAM "\" %.60s 2>&1", name);
    for (char *c = command; *c; c++) { /* a '/' would be an option to the shell */
        if (*c == '/') *c = '\\';
    }
    FILE *program = _popen(command, "r");
    return program ? program
                   : _popen(command, "r"); /* as in run_windows.c: Wine cannot always, and can a moment later */
#else
    snprintf(command, sizeof command, "'" WR_BREAK_RULE_PROGRAM "' %.60s 2>&1", name);
    return popen(command, "r");
#endif
}

static void finds(const char *name, const char *rule)
{
    char line[LINE_SIZE], expected[LINE_SIZE], last[LINE_SIZE] = "";
    FILE *program = run(name);
    cr_assert_not_null(program);
    snprintf(expected, sizeof expected, "weir: the simulator found a broken rule: %.150s\n", rule);
    bool found = false;
    while (fgets(line, sizeof line, program)) {
        size_t length = strcspn(line, "\r\n");
        memcpy(line + length, "\n", 2);
        found = found || strcmp(line, expected) == 0;
        memcpy(last, line, sizeof last);
    }
    int status = pclose(program);
    cr_assert(found, "%s: the last line is '%s' and not '%s'", name, last, expected);
    cr_assert_neq(status, 0, "%s: the program went on", name);
}

Test(sim_rules, end_the_program_when_they_are_broken, .timeout = 120)
{
    char lines[RULES_MAX][LINE_SIZE];
    int count = 0;
    FILE *list = run("");
    cr_assert_not_null(list);
    while (count < RULES_MAX && fgets(lines[count], LINE_SIZE, list)) {
        lines[count][strcspn(lines[count], "\r\n")] = 0;
        count++;
    }
    cr_assert_eq(pclose(list), 0);
    cr_assert_gt(count, 30);
    for (int i = 0; i < count; i++) {
        char *rule = strchr(lines[i], ' '); /* "name what it says" */
        cr_assert_not_null(rule);
        *rule = 0;
        finds(lines[i], rule + 1);
    }
}
