"""Contacts out of a table, and what their rows alone say of how they belong together: companies, shared tags.

Pure. Companies come from the domains of e-mail addresses as the Public Suffix List cuts them (``mail.acme.co.uk`` and
``acme.co.uk`` are one, ``a.github.io`` is its owner's), without those where everybody has a mailbox.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from handlers.extras import needing
from handlers.tables import Row

_COLUMNS = {
    "name": ("name", "full name", "full_name", "contact", "display name"),
    "email": ("email", "e-mail", "mail", "email address", "e-mail address"),
    "company": ("company", "organisation", "organization", "employer"),
    "title": ("title", "job title", "position", "role", "profession"),
    "notes": ("notes", "note", "bio", "about", "description"),
    "tags": ("tags", "labels", "groups", "categories"),
}
_EMAIL = re.compile(r"[^@\s,;<>]+@([^@\s,;<>]+\.[^@\s,;<>.]+)")
_TAG_MARKS = re.compile(r"[;,|]")
#: Where everybody has a mailbox: an address there says nothing of an employer.
_FREE = frozenset(
    {
        "gmail",
        "googlemail",
        "hotmail",
        "outlook",
        "live",
        "msn",
        "yahoo",
        "ymail",
        "aol",
        "icloud",
        "me",
        "mac",
        "gmx",
        "web",
        "mail",
        "email",
    }
    | {
        "proton",
        "protonmail",
        "pm",
        "tutanota",
        "tuta",
        "zoho",
        "yandex",
        "qq",
        "163",
        "126",
        "sina",
        "naver",
        "hanmail",
        "daum",
        "rediffmail",
    }
    | {
        "t-online",
        "freenet",
        "posteo",
        "mailbox",
        "fastmail",
        "hey",
        "orange",
        "wanadoo",
        "free",
        "laposte",
        "libero",
        "virgilio",
        "seznam",
    }
)
_MOST_PER_PERSON = 20


@dataclass(frozen=True, slots=True)
class Person:
    """A contact. ``id`` is the address, else the name: what makes two rows one."""

    id: str
    name: str
    email: str
    company: str
    title: str
    notes: str
    tags: frozenset[str]

    @property
    def profile(self) -> str:
        """What the person does, for comparing meanings; names and addresses say nothing of that."""
        return ". ".join(part for part in (self.title, self.company, self.notes, ", ".join(sorted(self.tags))) if part)


@dataclass(frozen=True, slots=True)
class Company:
    domain: str
    name: str
    people: tuple[str, ...]


def people(rows: Sequence[Row]) -> tuple[list[Person], list[str]]:
    """The contacts in ``rows``, each once, and what was wrong with some rows (numbered from 1)."""
    found: dict[str, Person] = {}
    errors: list[str] = []
    for number, row in enumerate(rows, 1):
        values = {field: next((row[name] for name in names if row.get(name)), "") for field, names in _COLUMNS.items()}
        email = values["email"].strip().lower()
        if email and not _EMAIL.fullmatch(email):
            errors.append(f"row {number}: {email!r} is no e-mail address")
            email = ""
        key = email or values["name"].casefold()
        if not key:
            errors.append(f"row {number}: neither name nor e-mail address")
            continue
        if key in found:
            errors.append(f"row {number}: {key} is there already; the first one counts")
            continue
        tags = frozenset(tag for part in _TAG_MARKS.split(values["tags"]) if (tag := " ".join(part.split()).lower()))
        found[key] = Person(key, values["name"], email, values["company"], values["title"], values["notes"], tags)
    return list(found.values()), errors


def companies(everybody: Sequence[Person], registered: Callable[[str], str] | None = None) -> list[Company]:
    """The companies whose domains people write from, by domain. ``registered`` cuts a host to its registered domain, "" for none."""
    registered = registered or _registered
    by_domain: dict[str, list[Person]] = {}
    for person in everybody:
        domain = registered(person.email.rpartition("@")[2]) if person.email else ""
        if domain and domain.partition(".")[0] not in _FREE:
            by_domain.setdefault(domain, []).append(person)
    return [Company(domain, _company_name(domain, some), tuple(one.id for one in some)) for domain, some in sorted(by_domain.items())]


def shared_tags(everybody: Sequence[Person]) -> list[tuple[str, str, float]]:
    """Pairs who share tags, with the share of theirs that is common (Jaccard); each person's best twenty.

    A tag that more than half of at least ten people have tells nobody apart.
    """
    bearers: dict[str, list[int]] = {}
    for place, person in enumerate(everybody):
        for tag in person.tags:
            bearers.setdefault(tag, []).append(place)
    telling = {tag: some for tag, some in bearers.items() if len(everybody) < 10 or len(some) * 2 <= len(everybody)}
    found: dict[tuple[int, int], float] = {}
    for place, person in enumerate(everybody):
        common = Counter(other for tag in person.tags for other in telling.get(tag, ()) if other != place)
        scored = [(count / len(telling.keys() & (person.tags | everybody[other].tags)), other) for other, count in common.items()]
        for score, other in sorted(scored, key=lambda one: (-one[0], one[1]))[:_MOST_PER_PERSON]:
            found[min(place, other), max(place, other)] = round(score, 4)
    return [(everybody[first].id, everybody[second].id, score) for (first, second), score in sorted(found.items())]


def _company_name(domain: str, some: Sequence[Person]) -> str:
    named = Counter(person.company for person in some if person.company)
    return named.most_common(1)[0][0] if named else domain.partition(".")[0].replace("-", " ").title()


def _registered(host: str) -> str:
    return str(_extractor()(host).top_domain_under_public_suffix)


@cache
def _extractor() -> Callable[[str], Any]:
    with needing("discovery"):
        from tldextract import TLDExtract
    # The list that comes with the package: nothing is fetched, nothing is written.
    return TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)
