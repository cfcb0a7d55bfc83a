"""A shop's catalogue and a customer's list of items, made up the same way every time, with the truth beside them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from random import Random

_MAKERS = ("Arlo", "Bergmann", "Castor", "Dunmore", "Estrel", "Falk", "Granite", "Halden")
_KINDS = {
    "cordless drill": ("V", (12, 14.4, 18, 36), "battery powered drilling machine"),
    "angle grinder": ("mm", (115, 125, 180, 230), "disc cutter for metal and stone"),
    "wood screw": ("mm", (30, 40, 50, 60, 80), "fastener with a countersunk head"),
    "work lamp": ("W", (10, 20, 30, 50), "flood light for building sites"),
    "pressure washer": ("bar", (110, 130, 150), "high pressure cleaner"),
    "paint roller": ("cm", (10, 18, 25), "applies wall colour"),
}
_SERIES = ("Alpha", "Brisk", "Comet", "Delta")


@dataclass(frozen=True)
class Shop:
    """Rows of both sides. ``truth`` maps an item's id to its entry's sku, or to None; ``ways`` to how it was written."""

    catalogue: list[dict[str, str]]
    items: list[dict[str, str]]
    pages: dict[str, str]
    truth: dict[str, str | None]
    ways: dict[str, str]

    def write(self, folder: Path) -> tuple[Path, Path, Path]:
        """The catalogue and the items as CSV, the pages as a folder of text files."""
        folder.mkdir(parents=True, exist_ok=True)
        pages = folder / "pages"
        pages.mkdir()
        for name, text in self.pages.items():
            (pages / name).write_text(text, encoding="utf-8")
        for name, rows in (("items.csv", self.items), ("catalogue.csv", self.catalogue)):
            with (folder / name).open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        return folder / "items.csv", folder / "catalogue.csv", pages


def shop(items: int = 120, seed: int = 7) -> Shop:
    """About 40 % of the items as in the catalogue, 20 % misspelt, the rest in other words, under a nickname, or unknown to it."""
    rng = Random(seed)
    catalogue = []
    for maker in _MAKERS:
        for kind, (unit, sizes, description) in _KINDS.items():
            for size in sizes:
                number = len(catalogue) + 1
                catalogue.append(
                    {
                        "sku": f"{maker[:2].upper()}-{1000 + number}",
                        "ean": f"40{number:011}",
                        "name": f"{maker} {kind} {rng.choice(_SERIES)} {size} {unit}",
                        "description": description,
                    }
                )
    chosen = rng.sample(catalogue, min(items, len(catalogue)))
    rows, pages, truth, ways = [], {}, {}, {}
    for number, entry in enumerate(chosen, 1):
        way = rng.choices(("same", "ean", "typo", "words", "nickname", "unknown"), (25, 15, 20, 20, 10, 10))[0]
        key = f"i{number}"
        row = {"id": key, "name": entry["name"], "ean": ""}
        if way == "same":
            words = entry["name"].replace(" V", "V").split()
            rng.shuffle(words)
            row["name"] = " ".join(words).upper()
        elif way == "ean":
            row |= {"name": f"position {number} of the order", "ean": entry["ean"]}
        elif way == "typo":
            row["name"] = _misspelt(entry["name"], rng)
        elif way == "words":
            maker, *kind, series, size, unit = entry["name"].split()
            row["name"] = f"{series} {size}{unit}, new in box, {' '.join(kind)}s by {maker}, with manual and two years of guarantee"
        elif way == "nickname":
            row["name"] = f"Wombat{number} special edition"
            pages[f"{key}.txt"] = f"What they call the Wombat{number} special edition is nothing but the {entry['name']} in another box."
        else:
            row["name"] = f"inflatable {rng.choice(('flamingo', 'canoe', 'sofa'))} no {number}, pink"
        rows.append(row)
        truth[key] = None if way == "unknown" else entry["sku"]
        ways[key] = way
    return Shop(catalogue, rows, pages, truth, ways)


def _misspelt(name: str, rng: Random) -> str:
    """Two neighbouring letters of one word change places, and one letter of another is missing; numbers stay."""
    words = name.split()
    first, second = rng.sample([place for place, word in enumerate(words) if word.isalpha() and len(word) > 3], 2)
    at = rng.randrange(1, len(words[first]) - 2)
    words[first] = words[first][:at] + words[first][at + 1] + words[first][at] + words[first][at + 2 :]
    gone = rng.randrange(1, len(words[second]) - 1)
    words[second] = words[second][:gone] + words[second][gone + 1 :]
    return " ".join(words)
