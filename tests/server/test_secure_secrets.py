"""What is readable of a sealed run: on the wire, on disk, after its sessions."""

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from homebody_privacy import legs
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_privacy.identity import RecipientKey
from homebody_privacy.legs import Step
from homebody_privacy.sealing import read_context
from homebody_server.run_spec import MetricPlan
from homebody_server.secure import gatherer
from homebody_server.secure.home import AggregatorHome

from .disk_scan import forms, holds
from .secure_time import Time
from .secure_world import Fleet, Sent, bytes_of, envelope_of_down, nodes_of, sent_envelopes, step_of
from .world import Builder, PowerCutError, Work

PLAN = MetricPlan(name="quality", noise_multiplier=4.0, releases=1)
PARTS = 6


@pytest.fixture
def fleet(make_world: Builder) -> Fleet:
    """Return a fleet of six shards, each asked for two updates and a figure."""
    world = make_world(secagg=True, rounds=2, metrics=(PLAN,), run_id="k7d2m9x4")
    return nodes_of(world, PARTS, Time())


def needles(fleet: Fleet, models: list[npt.NDArray[np.float32]]) -> list[bytes]:
    """Return bytes that may stand nowhere: vectors, their sums, models, who hosts whom."""
    found: list[bytes] = []
    step = fleet.world.spec.lattice.step
    for node in fleet.nodes.values():
        for vector in node.added:
            if vector.size > PARTS and vector.any():
                found += forms(vector, step)
    for number in range(2):
        found += forms(np.sum([node.added[number] for node in fleet.nodes.values()], axis=0), step)
    whole = found + [model.tobytes() for model in models]
    # A run of zeros, or of one number, stands everywhere: such an end tells nothing.
    return [n for n in whole if min(len(set(n[:48])), len(set(n[-48:]))) > 12]


def test_pf_25_nothing_of_a_vector_a_model_or_a_device_stands_on_the_wire(fleet: Fleet) -> None:
    seen: Sent = []
    models = [fleet.world.folder.load_state().parameters]
    models.append(fleet.run(sent_envelopes(fleet.honest, seen)).parameters)
    secrets = needles(fleet, models)
    assert len(secrets) > 20
    wire = b"\0".join(
        part
        for pair in seen
        for message in pair
        if message is not None
        for part in bytes_of(message)
    )
    assert b"homebody" not in wire  # but for headers of its own, which name no product
    assert not any(secret[:48] in wire or secret[-48:] in wire for secret in secrets)
    # The scan finds what is there: headers, which say which message this is and nothing else.
    assert fleet.nodes[1].identity.node_id.hex().encode() in wire
    assert b'"devices"' in wire  # the announcement, signed for all to read: how many there are
    assert wire.count(b'"devices"') <= PARTS * 2


def test_a_message_holds_an_envelope_and_the_encrypted_model_and_nothing_else(
    fleet: Fleet,
) -> None:
    seen: Sent = []
    fleet.run(sent_envelopes(fleet.honest, seen))
    assert {step_of(message) for message, _ in seen} == {*Step} - {Step.DECLINE}
    broadcasts: dict[tuple[int, Step], set[bytes]] = {}
    for message, reply in seen:
        context = read_context(envelope_of_down(message))
        beside = {legs.BROADCAST} if context.step in (Step.UPDATE, Step.FIGURES) else set()
        assert set(message.content) == {legs.SEALED} | beside
        assert reply is not None
        assert set(reply.content) == {legs.SEALED}
        assert list(message.content.array_records[legs.SEALED]) == [legs.ENVELOPE]
        if beside:
            (array,) = message.content.array_records[legs.BROADCAST].values()
            key = (context.session, context.step)
            broadcasts.setdefault(key, set()).add(array.data)
    assert all(len(one) == 1 for one in broadcasts.values())  # encrypted once for all
    assert len(set().union(*broadcasts.values())) == len(broadcasts) == 3


def test_pf_22_all_replies_of_a_leg_have_one_length_and_all_its_messages_one(fleet: Fleet) -> None:
    seen: Sent = []
    fleet.run(sent_envelopes(fleet.honest, seen))
    lengths: dict[tuple[int, Step, bool], set[int]] = {}
    for message, reply in seen:
        context = read_context(envelope_of_down(message))
        for down, one in ((True, message), (False, reply)):
            if one is not None and context.step is not Step.ENROL:
                key = (context.session, context.step, down)
                lengths.setdefault(key, set()).add(len(envelope_of_down(one)))
    assert {key: len(found) for key, found in lengths.items()} == dict.fromkeys(lengths, 1)


