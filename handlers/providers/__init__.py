"""The AI providers behind one small port, and the way to open the one that is configured."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from handlers.providers.anthropic import AnthropicProvider
from handlers.providers.local import LocalProvider
from handlers.providers.openai import OpenAIProvider
from handlers.providers.port import CODE, CONVERSATION, DOCUMENT, Provider, Question, Subject, SummaryAndKeywords, Topics
from scheduler.settings import ProviderSettings

_KINDS: Mapping[str, Callable[[ProviderSettings], Provider]] = {
    "local": lambda settings: LocalProvider(),
    "openai": OpenAIProvider,
    "anthropic": AnthropicProvider,
}

__all__ = ["CODE", "CONVERSATION", "DOCUMENT", "Provider", "Question", "Subject", "SummaryAndKeywords", "Topics", "open_provider"]


def open_provider(settings: ProviderSettings) -> Provider:
    """The provider that ``[provider] kind`` names. Raises ``ConfigError`` when its extra or key is missing."""
    return _KINDS[settings.kind](settings)
