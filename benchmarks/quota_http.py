"""The quota over real HTTP, in real time: ours beside the naive loop and the cookbook's algorithm.

    python -m benchmarks.quota_http                                  # every contender, 3 minutes each
    python -m benchmarks.quota_http --seconds 60 --rounds 3          # for the spread
    python -m benchmarks.quota_http --out /tmp/quota.json --picture docs/pictures/quota.svg
    python -m benchmarks.quota_http --from /tmp/quota.json --picture docs/pictures/quota.svg   # draw again, run nothing

One contender after the other, each a process of its own against a fresh server in another (``benchmarks.provider``, OpenAI's
dialect), through the real ``openai`` client. ``ours, blind`` calls a server that says nothing, neither headers nor waits. The
server's own counters are asked once a second; they are the truth. Sizes are mixed so that most often the requests of a minute
bind, and now and then its tokens (``rivals.py``).

``share``: what was let in of the limit that binds, over the whole time; a bucket that is full at the start makes more than 100 %
possible. ``later``: without the first third. ``rejected``: of all calls. ``N jobs in``: when the N-th was done, where N is three
quarters of what the quota allows in the time. ``given up``: jobs that ended without an answer. ``CPU``: of the contender's
process, of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.rivals import mean_tokens, play

#: Name in the table: (role, the server's dialect).
CONTENDERS = {
    "ours": ("ours", "openai"),
    "ours, blind": ("ours", "silent"),
    "naive, 64 workers": ("naive", "openai"),
    "cookbook": ("cookbook", "openai"),
}
_QUIET_S = 0.5  # between contenders


@dataclass(frozen=True)
class Quota:
    """The server's limits, by the minute."""

    rpm: float
    tpm: float

    def share(self, requests: float, tokens: float, seconds: float) -> float:
        """Of the limit that binds."""
        return 60.0 / seconds * max(requests / self.rpm, tokens / self.tpm)

    def jobs_in(self, seconds: float) -> float:
        """How many jobs the quota allows in the time."""
        return seconds / 60.0 * min(self.rpm, self.tpm / mean_tokens())


def _stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/_stats", timeout=10) as answer:
        stats: dict[str, Any] = json.load(answer)
    return stats


def _sample(url: str) -> dict[str, float]:
    stats = _stats(url)
    counts, used = stats["counts"], stats["used"]
    return {
        "at": time.time(),
        "admitted": counts["admitted"],
        "rejected": counts["rejected"],
        "requests": used["requests"],
        "tokens": used.get("tokens", 0.0),
    }


