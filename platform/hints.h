/* What the compiler cannot know: which of two ways is walked for every message, and which hardly ever. */
#ifndef WR_HINTS_H
#define WR_HINTS_H

/* WR_COLD: before a function that is called hardly ever: it stays out of those that call it, whose own way needs fewer
 * registers then. */
#if defined(__GNUC__)
#define WR_COLD __attribute__((noinline, cold))
#else
#define WR_COLD
#endif

#endif
