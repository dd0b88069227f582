/* weir_buf: its bytes, its size and its references. */
#include <string.h>
#include <weir/buffer.h>

#include "core/buffer.h"
#include "harness/weir_test.h"
#include "platform/os.h"

Test(buffer, holds_what_was_copied_into_it)
{
    weir_buf *buf = weir_buf_copy("some bytes", 10);
    cr_assert_eq(weir_buf_size(buf), 10);
    cr_assert_arr_eq(weir_buf_bytes(buf), "some bytes", 10);
    weir_buf_release(buf);
}

Test(buffer, is_filled_in_place)
{
    enum { SIZE = 100000 };
    weir_buf *buf = weir_buf_create(SIZE);
    cr_assert_eq(weir_buf_size(buf), SIZE);
    cr_assert_eq((uintptr_t)weir_buf_bytes(buf) % 16, 0, "for any type");
    memset(weir_buf_bytes(buf), 7, SIZE); /* a sanitizer sees one byte too many */
    weir_buf_release(buf);
}

Test(buffer, may_be_empty)
{
    weir_buf *buf = weir_buf_copy(NULL, 0);
    cr_assert_not_null(buf);
    cr_assert_eq(weir_buf_size(buf), 0);
    weir_buf_release(buf);
    buf = weir_buf_create(0);
    cr_assert_not_null(buf);
    weir_buf_release(buf);
}

Test(buffer, one_that_is_too_large_is_refused)
{
    cr_assert_null(weir_buf_create((size_t)UINT32_MAX + 1));
    cr_assert_null(weir_buf_create(SIZE_MAX));
    cr_assert_null(weir_buf_copy("x", SIZE_MAX - 8));
}

Test(buffer, none_is_harmless)
{
    cr_assert_null(weir_buf_retain(NULL));
    weir_buf_release(NULL);
}

Test(buffer, lives_until_the_last_reference_is_released)
{
    weir_buf *buf = weir_buf_copy("x", 1);
    for (int i = 0; i < 5; i++) cr_assert(weir_buf_retain(buf) == buf);
    cr_assert_eq(buf->references, 6);
    for (int i = 0; i < 5; i++) weir_buf_release(buf);
    cr_assert_eq(buf->references, 1);
    cr_assert_eq(*(char *)weir_buf_bytes(buf), 'x');
    weir_buf_release(buf);
}

static void retain_and_release(void *arg)
{
    weir_buf *buf = arg;
    for (int i = 0; i < 20000; i++) {
        weir_buf_retain(buf);
        cr_assert_eq(*(char *)weir_buf_bytes(buf), 'x');
        weir_buf_release(buf);
    }
    weir_buf_release(buf); /* its own; one of the threads frees */
}

Test(buffer, is_counted_right_by_several_threads)
{
    enum { THREADS = 4 };
    wr_thread threads[THREADS];
    weir_buf *buf = weir_buf_copy("x", 1);
    for (int i = 1; i < THREADS; i++) weir_buf_retain(buf);
    for (int i = 0; i < THREADS; i++) cr_assert_eq(wr_thread_start(&threads[i], "buffer", retain_and_release, buf), 0);
    for (int i = 0; i < THREADS; i++) wr_thread_join(&threads[i]);
}
