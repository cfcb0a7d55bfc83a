"""Secrets out of text and structures, before anything is stored or logged. Pure.

Two kinds of evidence: a value that has the shape of a key (``sk-…``, ``AKIA…``, a JWT, a PEM block)
and a value that stands where a secret stands (``password=…``, ``Authorization: …``, user:password in
a URL). Ordinary text takes the fast path: a handful of substring searches and no regular expression.
Every pattern runs in linear time; redacting twice gives the same as redacting once.

Does not belong here: control characters (``values.printable``, ``logs.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

MARK = "[redacted]"
_MAX_DEPTH = 32

_KEY_OF = "api|access|secret|private|account|signing|encryption"
#: What lower-case text must hold for any pattern below to match: the fast path. All of it survives
#: JSON escaping, so that a rendered line may be asked as well as a raw text. Each alternative begins
#: with a plain letter, which lets the engine skip: this is three times as fast as a shorter spelling.
_HINT = re.compile(
    "|".join(f"{word}[_-]?key" for word in _KEY_OF.split("|"))
    + r"|password|passwd|passphrase|pwd|secret|token|cookie|credential|authorization|bearer|basic|private key"
    r"|sk-|sk_live_|rk_live_|gsk_|aiza|gh[pousr]_|github_pat_|glpat-|akia[a-z0-9]{16}|asia[a-z0-9]{16}"
    r"|xox[abeprs]-|hf_|xai-|eyj[a-z0-9_-]{8}"
)

_SHAPES = re.compile(
    r"""(?<![A-Za-z0-9])(?:
          sk-(?:ant|proj|svcacct|admin|or)-[A-Za-z0-9_*-]{8,}       # Anthropic, OpenAI, OpenRouter
        | sk-(?=[A-Za-z_*-]{0,200}[0-9])[A-Za-z0-9_*-]{16,}         # OpenAI and the many that copied it
        | (?:sk|rk)_live_[A-Za-z0-9]{12,}                           # Stripe
        | gsk_[A-Za-z0-9]{20,} | hf_[A-Za-z0-9]{20,} | xai-[A-Za-z0-9]{20,}
        | AIza[A-Za-z0-9_-]{30,}                                    # Google
        | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[A-Za-z0-9_-]{16,}
        | (?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])                  # AWS access key ids
        | xox[abeprs]-[A-Za-z0-9-]{10,}                             # Slack
        | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?   # JWT
    )""",
    re.VERBOSE,
)
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL)
_USERINFO = re.compile(r"://([^\s:/?#@]{0,256}):[^\s/?#]{1,1024}@|://[^\s:/?#@]{16,1024}@")
#: "Bearer of good news" is a sentence: a token has a digit, a "=", a change to upper case, or length.
_SCHEME = re.compile(
    r"(?<![A-Za-z])((?i:bearer|basic))\s{1,3}(?=[A-Za-z._~+/-]{0,200}(?:[0-9=]|[a-z][A-Z])|[A-Za-z0-9._~+/-]{24})[A-Za-z0-9._~+/=-]{6,}"
)

_BARE = r"[^\s\"'\\&,;<>()\[\]{}]+"
_QUOTED = r'b?(?:"[^"\n]+"?|\'[^\'\n]+\'?|\\"[^"\\\n]+(?:\\")?|\\\'[^\'\\\n]+(?:\\\')?)'
_IS = r"(?:\\?[\"'])?\s{0,3}(?:=>|[=:])\s{0,3}"
_STRONG = rf"authorization|(?:{_KEY_OF})[_-]?key|client[_-]?secret|password|passwd|passphrase|pwd|set-cookie"
_WEAK = r"token|secret|cookie|credentials?"
#: Words of ordinary prose ("unexpected token: expected …") need a value that looks like a secret, or quotes, or "=".
_PAIR = re.compile(
    rf"""(?P<strong>(?:{_STRONG}){_IS})(?:(?:bearer|basic|token|digest)\s{{1,3}})?(?:{_QUOTED}|\[redacted\]|{_BARE})
       | (?P<weak>(?:{_WEAK})(?:\\?["'])?\s{{0,3}}(?:=>|=)\s{{0,3}}|(?:{_WEAK})\\?["']\s{{0,3}}:\s{{0,3}}(?=b?\\?["']))
         (?!\d{{1,6}}(?![^\s"'\\&,;<>()\[\]{{}}]))(?:{_QUOTED}|\[redacted\]|{_BARE})
       | (?P<prose>(?:{_WEAK}):\s{{0,3}})(?=[^\s\d]{{0,200}}\d|[A-Za-z_-]{{24}})[A-Za-z0-9._~+/=*-]{{8,}}
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)

_SECRET_NAME = re.compile(
    rf"(?:^|[_.\s])(?:proxy_)?(?:authorization|(?:{_KEY_OF})_?key|(?:client_?)?secrets?"
    r"|password|passwd|passphrase|pwd|token|cookies?|credentials?)$",
    re.ASCII,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def may_hold_secret(text: str) -> bool:
    """False when ``redact`` certainly leaves ``text`` (or the texts whose JSON it is) alone; cheap."""
    return _HINT.search(text.lower()) is not None or ("@" in text and "://" in text)


def redact(text: str) -> str:
    """``text`` with every secret in it replaced by ``[redacted]``."""
    if not may_hold_secret(text):
        return text
    text = _PEM.sub(MARK, text)
    text = _USERINFO.sub(_without_password, text)
    text = _SHAPES.sub(MARK, text)
    text = _PAIR.sub(_without_value, text)
    return _SCHEME.sub(rf"\1 {MARK}", text)


def redact_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``fields`` (plain JSON types) without secrets, by name of key and by shape of value."""
    return {redact(str(key)): _redacted(value, is_secret_name(str(key)), 1) for key, value in fields.items()}


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Whether a key of this name holds a secret: ``x-api-key`` and ``accessToken`` do, ``max_tokens`` does not."""
    return _SECRET_NAME.search(_CAMEL.sub("_", name[-128:]).lower().replace("-", "_")) is not None


def _redacted(value: Any, secret: bool, depth: int) -> Any:
    """Numbers stay also under a secret name: a lease's ``token`` is one."""
    if isinstance(value, str):
        return MARK if secret and value else redact(value)
    if depth >= _MAX_DEPTH:
        return MARK if isinstance(value, Mapping | list | tuple) else value
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted(item, secret or is_secret_name(str(key)), depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, secret, depth + 1) for item in value]
    return value


def _without_password(found: re.Match[str]) -> str:
    user = found.group(1)
    return f"://{MARK}@" if user is None else f"://{user}:{MARK}@"


def _without_value(found: re.Match[str]) -> str:
    kept = found.group("strong") or found.group("weak") or found.group("prose")
    value = found.group()[len(kept) :].lstrip("b")
    quote = next((mark for mark in ('\\"', "\\'", '"', "'") if value.startswith(mark)), "")
    return f"{kept}{quote}{MARK}{quote}"
