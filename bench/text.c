#include "text.h"

#include <stdio.h>
#include <string.h>

struct text text_grouped(double value)
{
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%.0f", value);
    struct text out = { "" };
    size_t used = 0;
    for (int i = 0; i < count && used + 2 < sizeof out.text; i++) {
        if (i > 0 && (count - i) % 3 == 0) out.text[used++] = ',';
        out.text[used++] = digits[i];
    }
    return out;
}

struct text text_duration(uint64_t value_ns)
{
    static const char *const units[] = { "ns", "us", "ms", "s" };
    double value = (double)value_ns;
    unsigned unit = 0;
    while (value >= 999.5 && unit < 3) {
        value /= 1000;
        unit++;
    }
    struct text out;
    int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(out.text, sizeof out.text, "%.*f %s", decimals, value, units[unit]);
    return out;
}
