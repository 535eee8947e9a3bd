"""The thin ServerApp: open the run's folder, build the parts, drive the rounds, say how it ended.

It is the same in every runtime. The folder comes in the run config; everything else stands in it.
Errors never leave as exceptions: Flower would print their text into its logs and report success to
its own command line, so the outcome is a file.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from homebody_privacy.budget import Budget, earlier_charges
from homebody_privacy.errors import HomebodyError, IntegrityError
from homebody_privacy.ledger import Header, Ledger
from homebody_privacy.mechanisms import GaussianMechanism, NoNoise
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.release import Noise, Releaser
from homebody_server.rounds import Observer, drive, enrol
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import RunSpec
from homebody_server.strategy import Cohorts, HomebodyStrategy, RoundStreams

RUN_FOLDER = "run-folder"
"""Key of the run config that names the run's folder."""


@dataclass(frozen=True, slots=True)
class _RoundNoise:
    """Noise of one round, keyed for it alone."""

    mechanism: GaussianMechanism | NoNoise
    key: bytes

    def noise(self, dim: int) -> npt.NDArray[np.int64]:
        return self.mechanism.noise(dim, NoiseStream(self.key))


class _Charges:
    """The budget's side of the round loop."""

    def __init__(self, budget: Budget, spec: RunSpec) -> None:
        self._budget = budget
        self._charge = spec.charge()

    def open(self, number: int) -> None:
        self._budget.open(number, self._charge)

    def release(self, number: int, digest: str) -> None:
        self._budget.release(number, digest)


class _NoCharges:
    """A laboratory reference without differential privacy: there is nothing to charge."""

    def open(self, number: int) -> None:
        del number

    def release(self, number: int, digest: str) -> None:
        del number, digest


def open_ledger(folder: RunFolder, spec: RunSpec) -> Ledger:
    """Open the run's ledger, or start it; it refuses another process."""
    if folder.ledger_file.exists():
        return Ledger.open(folder.ledger_file)
    if spec.ceiling is None:
        raise IntegrityError("a run without differential privacy keeps no ledger")
    return Ledger.create(
        folder.ledger_file,
        Header(
            run=folder.name,
            population=spec.population,
            devices=spec.devices,
            delta=spec.delta,
            ceiling=spec.ceiling,
            config=spec.config_digest,
        ),
    )


def open_budget(folder: RunFolder, spec: RunSpec, ledger: Ledger) -> Budget:
    """Return the budget of the run, with what earlier runs spent where the scope is lifetime."""
    earlier = (
        earlier_charges(folder.path.parent, spec.population, exclude=folder.path)
        if spec.lifetime
        else []
    )
    if spec.ceiling is None:
        raise IntegrityError("a run without differential privacy has no budget")
    return Budget(ledger, earlier=earlier, ceiling=spec.ceiling, delta=spec.accounted_delta)


def run_rounds(grid: Grid, folder: RunFolder, observe: Observer) -> TrainState:
    """Run what is left of the run in ``folder`` and return its last state.

    Raises:
        HomebodyError: Whatever stopped the run; what was released before stands.
    """
    spec = RunSpec.from_dict(folder.read_json("run.json")["spec"])
    if spec.ceiling is None:
        return _train(grid, folder, spec, _NoCharges(), observe)
    with open_ledger(folder, spec) as ledger:
        spending = _Charges(open_budget(folder, spec, ledger), spec)
        state = folder.load_state()
        if ledger.opened == state.next_round - 1 == ledger.released + 1:
            spending.release(ledger.opened, state.digest())  # a crash came between the two
        if ledger.released != state.next_round - 1:
            raise IntegrityError("the ledger and the saved model disagree on the last release")
        return _train(grid, folder, spec, spending, observe)


def _train(
    grid: Grid,
    folder: RunFolder,
    spec: RunSpec,
    spending: _Charges | _NoCharges,
    observe: Observer,
) -> TrainState:
    state = folder.load_state()
    if state.next_round > spec.rounds:
        return state
    key = folder.read_key()
    mechanism = (
        NoNoise(lattice=spec.lattice)
        if spec.ceiling is None
        else GaussianMechanism(lattice=spec.lattice, noise_multiplier=spec.noise_multiplier)
    )
    releaser = Releaser(
        spec.tensors.values(),
        state.parameters,
        learning_rate=spec.learning_rate,
        lattice=spec.lattice,
        noise_multiplier=spec.noise_multiplier,
        expected_cohort=spec.cohort_size,
        server_optimizer=spec.server_optimizer,
    )
    releaser.restore(dict(state.optimizer))

    def coins(number: int) -> NoiseStream:
        return NoiseStream(derive_key(key, "coins", number))

    def noise(number: int) -> Noise:
        return _RoundNoise(mechanism, derive_key(key, "noise", number))

    strategy = HomebodyStrategy(
        run=folder.name,
        config_digest=spec.config_digest,
        cohorts=Cohorts(
            hosts=enrol(grid, spec.devices, spec.deadline_s),
            sampling_rate=spec.cohort_size / spec.devices,
            cohort_cap=spec.cohort_cap,
        ),
        releaser=releaser,
        streams=RoundStreams(coins=coins, noise=noise),
        deadline_s=spec.deadline_s,
        learning_rate=spec.learning_rate_at,
    )
    return drive(
        grid,
        strategy,
        releaser=releaser,
        first_round=state.next_round,
        rounds=spec.rounds,
        deadline_s=spec.deadline_s,
        spending=spending,
        save=folder.save_state,
        observe=observe,
    )


def build_server_app(observe: Observer | None = None) -> ServerApp:
    """Return the ServerApp; ``observe`` sees each released model and changes nothing.

    Args:
        observe: Called with round and released parameters, in the process of the ServerApp.
    """
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        folder = RunFolder(Path(str(context.run_config[RUN_FOLDER])))
        outcome: dict[str, object]
        try:
            state = run_rounds(grid, folder, observe or _nobody)
            outcome = {"ended": "finished", "rounds": state.next_round - 1}
        except HomebodyError as error:
            outcome = {
                "ended": error.code,
                "exit_code": error.exit_code,
                "message": str(error),
                "fix": error.fix,
            }
        folder.write_json("outcome.json", outcome)

    return server


def _nobody(number: int, parameters: npt.NDArray[np.float32]) -> None:
    """Observe nothing."""
    del number, parameters


app = build_server_app()
