"""The workload in pfl (PyPI ``pfl``): its federated averaging, its Gaussian mechanism, PyTorch.

Set up to be as fast as pfl allows: sparse gradients, one thread a process, no evaluation. User
vectors lie outside the aggregated variables, in a file that all processes map. With several
processes, users are dealt out by the length of their history, as pfl can.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from job import Clock, Job, answer, read_job
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByUser
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.context import CentralContext
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.data.user_state import AbstractUserStateStorage
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from pfl.privacy.gaussian_mechanism import GaussianMechanism
from pfl.privacy.privacy_mechanism import CentrallyAppliedPrivacyMechanism
from pfl.stats import MappedVectorStatistics
from torch.nn.functional import binary_cross_entropy_with_logits
from world import (
    BATCH,
    CLIP_NORM,
    DIM,
    ITEMS,
    NEGATIVES,
    NOISE_MULTIPLIER,
    World,
    cohort,
    device_keys,
    negatives,
    round_key,
)

_FIRST = 1
"""pfl evaluates in its iteration 0, whatever it is told: rounds start at 1."""


class Factorization(torch.nn.Module):
    """A table of items, and the vector of the user being trained, which is no parameter."""

    def __init__(self, world: World) -> None:
        """Start from the world's table."""
        super().__init__()
        self.table = torch.nn.Embedding(ITEMS, DIM, sparse=True)
        self.table.weight.data.copy_(torch.from_numpy(world.table.copy()))
        self.user = torch.zeros(DIM, requires_grad=True)
        self._labels = torch.zeros(BATCH, 1 + NEGATIVES)
        self._labels[:, 0] = 1.0

    def loss(self, items: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch: positives in the first column, their negatives beside."""
        scores = self.table(items) @ self.user
        labels = self._labels[: len(items)]
        return binary_cross_entropy_with_logits(scores, labels, reduction="sum") / len(items)

    def metrics(self, items: torch.Tensor) -> dict[str, Any]:
        """Measure nothing: pfl demands the method."""
        del items
        return {}


class MappedStates(AbstractUserStateStorage):
    """User vectors in a mapped file, which all processes share."""

    def __init__(self, users: torch.Tensor) -> None:
        """Keep the vectors, one row a user."""
        self._users = users

    def clear_states(self) -> None:
        """Forget nothing: the benchmark has one run."""

    def save_state(self, state: dict[str, Any], user_id: int, key: str | None = None) -> None:
        """Keep a user's vector."""
        del key
        self._users[user_id] = state["user"]

    def load_state(self, user_id: int, key: str | None = None) -> dict[str, Any]:
        """Return a user's vector."""
        del key
        return {"user": self._users[user_id]}


class WithUserVectors(FederatedAveraging):
    """Federated averaging that brings each user's vector and takes it back."""

    def __init__(self, states: MappedStates) -> None:
        """Start after the iteration that always evaluates."""
        super().__init__()
        self._states = states
        self._current_central_iteration = _FIRST

    def train_one_user(
        self,
        initial_model_state: MappedVectorStatistics,
        model: PyTorchModel,
        user_dataset: PyTorchTensorDataset,
        central_context: CentralContext,
    ) -> tuple[MappedVectorStatistics, Metrics]:
        """Train with the user's own vector."""
        user = model.pytorch_model.user
        user.data.copy_(self._states.load_state(user_dataset.user_id)["user"])
        user.grad = None
        found = super().train_one_user(initial_model_state, model, user_dataset, central_context)
        self._states.save_state({"user": user.data}, user_dataset.user_id)
        return found


class Laps(TrainingProcessCallback):
    """Tells the clock that a round ended."""

    def __init__(self, clock: Clock) -> None:
        """Keep the clock."""
        self._clock = clock

    def on_train_begin(self, *, model: PyTorchModel) -> Metrics:
        """Start the clock."""
        del model
        self._clock.start()
        return Metrics()

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        """Count the round."""
        del aggregate_metrics, model, central_iteration
        self._clock.lap()
        return False, Metrics()


def sampler(world: World, size: int) -> Callable[[], int]:
    """Return what gives the users of each round's cohort, one at a call."""

    def users() -> Iterator[int]:
        number = 0
        while True:
            yield from cohort(world, number, size).tolist()
            number += 1

    drawn = users()
    return lambda: next(drawn)


def datasets(job: Job, world: World, algorithm: WithUserVectors) -> FederatedDataset:
    """Return the users: what each trains on in the round that the algorithm is in."""
    histories = torch.from_numpy(world.items.astype("int64"))

    def dataset(user: int) -> PyTorchTensorDataset:
        start, stop = int(world.ptr[user]), int(world.ptr[user + 1])
        key = device_keys(round_key(algorithm._current_central_iteration - _FIRST), user)  # noqa: SLF001 - no other way to ask
        drawn = torch.from_numpy(negatives(key, stop - start))
        pairs = torch.cat((histories[start:stop, None], drawn), dim=1)
        return PyTorchTensorDataset((pairs,), user_id=user)

    weights = dict(enumerate((world.ptr[1:] - world.ptr[:-1]).tolist()))
    return FederatedDataset(
        dataset, sampler(world, job.cohort), user_id_to_weight=weights if job.workers > 1 else None
    )


def main() -> None:
    """Run the job; of several processes the first answers."""
    torch.set_num_threads(1)
    job = read_job()
    world = job.world()
    before = world.table.copy()
    users = torch.from_numpy(job.own_users())
    module = Factorization(world)

    def local_optimizer(parameters: Iterator[torch.Tensor], lr: float) -> torch.optim.Optimizer:
        own = {"params": [module.user], "lr": job.rates.user}
        return torch.optim.SGD([{"params": list(parameters)}, own], lr=lr)

    model = PyTorchModel(module, local_optimizer, torch.optim.SGD(module.parameters(), lr=1.0))
    noise = 0.0 if job.check else NOISE_MULTIPLIER
    algorithm = WithUserVectors(MappedStates(users))
    data = datasets(job, world, algorithm)
    privacy = CentrallyAppliedPrivacyMechanism(GaussianMechanism(CLIP_NORM, noise))
    backend = SimulatedBackend(data, data, postprocessors=[WeightByUser(), privacy])
    clock = Clock(job.warm, os.getppid() if job.workers > 1 else None)
    algorithm.run(
        NNAlgorithmParams(
            central_num_iterations=job.all_rounds + _FIRST,
            evaluation_frequency=1 << 30,
            train_cohort_size=job.cohort,
            val_cohort_size=None,
        ),
        backend,
        model,
        NNTrainHyperParams(
            local_batch_size=BATCH, local_num_epochs=1, local_learning_rate=job.rates.rows
        ),
        callbacks=[Laps(clock)],
        send_metrics_to_platform=False,
    )
    if int(os.environ.get("RANK", "0")) == 0:
        after = module.table.weight.detach().double().numpy()
        answer(
            job,
            clock.found(),
            (after - before) * job.cohort if job.check else None,
            ("pfl", "torch"),
        )


if __name__ == "__main__":
    main()
