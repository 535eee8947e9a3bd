"""``from homebody import sweep``: many runs over a grid of settings, and what they came to.

Each point is a run like any other, in a folder of its own; a sweep adds none of its own releases.
What is finished is found again by name, so that an interrupted sweep goes on.
"""

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.durable import write_durably
from homebody_privacy.environment import silence
from homebody_privacy.errors import IntegrityError, InvalidFileError, UsageError
from homebody_simulation.frontier import Frontier
from homebody_simulation.frontier_rows import RunFigures
from homebody_simulation.planning import check_request
from homebody_simulation.sweep_crew import Crew, Piece
from homebody_simulation.sweep_grid import EPSILONS, SEEDS, Grid, Tuning, check_tuning, in_order
from homebody_simulation.sweep_references import read_references
from homebody_simulation.sweep_tuning import price, words

WORKER: Final = (sys.executable, "-m", "homebody_simulation.sweep_worker")
BASELINES: Final = "baselines"
_SCHEMA: Final = "sweep/1"


class Progress(Protocol):
    """Shows a person how far a sweep is; nothing depends on it."""

    def begin(self, names: Sequence[str], done: Sequence[str]) -> None:
        """Work starts on the pieces ``names``; those of ``done`` were finished before."""
        ...

    def tell(self, piece: Piece, answer: Mapping[str, Any]) -> None:
        """A process said how far its piece is."""
        ...

    def end(self) -> None:
        """Work ended, one way or another."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, names: Sequence[str], done: Sequence[str]) -> None:
        """Ignore the start."""

    def tell(self, piece: Piece, answer: Mapping[str, Any]) -> None:
        """Ignore an answer."""

    def end(self) -> None:
        """Ignore the end."""


def sweep(  # noqa: PLR0913 - one keyword an option of the command
    data: str = "complete-journey",
    *,
    config: Path | str = "privacy.toml",
    epsilon: Iterable[float | None] = EPSILONS,
    seeds: Iterable[int] | int = SEEDS,
    model: str | Iterable[str] = "two-tower",
    mechanism: str | Iterable[str] | None = None,
    recipe: str | Iterable[str] | None = None,
    rounds: int | None = None,
    cohort: int | None = None,
    tuning: Tuning | None = None,
    quick: bool = False,
    jobs: int | None = None,
    out: Path | str = "sweep",
    resume: bool = False,
    progress: Progress | None = None,
    **options: object,
) -> Frontier:
    """Run every combination of settings and return utility against epsilon.

    Args:
        data: Name of the data set.
        config: The privacy config; without a valid one nothing trains.
        epsilon: User-level epsilons; None trains without differential privacy.
        seeds: Noise seeds, or how many: 0, 1, ...
        model: ``two-tower``, ``matrix-factorization``, ``logistic-factorization`` or
            ``popularity``, or some of them.
        mechanism: ``blt``, ``gaussian`` or both; None for the config's.
        recipe: ``statistics``, ``rounds``, ``both``, or some of them; None for the config's.
        rounds: Rounds of each run, at most the config's; None for as many.
        cohort: Expected devices a round; None for the config's.
        tuning: ``public``: the data is public, or of other people than a model is for; ``private``:
            what is chosen by the sweep is charged. None for what the config says.
        quick: Three epsilons, one seed and few rounds, for a first look.
        jobs: Processes; None for one a core.
        out: Folder of the sweep; made.
        resume: Whether to go on with the sweep of ``out``, as it was begun; the other arguments,
            but ``jobs``, are not used.
        progress: Shows how far it is; None shows nothing.
        options: Options of the data set's loader.

    Raises:
        HomebodyError: If anything is refused. What is finished is kept.
    """
    folder = Path(out)
    if not resume:
        approved = PrivacyConfig.load(Path(config))
        grid = Grid(
            data=data,
            options=options,
            epsilons=in_order(epsilon),
            models=_some(model),
            mechanisms=_some(mechanism),
            recipes=_some(recipe),
            seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
            rounds=rounds,
            cohort=cohort,
            tuning=check_tuning(tuning, approved),
        )
        begin(folder, grid.thinned(approved) if quick else grid, Path(config))
    return carry_out(folder, jobs=jobs, progress=progress)


def _some(values: Any) -> tuple[Any, ...]:  # noqa: ANN401 checked by Grid
    return (values,) if values is None or isinstance(values, str) else tuple(values)


def begin(folder: Path, grid: Grid, config_file: Path) -> None:
    """Write down what is to be swept; nothing is run.

    Raises:
        UsageError: If there is a sweep in ``folder`` already.
        PolicyViolationError: If a run passes what the config allows.
        InvalidFileError: If the folder cannot be written.
    """
    if (folder / "sweep.json").exists():
        raise UsageError(
            f"there is a sweep in {folder} already",
            fix="go on with it by --resume, or name another folder with --out",
        )
    config = PrivacyConfig.load(config_file)
    for point in grid.points():
        check_request(grid.request(point, config=config_file, runs=folder / "runs"), config)
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(config_file, folder / "privacy.toml")
        asked = {"schema": _SCHEMA, "config": config.digest(), "grid": grid.to_dict()}
        text = json.dumps(asked, indent=1, ensure_ascii=False, allow_nan=False)
        write_durably(folder / "sweep.json", f"{text}\n".encode())
    except OSError as error:
        raise InvalidFileError(
            f"{folder} cannot be written: {error.strerror}", fix="name another folder with --out"
        ) from error


def reopen(folder: Path) -> tuple[Grid, PrivacyConfig]:
    """Return what the sweep of a folder was begun with.

    Raises:
        InvalidFileError: If there is no sweep.
        IntegrityError: If what it was begun with was changed since.
    """
    try:
        asked = json.loads((folder / "sweep.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidFileError(
            f"there is no sweep in {folder}", fix="begin one without --resume"
        ) from error
    try:
        grid, digest = Grid.from_dict(asked["grid"]), asked["config"]
    except (KeyError, TypeError, UsageError) as error:
        raise IntegrityError(f"{folder / 'sweep.json'} is not what a sweep writes") from error
    config = PrivacyConfig.load(folder / "privacy.toml")
    if config.digest() != digest:
        raise IntegrityError(f"{folder / 'privacy.toml'} is not what the sweep was begun with")
    return grid, config


def carry_out(
    folder: Path,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
    worker: Sequence[str] = WORKER,
) -> Frontier:
    """Run what is not finished of a folder's sweep, and write what all of it came to.

    Args:
        folder: Of the sweep.
        jobs: Processes; None for one a core.
        progress: Shows how far it is.
        worker: Command of a process.

    Raises:
        HomebodyError: The first refusal of a run; the others are brought to their end.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}")
    silence()  # workers inherit it
    shown = progress or Silent()
    with _alone(folder):
        grid, config = reopen(folder)
        pieces = _pieces(folder, grid)
        done = [piece["name"] for piece in pieces if _is_done(folder, piece)]
        shown.begin([piece["name"] for piece in pieces], done)
        with Crew(worker, jobs or _cores(), folder / "sweep.log") as crew:
            try:
                crew.work([p for p in pieces if p["name"] not in done], shown.tell)
            finally:
                shown.end()
        frontier = collect(folder, grid, config)
        frontier.save(folder)
    return frontier


