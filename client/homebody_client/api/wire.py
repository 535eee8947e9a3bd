"""HTTP/1.1 heads as bytes, as RFC 9112 has them and no looser: what is odd is refused."""

import re
from http import HTTPStatus
from typing import Final

from .messages import ApiRequest, ApiResponse

HEAD_BYTES: Final = 16_384
"""Longest head taken, request line included."""

HEADERS: Final = 64
"""Most headers taken."""

END: Final = b"\r\n\r\n"

_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,8192}) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")


def read_head(head: bytes) -> ApiRequest:
    """Return the request a head stands for, without its body.

    Args:
        head: Request line and headers, without the empty line at their end.

    Raises:
        ValueError: If it is not the head of an HTTP/1 request, or has too many headers.
    """
    first, *lines = head.split(b"\r\n")
    line = _LINE.fullmatch(first)
    found = [_HEADER.fullmatch(one) for one in lines]
    if line is None or len(found) > HEADERS or None in found:
        raise ValueError("the head is not one of HTTP/1.1")
    return ApiRequest(
        method=line[1].decode("ascii"),
        target=line[2].decode("ascii"),
        headers=tuple(
            (one[1].decode("ascii").lower(), one[2].rstrip(b" \t").decode("latin-1"))
            for one in found
            if one is not None
        ),
    )


def answer_bytes(answer: ApiResponse) -> bytes:
    """Return an answer as it goes over the socket."""
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + answer.body
