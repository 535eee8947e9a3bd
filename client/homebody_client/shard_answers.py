"""What the devices of one simulated node add up to, by their own records and the node's config."""

import numpy as np
import numpy.typing as npt

from homebody_client.allowance import (
    metric_allowance,
    statistics_allowance,
    training_allowance,
)
from homebody_client.figures import figure_contribution
from homebody_client.host import Host
from homebody_client.statistic import statistic_of
from homebody_client.training import shard_contribution
from homebody_models.device_metrics import figure_names
from homebody_models.recommender import model_digest
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.messages import Invitation, Question, StatisticName


def shard_update(
    host: Host, asked: Invitation, parameters: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Train the invited devices that may join, and return the sum of their integers. Secret.

    Of a statistic it is the sum of what they add to that.

    Raises:
        PolicyViolationError: If the server runs another config, or the config does not list the
            statistic.
        IntegrityError: If the devices' record was deleted, cut or put back, or a statistic's
            broadcast is malformed.
    """
    _check_digest(asked.config_digest, host)
    if asked.statistic is not None:
        return _shard_statistic(host, asked, asked.statistic, parameters)
    if asked.clip_norm is not None and not host.config.dp.adaptive_clip:
        raise PolicyViolationError("the config in force has one clip norm")
    joining = host.online(asked.devices, asked.round)
    if host.participation is not None and len(joining):
        allowance = training_allowance(host.config, asked.run, host.model.layout.trained_size)
        joining = host.admitted(joining, allowance, asked.round, model_digest(parameters))
    joining = host.delivering(joining, asked.round)
    return shard_contribution(host, joining, parameters, asked.round, asked.clip_norm)


def _shard_statistic(
    host: Host, asked: Invitation, name: StatisticName, broadcast: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Return the sum of what the asked devices that may join add to a statistic. Secret."""
    statistic = statistic_of(host, name, broadcast)
    joining = host.online(asked.devices, asked.round, name)
    if host.participation is not None and len(joining):
        allowance = statistics_allowance(host.config, asked.run, name, again=host.simulated)
        joining = host.admitted(joining, allowance, asked.round, model_digest(broadcast))
    joining = host.delivering(joining, asked.round, name)
    if host.engine is not None:
        host.check_hosted(joining)
        return host.engine.statistic(joining, name, broadcast)
    return statistic.total(map(host.history, joining.tolist()))


def shard_figures(
    host: Host, asked: Question, parameters: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Return the sum of what the asked devices that may join add to a figure. Secret.

    Raises:
        PolicyViolationError: As ``shard_update``, or if the config does not list the metric.
        IntegrityError: As ``shard_update``.
    """
    _check_digest(asked.config_digest, host)
    metric = host.config.metrics.get(asked.metric)
    if metric is None:
        raise PolicyViolationError("the config in force does not list this metric")
    allowance = metric_allowance(host.config, asked.run, asked.metric, metric)
    joining = host.online(asked.devices, asked.round, asked.metric)
    if len(joining):
        joining = host.admitted(joining, allowance, asked.round, model_digest(parameters))
    joining = host.delivering(joining, asked.round, asked.metric)
    if host.engine is not None:
        host.check_hosted(joining)
        return host.engine.figure(joining, parameters, asked.metric)
    total = np.zeros(len(figure_names(asked.metric)), np.int64)
    for device in joining.tolist():
        total += figure_contribution(host, device, parameters, asked.metric)
    return total


def answered(host: Host, asked: Invitation | Question) -> int:
    """Return from how many of the asked devices a server of single devices hears in time.

    One that may not join by its own record is heard, too: it answers zeros.
    """
    about = (asked.metric if isinstance(asked, Question) else asked.statistic) or ""
    there = host.online(asked.devices, asked.round, about)
    return len(host.delivering(there, asked.round, about))


def _check_digest(digest: str, host: Host) -> None:
    if digest != host.config_digest:
        raise PolicyViolationError("the server runs another privacy config")
