"""The examples of docs/fleet.md: a compose file by the rules of the Compose Specification, a proxy.

``docker compose config`` is not at hand everywhere, so the rules used are written down here, after
https://github.com/compose-spec/compose-spec/blob/main/spec.md; what goes beyond them fails.
"""

import http.client
import re
import shlex
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from homebody_server.fleet.control import ask
from homebody_server.fleet.create import DEFAULT_PORT
from homebody_server.fleet.enrol import accept_answer, join_fleet, register_node
from homebody_server.fleet.fleet import Fleet, bring_up
from homebody_server.fleet.layout import NodePaths, join
from homebody_server.fleet.lifecycle import bring_down

from .fleet_world import states, until
from .test_docs_commands import parse

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "fleet"
_STRICT = ConfigDict(strict=True, extra="forbid")

Duration = Annotated[str, Field(pattern=r"^(\d+(us|ms|s|m|h))+$")]
Mount = Annotated[str, Field(pattern=r"^(\./[\w./-]+|[a-z][\w-]*):/[\w./-]+(:ro)?$")]
Published = Annotated[str, Field(pattern=r"^(\d+\.\d+\.\d+\.\d+:)?\d+:\d+$")]
Image = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9./_-]*:[\w.-]+$")]


class Attached(BaseModel):
    """How a service is attached to a network."""

    model_config = _STRICT
    aliases: list[str] = []


class Healthcheck(BaseModel):
    """How a service's health is asked."""

    model_config = _STRICT
    test: list[str]
    interval: Duration
    timeout: Duration
    start_period: Duration
    retries: int


class Service(BaseModel):
    """A service: the attributes the examples use."""

    model_config = _STRICT
    image: Image
    build: str | None = None
    command: list[str]
    environment: dict[str, str] = {}
    volumes: list[Mount] = []
    ports: list[Published] = []
    networks: dict[str, Attached] | list[str] = []
    network_mode: str | None = None
    depends_on: list[str] = []
    init: bool
    read_only: bool
    tmpfs: list[str]
    cap_drop: list[str]
    security_opt: list[str]
    user: str
    restart: Literal["no", "always", "on-failure", "unless-stopped"]
    stop_grace_period: Duration | None = None
    healthcheck: Healthcheck | None = None


class Compose(BaseModel):
    """A compose file; ``x-`` are extensions."""

    model_config = _STRICT
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    services: dict[str, Service]
    networks: dict[str, dict[str, Any]]
    volumes: dict[str, dict[str, Any]]


def compose_of(text: str) -> Compose:
    """Read a compose file.

    Raises:
        ValueError: If it breaks a rule.
    """
    values = import_module("yaml").safe_load(text)
    compose = Compose.model_validate({k: v for k, v in values.items() if not k.startswith("x-")})
    for name, service in compose.services.items():
        attached = list(service.networks)
        if service.network_mode is not None:
            other = service.network_mode.removeprefix("service:")
            if attached or service.ports or other not in compose.services:
                raise ValueError(f"{name}: a borrowed network has no networks or ports of its own")
        if missing := set(attached) - set(compose.networks):
            raise ValueError(f"{name}: networks {missing} are not defined")
        named = {m.partition(":")[0] for m in service.volumes if not m.startswith("./")}
        if missing := named - set(compose.volumes):
            raise ValueError(f"{name}: volumes {missing} are not defined")
        if missing := set(service.depends_on) - set(compose.services):
            raise ValueError(f"{name}: services {missing} are not defined")
    return compose


TEXT = (FOLDER / "compose.yaml").read_text("utf-8")


def test_the_compose_file_keeps_the_rules() -> None:
    assert set(compose_of(TEXT).services) == {"server", "proxy", "node"}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("restart: unless-stopped", "restart: sometimes"),
        ("init: true", "innit: true"),
        ("networks: [outside]", "networks: [inside]"),
        ("service:server", "service:sever"),
        ("stop_grace_period: 60s", "stop_grace_period: 60 seconds"),
        ('"state:/state"', '"stat:/state"'),
        ("depends_on: [server]", "depends_on: [serve]"),
        ('ports: ["8443:8443"]', 'ports: ["8443;8443"]'),
    ],
)
def test_a_compose_file_that_breaks_a_rule_is_noticed(right: str, wrong: str) -> None:
    assert right in TEXT
    with pytest.raises(ValueError, match=r".+"):
        compose_of(TEXT.replace(right, wrong))


def test_the_services_run_our_own_command_of_this_version() -> None:
    compose = compose_of(TEXT)
    for name in ("server", "node"):
        service = compose.services[name]
        parse(shlex.join(["homebody", *service.command]))
        assert service.image == f"homebody:{version('homebody')}"
        assert "--foreground" in service.command
        folder = service.command[2]
        assert any(mount.split(":")[1] == folder for mount in service.volumes)
    health = compose.services["server"].healthcheck
    assert health is not None
    assert health.test[0] == "CMD"
    parse(shlex.join(health.test[1:]))
    assert 'ENTRYPOINT ["homebody"]' in (FOLDER / "Dockerfile").read_text("utf-8")


