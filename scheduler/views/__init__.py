"""What people and programs are shown, as JSON: the one description of a job, a pause, a pool. ``--json`` prints it, the API answers it.

Times are ISO 8601 in UTC, durations seconds. Does not belong here: what is asked for (``api/``), or how a table looks (``cli/``).
"""
