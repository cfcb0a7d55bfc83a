"""Settings: what can be configured, with its meaning, its bounds and its default.

Precedence: flag > ``SCHEDULER_*`` environment > ``config.toml`` > default. An unknown key or a bad
value is a ``ConfigError`` that names the key and says what it means. 0 is a value, never "not set".

Reads files and the environment only in ``load``; nothing is read at import.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from scheduler.errors import ConfigError
from scheduler.named import (
    AtLeastOne,
    Count,
    NonNegative,
    OwnerSettings,
    PoolSettings,
    Positive,
    TaskTypeSettings,
    TokenSettings,
    WebhookSettings,
)
from scheduler.policy import Policy
from scheduler.pools.messages import Limits


class _Section(BaseSettings):
    """A table of ``config.toml``; what it is not given, the environment may fill in."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings


class EngineSettings(_Section):
    """``[scheduler]``"""

    model_config = SettingsConfigDict(env_prefix="SCHEDULER_")

    store: str = Field(
        "sqlite:///scheduler.db",
        description="Where jobs live: sqlite:///FILE, sqlite:////ABSOLUTE/FILE, postgresql://USER@HOST/DATABASE or memory:",
    )
    concurrency: Count = Field(10, description="How many handlers run at once in this process; 0 runs none")
    poll_interval_s: Positive = Field(1.0, description="Seconds between looks at the store when no hint comes; a safety net, not the pace")
    batch_size: AtLeastOne = Field(500, description="At most so many jobs are claimed in one transaction")
    dispatch_delay_s: NonNegative = Field(0.0, description="Least seconds between two starts in this process; 0 for none")
    lease_s: Positive = Field(35.0, description="A worker that did not renew its lease for so many seconds is lost; its jobs move on")
    drain_grace_s: NonNegative = Field(30.0, description="Seconds that running jobs get to finish at shutdown; then they are handed back")
    max_attempts: AtLeastOne = Field(3, description="Counted attempts of a job, the first included, before it fails")
    timeout_s: Positive = Field(600.0, description="Time limit of one attempt in seconds; inf for none")
    backoff_base_s: NonNegative = Field(
        2.0, description="Upper bound of the wait after the first failed attempt, in seconds; doubles each time"
    )
    backoff_max_s: NonNegative = Field(300.0, description="Cap of that bound in seconds")
    rate_limit_pause_s: NonNegative = Field(
        60.0, description="Pause in seconds when a provider says 'later' without saying when; doubles while it repeats"
    )
    give_up_after_s: NonNegative = Field(86_400.0, description="A job that a provider put off for so many seconds fails; inf for never")
    unknown_routes: Literal["fail", "leave"] = Field(
        "fail", description="Jobs without a handler here: 'fail' them, or 'leave' them to another service"
    )
    blocked_loop_s: Positive = Field(5.0, description="Report a handler that keeps the event loop from turning for so many seconds")


class HandlerSettings(_Section):
    """``[handlers]``"""

    model_config = SettingsConfigDict(env_prefix="SCHEDULER_HANDLERS_")

    modules: tuple[str, ...] = Field(
        (
            "handlers.enrichment",
            "handlers.matching",
            "handlers.discovery",
            "handlers.sync",
            "handlers.ingestion",
            "handlers.extraction",
            "handlers.reindex",
            "handlers.clustering",
        ),
        description="Python modules that expose `routes`; loaded at start",
    )
    entry_points: bool = Field(True, description="Also load what installed packages offer in the entry-point group scheduler.handlers")


class WebhookDefaults(_Section):
    """``[webhook]``"""

    model_config = SettingsConfigDict(env_prefix="SCHEDULER_WEBHOOK_")

    secret_env: str = Field("", description="The environment variable that holds the secret to sign with, whsec_…; empty: there is none")
    allow_networks: tuple[str, ...] = Field((), description="Internal networks that receivers may be in, as 10.1.0.0/16")


class ProviderSettings(_Section):
    """``[provider]``"""

    model_config = SettingsConfigDict(env_prefix="SCHEDULER_PROVIDER_")

    kind: Literal["local", "openai", "anthropic"] = Field(
        "local", description="Which provider enriches: local (embedded, no key), openai (or compatible), anthropic"
    )
    model: str = Field("", description="The provider's model name; empty for its default")
    base_url: str = Field("", description="Another server that speaks the same protocol; empty for the provider's own")
    api_key_env: str = Field("", description="The environment variable that holds the key; empty for the provider's usual one")
    timeout_s: Positive = Field(60.0, description="Time limit of one call in seconds")
    max_output_tokens: AtLeastOne = Field(800, description="Longest answer to ask for, in tokens")


