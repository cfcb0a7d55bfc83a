"""Logs: a subscriber that writes events, and the bound logger that handlers get. Nothing else.

One line an event, as JSON or for people. Only event types at or above the configured level are
subscribed, so the quiet ones cost nothing. The structlog set-up is this writer's own: the global
configuration of the process that embeds the scheduler is neither read nor changed.

Every line is safe to store and to show: secrets are redacted, control characters (new lines, ANSI
sequences, bidirectional overrides) escaped, its length bounded. ``docs/events.md`` describes the lines.

Does not belong here: which events exist (``events.py``), how lines reach a file (``logsink.py``).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import pydantic_core
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from scheduler.clock import Clock, SystemClock
from scheduler.errors import ConfigError
from scheduler.events import Event, Events, JobProgressed, event_types
from scheduler.logsink import FileTarget, LogSink, StreamTarget
from scheduler.redact import may_hold_secret, redact_fields
from scheduler.settings import LogSettings
from scheduler.values import printable

#: Lines that the writer adds by itself; they are no events.
LINES_DROPPED = "log.dropped"
SUBSCRIBER_FAILED = "log.subscriber_failed"

MAX_LINE_BYTES = 32_768
_MAX_TEXT_CHARS = 2_000
_PROGRESS_STEP = 25.0
_PROGRESS_JOBS = 10_000
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

#: What a terminal or a viewer of text acts on: C0, DEL, C1, line separators, bidirectional controls.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_PLAIN = (int, bool, type(None))

#: Fields of events whose values the engine itself makes.
_OURS = frozenset({"job_id", "worker", "status", "was"})

#: Fields to a line; the flag says whether a secret may be in them.
Render = Callable[[dict[str, Any], bool], bytes]


class LogWriter:
    """Writes log lines as ``[log]`` asks: to a file, or to ``stream`` (standard error when None).

    ``dropped`` counts lines that could not be written. Raises ``ConfigError`` if the file cannot be opened.
    """

    def __init__(self, settings: LogSettings, *, stream: TextIO | None = None, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._level = _LEVELS[settings.level]
        self._stamp = _Stamp()
        self._steps = _ProgressSteps()
        self._render = _renderer(settings, stream)
        target = _open_file(settings) if settings.path else StreamTarget(stream)
        self._sink = LogSink(target, self._notice)
        self._root = self._own_structlog()

    @property
    def dropped(self) -> int:
        return self._sink.dropped

    def subscribe(self, events: Events) -> Callable[[], None]:
        """Write what happens on ``events`` from now on; returns the way out."""
        kinds = [kind for kind in event_types() if _LEVELS[kind.level] >= self._level]
        events.on_error(self.subscriber_failed)
        return events.subscribe(self.write, *kinds) if kinds else lambda: None

    def write(self, event: Event) -> None:
        """Write one event; progress only when it crosses a quarter."""
        if isinstance(event, JobProgressed) and not self._steps.crossed(event):
            return
        self._put(event.at, event.level, event.name, event.fields())

    def logger(self, **bound: Any) -> FilteringBoundLogger:
        """A structlog logger that writes to the same place, with ``bound`` in every line."""
        logger: FilteringBoundLogger = self._root.bind(**bound)
        return logger

    def subscriber_failed(self, event: Event, error: Exception) -> None:
        """For ``Events.on_error``: a subscriber raised."""
        text = f"{type(error).__name__}: {error}"
        self._put(event.at, "error", SUBSCRIBER_FAILED, {"while": event.name, "error": printable(text)})

    def flush(self) -> bool:
        """Wait (2 s at most) until what was logged so far is written; False if it is not."""
        return self._sink.flush()

    def close(self) -> None:
        """Write what is left (2 s at most) and stop."""
        self._sink.close()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _put(self, at: float, level: str, name: str, fields: Mapping[str, Any]) -> None:
        self._sink.put(self._render({"timestamp": self._stamp(at), "level": level, "event": name, **fields}, _is_suspect(fields)))

    def _notice(self, count: int) -> bytes:
        stamp = self._stamp(self._clock.now())
        return self._render({"timestamp": stamp, "level": "warning", "event": LINES_DROPPED, "dropped": count}, False)

    def _own_structlog(self) -> Any:
        """Everything is given here, so that ``structlog.configure`` of the host has no say."""
        processors: list[Processor] = [
            structlog.contextvars.merge_contextvars,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            self._as_line,
        ]
        proxy = structlog.wrap_logger(
            _SinkLogger(self._sink),
            processors=processors,
            wrapper_class=structlog.make_filtering_bound_logger(self._level),
            context_class=dict,
            cache_logger_on_first_use=True,
        )
        return proxy.bind()

    def _as_line(self, logger: Any, method: str, fields: MutableMapping[str, Any]) -> bytes:
        """The last processor: a handler's line in the same shape as an event's."""
        name = printable(str(fields.pop("event", "")))
        own = {key: value for key, value in fields.items() if key not in ("timestamp", "level")}
        level = "warning" if method == "warn" else method
        return self._render({"timestamp": self._stamp(self._clock.now()), "level": level, "event": name, **own}, True)


class _SinkLogger:
    """What structlog's bound logger calls with the rendered line."""

    def __init__(self, sink: LogSink) -> None:
        self.msg = self.debug = self.info = self.warn = self.warning = sink.put
        self.err = self.error = self.exception = self.critical = self.fatal = sink.put


