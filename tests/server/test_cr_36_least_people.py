"""No figure about fewer people than the config says: suppressed, charged, and never by a value."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from homebody_privacy.lattice import FIGURES
from homebody_privacy.messages import QUESTION
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.figures import BELOW_MIN_K, FigureRound
from homebody_server.hosts import Hosts
from homebody_server.release import Contribution
from homebody_server.run_spec import MetricPlan

from .world import DEVICES, Builder, Work, World, entries, ledger_of, watched

QUALITY = MetricPlan(name="quality", noise_multiplier=40.0, releases=1)
NAME = "metrics/quality/2"
SCALE = 12.0


def world_of(make_world: Builder, min_k: int, name: str = "run", **own: Any) -> World:  # noqa: ANN401
    """Return a world of two rounds and one figure, with so many people behind it or none."""
    return make_world(name, metrics=(replace(QUALITY, min_k=min_k),), rounds=2, **own)


def asks(work: Work) -> list[Message]:
    """Return the questions of a push."""
    return [message for message, _ in work if QUESTION in message.content.config_records]


def test_cr_36_of_one_person_too_few_nobody_is_asked_and_the_charge_stands(
    make_world: Builder,
) -> None:
    world = world_of(make_world, DEVICES + 1)

    def see(work: Work, _: object) -> None:
        assert not asks(work)

    assert world.run(watched(world.honest, see)).next_round == 3
    record = ledger_of(world)
    assert (record.answers, record.unanswered) == ({}, {NAME: BELOW_MIN_K})
    assert record.bought(NAME) == QUALITY.charge()
    assert record.charges().count(QUALITY.charge()) == 1
    last = entries(world)[-1]
    assert last == {"kind": "unanswered", "name": NAME, "reason": BELOW_MIN_K}  # and no count
    before = world.folder.ledger_file.read_bytes()
    world.run()  # a resumed run does not ask again until enough are there
    assert world.folder.ledger_file.read_bytes() == before


def test_cr_36_of_exactly_so_many_people_the_figure_is_released(make_world: Builder) -> None:
    world = world_of(make_world, DEVICES)
    world.run()
    record = ledger_of(world)
    assert (list(record.answers), record.unanswered) == ([NAME], {})
    assert record.charges().count(QUALITY.charge()) == 1


def test_cr_36_where_one_person_too_few_answers_their_sum_is_dropped_and_stays_charged(
    make_world: Builder,
) -> None:
    world = world_of(make_world, DEVICES)

    def quiet(message: Message, good: Message) -> Message | None:
        figure = QUESTION in message.content.config_records
        return None if figure and message.metadata.dst_node_id == 1 else good

    world.run(world.answering(quiet))
    record = ledger_of(world)
    assert (record.answers, record.unanswered) == ({}, {NAME: BELOW_MIN_K})
    assert record.bought(NAME) == QUALITY.charge()


def figure_of(people: int, min_k: int) -> FigureRound:
    """Return one release over so many people, each on a node of its own."""
    return FigureRound(
        run="r",
        number=1,
        plan=MetricPlan(name="quality", noise_multiplier=SCALE, releases=1, min_k=min_k),
        config_digest="d",
        hosts=Hosts.of({person: person + 1 for person in range(people)}),
        deadline_s=1.0,
    )


def sum_of(people: int, min_k: int, key: bytes) -> float | None:
    """Return the released sum of hits, where everybody's list hit, in lattice bounds."""
    most = np.array([FIGURES.bound // 2, 0])
    released = figure_of(people, min_k).release_sum(
        [Contribution(most, 1)] * people, NoiseStream(key)
    )
    return None if released is None else released["hit@10"] * people / math.sqrt(2.0)


@pytest.mark.parametrize("value", [0, 1, FIGURES.bound, FIGURES.bound + 1, -(2**62)])
def test_cr_36_whether_a_figure_is_suppressed_depends_on_nobodys_answer(value: int) -> None:
    for people, released in ((19, False), (20, True)):
        sums = [Contribution(np.array([value, 0]), 1)] * people
        found = figure_of(people, 20).release_sum(sums, NoiseStream(bytes(32)))
        assert (found is not None) == released


def test_cr_36_two_populations_one_person_apart_differ_by_their_noise_and_not_by_the_person(
    make_world: Builder,
) -> None:
    with_person, without = [], []
    for seed in range(400):
        one = sum_of(21, 20, derive_key(bytes(32), "with", seed))
        other = sum_of(20, 20, derive_key(bytes(32), "without", seed))
        assert one is not None
        assert other is not None
        with_person.append(one)
        without.append(other)
    differences = np.array(with_person) - np.array(without)
    truth, deviation = 0.5, SCALE * math.sqrt(2.0)
    assert differences.std() == pytest.approx(deviation, rel=0.15)
    assert abs(differences.mean() - truth) < 4.0 * deviation / math.sqrt(len(differences))
    right = float(np.mean(differences > truth / 2.0))
    assert right < 0.5 + 0.1  # from one pair of figures nobody tells who was in
    assert sum_of(19, 20, bytes(32)) is None
    # Neither figure is free, and neither has the other's noise.
    worlds = [world_of(make_world, DEVICES, f"run-{i}", key=bytes([i]) * 32) for i in range(2)]
    for world in worlds:
        world.run()
    assert [ledger_of(world).bought(NAME) for world in worlds] == [QUALITY.charge()] * 2
    first, second = (ledger_of(world).answers[NAME] for world in worlds)
    assert first != second
