"""Flower's Control API, through Flower's own command line, with answers in JSON.

The API asks nobody who they are: whoever reaches it may register nodes and start runs. So it is
reached over loopback with TLS, and no proxy passes it on (docs/fleet.md).
"""

import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

from homebody_privacy.durable import write_durably
from homebody_privacy.errors import DependencyError

from .layout import FleetPaths
from .layout import split as split_address
from .roles import control_environment, program

_CONNECTION: Final = "fleet"
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A node as the SuperLink knows it.

    Attributes:
        flower_id: Flower's id of the node: another with each registration.
        status: ``registered`` (was never online), ``online``, ``offline`` or ``unregistered``.
    """

    flower_id: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A Flower run as the SuperLink knows it.

    Attributes:
        flower_id: Flower's id of the run: a resumed run of homebody has several.
        status: ``pending``, ``starting``, ``running`` or ``finished:HOW``.
    """

    flower_id: str
    status: str

    @property
    def ended(self) -> bool:
        """Whether it is over, however."""
        return self.status.startswith("finished")


class Control:
    """The operator's side of a SuperLink.

    Args:
        paths: Of the fleet.
    """

    def __init__(self, paths: FleetPaths) -> None:
        """Keep the paths; nothing is dialled."""
        self._paths = paths

    def register(self, public_key: Path, name: str) -> str:
        """Register a SuperNode's key and return Flower's id of the node.

        Raises:
            DependencyError: If the SuperLink is not up, or has the key already.
        """
        answer = self._ask("supernode", "register", str(public_key), _CONNECTION, "--name", name)
        return str(answer["node-id"])

    def unregister(self, flower_id: str) -> None:
        """Take a SuperNode's key out: it is refused from now on."""
        self._ask("supernode", "unregister", flower_id, _CONNECTION)

    def nodes(self) -> list[Seen]:
        """Return all nodes the SuperLink knows or knew."""
        found = self._ask("supernode", "list", _CONNECTION)["nodes"]
        return [Seen(flower_id=str(n["node-id"]), status=str(n["status"])) for n in found]

    def start_run(self, app: Path, settings: Mapping[str, str | int | float | bool]) -> str:
        """Start a run of an app's folder and return Flower's id of the run.

        Args:
            app: Folder with a ``pyproject.toml``; it may hold no code.
            settings: In the place of the app's own, whose names must stand in it.
        """
        chosen = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
        options = ["-c", " ".join(chosen)] if chosen else []
        return str(self._ask("run", str(app), _CONNECTION, *options)["run-id"])

    def run(self, flower_id: str) -> Run:
        """Return how a run stands."""
        found = self._ask("list", _CONNECTION, "--run-id", flower_id)["runs"]
        return Run(flower_id=flower_id, status=str(found[0]["status"]))

    def stop_run(self, flower_id: str) -> None:
        """Stop a run."""
        self._ask("stop", flower_id, _CONNECTION)

    def _ask(self, *words: str) -> dict[str, Any]:
        text = self._call(*words, "--format", "json")
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise _failed(words, "its answer was no JSON") from error
        if not answer.get("success"):
            raise _failed(words, str(answer.get("error-message", "it did not say why")).strip())
        return answer

    def _call(self, *words: str) -> str:
        self._write_connection()
        try:
            done = subprocess.run(  # noqa: S603 our own arguments
                [program("flwr"), *words],
                env=control_environment(self._paths),
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
                cwd=self._paths.path,
            )
        except subprocess.TimeoutExpired as error:
            raise _failed(words, "it did not answer in time") from error
        if done.returncode and not done.stdout.lstrip().startswith("{"):
            raise _failed(words, (done.stderr or done.stdout).strip()[-400:])
        return done.stdout

    def _write_connection(self) -> None:
        """Name the SuperLink to Flower's command line; the folder may have been moved."""
        fleet, home = self._paths.read(), self._paths.path / "cli"
        content = (
            f'[superlink]\ndefault = "{_CONNECTION}"\n\n[superlink.{_CONNECTION}]\n'
            f'address = "{fleet.address}"\n'
            f"root-certificates = {json.dumps(str(self._paths.path / 'ca.crt'))}\n"
        ).encode()
        file = home / "config.toml"
        home.mkdir(mode=0o700, exist_ok=True)
        if not file.exists() or file.read_bytes() != content:
            write_durably(file, content, mode=0o600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a server says of itself.

    Attributes:
        well: Whether it is well; a proxy that hides this says no.
        date: Its clock, seconds since 1970; None if it did not say.
        asked: This machine's clock when it answered.
    """

    well: bool
    date: float | None
    asked: float


def health(address: str, authority: Path, *, timeout_s: float = 2.0) -> Health | None:
    """Ask a SuperLink whether it is well; None if it is not there or not well. As ``ask``."""
    found = ask(address, authority, timeout_s=timeout_s)
    return found if found is not None and found.well else None


def ask(address: str, authority: Path, *, timeout_s: float = 2.0) -> Health | None:
    """Ask a SuperLink, or the proxy before it, how it is; None if nothing answers.

    Args:
        address: ``host:port``.
        authority: Certificate authority it must be of.
        timeout_s: How long to wait.

    Raises:
        ssl.SSLError: If something answers that does not have the fleet's certificate.
    """
    host, port = split_address(address)
    context = ssl.create_default_context(cafile=str(authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # what every approved config asks for
    connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        date = answer.getheader("Date")
        return Health(
            well=answer.status == http.client.OK,
            date=parsedate_to_datetime(date).timestamp() if date else None,
            asked=time.time(),
        )
    except ssl.SSLError:
        raise
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _failed(words: tuple[str, ...], why: str) -> DependencyError:
    return DependencyError(
        f"flwr {words[0]} failed: {why}",
        fix="look at homebody fleet status DIR and homebody fleet logs DIR",
    )
