"""The tables of ``config.toml`` that a name makes: what can be configured of one task type, pool, owner, token, webhook.

Does not belong here: reading them, or the sections that are always there (``settings.py``).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scheduler.job import TERMINAL, Status

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]


class TaskTypeSettings(BaseModel):
    """``[task_types.NAME]``"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: Count | None = Field(None, description="How many jobs of this type run at once in this process; 0 runs none")
    max_running: Count | None = Field(None, description="How many jobs of this type run at once, all workers together; 0 runs none")
    max_attempts: AtLeastOne | None = Field(None, description="Counted attempts of a job of this type")
    timeout_s: Positive | None = Field(None, description="Time limit of one attempt in seconds; inf for none")
    dispatch_delay_s: NonNegative | None = Field(None, description="Least seconds between two starts of this type")
    pool: str | None = Field(None, description="The provider quota that this type draws on")


class PoolSettings(BaseModel):
    """``[pools.NAME]``"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: Positive | None = Field(None, description="How many calls a minute the provider allows, all workers together")
    tokens_per_minute: Positive | None = Field(None, description="How many tokens a minute it allows, input and output together")
    input_tokens_per_minute: Positive | None = Field(None, description="The same for input alone, where the provider counts them apart")
    output_tokens_per_minute: Positive | None = Field(None, description="The same for output alone")
    requests_per_day: Positive | None = Field(None, description="How many calls a day (UTC) the provider allows")
    tokens_per_day: Positive | None = Field(None, description="How many tokens a day (UTC) it allows")
    max_in_flight: AtLeastOne | None = Field(None, description="How many calls may be under way at once, all workers together")
    accounting: Literal["actual", "reserve"] = Field(
        "actual", description="What the provider charges a call with at first: 'actual' use, or 'reserve' all that was asked for"
    )
    concurrency: Count | None = Field(None, description="How many jobs that draw on this pool run at once in this process")


class OwnerSettings(BaseModel):
    """``[owners.NAME]``; ``"*"`` stands for every owner that has no table of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_unfinished: Count | None = Field(None, description="How many unfinished jobs the owner may have; further ones are refused")


class TokenSettings(BaseModel):
    """``[tokens.NAME]``; `scheduler token new` makes one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(description="The token's SHA-256; the token itself is kept nowhere")
    scope: Literal["read", "write", "operate"] = Field(
        "read", description="What it allows: read looks, write also changes jobs, operate also pauses, resumes and processes"
    )
    owner: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        None, description="It sees and changes only jobs of this owner; without one, everybody's"
    )

    @model_validator(mode="after")
    def _operators_have_no_owner(self) -> Self:
        if self.owner is not None and self.scope == "operate":
            raise ValueError("a token with an owner may read or write, but not operate: what it would touch is everybody's")
        return self


class WebhookSettings(BaseModel):
    """``[webhooks.NAME]``"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="Where to send: https://…, or http://… to an address that allow_networks covers")
    secret_env: str | None = Field(None, description="The environment variable that holds this receiver's secret, whsec_…")
    statuses: tuple[Status, ...] = Field(tuple(sorted(TERMINAL)), description="Tell when a job comes to one of these")
    reasons: tuple[str, ...] = Field((), description="Tell only with one of these reasons; none named: whatever the reason")
    task_types: tuple[str, ...] = Field((), description="Tell only of jobs of these types; none named: of every type")
    owner: str | None = Field(None, description="Tell only of this owner's jobs")
    allow_networks: tuple[str, ...] | None = Field(None, description="Internal networks that this receiver may be in")
