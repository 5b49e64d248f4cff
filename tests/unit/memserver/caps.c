/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memserver/caps.c: how much a rate lets through, in simulated time. And who is a client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "memserver/caps.h"
#include "memserver/clients.h"

#define SECOND UINT64_C(1000000000)
#define MIB    (UINT64_C(1) << 20)

/*
 * One who takes whenever it may, and is woken `late_ns` too late each time; how many
 * operations of `bytes` it gets until `end`.
 */
static uint64_t greedy(struct caps *c, uint64_t bytes, uint64_t late_ns, uint64_t end)
{
	uint64_t now = 1000 * SECOND, wait, n = 0;

	end += now;
	while (now < end) {
		wait = caps_wait(c, now);
		if (wait) {
			now += wait + late_ns;
			continue;
		}
		caps_take(c, bytes, now);
		n++;
	}
	return n;
}

static struct caps with(uint64_t bytes_per_s, uint64_t ops_per_s)
{
	struct caps_cfg cfg = { bytes_per_s, ops_per_s };
	struct caps c = { 0 };

	caps_set(&c, &cfg);
	return c;
}

static void without_a_limit_nobody_waits(void **state)
{
	struct caps c = { 0 };

	assert_false(caps_any(&c));
	for (int i = 0; i < 1000; i++) {
		caps_take(&c, 32 * MIB, SECOND);
		assert_int_equal(caps_wait(&c, SECOND), 0);
	}
}

static void a_rate_is_kept_over_time(void **state)
{
	struct caps c = with(0, 1000);

	assert_true(caps_any(&c));
	assert_in_range(greedy(&c, 4096, 0, 10 * SECOND), 10000, 10020);
	c = with(100 * MIB, 0);
	assert_in_range(greedy(&c, 4096, 0, 10 * SECOND), 256000, 256700);
}

static void a_late_wake_up_costs_nothing(void **state)
{
	struct caps c = with(0, 1000);

	assert_in_range(greedy(&c, 4096, 2000000, 10 * SECOND), 9980, 10030);
}

static void the_tighter_limit_counts(void **state)
{
	struct caps c = with(MIB, 1000);

	assert_in_range(greedy(&c, 4096, 0, 10 * SECOND), 2560, 2570);
	c = with(MIB, 1000);
	assert_in_range(greedy(&c, 0, 0, 10 * SECOND), 10000, 10020);
}

static void a_large_request_passes_and_is_paid_for(void **state)
{
	struct caps c = with(MIB, 0);
	uint64_t now = 1000 * SECOND;

	assert_int_equal(caps_wait(&c, now), 0);
	caps_take(&c, 32 * MIB, now);
	assert_int_equal(caps_wait(&c, now), 32 * SECOND - CAPS_SLACK_NS);
	assert_int_equal(caps_wait(&c, now + 33 * SECOND), 0);
}

static void idleness_is_not_saved_up(void **state)
{
	struct caps c = with(0, 1000);
	uint64_t now = 1000 * SECOND, n = 0;

	while (!caps_wait(&c, now)) {
		caps_take(&c, 0, now);
		n++;
	}
	assert_in_range(n, 10, 20);
}

static void a_new_limit_forgives_debts(void **state)
{
	struct caps c = with(MIB, 0);
	struct caps_cfg more = { 2 * MIB, 0 };

	caps_take(&c, 32 * MIB, SECOND);
	caps_set(&c, &more);
	assert_int_equal(caps_wait(&c, SECOND), 0);
	assert_int_equal(caps_get(&c).bytes_per_s, 2 * MIB);
}

static void limits_have_bounds(void **state)
{
	assert_int_equal(caps_check(&(struct caps_cfg){ 0, 0 }), 0);
	assert_int_equal(caps_check(&(struct caps_cfg){ MIB, 10 }), 0);
	assert_int_equal(caps_check(&(struct caps_cfg){ MIB - 1, 0 }), -34);
	assert_int_equal(caps_check(&(struct caps_cfg){ 0, 9 }), -34);
	assert_int_equal(caps_check(&(struct caps_cfg){ 0, CAPS_MAX + 1 }), -34);
}

static void a_client_is_an_address(void **state)
{
	struct caps_cfg limits = { MIB, 0 };
	struct client *a, *b, *c;
	struct clients *cs;

	assert_int_equal(clients_new(&cs), 0);
	a = clients_get(cs, "10.0.0.1:1000");
	b = clients_get(cs, "10.0.0.1:2000");
	c = clients_get(cs, "[fd00::1]:1000");
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	clients_limit(cs, &limits);
	assert_int_equal(caps_get(&a->caps).bytes_per_s, MIB);
	clients_put(cs, a);
	clients_put(cs, b);
	clients_put(cs, c);
	a = clients_get(cs, "unix:pid 7");
	b = clients_get(cs, "unix:pid 8");
	assert_ptr_not_equal(a, b);
	assert_int_equal(caps_get(&a->caps).bytes_per_s, MIB);
	clients_put(cs, a);
	clients_put(cs, b);
	clients_put(cs, NULL);
	clients_free(cs);
}

static void who_owes_is_remembered(void **state)
{
	struct caps_cfg limits = { MIB, 0 };
	struct client *who;
	struct clients *cs;

	assert_int_equal(clients_new(&cs), 0);
	clients_limit(cs, &limits);
	who = clients_get(cs, "10.0.0.1:1000");
	caps_take(&who->caps, 1000 * MIB, UINT64_C(1) << 62);
	clients_put(cs, who);
	who = clients_get(cs, "10.0.0.1:1001");
	assert_true(caps_wait(&who->caps, UINT64_C(1) << 62) > 0);
	clients_put(cs, who);
	clients_free(cs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_limit_nobody_waits),
		cmocka_unit_test(a_rate_is_kept_over_time),
		cmocka_unit_test(a_late_wake_up_costs_nothing),
		cmocka_unit_test(the_tighter_limit_counts),
		cmocka_unit_test(a_large_request_passes_and_is_paid_for),
		cmocka_unit_test(idleness_is_not_saved_up),
		cmocka_unit_test(a_new_limit_forgives_debts),
		cmocka_unit_test(limits_have_bounds),
		cmocka_unit_test(a_client_is_an_address),
		cmocka_unit_test(who_owes_is_remembered),
	};

	return cmocka_run_group_tests_name("memserver/caps", tests, NULL, NULL);
}
