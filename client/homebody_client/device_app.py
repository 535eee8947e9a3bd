"""The ClientApp of one real device: every answer passes its gates, and its send gate lets it out.

The app of a simulated node reads histories that a laboratory gave it. This one reads what the
device's consent opens at this moment, asks the device's own record, and answers with a code where
anything is shut. A server cannot tell one app from the other.
"""

from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from homebody_client.check_in import Participant
from homebody_client.flower_app import DEFECT, decline, integers, parameters_of, reply_with
from homebody_privacy import messages
from homebody_privacy.errors import HomebodyError, PolicyViolationError
from homebody_privacy.messages import Invitation, Question


def device_client_app(participant: Callable[[], Participant], *, number: int) -> ClientApp:
    """Return the ClientApp of a device.

    Args:
        participant: The device as it is now.
        number: Its number in the fleet, from its enrolment. Public to the server.

    Guarantees:
        Whatever is asked, what is answered was let out by the send gate, or is a code. A device
        with training shut does not enrol.
    """
    client = ClientApp()

    def answer(msg: Message, work: Callable[[Message], RecordDict]) -> Message:
        try:
            return reply_with(work(msg), msg)
        except HomebodyError as error:
            return decline(msg, error.code)
        except Exception:  # noqa: BLE001 its text may hold user data, and Flower would send it
            return decline(msg, DEFECT)

    def update(msg: Message) -> RecordDict:
        asked = Invitation.from_record(msg.content.config_records[messages.INVITATION])
        _check_addressee(asked, number)
        return integers(participant().update(asked, parameters_of(msg)), fits=True)

    def figures(msg: Message) -> RecordDict:
        asked = Question.from_record(msg.content.config_records[messages.QUESTION])
        _check_addressee(asked, number)
        return integers(participant().figures(asked, parameters_of(msg)), fits=False)

    def enrolment(_: Message) -> RecordDict:
        devices = [participant().enrol(number)]
        return RecordDict({messages.ENROL: ConfigRecord({messages.DEVICES: devices})})

    @client.query(messages.ENROL)
    def enrol(msg: Message, _: Context) -> Message:
        return answer(msg, enrolment)

    @client.train()
    def train(msg: Message, _: Context) -> Message:
        return answer(msg, update)

    @client.evaluate()
    def evaluate(msg: Message, _: Context) -> Message:
        return answer(msg, figures)

    return client


def _check_addressee(asked: Invitation | Question, number: int) -> None:
    if asked.devices != (number,):
        raise PolicyViolationError("the message is for another device")
