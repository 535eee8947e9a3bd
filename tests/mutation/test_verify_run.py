"""Verify on one approved run: what it says and catches, and that no damage makes it stumble."""

import json
from collections.abc import Callable
from dataclasses import replace
from shutil import rmtree

import pytest
import rfc8785

from homebody import cli
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.checkpoint import ledger_key
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import InvalidFileError
from homebody_privacy.signing import SigningKey
from homebody_server.evidence.facts import RunFacts, read_run_facts
from homebody_server.evidence.manifest import write_manifest
from homebody_server.evidence.verify import Line, Verification, verify_run
from homebody_server.evidence.verify_epsilon import Claim, check_epsilon
from homebody_server.evidence.verify_ledger import operator_line
from homebody_server.evidence.verify_pack import verify_pack

from .conftest import Copy
from .edits_ledger import Lines, resigned
from .mutants import edited_json
from .world import DAY, DPO, SECURITY, World


def found(world: World, *, keys: ReviewerKeys | None = None, after: int = 0) -> Verification:
    return verify_run(world.run, keys or world.keys, world.now + after)


def wrong(verification: Verification) -> list[str]:
    return [one.text for one in verification.lines if one.mark == "WRONG"]


def noted(verification: Verification) -> list[str]:
    return [one.text for one in verification.lines if one.mark == "note"]


def test_verify_says_what_it_checked(untouched: World) -> None:
    verification = found(untouched)
    said = [one.text for one in verification.lines if one.mark == "ok"]
    digest = PrivacyConfig.read(untouched.config).digest()[:12]
    assert said[0] == "checkpoint signature, witness signature"
    assert said[1] == "15 entries match the signed Merkle root"
    assert "every round ran the approved config" in said
    assert any(one.startswith(f"2 approvals cover config {digest} and app ") for one in said)
    assert "no round under 100 replies" in said
    (epsilon,) = [one for one in said if one.startswith("epsilon recomputed from the ledger: 0.6")]
    assert epsilon.endswith(" of 2.5 (delta 1e-05, per user, zero_out, lifetime)")
    assert str(verification).endswith("\nverified")
    assert verification.facts["entries"] == 15
    assert verification.facts["amplified"] is False


