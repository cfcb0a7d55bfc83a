"""Where log lines go: a queue with a bound, one thread that writes, a file that rotates.

Whoever logs never waits for a disk, a terminal or a reader at the other end of a pipe: ``put`` only
appends to a queue. What does not fit, or cannot be written, is dropped and counted, and a notice
about it is written as soon as writing works again. Nothing here raises into a job.

Does not belong here: what a line looks like (``logs.py``).
"""

from __future__ import annotations

import atexit
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TextIO

if sys.platform != "win32":
    import fcntl

#: Lines waiting to be written take at most so much memory; a reader that stalls costs lines, not jobs.
QUEUE_BYTES = 8 * 1024 * 1024
_CLOSE_WAIT_S = 2.0


class Target(Protocol):
    """Takes whole lines, each ending in a newline; returns how many of them are written for good."""

    def write(self, lines: Sequence[bytes]) -> int: ...

    def close(self) -> None: ...


class LogSink:
    """The queue and its thread. ``notice(n)`` makes the line that says that ``n`` lines were dropped."""

    def __init__(self, target: Target, notice: Callable[[int], bytes], *, queue_bytes: int = QUEUE_BYTES) -> None:
        self.dropped = 0
        self._target = target
        self._notice = notice
        self._queue_bytes = queue_bytes
        self._lines: list[bytes] = []
        self._bytes = 0
        self._unreported = 0
        self._busy = self._asleep = self._closing = False
        self._thread: threading.Thread | None = None
        # Re-entrant: a finalizer may log while its thread is inside ``put``.
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._quiet = threading.Condition(self._lock)

    def put(self, line: bytes) -> None:
        """Queue one line, from any thread; never waits for the writing."""
        with self._lock:
            if self._closing or self._bytes + len(line) > self._queue_bytes:
                self._drop(1)
                return
            self._lines.append(line)
            self._bytes += len(line)
            if self._asleep:
                self._asleep = False
                self._work.notify()
            elif self._thread is None:
                self._start()

    def flush(self, timeout_s: float = _CLOSE_WAIT_S) -> bool:
        """Wait until everything queued was written or dropped; False if that took too long."""
        with self._lock:
            return self._thread is None or self._quiet.wait_for(lambda: not (self._lines or self._busy), timeout_s)

    def close(self, timeout_s: float = _CLOSE_WAIT_S) -> None:
        """Write what is queued and stop. A reader that stalls holds this up for ``timeout_s`` at most."""
        with self._lock:
            self._closing = True
            self._work.notify()
            thread, self._thread = self._thread, None
        if thread is not None:
            atexit.unregister(self.close)
            thread.join(timeout_s)
        if thread is None or not thread.is_alive():
            self._target.close()

    def _start(self) -> None:
        # A daemon: a pipe that nobody reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="scheduler-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        while lines := self._next():
            written = self._write(lines)
            with self._lock:
                self._drop(len(lines) - written)
                self._busy = False
                self._quiet.notify_all()
        if self._unreported:
            self._write([])

    def _next(self) -> list[bytes]:
        """Everything queued, once there is something; empty when closed."""
        with self._lock:
            while not self._lines and not self._closing:
                self._asleep = True
                self._work.wait()
                self._asleep = False
            lines, self._lines, self._bytes = self._lines, [], 0
            self._busy = bool(lines)
            return lines

    def _write(self, lines: list[bytes]) -> int:
        unreported = self._unreported
        try:
            if unreported and self._target.write([self._notice(unreported)]):
                with self._lock:
                    self._unreported -= unreported
            return self._target.write(lines)
        except Exception:  # whatever a stream of the host process raises is no business of any job
            return 0

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._unreported += count


class StreamTarget:
    """A text stream of the host process; None means standard error, whatever that is at the time."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, lines: Sequence[bytes]) -> int:
        stream = self._stream if self._stream is not None else sys.stderr
        if stream is None:  # a service without standard error
            return 0
        text = b"".join(lines).decode("utf-8", "replace")
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):  # a broken pipe; a closed stream
            return 0
        with suppress(OSError, ValueError):
            stream.flush()
            return len(lines)
        return 0

    def close(self) -> None:
        """The stream is the host's: left open."""


class FileTarget:
    """A file of lines, mode 0600, that rotates by size: ``FILE.1`` is the newest of ``keep`` older ones.

    Several processes may share it: lines are appended whole, and rotation is agreed on by a file lock.
    ``max_bytes`` 0 means never rotate. Raises ``OSError`` at the start if the file cannot be opened.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._torn = False
        self._fd: int | None = None
        self._open()

    def write(self, lines: Sequence[bytes]) -> int:
        written = 0
        try:
            self._follow_moves()
            for piece in self._pieces(lines):
                done = self._append(piece)
                written += piece.count(b"\n", 0, done)
                if done < len(piece):
                    self.close()
                    break
        except OSError:  # no space, no directory, no right: opened anew for the next lines
            self.close()
        return written

    def close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with suppress(OSError):
                os.close(fd)

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        status = os.fstat(self._fd)
        self._size = status.st_size
        self._rotates = self._max_bytes > 0 and stat.S_ISREG(status.st_mode)

    def _follow_moves(self) -> None:
        """Another process, or an operator, may have moved or deleted the file since."""
        if self._fd is None or not self._is_current():
            self.close()
            self._open()
        self._size = os.fstat(self._descriptor).st_size

    @property
    def _descriptor(self) -> int:
        if self._fd is None:
            self._open()
        assert self._fd is not None
        return self._fd

    def _is_current(self) -> bool:
        with suppress(OSError):
            return os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        return False

    def _pieces(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """As much as fits the file in one write each; rotates in between."""
        piece: list[bytes] = []
        size = self._size
        for line in lines:
            if self._rotates and size and size + len(line) > self._max_bytes:
                yield b"".join(piece)
                self._rotate()
                piece, size = [], self._size
            piece.append(line)
            size += len(line)
        yield b"".join(piece)

    def _append(self, data: bytes) -> int:
        """Bytes written: fewer than asked when the disk is full."""
        if not data:
            return 0
        if self._torn:  # close the half line, so that it spoils only itself
            os.write(self._descriptor, b"\n")
            self._torn = False
        done = 0
        with suppress(OSError):
            while done < len(data):
                done += os.write(self._descriptor, data[done:] if done else data)
        self._torn = 0 < done < len(data) and not data[:done].endswith(b"\n")
        self._size += done
        return done

    def _rotate(self) -> None:
        """Move the file aside, unless another process just did."""
        with suppress(OSError), _locked(self._descriptor):
            if self._is_current():
                self._shift()
        self.close()
        self._open()
        if self._size >= self._max_bytes:  # it could not be moved: better a large file than lost lines
            self._rotates = False

    def _shift(self) -> None:
        if self._keep == 0:
            self.path.unlink()
            return
        for number in range(self._keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._older(number).replace(self._older(number + 1))
        self.path.replace(self._older(1))

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


@contextmanager
def _locked(fd: int) -> Iterator[None]:
    """Exclusive among the processes that write this file; nothing where the platform has no such lock."""
    if sys.platform == "win32":
        yield
        return
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)
