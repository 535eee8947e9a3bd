"""One process a message, as a SuperNode starts them, and some of them die: the sum stays exact."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody_client.secure.leg_store import LegStore
from homebody_client.secure.opening import opened_node, store_key
from homebody_privacy.errors import InvalidFileError
from homebody_privacy.identity import NodeIdentity
from homebody_privacy.legs import Step
from homebody_privacy.node_folder import NodeFolder, Pins

from .secure_town import Sum, Town
from .secure_vectors import CONFIG, POLICY, STEPS, part_of

HOSTED = ((0, 1), (2,), (3,), (4, 5))


def in_a_process(work: Callable[[], bytes]) -> bytes | None:
    """Return what a process of its own makes; None if it was killed."""
    down, up = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.write(up, work())
            status = 0
        finally:
            os._exit(status)
    os.close(up)
    with os.fdopen(down, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert status == 0
    return content


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def answer(town: Town, step: Step, message: bytes, ciphertext: bytes, when: str) -> bytes:
    """Answer a message as the first node from its file alone, and die on the way if asked to."""
    member = town.members[0]
    assert member.file is not None
    store = LegStore.open(member.file, store_key(member.identity))
    put = store.put

    class Dying:
        """A store whose process dies."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def put(self, *values: object, **own: object) -> None:
            if when == "before it is kept":
                die()
            put(*values, **own)  # type: ignore[arg-type]
            if when == "after it was kept":
                die()

    member.store = Dying()  # type: ignore[assignment]
    return member.node.answer(step, message, ciphertext)


def killed_twice(town: Town, step: Step, message: bytes, ciphertext: bytes = b"") -> bytes:
    """Return the answer of the first node to a message whose first two processes are killed."""
    for when in ("before it is kept", "after it was kept"):
        assert in_a_process(lambda: answer(town, step, message, ciphertext, when)) is None  # noqa: B023 - forked at once
    reply = in_a_process(lambda: answer(town, step, message, ciphertext, ""))
    assert reply is not None
    return reply


@pytest.mark.parametrize("metric", ["", "quality"])
def test_a_node_killed_before_and_after_it_kept_each_leg_goes_on_to_the_exact_sum(
    tmp_path: Path, metric: str
) -> None:
    town = Town.of(HOSTED, tmp_path)
    town.members[0].store.close()
    announced = town.announce()
    killed_twice(town, Step.ENROL, announced)
    for member in town.members[1:]:
        member.node.answer(Step.ENROL, announced)
    asked = town.sum(metric=metric)
    for step in STEPS:
        leg = Step.FIGURES if metric and step is Step.UPDATE else step
        reply = killed_twice(town, leg, asked.message(leg, 0), asked.ciphertext)
        assert asked.take(leg, reply) == ""
        for number in (1, 2, 3):
            assert asked.take(leg, asked.ask(leg, number)) == ""
        asked.close(leg)
    total = asked.result().total
    assert (total == sum(part_of(device)[: len(total)] for device in range(6))).all()


def test_a_node_killed_while_it_masks_never_sends_two_vectors_under_one_mask(
    tmp_path: Path,
) -> None:
    town = Town.of(HOSTED, tmp_path)
    town.enrol()
    asked = town.sum()
    asked.legs(until=Step.UPDATE)
    town.members[0].store.close()
    message = asked.message(Step.UPDATE, 0)
    first = in_a_process(
        lambda: answer(town, Step.UPDATE, message, asked.ciphertext, "after it was kept")
    )
    assert first is None
    town.members[0].worker.parts = {0: part_of(9), 1: part_of(9)}  # it would now compute another
    again = [
        in_a_process(lambda: answer(town, Step.UPDATE, message, asked.ciphertext, ""))
        for _ in range(2)
    ]
    assert again[0] is not None
    assert again[0] == again[1]
    assert asked.take(Step.UPDATE, again[0]) == ""
    for number in (1, 2, 3):
        asked.take(Step.UPDATE, asked.ask(Step.UPDATE, number))
    asked.close(Step.UPDATE)
    finish(town, asked)
    assert (asked.result().total == sum(part_of(device)[:7] for device in range(6))).all()


def finish(town: Town, asked: Sum) -> None:
    """Do the last two legs, the first node in processes of its own."""
    for step in (Step.CONFIRM, Step.UNMASK):
        message = asked.message(step, 0)
        reply = in_a_process(lambda: answer(town, step, message, b"", ""))  # noqa: B023 - forked at once
        assert reply is not None
        asked.take(step, reply)
        for number in (1, 2, 3):
            asked.take(step, asked.ask(step, number))
        asked.close(step)


