/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations in, times to wait out. Any thread; no lock. */
#include "memserver/caps.h"

#include <errno.h>

#define SECOND_NS UINT64_C(1000000000)

static bool in_range(uint64_t limit, uint64_t min)
{
	return !limit || (limit >= min && limit <= CAPS_MAX);
}

int caps_check(const struct caps_cfg *cfg)
{
	return in_range(cfg->bytes_per_s, CAPS_BYTES_MIN) &&
			       in_range(cfg->ops_per_s, CAPS_OPS_MIN)
		       ? 0
		       : -ERANGE;
}

void caps_set(struct caps *c, const struct caps_cfg *cfg)
{
	atomic_store(&c->bytes_per_s, cfg->bytes_per_s);
	atomic_store(&c->ops_per_s, cfg->ops_per_s);
	atomic_store(&c->bytes_paid_ns, 0);
	atomic_store(&c->ops_paid_ns, 0);
}

struct caps_cfg caps_get(const struct caps *c)
{
	return (struct caps_cfg){ atomic_load(&c->bytes_per_s),
				  atomic_load(&c->ops_per_s) };
}

/* n * SECOND_NS / rate without overflow: n is below 2^32, rates at least 10. */
static uint64_t price_ns(uint64_t n, uint64_t rate)
{
	return n / rate * SECOND_NS + n % rate * SECOND_NS / rate;
}

static void take(_Atomic uint64_t *paid_ns, uint64_t price, uint64_t now_ns)
{
	uint64_t was = atomic_load_explicit(paid_ns, memory_order_relaxed), from;
	uint64_t oldest = now_ns > CAPS_SLACK_NS ? now_ns - CAPS_SLACK_NS : 0;

	do
		from = was > oldest ? was : oldest;
	while (!atomic_compare_exchange_weak(paid_ns, &was, from + price));
}

void caps_take(struct caps *c, uint64_t bytes, uint64_t now_ns)
{
	uint64_t rate = atomic_load_explicit(&c->bytes_per_s, memory_order_relaxed);

	if (rate && bytes)
		take(&c->bytes_paid_ns, price_ns(bytes, rate), now_ns);
	rate = atomic_load_explicit(&c->ops_per_s, memory_order_relaxed);
	if (rate)
		take(&c->ops_paid_ns, price_ns(1, rate), now_ns);
}

static uint64_t debt(const _Atomic uint64_t *paid_ns, uint64_t now_ns)
{
	uint64_t paid = atomic_load_explicit(paid_ns, memory_order_relaxed);

	return paid > now_ns + CAPS_BURST_NS ? paid - now_ns : 0;
}

uint64_t caps_wait(const struct caps *c, uint64_t now_ns)
{
	uint64_t bytes = 0, ops = 0;

	if (atomic_load_explicit(&c->bytes_per_s, memory_order_relaxed))
		bytes = debt(&c->bytes_paid_ns, now_ns);
	if (atomic_load_explicit(&c->ops_per_s, memory_order_relaxed))
		ops = debt(&c->ops_paid_ns, now_ns);
	return bytes > ops ? bytes : ops;
}
