"""One process of a sweep: ``python -m homebody_simulation.sweep_worker``.

It reads a piece of work a line from standard input and answers on standard output; whatever else
prints goes to standard error. It ends when its input does.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from homebody_privacy.environment import silence
from homebody_privacy.errors import HomebodyError
from homebody_simulation.request import Request
from homebody_simulation.sweep_grid import Grid, Point

Tell = Callable[[Mapping[str, Any]], None]

_INTERRUPTED = 130


def main() -> int:
    """Answer until there is nothing more to do."""
    silence()
    tell = _answers()
    try:
        for line in _lines():
            piece = json.loads(line)
            try:
                carry_out(piece, tell)
            except HomebodyError as error:
                told = {"code": error.code, "message": str(error), "fix": error.fix}
                tell({"refused": told, "ended": True})
            else:
                tell({"ended": True})
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def carry_out(piece: Mapping[str, Any], tell: Tell) -> None:
    """Do one piece: the run of a point, or the baselines beside it.

    Args:
        piece: As ``piece_of`` or ``baselines_piece`` make it.
        tell: Called with each look at a released model.

    Raises:
        HomebodyError: As the run raises it.
    """
    folder, grid = Path(piece["folder"]), Grid.from_dict(piece["grid"])
    if piece["point"] is None:
        from homebody_simulation.sweep_references import keep_references  # noqa: PLC0415 heavy

        keep_references(folder, grid)
        return
    point = Point(**piece["point"])
    request = grid.request(point, config=folder / "privacy.toml", runs=folder / "runs")
    run(request, tell)


def run(request: Request, tell: Tell) -> None:
    """Carry out a run that may have been begun, or ended, before.

    Raises:
        HomebodyError: As ``simulate`` raises it.
    """
    from homebody_simulation.simulate import resume, simulate  # noqa: PLC0415 heavy

    name = request.run_name()
    progress = _Told(tell)
    if (request.runs / name).exists():
        resume(request.runs, name, progress)
    else:
        simulate(replace(request, name=name), progress)


class _Told:
    """Tells the process above how far a run is."""

    def __init__(self, tell: Tell) -> None:
        """Tell by ``tell``."""
        self._tell = tell

    def begin(self, prepared: Any) -> None:  # noqa: ANN401 the run's, not loaded here
        """Say how many rounds there are."""
        self._tell({"rounds": prepared.spec.rounds})

    def statistic(self, name: str, answered: int) -> None:
        """Say nothing: statistics take seconds."""

    def point(self, point: Any) -> None:  # noqa: ANN401 the run's, not loaded here
        """Say which round was looked at."""
        self._tell({"round": point.round, "ndcg@10": point.ndcg})

    def end(self) -> None:
        """Nothing to say."""


def _answers() -> Tell:
    """Return what answers on standard output, and send everything else that prints to the log."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def tell(answer: Mapping[str, Any]) -> None:
        own.write(json.dumps(answer) + "\n")
        own.flush()

    return tell


def _lines() -> Iterator[str]:
    while line := sys.stdin.readline():
        yield line


if __name__ == "__main__":
    sys.exit(main())
