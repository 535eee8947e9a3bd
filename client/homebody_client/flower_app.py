"""The thin ClientApp: read the message, train what it asks for, let the one reply out.

Every exit of a node is ``reply_with``. An exception must not leave a device (Flower would send its
text to the server), so what goes wrong is answered with a code.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from homebody_client.allowance import metric_allowance, training_allowance
from homebody_client.figures import figure_contribution
from homebody_client.host import Host, open_host
from homebody_client.training import shard_contribution
from homebody_models.device_metrics import figure_names
from homebody_models.recommender import model_digest
from homebody_privacy import messages
from homebody_privacy.errors import HomebodyError, PolicyViolationError
from homebody_privacy.messages import Invitation, Question

Opener = Callable[[Context], Host]
Work = Callable[[Message, Host], RecordDict]

DEFECT = "defect"
"""Code of a decline for a reason the device did not foresee."""


def _from_context(context: Context) -> Host:
    return open_host(context.run_config, context.node_config)


def reply_with(content: RecordDict, asked: Message) -> Message:
    """Send ``content``: integers of one contribution, an enrolment or a code, nothing else."""
    arrays = {key for record in content.array_records.values() for key in record}
    values = {key for record in content.config_records.values() for key in record}
    if (
        not arrays <= {messages.CONTRIBUTION}
        or not values <= {messages.DEVICES, messages.CODE}
        or content.metric_records
    ):
        raise PolicyViolationError("a reply may hold one contribution, an enrolment or a code")
    return Message(content, reply_to=asked)


def decline(asked: Message, code: str) -> Message:
    """Answer with a code and nothing else."""
    return reply_with(RecordDict({messages.DECLINED: ConfigRecord({messages.CODE: code})}), asked)


def build_client_app(opener: Opener = _from_context, *, shielded: bool = True) -> ClientApp:
    """Return the ClientApp over the host that ``opener`` opens for a context.

    Args:
        opener: Opens the host of a context.
        shielded: Answer a defect with a code, as every deployment must; a laboratory that wants to
            see its defects says False.
    """
    client = ClientApp()

    def answer(msg: Message, context: Context, work: Work) -> Message:
        try:
            return reply_with(work(msg, opener(context)), msg)
        except HomebodyError as error:
            return decline(msg, error.code)
        except Exception:  # its text may hold user data, and Flower would send it
            if not shielded:
                raise
            return decline(msg, DEFECT)

    @client.query(messages.ENROL)
    def enrol(msg: Message, context: Context) -> Message:
        return answer(msg, context, _enrolment)

    @client.train()
    def train(msg: Message, context: Context) -> Message:
        return answer(msg, context, _contribution)

    @client.evaluate()
    def evaluate(msg: Message, context: Context) -> Message:
        return answer(msg, context, _figures)

    return client


def _enrolment(_: Message, host: Host) -> RecordDict:
    """Say which devices the node hosts."""
    return RecordDict({messages.ENROL: ConfigRecord({messages.DEVICES: sorted(host.devices)})})


def _contribution(msg: Message, host: Host) -> RecordDict:
    """Train the invited devices and return the sum of their integers."""
    asked = Invitation.from_record(msg.content.config_records[messages.INVITATION])
    _check_digest(asked.config_digest, host)
    if asked.clip_norm is not None and not host.config.dp.adaptive_clip:
        raise PolicyViolationError("the config in force has one clip norm")
    parameters = parameters_of(msg)
    joining = asked.devices
    if host.participation is not None:
        allowance = training_allowance(host.config, asked.run, parameters.size)
        joining = host.admitted(asked.devices, allowance, asked.round, model_digest(parameters))
    total = shard_contribution(host, joining, parameters, asked.round, asked.clip_norm)
    return integers(total, fits=len(asked.devices) <= host.lattice.max_devices)


def _figures(msg: Message, host: Host) -> RecordDict:
    """Return the sum of what the asked devices add to a figure."""
    asked = Question.from_record(msg.content.config_records[messages.QUESTION])
    _check_digest(asked.config_digest, host)
    metric = host.config.metrics.get(asked.metric)
    if metric is None:
        raise PolicyViolationError("the config in force does not list this metric")
    parameters = parameters_of(msg)
    allowance = metric_allowance(host.config, asked.run, asked.metric, metric)
    joining = host.admitted(asked.devices, allowance, asked.round, model_digest(parameters))
    total = np.zeros(len(figure_names(asked.metric)), np.int64)
    for device in joining:
        total += figure_contribution(host, device, parameters, asked.metric)
    return integers(total, fits=False)


def _check_digest(digest: str, host: Host) -> None:
    if digest != host.config_digest:
        raise PolicyViolationError("the server runs another privacy config")


def parameters_of(msg: Message) -> npt.NDArray[np.float32]:
    """Return the broadcast model of a message, flat."""
    array = msg.content.array_records[messages.MODEL][messages.PARAMETERS].numpy()
    return array.astype(np.float32)


def integers(total: npt.NDArray[np.int32] | npt.NDArray[np.int64], *, fits: bool) -> RecordDict:
    """Return a contribution as a message holds it: int32 where it ``fits``, else int64."""
    array = total.astype(np.int32 if fits else np.int64)
    return RecordDict({messages.UPDATE: ArrayRecord({messages.CONTRIBUTION: Array(array)})})


app = build_client_app()
