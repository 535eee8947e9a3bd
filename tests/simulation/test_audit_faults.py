"""The audit fires on faults planted in the real pipeline, and not on the pipeline as it is.

Each fault replaces one method of the production code, as a faulty release would; run folder,
ledger, strategy, optimizer, ClientApp and devices stay what they are.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import BltMechanism, GaussianMechanism
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.protection import Mechanism
from homebody_privacy.stream import NoiseStream
from homebody_server.release import Contribution, Noise, Releaser
from homebody_server.run_folder import RunFolder
from homebody_simulation.audit.build import AuditBuild
from homebody_simulation.audit.canaries import coins
from homebody_simulation.audit.conformance import Conformance, conformance
from homebody_simulation.audit.one_run import OneRun, one_run
from homebody_simulation.audit.request import AuditRequest
from homebody_simulation.audit.run_audit import claim_of, prepare_run
from homebody_simulation.setup import Prepared

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A small run that is audited."""

    mechanism: Mechanism = "gaussian"
    canaries: int = 280
    population: int = 300
    cohort: int = 20
    rounds: int = 8
    epsilon: float = 8.0


WIDE = Setting()
BLT = Setting(mechanism="blt", canaries=180, population=200, cohort=40, rounds=12)
QUIET = Setting(mechanism="blt", canaries=120, population=130, cohort=26, rounds=10, epsilon=200.0)
"""So little noise that what happens to one device of the population is seen."""

Audit = Callable[..., tuple[Conformance, OneRun]]


@pytest.fixture(scope="module")
def prepared(
    tmp_path_factory: pytest.TempPathFactory, write_config: Callable[..., Path]
) -> Callable[[Setting], Prepared]:
    """Preparer of runs: each is planned once, and copied to a folder of its own."""
    runs, number = tmp_path_factory.mktemp("audited"), count()
    config = write_config(epsilon_max=200.0)

    @cache
    def planned(setting: Setting) -> Prepared:
        request = AuditRequest(
            config_file=config,
            mechanism=setting.mechanism,
            epsilon=setting.epsilon,
            canaries=setting.canaries,
            population=setting.population,
            rounds=setting.rounds,
            cohort=setting.cohort,
            seed=1,
        )
        return prepare_run(request, runs / f"plan-{next(number)}", model="popularity")

    def copy(setting: Setting) -> Prepared:
        plan = planned(setting)
        folder = runs / f"{next(number)}" / "audit"
        shutil.copytree(plan.folder.path, folder)
        return replace(plan, folder=RunFolder(folder))

    return copy


@pytest.fixture
def audit(prepared: Callable[[Setting], Prepared]) -> Audit:
    """Audit of a small run of the pipeline, as it is at the time of the call."""

    def run(setting: Setting = WIDE) -> tuple[Conformance, OneRun]:
        made = AuditBuild.of(prepared(setting), setting.canaries, bytes(32))
        seen, claim = made.run(), claim_of(made.prepared.spec)
        return conformance(seen, claim), one_run(seen, claim)

    return run


@pytest.mark.parametrize("setting", [WIDE, BLT], ids=["gaussian", "blt"])
def test_cr_44_the_pipeline_as_it_is_is_not_refuted(audit: Audit, setting: Setting) -> None:
    conforms, bound = audit(setting)
    assert conforms.findings == ()
    assert bound.findings == ()
    assert conforms.noise.lower_bound < 1.0 < conforms.noise.upper_bound
    assert conforms.amplitude.lower_bound < 1.0 < conforms.amplitude.upper_bound
    assert conforms.noise.upper_bound - conforms.noise.lower_bound < 0.12
    assert abs(conforms.lags[0].estimate) < conforms.lags[0].limit


def lessened(
    mechanism: type[GaussianMechanism | BltMechanism], factor: float
) -> Callable[..., Any]:
    """Return the method ``noise`` with every draw scaled."""
    honest = mechanism.noise

    def noise(self: Any, dim: int, stream: NoiseStream) -> Integers:  # noqa: ANN401 either of two
        drawn: Integers = np.rint(factor * honest(self, dim, stream)).astype(np.int64)
        return drawn

    return noise


