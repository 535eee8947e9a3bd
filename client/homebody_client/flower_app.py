"""The thin ClientApp of a simulated node: read the message, train what it asks for, answer.

A node that the run gives a folder of keys answers sealed messages alone; one without answers plain
ones, as a simulation may that asks for no secure aggregation.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from homebody_client.host import Host, open_host
from homebody_client.node_app import NodeOpener, node_app
from homebody_client.secure.node import SecureNode
from homebody_client.secure.opening import opened_node
from homebody_client.secure.policy import Policy
from homebody_client.secure.shard import ShardWorker
from homebody_client.shard_answers import answered, shard_figures, shard_update
from homebody_privacy import messages
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.environment import NODE
from homebody_privacy.legs import Step
from homebody_privacy.messages import Invitation, Question
from homebody_privacy.node_folder import NodeFolder

Opener = Callable[[Context], Host]

NODE_FOLDERS: Final = "node-folders"
"""Key of the run config of a sealed simulation: the folder of the nodes' folders, by partition."""


def _from_context(context: Context) -> Host:
    return open_host(context.run_config, context.node_config)


@contextmanager
def node_of(context: Context, opener: Opener = _from_context) -> Iterator[SecureNode | None]:
    """Open the node of a context; None in a simulation that is not sealed.

    Where the environment names a deployed node, no word of Flower's configs counts.

    Args:
        context: Flower's.
        opener: Opens the host of a simulated node.
    """
    own = os.environ.get(NODE)
    if own:
        # A simulated node does without: this loads all of a person's device.
        from homebody_client.secure.node_home import deployed_node  # noqa: PLC0415

        with deployed_node(Path(own)) as node:
            yield node
        return
    folders = context.run_config.get(NODE_FOLDERS)
    if folders is None:
        yield None
        return
    folder = NodeFolder(Path(str(folders)) / str(context.node_config["partition-id"]))
    config = PrivacyConfig.load(Path(str(context.run_config["privacy-file"])))
    policy = Policy.of(config, reference=bool(context.run_config["reference"]))
    with opened_node(folder, policy, lambda _: ShardWorker(lambda: opener(context))) as node:
        yield node


def build_client_app(
    opener: Opener = _from_context, *, node: NodeOpener | None = None, shielded: bool = True
) -> ClientApp:
    """Return the ClientApp over the host that ``opener`` opens for a context.

    Args:
        opener: Opens the host of a context, for plain messages.
        node: Opens the node of a context; where it opens one, plain messages are refused.
        shielded: Answer a defect with a code, as every deployment must; a laboratory that wants to
            see its defects says False.
    """
    plain = {
        Step.ENROL: lambda _, context: _enrolment(opener(context)),
        Step.UPDATE: lambda msg, context: _contribution(msg, opener(context)),
        Step.FIGURES: lambda msg, context: _figures(msg, opener(context)),
    }
    return node_app(plain, node, shielded=shielded)


def _enrolment(host: Host) -> RecordDict:
    """Say which devices the node hosts."""
    return RecordDict({messages.ENROL: ConfigRecord({messages.DEVICES: sorted(host.devices)})})


def _contribution(msg: Message, host: Host) -> RecordDict:
    """Train the invited devices and return the sum of their integers."""
    asked = Invitation.from_record(msg.content.config_records[messages.INVITATION])
    total = shard_update(host, asked, parameters_of(msg))
    reply = integers(total, fits=len(asked.devices) <= host.lattice.max_devices)
    return _counted(reply, host, asked)


def _figures(msg: Message, host: Host) -> RecordDict:
    """Return the sum of what the asked devices add to a figure."""
    asked = Question.from_record(msg.content.config_records[messages.QUESTION])
    reply = integers(shard_figures(host, asked, parameters_of(msg)), fits=False)
    return _counted(reply, host, asked)


def _counted(reply: RecordDict, host: Host, asked: Invitation | Question) -> RecordDict:
    """Say how many devices the reply is from, where some of them may be silent."""
    if host.attendance is not None:
        reply[messages.ANSWERED] = ConfigRecord({messages.DEVICES: answered(host, asked)})
    return reply


def parameters_of(msg: Message) -> npt.NDArray[np.float32]:
    """Return the broadcast model of a message, flat."""
    array = msg.content.array_records[messages.MODEL][messages.PARAMETERS].numpy()
    return array.astype(np.float32)


def integers(total: npt.NDArray[np.int32] | npt.NDArray[np.int64], *, fits: bool) -> RecordDict:
    """Return a contribution as a message holds it: int32 where it ``fits``, else int64."""
    array = total.astype(np.int32 if fits else np.int64)
    return RecordDict({messages.UPDATE: ArrayRecord({messages.CONTRIBUTION: Array(array)})})


app = build_client_app(node=node_of)
