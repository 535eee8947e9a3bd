"""What one real device computes for a fleet, from what its read gate gave and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from homebody_client.figures import figure_contribution
from homebody_client.host import Host
from homebody_client.record_files import RecordFiles
from homebody_client.statistic import statistic_of
from homebody_client.training import contribution
from homebody_models.interactions import Catalog, Interactions
from homebody_models.recommender import Recommender
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.lattice import Lattice
from homebody_privacy.messages import Invitation, Question

Parameters = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceModel:
    """Local computation of one model on one device.

    Where the config lists metrics, the latest event is held back: a device that trained on it could
    not say whether the model helps.

    Attributes:
        config: Privacy config in force on the device.
        model: The model being trained, over ``catalog``.
        catalog: Items by index; product ids it does not hold are skipped. Public.
        example_key: Chooses training examples; no privacy rests on it. Secret.
        records: What the device's records have spent, where the record level is on.
    """

    config: PrivacyConfig
    model: Recommender
    catalog: Catalog = field(repr=False)
    example_key: bytes = field(repr=False)
    records: RecordFiles | None = field(repr=False, default=None)

    def __post_init__(self) -> None:
        """Refuse a ceiling that nothing would count against."""
        record = self.config.dp.record
        limited = record is not None and record.enabled and record.epsilon_max is not None
        if limited and self.records is None:
            raise ValueError("the config limits what records spend: records must be given")

    @property
    def contribution_size(self) -> int:
        """Parameters that a round changes."""
        return self.model.layout.trained_size

    def update(
        self, history: Sequence[str], parameters: Parameters, asked: Invitation
    ) -> npt.NDArray[np.int32]:
        """Return what the device would add to a round or a statistic, on the lattice. Secret."""
        if asked.statistic is not None:
            host = self._host(history)
            statistic = statistic_of(host, asked.statistic, parameters)
            return statistic.total([host.history(0)]).astype(np.int32)
        return contribution(self._host(history), 0, parameters, asked.round, asked.clip_norm)

    def figures(
        self, history: Sequence[str], parameters: Parameters, asked: Question
    ) -> npt.NDArray[np.int32]:
        """Return what the device would add to a metric, on the lattice. Secret."""
        return figure_contribution(self._host(history), 0, parameters, asked.metric)

    def _host(self, history: Sequence[str]) -> Host:
        index = {name: number for number, name in enumerate(self.catalog.ids)}
        items = np.array([index[name] for name in history if name in index], np.int32)
        held_out = None
        if self.config.metrics:
            held_out = np.array([items[-1] if len(items) else -1], np.int32)
            items = items[:-1]
        return Host(
            config=self.config,
            model=self.model,
            histories=Interactions(
                ptr=np.array([0, len(items)], np.int64),
                items=items,
                times=np.arange(len(items), dtype=np.int64),
                values=np.ones(len(items), np.float32),
                repeats=True,
                catalog=self.catalog,
            ),
            devices=frozenset({0}),
            example_key=self.example_key,
            record_key=None,
            lattice=Lattice(clip_norm=self.config.dp.clip_norm, bits=self.config.dp.lattice_bits),
            records=self.records,
            held_out=held_out,
        )
