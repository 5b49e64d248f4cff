/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines and configuration files: what is understood, and what is said of the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memserver/acl.h"
#include "memserver/config.h"

static struct server_cfg cfg;
static char err[CONFIG_ERROR_MAX];

#define MAX_ARGS 40

/* Reads a command line given as one text with blanks between the words. */
static int flags(const char *line)
{
	char copy[512], *argv[MAX_ARGS] = { (char *)"memserver" }, *save = NULL;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	*err = '\0';
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	return config_read(argc, argv, &cfg, err);
}

static int text(const char *lines)
{
	*err = '\0';
	return config_read_text("/etc/x.conf", lines, strlen(lines), &cfg, err);
}

/* All of the effective configuration as "key=value " words. */
static void append(const char *key, const char *value, void *arg)
{
	char *all = arg;
	size_t len = strlen(all);

	snprintf(all + len, 4096 - len, "%s=%s ", key, value);
}

static const char *shown(void)
{
	static char all[4096];

	*all = '\0';
	config_each(&cfg, append, all);
	return all;
}

#define assert_shown(WORDS) assert_non_null(strstr(shown(), WORDS))

static void minimal(void **state)
{
	assert_int_equal(flags("--export 4G"), CONFIG_GO);
	assert_int_equal(cfg.nr_exports, 1);
	assert_string_equal(cfg.exports[0].name, "default");
	assert_int_equal(cfg.exports[0].size_bytes, UINT64_C(4) << 30);
	assert_int_equal(cfg.exports[0].quota_bytes, 0);
	assert_int_equal(cfg.nr_doors, 3);
	assert_shown("nvme=127.0.0.1:4420 discovery=127.0.0.1:8009 "
		     "nbd=127.0.0.1:10809 ");
	assert_shown("metrics=127.0.0.1:9402 ");
	assert_true(acl_is_empty(cfg.acl));
	assert_false(acl_is_open(cfg.acl));
	assert_int_equal(cfg.numa_node, -1);
	assert_in_range(cfg.threads, 1, EXPORT_MAX_WORKER);
	assert_true(cfg.max_conns >= 1024);
	assert_true(cfg.spin_us > 0);
	assert_true(cfg.reserve_bytes >= UINT64_C(256) << 20);
	assert_null(cfg.pool_dir);
	config_fini(&cfg);
}

static void everything(void **state)
{
	assert_int_equal(
		flags("--export a=1G --export b-2=2M,iops=50,quota=1M,bandwidth=3M "
		      "--nvme 4421 --client-bandwidth 4M --client-iops 60 "
		      "--client-quota 5M "
		      "--nvme=[fd00::1]:1 --discovery off --nbd unix:/x --nbd 10.0.0.1 "
		      "--allow 10.0.0.0/8 --allow nqn.x --control /c --metrics off "
		      "--pool /p --pool-limit 3G --reserve 0"),
		CONFIG_GO);
	assert_shown(
		"export=a=1073741824 "
		"export=b-2=2097152,quota=1048576,bandwidth=3145728,iops=50 "
		"nvme=127.0.0.1:4421 nvme=[fd00::1]:1 discovery=off "
		"nbd=unix:/x nbd=10.0.0.1:10809 nvme-tls=off nvme-concat=off iscsi=off "
		"allow=10.0.0.0/8 allow=nqn.x "
		"open=no client-bandwidth=4M client-iops=60 client-quota=5M "
		"nbd-tls=off "
		"control=/c metrics=off pool=/p pool-limit=3G reserve=0 ");
	config_fini(&cfg);
	assert_int_equal(flags("--huge --numa-node 1 --user u --threads 3 --no-spin "
			       "--max-conns 9 --log-level debug --open=yes"),
			 CONFIG_GO);
	assert_shown("huge=yes numa-node=1 user=u threads=3 spin-us=0 max-conns=9 "
		     "log-level=debug ");
	assert_true(acl_is_open(cfg.acl));
	config_fini(&cfg);
}

static void keys_for_tls_make_it_required(void **state)
{
	assert_int_equal(flags("--export a=1G,tls=required,quota=1M --tls-cert c "
			       "--tls-key k --tls-ca a --tls-clients l --tls-min 1.3"),
			 CONFIG_GO);
	assert_true(cfg.exports[0].needs_tls);
	assert_int_equal(cfg.exports[0].quota_bytes, 1 << 20);
	assert_int_equal(cfg.tls.nbd, TLS_REQUIRED);
	assert_shown("export=a=1073741824,quota=1048576,tls=required ");
	assert_shown("tls-cert=c tls-key=k tls-ca=a tls-min=1.3 tls-clients=l "
		     "nbd-tls=required nbd-tls-unix=no ");
	config_fini(&cfg);
	assert_int_equal(flags("--tls-psk p --nbd-tls offered"), CONFIG_GO);
	assert_int_equal(cfg.tls.nbd, TLS_OFFERED);
	config_fini(&cfg);
}