_ONE_LEG = """
import sys
from pathlib import Path
from homebody_client.node_app import answer_sealed
from homebody_client.secure.opening import opened_node
from homebody_client.secure.policy import Policy
from homebody_client.secure.shard import ShardWorker
from homebody_privacy.lattice import Lattice
from homebody_privacy.legs import Step
from homebody_privacy.node_folder import NodeFolder

folder, config, step = sys.argv[1:4]
policy = Policy(config_sha256=config, max_corrupt=0.1, max_dropout=0.3, least=3,
                lattice=Lattice(clip_norm=0.5, bits=16))
def opener():
    raise SystemExit("a query opens nothing")
with opened_node(NodeFolder(Path(folder)), policy, lambda _: ShardWorker(opener)) as node:
    reply = node.answer(Step(step), sys.stdin.buffer.read())
assert not {"torch", "opacus"} & set(sys.modules), "a query loaded a training library"
sys.stdout.buffer.write(reply)
"""


def folder_of(town: Town, path: Path) -> NodeFolder:
    """Write the folder of a town's first node."""
    member = town.members[0]
    return NodeFolder.create(
        path, identity=member.identity, certificate=member.certificate, pins=member.pins
    )


def test_a_real_process_answers_queries_from_its_folder_without_a_training_library(
    tmp_path: Path,
) -> None:
    town = Town.of(HOSTED)
    town.now = int(time.time())
    for member in town.members:
        member.clock = lambda: town.now
    town.enrol()
    folder = folder_of(town, tmp_path / "node")
    member = town.members[0]
    town.serial += 1
    announcement = town.announcement(session=town.serial)
    with opened_node(folder, POLICY, lambda _: member.worker) as node:
        node.answer(Step.ENROL, town.announce(announcement))
    asked = town.sum()
    for step in (Step.ADVERTISE, Step.SHARE):
        command = [sys.executable, "-c", _ONE_LEG, str(folder.path), CONFIG, step]
        ended = subprocess.run(
            command, input=asked.message(step, 0), capture_output=True, check=True
        )
        assert asked.take(step, ended.stdout) == ""
        for number in (1, 2, 3):
            assert asked.take(step, asked.ask(step, number)) == ""
        asked.close(step)


def test_a_folder_is_its_owners_alone_and_made_once(tmp_path: Path) -> None:
    town = Town.of(HOSTED)
    folder = folder_of(town, tmp_path / "node")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.path.iterdir()} == {0o600}
    with pytest.raises(FileExistsError):
        folder_of(town, tmp_path / "node")
    with pytest.raises(ValueError, match="not of this node"):
        NodeFolder.create(
            tmp_path / "other",
            identity=NodeIdentity.generate(),
            certificate=town.members[0].certificate,
            pins=town.members[0].pins,
        )
    assert folder.pins() == town.members[0].pins
    assert folder.certificate() == town.members[0].certificate
    assert folder.identity().node_id == town.members[0].identity.node_id


@pytest.mark.parametrize("name", ["identity.key", "certificate.bin", "pins.json"])
@pytest.mark.parametrize("fault", ["missing", "cut", "longer"])
def test_a_folder_with_a_damaged_file_opens_no_node(tmp_path: Path, name: str, fault: str) -> None:
    folder = folder_of(Town.of(HOSTED), tmp_path / "node")
    file = folder.path / name
    content = file.read_bytes()
    file.unlink()
    if fault != "missing":
        file.write_bytes(content[:-1] if fault == "cut" else content + b" ")
        file.chmod(0o600)
    with (
        pytest.raises(InvalidFileError),
        opened_node(folder, POLICY, lambda _: Town.of(HOSTED).members[0].worker),
    ):
        pass


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"fleet":"x"}',
        b'{"aggregator":"00","authority":"00","fleet":"x"}',
        Pins(fleet="x", authority=bytes(32), aggregator=bytes(32)).to_bytes() + b"\n",
        b"[" * 100_000,
    ],
)
def test_pins_that_nobody_wrote_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="pins"):
        Pins.from_bytes(content)


def test_a_fleet_has_a_name_and_its_keys_32_bytes() -> None:
    with pytest.raises(ValueError, match="fleet"):
        Pins(fleet="", authority=bytes(32), aggregator=bytes(32))
    with pytest.raises(ValueError, match="32 bytes"):
        Pins(fleet="x", authority=bytes(31), aggregator=bytes(32))
