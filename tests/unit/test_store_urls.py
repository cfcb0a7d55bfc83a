"""Which store a URL names, and what a ``postgresql://`` URL says."""

from __future__ import annotations

import pytest

from scheduler import stores
from scheduler.errors import ConfigError
from scheduler.stores import open_store
from scheduler.stores.postgres import PostgresStore
from scheduler.stores.postgres.address import parse


@pytest.mark.parametrize("url", ["postgresql://ada@host/db", "postgres://host/db?schema=jobs"])
def test_a_postgres_url_is_a_postgres_store(url: str) -> None:
    assert isinstance(open_store(url), PostgresStore)


def test_the_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError("No module named 'asyncpg'", name="asyncpg")

    monkeypatch.setattr(stores, "import_module", missing)
    with pytest.raises(ConfigError, match=r"ai-job-scheduler\[postgres\]"):
        open_store("postgresql://host/db")


def test_our_words_are_ours_and_the_rest_is_the_drivers() -> None:
    address = parse("postgresql://ada:pw@h:5433/db?schema=My+%22Jobs%22&sslmode=require&pooled=1")
    assert (address.dsn, address.schema, address.pooled) == ("postgresql://ada:pw@h:5433/db?sslmode=require", 'My "Jobs"', True)
    assert address.quoted == '"My ""Jobs"""'


def test_defaults() -> None:
    address = parse("postgresql://host/db")
    assert (address.schema, address.pooled) == ("scheduler", False)


@pytest.mark.parametrize("url", ["postgresql://ada:hush%20ed@h/db?schema=x", "postgresql://h/db?user=ada&password=hush+ed"])
def test_people_never_see_the_password(url: str) -> None:
    assert "hush" not in PostgresStore(url).url
    assert "***" in PostgresStore(url).url


def test_schemas_do_not_meet_in_locks_or_channels() -> None:
    one, two = parse("postgresql://h/db?schema=a"), parse("postgresql://h/db?schema=b")
    assert one.channel != two.channel
    assert one.gates != two.gates
    assert one.caps != two.caps
    assert len(f"{one.channel}_{'0' * 16}") < 64


@pytest.mark.parametrize("words", ["schema=", "schema=pg_jobs", "schema=" + "x" * 64, "pooled=maybe", "schema=a%00b"])
def test_words_that_cannot_be_meant_are_refused(words: str) -> None:
    with pytest.raises(ConfigError):
        open_store(f"postgresql://host/db?{words}")


@pytest.mark.parametrize("url", ["postgresql://h:port/db", "mysql://h/db", "sqlite:///", ""])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_store(url)