def test_the_command_prints_lines_or_json_and_leaves_with_the_code(
    copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    world = copy()
    asked = ["verify", str(world.run), "--keys", str(world.reviewers)]
    assert cli.run(asked) == 0
    assert "  ok    15 entries match the signed Merkle root\n" in capsys.readouterr().out
    (world.run / "checkpoint").unlink()
    assert cli.run([*asked, "--format", "json"]) == 14
    told = json.loads(capsys.readouterr().out)
    assert told["verified"] is False
    assert {"mark": "WRONG", "text": "the signed checkpoint is missing", "code": 14} in told[
        "lines"
    ]
    assert cli.run(["verify", str(world.pack), "--keys", str(world.reviewers)]) == 0
    assert "files are what the signed MANIFEST lists" in capsys.readouterr().out
    assert cli.run(["verify", str(world.root / "nothing")]) == 2
    assert cli.run(["verify", str(world.root / "project")]) == 2
    assert cli.run(["verify", str(world.run), "--keys", str(world.config)]) == 2


def test_without_keys_it_says_what_nobody_pinned(untouched: World) -> None:
    verification = verify_run(untouched.run, None, untouched.now)
    assert verification.exit_code == 0
    assert {
        "the ledger's key was taken from beside the run, not from a pinned file",
        "the publisher's key was taken from beside the run, not from a pinned file",
        "approvals were not compared with anybody's key: give --keys",
        "the witness's signature was not looked for: give --keys",
    } <= set(noted(verification))


def test_cr_37_a_run_that_nobody_approved_is_a_note_without_keys_and_exit_10_with(
    copy: Copy,
) -> None:
    world = copy()

    def unapproved(lines: Lines) -> Lines:
        return [one for one in lines if one["entry"]["kind"] != "config_approved"]

    resigned(world, unapproved, witness=True)
    edited_json(world.run / "run.json", lambda value: value.update(approvals=[]))
    alone = verify_run(world.run, None, world.now)
    assert alone.exit_code == 0
    assert "no approvals: a simulation may do without, a fleet may not" in noted(alone)
    assert found(world).exit_code == 10
    assert wrong(found(world)) == ["nobody approved this run: the ledger has no config_approved"]


def test_cr_37_approvals_count_for_the_day_of_the_run(untouched: World) -> None:
    later = found(untouched, after=60 * DAY)
    assert later.exit_code == 0
    assert "the approvals expired since: another run needs new ones" in noted(later)


def test_cr_37_reviewers_whose_keys_are_not_pinned_do_not_count(untouched: World) -> None:
    one = {name: key for name, key in untouched.keys.approvers.items() if name == DPO}
    strange = {**untouched.keys.approvers, SECURITY: SigningKey(bytes([5]) * 32).public}
    assert found(untouched, keys=replace(untouched.keys, approvers=one)).exit_code == 10
    assert found(untouched, keys=replace(untouched.keys, approvers=strange)).exit_code == 14


def edit(index: int, **changes: object) -> Callable[[Lines], Lines]:
    def change(lines: Lines) -> Lines:
        lines[index]["entry"].update(changes)
        return lines

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (edit(5, model="0" * 64), "entry 5 (release of round 1) is not what was written"),
        (lambda lines: lines[:-3], "ledger has 12 entries, the signed checkpoint says 15"),
        (
            lambda lines: [*lines[:6], *lines[7:]],
            "the signed checkpoint says 15: entries were remo",
        ),
        (lambda lines: [*lines[:4], lines[6], lines[5], lines[4], *lines[7:]], "entry 4 (intent"),
        (lambda lines: [*lines, lines[-1]], "entry 15 (retention_run) is not what was written"),
    ],
    ids=["edit", "truncate", "delete", "swap", "add"],
)
def test_cr_39_what_happened_to_the_ledger_is_told(
    copy: Copy, change: Callable[[Lines], Lines], why: str
) -> None:
    world = copy()
    path = world.run / "ledger.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    path.write_bytes(b"".join(rfc8785.dumps(one) + b"\n" for one in change(lines)))
    verification = found(world)
    assert verification.exit_code == 14
    assert any(why in one for one in wrong(verification))
    assert "epsilon was not recomputed: the ledger is not what was signed" in noted(verification)


def test_cr_39_a_story_signed_anew_after_the_witness_saw_it_is_caught(copy: Copy) -> None:
    world = copy()
    resigned(world, edit(5, model="0" * 64), witness=False)
    why = "the config asks for a witness, and none signed the checkpoint"
    assert why in wrong(found(world))


def test_cr_41_charges_that_both_signed_are_still_held_to_the_config(copy: Copy) -> None:
    world = copy()

    def quieter(lines: Lines) -> Lines:
        lines[3]["entry"]["charge"]["noise_multiplier"] = 80.0
        return lines

    resigned(world, quieter, witness=True)
    said = wrong(found(world))
    assert "the charge of run has another noise_multiplier than the config" in said
    assert any("report.json states epsilon" in one for one in said)


def test_cr_41_a_sensitivity_below_the_worst_pattern_is_caught(copy: Copy) -> None:
    world = copy()

    def lowered(lines: Lines) -> Lines:
        lines[3]["entry"]["charge"]["sensitivity"] = 0.5
        return lines

    resigned(world, lowered, witness=True)
    verification = found(world)
    assert verification.exit_code == 14
    assert "the charge of run states less than its worst pattern moves" in wrong(verification)


@pytest.mark.parametrize(("factor", "code"), [(0.97, 14), (0.99, 0), (1.01, 0), (1.05, 14)])
def test_cr_41_a_claim_off_by_more_than_2_percent_is_caught(
    untouched: World, factor: float, code: int
) -> None:
    facts = read_run_facts(untouched.run)
    _, figures = check_epsilon(facts, (), holds=True)
    claim = Claim("a page", "epsilon", figures["epsilon"] * factor)
    lines, _ = check_epsilon(facts, (claim,), holds=True)
    assert Verification(lines).exit_code == code


