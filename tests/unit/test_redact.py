"""Secrets go, everything else stays. Keys are put together here, so that no scanner takes this file for a leak."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.redact import MARK, is_secret_name, may_hold_secret, redact, redact_fields

RANDOM = "A1b2C3d4E5f6G7h8I9j0"
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc\n-----END RSA " + "PRIVATE KEY-----"
JWT = "ey" + "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"

SECRETS = {
    "openai": f"sk-{RANDOM}",
    "openai project": f"sk-proj-{RANDOM}_x",
    "anthropic": f"sk-ant-api03-{RANDOM}",
    "google": "AI" + "za" + RANDOM * 2,
    "github": "gh" + f"p_{RANDOM}",
    "github fine-grained": f"github_pat_{RANDOM}_x",
    "aws": "AK" + "IA" + "A1B2C3D4E5F6G7H8",
    "slack bot": "xo" + "xb-123456789012-abcdef",
    "hugging face": f"hf_{RANDOM}",
    "jwt": JWT,
    "pem": PEM,
    "pem without an end": PEM[:60],
}

PLACED = [
    ("https://api.example/v1?api_key=abc&x=1", "https://api.example/v1?api_key=[redacted]&x=1"),
    ("password=hunter2 host=db", "password=[redacted] host=db"),
    ("password: hunter2", "password: [redacted]"),
    ("user='x', password='a b', host=1", "user='x', password='[redacted]', host=1"),
    ('{"api_key": "abc def", "model": "m"}', '{"api_key": "[redacted]", "model": "m"}'),
    (r"{\"api_key\": \"abc\", \"model\": \"m\"}", r"{\"api_key\": \"[redacted]\", \"model\": \"m\"}"),
    ("headers={'x-api-key': 'zzz', 'accept': 1}", "headers={'x-api-key': '[redacted]', 'accept': 1}"),
    ("Authorization: Bearer abc", "Authorization: [redacted]"),
    (f"got Bearer {RANDOM}", "got Bearer [redacted]"),
    ("got Basic dXNlcjpwYXNz", "got Basic [redacted]"),
    ("postgresql://me:pa@ss@db/jobs", "postgresql://me:[redacted]@db/jobs"),
    ("https://" + "t" * 20 + "@git.example/x", "https://[redacted]@git.example/x"),
    ("access_token=abcdef&page=2", "access_token=[redacted]&page=2"),
    ("'refresh_token': 'abc'", "'refresh_token': '[redacted]'"),
    ("token: a1b2c3d4e5", "token: [redacted]"),
    ("PASSWORD=Hunter2", "PASSWORD=[redacted]"),
]

ORDINARY = [
    "the token limit is 4096 tokens",
    "max_tokens=800, token_count: 12",
    "unexpected token: expected a comma",
    "lease token=17 is stale",
    "secret: 0",
    "a key: value pair; unique_key=abc",
    "job 0190f0a0-1111-7222-8333-444455556666 took 3 s",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "commit 0e2a8c1d9b, task-1234567890123456789, risk-1234567890123456789",
    "sk-learn-pipeline-feature-union-transformer",
    "basic understanding of bearer instruments",
    "http://127.0.0.1:8080/a@b and mail to somebody@example.org",
    "region asia-southeast1, Asiatic",
    "eyJ is how base64 of a brace begins",
    "enrich_entity_summary_keywords",
]


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_a_key_is_known_by_its_shape_wherever_it_stands(secret: str) -> None:
    text = redact(f"Error: {secret}, then more")
    assert secret not in text
    assert MARK in text
    assert text.startswith("Error: ")


@pytest.mark.parametrize(("text", "expected"), PLACED)
def test_a_value_that_stands_where_a_secret_stands_is_replaced(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", [*SECRETS.values(), *(text for text, _ in PLACED)])
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize("text", [*SECRETS.values(), *(text for text, _ in PLACED)])
def test_the_fast_path_also_sees_secrets_in_rendered_lines(text: str) -> None:
    assert may_hold_secret(json.dumps({"error": text}))


@given(st.text(st.sampled_from("aAkKeEyYsStToOpP-_=:@/ '\"\\0192\u017f\u212a"), max_size=60))
def test_the_fast_path_never_skips_what_the_patterns_would_find(text: str) -> None:
    if not may_hold_secret(text):
        assert redact(text + "\x00") == text + "\x00"
    assert redact(redact(text)) == redact(text)


def test_nested_values_under_a_secret_name_go_and_numbers_stay() -> None:
    fields = {
        "headers": {"Authorization": ["Bearer x", "y"], "accept": "json"},
        "apiKey": "abc",
        "token": 17,
        "usage": {"max_tokens": "12"},
        "list": [{"password": "p", "deep": [f"sk-{RANDOM}"]}],
        "none": None,
        "client_secret": "",
    }
    assert redact_fields(fields) == {
        "headers": {"Authorization": [MARK, MARK], "accept": "json"},
        "apiKey": MARK,
        "token": 17,
        "usage": {"max_tokens": "12"},
        "list": [{"password": MARK, "deep": [MARK]}],
        "none": None,
        "client_secret": "",
    }


def test_a_structure_that_is_too_deep_is_cut_not_searched_for_ever() -> None:
    deep: list[object] = ["end"]
    for _ in range(500):
        deep = [deep]
    assert MARK in json.dumps(redact_fields({"deep": deep}))


@pytest.mark.parametrize(
    "name", ["authorization", "Proxy-Authorization", "x-api-key", "accessToken", "db_password", "SECRET", "set-cookie"]
)
def test_names_that_hold_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["max_tokens", "tokens", "unique_key", "keywords", "token_limit", "monkey", "secretary"])
def test_names_that_do_not(name: str) -> None:
    assert not is_secret_name(name)
