"""Audit builds: run the production pipeline with canaries and read its releases.

Nothing of the pipeline is replaced: folder, ledger, strategy, mechanism, optimizer, ClientApp and
the devices' own records are those of ``homebody simulate``; only model and histories are the
audit's. A release is read where the inner optimizer receives it, after the noise: it is public.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from homebody_models.recommender import Recommender
from homebody_privacy.errors import InfeasibleError
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.run_folder import TrainState
from homebody_simulation.audit.canaries import OVERSHOOT, CanaryModel, coins, plant
from homebody_simulation.audit.projections import Projections
from homebody_simulation.runtimes import run_cohort
from homebody_simulation.setup import Prepared


@dataclass(slots=True)
class Witness:
    """What an audit keeps of a run: who took part by the canaries' own account, and releases.

    Attributes:
        joined: Canaries by rounds.
        released: Sums on the canaries' rows in clip norms, one array a release.
        round: Round that is running, from 1.
    """

    joined: npt.NDArray[np.bool_] = field(repr=False)
    released: list[npt.NDArray[np.float64]] = field(default_factory=list, repr=False)
    round: int = 1

    def join(self, canary: int) -> None:
        """Note that a canary's device takes part in the round that is running."""
        self.joined[canary, self.round - 1] = True

    def observe(self, number: int, parameters: npt.NDArray[np.float32]) -> None:
        """Note that a round has ended."""
        del parameters
        self.round = number + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditBuild:
    """A run with canaries, not begun.

    Attributes:
        prepared: The run; its last devices are canaries.
        inside: Coins. Secret until the guesses are made.
        witness: What will be seen.
    """

    prepared: Prepared
    inside: npt.NDArray[np.bool_] = field(repr=False)
    witness: Witness = field(repr=False)

    @classmethod
    def of(cls, prepared: Prepared, canaries: int, key: bytes) -> "AuditBuild":
        """Plant canaries in a prepared run, in its folder too.

        Args:
            prepared: A run that has not begun; it is used up.
            canaries: How many of its devices are canaries.
            key: Key of the audit's coins, 32 bytes, used for nothing else. Secret.

        Raises:
            ValueError: If there are not more devices than canaries.
        """
        inside = coins(canaries, NoiseStream(key))
        witness = Witness(np.zeros((canaries, prepared.spec.rounds), np.bool_))
        histories = prepared.split.train
        model = CanaryModel(
            base=prepared.model,
            first_item=len(histories.catalog),
            inside=inside,
            length=OVERSHOOT * prepared.spec.clip_norm,
            joined=witness.join,
        )
        split = replace(prepared.split, train=plant(histories, canaries))
        build = with_model(replace(prepared, split=split), model)
        return cls(prepared=build, inside=inside, witness=witness)

    def run(self) -> Projections:
        """Run to the end and return what the releases show of the canaries.

        Raises:
            InfeasibleError: If the run stopped early, or a round was void.
            ValueError: If all coins fell on one side.
        """
        spec, seen = self.prepared.spec, self.witness.released
        scale = spec.cohort_size / spec.clip_norm

        def tap(mean: torch.Tensor) -> None:
            # What the optimizer receives is minus the sum over the expected cohort.
            seen.append(-scale * mean.double().numpy())

        with _releases(len(self.inside), tap):
            run_to_the_end(self.prepared, self.witness.observe)
        if len(seen) != spec.rounds:
            raise InfeasibleError(
                "a round of the audited run was void: whitening needs every release",
                fix="audit with a larger --cohort, or more devices",
            )
        return Projections(
            released=np.stack(seen, axis=1), inside=self.inside, joined=self.witness.joined
        )


def with_model(prepared: Prepared, model: Recommender) -> Prepared:
    """Return a prepared run with another model, in its folder too.

    Layers that the claim about the sums does not rest on are left out, for they would only blur
    what is measured: the record level, which draws its noise on the device before the clip, the
    figures about people, which have noise of their own, and the count that adapts the clip norm.
    The charged sensitivity of correlated noise grows with the number of parameters, by a share of
    1e-4 or less: noise grows with it, so that the run claims the same. Its budget is its
    own: nobody lives in an audit build.
    """
    config, spec = prepared.config, prepared.spec
    whole = spec.mechanism_for(model.layout.size).sensitivity
    multiplier = spec.noise_multiplier * max(1.0, whole / spec.sensitivity)
    changed = {
        "record": None,
        "adaptive_clip": False,
        "noise_multiplier": multiplier or None,
        "budget_scope": "run",
    }
    config = config.model_copy(update={"dp": config.dp.model_copy(update=changed)})
    spec = replace(
        spec,
        tensors=dict(model.layout.shapes),
        config_digest=config.digest(),
        noise_multiplier=multiplier,
        sensitivity=max(whole, spec.sensitivity),
        count_multiplier=None,
        metrics=(),
        lifetime=False,
    )
    folder = prepared.folder
    seed = int.from_bytes(derive_key(folder.read_key(), "init"), "little")
    folder.save_state(TrainState(1, model.init(np.random.default_rng(seed)), {}))
    folder.write_json("run.json", {**folder.read_json("run.json"), "spec": spec.to_dict()})
    return replace(prepared, config=config, spec=spec, model=model)


def run_to_the_end(
    prepared: Prepared, observe: Callable[[int, npt.NDArray[np.float32]], None]
) -> TrainState:
    """Train a prepared run in this process, as ``homebody simulate`` does.

    Raises:
        InfeasibleError: If it stopped early.
    """
    run_cohort(prepared, observe)
    outcome = prepared.folder.read_json("outcome.json")
    if outcome["ended"] != "finished":
        raise InfeasibleError(
            f"the audited run stopped: {outcome['message']}", fix=str(outcome["fix"])
        )
    return prepared.folder.load_state()


@contextmanager
def _releases(canaries: int, tap: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """Hand ``tap`` what each optimizer step receives on the canaries' tensor."""

    def before_step(
        optimizer: torch.optim.Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]
    ) -> None:
        rows = optimizer.param_groups[-1]["params"][-1]
        if rows.shape == (canaries,) and rows.grad is not None:
            tap(rows.grad)

    handle = register_optimizer_step_pre_hook(before_step)
    try:
        yield
    finally:
        handle.remove()
