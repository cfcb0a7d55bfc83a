"""Flags that many commands share, what their values mean, and the settings that come of them.

Precedence is flag > environment > file > default; ``settings.load`` does the merging. Does not belong
here: what a command does with its settings, or flags that only one command has.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.clock import SystemClock
from scheduler.errors import ConfigError
from scheduler.registry import Registry
from scheduler.runtime import Scheduler
from scheduler.settings import Settings, load

CONFIG_VARIABLE = "SCHEDULER_CONFIG"
CONFIG_HERE = Path("config.toml")

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help=f"Settings file (default: ${CONFIG_VARIABLE}, else ./config.toml if there is one)", metavar="FILE"),
]
StoreUrl = Annotated[str | None, typer.Option("--store", help="Where jobs live: sqlite:///FILE, postgresql://… or memory:", metavar="URL")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="Any other setting, for example provider.model=NAME", metavar="SECTION.KEY=VALUE")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines")]
Concurrency = Annotated[int | None, typer.Option("--concurrency", help="How many jobs run at once in this process", metavar="N")]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error", metavar="LEVEL")]
Statuses = Annotated[list[str] | None, typer.Option("--status", help="Only jobs with this status (may be given again)", metavar="STATUS")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only jobs with this reason (may be given again)", metavar="REASON")]
TaskTypes = Annotated[list[str] | None, typer.Option("--type", help="Only jobs of this task type (may be given again)", metavar="TYPE")]
TargetType = Annotated[str | None, typer.Option("--target-type", help="Only jobs on this type of target", metavar="TYPE")]
TargetId = Annotated[str | None, typer.Option("--target-id", help="Only jobs on this target", metavar="ID")]
Batch = Annotated[str | None, typer.Option("--batch", help="Only jobs of this batch", metavar="NAME")]
Text = Annotated[
    str | None, typer.Option("--text", help="Only jobs with this in their id, target id, type, unique key or error", metavar="TEXT")
]
Owner = Annotated[str | None, typer.Option("--owner", help="Only jobs of this owner", metavar="OWNER")]


def parse_past(text: str) -> float:
    """A time up to now in seconds since the epoch, for typer."""
    try:
        return moment(text, SystemClock.now(), ago=True)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Since = Annotated[
    float | None,
    typer.Option("--since", help="Only jobs created not before: a time, or 15m for that long ago", metavar="WHEN", parser=parse_past),
]
Until = Annotated[
    float | None,
    typer.Option("--until", help="Only jobs created before: a time, or 15m for that long ago", metavar="WHEN", parser=parse_past),
]

#: A command's own flags as settings, by section; None stands for "not given".
More = Mapping[str, Mapping[str, Any]]

_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS = re.compile(r"\d+(?:\.\d+)?")
#: A thousand years: beyond it neither clocks nor stores know what is meant.
_LONGEST_S = 3.2e10


def config_file(given: Path | None) -> Path | None:
    """The file that settings come from; None for defaults."""
    if given is not None:
        return given
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    return CONFIG_HERE if CONFIG_HERE.exists() else None


def settings_for(config: Path | None, store: str | None, assignments: list[str] | None, more: More | None = None) -> Settings:
    """The settings under these flags. Raises ``ConfigError``."""
    overrides: dict[str, dict[str, Any]] = {}
    for assignment in assignments or ():
        section, key, value = _assignment(assignment)
        overrides.setdefault(section, {})[key] = value
    for section, values in {**(more or {}), "scheduler": {"store": store, **(more or {}).get("scheduler", {})}}.items():
        overrides.setdefault(section, {}).update({key: value for key, value in values.items() if value is not None})
    return load(config_file(config), overrides)


def _assignment(text: str) -> tuple[str, str, Any]:
    """``section.key=value``; what looks like a TOML array is one, anything else is left to the setting's type."""
    place, separator, value = text.partition("=")
    section, dot, key = place.strip().partition(".")
    if not (separator and dot and key):
        raise ConfigError(f"--set {text!r}: write SECTION.KEY=VALUE, for example scheduler.max_attempts=5")
    plain = [name for name, field in Settings.model_fields.items() if field.is_required()]
    if section not in plain:
        raise ConfigError(f"--set {text!r}: there is no section {section!r} to set from here; there are {', '.join(plain)}")
    value = value.strip()
    if not value.startswith("["):
        return section, key, value
    try:
        return section, key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--set {text!r}: not a TOML array: {error}") from None


def opened(settings: Settings, *, with_routes: bool = False, routes: Registry | None = None) -> Scheduler:
    """A scheduler for a verb that runs no jobs: its events go to the log file, never to the terminal.

    Handler modules are loaded only ``with_routes``: a broken one must not keep anybody from looking at the jobs. ``routes``:
    those that the caller has loaded.
    """
    return Scheduler.open(settings, None if with_routes else routes or Registry(), logs=bool(settings.log.path))


def duration_s(text: str) -> float:
    """``10s``, ``5m``, ``2h``, ``7d``, ``1h30m`` or a number of seconds. Raises ``ValueError``."""
    text = text.strip().lower()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
    else:
        raise ValueError(f"{text!r} is no duration: write 10s, 5m, 2h, 7d or 1h30m")
    if seconds > _LONGEST_S:
        raise ValueError(f"{text!r} is longer than a thousand years")
    return seconds


def moment(text: str, now: float, *, ago: bool = False) -> float:
    """A time in seconds since the epoch: ISO 8601 (local unless it says), or a duration from ``now`` on (``ago``: back)."""
    text = text.strip()
    if _DURATION.fullmatch(text.lower()) or _SECONDS.fullmatch(text):
        return now - duration_s(text) if ago else now + duration_s(text)
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        which = "that long ago" if ago else "that long from now"
        raise ValueError(f"{text!r} is no time: write 2030-01-31T18:00 (local), 2030-01-31T18:00Z, or 10m for {which}") from None


def parse_duration(text: str) -> float:
    """``duration_s`` for typer."""
    try:
        return duration_s(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
