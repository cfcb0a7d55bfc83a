"""Job ids: the form, the order, and that nobody gets another's."""

from __future__ import annotations

import os
import threading
import uuid

import pytest

from scheduler.ids import job_id

NOW = 1_700_000_000.123


def test_an_id_is_a_uuid_of_version_7_with_its_time() -> None:
    for _ in range(1_000):
        made = uuid.UUID(text := job_id(NOW))
        assert str(made) == text
        assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, int(NOW * 1000))


def test_later_ids_sort_later() -> None:
    assert job_id(NOW) < job_id(NOW + 0.0015) < job_id(NOW + 1e9)  # ids tell milliseconds, whatever a float makes of one


def test_a_clock_before_the_epoch_still_makes_ids() -> None:
    assert uuid.UUID(job_id(-5.0)).int >> 80 == 0


def test_threads_never_get_the_same() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(mine: list[str]) -> None:
        mine.extend(job_id(NOW) for _ in range(5_000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for mine in made for one in mine}) == 20_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking beside other tests' threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_give_out_its_parents_ids() -> None:
    job_id(NOW)  # leaves digits for more
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ",".join(job_id(NOW) for _ in range(300)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 65_536).decode().split(",")
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 300
    assert not set(theirs) & {job_id(NOW) for _ in range(300)}
