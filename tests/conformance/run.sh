#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: plain
# The suite's runner, on a small tree of its own: whatever goes wrong in a test is told.
. "$(dirname "$0")/../lib.sh"
plan 15

tree=$T/tree
mkdir -p "$tree/tests/unit" "$tree/tests/fuzz/corpus/parse" "$tree/tests/conformance"
cp "$TOP/tests/run" "$TOP/tests/lib.sh" "$TOP/Makefile" "$TOP/VERSION" "$tree"
mv "$tree/run" "$tree/lib.sh" "$tree/tests"
cp "$TOP/tests/fuzz/replay.c" "$tree/tests/fuzz"

# script NAME <BODY: a test in shell.
script() {
	{
		printf '#!/bin/bash\n# timeout: 1\n. "$(dirname "$0")/../lib.sh"\n'
		cat
	} >"$tree/tests/conformance/$1.sh"
	chmod +x "$tree/tests/conformance/$1.sh"
}
run() {
	env -u MAKEFLAGS -u MAKELEVEL "$tree/tests/run" "$@"
}
# tells SENTENCE TEST PATTERN COUNT: a run of this test fails with this count, saying this.
tells() {
	refuses "$1" 1 "$3" run "$2"
	equal "and counts it" "$(tail -n 1 "$T/check.out")" "$4"
}

script good <<<'plan 1; ok "this one is fine"'
check "a good test passes" run good
equal "and is counted" "$(tail -n 1 "$T/check.out")" "1 passed, 0 failed, 0 skipped"

script bad <<<'plan 2; ok "fine"; check "it holds" ls /nosuch'
tells "a failed point" bad 'FAIL conformance/bad.sh \(asan\): it holds' "1 passed, 1 failed, 0 skipped"

script died <<<'plan 3; ok "fine"; exit 0'
tells "a test that dies before its plan is done" died "a plan of 3, 1 done" \
	"1 passed, 1 failed, 0 skipped"

script slow <<<'plan 1; sleep 1000; ok "never"'
refuses "a time-out" 1 "ends within 1 s" run slow

script left <<<'plan 1; sleep 1000 & ok "fine"'
tells "a process left behind" left "left: sleep" "1 passed, 1 failed, 0 skipped"

script skipped <<<'plan 2; ok "fine"; skip "the other" "no such hardware"'
tells "a skip nobody expects" skipped "skips.allowed" "1 passed, 0 failed, 1 skipped"
echo '^no such hardware$' >"$tree/tests/skips.allowed"
check "a skip that is expected passes" run skipped

cat >"$tree/tests/unit/overrun.c" <<'END'
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void it_stays_inside(void **state)
{
	volatile char *p = malloc(8);

	assert_int_equal(p[8] & 0, 0);
	free((void *)p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(it_stays_inside)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
END
cat >"$tree/tests/fuzz/parse.c" <<'END'
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static volatile uint8_t sink;

	if (len && data[0] == 'x')
		sink = data[len];
	return 0;
}
END
echo good >"$tree/tests/fuzz/corpus/parse/good"
rm "$tree/tests/conformance/"*.sh
refuses "what AddressSanitizer finds in a unit test" 1 "FAIL unit/overrun \(asan\)" run overrun
check "a corpus that is survived passes" run fuzz/parse
echo x >"$tree/tests/fuzz/corpus/parse/bad"
refuses "an input that breaks a parser" 1 "corpus/parse/bad" run fuzz/parse
