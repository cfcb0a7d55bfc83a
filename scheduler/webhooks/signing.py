"""Signatures as https://www.standardwebhooks.com says, by its library."""

from __future__ import annotations

import base64
import binascii
import os
from datetime import UTC, datetime

from scheduler.errors import ConfigError
from scheduler.webhooks.extra import library

PREFIX = "whsec_"
#: What the specification asks of a secret, in bytes.
_LEAST_BYTES, _MOST_BYTES = 24, 64
_HOW = "make one: python -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""


class Signer:
    """Signs with each of the secrets: more than one while a receiver changes over to a new one."""

    def __init__(self, secrets: list[str], where: str) -> None:
        webhook = library("standardwebhooks").Webhook
        for secret in secrets:
            if not _is_secret(secret):
                raise ConfigError(f"{where} holds no signing secret (whsec_ and {_LEAST_BYTES} to {_MOST_BYTES} bytes in base64); {_HOW}")
        self._webhooks = [webhook(secret) for secret in secrets]

    def headers(self, message_id: str, now: float, body: str) -> dict[str, str]:
        """The headers that prove who sent ``body``, and when. The same ``message_id`` for every try."""
        at = datetime.fromtimestamp(int(now), UTC)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": " ".join(webhook.sign(message_id, at, body) for webhook in self._webhooks),
        }


def signer_from(variable: str, where: str) -> Signer:
    """The signer with the secrets (separated by blanks) in an environment variable. Raises ``ConfigError``."""
    secrets = os.environ.get(variable, "").split()
    if not secrets:
        raise ConfigError(f"{where}: set the environment variable {variable} to the secret to sign with; {_HOW}")
    return Signer(secrets, f"{where}: the environment variable {variable}")


def _is_secret(text: str) -> bool:
    encoded = text.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(PREFIX) and _LEAST_BYTES <= len(key) <= _MOST_BYTES
