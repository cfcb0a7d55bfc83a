"""``token``: what programs show the API to be let in."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.api.tokens import hashed, new_token
from scheduler.cli import options, render
from scheduler.errors import ConfigError
from scheduler.settings import TOKEN_VARIABLE, load

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Action(StrEnum):
    NEW = "new"


class Scope(StrEnum):
    READ = "read"
    WRITE = "write"
    OPERATE = "operate"


def token(
    action: Annotated[Action, typer.Argument(help="`new` makes one", metavar="ACTION")],
    name: Annotated[str | None, typer.Argument(help="What it is called in the configuration (default: its owner or scope)")] = None,
    scope: Annotated[
        Scope, typer.Option("--scope", help="read looks, write also changes jobs, operate also pauses and resumes")
    ] = Scope.READ,
    owner: Annotated[str | None, typer.Option("--owner", help="It sees and changes only jobs of this owner", metavar="OWNER")] = None,
    write: Annotated[bool, typer.Option("--write", help="Put its table into the settings file")] = False,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
) -> None:
    """Make a token for the API: it is shown once, the configuration holds only its SHA-256."""
    called = name or _default_name(owner, scope)
    if not _NAME.fullmatch(called):
        raise ConfigError(f"a token's name has letters, digits, - and _ only, not {called!r}")
    secret = new_token()
    about = {"sha256": hashed(secret), "scope": str(scope)} | ({"owner": owner} if owner is not None else {})
    table = _table(called, about)
    place = _write(options.config_file(config), called, table) if write else None
    if as_json:
        render.emit_json({"token": secret, "name": called, **about, "written_to": None if place is None else str(place)})
        return
    typer.echo(secret)
    if place is None:
        render.note(f"\nThis is the only time it is shown. Put this into config.toml, and start the service again:\n\n{table}")
    else:
        render.note(f"This is the only time it is shown. [tokens.{called}] is in {place}: start the service again.")
    render.note(f"Programs send it as `Authorization: Bearer …`; `scheduler watch --url` takes it from ${TOKEN_VARIABLE}.")


def _default_name(owner: str | None, scope: Scope) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", owner)[:100] if owner else str(scope)


def _table(name: str, about: dict[str, str]) -> str:
    """TOML that says just this, and is accepted. Raises ``ConfigError``."""
    table = f"[tokens.{name}]\n" + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in about.items())
    try:
        told = tomllib.loads(table)
    except tomllib.TOMLDecodeError:
        told = {}
    if told != {"tokens": {name: about}}:
        raise ConfigError(f"the owner {about.get('owner')!r} has characters that a settings file cannot hold")
    load(told)
    return table


def _write(path: Path | None, name: str, table: str) -> Path:
    """Append ``table``: the file is replaced as a whole, with its permissions, once it is sure that it is sound."""
    if path is None:
        raise ConfigError("--write: which file? give it with --config FILE")
    path = path.resolve()  # what a link leads to, not the link
    try:
        before = path.read_text("utf-8") if path.exists() else ""
        known: dict[str, Any] = tomllib.loads(before)
        if name in known.get("tokens", {}):
            raise ConfigError(f"{path} has a token {name!r} already: give this one another name, or take that out first")
        text = before + ("" if before.endswith("\n") or not before else "\n") + ("\n" if before else "") + table
        load(tomllib.loads(text))
        _replace(path, text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be changed: {error}") from None
    return path


def _replace(path: Path, text: str) -> None:
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            Path(beside).chmod(path.stat().st_mode & 0o7777)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
