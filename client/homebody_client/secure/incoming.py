"""Read what came in a message; what cannot be read is refused without a word about its content."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from homebody_privacy.certificate import Certificate
from homebody_privacy.errors import IntegrityError, PolicyViolationError
from homebody_privacy.legs import Work
from homebody_privacy.messages import Invitation, Question

T = TypeVar("T")


def understood(read: Callable[[Any], T], content: object) -> T:
    """Return what ``read`` makes of a part of a message.

    Raises:
        IntegrityError: If it is not what its leg holds.
    """
    try:
        return read(content)
    except ValueError as error:
        raise IntegrityError("a message is not what its leg holds") from error


def asked_of(work: Work, metric: str) -> Invitation | Question:
    """Return what a session of ``metric``, or of a round where that is empty, asks for.

    Raises:
        IntegrityError: If it asks for nothing of the kind.
        PolicyViolationError: If it asks for another metric.
    """
    if not metric:
        return understood(Invitation.from_record, work.asked)
    question = understood(Question.from_record, work.asked)
    if question.metric != metric:
        raise PolicyViolationError("the session is for another metric")
    return question


def certified(content: bytes, authority: bytes, fleet: str, now: float) -> tuple[bytes, bytes]:
    """Return id and signing key of another node, by its certificate.

    Args:
        content: The certificate.
        authority: Pinned key of the enrolment authority.
        fleet: Name of the node's own fleet.
        now: Unix seconds.

    Raises:
        IntegrityError: If the authority did not sign it for this fleet, or it is past its time.
    """
    certificate = _signed(content, authority, fleet)
    if not now <= certificate.not_after:
        raise IntegrityError("a certificate is past its time")
    return certificate.node_id, certificate.signing


@lru_cache(maxsize=4096)  # all nodes of a simulation see the same certificates
def _signed(content: bytes, authority: bytes, fleet: str) -> Certificate:
    certificate = understood(Certificate.from_bytes, content)
    certificate.check(authority, fleet, -math.inf)  # its time is looked at in each call
    return certificate
