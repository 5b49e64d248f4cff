# SPDX-License-Identifier: GPL-2.0-or-later
"""The two figures of Nagai et al., Remote swap for virtual servers: throughput of a
guest's process that touches more memory than there is, with the swap on remote memory,
as a ratio to the same with the swap on a local disk. Figure 1: blocks of 1 KiB, the
data grows. Figure 2: the data is fixed, the blocks grow.

measure() does it in one guest, medium after medium for each data size, so that what
else the machine does falls on all alike; tables() and svg() show the result.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from bench.lib import plot
from bench.serve.peers import free_port

MIB = 1 << 20
KINDS = (("seq", "read"), ("rand", "read"), ("seq", "write"), ("rand", "write"))
WORDS = {("seq", "read"): "sequential read", ("rand", "read"): "random read",
         ("seq", "write"): "sequential write", ("rand", "write"): "random write"}

MEDIA = {  # the table's words
    "disk": "local disk", "disk-200": "disk, 200 IOPS", "nvme": "remem NVMe/TCP",
    "nbd": "remem NBD", "iscsi": "remem iSCSI", "nbdkit": "nbdkit NBD",
}
DISKS, REMOTE = ("disk", "disk-200"), ("nvme", "nbd", "iscsi", "nbdkit")
PAPER = ("The paper's: 1 GB of RAM, a spinning disk, iSCSI over 10 GbE: no difference while\n"
         "all fits; then sequential reads 2.5-3.2, random reads 22-27 times the disk's;\n"
         "blocks of 64 KiB and more 1.1-1.2 times.")


class Failed(Exception):
    """The measurement could not be done, with the reason."""


class Plan:
    """What is measured: multiples of RAM, block sizes, seconds of each phase."""

    def __init__(self, short, media, ram_mib=None, seconds=None, rounds=1):
        self.media, self.rounds = media, rounds
        self.ram_mib = ram_mib or (256 if short else 384)
        self.seconds = seconds or (2 if short else 4)
        self.sizes = (0.5, 2) if short else (0.5, 1, 1.5, 2, 3, 4)
        self.blocks = (1, 64, 1024) if short else (1, 4, 16, 64, 256, 1024)
        self.block_size_at = 2  # times RAM, of figure 2

    def data_mib(self, size):
        return int(size * self.ram_mib)

    def swap_mib(self):
        return self.data_mib(max(self.sizes)) + 64

    def steps(self):
        """(medium, multiple of RAM, blocks in KiB)"""
        for _ in range(self.rounds):
            for size in self.sizes:
                for medium in self.media:
                    yield medium, size, self.blocks if size == self.block_size_at else (1,)

    def seconds_at_most(self):
        """A bound for the guest's time-out, not a prediction."""
        total = 60
        for _, size, blocks in self.steps():
            total += 10 + 4 * len(blocks) * (self.seconds + 1) + self.data_mib(size) / 10
        return total * 1.5


def hog_words(plan, medium, size, blocks):
    words = ["--data", f"{plan.data_mib(size)}M", "--seconds", str(plan.seconds)]
    for kib in blocks:
        for pattern, op in KINDS:
            words += ["--touch", f"{pattern}:{op}:{kib}K"]
    # Every block read is verified in any case; reading all once more at 200 IOPS would
    # take longer than all the rest.
    return words if medium == "disk-200" else words + ["--verify-all"]


