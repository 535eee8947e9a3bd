"""Real rounds of a real server, in which some of the devices are whole devices of people.

The others are the plain hosts of a simulation. What the server releases must not tell which is
which; what a person takes back must not leave, whatever moment they choose.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, MessageType, RecordDict

from homebody_client.check_in import Parameters
from homebody_client.device_app import device_client_app
from homebody_client.local_model import DeviceModel
from homebody_models.split import Split, leave_one_out
from homebody_privacy import messages
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import ConsentMissingError, PolicyViolationError
from homebody_privacy.messages import Invitation, Question
from homebody_server.run_spec import MetricPlan
from homebody_simulation.datasets import load_dataset
from tests.server.world import DEVICES, Builder, Work, ledger_of, same_end, sent_by, watched

from .device_village import (
    PLANTED,
    READY,
    TWELVE,
    WHOLE,
    AsInTheWorld,
    Breaks,
    Build,
    bytes_of,
    code_of,
    lived,
    of_rounds,
    unpaid,
    villages,
    worlds,
)

QUALITY = MetricPlan(name="quality", noise_multiplier=40.0, releases=2)


@pytest.fixture(scope="module")
def split() -> Split:
    """Return the events of twelve devices, the last of each held out; read only."""
    return leave_one_out(load_dataset("synthetic", devices=DEVICES, items=20).interactions)


@pytest.fixture
def make_world(
    tmp_path: Path, write_config: Callable[..., Path], split: Split
) -> Iterator[Builder]:
    """Builder of a world in a fresh folder."""
    with worlds(PrivacyConfig.load(write_config(**TWELVE)), split, tmp_path) as build:
        yield build


@pytest.fixture
def village(make_world: Builder, split: Split, tmp_path: Path) -> Iterator[Build]:
    """Builder of a village; its people have said yes to everything."""
    with villages(make_world, split, tmp_path) as build:
        yield build


@pytest.mark.parametrize("mechanism", ["gaussian", "blt"])
def test_release_is_that_of_plain_hosts_bit_for_bit(
    village: Build, make_world: Builder, mechanism: str
) -> None:
    people = village("people", WHOLE, mechanism=mechanism)
    plain = make_world("plain", mechanism=mechanism)
    answered: set[int] = set()

    def see(work: Work, replies: list[Message | None]) -> None:
        if work[0][0].metadata.message_type == MessageType.TRAIN:
            answered.update(n for n, own in sent_by(replies).items() if own.any())

    ended = people.world.run(watched(people.cohort(), see))
    assert same_end(ended, plain.run())
    assert answered.issuperset(WHOLE) or mechanism == "blt"
    for number, device in people.devices.items():
        left = [entry for entry in of_rounds(device) if entry.sent]
        assert {entry.kind for entry in left} <= {"update"}
        if mechanism == "gaussian":
            assert [entry.round for entry in left] == [1, 2, 3]
            assert people.joins(number) == 3
        assert all("clipped update" in entry.summary for entry in left)
        whole = mechanism == "blt"
        assert [e.charge for e in left] == ["run" if whole else f"round/{e.round}" for e in left]
        if left:
            assert unpaid(device, people.world) == []  # S73


def test_the_real_local_model_joins_a_round_and_learns_from_its_rows_alone(
    village: Build,
) -> None:
    people = village(rounds=1)
    host = people.world.host
    people.models[3] = DeviceModel(
        config=host.config,
        model=host.model,
        catalog=host.histories.catalog,
        example_key=bytes([3]) * 32,
    )
    sent: dict[int, Any] = {}

    def see(work: Work, replies: list[Message | None]) -> None:
        if work[0][0].metadata.message_type == MessageType.TRAIN:
            sent.update(sent_by(replies))

    people.world.run(watched(people.cohort(), see))
    assert ledger_of(people.world).released == 1
    bound = 2**people.world.spec.lattice_bits
    assert sent[3].any()
    assert np.linalg.norm(sent[3]) <= bound
    assert people.joins(3) == 1


def test_cn_07_cr_07_device_that_withdrew_declines_with_a_code_and_the_round_goes_on(
    village: Build,
) -> None:
    people, other = village("people"), village("other")
    codes: list[str] = []

    def see(work: Work, replies: list[Message | None]) -> None:
        if work[0][0].metadata.message_type != MessageType.TRAIN:
            return
        codes.append(code_of(replies[3]))
        if work[0][0].metadata.group_id == "1":
            people.devices[3].consent.withdraw("training")

    ended = people.world.run(watched(people.cohort(), see))
    assert codes == ["", "consent-missing", "consent-missing"]

    def silent(asked: Message, good: Message) -> Message | None:
        late = asked.metadata.group_id in ("2", "3") and asked.metadata.dst_node_id == 4
        return None if late and asked.metadata.message_type == MessageType.TRAIN else good

    assert same_end(ended, other.world.run(other.world.answering(silent)))
    assert people.joins(3) == 1
    assert [entry.round for entry in of_rounds(people.devices[3])] == [1]


@pytest.mark.parametrize("missing", READY)
def test_device_that_is_not_ready_declines(village: Build, missing: str) -> None:
    people = village("run", WHOLE, rounds=1)
    people.devices[0].check_in(**{**READY, missing: False})
    people.devices[3]._core.condition = None  # noqa: SLF001 - an app that never checked in
    codes: list[list[str]] = []

    def see(work: Work, replies: list[Message | None]) -> None:
        if work[0][0].metadata.message_type == MessageType.TRAIN:
            codes.append([code_of(replies[number]) for number in (0, 3, 7)])

    people.world.run(watched(people.cohort(), see))
    assert codes == [["policy-violation", "policy-violation", ""]]
    assert [people.joins(number) for number in WHOLE] == [0, 0, 1]
    assert of_rounds(people.devices[0]) == []


@pytest.mark.parametrize("change", ["withdrawn", "given again", "frozen", "erased", "signal"])
def test_cn_01_cr_06_what_is_taken_back_while_training_runs_does_not_leave(
    village: Build, change: str
) -> None:
    people = village(rounds=1)
    device, made = people.devices[3], list[Any]()
    consent = device.consent

    def during() -> None:
        if change == "frozen":
            consent.restrict()
        elif change == "erased":
            device.erase()
        elif change == "signal":
            consent.set_signal("sec_gpc", on=True)
        else:
            consent.withdraw("training")
        if change == "given again":
            consent.grant("training", features=["purchases"])

    people.models[3] = AsInTheWorld(people.world.host, 3, during, made)
    codes: list[str] = []

    def see(work: Work, replies: list[Message | None]) -> None:
        if work[0][0].metadata.message_type == MessageType.TRAIN:
            codes.append(code_of(replies[3]))

    people.world.run(watched(people.cohort(), see))
    assert codes == ["consent-missing"]
    assert ledger_of(people.world).released == 1
    assert len(made) == 1
    assert not made[0].any()  # overwritten
    assert people.joins(3) == 0
    assert not [entry for entry in of_rounds(device) if entry.sent]


class StopError(BaseException):
    """The process dies here."""


def test_cn_14_cr_33_join_counts_though_the_process_dies_before_it_is_handed_over(
    village: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    people = village(rounds=1)
    device = people.devices[3]
    asked = Invitation(
        run="autumn",
        round=1,
        devices=(3,),
        config_digest=people.world.host.config.digest(),
    )
    model = np.zeros(people.world.host.model.layout.size, np.float32)

    def die(*_: object) -> None:
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(type(device.egress), "append", die)  # after the charge, before the bytes
        with pytest.raises(StopError):
            device.participant(people.models[3]).update(asked, model)
    assert people.joins(3) == 1
    device.consent.withdraw("recommend")
    device.erase()
    for purpose in ("recommend", "training"):
        device.consent.grant(purpose, features=["purchases"])
    lived(device, ["item-1", "item-2", "item-3"])
    assert people.joins(3) == 1  # outlives erase
    same = device.participant(people.models[3]).update(asked, model)
    assert same.any()  # the same join, asked again
    other = device.participant(people.models[3]).update(asked, model + 1)
    assert not other.any()  # another model in a joined round: it adds nothing
    assert people.joins(3) == 1
    assert (tmp_path / "run-3").exists()


def test_r14_lost_record_of_joins_takes_no_part(village: Build) -> None:
    people = village(rounds=2)
    device = people.devices[3]
    codes: list[str] = []

    def see(work: Work, replies: list[Message | None]) -> None:
        if work[0][0].metadata.message_type == MessageType.TRAIN:
            codes.append(code_of(replies[3]))
            if work[0][0].metadata.group_id == "1":
                (device._core.setup.profile.state / "devices.sqlite").unlink()  # noqa: SLF001 - the accident

    people.world.run(watched(people.cohort(), see))
    assert codes == ["", "integrity-failure"]
    told: Any = device.export_data()["problems"]
    assert any("devices.sqlite" in problem for problem in told)


def test_cn_08_cr_21_figures_leave_under_their_own_switch_and_are_those_of_plain_hosts(
    village: Build, make_world: Builder
) -> None:
    people = village("people", metrics=(QUALITY,), rounds=2)
    plain = make_world("plain", metrics=(QUALITY,), rounds=2)
    people.world.run(people.cohort())
    plain.run()
    assert ledger_of(people.world).answers == ledger_of(plain).answers
    left = [(entry.kind, entry.purpose) for entry in of_rounds(people.devices[3])]
    assert all(unpaid(device, people.world) == [] for device in people.devices.values())  # S73
    update, figure = ("update", "training"), ("metric", "metrics")
    assert left == [update, figure, update, figure]

    shut = village("shut", metrics=(QUALITY,), rounds=2)
    shut.devices[3].consent.withdraw("metrics")
    codes: list[str] = []

    def see(work: Work, replies: list[Message | None]) -> None:
        if work[0][0].metadata.message_type == MessageType.EVALUATE:
            codes.append(code_of(replies[3]))

    shut.world.run(watched(shut.cohort(), see))
    assert codes == ["consent-missing", "consent-missing"]
    assert {entry.purpose for entry in of_rounds(shut.devices[3])} == {"training"}


def test_cn_08_cn_30_cr_21_s17_no_value_of_a_row_is_in_a_reply_a_log_or_what_the_server_keeps(
    village: Build, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    people = village(rounds=2)

    people.models[3] = Breaks(people.world.host, 3)
    told: list[bytes] = []

    def see(_: Work, replies: list[Message | None]) -> None:
        told.extend(bytes_of(reply) for reply in replies if reply is not None)

    with caplog.at_level(logging.DEBUG):
        people.world.run(watched(people.cohort(), see))
    assert any(b"defect" in one for one in told)
    bought = [name.encode() for name in people.world.host.histories.catalog.ids]
    assert not [name for name in bought if name in b"".join(told)]  # S17
    shown = capfd.readouterr()
    places = [b"".join(told), caplog.text.encode(), (shown.out + shown.err).encode()]
    places += [f.read_bytes() for f in people.world.folder.path.rglob("*") if f.is_file()]
    places += [
        device.egress.path.read_bytes()
        for device in people.devices.values()
        if device.egress.path.exists()
    ]
    secret = [*PLANTED, *(d._core.setup.profile.identity for d in people.devices.values())]  # noqa: SLF001 - may not leave
    assert not [word for place in places for word in secret if word.encode() in place]


def test_device_goes_by_the_config_it_was_opened_with(village: Build, tmp_path: Path) -> None:
    people = village(rounds=1)
    device = people.devices[3]
    file = tmp_path / "run.toml"
    file.write_text(file.read_text().replace("noise_multiplier = 3.0", "noise_multiplier = 0.1"))
    with pytest.raises(PolicyViolationError, match="not the one"):
        device.participant(people.models[3])
    file.write_text("schema = 7")
    with pytest.raises(Exception, match=r"run\.toml"):
        device.participant(people.models[3])


def test_what_was_recorded_a_moment_ago_is_learned_from(village: Build) -> None:
    people = village(rounds=1)
    device = people.devices[3]
    device.knows()  # what was recorded before is on disk
    rows = device._core.rows  # noqa: SLF001 - a machine too busy to write at once
    assert rows is not None
    rows._writer._delay_s = 600.0  # noqa: SLF001 - as above
    seen: list[Sequence[str]] = []

    class Looks(AsInTheWorld):
        """Keeps the history it is given."""

        def update(self, history: Sequence[str], parameters: Parameters, asked: Invitation) -> Any:  # noqa: ANN401 - integers
            """Look, then compute."""
            seen.append(history)
            return super().update(history, parameters, asked)

    people.models[3] = Looks(people.world.host, 3)
    said = {"user_id": PLANTED[1], "event": "purchase", "product_id": "item-7"}
    assert device.record({**said, "timestamp": "2027-01-15T07:59:00Z"})
    people.world.run(people.cohort())
    assert [history[-1] for history in seen] == ["item-7"]


def test_message_for_another_device_is_declined(village: Build) -> None:
    people = village(rounds=1)
    people.world.grid(people.cohort())
    app = device_client_app(lambda: people.devices[3].participant(people.models[3]), number=5)
    codes: list[str] = []

    def wrong(work: Work) -> list[Message | None]:
        replies = people.world.honest(work)
        if work[0][0].metadata.message_type == MessageType.TRAIN:
            replies[3] = app(*work[3])
            codes.append(code_of(replies[3]))
        return replies

    people.world.run(wrong)
    assert codes == ["policy-violation"]
    assert people.joins(3) == 0


def test_yes_to_training_alone_lets_no_figure_out(village: Build) -> None:
    people = village(rounds=1)
    device = people.devices[3]
    question = Question(
        run="autumn",
        round=1,
        devices=(3,),
        config_digest=people.world.host.config.digest(),
        metric="quality",
    )
    model = np.zeros(people.world.host.model.layout.size, np.float32)
    with pytest.raises(PolicyViolationError, match="does not list"):
        device.participant(people.models[3]).figures(question, model)
    device.consent.withdraw("training")
    with pytest.raises(ConsentMissingError, match="withdrawn"):
        device.participant(people.models[3]).update(
            Invitation(run="a", round=1, devices=(3,), config_digest=question.config_digest),
            model,
        )


def test_device_with_training_shut_does_not_enrol(village: Build) -> None:
    people = village("run", WHOLE, rounds=1)
    device = people.devices[3]
    device.consent.withdraw("training")
    ask = Message(RecordDict(), dst_node_id=4, message_type=f"{MessageType.QUERY}.{messages.ENROL}")
    grid = people.world.grid(people.cohort())
    answers = {
        reply.metadata.src_node_id: reply for reply in grid.send_and_receive([ask], timeout=1.0)
    }
    assert code_of(answers[4]) == "consent-missing"
    assert device.egress.entries() == []
