# SPDX-License-Identifier: GPL-2.0-or-later
"""From raw results to a table, to ratios against what was promised, to a plot."""

import statistics

from bench.lib import plot

# The paragraph "Speed" of the design: us against whom, in which figure, at least or at
# most. A ratio is ours / theirs within a round; the median of the rounds counts.
NBDKIT, QSD, TGT = "nbdkit memory, TCP", "qemu-storage-daemon, TCP", "tgt rdwr, iSCSI"
SPIN = "limit TCP, spinning"
OURS = ("remem NBD, TCP", "remem NVMe/TCP")
TARGETS = (
    ("queue depth 1 read, p50", "qd1_read", "p50_us", SPIN, "<=", 1.08),
    ("queue depth 1 write, p50", "qd1_write", "p50_us", SPIN, "<=", 1.08),
    ("queue depth 1 read, p50", "qd1_read", "p50_us", NBDKIT, "<=", 0.4),
    ("queue depth 1 write, p50", "qd1_write", "p50_us", NBDKIT, "<=", 0.4),
    ("queue depth 32 reads per CPU-second", "qd32_read", "kio_per_cpu_s", NBDKIT, ">=", 5),
    ("queue depth 32 writes per CPU-second", "qd32_write", "kio_per_cpu_s", NBDKIT, ">=", 6),
    ("queue depth 32 reads per CPU-second", "qd32_read", "kio_per_cpu_s", QSD, ">=", 9),
    ("queue depth 32 writes per CPU-second", "qd32_write", "kio_per_cpu_s", QSD, ">=", 9),
    ("queue depth 32 reads per CPU-second", "qd32_read", "kio_per_cpu_s", TGT, ">=", 12),
    ("queue depth 32 writes per CPU-second", "qd32_write", "kio_per_cpu_s", TGT, ">=", 12),
    ("4 connections x 32, read IOPS", "c4_read", "kiops", NBDKIT, ">=", 7),
    ("4 connections x 32, write IOPS", "c4_write", "kiops", NBDKIT, ">=", 7),
    # "Level": what a run differs from the next by.
    ("128 KiB sequential reads", "128k_read", "MBps", NBDKIT, ">=", 0.95),
    ("128 KiB sequential writes", "128k_write", "MBps", NBDKIT, ">=", 0.95),
    ("1 MiB sequential reads", "1m_read", "MBps", NBDKIT, ">=", 0.95),
    ("1 MiB sequential writes", "1m_write", "MBps", NBDKIT, ">=", 0.95),
)
# The same of two doors named, ours first.
ISCSI = "remem iSCSI"
LEVEL = (
    ("queue depth 1 read, p50", "qd1_read", "p50_us", "<=", 1.05),
    ("queue depth 1 write, p50", "qd1_write", "p50_us", "<=", 1.05),
    ("queue depth 32, read IOPS", "qd32_read", "kiops", ">=", 0.95),
    ("queue depth 32, write IOPS", "qd32_write", "kiops", ">=", 0.95),
    ("1 MiB sequential reads", "1m_read", "MBps", ">=", 0.95),
    ("1 MiB sequential writes", "1m_write", "MBps", ">=", 0.95),
)
LOGIN, TLS = "remem NVMe/TCP, logged in", "remem NBD, TLS"
PAIRS = tuple((what, key, figure, ISCSI, TGT, sense, bound)
              for what, key, figure, sense, bound in LEVEL) + (
    ("queue depth 1 read, p50", "qd1_read", "p50_us", LOGIN, OURS[1], "<=", 1.02),
    ("queue depth 1 write, p50", "qd1_write", "p50_us", LOGIN, OURS[1], "<=", 1.02),
    ("queue depth 32, read IOPS", "qd32_read", "kiops", LOGIN, OURS[1], ">=", 1 / 1.02),
    ("queue depth 32, write IOPS", "qd32_write", "kiops", LOGIN, OURS[1], ">=", 1 / 1.02),
    ("queue depth 32, read IOPS", "qd32_read", "kiops", TLS, OURS[0], ">=", 0.6),
    ("queue depth 32, write IOPS", "qd32_write", "kiops", TLS, OURS[0], ">=", 0.6),
)
COLUMNS = (
    ("QD1 p50 µs", "qd1", "p50_us", 1), ("p99", "qd1", "p99_us", 0),
    ("polling QD1 p50", "spin_qd1", "p50_us", 1), ("QD32 kIOPS", "qd32", "kiops", 0),
    ("QD32 kIO/CPU-s", "qd32", "kio_per_cpu_s", 0), ("QD128 kIOPS", "qd128", "kiops", 0),
    ("4 x QD32 kIOPS", "c4", "kiops", 0), ("128K MB/s", "128k", "MBps", 0),
    ("1M MB/s", "1m", "MBps", 0),
)


def median(results, door, key, figure):
    got = [r[figure] for r in results.get(door, {}).get(key, ())]
    return statistics.median(got) if got else None


def ratio(results, ours, theirs, key, figure):
    """Round by round, so that what else the machine did falls out."""
    a, b = (results.get(d, {}).get(key, ()) for d in (ours, theirs))
    got = [x[figure] / y[figure] for x, y in zip(a, b) if y[figure]]
    return statistics.median(got) if got else None


