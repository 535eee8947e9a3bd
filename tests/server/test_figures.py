"""Figures about people: charged before anybody is asked, noised, answered once, bounded."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MessageType, RecordDict
from scipy import stats

from homebody_client.figures import figure_contribution
from homebody_models.device_metrics import means
from homebody_privacy import messages
from homebody_privacy.errors import BudgetExhaustedError
from homebody_privacy.lattice import FIGURES
from homebody_privacy.ledger import Ledger
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.messages import Question
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.figures import FigureRound
from homebody_server.hosts import Hosts
from homebody_server.release import Contribution
from homebody_server.run_spec import MetricPlan
from homebody_server.strategy import parameters_record

from .world import (
    DEVICES,
    Builder,
    PowerCutError,
    Work,
    World,
    cut_in_round,
    entries,
    ledger_of,
    power_cut,
    same_end,
    watched,
)

LEAST = 1e-5  # noise below half a lattice step: what is released is the sum
HOSTS = {0: 7, 1: 8, 2: 7, 3: 9}
MODEL = parameters_record(np.zeros(3, np.float32))
QUALITY = MetricPlan(name="quality", noise_multiplier=40.0, releases=2)


@pytest.fixture(autouse=True)
def speaking(make_world: Builder) -> None:
    """Let this process make messages, as a server does."""
    make_world("speaker").grid()


def stream(label: str | int = "figure") -> NoiseStream:
    """Return the stream of one release."""
    return NoiseStream(derive_key(bytes(32), label))


def asking(noise_multiplier: float = LEAST, name: str = "quality", **own: Any) -> FigureRound:  # noqa: ANN401
    """Return one release of a figure over four devices."""
    fields: dict[str, Any] = {
        "run": "r",
        "number": 3,
        "plan": MetricPlan(name=name, noise_multiplier=noise_multiplier, releases=1),
        "config_digest": "d",
        "hosts": Hosts.of(HOSTS),
        "deadline_s": 9.0,
    }
    return FigureRound(**(fields | own))


def answer(asked: Message, integers: npt.ArrayLike) -> Message:
    """Return an answer that sends these integers."""
    record = ArrayRecord({messages.CONTRIBUTION: Array(np.asarray(integers))})
    return Message(RecordDict({messages.UPDATE: record}), reply_to=asked)


def asked_of(message: Message) -> Question:
    """Return what a message asks."""
    return Question.from_record(message.content.config_records[messages.QUESTION])


def release(figure: FigureRound, replies: Iterable[Message]) -> dict[str, float]:
    """Return what is released of replies of enough devices."""
    released = figure.release(replies, stream())
    assert released is not None
    return released


def test_everybody_is_asked_once_each_node_for_its_own() -> None:
    asked = asking().questions(MODEL)
    assert {m.metadata.dst_node_id: asked_of(m).devices for m in asked} == {
        7: (0, 2),
        8: (1,),
        9: (3,),
    }
    for message in asked:
        assert message.metadata.message_type == MessageType.EVALUATE
        question = asked_of(message)
        assert (question.run, question.round, question.metric) == ("r", 3, "quality")
        assert question.config_digest == "d"


def test_a_node_of_many_devices_is_asked_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homebody_server.figures._AT_ONCE", 4096)
    many = dict.fromkeys(range(9000), 7)
    figure = asking(hosts=Hosts.of(many))
    asked = figure.questions(MODEL)
    sizes = [len(asked_of(message).devices) for message in asked]
    assert sizes == [4096, 4096, 808]
    assert sorted(d for m in asked for d in asked_of(m).devices) == list(range(9000))
    # The pieces of one node are told apart: each counts, each once.
    per_device = FIGURES.bound // 2
    replies = [answer(m, [n * per_device, 0]) for m, n in zip(asked, sizes, strict=True)]
    found = release(figure, [*replies, *replies])
    assert found["hit@10"] == pytest.approx(0.5 * math.sqrt(2.0), rel=1e-4)


def test_the_means_are_those_of_all_devices_with_the_missing_as_zero() -> None:
    figure = asking()
    first, second, _third = figure.questions(MODEL)
    one = FIGURES.bound / math.sqrt(2.0)
    released = release(
        figure, [answer(first, [int(2 * one), int(one)]), answer(second, [int(one), 0])]
    )
    assert released == pytest.approx({"hit@10": 3 / 4, "ndcg@10": 1 / 4}, rel=1e-4)


def garbage(asked: Message) -> Message:
    """Return an answer whose array cannot be read."""
    array = Array(dtype="int64", shape=(2,), stype="numpy.ndarray", data=b"?")
    record = ArrayRecord({messages.CONTRIBUTION: array})
    return Message(RecordDict({messages.UPDATE: record}), reply_to=asked)


MALFORMED: dict[str, Callable[[Message], Message]] = {
    "an error": lambda asked: Message(Error(code=1, reason="no"), reply_to=asked),
    "a decline": lambda asked: Message(
        RecordDict({messages.DECLINED: ConfigRecord({messages.CODE: "x"})}), reply_to=asked
    ),
    "floats": lambda asked: answer(asked, np.ones(2)),
    "NaN": lambda asked: answer(asked, np.full(2, np.nan)),
    "too short": lambda asked: answer(asked, np.ones(1, np.int64)),
    "too long": lambda asked: answer(asked, np.ones(3, np.int64)),
    "beyond the bound": lambda asked: answer(asked, np.array([FIGURES.bound + 1, 0])),
    "beyond the bound in norm": lambda asked: answer(asked, np.full(2, FIGURES.bound - 1)),
    "far beyond the bound": lambda asked: answer(asked, np.full(2, -(2**63), np.int64)),
    "garbage": garbage,
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_an_answer_no_honest_device_gives_counts_as_zero(kind: str) -> None:
    def released(bad: Callable[[Message], Message] | None) -> dict[str, float]:
        figure = asking()
        two, single, other = figure.questions(MODEL)
        replies = [answer(two, [900, 800]), answer(other, [70, 60])]
        return release(figure, [*replies, *([bad(single)] if bad else [])])

    assert released(MALFORMED[kind]) == released(None)
    assert released(lambda asked: answer(asked, [50_000, 0])) != released(None)


def test_a_node_counts_once_and_only_if_it_was_asked() -> None:
    figure, other = asking(), asking(hosts=Hosts.of({0: 1}))
    two, *_ = figure.questions(MODEL)
    (stranger,) = other.questions(MODEL)
    good = answer(two, [40_000, 30_000])
    released = release(figure, [good, good, answer(stranger, [9000, 9000])])
    expected = means("quality", FIGURES.decode(np.array([40_000, 30_000])), 4)
    assert released == pytest.approx(expected, rel=1e-3)


def test_the_noise_of_a_figure_has_the_scale_that_is_charged_and_no_other() -> None:
    scale = 12.0
    drawn = []
    nothing = Contribution(np.zeros(2, np.int64), len(HOSTS))
    for number in range(500):
        released = asking(scale).release_sum([nothing], stream(number))
        assert released is not None
        drawn += [value * len(HOSTS) / math.sqrt(2.0) for value in released.values()]
    assert stats.kstest(np.array(drawn) / scale, "norm").pvalue > 1e-3
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(np.array(drawn) / (scale * wrong), "norm").pvalue < 1e-6


def with_figures(make_world: Builder, name: str = "run", **own: Any) -> World:  # noqa: ANN401
    """Return a world of three rounds that releases ``QUALITY`` after the second and the last."""
    return make_world(name, **({"metrics": (QUALITY,)} | own))


def is_asking(work: Iterable[tuple[Message, Any]]) -> bool:
    """Tell whether a push asks for a figure."""
    return any(message.metadata.message_type == MessageType.EVALUATE for message, _ in work)


def test_a_figure_is_charged_before_anybody_is_asked_and_answered_once(
    make_world: Builder,
) -> None:
    world = with_figures(make_world)
    seen: list[tuple[int, bool, int]] = []

    def see(work: Work, _: object) -> None:
        if is_asking(work):
            now = ledger_of(world)
            names = [f"metrics/quality/{number}" for number in (2, 3)]
            bought = [now.bought(name) is not None for name in names]
            seen.append((now.released, len(work) == DEVICES, sum(bought) - len(now.answers)))

    world.run(watched(world.honest, see))
    assert seen == [(2, True, 1), (3, True, 1)]
    kinds = [entry["kind"] for entry in entries(world)]
    round_, figure = ["intent", "release"], ["purchase", "answer"]
    assert kinds == ["header", *round_, *round_, *figure, *round_, *figure]
    charges = ledger_of(world).charges()
    assert charges.count(QUALITY.charge()) == 2
    assert sorted(ledger_of(world).answers) == ["metrics/quality/2", "metrics/quality/3"]


def test_the_answer_is_the_sum_of_all_devices_with_the_noise_of_its_own_key(
    make_world: Builder,
) -> None:
    world = with_figures(make_world, rounds=2)
    model = world.run().parameters
    each = [figure_contribution(world.host, d, model, "quality") for d in range(DEVICES)]
    total = np.sum(each, axis=0, dtype=np.int64)
    assert total.any()
    key = derive_key(world.folder.read_key(), "figures", "metrics/quality/2")
    noise = GaussianMechanism(FIGURES, QUALITY.noise_multiplier).noise(2, NoiseStream(key))
    expected = means("quality", FIGURES.decode(np.asarray(total) + noise), DEVICES)
    assert ledger_of(world).answers["metrics/quality/2"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("call", ["purchase", "answer"])
@pytest.mark.parametrize("number", [1, 2], ids=["after round 2", "after the last round"])
def test_pf_14_a_crash_between_charge_and_answer_gives_the_same_answer_for_one_charge(
    make_world: Builder,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
) -> None:
    own = {"mechanism": "blt", "rounds": 3, "min_separation": 2}  # devices count, too
    whole, cut = (with_figures(make_world, name, **own) for name in ("whole", "cut"))
    expected = whole.run()
    real, calls = getattr(Ledger, call), []

    def stopping(*arguments: Any) -> None:  # noqa: ANN401 - the real one's
        if str(arguments[1]).startswith("metrics/"):
            calls.append(arguments[1])
        if call == "purchase":
            real(*arguments)  # charged, and the machine stops before anybody is asked
        if len(calls) == number:
            power_cut()
        if call == "answer":
            real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, call, stopping)
        with pytest.raises(PowerCutError):
            cut.run()
    assert len(ledger_of(cut).answers) == number - 1
    cut.run()
    assert same_end(cut.folder.load_state(), expected)
    assert entries(cut)[1:] == entries(whole)[1:]


def test_figures_that_were_answered_are_not_asked_again(make_world: Builder) -> None:
    world = with_figures(make_world)
    world.run()
    before = world.folder.ledger_file.read_bytes()

    def see(work: Work, _: object) -> None:
        assert not is_asking(work)

    world.run(watched(world.honest, see))
    assert world.folder.ledger_file.read_bytes() == before


def test_a_round_cut_short_after_a_figure_does_not_ask_for_it_again(make_world: Builder) -> None:
    whole, cut = with_figures(make_world, "whole"), with_figures(make_world, "cut")
    whole.run()
    with pytest.raises(PowerCutError):
        cut.run(cut_in_round(3, cut.honest))
    cut.run()
    assert entries(cut)[1:] == entries(whole)[1:]


def test_a_figure_past_the_ceiling_is_not_asked_for(make_world: Builder) -> None:
    world = with_figures(
        make_world,
        metrics=(MetricPlan(name="ndcg", noise_multiplier=0.3, releases=1),),
        ceiling=6.0,
    )

    def see(work: Work, _: object) -> None:
        assert not is_asking(work)

    with pytest.raises(BudgetExhaustedError, match="metrics/ndcg/3 would bring"):
        world.run(watched(world.honest, see))
    assert ledger_of(world).released == 3  # what was released before stands
    assert ledger_of(world).answers == {}


def test_pf_18_a_device_sends_the_figures_integers_and_nothing_else(make_world: Builder) -> None:
    world = with_figures(make_world, rounds=2)
    sent: list[RecordDict] = []

    def see(work: Work, replies: list[Message | None]) -> None:
        if is_asking(work):
            sent.extend(reply.content for reply in replies if reply is not None)

    world.run(watched(world.honest, see))
    assert len(sent) == 2 * DEVICES
    for content in sent:
        assert not content.config_records
        assert not content.metric_records
        (record,) = content.array_records.values()
        assert list(record) == [messages.CONTRIBUTION]
        integers = record[messages.CONTRIBUTION].numpy()
        assert (integers.dtype.name, integers.shape) == ("int64", (2,))
        assert FIGURES.is_within_bound(integers)


def test_pf_19_a_reference_without_noise_releases_no_figure(make_world: Builder) -> None:
    world = with_figures(make_world, noise_multiplier=0.0, ceiling=None)

    def see(work: Work, _: object) -> None:
        assert not is_asking(work)

    assert world.run(watched(world.honest, see)).next_round == 4