class CatalogSettings(_Section):
    """``[catalog]``"""

    model_config = SettingsConfigDict(env_prefix="SCHEDULER_CATALOG_")

    path: str = Field("catalog.db", description="The SQLite file with scanned targets and what was learned of them")
    max_file_bytes: AtLeastOne = Field(2_000_000, description="Larger files are skipped when scanning")


class LogSettings(_Section):
    """``[log]``"""

    model_config = SettingsConfigDict(env_prefix="SCHEDULER_LOG_")

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The quietest events to write")
    format: Literal["auto", "json", "console"] = Field("auto", description="json lines, console for people, or auto: console on a terminal")
    path: str = Field("", description="Write JSON lines to this file; empty for standard error")
    max_bytes: Count = Field(100_000_000, description="Start a new file at this size in bytes; 0 for never")
    keep: Count = Field(5, description="How many older log files to keep")


class RetentionSettings(_Section):
    """``[retention]``"""

    model_config = SettingsConfigDict(env_prefix="SCHEDULER_RETENTION_")

    completed_after_s: NonNegative = Field(
        float("inf"), description="Delete completed and cancelled jobs this many seconds after they ended; inf keeps them"
    )
    failed_after_s: NonNegative = Field(float("inf"), description="Delete failed jobs this many seconds after they ended; inf keeps them")
    events_after_s: NonNegative = Field(
        604_800.0,
        description="Forget what happened to jobs (their timelines, streams) after this many seconds; inf keeps it as long as the job",
    )
    sweep_interval_s: Positive = Field(30.0, description="Seconds between the janitor's rounds")


class ApiSettings(_Section):
    """``[api]``"""

    model_config = SettingsConfigDict(env_prefix="SCHEDULER_API_")

    host: str = Field("127.0.0.1", description="The address that `scheduler serve` listens on; any but loopback needs [tokens.NAME]")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        8080, description="Its port; 0 takes any that is free, and the default, where it is taken, the next that is"
    )
    hosts: tuple[str, ...] = Field(
        (), description="Names under which it is reached, beside this machine's own: a request for any other host is refused"
    )
    origins: tuple[str, ...] = Field((), description="Web origins whose pages may use the API from browsers, as https://example.com")
    max_streams: Count = Field(5_000, description="How many event streams may be open at once; 0 allows none")


_SECTIONS: dict[str, type[_Section]] = {
    "scheduler": EngineSettings,
    "handlers": HandlerSettings,
    "provider": ProviderSettings,
    "catalog": CatalogSettings,
    "log": LogSettings,
    "retention": RetentionSettings,
    "api": ApiSettings,
    "webhook": WebhookDefaults,
}
_NAMED: dict[str, type[BaseModel]] = {
    "task_types": TaskTypeSettings,
    "pools": PoolSettings,
    "owners": OwnerSettings,
    "tokens": TokenSettings,
    "webhooks": WebhookSettings,
}
#: Holds the token for a service elsewhere: an argument would show in the list of processes.
TOKEN_VARIABLE = "SCHEDULER_TOKEN"
_NOT_SETTINGS = frozenset({"SCHEDULER_CONFIG", TOKEN_VARIABLE})


class Settings(BaseModel):
    """Everything configured, section by section."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: EngineSettings
    handlers: HandlerSettings
    provider: ProviderSettings
    catalog: CatalogSettings
    log: LogSettings
    retention: RetentionSettings
    api: ApiSettings
    webhook: WebhookDefaults
    task_types: dict[str, TaskTypeSettings] = {}
    pools: dict[str, PoolSettings] = {}
    owners: dict[str, OwnerSettings] = {}
    tokens: dict[str, TokenSettings] = {}
    webhooks: dict[str, WebhookSettings] = {}

    def policy(self, task_type: str, *, timeout_s: float | None = None, max_attempts: int | None = None, pool: str | None = None) -> Policy:
        """The limits for a task type. The arguments are the handler's own wishes."""
        base, own = self.scheduler, self.task_types.get(task_type, TaskTypeSettings())
        return Policy(
            max_attempts=_first(own.max_attempts, max_attempts, base.max_attempts),
            timeout_s=_no_limit(_first(own.timeout_s, timeout_s, base.timeout_s)),
            backoff_base_s=base.backoff_base_s,
            backoff_max_s=base.backoff_max_s,
            rate_limit_pause_s=base.rate_limit_pause_s,
            give_up_after_s=_no_limit(base.give_up_after_s),
            pool=_first(own.pool, pool, None),
        )

    def limits(self, pool: str) -> Limits:
        """What is configured of a pool's quota."""
        own = self.pools.get(pool, PoolSettings())
        per_minute = {
            "requests": own.requests_per_minute,
            "tokens": own.tokens_per_minute,
            "input_tokens": own.input_tokens_per_minute,
            "output_tokens": own.output_tokens_per_minute,
        }
        return Limits(
            {dimension: limit for dimension, limit in per_minute.items() if limit is not None},
            own.requests_per_day,
            own.tokens_per_day,
            own.max_in_flight,
            own.accounting == "reserve",
            self.scheduler.rate_limit_pause_s,
        )


