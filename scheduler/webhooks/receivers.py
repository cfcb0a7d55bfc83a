"""Who may be told: the receivers that the configuration names, and those that a job names when it is enqueued."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from scheduler.errors import ConfigError, InvalidJobError, NotConfiguredError, UndeliverableError
from scheduler.named import WebhookSettings
from scheduler.settings import Settings
from scheduler.webhooks.filters import Filter, filter_of
from scheduler.webhooks.guard import Networks, Place, networks_of, place_of
from scheduler.webhooks.signing import Signer, signer_from

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where to send, what internal networks that may be in, and how to sign."""

    place: Place
    networks: Networks
    signer: Signer


class Receivers:
    """What ``[webhook]`` and ``[webhooks.NAME]`` come to. Secrets are read at first use, and kept."""

    def __init__(self, settings: Settings) -> None:
        self._defaults = settings.webhook
        self._settings = settings.webhooks

    @property
    def is_configured(self) -> bool:
        """Whether there may be deliveries at all."""
        return bool(self._settings or self._defaults.secret_env)

    @property
    def filters(self) -> dict[str, Filter]:
        return {name: filter_of(settings) for name, settings in self._settings.items()}

    def check(self) -> None:
        """Raises ``ConfigError`` for what would keep a delivery from being made."""
        _ = self._networks, self._named  # reading them is the check
        if self._defaults.secret_env:
            _ = self._signer

    def admit(self, url: str) -> None:
        """Whether a job may name ``url``. Raises ``InvalidJobError`` that says why not."""
        if not self._defaults.secret_env:
            raise NotConfiguredError(
                "webhook: there is no secret to sign with: name the environment variable that holds it in [webhook] secret_env"
            )
        try:
            place_of(url, self._networks)
        except ValueError as error:
            raise InvalidJobError(f"webhook: {error}") from None

    def asked(self, url: str) -> Receiver:
        """The receiver that a job named. Raises ``UndeliverableError`` if it may not be told any more."""
        try:
            self.admit(url)
        except InvalidJobError as error:
            raise UndeliverableError(str(error), "address_refused") from None
        return Receiver(place_of(url, self._networks), self._networks, self._signer)

    def named(self, name: str) -> Receiver:
        """The receiver of ``[webhooks.NAME]``. Raises ``UndeliverableError`` if the configuration has none by now."""
        receiver = self._named.get(name)
        if receiver is None:
            raise UndeliverableError(
                f"[webhooks.{name}] is not configured here: put it back and retry this job, or cancel it", "webhook_unknown"
            )
        return receiver

    @cached_property
    def _networks(self) -> Networks:
        return _configured("[webhook] allow_networks", lambda: networks_of(self._defaults.allow_networks))

    @cached_property
    def _signer(self) -> Signer:
        return signer_from(self._defaults.secret_env, "[webhook] secret_env")

    @cached_property
    def _named(self) -> dict[str, Receiver]:
        return {name: self._receiver(settings, f"[webhooks.{_name(name)}]") for name, settings in self._settings.items()}

    def _receiver(self, settings: WebhookSettings, where: str) -> Receiver:
        allowed = settings.allow_networks
        networks = self._networks if allowed is None else _configured(f"{where} allow_networks", lambda: networks_of(allowed))
        place = _configured(f"{where} url", lambda: place_of(settings.url, networks))
        if settings.secret_env:
            return Receiver(place, networks, signer_from(settings.secret_env, f"{where} secret_env"))
        if not self._defaults.secret_env:
            raise ConfigError(f"{where}: name the environment variable that holds its secret in secret_env, here or in [webhook]")
        return Receiver(place, networks, self._signer)


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"[webhooks.{name!r}]: use 1 to 128 letters, digits, '_', '-' or '.' for its name")
    return name


def _configured(where: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