class Memserver:
    """Ours, on free ports of loopback; guests reach it at 10.0.2.2. iSCSI (root only, with
    tgtd) has an export of its own: one that was just used over another door is lent to tgtd
    a second later only."""

    def __init__(self, build, tmpfs, size_mib, iscsi):
        self.dir = tempfile.mkdtemp(prefix="remem-swap-", dir=tmpfs)
        self.ports = {"nbd": free_port(), "nvme": free_port(), "iscsi": free_port()}
        more = ["--export", f"iscsi={size_mib}M",
                "--iscsi", f"127.0.0.1:{self.ports['iscsi']}"] if iscsi else []
        os.mkdir(f"{self.dir}/pool")
        with open(f"{self.dir}/log", "w+", encoding="utf-8") as log:
            self.proc = subprocess.Popen(
                [f"{build}/memserver", "--export", f"{size_mib}M",
                 "--nbd", f"127.0.0.1:{self.ports['nbd']}",
                 "--nvme", f"127.0.0.1:{self.ports['nvme']}", "--discovery", "off",
                 "--metrics", "off", "--control", f"{self.dir}/control",
                 "--pool", f"{self.dir}/pool", *more],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def target(self, medium):
        scheme = {"nvme": "nvme-tcp"}.get(medium, medium)
        name = {"iscsi": "iscsi"}.get(medium, "default")
        return f"{scheme}://10.0.2.2:{self.ports[medium]}/{name}"

    def stop(self):
        said = ""
        if self.proc.poll() not in (None, 0):
            with open(f"{self.dir}/log", encoding="utf-8", errors="replace") as f:
                said = f.read()[-500:]
        self.proc.terminate()
        self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
        return said


class Nbdkit:
    def __init__(self, size_mib):
        self.port = free_port()
        self.proc = subprocess.Popen(
            ["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(self.port), "memory", f"{size_mib}M"],
            stdin=subprocess.DEVNULL)

    def target(self, _):
        return f"nbd-client:10.0.2.2:{self.port}"

    def stop(self):
        # It waits for the guest's connection for ever when asked to end.
        self.proc.kill()
        self.proc.wait()
        return ""


def disk_file(folder, size_mib):
    fd, path = tempfile.mkstemp(prefix="remem-swap-", suffix=".disk", dir=folder)
    os.posix_fallocate(fd, 0, size_mib * MIB)
    os.close(fd)
    return path


def guest_argv(root, plan, disks, plan_path, build):
    argv = [f"{root}/tests/vm/guest-run", "--mem", f"{plan.ram_mib}M", "--timeout",
            str(int(plan.seconds_at_most()))]
    for name, path in disks.items():
        argv += ["--disk", path + ",cache=none" + (
            ",throttle-iops=200" if name == "disk-200" else "")]
    return argv + ["--", f"{root}/bench/swap/guest", plan_path, f"{build}/bench/swap/hog",
                   f"{build}/memswap"]


def run_guest(argv, plan, progress):
    """-> (what the guest says of itself, [(medium, size, hog's words)])"""
    guest, got, steps = None, [], plan.steps()
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True) as proc:
        try:
            for line in proc.stdout:
                if not line.startswith("{"):
                    progress(line.rstrip())
                    continue
                said = json.loads(line)
                if "guest" in said:
                    guest = said["guest"]
                    continue
                medium, size, _ = next(steps)
                if said["hog"] is None:
                    raise Failed(f"hog on {MEDIA[medium]} ended with {said['status']}")
                got.append((medium, size, said["hog"]))
                progress(f"  {plan.data_mib(size)} MiB on {MEDIA[medium]}: "
                         + ", ".join(f"{t['pattern']} {t['op']} {t['MBps']:.3g}"
                                     for t in said["hog"]["touches"][:4]) + " MB/s")
        except BaseException:
            proc.terminate()
            raise
    if proc.returncode:
        raise Failed(f"the guest ended with status {proc.returncode}")
    return guest, got


def measure(root, plan, build, tmpfs="/dev/shm", disk_dir="/var/tmp",
            progress=lambda text: print(text, file=sys.stderr, flush=True)):
    """-> {"guest", "plan", "points": {(medium, size, KiB, pattern, op): [MB/s]}, ...}"""
    servers, disks, work = {}, {}, tempfile.mkdtemp(prefix="remem-swap-")
    try:
        for medium in plan.media:
            if medium in DISKS:
                disks[medium] = disk_file(disk_dir, plan.swap_mib())
            elif medium == "nbdkit":
                servers[medium] = Nbdkit(plan.swap_mib())
            else:
                ours = [s for s in servers.values() if isinstance(s, Memserver)]
                servers[medium] = ours[0] if ours else Memserver(
                    build, tmpfs, plan.swap_mib(), "iscsi" in plan.media)
        devices = {name: f"/dev/vd{chr(ord('a') + i)}" for i, name in enumerate(disks)}
        plan_path = f"{work}/plan"
        with open(plan_path, "w", encoding="ascii") as f:
            for medium, size, blocks in plan.steps():
                target = devices.get(medium) or servers[medium].target(medium)
                f.write(f"{medium} {target} {int(medium == 'disk-200')} "
                        + " ".join(hog_words(plan, medium, size, blocks)) + "\n")
        guest, got = run_guest(guest_argv(root, plan, disks, plan_path, build), plan, progress)
    finally:
        for said in {id(s): s for s in servers.values()}.values():
            words = said.stop()
            if words:
                progress(f"the server said: {words}")
        for path in disks.values():
            os.unlink(path)
        shutil.rmtree(work, ignore_errors=True)
    points, pages, wrong = {}, 0, 0
    for medium, size, hog in got:
        pages += hog["pages_verified"]
        wrong += hog["errors"]
        for t in hog["touches"]:
            key = (medium, size, t["block_bytes"] // 1024, t["pattern"], t["op"])
            points.setdefault(key, []).append(t["MBps"])
    return {"guest": guest, "plan": plan, "points": points, "pages_verified": pages,
            "errors": wrong, "raw": got}


def speed(result, medium, size, kib, kind):
    got = result["points"].get((medium, size, kib, *kind))
    return statistics.median(got) if got else None


def ratio(result, remote, disk, size, kib, kind):
    """Round by round; the median counts."""
    a, b = (result["points"].get((m, size, kib, *kind), ()) for m in (remote, disk))
    got = [x / y for x, y in zip(a, b) if y]
    return statistics.median(got) if got else None


def number(v):
    if v is None:
        return "-"
    return f"{v:.0f}" if v >= 100 else f"{v:.1f}" if v >= 10 else f"{v:.2f}"


def figure_table(result, points, first_column):
    """Rows: a point of the figure and a kind of access; MB/s, then the ratios."""
    media = result["plan"].media
    pairs = [(r, d) for r in media if r in REMOTE for d in media if d in DISKS]
    rows = [[first_column, ""] + [f"{MEDIA[m]}" for m in media]
            + [f"{MEDIA[r].removeprefix('remem ')} : {MEDIA[d]}" for r, d in pairs]]
    for label, size, kib in points:
        for n, kind in enumerate(KINDS):
            rows.append([label if n == 0 else "", WORDS[kind]]
                        + [number(speed(result, m, size, kib, kind)) for m in media]
                        + [f"x {number(ratio(result, r, d, size, kib, kind))}" for r, d in pairs])
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    out = []
    for n, row in enumerate(rows):
        out.append("  ".join(c.ljust(w) if i < 2 else c.rjust(w)
                             for i, (c, w) in enumerate(zip(row, widths))).rstrip())
        if n == 0:
            out.append("  ".join("-" * w for w in widths))
    return "\n".join(out)


def size_label(plan, size):
    return f"{plan.data_mib(size)} MiB ({size:g} x RAM)"


def block_label(kib):
    return f"{kib} KiB" if kib < 1024 else f"{kib // 1024} MiB"


def tables(result):
    plan, guest = result["plan"], result["guest"]
    return "\n\n".join((
        f"A guest of {plan.ram_mib} MiB RAM ({guest['usable'] // MIB} MiB usable), Linux "
        f"{guest['kernel']}; MB/s touched by one process,\nthen the ratio of remote memory to "
        "each disk.",
        "Figure 1: blocks of 1 KiB, the data grows\n" + figure_table(
            result, [(size_label(plan, s), s, 1) for s in plan.sizes], "data"),
        f"Figure 2: {size_label(plan, plan.block_size_at)} of data, the blocks grow\n"
        + figure_table(result, [(block_label(k), plan.block_size_at, k) for k in plan.blocks],
                       "block"),
        PAPER,
        f"{result['pages_verified']:,} pages of 4 KiB verified, {result['errors']} wrong."))


def svg(path, result, date):
    plan, panels = result["plan"], []
    remotes = [m for m in plan.media if m in REMOTE]
    for disk in (m for m in plan.media if m in DISKS):
        for title, points, x_label in (
                ("Figure 1: blocks of 1 KiB, the data grows",
                 [(f"{plan.data_mib(s)}", s, 1) for s in plan.sizes],
                 f"data, MiB (RAM: {plan.ram_mib} MiB)"),
                (f"Figure 2: {plan.data_mib(plan.block_size_at)} MiB of data, the blocks grow",
                 [(block_label(k), plan.block_size_at, k) for k in plan.blocks], "block size")):
            series = [{"label": f"{MEDIA[r]}, {WORDS[kind]}", "color": n, "dash": r != remotes[0],
                       "values": [ratio(result, r, disk, s, k, kind) for _, s, k in points]}
                      for r in remotes for n, kind in enumerate(KINDS)]
            panels.append({"title": title, "note": f"swap on remote memory : {MEDIA[disk]}",
                           "x": [p[0] for p in points], "x_label": x_label, "log": True,
                           "y_label": "throughput ratio", "series": series})
    if not panels or not remotes:
        return False
    plot.lines(path, "A guest's swap on remote memory against a local disk",
               f"{date}; guest of {plan.ram_mib} MiB, one process; above the dashed line remote "
               "memory is faster", panels)
    return True


def as_json(result):
    plan = result["plan"]
    return {"guest": result["guest"], "ram_mib": plan.ram_mib, "seconds": plan.seconds,
            "rounds": plan.rounds, "pages_verified": result["pages_verified"],
            "errors": result["errors"],
            "points": [{"medium": m, "times_ram": s, "block_kib": k, "pattern": p, "op": o,
                        "MBps": v} for (m, s, k, p, o), v in result["points"].items()],
            "raw": [{"medium": m, "times_ram": s, "hog": h} for m, s, h in result["raw"]]}