static void special(void **state)
{
	assert_int_equal(flags("--help"), CONFIG_HELP);
	assert_int_equal(flags("-h"), CONFIG_HELP);
	assert_int_equal(flags("--version"), CONFIG_VERSION);
	assert_int_equal(flags("-n --export 1G"), CONFIG_CHECKED);
	config_fini(&cfg);
	assert_int_equal(flags("-n --export 1Q"), -EINVAL);
}

static void bad_flags(void **state)
{
	/* What is given, and words that the complaint must have, in this order. */
	static const char *const cases[][4] = {
		{ "--exprot 4G", "'--exprot'", "no such flag", "--help" },
		{ "4G", "'4G'", "no such flag", "--help" },
		{ "-x", "'-x'", "no such flag", "" },
		{ "--", "'--'", "no such flag", "" },
		{ "--export", "--export", "needs a value", "[NAME=]SIZE" },
		{ "--export --nbd off", "--export", "needs a value", "" },
		{ "--export 4Q", "--export", "'4Q'", "not a size" },
		{ "--export 0", "--export", "'0'", "multiple of 4096" },
		{ "--export 5000", "--export", "'5000'", "multiple of 4096" },
		{ "--export .x=4G", "--export", "'.x=4G'", "a name is" },
		{ "--export =4G", "--export", "'=4G'", "a name is" },
		{ "--export a/b=4G", "--export", "'a/b=4G'", "a name is" },
		{ "--export a=4G,qota=1G", "--export", "only quota=SIZE", "allowed" },
		{ "--export a=4G,quota=8G", "--export", "quota", "at most the size" },
		{ "--export a=4G,quota=0", "--export", "quota", "above 0" },
		{ "--export a=1G --export a=2G", "--export", "'a=2G'", "given twice" },
		{ "--export 99999999999G", "--export", "more than any memory", "" },
		{ "--nvme host:1", "--nvme", "'host:1'", "ADDR:PORT or off" },
		{ "--nvme unix:/x", "--nvme", "'unix:/x'", "ADDR:PORT or off" },
		{ "--nbd 10.0.0.1:99999", "--nbd", "not an address", "unix:PATH" },
		{ "--metrics unix:/x", "--metrics", "unix", "ADDR:PORT or off" },
		{ "--threads 0", "--threads", "'0'", "1 to 64" },
		{ "--threads 65", "--threads", "'65'", "1 to 64" },
		{ "--threads -1", "--threads", "'-1'", "1 to 64" },
		{ "--max-conns 0", "--max-conns", "'0'", "1 to 65536" },
		{ "--spin-us 1e3", "--spin-us", "'1e3'", "0 to 1000000" },
		{ "--numa-node x", "--numa-node", "'x'", "0 to 1023" },
		{ "--pool relative", "--pool", "'relative'", "absolute" },
		{ "--pool-limit much", "--pool-limit", "'much'", "SIZE" },
		{ "--allow example.org", "--allow", "'example.org'", "ADDR/BITS" },
		{ "--pool a\nb", "--pool", "'a?b'", "absolute" },
		{ "--open=maybe", "--open", "'maybe'", "yes or no" },
		{ "--log-level loud", "--log-level", "'loud'", "debug" },
		{ "--tls-min 1.1", "--tls-min", "'1.1'", "1.2 or 1.3" },
		{ "--nbd-tls maybe", "--nbd-tls", "'maybe'", "required" },
		{ "--nbd-tls required", "--nbd-tls", "certificate", "--tls-psk" },
		{ "--tls-key k", "--tls-key", "certificate", "--tls-cert" },
		{ "--tls-ca c --tls-psk p", "--tls-ca", "certificate", "--tls-cert" },
		{ "--tls-cert c --tls-clients l", "--tls-clients", "--tls-ca",
		  "shared keys" },
		{ "--tls-psk p --tls-clients l --nbd-tls offered", "--tls-clients",
		  "go round", "required" },
		{ "--export a=4G,tls=maybe", "--export", "tls=required", "allowed" },
		{ "--version=1", "--version", "takes no value", "" },
		{ "--config", "--config", "needs a value", "FILE" },
		{ "--config /no/such", "--config", "/no/such", "No such file" },
		{ "--config a --config b", "--config", "twice", "" },
		{ "--open --allow 10.0.0.1", "--open", "--allow", "contradict" },
		{ "--nbd 0.0.0.0", "--nbd: 0.0.0.0:10809", "--allow", "--open" },
		{ "--nvme [::]:1", "--nvme: [::]:1", "host NQN", "--open" },
		{ "--discovery 10.0.0.1", "--discovery", "beyond loopback", "--open" },
		{ "--metrics 0.0.0.0", "--metrics", "beyond loopback", "--open" },
		{ "--nbd 10.0.0.1 --allow nqn.x", "--nbd", "no NQN", "--allow ADDR" },
		{ "--nbd 10.0.0.1 --allow iqn.x:y", "--nbd", "no NQN", "--allow ADDR" },
		{ "--iscsi 10.0.0.1", "--iscsi", "beyond loopback",
		  "initiator's name" },
		{ "--iscsi 10.0.0.1 --allow nqn.x", "--iscsi", "beyond loopback", "" },
		{ "--iscsi unix:/x", "--iscsi", "unix", "ADDR:PORT or off" },
		{ "--iscsi --allow iqn.x:y --allow 10.0.0.1", "--allow", "either", "" },
		{ "--iser", "--iser", "not offered", "--iscsi" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *at = err;

		assert_int_equal(flags(cases[i][0]), -EINVAL);
		assert_null(strchr(err, '\n'));
		for (int w = 1; w < 4; w++) {
			at = strstr(at, cases[i][w]);
			if (!at)
				fail_msg("%s: '%s' lacks '%s'", cases[i][0], err,
					 cases[i][w]);
		}
	}
}

static void allowed_beyond(void **state)
{
	static const char *const good[] = {
		"--nbd 0.0.0.0 --open",
		"--nbd 0.0.0.0 --allow 10.0.0.0/8",
		"--nvme 0.0.0.0 --allow nqn.x",
		"--nvme 0.0.0.0 --discovery [::] --allow fd00::/8",
		"--metrics 0.0.0.0 --allow 10.0.0.1",
		"--nbd 127.9.9.9 --nvme [::1]",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (flags(good[i]) != CONFIG_GO)
			fail_msg("%s: %s", good[i], err);
		config_fini(&cfg);
	}
}

static void doors_off(void **state)
{
	assert_int_equal(flags("--nvme off"), CONFIG_GO);
	assert_shown("nvme=off discovery=off nbd=127.0.0.1:10809 ");
	config_fini(&cfg);
	assert_int_equal(flags("--nbd 1 --nbd off --nbd 2"), CONFIG_GO);
	assert_shown("nbd=127.0.0.1:2 nvme-tls=off nvme-concat=off iscsi=off open");
	config_fini(&cfg);
}

static void concat_follows_the_login(void **state)
{
	static const char *const cases[][2] = {
		{ "--nvme-auth /a", "nvme-concat=offered" },
		{ "--nvme-auth /a --nvme-concat off", "nvme-concat=off" },
		{ "--nvme-auth /a --nvme-concat required", "nvme-concat=required" },
		{ "--nvme-auth /a --nvme-tls-keys /k", "nvme-concat=off" },
		{ "--nvme-auth /a --nvme-tls-keys /k --nvme-tls offered",
		  "nvme-concat=offered" },
		{ "--nvme-auth /a --nvme-tls-keys /k --nvme-concat offered",
		  "nvme-concat=offered" },
		{ "--nvme-auth /a --nvme-auth-group null", "nvme-concat=off" },
		{ "--nvme-auth /a --nvme-auth-hash sha512", "nvme-concat=off" },
		{ "--nvme-auth /a --nvme-auth-hash sha512,sha384 --nvme-auth-group "
		  "null,ffdhe2048",
		  "nvme-concat=offered" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (flags(cases[i][0]) != CONFIG_GO)
			fail_msg("%s: %s", cases[i][0], err);
		assert_shown(cases[i][1]);
		assert_int_equal(cfg.nvme_auth_prefs.concat,
				 cfg.nvme_concat != TLS_OFF);
		config_fini(&cfg);
	}
	assert_int_equal(flags("--nvme-concat offered"), -EINVAL);
	assert_non_null(strstr(err, "it needs --nvme-auth FILE"));
	assert_int_equal(flags("--nvme-auth /a --nvme-auth-group null --nvme-concat "
			       "offered"),
			 -EINVAL);
	assert_non_null(strstr(err, "keys need a DH group"));
}

static void file(void **state)
{
	assert_int_equal(text("# lends\n\n export = swap0=4G  # not much\r\n"
			      "export=b=1G\n\tnbd = off\nhuge = yes\nopen=no"),
			 0);
	assert_shown("export=swap0=4294967296 export=b=1073741824 ");
	assert_shown("nbd=off ");
	assert_shown("huge=yes ");
	config_fini(&cfg);
}

static void bad_files(void **state)
{
	static const char *const cases[][2] = {
		{ "export = 4G\nexprot = 4G\n",
		  "/etc/x.conf:2: 'exprot': no such key" },
		{ "export 4G\n", "/etc/x.conf:1: 'export 4G': no value" },
		{ "\n\nnbd =\n", "/etc/x.conf:3: nbd: it needs a value: ADDR:PORT" },
		{ "huge\n", "/etc/x.conf:1: 'huge': no value" },
		{ "huge = sure", "/etc/x.conf:1: huge: 'sure': neither yes nor no" },
		{ "config = /y", "/etc/x.conf:1: 'config': no such key" },
		{ "help = yes", "/etc/x.conf:1: 'help': no such key" },
		{ "= 4G", "/etc/x.conf:1: '': no such key" },
		{ "[main]\n", "/etc/x.conf:1: '[main]': no value" },
		{ "\n\nnbd = 0.0.0.0\n",
		  "/etc/x.conf:3: nbd: 0.0.0.0:10809 is beyond" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(text(cases[i][0]), -EINVAL);
		if (strncmp(err, cases[i][1], strlen(cases[i][1])))
			fail_msg("'%s': %s", cases[i][0], err);
	}
}

static void nul_in_file(void **state)
{
	static const char bytes[] = "control = /a\0b\n";

	assert_int_equal(config_read_text("f", bytes, sizeof(bytes) - 1, &cfg, err),
			 -EINVAL);
	assert_non_null(strstr(err, "no text"));
}

static void flags_win(void **state)
{
	char path[] = "/tmp/config-unit.XXXXXX", line[256];
	int fd = mkstemp(path);
	static const char lines[] = "export = a=1G\nexport = b=1G\nnbd = 1\n"
				    "threads = 2\nmax-conns = 7\nhuge = yes\n";

	assert_int_equal(write(fd, lines, strlen(lines)), strlen(lines));
	close(fd);
	snprintf(line, sizeof(line),
		 "--export c=2G --config %s --threads 5 --huge=no --export d=2G", path);
	assert_int_equal(flags(line), CONFIG_GO);
	unlink(path);
	assert_shown("export=c=2147483648 export=d=2147483648 ");
	assert_shown("nbd=127.0.0.1:1 ");
	assert_shown("huge=no user=(default) threads=5 ");
	assert_shown("max-conns=7 ");
	assert_string_equal(cfg.config_path, path);
	config_fini(&cfg);
}

static void names(void **state)
{
	char line[128] = "--export ";

	memset(line + 9, 'n', 64);
	strcpy(line + 9 + 64, "=4K");
	assert_int_equal(flags(line), CONFIG_GO);
	config_fini(&cfg);
	memset(line + 9, 'n', 65);
	strcpy(line + 9 + 65, "=4K");
	assert_int_equal(flags(line), -EINVAL);
	assert_non_null(strstr(err, "longer than 64"));
}

#define TEST(fn, name)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

static void iscsi(void **state)
{
	static const char *const cases[][2] = {
		{ "--export 4G", "iscsi=off " },
		{ "--iscsi --open", "iscsi=127.0.0.1:3260 " },
		{ "--iscsi 7 --iscsi-auth /s", "iscsi=127.0.0.1:7 iscsi-auth=/s " },
		{ "--iscsi 10.0.0.1 --allow iqn.x:y",
		  "iscsi=10.0.0.1:3260 allow=iqn.x:y " },
		{ "--iscsi 7 --iscsi off", "iscsi=off " },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(flags(cases[i][0]), CONFIG_GO);
		assert_shown(cases[i][1]);
		config_fini(&cfg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(minimal,
		     "an export is enough: the rest has defaults, on loopback"),
		TEST(everything, "every flag is taken and shown"),
		TEST(keys_for_tls_make_it_required, "with keys NBD requires TLS"),
		TEST(special, "help, version and check are told apart"),
		TEST(bad_flags, "a bad flag is named in one line with what is allowed"),
		TEST(allowed_beyond, "beyond loopback only with a list or openly"),
		TEST(doors_off, "a door can be off, and discovery goes with NVMe"),
		TEST(concat_follows_the_login,
		     "logins generate keys where they can and may"),
		TEST(file, "a file takes the same words, with comments and blanks"),
		TEST(bad_files, "a bad line of a file is named by its number"),
		TEST(iscsi, "iSCSI is off until it is asked for"),
		TEST(nul_in_file, "a NUL in a file is refused"),
		TEST(flags_win, "a flag replaces all that the file said of it"),
		TEST(names, "a name may have 64 characters and no more"),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
