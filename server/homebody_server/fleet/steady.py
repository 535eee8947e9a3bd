"""Let Flower's processes try a broken TLS handshake again, as any other broken connection.

Flower gives up for good at whatever error names TLS, a connection that was cut while it was opened
among them: the thread that met it ends, and the others wait for it, so the process lives on and
serves nobody. A certificate that does not verify is another matter: trying again helps nobody, and
Flower gives up as before. No check of TLS is left out: each attempt makes them all.
"""

import httpx
from flwr.supercore import retry
from flwr.supercore.retry import RetryInvoker, http_retry

_MAKE = http_retry.make_simple_http_retry_invoker


def is_broken_handshake(error: Exception) -> bool:
    """Tell whether a connection broke while TLS was agreed on, and not over a certificate.

    Examples:
        >>> is_broken_handshake(httpx.ConnectError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF"))
        True
        >>> is_broken_handshake(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] expired"))
        False
        >>> is_broken_handshake(ValueError("tls"))
        False
    """
    return isinstance(error, httpx.TransportError) and "certificate" not in str(error).lower()


def make_steady_invoker() -> RetryInvoker:
    """Return Flower's invoker, that does not give up at a broken handshake."""
    invoker = _MAKE()
    gives_up = invoker.should_giveup

    def give_up(error: Exception) -> bool:
        return not is_broken_handshake(error) and gives_up is not None and gives_up(error)

    invoker.should_giveup = give_up
    return invoker


def steady() -> None:
    """Use it everywhere in this process; to be called before Flower's programs are loaded."""
    http_retry.make_simple_http_retry_invoker = make_steady_invoker
    retry.make_simple_http_retry_invoker = make_steady_invoker
