"""Train on a fleet what its nodes were assigned, from start to report."""

from dataclasses import replace
from pathlib import Path

from homebody_privacy.errors import UsageError
from homebody_server.fleet import Fleet
from homebody_simulation.deploy_assign import Assignment
from homebody_simulation.deploy_run import demand_up
from homebody_simulation.request import DEADLINE_S
from homebody_simulation.setup import prepare
from homebody_simulation.simulate import Progress, Silent, SimulatedRun, carry_out


def train(
    fleet: Path,
    *,
    data: str | None = None,
    runs: Path = Path("runs"),
    name: str | None = None,
    deadline_s: float = DEADLINE_S,
    progress: Progress | None = None,
) -> SimulatedRun:
    """Train on a fleet, evaluate, sign and report.

    Args:
        fleet: Folder of the fleet; it is up, and its nodes were assigned what they host.
        data: Name of the data set they were assigned; None for whatever it is.
        runs: Folder of all runs.
        name: Name of the run; None makes one.
        deadline_s: Seconds after which a round goes on without who is missing.
        progress: Shows how far it is; None shows nothing.

    Raises:
        UsageError: If the nodes were assigned other data.
        DependencyError: If the fleet is not up.
        HomebodyError: As ``simulate.simulate``.
    """
    assignment = Assignment.load(fleet)
    if data is not None and data != assignment.data:
        raise UsageError(
            f"the fleet's nodes host {assignment.data!r}, not {data!r}",
            fix="leave --data out, or assign the nodes anew: homebody fleet assign",
        )
    asked = assignment.request(fleet, runs=runs, name=name)
    request = replace(asked, deadline_s=deadline_s)
    demand_up(Fleet.open(fleet))
    prepared = prepare(request, assignment.accept)
    return carry_out(prepared, progress or Silent())
