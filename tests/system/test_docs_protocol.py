"""docs/protocol.md shows the bytes of the code, and of the vectors the code is held against."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest

from homebody_privacy import broadcast, certificate, envelope, identity, legs, replay, sealing
from homebody_privacy.envelope import Refusal, SealContext
from homebody_privacy.errors import (
    BelowFloorError,
    LedgerRefusedError,
    NotApprovedError,
    RolledBackError,
)
from homebody_privacy.ledger_proof import LedgerProof
from homebody_privacy.legs import ACTIONS, Announcement, Decline, Enrolment, Opening, Step

from .docs_blocks import ROOT, first_column, page, run, section, told

PAGE: Final = page("protocol.md")
VECTORS: Final = ROOT / "tests" / "vectors"
NONE: Final = "\N{EN DASH}"
LABEL: Final = re.compile(r"homebody/[a-z-]+/v\d")


def table(text: str, head: str) -> list[list[str]]:
    """Return the rows of the table whose first header cell is ``head``, as cells."""
    (rows,) = re.findall(rf"(?m)^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text)
    return [row.removeprefix("| ").removesuffix(" |").split(" | ") for row in rows.splitlines()]


def vector(file: str) -> Any:  # noqa: ANN401 - as written in the file
    return json.loads((VECTORS / file).read_text("utf-8"))


def test_the_legs_are_those_of_the_code() -> None:
    rows = table(section(PAGE, "## The legs of a session"), "step")
    assert [row[0].strip("`") for row in rows] == [str(step) for step in Step]
    types = {Step(row[0].strip("`")): row[1].strip("`") for row in rows}
    queries = {step: f"query.{action}" for step, action in ACTIONS.items()}
    assert types == {
        **queries,
        Step.UPDATE: "train",
        Step.FIGURES: "evaluate",
        Step.DECLINE: NONE,
    }
    for name in (legs.SEALED, legs.ENVELOPE, legs.BROADCAST, legs.CIPHERTEXT):
        assert f"`{name}`" in section(PAGE, "## The legs of a session")


def test_the_layout_of_an_envelope_is_that_of_the_golden_ones() -> None:
    rows = table(section(PAGE, "## Envelope"), "field")
    names, sizes = [row[0] for row in rows], dict(row[:2] for row in rows)
    assert [sizes[name] for name in names] == ["1", "1", "4", "H", "4", "B", "64"]
    sealed_parts = ["encapsulated key", "ciphertext", "tag"]
    for one in vector("sealing.json")["envelopes"]:
        labels = [label for label, _ in one["fields"]]
        inside = sealed_parts if one["recipient"] else ["body"]
        at = names.index("body")
        assert labels == [*names[:at], *inside, *names[at + 1 :]]
        for label, value in one["fields"]:
            if sizes.get(label, "").isdecimal():
                assert len(bytes.fromhex(value)) == int(sizes[label])


def test_the_header_is_the_context_of_the_code_with_version_and_suite() -> None:
    named = [row[0].strip("`") for row in table(section(PAGE, "## Envelope"), "header field")]
    assert named == sorted({one.name for one in fields(SealContext)} | {"v", "suite"})
    assert f"`{envelope.SUITE}`" in PAGE
    assert f"`{envelope.UNSEALED}`" in section(PAGE, "## Envelope")


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    words = " ".join(PAGE.split())
    assert f"{sealing.OVERHEAD_BYTES:,} bytes longer" in words
    assert f"at most {envelope.HEADER_LIMIT:,}" in words
    assert f"{identity.PUBLIC_BYTES:,} bytes: the ML-KEM-768 encapsulation key (1,184" in words
    assert f"secret is {identity.SECRET_BYTES} bytes" in words
    assert f"more than {sealing.LONGEST_LIFE_S // 86_400} days ahead" in words
    assert f"multiple of {legs.WORK_BLOCK:,} bytes" in words
    assert f"0 to {legs.WORK_BLOCK - 1:,}" in words
    assert f"encapsulated key ({sealing.OVERHEAD_BYTES - 16:,})" in words


def test_every_reason_of_a_refusal_is_explained() -> None:
    named = first_column(section(PAGE, "## What a receiver refuses"), "reason")
    assert named == [str(one) for one in Refusal]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("announcement", Announcement),
        ("enrolment", Enrolment),
        ("opening", Opening),
        ("decline", Decline),
    ],
)
def test_the_fields_of_a_body_are_those_of_the_code_and_of_the_golden_one(
    name: str, kind: type[Any]
) -> None:
    named = [row[0].strip("`") for row in table(section(PAGE, "## Bodies"), name)]
    assert named == [one.name for one in fields(kind) if one.name not in in_a_fleet(kind)]
    assert sorted(named) == list(json.loads(vector("legs.json")[name]))


def in_a_fleet(kind: type[Any]) -> frozenset[str]:
    """Return the fields of a body that a fleet alone has."""
    return frozenset(kind._deployed)  # noqa: SLF001 - what the page is compared with


def test_the_fields_of_a_fleet_and_of_its_ledger_are_those_of_the_code() -> None:
    words = section(PAGE, "## What a node verifies before each round")
    named = [(row[0], row[1].strip("`")) for row in table(words, "in a fleet, besides")]
    bodies = {"announcement": Announcement, "enrolment": Enrolment, "opening": Opening}
    for name, kind in bodies.items():
        assert {field for body, field in named if body == name} == in_a_fleet(kind)
    shown = [row[0].strip("`") for row in table(words, "in `ledger`")]
    assert sorted(shown) == sorted(one.name for one in fields(LedgerProof))
    codes = (NotApprovedError, BelowFloorError, RolledBackError, LedgerRefusedError)
    for code in codes:
        assert f"`{code.code}`" in words


def test_the_parts_of_work_are_those_of_the_golden_one() -> None:
    named = [row[0] for row in table(section(PAGE, "## Bodies"), "work")]
    labels = [label for label, _ in vector("legs.json")["work"]]
    assert labels[1::2] == named
    assert labels[::2] == [
        "length of what is asked",
        "length of the shares",
        "length of the content key",
        "length of the zeros",
    ]


@pytest.mark.parametrize(("column", "name"), [(1, "certificate"), (2, "request")])
def test_the_layout_of_certificate_and_request_is_that_of_the_golden_ones(
    column: int, name: str
) -> None:
    rows = table(section(PAGE, "## Certificates and requests"), "field")
    layout = {row[0]: row[column] for row in rows if row[column] != NONE}
    golden = dict(vector("certificates.json")[name])
    assert list(layout) == list(golden)
    for field, size in layout.items():
        value = golden[field]
        length = len(value) if field == "fleet" else len(bytes.fromhex(value))
        assert length == (4 if size == "F" else int(size))


def test_every_label_that_is_signed_hashed_or_bound_is_on_the_page_and_no_other() -> None:
    used = set()
    for module in (broadcast, certificate, identity, sealing):
        assert module.__file__ is not None
        source = Path(module.__file__).read_text("utf-8")
        used |= set(re.findall(r'b"(homebody/[a-z-]+/v\d)\\0"', source))
    assert len(used) == 6
    assert replay.__file__ is not None  # its label never leaves the server
    told_of = set(LABEL.findall(PAGE.partition("## Secure aggregation")[0]))
    assert told_of == used


def test_every_file_of_golden_bytes_is_named_and_there() -> None:
    named = re.findall(r"`([\w*]+\.json)`", PAGE)
    there = [file.name for file in VECTORS.glob("*.json")]
    assert {"sealing.json", "legs.json", "certificates.json", "broadcast.json"} <= set(named)
    assert all(any(Path(file).match(name) for file in there) for name in named)
    assert all(any(Path(file).match(name) for name in named) for file in there)


def test_the_example_prints_what_the_page_shows(tmp_path: Path) -> None:
    ((code, output),) = told(PAGE)
    assert run(code, tmp_path) == output
