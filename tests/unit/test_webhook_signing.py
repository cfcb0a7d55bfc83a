"""Signatures that the library of Standard Webhooks accepts, and secrets that are refused."""

from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from scheduler.errors import ConfigError
from scheduler.webhooks.signing import signer_from

OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
NEW = "whsec_" + base64.b64encode(b"n" * 24).decode()


def test_the_library_accepts_what_is_signed_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", OLD)
    headers = signer_from("HOOK_SECRET", "test").headers("msg_1", time.time(), '{"größe":1}')
    assert Webhook(OLD).verify('{"größe":1}', headers) == {"größe": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify('{"größe":2}', headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify('{"größe":1}', headers)


def test_two_secrets_sign_while_one_follows_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", f"{NEW} {OLD}")
    headers = signer_from("HOOK_SECRET", "test").headers("msg_1", time.time(), "{}")
    assert Webhook(OLD).verify("{}", headers) == Webhook(NEW).verify("{}", headers) == {}


@pytest.mark.parametrize(
    "secret", ["", "  ", "secret", "whsec_", "whsec_short", "whsec_" + "!" * 40, OLD.removeprefix("whsec_"), f"{OLD} x"]
)
def test_what_is_no_secret_is_refused_with_how_to_make_one(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("HOOK_SECRET", secret)
    with pytest.raises(ConfigError, match="make one: python") as refused:
        signer_from("HOOK_SECRET", "[webhook] secret_env")
    assert "HOOK_SECRET" in str(refused.value)
    assert len(secret) < 20 or secret not in str(refused.value)