def text_table(rows, align=None):
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    out = []
    for n, row in enumerate(rows):
        cells = [c.ljust(w) if i == 0 or (align and align[i] == "l") else c.rjust(w)
                 for i, (c, w) in enumerate(zip(row, widths))]
        out.append("  ".join(cells).rstrip())
        if n == 0:
            out.append("  ".join("-" * w for w in widths))
    return "\n".join(out)


def pair(results, door, key, figure, digits):
    got = [median(results, door, f"{key}_{op}", figure) for op in ("read", "write")]
    if got == [None, None]:
        return "-"
    return "/".join("-" if v is None else f"{v:.{digits}f}" for v in got)


def burst_table(results):
    rows = [["server (read/write)"] + [c[0] for c in COLUMNS]]
    for door in results:
        rows.append([door] + [pair(results, door, key, figure, digits)
                              for _, key, figure, digits in COLUMNS])
    return text_table(rows)


def disturbed(results, bound):
    """How far the machine was ours."""
    got = [r["disturbed"] for keys in results.values() for rs in keys.values() for r in rs]
    bad = sum(d > bound for d in got)
    return (f"{bad} of {len(got)} bursts lost more than {bound:.0%} of a CPU to other "
            "programs, even when repeated")


def mib(v):
    return f"{v / (1 << 20):.1f}"


def cost_table(costs):
    rows = [["4 GiB export", "first I/O ms", "own MiB, empty", "own MiB, loaded",
             "page tables MiB", "left of 1 MiB TRIMs, MiB", "left of 4 KiB TRIMs, MiB",
             "4 KiB TRIM k/s", "idle CPU %"]]
    for name, c in costs.items():
        rows.append([
            f"{name} ({mib(c['data'])} MiB written)", f"{c['first_io_ms']:.1f}",
            mib(c["empty"]["own"]), mib(c["own"]), mib(c["loaded"]["page_tables"]),
            mib(c["trim_1m"]["left"]), mib(c["trim_4k"]["left"]),
            f"{c['trim_4k']['kiops']:.0f}", f"{c['idle_cpu_percent']:.3f}"])
    return text_table(rows)


def verdict(value, sense, bound):
    ok = value <= bound if sense == "<=" else value >= bound
    return "met" if ok else "MISSED"


def target_rows(results, costs):
    """-> [{what, who, against, value, sense, bound, verdict}]"""
    rows = []

    def add(what, who, against, value, sense, bound):
        if value is not None:
            rows.append({"what": what, "who": who, "against": against, "value": value,
                         "sense": sense, "bound": bound,
                         "verdict": verdict(value, sense, bound)})

    for ours in OURS:
        for what, key, figure, theirs, sense, bound in TARGETS:
            add(what, ours, theirs, ratio(results, ours, theirs, key, figure), sense, bound)
    for what, key, figure, ours, theirs, sense, bound in PAIRS:
        add(what, ours, theirs, ratio(results, ours, theirs, key, figure), sense, bound)
    for name, c in costs.items():
        if not name.startswith("remem"):
            continue
        add("first I/O of a 4 GiB export, ms", name, "", c["first_io_ms"], "<=", 25)
        add("own memory, MiB, with what 0.1 % of the data allows", name, "",
            c["own"] / (1 << 20), "<=", 4 + 0.001 * c["data"] / (1 << 20))
        for key, words in (("trim_4k", "4 KiB TRIM"), ("trim_1m", "1 MiB TRIM")):
            t = c[key]
            add(f"memory back a second after {words}, %", name, "",
                100.0 * (1 - t["left"] / t["held"]) if t["held"] else None, ">=", 99.5)
        add("idle CPU, %", name, "", c["idle_cpu_percent"], "<=", 0.1)
    return rows


def target_table(rows):
    out = [["promise", "ours", "against", "value", "bound", ""]]
    for r in rows:
        out.append([r["what"], r["who"], r["against"], f"{r['value']:.2f}",
                    f"{r['sense']} {r['bound']:.3g}", r["verdict"]])
    return text_table(out, "lllrrl")


def svg(path, run):
    results, costs, kinds = run["bursts"], run["costs"], run["kinds"]
    shown = [d for d in results if "io_uring" not in d]
    panels = []

    def panel(title, note, unit, key, figure):
        rows = [{"label": d, "kind": kinds[d],
                 "values": [median(results, d, f"{key}_{op}", figure)
                            for op in ("read", "write")]} for d in shown]
        if any(v is not None for r in rows for v in r["values"]):
            panels.append({"title": title, "note": note, "unit": unit, "rows": rows,
                           "series": ("read", "write")})

    panel("4 KiB, queue depth 1: p50", "a sleeping client; less is better", "µs", "qd1",
          "p50_us")
    panel("4 KiB, queue depth 32: I/O per server-CPU-second", "more is better",
          "thousands", "qd32", "kio_per_cpu_s")
    panel("4 KiB, queue depth 32: IOPS", "more is better", "thousands", "qd32", "kiops")
    panel("4 KiB, 4 connections x queue depth 32: IOPS", "more is better", "thousands",
          "c4", "kiops")
    panel("128 KiB sequential, queue depth 8", "more is better", "MB/s", "128k", "MBps")
    panel("1 MiB sequential, queue depth 8", "more is better", "MB/s", "1m", "MBps")
    if not panels:
        return False
    plot.bars(path, "memserver and its peers",
              f"{run['date']}: {run['machine']}; one interleaved run, median of "
              f"{run['rounds']} rounds of {run['seconds']} s; server on one CPU, client on "
              "another", panels)
    return True
