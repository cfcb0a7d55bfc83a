"""Settings: precedence, clear refusals, and that 0 is a value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from scheduler.errors import ConfigError
from scheduler.settings import Settings, load


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SCHEDULER_")]:
        monkeypatch.delenv(name)


def a_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


class TestSources:
    def test_without_a_source_everything_has_its_default(self) -> None:
        settings = load()
        assert (settings.scheduler.store, settings.scheduler.concurrency) == ("sqlite:///scheduler.db", 10)
        assert (settings.scheduler.max_attempts, settings.scheduler.rate_limit_pause_s) == (3, 60)
        assert (settings.task_types, settings.pools) == ({}, {})

    def test_a_file_a_dict_and_settings_say_the_same(self, tmp_path: Path) -> None:
        from_file = load(a_file(tmp_path, '[scheduler]\nconcurrency = 4\n[task_types.one]\npool = "main"\n[pools.main]\nconcurrency = 2\n'))
        from_dict = load({"scheduler": {"concurrency": 4}, "task_types": {"one": {"pool": "main"}}, "pools": {"main": {"concurrency": 2}}})
        assert from_file == from_dict == load(from_dict)
        assert load(str(tmp_path / "config.toml")) == from_file

    def test_flag_beats_environment_beats_file_beats_default(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = a_file(tmp_path, "[scheduler]\nconcurrency = 4\n")
        flags = {"scheduler": {"concurrency": 6}}
        assert load(path, flags).scheduler.concurrency == 6
        seen = [load().scheduler.concurrency, load(path).scheduler.concurrency]
        monkeypatch.setenv("SCHEDULER_CONCURRENCY", "5")
        seen += [load(path).scheduler.concurrency, load(path, flags).scheduler.concurrency]
        assert seen == [10, 4, 5, 6]
        assert load(None, flags).scheduler.concurrency == 6

    def test_the_environment_reaches_every_section(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SCHEDULER_LOG_LEVEL", "debug")
        monkeypatch.setenv("SCHEDULER_PROVIDER_MODEL", "a-model")
        monkeypatch.setenv("SCHEDULER_RETENTION_SWEEP_INTERVAL_S", "2.5")
        monkeypatch.setenv("SCHEDULER_HANDLERS_MODULES", '["one", "two"]')
        settings = load({"log": {"level": "error"}})
        assert (settings.log.level, settings.provider.model, settings.retention.sweep_interval_s) == ("debug", "a-model", 2.5)
        assert settings.handlers.modules == ("one", "two")

    def test_an_empty_variable_is_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SCHEDULER_CONCURRENCY", "")
        assert load({"scheduler": {"concurrency": 4}}).scheduler.concurrency == 4

    def test_a_variable_hides_a_bad_value_of_the_file_that_it_overrides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SCHEDULER_CONCURRENCY", "3")
        assert load({"scheduler": {"concurrency": "many"}}).scheduler.concurrency == 3

    def test_other_peoples_variables_are_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SCHEDULER_CONFIG", "elsewhere.toml")
        monkeypatch.setenv("CONCURRENCY", "7")
        monkeypatch.setenv("STORE", "nonsense:")
        assert load() == load({})
        assert load().scheduler.concurrency == 10

    def test_settings_cannot_be_changed_afterwards(self) -> None:
        with pytest.raises(ValueError):
            load().scheduler.concurrency = 3  # type: ignore[misc]


class TestZeroIsAValue:
    @pytest.mark.parametrize(
        "key",
        ["concurrency", "dispatch_delay_s", "drain_grace_s", "backoff_base_s", "backoff_max_s", "rate_limit_pause_s", "give_up_after_s"],
    )
    def test_zero_is_what_it_says(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert getattr(load({"scheduler": {key: 0}}).scheduler, key) == 0
        monkeypatch.setenv(f"SCHEDULER_{key.upper()}", "0")
        assert getattr(load({"scheduler": {key: 7}}).scheduler, key) == 0

    def test_zero_of_a_task_type_beats_the_general_value(self) -> None:
        settings = load({"task_types": {"one": {"concurrency": 0, "dispatch_delay_s": 0}}})
        assert (settings.task_types["one"].concurrency, settings.task_types["one"].dispatch_delay_s) == (0, 0)

    @pytest.mark.parametrize("key", ["poll_interval_s", "lease_s", "max_attempts", "timeout_s", "batch_size"])
    def test_where_zero_makes_no_sense_it_is_refused(self, key: str) -> None:
        with pytest.raises(ConfigError, match=rf"\[scheduler\] {key} = 0: "):
            load({"scheduler": {key: 0}})

    def test_infinity_is_no_limit(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        policy = load(a_file(tmp_path, "[scheduler]\ntimeout_s = inf\ngive_up_after_s = inf\n")).policy("any")
        assert (policy.timeout_s, policy.give_up_after_s) == (None, None)
        monkeypatch.setenv("SCHEDULER_TIMEOUT_S", "inf")
        assert load().policy("any").timeout_s is None


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"scheduler": {"concurency": 3}}, ["[scheduler] has no key 'concurency'", "concurrency"]),
    ({"schedular": {}}, ["unknown section [schedular]", "[scheduler]"]),
    ({"scheduler": {"concurrency": -1}}, ["[scheduler] concurrency = -1", "greater than or equal to 0", "How many handlers"]),
    ({"scheduler": {"concurrency": "many"}}, ["[scheduler] concurrency = 'many'", "How many handlers"]),
    ({"scheduler": {"timeout_s": float("nan")}}, ["[scheduler] timeout_s = nan"]),
    ({"scheduler": {"unknown_routes": "drop"}}, ["unknown_routes = 'drop'", "'fail' or 'leave'"]),
    ({"scheduler": 3}, ["[scheduler] must be a table, not 3"]),
    ({"task_types": {"one": {"pol": "x"}}}, ["[task_types.one] has no key 'pol'", "pool"]),
    ({"task_types": {"one": {"timeout_s": 0}}}, ["[task_types.one] timeout_s = 0", "Time limit"]),
    ({"task_types": {"one": 3}}, ["must be a table, not 3"]),
    ({"pools": {"main": {"concurrency": -2}}}, ["[pools.main] concurrency = -2"]),
    ({"log": {"level": "loud"}}, ["[log] level = 'loud'", "quietest"]),
    ({"provider": {"kind": "oracle"}}, ["[provider] kind = 'oracle'"]),
]


class TestRefusals:
    @pytest.mark.parametrize(("tables", "words"), BAD, ids=lambda value: str(value)[:40] if isinstance(value, dict) else "")
    def test_what_is_wrong_is_named_and_explained(self, tables: dict[str, Any], words: list[str]) -> None:
        with pytest.raises(ConfigError) as refused:
            load(tables)
        assert [word for word in words if word not in str(refused.value)] == []

    def test_every_wrong_key_is_named_at_once(self) -> None:
        with pytest.raises(ConfigError) as refused:
            load({"scheduler": {"concurrency": -1, "lease_s": 0, "nonsense": 1}})
        assert len(str(refused.value).splitlines()) == 3

    def test_a_file_is_named_in_its_errors(self, tmp_path: Path) -> None:
        path = a_file(tmp_path, "[scheduler]\nnonsense = 1\n")
        with pytest.raises(ConfigError) as refused:
            load(path)
        assert str(refused.value).startswith(f"{path}: [scheduler]")

    def test_an_unknown_variable_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SCHEDULER_CONCURENCY", "3")
        with pytest.raises(
            ConfigError, match=r"environment: unknown variable SCHEDULER_CONCURENCY; unset it, or use one of .*SCHEDULER_CONCURRENCY"
        ):
            load()

    def test_a_bad_variable_is_named_and_not_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SCHEDULER_CONCURRENCY", "many")
        with pytest.raises(ConfigError, match=r"^environment SCHEDULER_CONCURRENCY = 'many': .*How many handlers"):
            load({"scheduler": {"concurrency": 4}})

    def test_a_bad_flag_is_refused_like_a_bad_setting(self) -> None:
        with pytest.raises(ConfigError, match="concurrency = -1"):
            load(None, {"scheduler": {"concurrency": -1}})

    @pytest.mark.parametrize("text", ["[scheduler", "a = ", "a = 1\na = 2\n", "[scheduler]\n[scheduler]\n", "\x00"])
    def test_bad_toml_is_named_as_such(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(ConfigError, match="not valid TOML"):
            load(a_file(tmp_path, text))

    def test_a_file_that_is_not_text_is_not_toml(self, tmp_path: Path) -> None:
        path = tmp_path / "config.toml"
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="not valid TOML"):
            load(path)

    def test_a_missing_file_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no such file; pass --config FILE"):
            load(tmp_path / "none.toml")

    def test_a_folder_is_not_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            load(tmp_path)


class TestPolicies:
    def test_a_task_types_own_value_beats_the_handlers_wish_which_beats_the_general_one(self) -> None:
        settings = load({"scheduler": {"max_attempts": 3, "timeout_s": 10}, "task_types": {"one": {"max_attempts": 9, "pool": "side"}}})
        general, wished = settings.policy("two"), settings.policy("two", max_attempts=5, timeout_s=20, pool="main")
        own = settings.policy("one", max_attempts=5, timeout_s=20, pool="main")
        assert (general.max_attempts, general.timeout_s, general.pool) == (3, 10, None)
        assert (wished.max_attempts, wished.timeout_s, wished.pool) == (5, 20, "main")
        assert (own.max_attempts, own.timeout_s, own.pool) == (9, 20, "side")

    def test_an_empty_pool_takes_a_task_type_out_of_its_handlers_pool(self) -> None:
        assert load({"task_types": {"one": {"pool": ""}}}).policy("one", pool="main").pool == ""

    def test_pauses_and_backoff_are_the_general_ones(self) -> None:
        policy = load({"scheduler": {"backoff_base_s": 0, "backoff_max_s": 5, "rate_limit_pause_s": 0, "give_up_after_s": 0}}).policy("one")
        assert (policy.backoff_base_s, policy.backoff_max_s, policy.rate_limit_pause_s, policy.give_up_after_s) == (0, 5, 0, 0)


def test_every_setting_says_what_it_means() -> None:
    for section in Settings.model_fields.values():
        kind = section.annotation
        for name, field in getattr(kind, "model_fields", {}).items():
            assert field.description, f"{kind} {name} has no description"