def test_the_commands_of_the_compose_files_preface_are_ours() -> None:
    preface = "\n".join(line.removeprefix("#") for line in TEXT.splitlines() if line[:1] == "#")
    lines = preface.replace("\\\n", " ").splitlines()
    told = [re.search(r"(?:run --rm \w+|exec server homebody) (fleet .*)", line) for line in lines]
    commands = [f"homebody {match[1]}" for match in told if match]
    assert [line.split()[2] for line in commands] == ["init", "join", "register", "join"]
    for line in commands:
        parse(line)


def test_nothing_but_the_proxy_is_published_and_no_key_of_an_authority_reaches_it() -> None:
    services = compose_of(TEXT).services
    assert [name for name, service in services.items() if service.ports] == ["server"]
    assert services["server"].ports == ["8443:8443"]
    assert str(DEFAULT_PORT) not in TEXT
    proxy = services["proxy"]
    assert proxy.network_mode == "service:server"
    assert all(mount.endswith(":ro") for mount in proxy.volumes)
    files = {Path(mount.split(":")[1]).name for mount in proxy.volumes}
    assert files == {"homebody.conf", "ca.crt", "server.crt", "server.key"}
    for service in services.values():
        assert service.cap_drop == ["ALL"]
        assert service.read_only
        assert service.user == "1000:1000"


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_a_proxy_passes_on_what_nodes_need_and_nothing_else(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert set(re.findall(r"/v1/\w+/", code)) == {"/v1/fleet/"}
    assert code.count("reverse_proxy" if name == "Caddyfile" else "proxy_pass") == 1
    assert f"https://127.0.0.1:{DEFAULT_PORT}" in code
    assert "404" in code


def test_the_unit_runs_our_own_commands() -> None:
    text = (FOLDER / "homebody-fleet.service").read_text("utf-8")
    lines = re.findall(r"(?m)^Exec\w+=/opt/homebody/venv/bin/(homebody .*)$", text)
    assert [line.split()[2] for line in lines] == ["up", "down"]
    for line in lines:
        parse(line)


@contextmanager
def _proxied(fleet: Fleet, folder: Path) -> Iterator[str]:
    """Run nginx with the example before a fleet; yield the address nodes dial."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    text = (FOLDER / "nginx.conf").read_text("utf-8")
    text = text.replace("listen 8443", f"listen 127.0.0.1:{port}")
    text = text.replace(f"127.0.0.1:{DEFAULT_PORT}", fleet.file.address)
    text = text.replace("/fleet/server", f"{fleet.paths.path}/server")
    text = text.replace("/fleet/ca.crt", f"{fleet.paths.path}/ca.crt")
    text = text.replace("/tmp/nginx.pid", f"{folder}/nginx.pid")  # noqa: S108 of the example
    for place in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        text = text.replace("http {", f"http {{\n{place}_temp_path {folder}/{place};", 1)
    (folder / "nginx.conf").write_text(text)
    nginx = subprocess.Popen(
        ["nginx", "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf", "-g", "daemon off;"]  # noqa: S607
    )
    try:
        address = join("127.0.0.1", port)
        until(lambda: ask(address, fleet.paths.path / "ca.crt") is not None, 10)
        yield address
    finally:
        nginx.terminate()
        nginx.wait()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_a_node_works_through_the_proxy_and_control_does_not_pass_it(tmp_path: Path) -> None:
    fleet = Fleet.create(tmp_path / "home", nodes=0, port=0)
    authority, far = fleet.paths.path / "ca.crt", tmp_path / "far"
    try:
        fleet.up()
        with _proxied(fleet, tmp_path) as address:
            context = ssl.create_default_context(cafile=str(authority))
            for path in ("/v1/control/list-nodes", "/v1/runtime/acquire-task", "/docs", "/health"):
                host, _, port = address.partition(":")
                connection = http.client.HTTPSConnection(host, int(port), context=context)
                connection.request("POST", path, b"", {"Content-Type": "application/protobuf"})
                assert connection.getresponse().status == http.client.NOT_FOUND
                connection.close()
            request = join_fleet(far, server=address, authority=authority)
            register_node(fleet.paths, request, name="far", answer=tmp_path / "answer.json")
            accept_answer(NodePaths(far), tmp_path / "answer.json")
            bring_up(NodePaths(far))
            until(lambda: states(fleet)["far"] == "online", 40)
            bring_down(NodePaths(far))
            assert states(fleet)["far"] == "offline"
    finally:
        if far.exists():
            bring_down(NodePaths(far))
        fleet.down()
