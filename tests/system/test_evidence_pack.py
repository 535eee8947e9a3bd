"""CR-43, CR-46, S55: the evidence pack of a real run, as its reader gets it."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from homebody.cli import run as homebody
from homebody_privacy.checkpoint import ledger_public
from homebody_privacy.consent_record import problems
from homebody_privacy.errors import IntegrityError
from homebody_privacy.merkle import leaf_hash, verify_inclusion
from homebody_privacy.policy.words import banned_words
from homebody_privacy.protection import RecordLevel
from homebody_privacy.receipts import read_chain
from homebody_server.evidence.document import check_signature, evidence_document
from homebody_server.evidence.manifest import MANIFEST, read_manifest
from homebody_server.evidence.pack import build_pack
from homebody_server.evidence.verify_pack import verify_pack
from homebody_server.evidence.words import AUDIT_SENTENCE
from tests.privacy.review_world import DPO, SECURITY

from .evidence_world import (
    DAY_S,
    NOW,
    copied,
    files_of,
    finished,
    key_of,
    opened,
    packed,
    pinned,
    shape_of,
)

html5lib: Any = pytest.importorskip("html5lib", reason="html5lib is not installed")
jsonschema: Any = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

REVIEWERS = (DPO, SECURITY)
PAGES = ("index.html", "ledger.html")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run; read only."""
    return finished(tmp_path_factory.mktemp("project") / "project")