def _serve(dialect: str, options: argparse.Namespace, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.provider", "--dialect", dialect, "--seed", str(seed)]
    command += ["--rpm", str(options.rpm), "--tpm", str(options.tpm), "--burst-s", str(options.burst_s), "--latency", options.latency]
    # A silent provider counts as the talking one does: what is asked for is reserved.
    command += ["--accounting", "reserve", "--failures-count" if options.failures_count else "--no-failures-count"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def contend(name: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One contender against a fresh server: its own measures, and the server's counters second by second."""
    role, dialect = CONTENDERS[name]
    quota = Quota(options.rpm, options.tpm)
    server = _serve(dialect, options, seed)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("BENCH_DIR")) as folder:
            asked = {"url": url, "seconds": options.seconds, "rpm": options.rpm, "tpm": options.tpm, "folder": folder}
            asked |= {"jobs": int(2 * quota.jobs_in(options.seconds) + 500), "log": options.log}
            command = [sys.executable, "-m", "benchmarks.quota_http", "--role", role, "--options", json.dumps(asked)]
            load = os.getloadavg()[0]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            samples = [_sample(url)]
            while child.poll() is None:
                time.sleep(max(0.0, samples[-1]["at"] + 1.0 - time.time()))
                samples.append(_sample(url))
            said = child.stdout.read() if child.stdout is not None else ""
            if child.returncode != 0:
                raise SystemExit(f"{name} failed")
    finally:
        server.terminate()
        server.wait()
    return {"name": name, "load": load, "samples": samples, **json.loads(said.strip().splitlines()[-1])}


# -- what the counters say


def _counter(run: dict[str, Any], key: str, at_s: float) -> float:
    """A counter ``at_s`` seconds after the contender began, between two samples by the straight line."""
    at = run["started"] + at_s
    before, after = run["samples"][0], run["samples"][-1]
    for one, other in zip(run["samples"], run["samples"][1:], strict=False):
        if one["at"] <= at <= other["at"]:
            before, after = one, other
            break
    if after["at"] <= before["at"] or at >= after["at"]:
        return float(after[key])
    part = max(0.0, (at - before["at"]) / (after["at"] - before["at"]))
    return float(before[key] + part * (after[key] - before[key]))


def between(run: dict[str, Any], key: str, t0: float, t1: float) -> float:
    return _counter(run, key, t1) - _counter(run, key, t0)


def per_second(run: dict[str, Any], key: str) -> list[float]:
    return [between(run, key, float(second), second + 1.0) for second in range(round(run["seconds"]))]


def figures(run: dict[str, Any], quota: Quota) -> dict[str, float]:
    """The numbers of one row of the table."""
    end = float(run["seconds"])

    def share(t0: float) -> float:
        return 100 * quota.share(between(run, "requests", t0, end), between(run, "tokens", t0, end), end - t0)

    def rejected(t0: float) -> float:
        turned_away = between(run, "rejected", t0, end)
        return 100 * turned_away / max(1.0, turned_away + between(run, "admitted", t0, end))

    enough, done = round(0.75 * quota.jobs_in(round(end))), run["done_at"]
    return {
        "share": share(0.0),
        "later": share(end / 3),
        "rejected": rejected(0.0),
        "rejected later": rejected(end / 3),
        "drained_s": done[enough - 1] if len(done) >= enough else float("inf"),
        "done": len(done),
        "given up": run["failed"],
        "cpu": 100 * run["cpu_s"] / end,
        "cpu_ms": 1_000 * run["cpu_s"] / max(1, len(done)),
    }


def show(runs: list[dict[str, Any]], quota: Quota, seconds: float) -> None:
    enough = round(0.75 * quota.jobs_in(seconds))
    columns = {  # key: (head, digits)
        "share": ("share %", 1),
        "later": ("later %", 1),
        "rejected": ("rejected %", 2),
        "rejected later": ("later %", 2),
        "drained_s": (f"{enough} jobs in, s", 0),
        "done": ("jobs done", 0),
        "given up": ("given up", 0),
        "cpu": ("CPU %", 1),
        "cpu_ms": ("ms CPU a job", 1),
    }
    rows = [["contender", *(head for head, _ in columns.values())]]
    for name in CONTENDERS:
        found = [figures(run, quota) for run in runs if run["name"] == name]
        if found:
            cells = [harness.spread([one[key] for one in found], digits) for key, (_, digits) in columns.items()]
            rows.append([name, *(cell.replace("inf", "never") for cell in cells)])
    harness.table(rows)
    loads = [run["load"] for run in runs]
    print(f"\nload average of the machine at each start: {harness.spread(loads, 1)} on {os.cpu_count()} cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=180.0, help="for each contender; default 180")
    parser.add_argument("--rounds", type=int, default=1, help="default 1")
    parser.add_argument("--only", default="", help="contenders whose name contains this")
    parser.add_argument("--rpm", type=float, default=600.0, help="requests a minute; default 600")
    parser.add_argument("--tpm", type=float, default=240_000.0, help="tokens a minute; default 240,000: binds now and then")
    parser.add_argument("--burst-s", type=float, default=10.0, help="what the server's bucket holds, in seconds' worth; default 10")
    parser.add_argument("--failures-count", action="store_true", help="a rejected call uses up a request too: the naive loop then starves")
    parser.add_argument("--latency", default="0.4:0.01:0.3", metavar="BASE_S:PER_TOKEN_S:SIGMA", help="log-normal; default 0.4:0.01:0.3")
    parser.add_argument("--out", help="write the series, as JSON")
    parser.add_argument("--log", default="", help="where our scheduler writes its events; default: nowhere that stays")
    parser.add_argument("--from", dest="source", help="show the runs of such a file instead of running")
    parser.add_argument("--picture", help="draw the first round of every contender, as SVG (needs matplotlib)")
    options = parser.parse_args()
    if options.role:
        print(json.dumps(play(options.role, json.loads(options.options))), flush=True)
        os._exit(0)
    if options.source:
        stored = json.loads(Path(options.source).read_text())
        runs, quota, seconds = stored["runs"], Quota(stored["rpm"], stored["tpm"]), stored["seconds"]
    else:
        quota, seconds, runs = Quota(options.rpm, options.tpm), options.seconds, []
        for number in range(options.rounds):
            for name in CONTENDERS:
                if options.only in name:
                    runs.append(contend(name, options, number))
                    shown = {key: round(value, 1) for key, value in figures(runs[-1], quota).items()}
                    print(f"  round {number + 1}/{options.rounds} {name}: {shown}", file=sys.stderr, flush=True)
                    time.sleep(_QUIET_S)
        if options.out:
            Path(options.out).write_text(json.dumps({"rpm": quota.rpm, "tpm": quota.tpm, "seconds": seconds, "runs": runs}))
    show(runs, quota, seconds)
    if options.picture:
        from benchmarks.pictures import draw_quota  # matplotlib is wanted only here

        firsts = {run["name"]: run for run in reversed(runs)}
        series = {name: (per_second(run, "admitted"), per_second(run, "rejected")) for name, run in firsts.items()}
        draw_quota({name: series[name] for name in CONTENDERS if name in series}, Path(options.picture), quota.rpm / 60)


if __name__ == "__main__":
    main()