class _ProgressSteps:
    """Which quarters (0, 25, 50, 75, 100 %) an attempt has crossed; remembers the latest 10,000 jobs."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[int | None, int]] = OrderedDict()
        self._lock = threading.Lock()

    def crossed(self, event: JobProgressed) -> bool:
        percent = event.progress.percent
        step = int(min(max(percent, 0.0), 100.0) // _PROGRESS_STEP) if percent == percent else 0
        attempt = getattr(event.job, "token", None)
        with self._lock:
            before = self._seen.get(event.job.job_id)
            if before is not None and before[0] == attempt and before[1] >= step:
                return False
            self._seen[event.job.job_id] = (attempt, step)
            self._seen.move_to_end(event.job.job_id)
            if len(self._seen) > _PROGRESS_JOBS:
                self._seen.popitem(last=False)
        return True


class _Stamp:
    """Seconds since the epoch as ISO 8601 in UTC; the part down to the second is made once a second."""

    def __init__(self) -> None:
        self._last = (0, "1970-01-01T00:00:00")

    def __call__(self, at: float) -> str:
        micros = round(at * 1e6)
        second, micros = divmod(micros, 1_000_000)
        known, text = self._last
        if known != second:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._last = (second, text)
        return f"{text}.{micros:06d}Z"


def _is_suspect(fields: Mapping[str, Any]) -> bool:
    """Whether an event's fields (flat, JSON types) may hold a secret; cheaper than asking the whole line."""
    for key, value in fields.items():
        if type(value) is str and key not in _OURS and (may_hold_secret if len(value) > 64 else _may_hold_secret)(value):
            return True
    return False


#: Task types, target types and reasons are few and come again with each event.
_may_hold_secret = lru_cache(maxsize=2048)(may_hold_secret)


def json_line(fields: dict[str, Any], suspect: bool = True) -> bytes:
    """``fields`` as one line of JSON, redacted and escaped; never raises."""
    if None in fields.values():
        fields = {key: value for key, value in fields.items() if value is not None}
    text = _encode(fields)
    if suspect and may_hold_secret(text):
        text = _encode(redact_fields(pydantic_core.from_json(text)))
    if len(text) > MAX_LINE_BYTES:
        text = _encode(_shortened(pydantic_core.from_json(text)))
    if not text.isascii() or "\x7f" in text:
        text = _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
    return text.encode() + b"\n"


def _encode(fields: Mapping[str, Any]) -> str:
    try:
        return pydantic_core.to_json(fields, inf_nan_mode="strings", fallback=_told).decode()
    except Exception:  # cycles, lone surrogates, broken bytes: a handler may log anything
        return json.dumps({_told(key): value if type(value) in _PLAIN else _told(value) for key, value in fields.items()})


def _told(value: object) -> str:
    """Any object as text that JSON can hold."""
    try:
        return printable(str(value) if isinstance(value, str | BaseException) else repr(value))
    except Exception:  # a broken __repr__
        return f"<{type(value).__name__}>"


def _shortened(fields: dict[str, Any]) -> dict[str, Any]:
    """A line that is too long, with long values cut, and at last without those that still are."""
    short: dict[str, Any] = {}
    room = MAX_LINE_BYTES
    for key, value in fields.items():
        text = value if isinstance(value, str) else _encode({"": value})[4:-1]
        kept = value if len(text) <= _MAX_TEXT_CHARS else printable(text, _MAX_TEXT_CHARS)
        room -= min(len(text), _MAX_TEXT_CHARS) + len(key)
        if room < 0:
            return short | {"cut": True}
        short[key] = kept
    return short


def _renderer(settings: LogSettings, stream: TextIO | None) -> Render:
    terminal = _is_terminal(stream if stream is not None else sys.stderr)
    if settings.path or settings.format == "json" or (settings.format == "auto" and not terminal):
        return json_line
    return _ConsoleLine(colors=terminal and not os.environ.get("NO_COLOR"))


class _ConsoleLine:
    """A line for people; colour only where it shows."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False, pad_event_to=20)

    def __call__(self, fields: dict[str, Any], suspect: bool) -> bytes:
        plain = pydantic_core.from_json(json_line(fields, suspect))
        # Traceback and stack keep their lines, indented so that none can pass for a line of the log.
        tail = "".join(f"\n{plain.pop(key)}" for key in ("stack", "exception") if key in plain)
        shown = {_escaped(key): _escaped(value) if isinstance(value, str) else value for key, value in plain.items()}
        line = str(self._render(None, str(plain["level"]), shown))
        return (line + "".join(f"\n    {_escaped(part)}" for part in tail.split("\n") if part) + "\n").encode("utf-8", "replace")


def _escaped(text: str) -> str:
    """Control characters made visible: ``\\x1b``, ``\\n``, ``\\u202e``."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _open_file(settings: LogSettings) -> FileTarget:
    try:
        return FileTarget(Path(settings.path).expanduser(), settings.max_bytes, settings.keep)
    except OSError as error:
        raise ConfigError(
            f"[log] path = {settings.path!r}: cannot be written: {error.strerror or error}; "
            "name a file in a directory that this user may write to, or leave it empty"
        ) from None
