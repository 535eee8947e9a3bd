"""The model that is attacked and its shadows: the same run, each on its own half of the devices.

A device that is out keeps its number and sends zeros, as zero-out adjacency has it.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from homebody_models.draws import Draws
from homebody_models.interactions import Interactions
from homebody_models.recommender import Recommender
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.run_folder import RunFolder
from homebody_simulation.audit.build import run_to_the_end, with_model
from homebody_simulation.audit.canaries import coins
from homebody_simulation.audit.membership import Losses
from homebody_simulation.audit.projections import Flags, Matrix
from homebody_simulation.setup import Prepared


def train_with_shadows(prepared: Prepared, shadows: int, folder: Path, key: bytes) -> Losses:
    """Train a model and ``shadows`` like it, and return every device's loss under each.

    Args:
        prepared: A run that has not begun; it is copied, not used up.
        shadows: How many shadow models, at least 2.
        folder: Where the runs' folders are made, each in a folder of its own.
        key: Key of the runs' own keys and of who is in, 32 bytes. Secret.

    Raises:
        HomebodyError: Whatever stopped a run.
        ValueError: If there are fewer than two shadows.
    """
    if shadows < 2:  # noqa: PLR2004 below two there is no spread to compare with
        raise ValueError(f"shadows must be at least 2, got {shadows}")
    runs = list(_runs(prepared, shadows + 1, folder, key))
    losses, members = (np.stack(parts) for parts in zip(*runs, strict=True))
    return Losses(
        target=losses[0], members=members[0], shadows=losses[1:], shadow_members=members[1:]
    )


def _runs(
    prepared: Prepared, count: int, folder: Path, key: bytes
) -> Iterator[tuple[Matrix, Flags]]:
    histories = prepared.split.train
    for number in range(count):
        members = coins(histories.devices, NoiseStream(derive_key(key, "members", number)))
        own = RunFolder(folder / f"{number}" / "run")
        own.path.mkdir(parents=True)
        own.write_json("run.json", prepared.folder.read_json("run.json"))
        own.write_key(derive_key(key, "run", number))
        split = replace(prepared.split, train=_only(histories, members))
        run = with_model(replace(prepared, folder=own, split=split), prepared.model)
        state = run_to_the_end(run, _nobody)
        yield losses_of(run.model, state.parameters, histories), members


def losses_of(
    model: Recommender,
    parameters: npt.NDArray[np.float32],
    histories: Interactions,
) -> Matrix:
    """Return each device's loss under a model, ``(devices,)``; NaN for too short a history."""
    return np.array(
        [
            # The same positions of a history under every model: no secret, and no noise.
            model.local_gradient(parameters, histories.history(device), Draws.of(0, device)).loss
            for device in range(histories.devices)
        ]
    )


def _only(histories: Interactions, members: Flags) -> Interactions:
    """Return the histories with those of non-members emptied."""
    lengths = np.diff(histories.ptr)
    kept = np.where(members, lengths, 0)
    rows = np.repeat(members, lengths)
    return replace(
        histories,
        ptr=np.concatenate([[0], np.cumsum(kept)]).astype(np.int64),
        items=histories.items[rows],
    )


def _nobody(number: int, parameters: npt.NDArray[np.float32]) -> None:
    """Observe nothing."""
    del number, parameters
