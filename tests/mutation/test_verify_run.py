"""Verify on one approved run: what it says and catches, and that no damage makes it stumble."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homebody import cli
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import HomebodyError, InvalidFileError
from homebody_privacy.note import open_note
from homebody_privacy.signing import SigningKey
from homebody_server.evidence.facts import RunFacts, read_run_facts
from homebody_server.evidence.verify import Line, Verification, verify_run
from homebody_server.evidence.verify_epsilon import Claim, check_epsilon
from homebody_server.evidence.verify_ledger import operator_line

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


def test_a_line_has_a_code_exactly_when_it_is_wrong() -> None:
    for mark, code in (("ok", 14), ("WRONG", 0), ("WRONG", 99)):
        with pytest.raises(ValueError, match="exit code"):
            Line(mark, "x", code)  # type: ignore[arg-type]


_FILES = (
    *("ledger.jsonl", "checkpoint", "privacy.toml", "policy.toml", "run.json", "report.json"),
    *("egress.jsonl", "state.npz", "model.hbm/manifest.json", "model.hbm/manifest.sig.json"),
    *("model.hbm/model.safetensors", "model.hbm/items.json", "model.hbm/golden.json"),
    *("model.hbm/card.json", "catalog/catalog.json", "catalog/catalog.sig.json"),
)


def believed(world: World) -> object:
    """Return everything that is relied on once a run is verified: what a change must not alter."""
    run = world.run
    facts = read_run_facts(run)
    assert facts.run is not None
    assert facts.report is not None
    assert facts.ledger is not None
    report: dict[str, Any] = dict(facts.report)
    spec = {k: v for k, v in facts.spec.items() if k in _HELD}
    user = report["epsilon"]["user"]
    note = open_note(facts.content["checkpoint"].decode(), [_operator(world)])
    return (
        facts.ledger.lines,
        note.text,
        facts.digest,
        facts.envelopes,
        facts.run["policy"]["sha256"],
        spec,
        report["claim"]["statement"],
        {name: user[name] for name in ("delta", "ceiling", "unit", "mechanism", "rounds")},
        report["digests"],
        [(run / name).read_bytes() for name in _FILES if name.startswith("model.hbm/m")][:1],
        (run / "catalog" / "catalog.json").read_bytes(),
    )


_HELD = (
    *("rounds", "devices", "cohort_size", "clip_norm", "noise_multiplier", "delta", "mechanism"),
    *("config_digest", "population", "min_separation", "max_rounds_per_device", "report_goal"),
)


def _operator(world: World) -> Any:  # noqa: ANN401 - a verifier key
    key, _ = operator_line(world.keys, world.root)
    assert key is not None
    return key


@pytest.fixture(scope="module")
def shaken(untouched: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a copy whose files are changed and put back, one at a time."""
    from shutil import copytree  # noqa: PLC0415 - here alone

    root = tmp_path_factory.mktemp("shaken") / "copy"
    copytree(untouched.root, root)
    return untouched.at(root)


def shake(path: Path, data: st.DataObject) -> None:
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content) - 1))
    end = min(len(content), start + data.draw(st.integers(0, 4)))
    new = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"9", b'"', b"}", b"\n"])))
    path.write_bytes(content[:start] + new + content[end:])


def _fuzz(world: World, data: st.DataObject) -> None:
    before = believed(world)
    path = world.run / data.draw(st.sampled_from(_FILES))
    content = path.read_bytes()
    try:
        shake(path, data)
        try:
            code = found(world).exit_code
        except HomebodyError as error:
            code = error.exit_code
        assert code in {0, 2, 10, 11, 14}
        if code == 0:
            assert believed(world) == before
    finally:
        path.write_bytes(content)


_settings = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(data=st.data())
@settings(_settings, max_examples=40)
def test_cr_39_no_damage_makes_verify_stumble_or_believe(
    shaken: World, data: st.DataObject
) -> None:
    _fuzz(shaken, data)


@pytest.mark.slow
@given(data=st.data())
@settings(_settings, max_examples=2000)
def test_cr_39_no_damage_of_two_thousand_does(shaken: World, data: st.DataObject) -> None:
    _fuzz(shaken, data)
