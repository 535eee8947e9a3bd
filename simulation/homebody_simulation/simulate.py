"""One run from request to report, whatever carries its messages."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from homebody_models.interactions import Interactions
from homebody_privacy.accounting import SpendForecast
from homebody_privacy.charges import round_up
from homebody_privacy.errors import HomebodyError
from homebody_privacy.ledger import read_ledger
from homebody_server.record_entries import enter_end
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import RunSpec
from homebody_server.spending import spent_before
from homebody_server.stages import REPORT
from homebody_simulation import runtimes
from homebody_simulation.conclude import Timing, conclude
from homebody_simulation.curve import Curve, Point
from homebody_simulation.request import Request
from homebody_simulation.setup import Prepared, prepare, reopen


class Progress(Protocol):
    """Shows a person how far a run is; nothing in the run depends on it."""

    def begin(self, prepared: Prepared) -> None:
        """Training starts."""
        ...

    def statistic(self, name: str, answered: int) -> None:
        """So many devices answered a statistic."""
        ...

    def point(self, point: Point) -> None:
        """A released model was looked at."""
        ...

    def end(self) -> None:
        """Training ended, one way or another."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, prepared: Prepared) -> None:
        """Ignore the start."""

    def statistic(self, name: str, answered: int) -> None:
        """Ignore a statistic."""

    def point(self, point: Point) -> None:
        """Ignore a point."""

    def end(self) -> None:
        """Ignore the end."""


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """A run that has ended.

    Attributes:
        folder: Where its files are.
        report: What ``report.json`` holds.
        seconds: Where the time went, by stage; empty for a run that ended earlier.
        data: The whole data set, where it is loaded still. Secret.
    """

    folder: Path
    report: Mapping[str, Any] = field(repr=False)
    seconds: Mapping[str, float] = field(default_factory=dict)
    data: Interactions | None = field(repr=False, default=None)

    @property
    def bundle(self) -> Path:
        """The signed model bundle."""
        return self.folder / "model.hbm"

    @property
    def catalog(self) -> Path:
        """The signed catalog: what a device shows of the items."""
        return self.folder / "catalog"

    @property
    def trusted_key(self) -> Path:
        """The public key the bundle is signed with: the publisher's, or the laboratory's."""
        return self.folder.parent / f"{self.report['bundle']['signer']}.pub"

    @property
    def metrics(self) -> dict[str, float]:
        """Test metrics of the model that was published, means over devices."""
        return _means(self.report["utility"]["model"])

    @property
    def stages(self) -> dict[str, dict[str, float]]:
        """Test metrics of each model the run made: ``start``, ``end``, or both."""
        return {name: _means(v) for name, v in self.report["utility"]["stages"].items()}

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """Test metrics of each baseline."""
        return {name: _means(v) for name, v in self.report["utility"]["baselines"].items()}

    @property
    def epsilon(self) -> Mapping[str, Any] | None:
        """Epsilon by unit; None for a reference without differential privacy."""
        value: Mapping[str, Any] | None = self.report["epsilon"]
        return value

    def to_dict(self) -> dict[str, Any]:
        """Return the object ``--format json`` prints."""
        report = self.report
        return {
            "run": report["run"],
            "recipe": report["recipe"],
            "shipped": report["shipping"]["shipped"],
            "epsilon": report["epsilon"] or {"user": None, "record": None},
            "released": report["released"],
            "metrics": self.metrics,
            "intervals": {
                name: [value["low"], value["high"]]
                for name, value in report["utility"]["model"].items()
                if isinstance(value, Mapping)
            },
            "task": report["utility"]["task"],
            "baselines": self.baselines,
            "stages": self.stages,
            "bundle": str(self.bundle),
            "bundle_bytes": report["bundle"]["bytes"],
            "model_digest": report["digests"]["model"],
            "rounds": report["rounds"],
            "devices_per_second": report["devices_per_second"],
            "seconds": report["seconds"],
            "stage_seconds": dict(self.seconds),
            "report": str(self.folder / "report.html"),
        }


def simulate(request: Request, progress: Progress | None = None) -> SimulatedRun:
    """Train, evaluate, sign and report one run.

    Args:
        request: What is asked.
        progress: Shows how far it is; None shows nothing.

    Raises:
        HomebodyError: If the request, the config or the data is refused, or the budget ends the
            run; what was released before stands in the run's folder.
    """
    return carry_out(prepare(request), progress or Silent())


