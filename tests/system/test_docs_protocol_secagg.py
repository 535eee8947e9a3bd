"""The section "Secure aggregation" of docs/protocol.md is what the code and the vectors say."""

import json
import re
from pathlib import Path

from homebody_privacy.secagg import masks, session
from homebody_privacy.secagg.reasons import AbortReason, VoidReason
from homebody_privacy.secagg.wire import (
    Advert,
    Confirmation,
    Forwarded,
    Masked,
    Quorum,
    Roster,
    Shares,
    Survivors,
    Unmasking,
)

from .docs_blocks import ROOT, page, section

_SECTION = section(page("protocol.md"), "## Secure aggregation")
_KINDS = (
    Advert,
    Roster,
    Shares,
    Forwarded,
    Masked,
    Survivors,
    Confirmation,
    Quorum,
    Unmasking,
)


def rows(head: str) -> list[list[str]]:
    """Return the rows of the table whose first header cell is ``head``."""
    (found,) = re.findall(rf"(?m)^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", _SECTION)
    return [row.removeprefix("| ").removesuffix(" |").split(" | ") for row in found.splitlines()]


def test_every_message_is_shown_with_its_kind() -> None:
    assert [row[:2] for row in rows("message")] == [
        [kind.__name__.lower(), str(kind.kind)] for kind in _KINDS
    ]


def test_sizes_of_fixed_fields_are_those_of_the_golden_messages() -> None:
    golden = json.loads((ROOT / "tests/vectors/secagg_messages.json").read_text("utf-8"))
    of_any_size = re.compile(r"certificate_\d|shared|alive|gone|word_\d")
    for row, message in zip(rows("message"), golden["messages"], strict=True):
        said = {int(size) for size in re.findall(r" (\d+)\b", row[2])}
        fixed = {
            len(bytes.fromhex(value))
            for label, value in message["fields"][2:]
            if not of_any_size.fullmatch(label)
        }
        assert said == fixed


def test_every_reason_is_explained() -> None:
    assert [row[0].strip("`") for row in rows("a node leaves")] == list(AbortReason)
    assert [row[0].strip("`") for row in rows("a server gives up")] == list(VoidReason)


def test_every_label_and_use_is_on_the_page_and_no_other() -> None:
    source = "".join(Path(str(module.__file__)).read_text("utf-8") for module in (session, masks))
    labels = set(re.findall(r'b"(homebody/secagg/[a-z]+/v1)\\0"', source))
    assert len(labels) == 7
    assert set(re.findall(r"homebody/secagg/[a-z]+/v1", _SECTION)) == labels
    uses = {row[0].strip("`") for row in rows("use")}
    assert uses == {"mask", "self", "share", "seed-polynomial", "mask-polynomial"}
    assert all(f'"{use}"' in source for use in uses if "polynomial" not in use)
