"""``docs/states.md`` shows the legal moves as the code has them; ``python -m tests.house.test_states_documented`` redraws it."""

from __future__ import annotations

from pathlib import Path

from scheduler.job import LEGAL, Status

PAGE = Path(__file__).parents[2] / "docs" / "states.md"
_BEGIN, _END = "<!-- drawn from scheduler.job.LEGAL -->\n", "<!-- end of the drawing -->\n"


def drawing() -> str:
    """The state diagram and the table of moves, from ``LEGAL``."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> pending"]
    lines += [f"    {before} --> {after}" for before in Status for after in Status if after in LEGAL[before]]
    lines += ["    completed --> [*]", "```", "", "| from | to |", "|---|---|"]
    lines += [f"| `{before}` | {', '.join(f'`{after}`' for after in Status if after in LEGAL[before]) or '–'} |" for before in Status]
    return "\n".join(lines) + "\n"


def redrawn(page: str) -> str:
    head, rest = page.split(_BEGIN)
    _, tail = rest.split(_END)
    return head + _BEGIN + drawing() + _END + tail


def test_the_page_shows_the_legal_moves() -> None:
    page = PAGE.read_text("utf-8")
    assert redrawn(page) == page, "run: python -m tests.house.test_states_documented"


def test_every_status_is_explained() -> None:
    page = PAGE.read_text("utf-8").split(_END)[1]
    assert [status for status in Status if f"| `{status}` |" not in page] == []


def test_every_reason_that_the_code_gives_is_explained() -> None:
    page = PAGE.read_text("utf-8")
    assert [reason for reason in _reasons() if f"`{reason}`" not in page] == []


def _reasons() -> set[str]:
    """The reasons of the error tree, and the words that decisions spell out."""
    import scheduler.errors as errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.AIProviderError)]
    own = {
        "handler_error",
        "timeout",
        "cancelled",
        "interrupted",
        "worker_lost",
        "no_handler",
        "bad_result",
        "gave_up_waiting",
        "store_busy",
    }
    return {kind.reason for kind in kinds} | own | {"payload_not_json", "payload_invalid"}


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text("utf-8")), "utf-8")
