"""The AI providers behind one small port, and the way to open the one that is configured."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from handlers.providers.anthropic import AnthropicProvider
from handlers.providers.chat import missing_extra
from handlers.providers.openai import OpenAIProvider
from handlers.providers.port import (
    CHOICE,
    CODE,
    CONVERSATION,
    DOCUMENT,
    Choice,
    Entities,
    Provider,
    Question,
    Subject,
    SummaryAndKeywords,
    Topics,
)
from scheduler.settings import ProviderSettings


def _local(settings: ProviderSettings) -> Provider:
    try:
        from handlers.providers.local import LocalProvider  # an optional extra with numpy behind it: loaded by who uses it
    except ImportError as error:
        raise missing_extra("local") from error
    return LocalProvider()


_KINDS: Mapping[str, Callable[[ProviderSettings], Provider]] = {
    "local": _local,
    "openai": OpenAIProvider,
    "anthropic": AnthropicProvider,
}

__all__ = [
    "CHOICE",
    "CODE",
    "CONVERSATION",
    "DOCUMENT",
    "Choice",
    "Entities",
    "Provider",
    "Question",
    "Subject",
    "SummaryAndKeywords",
    "Topics",
    "open_provider",
]


def open_provider(settings: ProviderSettings) -> Provider:
    """The provider that ``[provider] kind`` names. Raises ``ConfigError`` when its extra or key is missing."""
    return _KINDS[settings.kind](settings)
