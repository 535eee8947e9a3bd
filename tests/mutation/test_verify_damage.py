"""No damage at a random place makes verify stumble, or believe what was changed."""

import json
from contextlib import suppress
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homebody_privacy.errors import HomebodyError
from homebody_privacy.note import open_note
from homebody_server.evidence.facts import read_run_facts
from homebody_server.evidence.verify import verify_run
from homebody_server.evidence.verify_ledger import operator_line

from .edits_ledger import Lines, resigned
from .mutants import edited_json
from .world import World

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
            code = verify_run(world.run, world.keys, world.now).exit_code
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


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**52), 2**52),
    st.floats(-1e6, 1e6),
    st.sampled_from(["", "x", "0" * 64, [], {}, [[]], [{}], {"kind": "x"}, 1e308, -1, 0]),
)


def _replace(value: Any, data: st.DataObject) -> None:  # noqa: ANN401 - JSON values
    """Put something else somewhere into a JSON value: deep or not, of another type or not."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = data.draw(st.sampled_from(keys))
        inner = value[key]
        if isinstance(inner, (dict, list)) and inner and data.draw(st.booleans()):
            value = inner
            continue
        value[key] = data.draw(_VALUES)
        return


def _no_traceback(world: World) -> None:
    with suppress(HomebodyError):
        assert verify_run(world.run, world.keys, world.now).exit_code in {0, 2, 10, 11, 14}


def _strange(world: World, data: st.DataObject) -> None:
    names = ("ledger.jsonl", "checkpoint", "run.json", "report.json", "egress.jsonl")
    before = {name: (world.run / name).read_bytes() for name in names}
    try:
        which = data.draw(st.sampled_from(["ledger", "run.json", "report.json", "egress.jsonl"]))
        if which == "ledger":

            def change(lines: Lines) -> Lines:
                entry = data.draw(st.sampled_from(lines))["entry"]
                _replace(entry, data)
                return lines

            resigned(world, change, witness=True)
        elif which == "egress.jsonl":
            lines = [json.loads(line) for line in before[which].splitlines()]
            _replace(data.draw(st.sampled_from(lines)), data)
            text = "".join(f"{json.dumps(line)}\n" for line in lines)
            (world.run / which).write_text(text, "utf-8")
        else:
            edited_json(world.run / which, lambda value: _replace(value, data))
        _no_traceback(world)
    finally:
        for name, content in before.items():
            (world.run / name).write_bytes(content)


@given(data=st.data())
@settings(_settings, max_examples=30)
def test_cr_39_no_strange_value_makes_verify_stumble(shaken: World, data: st.DataObject) -> None:
    _strange(shaken, data)


@pytest.mark.slow
@given(data=st.data())
@settings(_settings, max_examples=2000)
def test_cr_39_none_of_two_thousand_strange_values_does(shaken: World, data: st.DataObject) -> None:
    _strange(shaken, data)
