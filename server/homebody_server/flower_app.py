"""The thin ServerApp: open the run's folder, build the parts, drive the rounds, say how it ended.

It is the same in every runtime. The folder comes in the run config; everything else stands in it.
Errors never leave as exceptions: Flower would print their text into its logs and report success to
its own command line, so the outcome is a file.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from homebody_privacy.adaptive_clip import AdaptiveClip
from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.errors import HomebodyError, PolicyViolationError
from homebody_privacy.mechanisms import BltMechanism, Mechanism, NoNoise
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.clipping_state import Clipping
from homebody_server.cohorts import Cohorts, PoissonCohorts, SeparatedCohorts
from homebody_server.gathering import Gatherer, Plain
from homebody_server.hosts import Hosts
from homebody_server.noise_ahead import NoiseAhead
from homebody_server.noise_state import NoiseVault
from homebody_server.record_entries import enter_opening, note_app
from homebody_server.release import Releaser
from homebody_server.rounds import Observer, drive
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import RunSpec
from homebody_server.secure.gatherer import Deployed
from homebody_server.secure.home import AggregatorHome
from homebody_server.secure.opening import secure_gatherer
from homebody_server.secure.pace import Pace
from homebody_server.secure.permit import Permit
from homebody_server.spending import Charged, Uncharged, open_budget, open_ledger
from homebody_server.stages import LOOKS, MESSAGES, NOISE, STATISTICS, Stages
from homebody_server.statistic_files import StatisticFiles
from homebody_server.statistics_stage import StatisticsStage
from homebody_server.strategy import HomebodyStrategy, RoundStreams

RUN_FOLDER = "run-folder"
"""Key of the run config that names the run's folder."""

HOME = "aggregator-home"
"""Key of the run config that names the folder of the server app's identity; absent or empty for
the run's own."""


@dataclass(frozen=True, slots=True)
class _RoundNoise:
    """Noise of one round, keyed for it alone."""

    ahead: NoiseAhead
    number: int
    stages: Stages

    def noise(self, dim: int) -> npt.NDArray[np.int64]:
        with self.stages.of(NOISE):
            return self.ahead.noise(self.number, dim)


def run_rounds(
    grid: Grid,
    folder: RunFolder,
    observe: Observer,
    *,
    home: Path | None = None,
    pace: Pace | None = None,
    stages: Stages | None = None,
) -> TrainState:
    """Run what is left of the run in ``folder`` and return its last state.

    Args:
        grid: How nodes are reached.
        folder: The run.
        observe: Called with each release; with 0 for the model that statistics led to.
        home: Folder of the server app's identity, for sealed sessions; None for the run's own.
        pace: Time and patience of sealed sessions.
        stages: Where the time goes is added up here.

    Raises:
        HomebodyError: Whatever stopped the run; what was released before stands.
    """
    spec = RunSpec.from_dict(folder.read_json("run.json")["spec"])
    if spec.seeded and spec.runtime == "deploy":
        raise PolicyViolationError(
            "a deployed run may not be seeded: whoever knows the seed subtracts the noise",
            fix="start the run without --seed",
        )
    if spec.runtime == "deploy" and not spec.secagg:
        raise PolicyViolationError(
            "a deployed run must be summed by secure aggregation",
            fix="leave --no-secagg out",
        )
    own = home or folder.aggregator_folder
    permit = Permit(folder=folder, spec=spec, fleet=own) if spec.runtime == "deploy" else None
    if permit is not None:
        permit.demand()
    with ExitStack() as stack:
        spending: Charged | Uncharged = Uncharged()
        if spec.ceiling is not None:
            ledger = stack.enter_context(open_ledger(folder, spec))
            enter_opening(ledger, folder, spec, installed_app())
            spending = Charged(open_budget(folder, spec, ledger), ledger, spec)
            spending.catch_up(folder.load_state())
            stack.push(partial(_sign_at_the_end, spending))
        spending.catch_up_statistics(StatisticFiles(folder).released())
        state = folder.load_state()
        begun = not spec.statistics or state.next_round > 1
        if begun and state.next_round > spec.rounds and not spec.metrics:
            return state
        note_app(folder, installed_app())
        gatherer: Gatherer = Plain(grid=grid, deadline_s=spec.deadline_s)
        if spec.secagg:
            deployed = None if permit is None else Deployed.of(permit)
            aggregator = AggregatorHome.open(own)
            gatherer = stack.enter_context(
                secure_gatherer(grid, folder, spec, aggregator, pace, deployed)
            )
        return _train(gatherer, folder, spec, spending, observe, stages or Stages(), permit)


def _sign_at_the_end(spending: Charged, kind: type[BaseException] | None, *_: object) -> None:
    """Sign where the ledger stands once the rounds are over or were refused, not after a crash."""
    if kind is None or issubclass(kind, HomebodyError):
        spending.sign()