def resume(
    runs: Path, name: str, progress: Progress | None = None, *, fleet: Path | None = None
) -> SimulatedRun:
    """Go on with an interrupted run: the same ledger, the same coins, the same noise.

    Args:
        runs: Folder of all runs.
        name: Name of the run.
        progress: Shows how far it is; None shows nothing.
        fleet: Folder of the fleet that carries it; None for a simulation. There the round that was
            interrupted is void.

    Raises:
        HomebodyError: As ``simulate``; also if there is no such run or it is not what it was.
    """
    folder = RunFolder(runs / name)
    if (folder.path / "report.json").exists() and not folder.has_key():
        _complete_record(folder)
        return SimulatedRun(folder.path, folder.read_json("report.json"))
    return carry_out(reopen(runs, name, fleet), progress or Silent())


def carry_out(prepared: Prepared, progress: Progress) -> SimulatedRun:
    """Train what is left of a run, evaluate, sign and report; raises as ``simulate``."""
    folder = prepared.folder
    started, first = time.monotonic(), folder.load_state().next_round
    passes = 0 if folder.start_file.exists() else len(prepared.spec.statistics)
    curve = Curve(
        model=prepared.model,
        task=None if prepared.request.refit else prepared.split.validation,
        rounds=prepared.spec.rounds,
        spent=_Spending(prepared),
        file=folder.path / "metrics.jsonl",
        tell=progress.point,
    )
    progress.begin(prepared)
    try:
        meter = runtimes.run(prepared, curve, progress.statistic)
    finally:
        progress.end()
    seconds = time.monotonic() - started
    outcome = folder.read_json("outcome.json")
    last = folder.load_state().next_round
    stopped = _stopped(outcome)
    if stopped is not None and last == 1 and not folder.start_file.exists():
        raise stopped  # before the first model: there is nothing to report
    timing = Timing(seconds=seconds, rounds=last - first, passes=passes)
    with prepared.stages.of(REPORT):
        report = conclude(prepared, meter, timing)
    folder.write_json("run.json", {**folder.read_json("run.json"), "outcome": outcome})
    folder.destroy_key()
    enter_end(folder, prepared.spec)
    (folder.path / "outcome.json").unlink()
    if stopped is not None:
        raise stopped
    return SimulatedRun(folder.path, report, prepared.stages.seconds, prepared.dataset.interactions)


def _complete_record(folder: RunFolder) -> None:
    """Finish the end of a run that a crash cut short after its key was destroyed."""
    outcome = folder.path / "outcome.json"
    if outcome.exists():
        folder.destroy_key()
        enter_end(folder, RunSpec.from_dict(folder.read_json("run.json")["spec"]))
        outcome.unlink()


def _stopped(outcome: Mapping[str, Any]) -> HomebodyError | None:
    """Return the error that ended the run, or None if it finished."""
    if outcome["ended"] == "finished":
        return None
    kinds = {kind.code: kind for kind in _kinds(HomebodyError)}
    kind = kinds.get(outcome["ended"], HomebodyError)
    return kind(outcome["message"], fix=outcome["fix"])


def _kinds(base: type[HomebodyError]) -> list[type[HomebodyError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in _kinds(child))]


class _Spending:
    """Epsilon after each round, for the curve; the ledger is what counts."""

    def __init__(self, prepared: Prepared) -> None:
        spec = prepared.spec
        self._forecast: SpendForecast | None = None
        self._prepared = prepared
        self._coins = spec.ceiling is not None and spec.mechanism == "gaussian"
        self._decided = False
        # A correlated run is paid before anything else, statistics too.
        self._paid = 1 if spec.mechanism == "blt" and spec.rounds else 0
        if spec.ceiling is not None:
            tuned = [charge for _, charge in spec.tuning_charges()]
            passes = [one.charge() for one in spec.statistics]
            earlier = [*spent_before(prepared.folder, spec), *tuned, *passes]
            self._forecast = SpendForecast(spec.training_charge(), spec.accounted_delta, earlier)

    def __call__(self, rounds: int) -> float | None:
        if self._forecast is None or self._failed():
            return None
        return round_up(self._forecast.after(max(rounds, self._paid)), 3)

    def _failed(self) -> bool:
        """Tell whether a round was void for who came: no credit is then taken for secret coins."""
        folder = self._prepared.folder
        if self._coins and not self._decided:
            self._decided = read_ledger(folder.ledger_file)[0].decided
        return self._decided


def _means(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value["mean"] if isinstance(value, Mapping) else value
        for name, value in values.items()
    }