def capped(facts: RunFacts, cap: float) -> RunFacts:
    assert facts.config is not None
    dp = facts.config.dp.model_copy(update={"epsilon_max": cap})
    return replace(facts, config=facts.config.model_copy(update={"dp": dp}))


def test_cr_34_more_than_the_cap_is_exit_11(untouched: World) -> None:
    facts = read_run_facts(untouched.run)
    lines, _ = check_epsilon(capped(facts, 0.5), (), holds=True)
    assert Verification(lines).exit_code == 11
    assert any("over 0.5" in one.text for one in lines)


def test_cr_34_what_earlier_runs_spent_counts_against_the_cap(untouched: World) -> None:
    facts = read_run_facts(untouched.run)
    ledger = facts.ledger
    assert ledger is not None
    spent = [dict(one) for _, one in ledger.charges]
    header = {**ledger.header, "carried": [one for one in spent for _ in range(16)]}
    carried = replace(ledger, entries=[header, *ledger.entries[1:]])
    lines, figures = check_epsilon(replace(facts, ledger=carried), (), holds=True)
    assert Verification(lines).exit_code == 11
    assert figures["epsilon"] > 2.5


def test_cr_36_a_figure_asked_more_often_than_approved_is_caught(copy: Copy) -> None:
    world = copy()

    def again(lines: Lines) -> Lines:
        bought, said = json.loads(json.dumps([lines[8], lines[10]]))
        for one in (bought, said):
            one["entry"]["name"] = "metrics/hit_rate/1"
        return [*lines[:8], bought, said, *lines[8:]]

    resigned(world, again, witness=True)
    said = wrong(found(world))
    assert "hit_rate was released more often than the config says" in said
    assert "metrics/hit_rate/1 was charged, and egress.jsonl does not tell of it" in said


def test_cr_36_a_figure_without_a_charge_is_caught(copy: Copy) -> None:
    world = copy()
    resigned(world, lambda lines: [*lines[:8], *lines[9:]], witness=True)
    assert any("releases what was never charged" in one for one in wrong(found(world)))


def test_a_key_that_is_none_is_the_reviewers_files_fault(untouched: World) -> None:
    with pytest.raises(InvalidFileError, match="no key of a ledger"):
        operator_line(replace(untouched.keys, ledger="x"), untouched.root)
    witnesses = {"a b": untouched.keys.witnesses["compliance@example.org"]}
    with pytest.raises(InvalidFileError, match="cannot sign"):
        found(untouched, keys=replace(untouched.keys, witnesses=witnesses))


def test_a_run_that_says_nothing_of_approvals_has_none(copy: Copy) -> None:
    world = copy()
    edited_json(world.run / "run.json", lambda value: value.update(approvals=None))
    assert wrong(found(world))[0].startswith("0 of 2 approvals cover config")


def test_noise_that_is_denied_afterwards_is_no_laboratory_run(copy: Copy) -> None:
    world = copy()
    edited_json(world.run / "run.json", lambda value: value["spec"].update(ceiling=None))
    for name in ("ledger.jsonl", "checkpoint"):
        (world.run / name).unlink()
    assert "ledger.jsonl is missing" in wrong(found(world))


def test_files_that_no_run_writes_are_told_of(copy: Copy) -> None:
    world = copy()
    (world.run / "notes.txt").write_text("all is well", "utf-8")
    (world.run / "run.key").write_bytes(bytes(32))
    said = noted(found(world))
    assert "1 files are there that no run writes: nothing vouches for them" in said
    assert "run.key is there still: the run has not ended, or did not clean up" in said


def test_a_key_put_back_does_not_open_a_closed_run(copy: Copy) -> None:
    world = copy()
    (world.run / "run.key").write_bytes(bytes(32))
    (world.run / "egress.jsonl").unlink()
    assert "egress.jsonl is missing: what left devices is not on record" in wrong(found(world))