def test_fault_noise_times_nine_tenths(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GaussianMechanism, "noise", lessened(GaussianMechanism, 0.9))
    conforms, _ = audit()
    (said,) = conforms.findings
    assert said.startswith("Noise std is at most 0.9")
    assert conforms.noise.estimate == pytest.approx(0.9, abs=0.04)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mechanism", "faulty"), [("gaussian", GaussianMechanism), ("blt", BltMechanism)]
)
def test_fault_five_per_cent_of_the_noise_missing_at_full_size(
    audit: Audit,
    monkeypatch: pytest.MonkeyPatch,
    mechanism: Mechanism,
    faulty: type[GaussianMechanism | BltMechanism],
) -> None:
    setting = Setting(
        mechanism=mechanism, canaries=1000, population=1010, cohort=50, rounds=20, epsilon=4.0
    )
    assert audit(setting)[0].findings == ()
    monkeypatch.setattr(faulty, "noise", lessened(faulty, 0.95))
    (said,) = audit(setting)[0].findings
    assert said.startswith("Noise std is at most 0.9")


@pytest.mark.slow
def test_fault_noise_times_nine_tenths_under_blt(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BltMechanism, "noise", lessened(BltMechanism, 0.9))
    (said,) = audit(BLT)[0].findings
    assert said.startswith("Noise std is at most 0.9")


