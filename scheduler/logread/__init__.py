"""Reading log lines back: select, follow, sum up. What ``scheduler logs`` asks; rendering is the shell's.

Streams: memory stays flat whatever the size of the files. Lines that are no log lines are counted,
never fatal.
"""

from scheduler.logread.records import Filter, Record, parse_when
from scheduler.logread.streams import Reading, follow, read, siblings
from scheduler.logread.summary import Summary, summarize

__all__ = ["Filter", "Reading", "Record", "Summary", "follow", "parse_when", "read", "siblings", "summarize"]
