"""The thin ClientApp: read the message, train what it asks for, let the one reply out.

Every exit of a node is ``_reply``. An exception must not leave a device (Flower would send its text
to the server), so what goes wrong is answered with a code.
"""

from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from homebody_client.host import Host, open_host
from homebody_client.training import shard_contribution
from homebody_privacy import messages
from homebody_privacy.errors import HomebodyError, PolicyViolationError
from homebody_privacy.messages import Invitation

Opener = Callable[[Context], Host]


def _from_context(context: Context) -> Host:
    return open_host(context.run_config, context.node_config)


def _reply(content: RecordDict, asked: Message) -> Message:
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


def _decline(asked: Message, code: str) -> Message:
    return _reply(RecordDict({messages.DECLINED: ConfigRecord({messages.CODE: code})}), asked)


def build_client_app(opener: Opener = _from_context) -> ClientApp:
    """Return the ClientApp over the host that ``opener`` opens for a context."""
    client = ClientApp()

    @client.query(messages.ENROL)
    def enrol(msg: Message, context: Context) -> Message:
        devices = sorted(opener(context).devices)
        return _reply(RecordDict({messages.ENROL: ConfigRecord({messages.DEVICES: devices})}), msg)

    @client.train()
    def train(msg: Message, context: Context) -> Message:
        try:
            host = opener(context)
            invitation = Invitation.from_record(msg.content.config_records[messages.INVITATION])
            if invitation.config_digest != host.config_digest:
                raise PolicyViolationError("the server runs another privacy config")
            parameters = msg.content.array_records[messages.MODEL][messages.PARAMETERS].numpy()
            total = shard_contribution(
                host, invitation.devices, parameters.astype(np.float32), invitation.round
            )
        except HomebodyError as error:
            return _decline(msg, error.code)
        fits = len(invitation.devices) <= host.lattice.max_devices
        integers = total.astype(np.int32) if fits else total
        update = ArrayRecord({messages.CONTRIBUTION: Array(integers)})
        return _reply(RecordDict({messages.UPDATE: update}), msg)

    return client


app = build_client_app()