def test_fault_noise_reused_over_rounds(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(self: GaussianMechanism, dim: int, _: NoiseStream) -> Integers:
        return rounded_gaussian(dim, self.tau, NoiseStream(bytes(32)))

    monkeypatch.setattr(GaussianMechanism, "noise", noise)
    said = audit()[0].findings
    assert any(words.startswith("Noise of next rounds is correlated: 1.0") for words in said)


@pytest.mark.slow
def test_fault_noise_reused_over_rounds_under_blt(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = BltMechanism.noise

    def noise(self: BltMechanism, dim: int, _: NoiseStream) -> Integers:
        return honest(self, dim, NoiseStream(bytes(32)))

    monkeypatch.setattr(BltMechanism, "noise", noise)
    said = audit(BLT)[0].findings
    assert any(words.startswith("Noise of next rounds is correlated: 1.0") for words in said)


@pytest.mark.slow
def test_fault_noise_reused_every_fifth_round(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = count()

    def noise(self: GaussianMechanism, dim: int, _: NoiseStream) -> Integers:
        key = (next(number) % 5).to_bytes(32, "big")
        return rounded_gaussian(dim, self.tau, NoiseStream(key))

    monkeypatch.setattr(GaussianMechanism, "noise", noise)
    conforms, _ = audit()
    assert not conforms.lags[0].is_beyond
    (said,) = (words for words in conforms.findings if words.startswith("Noise of rounds "))
    assert "correlated: 1.000" in said


def test_fault_noise_left_out(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GaussianMechanism, "noise", lessened(GaussianMechanism, 0.0))
    conforms, _ = audit()
    assert conforms.findings[0].startswith("Noise std is at most 0.0000")


@pytest.mark.slow
def test_cr_44_fault_noise_left_out_is_refuted_by_the_bound_alone(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GaussianMechanism, "noise", lessened(GaussianMechanism, 0.0))
    setting = Setting(canaries=128, population=140, cohort=140, rounds=3, epsilon=2.0)
    _, bound = audit(setting)
    assert bound.lower_bound > bound.upper_bound
    assert bound.findings[0].startswith("User-level epsilon is at least ")


def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server take any integers for a contribution within its bound."""
    monkeypatch.setattr(Lattice, "is_within_bound", lambda _self, _v, devices=1: bool(devices))


def test_fault_clipping_after_summing(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Releaser.release

    def unclipped(self: Lattice, update: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        return np.trunc(np.asarray(update) / self.step).astype(np.int32)

    def release(
        self: Releaser, given: Iterable[Contribution], noise: Noise, rate: float | None = None
    ) -> npt.NDArray[np.float32]:
        every = list(given)
        total = np.sum([one.integers for one in every], axis=0, dtype=np.int64)
        bound = len(every) * 2**16  # what so many clipped contributions could come to
        clipped = total * min(1.0, bound / float(np.linalg.norm(total.astype(float))))
        return honest(self, [Contribution(np.trunc(clipped).astype(np.int64), 1)], noise, rate)

    monkeypatch.setattr(Lattice, "contribution", unclipped)
    monkeypatch.setattr(Releaser, "release", release)
    trusting(monkeypatch)
    conforms, _ = audit()
    assert any("clip norms to a round; the claim allows 1" in said for said in conforms.findings)
    assert conforms.amplitude.lower_bound > 2.0


def weighted(
    monkeypatch: pytest.MonkeyPatch,
    weight: int,
    chosen: Callable[[Contribution], bool],
    *,
    is_trusting: bool = True,
) -> None:
    """Let the server weigh contributions by the number of examples a device claims to have."""
    honest = Releaser.release

    def release(
        self: Releaser, given: Iterable[Contribution], noise: Noise, rate: float | None = None
    ) -> npt.NDArray[np.float32]:
        heavier = (
            Contribution(one.integers * (weight if chosen(one) else 1), one.devices)
            for one in given
        )
        return honest(self, heavier, noise, rate)

    monkeypatch.setattr(Releaser, "release", release)
    if is_trusting:
        trusting(monkeypatch)


def everyone(one: Contribution) -> bool:
    return one.devices == 1


def first_canary(one: Contribution) -> bool:
    """Tell whether a contribution of ``QUIET`` is that of the first canary that is in."""
    inside = coins(QUIET.canaries, NoiseStream(bytes(32)))
    return bool(one.integers[-QUIET.canaries :][int(np.flatnonzero(inside)[0])])


def test_fault_num_examples_weighting(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    weighted(monkeypatch, 5, everyone)
    conforms, bound = audit()
    (said,) = conforms.findings
    assert said.startswith("A device adds at least 4.")
    assert bound.lower_bound > 1.0


@pytest.mark.slow
def test_fault_num_examples_weighting_of_one_device(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighted(monkeypatch, 5, first_canary)
    conforms, _ = audit(QUIET)
    assert "the claim allows 1" in conforms.findings[0]
    assert conforms.loudest.estimate == pytest.approx(5.0, abs=1.5)


@pytest.mark.slow
def test_a_weight_the_servers_own_check_refuses_adds_nothing(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighted(monkeypatch, 5, everyone, is_trusting=False)
    conforms, _ = audit()
    assert conforms.findings == ()
    assert conforms.amplitude.upper_bound < 0.5


def repeating(chosen: Callable[[Contribution], bool]) -> Callable[..., Any]:
    """Return the method ``release`` that adds some contributions twice; each keeps its bound."""
    honest = Releaser.release

    def twice(given: Iterable[Contribution]) -> Iterator[Contribution]:
        for one in given:
            yield one
            if chosen(one):
                yield one

    def release(
        self: Releaser, given: Iterable[Contribution], noise: Noise, rate: float | None = None
    ) -> npt.NDArray[np.float32]:
        return honest(self, twice(given), noise, rate)

    return release


def test_fault_devices_counted_twice(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Releaser, "release", repeating(everyone))
    (said,) = audit()[0].findings
    assert said.startswith("A device adds at least 1.")


@pytest.mark.slow
def test_fault_devices_counted_twice_under_blt(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Releaser, "release", repeating(everyone))
    (said,) = audit(BLT)[0].findings
    assert said.startswith("A device adds at least 1.")


def test_fault_one_device_counted_twice(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Releaser, "release", repeating(first_canary))
    (said,) = audit(QUIET)[0].findings
    assert said.startswith("One device adds at least 1.")


@pytest.mark.slow
def test_fault_updates_counted_again_in_the_next_round(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, kept = Releaser.release, list[Contribution]()

    def release(
        self: Releaser, given: Iterable[Contribution], noise: Noise, rate: float | None = None
    ) -> npt.NDArray[np.float32]:
        every = list(given)
        again = [*every, *kept]
        kept[:] = every
        return honest(self, again, noise, rate)

    monkeypatch.setattr(Releaser, "release", release)
    setting = Setting(canaries=120, population=130, cohort=60, rounds=10)
    said = audit(setting)[0].findings
    assert any("rounds it did not join; the claim allows 0" in words for words in said)
