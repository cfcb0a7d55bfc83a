"""The system's Chromium, driven by Playwright: where it is, how it is started, and what its pages complain about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no browser: install Debian's package chromium (apt-get install chromium), or any that provides " + ", ".join(NAMES)
#: It talks to nobody but the service.
_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_LIMIT_MS = 15_000
#: Told to the page before its own scripts: what the policy forbade is kept for the test to see.
_WATCH = """
window.forbidden = [];
document.addEventListener("securitypolicyviolation", (event) => window.forbidden.push(`${event.violatedDirective}: ${event.blockedURI}`));
"""


def path() -> str | None:
    """Where the browser is; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=_LIMIT_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path(), args=_ARGUMENTS)
        try:
            yield started
        finally:
            started.close()


class Watched:
    """A page, and what it complained about: console errors, uncaught errors, dialogs, what its policy forbade."""

    def __init__(self, browser: Browser, **how: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | how))
        self.context.add_init_script(_WATCH)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(_LIMIT_MS)
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._on_dialog)

    def _on_dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def forbidden(self) -> list[str]:
        found: list[str] = self.page.evaluate("window.forbidden")
        return found

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wider