def _train(
    gatherer: Gatherer,
    folder: RunFolder,
    spec: RunSpec,
    spending: Charged | Uncharged,
    observe: Observer,
    stages: Stages,
    permit: Permit | None,
) -> TrainState:
    with stages.of(MESSAGES):
        hosts = gatherer.enrol(spec.devices)
    spending.start()
    spending.sign()  # a witness may cosign the opening of the run before anybody trains
    state = folder.load_state()
    if spec.statistics:
        stage = StatisticsStage.of(spec, folder, gatherer=gatherer, hosts=hosts, spending=spending)
        with stages.of(STATISTICS):
            state = stage.finish()
        if state.next_round == 1:
            with stages.of(LOOKS):
                observe(0, state.parameters.copy())
    key = folder.read_key()
    mechanism = spec.mechanism_for(spec.trained_size) if spec.rounds else NoNoise(spec.lattice)
    releaser = Releaser(
        [shape for name, shape in spec.tensors.items() if name not in spec.frozen],
        state.parameters,
        learning_rate=spec.learning_rate,
        lattice=spec.lattice,
        noise_multiplier=spec.noise_multiplier,
        expected_cohort=spec.cohort_size,
        server_optimizer=spec.server_optimizer,
        fine_bits=mechanism.fine_bits if isinstance(mechanism, BltMechanism) else None,
        frozen=spec.frozen_size,
    )
    releaser.restore(dict(state.optimizer))
    vault = _restored(folder, key, mechanism, state.next_round - 1)
    with NoiseAhead(
        mechanism,
        lambda number: derive_key(key, "noise", number),
        dim=spec.trained_size,
        rounds=spec.rounds,
        keep=vault.keep if vault else None,
    ) as ahead:
        strategy = HomebodyStrategy(
            run=spec.run_id or folder.name,
            config_digest=spec.config_digest,
            cohorts=_cohorts(spec, hosts),
            releaser=releaser,
            streams=_streams(key, ahead, stages),
            deadline_s=spec.deadline_s,
            learning_rate=spec.learning_rate_at,
            report_goal=spec.report_goal,
            clipping=_clipping(spec, state),
            everybody=spec.secagg and len(hosts.nodes) < len(hosts),
        )
        if state.next_round <= spec.rounds:
            ahead.begin(state.next_round)
        return drive(
            gatherer,
            strategy,
            releaser=releaser,
            numbers=range(state.next_round, spec.rounds + 1),
            spending=spending,
            save=folder.save_state,
            observe=observe,
            interrupted=spec.runtime == "deploy" and spending.is_open(state.next_round),
            stages=stages,
            permit=None if permit is None else permit.demand,
        )


def _cohorts(spec: RunSpec, hosts: Hosts) -> Cohorts:
    if spec.mechanism == "blt" and spec.rounds:
        return SeparatedCohorts(
            hosts=hosts, cohort_size=spec.cohort_size, participation=spec.participation
        )
    return PoissonCohorts(
        hosts=hosts,
        sampling_rate=spec.cohort_size / spec.devices,
        cohort_cap=spec.cohort_cap,
    )


def _streams(key: bytes, ahead: NoiseAhead, stages: Stages) -> RoundStreams:
    """Return the run's streams; every round and use has a key of its own."""

    def stream(*labels: str | int) -> NoiseStream:
        return NoiseStream(derive_key(key, *labels))

    return RoundStreams(
        coins=lambda number: stream("coins", number),
        noise=lambda number: _RoundNoise(ahead, number, stages),
        counts=lambda number: stream("counts", number),
        figures=lambda purchase: stream("figures", purchase),
    )


def _clipping(spec: RunSpec, state: TrainState) -> Clipping | None:
    if spec.count_multiplier is None:
        return None
    return Clipping(
        rule=AdaptiveClip(cohort_size=spec.cohort_size, count_multiplier=spec.count_multiplier),
        clip_norm=spec.clip_norm if state.clip_norm is None else state.clip_norm,
        bits=spec.lattice_bits,
        share=state.unclipped,
    )


def _restored(folder: RunFolder, key: bytes, mechanism: Mechanism, done: int) -> NoiseVault | None:
    """Restore correlated noise to after round ``done``; return where its state is kept."""
    if not mechanism.state():
        return None
    vault = NoiseVault(folder.noise_folder, folder.name, derive_key(key, "noise-state"))
    if done:
        mechanism.restore(vault.recall(done))
    return vault


def build_server_app(observe: Observer | None = None, stages: Stages | None = None) -> ServerApp:
    """Return the ServerApp; ``observe`` sees each released model and changes nothing.

    Args:
        observe: Called with round and released parameters, in the process of the ServerApp.
        stages: Where the time goes is added up here.
    """
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        folder = RunFolder(Path(str(context.run_config[RUN_FOLDER])))
        named = str(context.run_config.get(HOME, ""))
        outcome: dict[str, object]
        try:
            home = Path(named) if named else None
            state = run_rounds(grid, folder, observe or _nobody, home=home, stages=stages)
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
