/* A reader of Prometheus' text format, version 0.0.4, as strict as its documentation:
 * https://prometheus.io/docs/instrumenting/exposition_formats/ */
#ifndef WEIR_TEST_PROMETHEUS_H
#define WEIR_TEST_PROMETHEUS_H

/* prometheus_check: the test fails unless `text` is well-formed: names and labels, HELP and TYPE once and before the
 * samples of their family, families in one piece, no series twice, counters that end in _total, histograms that are
 * cumulative and whose +Inf is their count. */
void prometheus_check(const char *text);

/* prometheus_value: of a series as it is written, such as `a_total{b="c"}`; the test fails if there is none. */
double prometheus_value(const char *text, const char *series);

#endif
