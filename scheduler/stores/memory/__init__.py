"""A store in this process's memory: for tests, and for work that may be lost with the process.

It passes the same contract as every other store, so what a test proves on it holds for them.
``lane`` orders waiting jobs, ``records`` indexes all jobs, ``workers`` keeps heartbeats, ``store``
puts the verbs of the port on top.
"""

from scheduler.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
