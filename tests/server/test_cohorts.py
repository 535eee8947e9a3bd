"""How cohorts are drawn: nobody too early or too often, everybody alike, and the same again."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from homebody_privacy.blt import Participation
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.cohorts import PoissonCohorts, SeparatedCohorts
from homebody_server.hosts import Hosts
from homebody_server.selection import SeparatedDraw, poisson_cohort

Devices = npt.NDArray[np.int64]


def lots(number: int, key: bytes = bytes(32)) -> NoiseStream:
    """Return the lots of a round."""
    return NoiseStream(derive_key(key, "coins", number))


def draw_of(
    devices: int, cohort_size: int, part: Participation, key: bytes = bytes(32)
) -> SeparatedDraw:
    """Return a draw over devices 0 to ``devices - 1``."""
    registered = np.arange(devices, dtype=np.int64)
    return SeparatedDraw(
        registered, cohort_size=cohort_size, participation=part, lots=lambda t: lots(t, key)
    )


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, Participation]:
    """Give a population, a cohort and rules, feasible or not."""
    rounds = draw(st.integers(1, 25))
    part = Participation(
        rounds=rounds,
        min_separation=draw(st.integers(1, rounds)),
        max_rounds=draw(st.integers(1, 6)),
    )
    return draw(st.integers(1, 40)), draw(st.integers(1, 12)), part


@given(plan=plans())
def test_pf_17_separation_and_cap_are_kept_for_any_parameters(
    plan: tuple[int, int, Participation],
) -> None:
    devices, size, part = plan
    draw = draw_of(devices, size, part)
    joined: dict[int, list[int]] = {device: [] for device in range(devices)}
    for number in range(1, part.rounds + 1):
        may = [
            device
            for device, rounds in joined.items()
            if len(rounds) < part.max_rounds
            and (not rounds or number - rounds[-1] >= part.min_separation)
        ]
        cohort = draw.cohort(number).tolist()
        assert cohort == sorted(set(cohort))
        assert set(cohort) <= set(may)
        assert len(cohort) == min(size, len(may))  # full while enough may come
        for device in cohort:
            joined[device].append(number)
    assert max(map(len, joined.values())) <= part.joins


@given(plan=plans(), data=st.data())
def test_a_replay_that_starts_late_draws_what_was_drawn(
    plan: tuple[int, int, Participation], data: st.DataObject
) -> None:
    devices, size, part = plan
    straight = draw_of(devices, size, part)
    drawn = [straight.cohort(number).tolist() for number in range(1, part.rounds + 1)]
    number = data.draw(st.integers(1, part.rounds))
    late = draw_of(devices, size, part)
    assert [late.cohort(t).tolist() for t in range(number, part.rounds + 1)] == drawn[number - 1 :]


def test_a_plan_that_fits_the_population_fills_every_round() -> None:
    part = Participation(rounds=40, min_separation=4, max_rounds=10)
    draw = draw_of(24, 6, part)
    assert {len(draw.cohort(number)) for number in range(1, 41)} == {6}


def test_every_device_is_drawn_alike_and_with_every_other() -> None:
    part = Participation(rounds=3, min_separation=2, max_rounds=1)
    devices, size, runs = 9, 2, 2000
    counts, pairs = np.zeros((3, devices)), np.zeros((devices, devices))
    for run in range(runs):
        draw = draw_of(devices, size, part, key=run.to_bytes(32, "big"))
        for number in (1, 2, 3):
            cohort = draw.cohort(number)
            counts[number - 1, cohort] += 1
            pairs[cohort[0], cohort[1]] += 1
    for of_round in counts:
        assert stats.chisquare(of_round).pvalue > 1e-3
    assert stats.chisquare(pairs[np.triu_indices(devices, 1)]).pvalue > 1e-3
    skewed = counts[0] * np.linspace(0.9, 1.1, devices)
    assert stats.chisquare(skewed * counts[0].sum() / skewed.sum()).pvalue < 1e-3


def test_keys_make_the_draw() -> None:
    part = Participation(rounds=5, min_separation=2, max_rounds=2)
    drawn = [draw_of(40, 5, part, key=key).cohort(5).tolist() for key in (bytes(32), b"k" * 32)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("number", [0, 2, 6])
def test_a_round_is_drawn_once_and_in_turn(number: int) -> None:
    draw = draw_of(10, 2, Participation(rounds=5, min_separation=1, max_rounds=5))
    draw.cohort(2)
    with pytest.raises(ValueError, match="cannot be drawn after round 2"):
        draw.cohort(number)
    assert draw.cohort(3).size == 2


@pytest.mark.parametrize(
    ("registered", "size", "match"),
    [([0, 1], 0, "cohort_size"), ([1, 0], 1, "ascending"), ([0, 0], 1, "ascending")],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(registered: list[int], size: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SeparatedDraw(
            np.array(registered, np.int64),
            cohort_size=size,
            participation=Participation(rounds=1, min_separation=1, max_rounds=1),
            lots=lots,
        )


HOSTS = Hosts.of({2: 7, 3: 8, 5: 7, 9: 1, 11: 8})  # numbers with gaps: not every device enrolled


def test_poisson_cohorts_toss_each_devices_own_coin() -> None:
    cohorts = PoissonCohorts(hosts=HOSTS, sampling_rate=0.5, cohort_cap=99)
    for number in range(1, 20):
        expected = poisson_cohort(np.array(sorted(HOSTS), np.int64), 0.5, 99, lots(number))
        assert cohorts.draw(number, lots).tolist() == expected.tolist()
    # Coins know no past: a round may be drawn again, and in any order.
    assert cohorts.draw(3, lots).tolist() == cohorts.draw(3, lots).tolist()


def test_separated_cohorts_draw_enrolled_devices_alone() -> None:
    part = Participation(rounds=4, min_separation=2, max_rounds=2)
    cohorts = SeparatedCohorts(hosts=HOSTS, cohort_size=2, participation=part)
    drawn = [cohorts.draw(number, lots).tolist() for number in range(1, 5)]
    assert {len(cohort) for cohort in drawn} == {2}
    joins = Counter(device for cohort in drawn for device in cohort)
    assert set(joins) <= set(HOSTS)
    assert max(joins.values()) <= 2
    resumed = SeparatedCohorts(hosts=Hosts.of(HOSTS), cohort_size=2, participation=part)
    assert resumed.draw(3, lots).tolist() == drawn[2]
