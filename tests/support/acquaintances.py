"""Somebody's contacts, made up the same way every time: trades whose people describe themselves in different words."""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random

TRADES = {
    "software": (
        "Backend engineer, writes Python services and databases",
        "Programs web servers and APIs in Python",
        "Software developer for distributed systems and databases",
        "Builds backend software, likes Python and PostgreSQL",
    ),
    "cooking": (
        "Chef in an Italian restaurant, bakes bread and makes pasta",
        "Cooks seasonal dishes, runs a restaurant kitchen",
        "Pastry chef who bakes cakes and bread",
        "Restaurant cook for fish and vegetables",
    ),
    "medicine": (
        "Surgeon at the university hospital, treats heart patients",
        "Doctor, cardiology, looks after patients with heart disease",
        "Nurse in intensive care at a hospital",
        "Physician for internal medicine and heart disease",
    ),
    "law": (
        "Lawyer for contracts and company law",
        "Attorney who represents companies in court",
        "Judge at the regional court, contract law",
        "Legal counsel, drafts contracts for companies",
    ),
}
_FIRST = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gil", "Hana", "Ivo", "Jana", "Kim", "Lea", "Max", "Nora", "Otto", "Pia")
_LAST = ("Abel", "Brandt", "Cole", "Diaz", "Ekman", "Fabre", "Grau", "Holm", "Ito", "Jensen", "Kaya", "Lund", "Moreau", "Novak")
_DOMAINS = {"software": "byteworks.example.com", "cooking": "trattoria.it", "medicine": "clinic.example.org", "law": "lex-partners.co.uk"}
_TAGS = {
    "software": ("python", "conference"),
    "cooking": ("food", "neighbour"),
    "medicine": ("health", "choir"),
    "law": ("legal", "tennis"),
}


def acquaintances(count: int = 60, seed: int = 3) -> list[dict[str, str]]:
    """Rows with ``name``, ``email``, ``company``, ``title``, ``notes``, ``tags`` and the ``trade`` that tells the truth."""
    rng = Random(seed)
    rows = []
    for number in range(count):
        trade = list(TRADES)[number % len(TRADES)]
        name = f"{rng.choice(_FIRST)} {rng.choice(_LAST)} {number}"
        box = name.lower().replace(" ", ".")
        domain = _DOMAINS[trade] if number % 3 else "gmail.com"
        mail_host = f"mail.{domain}" if number % 5 == 0 and domain != "gmail.com" else domain
        rows.append(
            {
                "name": name,
                "email": f"{box}@{mail_host}",
                "company": "",
                "title": "",
                "notes": rng.choice(TRADES[trade]),
                "tags": "; ".join(tag for tag in _TAGS[trade] if rng.random() < 0.6),
                "trade": trade,
            }
        )
    return rows


def write_contacts(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name != "trade"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path
