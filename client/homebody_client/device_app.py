"""The ClientApp of one real device: every answer passes its gates, and its send gate lets it out.

The app of a simulated node reads histories that a laboratory gave it. This one reads what the
device's consent opens at this moment, asks the device's own record, and answers with a code where
anything is shut. A server cannot tell one app from the other.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from homebody_client.check_in import Participant
from homebody_client.flower_app import integers, parameters_of
from homebody_client.node_app import node_app
from homebody_client.secure.node import SecureNode
from homebody_privacy import messages
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.legs import Step
from homebody_privacy.messages import Invitation, Question

Node = Callable[[], AbstractContextManager[SecureNode]]


def device_client_app(
    participant: Callable[[], Participant], *, number: int, node: Node | None = None
) -> ClientApp:
    """Return the ClientApp of a device.

    Args:
        participant: The device as it is now.
        number: Its number in the fleet, from its enrolment. Public to the server.
        node: Opens the device's node for one message, with a ``PersonWorker``. With it the device
            answers sealed messages alone; None only in a simulation.

    Guarantees:
        Whatever is asked, what is answered was let out by the send gate, or is a code. A device
        with training shut does not enrol.
    """

    def enrolment(_: Message, __: Context) -> RecordDict:
        devices = [participant().enrol(number)]
        return RecordDict({messages.ENROL: ConfigRecord({messages.DEVICES: devices})})

    def update(msg: Message, _: Context) -> RecordDict:
        asked = Invitation.from_record(msg.content.config_records[messages.INVITATION])
        _check_addressee(asked, number)
        return integers(participant().update(asked, parameters_of(msg)), fits=True)

    def figures(msg: Message, _: Context) -> RecordDict:
        asked = Question.from_record(msg.content.config_records[messages.QUESTION])
        _check_addressee(asked, number)
        return integers(participant().figures(asked, parameters_of(msg)), fits=False)

    plain = {Step.ENROL: enrolment, Step.UPDATE: update, Step.FIGURES: figures}
    return node_app(plain, None if node is None else lambda _: node())


def _check_addressee(asked: Invitation | Question, number: int) -> None:
    if asked.devices != (number,):
        raise PolicyViolationError("the message is for another device")
