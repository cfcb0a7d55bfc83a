"""Whatever jobs hold is shown as text: nothing of it runs, on any page."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.support.browser import Watched
from tests.support.served import Served

pytestmark = pytest.mark.slow

#: Each calls for an alert, a request to nowhere, or hides what it is.
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "javascript:alert(3)",
    "</title></textarea></style><svg onload=alert(4)>",
    "{{constructor.constructor('alert(5)')()}}",
    "\u202egpj.exe\u202c \u2066txt",
    "\u05d0\u05d1\u05d2 \x1b[31m\x07\x08\x7f",
    "__proto__",
    "' onfocus='alert(6)' autofocus='",
)


def seeded(service: Served, text: str) -> list[str]:
    """Jobs that hold ``text`` wherever there is room for it: failed, long, running, and one whose very type it is."""
    everywhere = {"target_type": text, "target_id": text, "owner": text, "batch": text, "unique_key": text}
    failed = service.enqueue("picky", {"unless": "/nowhere", "say": text, text: text}, **everywhere)
    listing = service.enqueue("listing", {"items": [text, "fine"], "bad": [text]}, target_id=text)
    running = service.enqueue("gated", {"until": "/nowhere", "say": text}, target_id=text)
    waiting = service.enqueue(text, run_after="2100-01-01T00:00:00Z")
    for scope in (text, f"owner:{text}") if text.isprintable() else ():  # the door refuses others
        service.ask("POST", "api/pauses", {"scope": scope, "for_s": 3_600})
    service.until_status(failed, "failed_ai")
    service.until_status(listing, "failed_job_logic")
    service.until_status(running, "processing")
    return [failed, listing, running, waiting]


def test_it_is_text_wherever_it_stands(service: Served, watched: Watched) -> None:
    places = {"#/now": ".running li", "#/queue": ".matrix", "#/jobs": "table[role=table] tbody tr", "#/lanes": ".closed li"}
    for number, text in enumerate(HOSTILE):
        jobs = seeded(service, text)
        # Every kind of job once, and what failed with each of the texts.
        places |= {f"#/jobs/{job}": ".timeline li" for job in (jobs if number == 0 else jobs[:2])}
        places |= {f"#/jobs?{('text', 'owner', 'reason', 'status')[number % 4]}={quote(text)}": "form.filters"}
        places |= {f"#/{quote(text)}": ".tiles"} if number % 2 else {f"#/jobs/{quote(text)}": "main .card"}
    page = watched.page
    for place, sign in places.items():
        page.goto("about:blank")
        page.goto(service.url + place)
        expect(page.locator(sign).first).to_be_visible()
        for summary in page.locator("summary").all():
            if summary.is_visible():
                summary.click()
        assert watched.forbidden() == [], place
        assert page.locator("main img, main script, main iframe, main [onerror], main [onload], main [onfocus]").count() == 0, place
        assert page.locator("main a:not([href^='#/'])").count() == 0, place
    refused = [line for line in watched.complaints if "Failed to load resource" not in line]
    assert (refused, watched.dialogs) == ([], [])


def test_it_stands_there_letter_by_letter_and_what_cannot_be_seen_is_made_visible(service: Served, watched: Watched) -> None:
    page = watched.page
    markup = service.enqueue("picky", {"unless": "/nowhere", "say": "<b>bold</b> & more"}, target_id="<i>id</i>")
    hidden = service.enqueue("picky", {"unless": "/nowhere", "say": "a\u202eb\x1bc"})
    for job in (markup, hidden):
        service.until_status(job, "failed_ai")
    page.goto(f"{service.url}#/jobs/{markup}")
    expect(page.get_by_role("heading", level=1)).to_have_text("picky <i>id</i>")
    expect(page.locator(".why")).to_contain_text("<b>bold</b> & more")
    page.goto(f"{service.url}#/jobs/{hidden}")
    expect(page.locator(".why")).to_contain_text(r"a\u202eb")
    assert "\u202e" not in page.locator("main").inner_text()
