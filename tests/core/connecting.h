/* What the tests of weir_connect share. */
#ifndef WEIR_TEST_CONNECTING_H
#define WEIR_TEST_CONNECTING_H

#include "core/host.h"
#include "core/world.h"

/* connect_to: weir_connect with the world's protocol to a port of 127.0.0.1; the test fails if it is refused. */
weir_conn_id connect_to(world *w, uint16_t port, const weir_connect_options *options);

/* refused_by_weir: weir_connect gives `expected`, and a failure of its options that says `word`; so does
 * weir_dialer_create, unless it is WEIR_ELIMIT, which is no matter of its. */
void refused_by_weir(const world *w, const char *address, weir_connect_options options, int expected, const char *word);

/* local_address: as weir_connect_options.local_addresses wants it. */
weir_address local_address(const char *text);

#endif
