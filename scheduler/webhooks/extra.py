"""What the optional libraries of webhooks, not being there, mean to whoever asked for them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from scheduler.errors import ConfigError


def library(name: str) -> ModuleType:
    """An optional library. Raises ``ConfigError`` that names the extra to install."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"webhooks need a library that is not installed ({error.name}): pip install 'ai-job-scheduler[webhooks]'"
        ) from None
