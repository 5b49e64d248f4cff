#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads Prometheus text from a URL as strictly as Prometheus does, and prints its samples.

    _prometheus.py http://127.0.0.1:9402/metrics

One line for each sample, name{label="value",...} value. Status 1 and the reason if anything is
not as the text format 0.0.4 wants it.
"""
import re
import sys
import urllib.request

LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")


def fail(number, line, why):
    sys.exit(f"line {number}: {why}: {line}")


def parse_labels(number, line, text):
    labels, at = {}, 0
    while at < len(text):
        found = LABEL.match(text, at)
        if not found or found[1] in labels:
            fail(number, line, "bad labels")
        labels[found[1]] = found[2]
        at = found.end()
    return labels


def family_of(name, types):
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if base != name and types.get(base) == "histogram":
            return base
    return name


def check_histogram(series, samples):
    """`series`: the labels without le; its buckets in the order they came."""
    bounds = [float(le) for le, _ in samples["buckets"]]
    counts = [value for _, value in samples["buckets"]]
    if bounds != sorted(set(bounds)) or bounds[-1] != float("inf"):
        sys.exit(f"{series}: bounds do not go up to +Inf")
    if counts != sorted(counts):
        sys.exit(f"{series}: buckets are not cumulative")
    if counts[-1] != samples.get("count") or "sum" not in samples:
        sys.exit(f"{series}: _count is not the last bucket, or there is no _sum")


def main():
    with urllib.request.urlopen(sys.argv[1], timeout=60) as reply:
        kind = reply.headers["Content-Type"]
        text = reply.read().decode()
    if not kind.startswith("text/plain; version=0.0.4"):
        sys.exit(f"content type {kind}")
    if not text.endswith("\n"):
        sys.exit("the last line does not end")
    helps, types, closed, seen, histograms = set(), {}, set(), set(), {}
    current = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("# "):
            _, keyword, name, rest = line.split(" ", 3)
            if name != current:
                if name in closed:
                    fail(number, line, "the family was left before")
                closed.add(current)
                current = name
            if keyword == "HELP":
                if name in helps:
                    fail(number, line, "HELP twice")
                helps.add(name)
            elif keyword == "TYPE":
                if name in types or rest not in ("counter", "gauge", "histogram"):
                    fail(number, line, "TYPE twice or unknown")
                types[name] = rest
            else:
                fail(number, line, "neither HELP nor TYPE")
            continue
        found = SAMPLE.fullmatch(line)
        if not found:
            fail(number, line, "no sample")
        name, value = found[1], float(found[3])
        labels = parse_labels(number, line, found[2] or "")
        family = family_of(name, types)
        if family != current or family not in types or family not in helps:
            fail(number, line, "not below its own HELP and TYPE")
        if types[family] == "counter" and not name.endswith("_total"):
            fail(number, line, "a counter that does not end in _total")
        if types[family] == "histogram" and name == family:
            fail(number, line, "a histogram has only buckets, sum and count")
        if types[family] != "gauge" and value < 0:
            fail(number, line, "below zero")
        key = (name, tuple(sorted(labels.items())))
        if key in seen:
            fail(number, line, "the same sample twice")
        seen.add(key)
        if types[family] == "histogram":
            le = labels.pop("le", None)
            series = histograms.setdefault((family, tuple(sorted(labels.items()))), {"buckets": []})
            if name.endswith("_bucket"):
                series["buckets"].append((le, value))
            else:
                series[name.removeprefix(family + "_")] = value
        print(line)
    if helps != set(types):
        sys.exit("HELP without TYPE or TYPE without HELP")
    for series, samples in histograms.items():
        check_histogram(series, samples)


main()
