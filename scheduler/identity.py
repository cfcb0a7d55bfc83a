"""Who this process is, and whether another one still lives.

A worker's identity is fresh at each start. A successor on the same machine recognises a dead predecessor
by host, boot, process id and the process's start, none of which moves when somebody sets the clock.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path

import psutil

from scheduler.stores.base import Worker

_LINUX = sys.platform.startswith("linux")


def this_worker(now: float, lease_s: float, address: str | None = None, offers_json: str | None = None) -> Worker:
    """A new identity for this process."""
    pid = os.getpid()
    return Worker(
        worker_id=f"{socket.gethostname()}-{pid}-{secrets.token_hex(4)}",
        host=socket.gethostname(),
        boot=_boot(),
        pid=pid,
        pid_started=_started(pid) or 0.0,
        started_at=now,
        lease_s=lease_s,
        address=address,
        beat_at=now,
        offers_json=offers_json,
    )


def is_alive(worker: Worker) -> bool | None:
    """Whether ``worker``'s process runs; None for another machine, where only its lease can tell."""
    if worker.host != socket.gethostname():
        return None
    if worker.boot != _boot():
        return False
    return _started(worker.pid) == worker.pid_started


def _boot() -> str:
    if _LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return str(round(psutil.boot_time()))


def _started(pid: int) -> float | None:
    """A number that tells this process from others with its id: on Linux, clock ticks since boot."""
    if _LINUX:
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return None
        fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may hold anything
        return None if fields[0] in (b"Z", b"X") else float(fields[19])
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