def collect(folder: Path, grid: Grid, config: PrivacyConfig) -> Frontier:
    """Return the frontier of a sweep all of whose runs are finished."""
    runs, task = [], ""
    for point in grid.points():
        file = folder / "runs" / point.name / "report.json"
        report = json.loads(file.read_text("utf-8"))
        runs.append(RunFigures.of(point, report))
        task = report["utility"]["task"]
    devices, baselines = read_references(folder, task)
    frontier = Frontier(
        grid=grid,
        task=task,
        delta=config.dp.delta,
        devices=devices,
        runs=tuple(runs),
        baselines=baselines,
        tuning=words(grid.tuning),
    )
    if grid.tuning == "public":
        return frontier
    chosen = frontier.chosen()
    return frontier.priced(price(folder, frontier.runs, chosen, config))


def _pieces(folder: Path, grid: Grid) -> list[Piece]:
    """Return the work: first what would be refused, then what takes longest."""
    common = {"folder": str(folder), "grid": grid.to_dict()}
    points: list[Piece] = [
        {**common, "name": point.name, "point": asdict(point)} for point in grid.points()
    ]
    first, *rest = points
    bare = [piece for piece in rest if piece["point"]["epsilon"] is None]
    others = [piece for piece in rest if piece["point"]["epsilon"] is not None]
    return [first, {**common, "name": BASELINES, "point": None}, *bare, *others]


def _is_done(folder: Path, piece: Piece) -> bool:
    if piece["point"] is None:
        return (folder / "baselines.json").exists()
    run = folder / "runs" / str(piece["name"])
    return (run / "report.json").exists() and not (run / "run.key").exists()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep another process from the same sweep.

    Raises:
        InvalidFileError: If there is no such folder.
        UsageError: If another process is at it.
    """
    try:
        descriptor = os.open(folder / "sweep.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InvalidFileError(
            f"there is no sweep in {folder}", fix="begin one without --resume"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UsageError(
            f"another process is at the sweep in {folder}", fix="wait for it, or end it"
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)
