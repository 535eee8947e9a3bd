"""``from homebody import simulate``: a run in one call."""

from pathlib import Path

from homebody_privacy.protection import Mechanism, Recipe
from homebody_simulation.request import EngineName, Request, Runtime
from homebody_simulation.simulate import SimulatedRun
from homebody_simulation.simulate import simulate as carry_out


def simulate(  # noqa: PLR0913 - one keyword an option of the command
    data: str = "complete-journey",
    *,
    config: Path | str = "privacy.toml",
    epsilon: float | None = 4.0,
    rounds: int | None = None,
    cohort: int | None = None,
    model: str = "two-tower",
    runtime: Runtime = "cohort",
    mechanism: Mechanism | None = None,
    seed: int | None = None,
    secagg: bool | None = None,
    recipe: Recipe | None = None,
    refit: bool = False,
    engine: EngineName = "auto",
    threads: int | None = None,
    availability: float = 1.0,
    drop_out: float = 0.0,
    slow: float = 0.0,
    name: str | None = None,
    runs: Path | str = "runs",
    **options: object,
) -> SimulatedRun:
    """Train a recommender over simulated devices and return the finished run.

    Args:
        data: Name of the data set.
        config: The privacy config; without a valid one nothing trains.
        epsilon: User-level epsilon to spend at most; None trains without differential privacy, as
            a laboratory reference.
        rounds: Rounds, at most the config's; None for as many.
        cohort: Expected devices a round; None for the config's.
        model: ``two-tower``, ``matrix-factorization``, ``logistic-factorization`` or
            ``popularity``.
        runtime: ``cohort`` in this process, ``ray`` on Flower's simulation runtime.
        mechanism: ``blt`` or ``gaussian``; None for the config's.
        seed: Keys everything random, noise included; the model may then not be published.
        secagg: Seal replies and sum them by secure aggregation; None for the runtime's way:
            ``cohort`` does not, ``ray`` does.
        recipe: ``statistics``, ``rounds`` or ``both``; None for the config's.
        refit: Train on all but the last event: no item is held back to judge or choose by.
        engine: What trains the devices; ``auto`` chooses.
        threads: Threads of an engine; None for one a processor.
        availability: Chance that a simulated device is online when it is asked.
        drop_out: Chance that a device trains and then vanishes.
        slow: Chance that an answer comes after the deadline.
        name: Name of the run; None makes one.
        runs: Folder of all runs.
        options: Options of the data set's loader, such as ``devices`` of ``synthetic``.

    Raises:
        HomebodyError: If anything is refused; its ``code``, ``exit_code`` and ``fix`` say what.
    """
    return carry_out(
        Request(
            data=data,
            options=options,
            config_file=Path(config),
            epsilon=epsilon,
            rounds=rounds,
            cohort=cohort,
            model=model,
            runtime=runtime,
            mechanism=mechanism,
            seed=seed,
            secagg=secagg,
            recipe=recipe,
            refit=refit,
            engine=engine,
            threads=threads,
            availability=availability,
            drop_out=drop_out,
            slow=slow,
            name=name,
            runs=Path(runs),
        )
    )
