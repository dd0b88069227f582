#include "core/prometheus.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/weir_test.h"

enum { NAME_MAX_SIZE = 128, LABELS_MAX_SIZE = 256, SERIES_MAX = 8192 };

typedef struct sample {
    char name[NAME_MAX_SIZE];
    char labels[LABELS_MAX_SIZE]; /* without le, as written */
    char le[32];
    double value;
} sample;

/* The family that the lines belong to at the moment, and the histogram that is being read. */
typedef struct reader {
    char family[NAME_MAX_SIZE], kind[16];
    bool has_type, has_samples;
    char *finished[SERIES_MAX]; /* families, then series: what may not come again */
    size_t finished_count;
    char histogram[LABELS_MAX_SIZE];
    double bucket_le, bucket_count;
    bool in_histogram, has_sum;
} reader;

static void remember(reader *r, const char *what)
{
    for (size_t i = 0; i < r->finished_count; i++) cr_assert_str_neq(r->finished[i], what, "%s comes twice", what);
    cr_assert_lt(r->finished_count, SERIES_MAX);
    size_t size = strlen(what) + 1;
    r->finished[r->finished_count] = malloc(size);
    cr_assert_not_null(r->finished[r->finished_count]);
    memcpy(r->finished[r->finished_count++], what, size);
}

static size_t name_length(const char *text, bool is_label)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:");
    cr_assert_gt(length, 0, "no name at \"%.40s\"", text);
    cr_assert_lt(length, NAME_MAX_SIZE);
    cr_assert(*text < '0' || *text > '9', "a name begins with a digit: \"%.40s\"", text);
    if (is_label) cr_assert_null(memchr(text, ':', length));
    return length;
}

static double number(const char *text, size_t length)
{
    char copy[64], *end;
    if (length == 4 && strncmp(text, "+Inf", 4) == 0) return INFINITY;
    cr_assert(length > 0 && length < sizeof copy, "no number at \"%.40s\"", text);
    cr_assert_eq(strspn(text, "0123456789.eE+-"), length, "not a number: \"%.40s\"", text);
    memcpy(copy, text, length);
    copy[length] = 0;
    double value = strtod(copy, &end);
    cr_assert_eq(*end, 0, "not a number: %s", copy);
    return value;
}

/* {name="value",...}; what follows it. */
static const char *read_labels(const char *text, sample *out)
{
    size_t used = 0;
    for (text++; *text != '}'; text++) {
        const char *start = text;
        size_t length = name_length(text, true);
        cr_assert_eq(strncmp(text + length, "=\"", 2), 0, "no value at \"%.40s\"", text);
        const char *value = text + length + 2, *end = strchr(value, '"');
        cr_assert_not_null(end);
        cr_assert_null(memchr(value, '\\', (size_t)(end - value)), "an escape");
        cr_assert_null(memchr(value, '\n', (size_t)(end - value)));
        text = end + 1;
        if (length == 2 && strncmp(start, "le", 2) == 0)
            (void)snprintf(out->le, sizeof out->le, "%.*s", (int)(end - value), value);
        else
            used +=
                (size_t)snprintf(out->labels + used, sizeof out->labels - used, "%.*s,", (int)(text - start), start);
        cr_assert_lt(used, sizeof out->labels);
        if (*text == '}') break;
        cr_assert_eq(*text, ',', "at \"%.40s\"", text);
    }
    return text + 1;
}

static sample read_sample(const char *line, size_t length)
{
    sample s = { .value = 0 };
    size_t name = name_length(line, false);
    memcpy(s.name, line, name);
    const char *rest = line + name;
    if (*rest == '{') rest = read_labels(rest, &s);
    cr_assert_eq(*rest, ' ', "at \"%.40s\"", rest);
    rest++;
    s.value = number(rest, length - (size_t)(rest - line));
    return s;
}

static void end_histogram(reader *r)
{
    if (!r->in_histogram) return;
    cr_assert(r->has_sum, "a histogram without a sum");
    cr_assert_eq(r->bucket_le, -1, "a histogram without its count");
    r->in_histogram = false;
}

