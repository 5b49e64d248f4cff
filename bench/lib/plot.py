# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots as SVG, written by hand: bars for programs side by side, lines for a figure
with a numeric axis. Values in, one file out; no library needed."""

import math
from xml.sax.saxutils import escape

FONT = "font-family='DejaVu Sans,Helvetica,Arial,sans-serif'"
INK, GRID, MUTED = "#1b1f24", "#d8dde3", "#5b6570"
OURS = ("#0b5cad", "#7fb2e5")
PEER = ("#7a838c", "#c3c9cf")
BOUND = ("#3a7d44", "#a9d3ae")
LINES = ("#0b5cad", "#c2452d", "#3a7d44", "#8a5cb5", "#b8860b", "#4d4d4d")


def number(v):
    """A value as a person reads it: three digits are enough."""
    if v >= 1000:
        return f"{v:,.0f}"
    if v >= 100:
        return f"{v:.0f}"
    if v >= 10:
        return f"{v:.1f}"
    return f"{v:.2f}"


class Svg:
    def __init__(self, width, height):
        self.width, self.height, self.out = width, height, []

    def text(self, x, y, s, size=12, color=INK, anchor="start", weight="normal", turn=0):
        extra = f" transform='rotate({turn} {x:.1f} {y:.1f})'" if turn else ""
        self.out.append(
            f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{color}' "
            f"text-anchor='{anchor}' font-weight='{weight}'{extra}>{escape(s)}</text>")

    def rect(self, x, y, w, h, color):
        self.out.append(f"<rect x='{x:.1f}' y='{y:.1f}' width='{max(w, 0.5):.1f}' "
                        f"height='{h:.1f}' fill='{color}'/>")

    def line(self, x1, y1, x2, y2, color=GRID, width=1.0, dash=None):
        extra = f" stroke-dasharray='{dash}'" if dash else ""
        self.out.append(f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' "
                        f"stroke='{color}' stroke-width='{width}'{extra}/>")

    def poly(self, points, color, dash=None):
        extra = f" stroke-dasharray='{dash}'" if dash else ""
        pts = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.out.append(f"<polyline points='{pts}' fill='none' stroke='{color}' "
                        f"stroke-width='2'{extra}/>")

    def dot(self, x, y, color, hollow=False):
        fill = "#ffffff" if hollow else color
        self.out.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{fill}' "
                        f"stroke='{color}' stroke-width='1.5'/>")

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"<svg xmlns='http://www.w3.org/2000/svg' width='{self.width}' "
                    f"height='{self.height}' viewBox='0 0 {self.width} {self.height}' {FONT}>\n"
                    f"<rect width='100%' height='100%' fill='#ffffff'/>\n"
                    + "\n".join(self.out) + "\n</svg>\n")


def nice_step(top, ticks=4):
    raw = top / ticks
    power = 10 ** math.floor(math.log10(raw))
    for m in (1, 2, 2.5, 5, 10):
        if raw <= m * power:
            return m * power
    return 10 * power


def bar_panel(svg, x, y, width, panel):
    """One panel: a row per program, a bar per series. Returns its height."""
    label_w, value_w, bar_h, gap = 190, 52, 9, 7
    rows = [r for r in panel["rows"] if any(v is not None for v in r["values"])]
    nr = len(panel["series"])
    row_h = nr * bar_h + gap
    plot_w = width - label_w - value_w
    top = max((v for r in rows for v in r["values"] if v is not None), default=1) or 1
    step = nice_step(top)
    svg.text(x, y + 13, panel["title"], 13, weight="bold")
    svg.text(x, y + 28, panel["note"], 11, MUTED)
    y0 = y + 38
    height = len(rows) * row_h
    t = 0.0
    while t <= top * 1.0001:
        gx = x + label_w + plot_w * t / top
        svg.line(gx, y0, gx, y0 + height)
        svg.text(gx, y0 + height + 13, number(t) if t else "0", 10, MUTED, "middle")
        t += step
    svg.text(x + label_w + plot_w / 2, y0 + height + 28, panel["unit"], 11, MUTED, "middle")
    for i, row in enumerate(rows):
        ry = y0 + i * row_h + gap / 2
        colors = {"ours": OURS, "bound": BOUND}.get(row["kind"], PEER)
        svg.text(x + label_w - 8, ry + nr * bar_h / 2 + 4, row["label"], 11, anchor="end",
                 weight="bold" if row["kind"] == "ours" else "normal")
        for s, v in enumerate(row["values"]):
            if v is None:
                continue
            w = plot_w * v / top
            svg.rect(x + label_w, ry + s * bar_h, w, bar_h - 1, colors[s])
            svg.text(x + label_w + w + 4, ry + s * bar_h + bar_h - 1.5, number(v), 9, MUTED)
    svg.line(x + label_w, y0, x + label_w, y0 + height, INK)
    return 38 + height + 36


def bars(path, title, subtitle, panels, columns=2):
    width, margin = 1180, 24
    col_w = (width - margin * (columns + 1)) / columns
    tall = 110
    scratch, heights = Svg(1, 1), []
    for p in panels:
        heights.append(bar_panel(scratch, 0, 0, col_w, p))
    for i in range(0, len(panels), columns):
        tall += max(heights[i:i + columns]) + 16
    svg = Svg(width, tall)
    svg.text(margin, 34, title, 18, weight="bold")
    svg.text(margin, 54, subtitle, 12, MUTED)
    lx = margin
    for label, pair in (("remem", OURS), ("peers", PEER), ("limit: bare request and reply", BOUND)):
        svg.rect(lx, 68, 12, 12, pair[0])
        svg.rect(lx + 13, 68, 12, 12, pair[1])
        svg.text(lx + 31, 78, f"{label} (read, write)", 11, MUTED)
        lx += 60 + 7 * len(label) + 90
    y = 98
    for i in range(0, len(panels), columns):
        for c, p in enumerate(panels[i:i + columns]):
            bar_panel(svg, margin + c * (col_w + margin), y, col_w, p)
        y += max(heights[i:i + columns]) + 16
    svg.save(path)


def line_panel(svg, x, y, width, height, panel):
    """x values are categories in their order; y is linear or logarithmic."""
    left, bottom, top_pad = 62, 46, 40
    px, py = x + left, y + top_pad
    pw, ph = width - left - 12, height - top_pad - bottom
    values = [v for s in panel["series"] for v in s["values"] if v]
    if not values:
        return
    log = panel.get("log", False)
    hi, lo = max(values) * 1.05, min(min(values), 1.0) * 0.95
    if log:
        lo_e, hi_e = math.floor(math.log10(lo)), math.ceil(math.log10(hi))
        ticks = [m * 10.0 ** e for e in range(lo_e, hi_e + 1) for m in (1, 2, 5)]
        lo, hi = max(t for t in ticks if t <= lo), min(t for t in ticks if t >= hi)
        ticks = [t for t in ticks if lo <= t <= hi]
    else:
        step = nice_step(hi)
        lo, hi = 0.0, math.ceil(hi / step) * step
        ticks = [i * step for i in range(int(round(hi / step)) + 1)]

    def at(v):
        f = ((math.log10(v) - math.log10(lo)) / (math.log10(hi) - math.log10(lo))
             if log else (v - lo) / (hi - lo))
        return py + ph * (1 - f)

    n = len(panel["x"])
    xs = [px + pw * (i + 0.5) / n for i in range(n)]
    svg.text(x, y + 14, panel["title"], 13, weight="bold")
    svg.text(x, y + 30, panel.get("note", ""), 11, MUTED)
    for t in ticks:
        svg.line(px, at(t), px + pw, at(t))
        svg.text(px - 6, at(t) + 4, f"{t:g}", 10, MUTED, "end")
    if lo <= 1 <= hi:
        svg.line(px, at(1), px + pw, at(1), MUTED, 1, "4 3")
    for cx, label in zip(xs, panel["x"]):
        svg.text(cx, py + ph + 16, label, 10, MUTED, "middle")
    svg.text(px + pw / 2, py + ph + 34, panel["x_label"], 11, MUTED, "middle")
    svg.text(x + 12, py + ph / 2, panel["y_label"], 11, MUTED, "middle", turn=-90)
    svg.line(px, py, px, py + ph, INK)
    svg.line(px, py + ph, px + pw, py + ph, INK)
    for i, s in enumerate(panel["series"]):
        color = LINES[s.get("color", i) % len(LINES)]
        pts = [(cx, at(v)) for cx, v in zip(xs, s["values"]) if v]
        svg.poly(pts, color, "5 4" if s.get("dash") else None)
        for cx, cy in pts:
            svg.dot(cx, cy, color, s.get("dash", False))


def legend(svg, margin, y, panels):
    """Every series once, in as many rows as they need; returns where the rows end."""
    x, seen = margin, []
    for p in panels:
        for i, s in enumerate(p["series"]):
            if s["label"] in seen:
                continue
            seen.append(s["label"])
            width = 56 + 6.6 * len(s["label"])
            if x > margin and x + width > svg.width - margin:
                x, y = margin, y + 18
            color = LINES[s.get("color", i) % len(LINES)]
            svg.line(x, y, x + 26, y, color, 2, "5 4" if s.get("dash") else None)
            svg.dot(x + 13, y, color, s.get("dash", False))
            svg.text(x + 32, y + 4, s["label"], 11, MUTED)
            x += width
    return y


def lines(path, title, subtitle, panels, columns=2):
    width, margin, panel_h = 1180, 24, 300
    col_w = (width - margin * (columns + 1)) / columns
    rows = (len(panels) + columns - 1) // columns
    svg = Svg(width, 0)
    svg.text(margin, 34, title, 18, weight="bold")
    svg.text(margin, 54, subtitle, 12, MUTED)
    top = legend(svg, margin, 74, panels) + 24
    svg.height = top + 12 + rows * (panel_h + 16)
    for i, p in enumerate(panels):
        line_panel(svg, margin + (i % columns) * (col_w + margin),
                   top + (i // columns) * (panel_h + 16), col_w, panel_h, p)
    svg.save(path)