@pytest.fixture(scope="module")
def pack(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return its pack; read only."""
    return packed(run, tmp_path_factory.mktemp("pack") / "evidence", pinned(run))


@pytest.fixture(scope="module")
def evidence(pack: Path) -> dict[str, Any]:
    """Return what ``evidence.json`` says."""
    told: dict[str, Any] = json.loads((pack / "evidence.json").read_bytes())
    return told


def test_cr_43_two_builds_are_equal_to_the_byte(run: Path, pack: Path, tmp_path: Path) -> None:
    again = packed(run, tmp_path / "again", pinned(run), now=NOW + DAY_S - 1)  # any time of a day
    assert files_of(again) == files_of(pack)


def test_cr_43_every_link_leads_somewhere_in_the_pack(pack: Path) -> None:
    shapes = {name: shape_of(pack / name) for name in PAGES}
    for name, shape in shapes.items():
        assert len(shape.ids) == len(set(shape.ids)), name
        for link in shape.links:
            file, _, place = link.partition("#")
            file = file or name
            assert (pack / file).is_file(), link
            if place:
                assert place in shapes[file].ids, link
    assert len(shapes["index.html"].links) > 100


def test_cr_43_pages_are_valid_html_and_load_nothing(pack: Path) -> None:
    for name in PAGES:
        parser = html5lib.HTMLParser(strict=True)
        parser.parse((pack / name).read_bytes(), transport_encoding="utf-8")
        shape = shape_of(pack / name)
        assert not {"script", "img", "link", "iframe", "object"} & set(shape.tags)
        assert not [link for link in shape.links if re.match(r"[a-z]+:|//", link)]
        assert "default-src 'none'" in (pack / name).read_text("utf-8")


def test_cr_43_the_manifest_lists_every_file_and_none_more(run: Path, pack: Path) -> None:
    listed = read_manifest(pack, [ledger_public(run.parent)])
    files = files_of(pack)
    assert dict(listed) == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != MANIFEST
    }


@pytest.mark.parametrize("change", ["edit", "add", "remove"])
def test_a_pack_that_was_changed_is_found_and_the_file_is_named(
    run: Path, pack: Path, tmp_path: Path, change: str
) -> None:
    own = Path(shutil.copytree(pack, tmp_path / "own"))
    file = own / "documents" / "dpia.md"
    if change == "edit":
        file.write_bytes(file.read_bytes().replace(b"2", b"3", 1))
    elif change == "add":
        file = own / "documents" / "more.md"
        file.write_text("more", "utf-8")
    else:
        file.unlink()
    with pytest.raises(IntegrityError, match=re.escape(file.name)):
        read_manifest(own, [ledger_public(run.parent)])


def test_verify_finds_nothing_wrong_with_a_pack_of_a_run_that_verifies(
    run: Path, pack: Path
) -> None:
    found = verify_pack(pack, pinned(run), NOW)
    assert found.exit_code == 0
    assert any(line.text.startswith("2 approvals cover config") for line in found.lines)


def test_the_document_follows_its_schema_and_is_canonical_and_signed(
    run: Path, pack: Path, evidence: dict[str, Any]
) -> None:
    schema = json.loads((pack / "evidence.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(evidence)
    assert (pack / "evidence.json").read_bytes() == rfc8785.dumps(evidence)
    public = ledger_public(run.parent).public
    check_signature(evidence, public)
    with pytest.raises(IntegrityError):
        check_signature({**evidence, "run": "another"}, public)


def test_all_nineteen_fields_are_there_and_what_is_not_says_why(evidence: dict[str, Any]) -> None:
    level = {"unit", "adjacency", "privacy_loss", "mechanism", "accounting", "sampling"}
    assert set(evidence["user_level"]) == level
    rest = "claim trust outputs accesses lifetime consent domain security implementation audit"
    whole = {*rest.split(), "utility", "limits", "signature"}
    assert whole <= set(evidence)
    assert len(whole) + len(level) == 19
    assert evidence["record_level"]["absent"] == "does not apply"
    assert evidence["record_level"]["why"]


def test_every_statement_carries_its_label_and_the_operators_word_comes_first(
    evidence: dict[str, Any],
) -> None:
    labels = [one["label"] for one in evidence["limits"]]
    words = labels.count("operator's word")
    assert words
    assert labels[:words] == ["operator's word"] * words
    assert all(one["refs"] for one in evidence["limits"])


def test_epsilon_is_the_ledgers_and_stands_on_the_first_page(
    run: Path, pack: Path, evidence: dict[str, Any]
) -> None:
    loss = evidence["user_level"]["privacy_loss"]
    spent = json.loads((run / "report.json").read_text("utf-8"))["epsilon"]["user"]["spent"]
    assert loss["epsilon"] == pytest.approx(spent, abs=2e-3)
    second = evidence["user_level"]["accounting"]["second"]
    assert second == pytest.approx(loss["epsilon"], rel=0.02)
    assert f"<b>{loss['epsilon']:g}</b>" in (pack / "index.html").read_text("utf-8")
    assert loss["epsilon"] <= loss["cap"]
    curve = [point["epsilon"] for point in loss["curve"]]
    assert curve == sorted(curve)


def test_two_layers_are_two_blocks_and_never_added(run: Path) -> None:
    case = opened(run)
    level = RecordLevel(
        enabled=True, max_grad_norm=1.0, noise_multiplier=1.0, epsilon_max=8.0, delta=1e-5
    )
    config = case.record.config
    own = config.model_copy(update={"dp": config.dp.model_copy(update={"record": level})})
    both = replace(case, record=replace(case.record, config=own))
    told = evidence_document(both, key_of(run))
    user, record = told["user_level"], told["record_level"]
    assert user["unit"]["unit"] == "user"
    assert record["unit"]["unit"] == "record"
    assert record["mechanism"]["name"] == "dp-sgd"
    assert record["privacy_loss"]["epsilon"] > 0.0
    assert user == evidence_document(case, key_of(run))["user_level"]


def test_every_round_is_proved_to_be_under_the_signed_checkpoint(pack: Path) -> None:
    told = json.loads((pack / "proofs.json").read_text("utf-8"))
    kinds = [proof["kind"] for proof in told["proofs"]]
    assert kinds.count("intent") == 2
    for proof in told["proofs"]:
        leaf = leaf_hash(proof["leaf"].encode())
        path = [bytes.fromhex(step) for step in proof["path"]]
        root = bytes.fromhex(told["root"])
        assert verify_inclusion(leaf, proof["index"], told["size"], path, root)


def test_s55_a_notice_stands_with_its_words_where_its_file_is_the_one_of_the_digest(
    run: Path, tmp_path: Path
) -> None:
    own = copied(run, tmp_path)
    words = (own / "notices" / "en-4.md").read_text("utf-8").splitlines()[0]
    assert words in build_pack(opened(own), key_of(own))["index.html"].decode()
    (own / "notices" / "en-4.md").write_text("# other words", "utf-8")
    assert "# other words" not in build_pack(opened(own), key_of(own))["index.html"].decode()
    shutil.rmtree(own / "notices")
    page = build_pack(opened(own), key_of(own))["index.html"].decode()
    assert "not looked at" in page.partition('id="rule-CON-022"')[2].partition("</tr>")[0]


def test_s55_the_inventory_says_of_each_feature_what_for_how_long_and_what_leaves(
    pack: Path,
) -> None:
    text = " ".join(shape_of(pack / "index.html").text.split())
    for words in (
        "product_id, category, day, quantity_bucket",
        "category:FAMILY PLANNING",
        "365 days, 1000 rows",
        "180 days, 100 rows",
        "clipped updates that may be computed from it, under training; the figure hit_rate, under",
    ):
        assert words in text


def test_no_text_of_a_pack_says_what_no_figure_carries(pack: Path) -> None:
    for name, data in files_of(pack).items():
        if name.endswith((".html", ".md", ".yaml", ".txt")) or name == "evidence.json":
            assert banned_words(data.decode()) == [], name


def test_a_pack_holds_no_address_no_id_of_a_device_and_nothing_without_noise(
    run: Path, pack: Path
) -> None:
    told = json.loads((run / "run.json").read_text("utf-8"))
    report = json.loads((run / "report.json").read_text("utf-8"))
    laboratory = [f"{report['utility']['model']['ndcg@10']['mean']:.6f}", told["data"]["digest"]]
    known = {"dpo@example.org", "security@example.org"}
    for name, data in files_of(pack).items():
        text = data.decode()
        assert set(re.findall(r"[\w.+-]+@[\w-]+\.[a-z]+", text)) <= known, name
        assert not re.search(r"\b\d{1,3}(\.\d{1,3}){3}\b", text), name
        assert not any(secret in text for secret in laboratory), name
        assert str(run.parent) not in text, name


def section(page: str, place: str) -> str:
    return page.partition(f'id="{place}"')[2].partition("</section>")[0]


def test_cr_46_waivers_stand_in_section_two_and_an_expired_one_says_so(
    run: Path, pack: Path
) -> None:
    limits = section((pack / "index.html").read_text("utf-8"), "limits")
    assert limits.count("AGG-002 at aggregation.report_goal is lifted by") == len(REVIEWERS)
    for by in REVIEWERS:
        assert by in limits
    assert "a test with few people" in limits
    assert "EXPIRED" not in limits
    assert ">waived</td>" in (pack / "index.html").read_text("utf-8")
    later = opened(run, pinned(run), now=NOW + 30 * DAY_S)
    page = build_pack(later, key_of(run))["index.html"].decode()
    assert "EXPIRED: the rule holds again" in section(page, "limits")
    assert later.check.failed > 0
    assert later.check.waived == 0


def test_approvals_are_shown_and_counted_once_the_reviewers_keys_are_given(
    run: Path, pack: Path
) -> None:
    page = (pack / "index.html").read_text("utf-8")
    assert "<b>2 of 2</b><span>by keys of the reviewers&#39; file" in page
    for by in REVIEWERS:
        assert f">{by}</td>" in section(page, "record")
    without = opened(run)
    assert without.check.waived == 0, "nobody compared the signatures of the waivers"
    page = build_pack(without, key_of(run))["index.html"].decode()
    assert "<b>2 of 2</b><span>signed; no reviewers&#39; file was given" in page


def test_the_policy_and_the_witness_are_in_the_pack(pack: Path) -> None:
    page = (pack / "index.html").read_text("utf-8")
    check = section(page, "check")
    assert "Example Grocer baseline 3" in check
    assert "numbers that leave the firm need 100 people" in check
    row = check.partition('id="rule-CON-022"')[2].partition("</tr>")[0]
    assert ">ok</td>" in row, "the notice lies in the run's folder and is the one of the digest"
    assert (pack / "record" / "policy.toml").is_file()
    assert "checkpoint signature, witness signature" in (pack / "verify.txt").read_text("utf-8")


def test_the_sample_record_is_made_by_the_real_code_and_of_nobody(pack: Path) -> None:
    folder = pack / "consent"
    record = json.loads((folder / "sample-record.jsonld").read_text("utf-8"))
    assert problems(record) == []
    lines = (folder / "sample-receipts.jsonl").read_bytes().splitlines()
    public = bytes.fromhex((folder / "sample-device.pub").read_text("utf-8"))
    receipts = read_chain(lines, public=public)
    assert {receipt.method for receipt in receipts} == {"sample: nobody was asked"}
    assert receipts[-1].event == "ConsentWithdrawn"


def test_what_people_must_judge_is_left_to_them(pack: Path) -> None:
    text = (pack / "documents" / "dpia.md").read_text("utf-8")
    for part in ("4 How likely and how bad", "6 What remains, and who answers for it"):
        body = text.partition(f"## {part}")[2].partition("\n## ")[0]
        assert "TO BE FILLED IN BY PEOPLE" in body
        assert "[" not in body, "no statement is made there"


def test_the_pack_of_a_simulation_says_that_it_was_one_and_what_the_server_app_saw(
    pack: Path,
) -> None:
    face = section((pack / "index.html").read_text("utf-8"), "face")
    assert "This run was a simulation" in face
    assert "replies were not summed by secure aggregation" in face


@pytest.mark.slow  # the real pipeline, with planted devices
def test_an_audit_stands_in_the_pack_in_its_own_words_and_no_more(
    run: Path, tmp_path: Path
) -> None:
    own = copied(run, tmp_path)
    audit = ["audit", "--run", str(own), "--canaries", "100", "--population", "200"]
    assert homebody(audit) == 0
    pack = packed(own, tmp_path / "evidence")
    told = json.loads((pack / "evidence.json").read_bytes())["audit"]
    assert told["verdict"] == ["The audit did not refute the claim."]
    assert told["closing"] == [AUDIT_SENTENCE]
    page = (pack / "index.html").read_text("utf-8")
    assert "It ran the config of this run" in page
    assert AUDIT_SENTENCE in page
    assert (pack / "record" / "audit.json").is_file()


def test_the_registry_entry_is_yaml_and_holds_the_figures(
    run: Path, capsys: pytest.CaptureFixture[str], evidence: dict[str, Any]
) -> None:
    assert homebody(["report", str(run), "--format", "opendp-registry"]) == 0
    text = capsys.readouterr().out
    assert text.startswith('url_slug: "grocery-suggestions-autumn"\nstatus: "Draft"\ntier: 3\n')
    assert f"epsilon: {float(evidence['user_level']['privacy_loss']['epsilon'])}\n" in text
    assert '\n  deployment_model:\n    model_name: "Federated"\n' in text