/* Buckets, then the sum, then the count, of one set of labels after another. */
static void check_histogram(reader *r, const sample *s, const char *suffix)
{
    if (strcmp(suffix, "_bucket") == 0) {
        bool is_new = !r->in_histogram || strcmp(r->histogram, s->labels) != 0;
        double le = number(s->le, strlen(s->le));
        if (is_new) {
            end_histogram(r);
            memcpy(r->histogram, s->labels, sizeof r->histogram);
            r->in_histogram = true;
            r->has_sum = false;
        } else {
            cr_assert_gt(le, r->bucket_le, "le %s does not grow", s->le);
            cr_assert_geq(s->value, r->bucket_count, "not cumulative at %s", s->le);
        }
        r->bucket_le = le;
        r->bucket_count = s->value;
        return;
    }
    cr_assert(r->in_histogram && strcmp(r->histogram, s->labels) == 0, "%s%s before its buckets", r->family, suffix);
    cr_assert_eq(s->le[0], 0);
    if (strcmp(suffix, "_sum") == 0) {
        r->has_sum = true;
        return;
    }
    cr_assert_str_eq(suffix, "_count");
    cr_assert_eq(r->bucket_le, HUGE_VAL, "no bucket +Inf");
    cr_assert_eq(s->value, r->bucket_count, "+Inf is not the count");
    r->bucket_le = -1;
}

static void check_sample(reader *r, const char *line, size_t length)
{
    sample s = read_sample(line, length);
    size_t family = strlen(r->family);
    cr_assert(r->has_type, "a sample without a TYPE: %.60s", line);
    cr_assert_eq(strncmp(s.name, r->family, family), 0, "%s stands under %s", s.name, r->family);
    char series[NAME_MAX_SIZE + LABELS_MAX_SIZE + 64];
    (void)snprintf(series, sizeof series, "%s{%s}%s", s.name, s.labels, s.le);
    remember(r, series);
    r->has_samples = true;
    if (strcmp(r->kind, "histogram") == 0) {
        check_histogram(r, &s, s.name + family);
        return;
    }
    cr_assert_eq(s.name[family], 0, "%s stands under %s", s.name, r->family);
    cr_assert_eq(s.le[0], 0, "le outside of a histogram");
    if (strcmp(r->kind, "counter") == 0) {
        cr_assert(family > 6 && strcmp(s.name + family - 6, "_total") == 0, "%s is a counter", s.name);
        cr_assert_geq(s.value, 0);
    }
}

/* "# HELP name text" opens a family, "# TYPE name kind" follows it. */
static void check_comment(reader *r, const char *line, size_t length)
{
    char name[NAME_MAX_SIZE] = "";
    size_t size = name_length(line + 7, false);
    memcpy(name, line + 7, size);
    cr_assert_eq(line[7 + size], ' ', "%.*s", (int)length, line);
    const char *rest = line + 7 + size + 1;
    if (strncmp(line, "# HELP ", 7) == 0) {
        end_histogram(r);
        remember(r, name);
        memcpy(r->family, name, sizeof name);
        r->has_type = r->has_samples = false;
        cr_assert_gt(length, (size_t)(rest - line), "no help for %s", name);
        return;
    }
    cr_assert_eq(strncmp(line, "# TYPE ", 7), 0, "%.*s", (int)length, line);
    cr_assert_str_eq(name, r->family, "TYPE of another family than HELP");
    cr_assert_not(r->has_type || r->has_samples);
    r->has_type = true;
    (void)snprintf(r->kind, sizeof r->kind, "%.*s", (int)(length - (size_t)(rest - line)), rest);
    cr_assert(strcmp(r->kind, "counter") == 0 || strcmp(r->kind, "gauge") == 0 || strcmp(r->kind, "histogram") == 0,
              "%s", r->kind);
}

void prometheus_check(const char *text)
{
    static reader r;
    r = (reader){ .has_type = false };
    for (const char *line = text; *line;) {
        const char *end = strchr(line, '\n');
        cr_assert_not_null(end, "the last line does not end: %.60s", line);
        size_t length = (size_t)(end - line);
        cr_assert_gt(length, 0, "an empty line");
        if (*line == '#')
            check_comment(&r, line, length);
        else
            check_sample(&r, line, length);
        line = end + 1;
    }
    end_histogram(&r);
    for (size_t i = 0; i < r.finished_count; i++) free(r.finished[i]);
}

double prometheus_value(const char *text, const char *series)
{
    size_t length = strlen(series);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, series, length) != 0 || line[length] != ' ') continue;
        const char *value = line + length + 1;
        return number(value, strcspn(value, "\n"));
    }
    cr_assert_fail("no %s", series);
    return 0;
}
