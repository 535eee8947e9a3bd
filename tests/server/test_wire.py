"""What is on the wire and on disk: contributions one way, models the other, and no sum at rest."""

from pathlib import Path

import numpy as np
from flwr.app import Message, MessageType, RecordDict

from homebody_privacy import messages
from homebody_simulation.grid import Cohort

from .disk_scan import forms, holds
from .world import MakeWorld, Work, World

Names = set[tuple[str, str]]


def arrays_of(content: RecordDict) -> Names:
    """Name every array of a message."""
    return {(name, key) for name, record in content.array_records.items() for key in record}


def values_of(content: RecordDict) -> Names:
    """Name every config value and metric of a message."""
    configs = {(name, key) for name, record in content.config_records.items() for key in record}
    metrics = {(name, key) for name, record in content.metric_records.items() for key in record}
    return configs | metrics


def watched(world: World) -> tuple[list[tuple[Message, Message]], Cohort]:
    """Return the devices, and the list of what was asked and answered."""
    seen: list[tuple[Message, Message]] = []
    honest = world.honest

    def cohort(work: Work) -> list[Message | None]:
        replies = honest(work)
        pairs = zip(work, replies, strict=True)
        seen.extend((asked, reply) for (asked, _), reply in pairs if reply is not None)
        return replies

    return seen, cohort


def test_pf_23_and_pf_18_a_device_sends_its_contribution_and_nothing_else(
    make_world: MakeWorld,
) -> None:
    world = make_world(rounds=2)
    seen, cohort = watched(world)
    world.run(cohort)
    training = [pair for pair in seen if pair[0].metadata.message_type == MessageType.TRAIN]
    enrolling = [pair for pair in seen if pair[0].metadata.message_type != MessageType.TRAIN]
    assert len(training) == 24
    size = world.folder.load_state().parameters.size
    for asked, reply in training:
        assert arrays_of(asked.content) == {(messages.MODEL, messages.PARAMETERS)}
        invitation = {"run", "round", "devices", "config-digest"}
        assert values_of(asked.content) == {(messages.INVITATION, key) for key in invitation}
        assert arrays_of(reply.content) == {(messages.UPDATE, messages.CONTRIBUTION)}
        assert values_of(reply.content) == set()
        sent = reply.content.array_records[messages.UPDATE][messages.CONTRIBUTION]
        assert (sent.dtype, tuple(sent.shape)) == ("int32", (size,))
        assert world.spec.lattice.is_within_bound(sent.numpy())
    for asked, reply in enrolling:
        assert arrays_of(asked.content) | values_of(asked.content) == set()
        assert arrays_of(reply.content) == set()
        assert values_of(reply.content) == {(messages.ENROL, messages.DEVICES)}


def test_a_device_is_told_of_no_other_device(make_world: MakeWorld) -> None:
    world = make_world(rounds=1)
    seen, cohort = watched(world)
    world.run(cohort)
    for asked, _ in seen:
        for record in asked.content.config_records.values():
            assert record[messages.DEVICES] == [asked.metadata.dst_node_id - 1]


def test_pf_28_no_un_noised_sum_lies_in_the_run_folder_at_any_time(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world()
    needles: list[bytes] = []
    seen, cohort = watched(world)

    def scanning(work: Work) -> list[Message | None]:
        if work[0][0].metadata.message_type != MessageType.TRAIN:
            return cohort(work)
        assert not holds(world.folder.path, needles)
        seen.clear()
        replies = cohort(work)
        rows = [
            reply.content.array_records[messages.UPDATE][messages.CONTRIBUTION].numpy()
            for _, reply in seen
        ]
        total = np.asarray(np.sum(rows, axis=0, dtype=np.int64))
        assert total.any()
        needles.extend(forms(total, world.spec.lattice.step))
        needles.extend(row.tobytes() for row in rows if row.any())
        return replies

    world.run(scanning)
    assert len(needles) > 24
    assert not holds(world.folder.path, needles)
    control = tmp_path / "control"
    control.mkdir()
    np.savez(control / "dump.npz", total=np.frombuffer(needles[0], "<i8"))
    assert holds(control, needles)


def test_pf_24_ledger_and_outcome_name_no_device_and_count_nobody(make_world: MakeWorld) -> None:
    few, many = make_world("few", rounds=1), make_world("many", rounds=1)
    few.run(few.instead(4, lambda _asked, _good: None))
    many.run()
    texts = [world.folder.ledger_file.read_text().splitlines() for world in (few, many)]
    assert texts[0][1].split('"root"')[0] == texts[1][1].split('"root"')[0]
    names = {file.name for file in few.folder.path.iterdir()}
    assert names == {"checkpoint", "run.json", "run.key", "state.npz", "ledger.jsonl"}