def load(
    source: str | os.PathLike[str] | Mapping[str, Any] | Settings | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> Settings:
    """Settings from a TOML file, a dict of the same shape, or defaults when ``source`` is None.

    ``overrides`` (command-line flags) win over the environment. Raises ``ConfigError``.
    """
    if isinstance(source, Settings):
        return source
    tables, where = _tables(source)
    _refuse_unknown(tables, where)
    _refuse_unknown_environment()
    overrides = overrides or {}
    try:
        parts: dict[str, Any] = {}
        for name, section in _SECTIONS.items():
            flags = overrides.get(name, {})
            parts[name] = _build(section, _winning(section, tables.get(name, {}), flags, name, where), f"[{name}]", where, flags)
        for name, kind in _NAMED.items():
            parts[name] = {
                key: _build(kind, table, f"[{name}.{key}]", where) for key, table in _table(tables.get(name, {}), name, where).items()
            }
    except RecursionError as error:  # a hostile file, nested without end
        raise ConfigError(f"{where}: nested too deep") from error
    return Settings(**parts)


def _tables(source: str | os.PathLike[str] | Mapping[str, Any] | None) -> tuple[Mapping[str, Any], str]:
    if source is None:
        return {}, "defaults"
    if isinstance(source, Mapping):
        return source, "settings"
    path = Path(source)
    try:
        with path.open("rb") as file:
            return tomllib.load(file), str(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; pass --config FILE, or start from the config.toml of this project") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _refuse_unknown(tables: Mapping[str, Any], where: str) -> None:
    known = [*_SECTIONS, *_NAMED]
    for name in tables:
        if name not in known:
            raise ConfigError(f"{where}: unknown section [{name}]; there are {', '.join(f'[{one}]' for one in known)}")


def _refuse_unknown_environment() -> None:
    """A mistyped variable must not be ignored silently."""
    known = set(_NOT_SETTINGS)
    for section in _SECTIONS.values():
        prefix = str(section.model_config["env_prefix"])
        known.update(prefix + name.upper() for name in section.model_fields)
    for name in os.environ:
        if name.startswith("SCHEDULER_") and name not in known:
            raise ConfigError(f"environment: unknown variable {name}; unset it, or use one of {', '.join(sorted(known))}")


def _table(value: Any, name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: [{name}] must be a table, not {value!r}")
    return value


def _build(kind: type[BaseModel], table: Any, name: str, where: str, flags: Collection[str] = ()) -> Any:
    try:
        return kind(**_table(table, name.strip("[]"), where))
    except ValidationError as error:
        raise ConfigError(_explain(kind, error, name, where, flags)) from None


def _winning(kind: type[_Section], table: Any, flags: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """The file's values less those that the environment overrides, and the flags over both."""
    prefix = str(kind.model_config["env_prefix"])
    from_file = {key: value for key, value in _table(table, name, where).items() if not os.environ.get(prefix + str(key).upper())}
    return {**from_file, **flags}


def _explain(kind: type[BaseModel], error: ValidationError, name: str, where: str, flags: Collection[str]) -> str:
    """One line for each wrong key: where it stands, what is wrong, what the key means."""
    lines = []
    for wrong in error.errors():
        if not wrong["loc"]:  # each key is right, but not together
            lines.append(f"{where}: {name}: {wrong['msg'].removeprefix('Value error, ')}")
            continue
        key = str(wrong["loc"][0])
        known = kind.model_fields.get(key)
        if known is None:
            lines.append(f"{where}: {name} has no key {key!r}; there are {', '.join(kind.model_fields)}")
            continue
        prefix = str(kind.model_config.get("env_prefix") or "")
        variable = prefix + key.upper() if prefix else ""
        said = "command line" if key in flags else where
        place = f"environment {variable}" if variable in os.environ and key not in flags else f"{said}: {name} {key}"
        lines.append(f"{place} = {wrong['input']!r}: {wrong['msg'].lower()}. {key}: {known.description}")
    return "\n".join(lines)


def _first(*values: Any) -> Any:
    """The first that was said; 0 is a value."""
    return next((value for value in values if value is not None), None)


def _no_limit(value: float) -> float | None:
    return None if value == float("inf") else value
