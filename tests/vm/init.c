/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PID 1 of a test guest. In: a folder "guest" over 9p with the wish of guest-run (a
 * `config` of lines, `argv` and `environ` with NULs). Out: the command's output through
 * two virtio-serial ports, its wait status in the file `status`, then the end of QEMU.
 * One thread, static and locked in memory: it must outlive the loss of the guest's swap.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOT      "/root"
#define MAX_WORDS 4096

enum {
	EXIT_PORT = 0xf4, /* isa-debug-exit: writing here ends QEMU at once */
	STATUS_NO_EXEC = 127,
	SYNC_SECONDS = 5,
	MAX_CPUS = 64,
};

static struct {
	const char *argv[MAX_WORDS];
	const char *environ[MAX_WORDS];
	char cwd[4096];
	bool shell;
	struct winsize window;
	int console_level;
	int limit_seconds; /* then the kernel says who is stuck; 0: never */
} wish;

static void say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fprintf(stderr, "init: ");
	vfprintf(stderr, format, ap);
	fprintf(stderr, "\n");
	va_end(ap);
}

static void end_guest(void)
{
	if (ioperm(EXIT_PORT, 4, 1) == 0)
		outl(0, EXIT_PORT);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

/* What the guest cannot do without: the reason is on the console, QEMU ends. */
static void need(int r, const char *what)
{
	if (r >= 0)
		return;
	say("%s: %s", what, strerror(errno));
	end_guest();
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		say("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static char *read_file(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *text;
	size_t len = 0;

	need(fd, path);
	need(fstat(fd, &st), path);
	text = calloc(1, st.st_size + 1);
	while (text && len < (size_t)st.st_size) {
		ssize_t n = read(fd, text + len, st.st_size - len);

		if (n <= 0)
			break;
		len += n;
	}
	close(fd);
	*ret_len = len;
	return text;
}

/* Modules of the initramfs, in the order of the file /modules. */
static void load_modules(void)
{
	size_t len;
	char *list = read_file("/modules", &len), *save = NULL;

	for (char *m = strtok_r(list, "\n", &save); m;
	     m = strtok_r(NULL, "\n", &save)) {
		int fd = open(m, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
			say("%s: %s", m, strerror(errno));
		if (fd >= 0)
			close(fd);
		unlink(m);
	}
	free(list);
}

static void mkdirs(const char *path)
{
	char part[4096];

	for (size_t i = 1; i < sizeof(part) - 1 && path[i]; i++) {
		if (path[i + 1] != '/' && path[i + 1])
			continue;
		memcpy(part, path, i + 1);
		part[i + 1] = 0;
		mkdir(part, 0755);
	}
}

static int mount_9p(const char *tag, const char *where, bool readonly)
{
	/* The host's root doesn't change under us: cached. The other folders are
	 * how host and guest talk: not cached. */
	const char *options = readonly ? "trans=virtio,version=9p2000.L,msize=65536,"
					 "cache=loose"
				       : "trans=virtio,version=9p2000.L,msize=65536";

	return mount(tag, where, "9p", readonly ? MS_RDONLY : 0, options);
}

static void mount_or_say(const char *type, const char *where, const char *options)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, options) < 0)
		say("mount %s on %s: %s", type, where, strerror(errno));
}

/* Host root below, tmpfs above; then as switch_root does, so that kernel threads (which
 * start modprobe) and pivot_root see the same root as everybody. */
static void enter_root(void)
{
	mkdir("/host", 0755);
	mkdir("/upper", 0755);
	mkdir(ROOT, 0755);
	need(mount_9p("host", "/host", true), "mount the host's root");
	need(mount("upper", "/upper", "tmpfs", 0, "size=75%"), "mount tmpfs");
	mkdir("/upper/data", 0755);
	mkdir("/upper/work", 0755);
	need(mount("overlay", ROOT, "overlay", 0,
		   "lowerdir=/host,upperdir=/upper/data,workdir=/upper/work"),
	     "mount overlay");
	need(chdir(ROOT), ROOT);
	need(mount(".", "/", NULL, MS_MOVE, NULL), "move the root");
	need(chroot("."), "chroot");
	need(chdir("/"), "/");
}

static void set_other_cpus(const char *online)
{
	char path[64];

	for (int n = 1; n < MAX_CPUS; n++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", n);
		if (access(path, W_OK) < 0)
			return;
		write_file(path, online);
	}
}

/*
 * The first group with a memory limit makes the kernel patch its allocator's code, by
 * way of an int3, and QEMU 7.2's emulation of a second CPU may go on executing that int3
 * when it is long gone: seen once, a guest that hung in a test's first mkdir. So one CPU
 * makes it, alone, and it stays: without it the kernel would patch some of that back.
 */
static void make_first_cgroup(void)
{
	set_other_cpus("0");
	if (mkdir("/sys/fs/cgroup/first", 0755) < 0)
		say("/sys/fs/cgroup/first: %s", strerror(errno));
	set_other_cpus("1");
}

