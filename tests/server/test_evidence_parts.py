"""Parts of an evidence pack: the signed list of files, statements, chart, registry, schema."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from homebody_client.record_level import effective_rate as of_a_device
from homebody_privacy.errors import IntegrityError
from homebody_privacy.note import VerifierKey, sign_note
from homebody_privacy.signing import SigningKey
from homebody_server.evidence.chart import alternative, budget_chart
from homebody_server.evidence.document_model import Evidence, evidence_schema
from homebody_server.evidence.figures import SAMPLER_EPSILON, SAMPLER_SHARE, Figures, Spent
from homebody_server.evidence.manifest import MANIFEST, SIGNER, read_manifest, write_manifest
from homebody_server.evidence.pack import schema_text
from homebody_server.evidence.record_part import effective_rate
from homebody_server.evidence.references import href, short
from homebody_server.evidence.registry import to_yaml
from homebody_server.evidence.words import CHECKED, LABELS, Answer, Part, Sheet, Statement, markdown
from homebody_server.run_spec import SAMPLER_EPSILON as CHARGED
from homebody_server.run_spec import accounted_delta

KEY = SigningKey(bytes(range(32)))
PUBLIC = VerifierKey(SIGNER, KEY.public)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of two files and a signed list of them."""
    pack = tmp_path / "pack"
    (pack / "record").mkdir(parents=True)
    (pack / "a.txt").write_text("a", "utf-8")
    (pack / "record" / "b.txt").write_text("b", "utf-8")
    write_manifest(pack, KEY)
    return pack


def test_a_manifest_names_every_file_by_its_path_in_order(folder: Path) -> None:
    assert list(read_manifest(folder, [PUBLIC])) == ["a.txt", "record/b.txt"]


@pytest.mark.parametrize(
    "text",
    [
        "homebody.evidence/2\n",
        "homebody.evidence/1\nnothing\n",
        f"homebody.evidence/1\n{'0' * 64}  b\n{'0' * 64}  a\n",
        f"homebody.evidence/1\n{'0' * 64}  a\n{'0' * 64}  a\n",
        f"homebody.evidence/1\n{'0' * 63}  a\n",
    ],
)
def test_a_signed_note_that_is_no_list_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(sign_note(text, SIGNER, KEY), "utf-8")
    with pytest.raises(IntegrityError):
        read_manifest(folder, [PUBLIC])


def test_a_list_that_another_key_signed_is_refused(folder: Path) -> None:
    write_manifest(folder, SigningKey(bytes(32)))
    with pytest.raises(IntegrityError, match="none of the known keys"):
        read_manifest(folder, [PUBLIC])


def test_a_list_that_is_missing_or_no_text_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff")
    with pytest.raises(IntegrityError, match="UTF-8"):
        read_manifest(folder, [PUBLIC])
    (folder / MANIFEST).unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_manifest(folder, [PUBLIC])


def test_a_link_in_a_pack_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "a.txt")
    with pytest.raises(IntegrityError, match="plain files"):
        read_manifest(folder, [PUBLIC])
    with pytest.raises(IntegrityError, match="plain files"):
        write_manifest(folder, KEY)


@pytest.mark.parametrize("refs", [(), ("rule:nothing",), ("ledger:-1",), ("somewhere",)])
def test_a_statement_that_nothing_supports_is_refused(refs: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="supports"):
        Statement("It rains.", CHECKED, refs)


def test_a_statement_has_a_text_and_a_label_and_a_question_an_answer() -> None:
    with pytest.raises(ValueError, match="three labels"):
        Statement("", CHECKED, ("verify",))
    with pytest.raises(ValueError, match="left to nobody"):
        Answer("Why?")


def test_a_sheet_as_text_has_each_label_and_says_what_is_left_to_people() -> None:
    said = tuple(Statement(f"It is {label}.", label, ("verify",)) for label in LABELS)
    answers = (Answer("What?", said), Answer("Who?", people="names"))
    text = markdown(Sheet("key", "Title", "About.", (Part("One", answers),)), "NOT VERIFIED")
    assert text.startswith("**NOT VERIFIED**\n\n# Title")
    assert all(f"[{label}; verify]" in text for label in LABELS)
    assert "TO BE FILLED IN BY PEOPLE: names" in text


def figures(cap: float, *steps: tuple[int, str, float]) -> Figures:
    spent = tuple(Spent(*step) for step in steps)
    return Figures(
        epsilon=spent[-1].epsilon,
        unamplified=spent[-1].epsilon,
        amplified=False,
        delta=1e-7,
        cap=cap,
        curve=(),
        mu=0.2,
        power=0.02,
        guess=73,
        cap_guess=93,
        parts={},
        steps=spent,
        carried=0,
        method="closed form",
        second=None,
    )


@pytest.mark.parametrize("cap", [0.003, 0.7, 2.5, 40.0])
def test_the_chart_is_well_formed_stays_in_its_frame_and_is_told_in_words(cap: float) -> None:
    shown = figures(cap, (1, "run", cap / 3), (4, "metrics/<one>/1", cap))
    root = ET.fromstring(budget_chart(shown))  # noqa: S314 - our own text
    words = "".join(root.itertext())
    assert alternative(shown) in words
    assert f"cap {cap:g}" in words
    for line in root.iter("polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 640
            assert 0 <= y <= 220


def test_a_spend_above_the_cap_is_drawn_above_it() -> None:
    root = ET.fromstring(budget_chart(figures(1.0, (1, "run", 1.7))))  # noqa: S314
    cap = float(next(e for e in root.iter("line") if e.get("class") == "cap").attrib["y1"])
    line = next(root.iter("polyline")).attrib["points"]
    assert min(float(point.split(",")[1]) for point in line.split()) < cap


def test_the_schema_that_ships_is_that_of_the_classes() -> None:
    assert schema_text() == evidence_schema()
    assert len(Evidence.model_fields) >= 17


def test_the_share_kept_for_the_sampler_is_what_a_run_charges() -> None:
    assert CHARGED == SAMPLER_EPSILON
    assert accounted_delta(1e-6) == pytest.approx(1e-6 * (1 - SAMPLER_SHARE), rel=1e-15)


@pytest.mark.parametrize("rate", [1.0, 0.5, 0.3, 0.07, 1 / 3])
def test_records_are_accounted_at_the_rate_a_device_draws_them(rate: float) -> None:
    assert effective_rate(rate) == of_a_device(rate)


def test_the_registry_entry_is_plain_yaml() -> None:
    entry = {
        "tier": 3,
        "deployment": {"delta": 1e-7, "names": [{"a": "x: y", "b": "#"}, "z"], "not plain": "é\n"},
    }
    assert to_yaml(entry) == (
        "tier: 3\n"
        "deployment:\n"
        "  delta: 1.0e-07\n"
        "  names:\n"
        '    - a: "x: y"\n'
        '      b: "#"\n'
        '    - "z"\n'
        '  "not plain": "é\\n"\n'
    )


def test_references_lead_to_places_and_are_short() -> None:
    assert href("config:dp.delta") == "#config-dp.delta"
    assert href("bundle") == "#files"
    assert short("approval:0") == "approval:0"
