"""Who the server app of a fleet is, and which nodes are in it, from the fleet's folder."""

from pathlib import Path

from homebody_privacy.certificate import Certificate
from homebody_privacy.errors import InvalidFileError
from homebody_privacy.signing import SigningKey
from homebody_server.secure.home import AggregatorHome

from .create import pins_of
from .layout import FleetPaths
from .registry import Registry


def aggregator_home(folder: Path) -> AggregatorHome:
    """Return what the server app needs to speak to a fleet's nodes; revoked ones are not in it.

    Raises:
        InvalidFileError: If it is no fleet's folder, or a file of it is damaged.
    """
    paths = FleetPaths(folder.resolve())
    name = paths.read().name
    try:
        nodes = [
            Certificate.from_bytes(content)
            for content in Registry(paths.path / "registry").certificates().values()
        ]
    except ValueError as error:
        raise InvalidFileError(f"{folder}: a certificate of its registry is damaged") from error
    return AggregatorHome.of(
        SigningKey.load(paths.path / "aggregator.key"),
        authority=pins_of(paths, name).authority,
        fleet=name,
        nodes=nodes,
    )