def test_without_any_key_nothing_is_believed(copy: Copy) -> None:
    world = copy()
    for name in ("ledger.pub", "publisher.pub"):
        (world.root / "runs" / name).unlink()
    said = wrong(verify_run(world.run, None, world.now))
    assert "no key to check the bundle with: pin one under [publisher]" in said
    assert any(one.startswith("no key to check the checkpoint with") for one in said)
    assert [one.text for one in verify_pack(world.pack, None, world.now).lines] == [
        "no key to check the checkpoint with: pin one under [ledger] of the reviewers' file"
    ]


def test_a_pack_is_verified_with_the_key_that_lies_beside_it(copy: Copy) -> None:
    world = copy()
    (world.root / "ledger.pub").write_bytes((world.root / "runs" / "ledger.pub").read_bytes())
    (world.root / "publisher.pub").write_bytes((world.root / "runs" / "publisher.pub").read_bytes())
    found = verify_pack(world.pack, None, world.now)
    assert found.exit_code == 0
    assert "the ledger's key was taken from beside the run, not from a pinned file" in noted(found)


def test_cr_43_a_document_of_a_pack_that_is_not_signed_is_caught(copy: Copy) -> None:
    world = copy()
    for change, why in (
        (lambda value: value["claim"].update(statement="All is well."), "is not what was signed"),
        (lambda value: value.pop("signature"), "is not signed"),
    ):
        edited_json(world.pack / "evidence.json", change)
        write_manifest(world.pack, ledger_key(world.root / "runs"))
        found = verify_pack(world.pack, world.keys, world.now)
        assert found.exit_code == 14
        assert any(why in one for one in wrong(found))
    (world.pack / "evidence.json").write_text("{", "utf-8")
    write_manifest(world.pack, ledger_key(world.root / "runs"))
    assert "evidence.json is not what was signed: it is no JSON" in wrong(
        verify_pack(world.pack, world.keys, world.now)
    )


@pytest.mark.parametrize(
    ("audit", "code", "text"),
    [
        ({"refuted": False}, 0, "the audit did not refute the claim"),
        ({"refuted": True}, 14, "the audit refuted the claim"),
        ({}, 14, "the audit does not say what it found"),
    ],
    ids=["not refuted", "refuted", "silent"],
)
def test_cr_44_what_an_audit_found_is_told(
    copy: Copy, audit: dict[str, object], code: int, text: str
) -> None:
    world = copy()
    (world.run / "audit.json").write_text(json.dumps(audit), "utf-8")
    verification = found(world)
    assert verification.exit_code == code
    assert text in [one.text for one in verification.lines]


def test_a_run_that_published_nothing_is_told_of(copy: Copy) -> None:
    world = copy()

    def unpublished(lines: Lines) -> Lines:
        return [one for one in lines if one["entry"]["kind"] != "model_released"]

    resigned(world, unpublished, witness=True)
    assert "a bundle is there that the ledger never released" in wrong(found(world))
    rmtree(world.run / "model.hbm")
    assert "there is no bundle: the run published no model" in noted(found(world))


def test_cr_35_a_void_round_is_told_of_and_releases_nothing(copy: Copy) -> None:
    world = copy()

    def void(lines: Lines) -> Lines:
        lines[5]["entry"] = {"kind": "void", "round": 1, "reason": "report-goal"}
        return lines

    resigned(world, void, witness=True)
    told = "round 1 was void (report-goal): nothing was released, its charge stands"
    verification = found(world)
    assert told in noted(verification)
    assert "no round under 100 replies was released" in [one.text for one in verification.lines]
    assert "report.json states another void_rounds than the ledger and the config" in wrong(
        verification
    )

    def both(lines: Lines) -> Lines:
        again = {"entry": {"kind": "release", "round": 1, "model": "0" * 64, "unclipped": None}}
        return [*lines[:6], {**again, "root": ""}, *lines[6:]]

    resigned(world, both, witness=True)
    assert "round 1 was void and is released all the same" in wrong(found(world))


def test_a_line_has_a_code_exactly_when_it_is_wrong() -> None:
    for mark, code in (("ok", 14), ("WRONG", 0), ("WRONG", 99)):
        with pytest.raises(ValueError, match="exit code"):
            Line(mark, "x", code)  # type: ignore[arg-type]
