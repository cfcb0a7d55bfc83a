"""Contacts, companies by domain, common tags: what rows alone say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.people import Person, companies, people, shared_tags


def person(key: str, *tags: str, email: str = "", company: str = "") -> Person:
    return Person(key, key, email, company, "", "", frozenset(tags))


def test_rows_become_contacts_each_once_and_wrong_ones_are_told() -> None:
    rows = [
        {"name": "Ada", "e-mail": "Ada@X.org", "role": "engineer", "tags": "Go; python|go , "},
        {"full name": "Bob", "email": ""},
        {"name": "Ada again", "email": "ada@x.org"},
        {"name": "Cleo", "email": "cleo at x.org"},
        {"name": "", "email": ""},
    ]
    found, errors = people(rows)
    assert [one.id for one in found] == ["ada@x.org", "bob", "cleo"]
    assert found[0].tags == {"go", "python"}
    assert found[0].profile == "engineer. go, python"
    assert errors == [
        "row 3: ada@x.org is there already; the first one counts",
        "row 4: 'cleo at x.org' is no e-mail address",
        "row 5: neither name nor e-mail address",
    ]


@pytest.mark.parametrize(
    ("email", "domain"),
    [
        ("a@acme.com", "acme.com"),
        ("a@mail.eu.acme.co.uk", "acme.co.uk"),
        ("a@someone.github.io", "someone.github.io"),
        ("a@müller.de", "müller.de"),
        ("a@gmail.com", None),
        ("a@yahoo.co.jp", None),
        ("a@x.localhost", None),
        ("", None),
    ],
)
def test_a_domain_tells_a_company_unless_everybody_has_a_mailbox_there(email: str, domain: str | None) -> None:
    assert [company.domain for company in companies([person("a", email=email)])] == ([domain] if domain else [])


def test_a_company_is_called_what_most_of_its_people_call_it() -> None:
    some = [
        person("a", email="a@acme-tools.com"),
        person("b", email="b@acme-tools.com", company="ACME"),
        person("c", email="c@x.acme-tools.com", company="ACME"),
        person("d", email="d@other-house.org"),
    ]
    found = companies(some)
    assert [(one.name, one.people) for one in found] == [("ACME", ("a", "b", "c")), ("Other House", ("d",))]


def test_common_tags_are_told_by_how_much_is_common() -> None:
    some = [person("a", "x", "y"), person("b", "x", "y"), person("c", "y", "z"), person("d")]
    assert shared_tags(some) == [("a", "b", 1.0), ("a", "c", 0.3333), ("b", "c", 0.3333)]


def test_a_tag_that_most_people_have_tells_nobody_apart() -> None:
    some = [person(str(number), "contact", *(["chess"] if number < 2 else [])) for number in range(12)]
    assert shared_tags(some) == [("0", "1", 1.0)]


@given(st.lists(st.frozensets(st.sampled_from("abcde"), max_size=4), max_size=12))
def test_pairs_are_told_once_in_order_and_within_bounds(tags: list[frozenset[str]]) -> None:
    some = [person(f"{number:02}", *each) for number, each in enumerate(tags)]
    found = shared_tags(some)
    pairs = [pair[:2] for pair in found]
    assert len(set(pairs)) == len(pairs)
    assert all(first < second and 0.0 < score <= 1.0 for first, second, score in found)