@pytest.mark.parametrize("crash", [False, True], ids=["after the run", "after a crash"])
def test_pf_28_nothing_of_a_vector_a_sum_or_a_session_key_stands_in_the_run_folder(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, *, crash: bool
) -> None:
    keys: list[bytes] = []

    class Watched(RecipientKey):
        __slots__ = ()

        @classmethod
        def generate(cls) -> Any:  # noqa: ANN401 - itself
            key = super().generate()
            keys.append(key.to_bytes())
            return key

    monkeypatch.setattr(gatherer, "RecipientKey", Watched)

    def dying(work: Work) -> list[Any]:
        context = read_context(envelope_of_down(work[0][0]))
        replies = fleet.honest(work)
        if crash and (context.step, context.round) == (Step.UNMASK, 2):
            raise PowerCutError
        return replies

    if crash:
        with pytest.raises(PowerCutError):
            fleet.run(dying)
    else:
        fleet.run(dying)
    folder = fleet.world.folder.path
    assert len(keys) == (3 if crash else 4)
    pieces = [key[:64] for key in keys] + [key[64:] for key in keys]
    assert not holds(folder, needles(fleet, []) + pieces)
    ids = [node.identity.node_id for node in fleet.nodes.values()]
    texts = [*ids, *(one.hex().encode() for one in ids)]
    written = [f for f in folder.rglob("*") if f.is_file() and "aggregator" not in f.parts]
    assert {"ledger.jsonl", "state.npz", "session", "replay.sqlite"} <= {f.name for f in written}
    assert not any(text in file.read_bytes() for file in written for text in texts)


def test_a_sessions_key_is_gone_when_the_session_is(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    class Watched(RecipientKey):
        __slots__ = ("__weakref__",)

        @classmethod
        def generate(cls) -> Any:  # noqa: ANN401 - itself
            gc.collect()
            alive.append(sum(ref() is not None for ref in made))
            key = super().generate()
            made.append(weakref.ref(key))
            return key

    monkeypatch.setattr(gatherer, "RecipientKey", Watched)
    publics: set[bytes] = set()

    def watching(work: Work) -> list[Any]:
        publics.update(key.public for ref in made if (key := ref()) is not None)
        return fleet.honest(work)

    fleet.run(watching)
    assert alive == [0] * 4  # an enrolment, two rounds and a figure: each begins without a key
    gc.collect()
    assert all(ref() is None for ref in made)
    assert len(publics) == 4


def test_the_runs_secrets_go_with_its_key(fleet: Fleet) -> None:
    fleet.run()
    folder = fleet.world.folder
    private = [folder.replay_file, *folder.aggregator_folder.iterdir()]
    assert {file.stat().st_mode & 0o077 for file in private} == {0}
    assert folder.aggregator_folder.stat().st_mode & 0o077 == 0
    folder.destroy_key()
    left = {file.name for file in folder.path.iterdir()}
    assert left == {"checkpoint", "run.json", "ledger.jsonl", "state.npz", "session"}


def test_a_home_is_read_as_it_was_saved(fleet: Fleet, tmp_path: Path) -> None:
    assert AggregatorHome.open(fleet.world.folder.aggregator_folder) == fleet.home
    with pytest.raises(FileExistsError):
        fleet.home.save(fleet.world.folder.aggregator_folder)
    with pytest.raises(InvalidFileError):
        AggregatorHome.open(tmp_path)


@pytest.mark.parametrize("name", ["pins.json", "nodes.json", "aggregator.key"])
def test_a_damaged_home_is_refused(fleet: Fleet, name: str) -> None:
    folder = fleet.world.folder.aggregator_folder
    file = folder / name
    for content in (b"", b"[]x", file.read_bytes()[:-1], b'["zz"]', b"[3]"):
        file.write_bytes(content)
        with pytest.raises(InvalidFileError):
            AggregatorHome.open(folder)


def test_another_key_than_the_pinned_one_is_refused(fleet: Fleet) -> None:
    file = fleet.world.folder.aggregator_folder / "aggregator.key"
    file.write_bytes(bytes(32))
    with pytest.raises(InvalidFileError, match="pin another key"):
        fleet.run()


def test_a_certificate_under_another_nodes_id_is_refused(fleet: Fleet) -> None:
    one, other = list(fleet.home.registered.values())[:2]
    with pytest.raises(ValueError, match="another node"):
        AggregatorHome(
            signing=fleet.home.signing,
            authority=fleet.home.authority,
            fleet="test",
            registered={one.node_id: other},
        )


def test_the_replay_cache_of_another_run_key_is_refused(fleet: Fleet) -> None:
    fleet.run()
    fleet.world.folder.write_key(bytes(31) + b"1")
    with pytest.raises(IntegrityError, match="another key"):
        fleet.run()
