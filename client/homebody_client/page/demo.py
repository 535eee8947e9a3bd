"""Several simulated devices side by side in one page."""

from collections.abc import Sequence

from homebody_client.api.device_like import DeviceLike
from homebody_client.api.profiles import Profile
from homebody_client.api.serve import PORT, LocalServer, local_server
from homebody_client.api.tokens import Tokens

from .render import Page


def serve_demo(
    devices: Sequence[tuple[str, DeviceLike]], *, port: int = PORT, engine: str = "auto"
) -> LocalServer:
    """Bind a page with some devices; ``run`` serves it, ``page_address`` opens it.

    Only the page can ask: there is no token of an install.

    Args:
        devices: Each device with the name people read above it.
        port: Port to listen at; 0 takes a free one.
        engine: As in ``local_server``.

    Raises:
        MissingExtraError: If Jinja2 is not installed.
        UsageError: If the port is taken.
    """
    return local_server(
        [Profile(label, device) for label, device in devices],
        tokens=Tokens(None),
        page=Page(demonstration=len(devices) > 1),
        port=port,
        engine=engine,
    )