static void mount_filesystems(void)
{
	mount_or_say("proc", "/proc", NULL);
	mount_or_say("sysfs", "/sys", NULL);
	mount_or_say("devtmpfs", "/dev", NULL);
	mkdir("/dev/shm", 01777);
	mkdir("/dev/pts", 0755);
	mount_or_say("tmpfs", "/dev/shm", "mode=1777");
	mount_or_say("devpts", "/dev/pts", "mode=600,ptmxmode=666");
	/* /tmp stays the overlay: a clone of the host's /tmp is visible in the guest. */
	mount_or_say("tmpfs", "/run", "mode=755");
	mkdir("/run/lock", 01777);
	mount_or_say("cgroup2", "/sys/fs/cgroup", NULL);
	mount_or_say("debugfs", "/sys/kernel/debug", NULL);
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory +io +cpu +pids");
	make_first_cgroup();
	if (symlink("/proc/self/fd", "/dev/fd") < 0 ||
	    symlink("/proc/self/fd/0", "/dev/stdin") < 0 ||
	    symlink("/proc/self/fd/1", "/dev/stdout") < 0 ||
	    symlink("/proc/self/fd/2", "/dev/stderr") < 0)
		say("/dev/fd: %s", strerror(errno));
	mkdir("/guest", 0755);
	need(mount_9p("guest", "/guest", false), "mount /guest");
}

/* "IFACE ADDRESS MTU [GATEWAY]"; every net is a /24. */
static void set_address(const char *line)
{
	char name[IFNAMSIZ], address[32], gateway[32] = "";
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), mtu;
	struct ifreq ifr = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&ifr.ifr_addr;
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };

	if (sscanf(line, "%15s %31s %d %31s", name, address, &mtu, gateway) < 3)
		return;
	strcpy(ifr.ifr_name, name);
	in->sin_family = AF_INET;
	inet_pton(AF_INET, address, &in->sin_addr);
	if (ioctl(fd, SIOCSIFADDR, &ifr) < 0)
		say("%s: %s", name, strerror(errno));
	inet_pton(AF_INET, "255.255.255.0", &in->sin_addr);
	if (strcmp(name, "lo"))
		ioctl(fd, SIOCSIFNETMASK, &ifr);
	ifr.ifr_mtu = mtu;
	if (mtu && ioctl(fd, SIOCSIFMTU, &ifr) < 0)
		say("%s: MTU %d: %s", name, mtu, strerror(errno));
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	ioctl(fd, SIOCSIFFLAGS, &ifr);
	if (*gateway) {
		in = (struct sockaddr_in *)&route.rt_gateway;
		in->sin_family = AF_INET;
		inet_pton(AF_INET, gateway, &in->sin_addr);
		route.rt_dst.sa_family = route.rt_genmask.sa_family = AF_INET;
		if (ioctl(fd, SIOCADDRT, &route) < 0)
			say("%s: route: %s", name, strerror(errno));
	}
	close(fd);
}

static int run_quietly(const char *const *argv)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		execv(argv[0], (char *const *)argv);
		_exit(STATUS_NO_EXEC);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	return status;
}

static void obey(char *line)
{
	char *value = strchr(line, ' ');

	if (!value)
		return;
	*value++ = 0;
	if (!strcmp(line, "cwd")) {
		snprintf(wish.cwd, sizeof(wish.cwd), "%s", value);
	} else if (!strcmp(line, "shell")) {
		wish.shell = true;
		sscanf(value, "%hu %hu", &wish.window.ws_row, &wish.window.ws_col);
	} else if (!strcmp(line, "console")) {
		wish.console_level = atoi(value);
	} else if (!strcmp(line, "limit")) {
		wish.limit_seconds = atoi(value);
	} else if (!strcmp(line, "hostname")) {
		if (sethostname(value, strlen(value)) < 0)
			say("hostname: %s", strerror(errno));
	} else if (!strcmp(line, "net")) {
		set_address(value);
	} else if (!strcmp(line, "modules")) { /* FOLDER RELEASE */
		char *release = strrchr(value, '/') + 1, to[256];

		snprintf(to, sizeof(to), "/lib/modules/%s", release);
		mkdirs(to);
		if (mount(value, to, NULL, MS_BIND, NULL) < 0)
			say("%s: %s", to, strerror(errno));
	} else if (!strcmp(line, "module")) {
		const char *argv[] = { "/sbin/modprobe", value, NULL };

		if (run_quietly(argv) != 0)
			say("modprobe %s failed", value);
	} else if (!strcmp(line, "share")) { /* TAG FOLDER */
		char *where = strchr(value, ' ');

		*where++ = 0;
		mkdirs(where);
		if (mount_9p(value, where, false) < 0)
			say("share %s: %s", where, strerror(errno));
	} else {
		say("config: %s?", line);
	}
}

static void read_words(const char *path, const char **words)
{
	size_t len, n = 0;
	char *text = read_file(path, &len);

	for (size_t i = 0; i < len && n < MAX_WORDS - 1; i += strlen(text + i) + 1)
		words[n++] = text + i;
	words[n] = NULL;
}

