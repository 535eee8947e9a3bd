"""A real fleet on Flower: made, examined, kept running, and ended.

``from homebody_server.fleet import Fleet``. Nothing here is loaded by importing the package: the
guard and the logs' filter need one small module each.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fleet import Fleet as Fleet

__all__ = ["Fleet"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - of a module
    """Load ``Fleet`` when it is asked for."""
    if name == "Fleet":
        from .fleet import Fleet  # noqa: PLC0415 Flower's command line takes a while to load

        return Fleet
    raise AttributeError(name)
