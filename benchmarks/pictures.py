"""Pictures for the docs, readable on light and on dark pages. Needs matplotlib (``pip install -e ".[bench]"``).

Does not belong here: measuring, or deciding what is worth a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FixedLocator, NullLocator

#: Let in, rejected, and what is in between: each has contrast enough on white and on black.
_GOOD, _BAD, _GREY = "#2f81c9", "#e0574f", "#7d8590"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "quota",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _GREY,
    "axes.labelcolor": _GREY,
    "axes.edgecolor": _GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
}
_MOST = 2.0  # times the quota: higher peaks are cut, and say so


def draw_quota(runs: Mapping[str, tuple[Sequence[float], Sequence[float]]], path: Path, quota_per_s: float) -> None:
    """For each contender, calls let in and calls rejected in each second."""
    with mpl.rc_context(_STYLE):
        figure, rows = plt.subplots(len(runs), 2, figsize=(9, 1.45 * len(runs) + 0.5), sharex=True, squeeze=False)
        highest = max(10.0, *(max(rejected, default=0.0) for _, rejected in runs.values()))
        for (name, (let_in, rejected)), (left, right) in zip(runs.items(), rows, strict=True):
            left.stairs(let_in, fill=True, color=_GOOD, alpha=0.8, linewidth=0)
            left.axhline(quota_per_s, color=_GREY, linewidth=0.8, linestyle="--")
            left.set_ylim(0, _MOST * quota_per_s)
            left.set_title(name, loc="left", fontsize=10, fontweight="bold", color=_GREY)
            if max(let_in) > _MOST * quota_per_s:
                left.set_title(f"highest: {max(let_in):.0f}", loc="right", fontsize=8, color=_GREY)
            right.stairs(rejected, fill=True, color=_BAD, alpha=0.8, linewidth=0)
            right.set_yscale("symlog", linthresh=1.0)
            right.set_ylim(0, 1.5 * highest)
            right.yaxis.set_major_locator(FixedLocator([0, 1, 10, 100, 1_000]))
            right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            right.yaxis.set_minor_locator(NullLocator())
            right.set_title(f"{sum(rejected):,.0f} rejected in all", loc="right", fontsize=9, color=_GREY)
            left.set_ylabel("let in / s")
            right.set_ylabel("rejected / s")
        rows[-1][0].set_xlabel("seconds (dashed: the requests that the quota allows)")
        rows[-1][1].set_xlabel("seconds")
        for axis in rows[-1]:
            axis.set_xlim(0, max(len(let_in) for let_in, _ in runs.values()))
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)