static void read_wish(void)
{
	size_t len;
	char *text = read_file("/guest/config", &len), *save = NULL;

	wish.console_level = 7;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		obey(l);
	read_words("/guest/argv", wish.argv);
	read_words("/guest/environ", wish.environ);
}

/* The child: an ordinary process again. Never returns. */
static void become_command(int out, int err)
{
	sigset_t none;
	int in = wish.shell ? open("/dev/ttyS0", O_RDWR) : open("/dev/null", O_RDONLY);

	setsid();
	if (wish.shell) {
		ioctl(in, TIOCSCTTY, 1);
		ioctl(in, TIOCSWINSZ, &wish.window);
		out = err = in;
	}
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	syscall(SYS_close_range, 3, ~0U, 0);
	write_file("/proc/self/oom_score_adj", "0");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	environ = (char **)wish.environ;
	if (chdir(wish.cwd) < 0) {
		dprintf(2, "guest: %s: %s\n", wish.cwd, strerror(errno));
		_exit(STATUS_NO_EXEC);
	}
	execvp(wish.argv[0], (char *const *)wish.argv);
	dprintf(2, "guest: %s: %s\n", wish.argv[0], strerror(errno));
	_exit(errno == ENOENT ? STATUS_NO_EXEC : STATUS_NO_EXEC - 1);
}

/* One read's worth, pipe to port. False at the end of the pipe, or if it is empty. */
static bool relay(int from, int to)
{
	static char buf[32768];
	ssize_t len = read(from, buf, sizeof(buf));

	for (ssize_t done = 0, n; done < len; done += n) {
		n = write(to, buf + done, len - done);
		if (n <= 0)
			break;
	}
	return len > 0;
}

/* The time is over: who is stuck, and what memory is left, for the console log. */
static void tell_stuck(int number)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	klogctl(8, NULL, 8);
	if (fd < 0 || write(fd, "w", 1) < 0 || write(fd, "m", 1) < 0)
		say("sysrq: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

/*
 * Relays the output until the command ends (whatever of its children lives on), then
 * what the pipes still hold. The ports can be opened once only, pipes as often as
 * wanted: so `echo >/dev/stderr` works in the guest.
 */
static int run_command(int out, int err)
{
	int o[2], e[2], sig, status = 0;
	struct signalfd_siginfo info;
	sigset_t chld;
	pid_t pid, dead;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	sig = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	need(sig, "signalfd");
	need(pipe2(o, O_CLOEXEC), "pipe");
	need(pipe2(e, O_CLOEXEC), "pipe");
	pid = fork();
	need(pid, "fork");
	if (pid == 0)
		become_command(o[1], e[1]);
	signal(SIGALRM, tell_stuck);
	alarm(wish.limit_seconds);
	fcntl(o[0], F_SETFL, O_NONBLOCK);
	fcntl(e[0], F_SETFL, O_NONBLOCK);

	for (bool alive = true; alive;) {
		struct pollfd p[] = { { o[0], POLLIN, 0 },
				      { e[0], POLLIN, 0 },
				      { sig, POLLIN, 0 } };
		int one;

		poll(p, 3, -1);
		relay(o[0], out);
		relay(e[0], err);
		if (read(sig, &info, sizeof(info)) < 0)
			continue;
		while ((dead = waitpid(-1, &one, WNOHANG)) > 0)
			if (dead == pid) {
				status = one;
				alive = false;
			}
	}
	while (relay(o[0], out))
		;
	while (relay(e[0], err))
		;
	return status;
}

/* A disk that has lost its server would hold sync for ever: give it some seconds. */
static void sync_disks(void)
{
	sigset_t chld;
	struct timespec limit = { .tv_sec = SYNC_SECONDS };
	pid_t pid = fork();

	if (pid == 0) {
		sync();
		_exit(0);
	}
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0)
		if (sigtimedwait(&chld, NULL, &limit) < 0 && errno == EAGAIN)
			break;
}

/* Ports appear a moment after their driver. */
static int open_port(const char *path)
{
	int fd = -1;

	for (int i = 0; i < 10000 && fd < 0; i++) {
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			usleep(1000);
	}
	need(fd, path);
	return fd;
}

int main(void)
{
	char text[32];
	int out, err, status;

	mlockall(MCL_CURRENT | MCL_FUTURE);
	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	load_modules();
	enter_root();
	mount_filesystems();
	write_file("/proc/self/oom_score_adj", "-1000");
	read_wish();
	set_address("lo 127.0.0.1 0");
	out = open_port("/dev/vport0p1");
	err = open_port("/dev/vport0p2");
	klogctl(8, NULL, wish.console_level);
	write_file("/guest/started", "");

	status = run_command(out, err);
	snprintf(text, sizeof(text), "%d\n", status);
	write_file("/guest/status.new", text);
	sync_disks();
	rename("/guest/status.new", "/guest/status");
	end_guest();
}
