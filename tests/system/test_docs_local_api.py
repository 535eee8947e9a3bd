"""docs/local-api.md names every address, refusal and limit of the local API; its commands run."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from homebody_client.api import checks, serve, server, tokens, wire
from homebody_client.api.page_routes import PUBLIC, STATIC
from homebody_client.api.profiles import Profile
from homebody_client.api.routes import EVENTS_MAX, ROUTES
from homebody_client.api.serve import LocalServer, local_server
from homebody_client.api.tokens import Tokens, install_token
from homebody_client.demo.shop import Shop, write_shop
from homebody_client.device import Device
from homebody_client.page import render
from homebody_privacy.consent import AGE_BANDS

from .docs_blocks import ROOT, blocks, first_column, page, run, section, told

PAGE = page("local-api.md")
PI = ROOT / "docs" / "examples" / "raspberry_pi"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return write_shop(tmp_path_factory.mktemp("shop") / "shop", now=int(time.time()))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOMEBODY_STATE", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def running(shop: Shop, home: Path) -> Iterator[LocalServer]:
    """A server over the made-up shop, its profile in the folder ``profile``."""
    with Device.open(
        home / "profile",
        config=shop.config,
        bundle=shop.bundle,
        catalog=shop.catalog,
        trusted_key=shop.key,
    ) as device:
        installed = Tokens(install_token(home / "profile"))
        started = local_server([Profile("This device", device)], tokens=installed, port=0)
        thread = threading.Thread(target=started.run)
        thread.start()
        yield started
        started.close()
        thread.join()


def test_every_block_runs_and_prints_what_the_page_shows(shop: Shop, tmp_path: Path) -> None:
    shutil.copy(shop.config, tmp_path / "privacy.toml")
    for code, shown in told(PAGE):
        assert run(code, tmp_path) == shown


def test_every_address_is_told_and_no_other() -> None:
    names = {"why": "{product_id}"}
    expected = [
        f"{method} /{'/'.join(names[parts[0]] if part == '*' else part for part in parts)}"
        for parts, routes in ROUTES.items()
        for method in routes
    ]
    assert first_column(section(PAGE, "## Addresses"), "address") == expected


def test_every_address_of_the_page_is_told() -> None:
    found = first_column(section(PAGE, "## The page"), "address")
    assert {f"GET {PUBLIC[0]}", f"POST {PUBLIC[1]}", f"GET {STATIC}{{file}}"} <= set(found)
    assert len(found) == 5
    (row,) = re.findall(r"(?m)^\| `GET /page/\{part\}` \| (.*) \|$", PAGE)
    assert tuple(re.findall(r"`(\w+)`", row)) == tuple(render._PARTS)  # noqa: SLF001 - the table of parts


def test_every_refusal_is_told_with_its_status_and_no_other() -> None:
    sources = "".join(
        file.read_text("utf-8") for file in (ROOT / "client/homebody_client/api").glob("*.py")
    )
    said = re.findall(r'status=(\d{3}),\s*code="([\w-]+)"', sources)
    said += re.findall(r'_body\((\d{3}), "([\w-]+)"', sources)
    told_ones = re.findall(r"(\d{3})\s+`([\w-]+)`", PAGE)
    assert set(told_ones) == set(said)


def test_every_limit_is_the_one_of_the_code() -> None:
    text = " ".join(PAGE.split())
    for words in (
        f"at most {server.CONNECTIONS} connections",
        f"head up to {wire.HEAD_BYTES // 1024} KiB and {wire.HEADERS} headers",
        f"within {server.READ_S:.0f} seconds",
        f"not longer than {checks.BODY_BYTES // 1024} KiB",
        f"a list of up to {EVENTS_MAX:,}",
        f"The port is {serve.PORT} unless",
        f"{8 * tokens.TOKEN_BYTES} bits in `{tokens.TOKEN_FILE}`",
        "within ten minutes",
        *(f"`{band}`" for band in AGE_BANDS),
    ):
        assert words in text
    assert tokens.ONE_TIME_S == 600


def test_the_command_lines_do_what_the_page_says(running: LocalServer, home: Path) -> None:
    shell, curl = shutil.which("bash"), shutil.which("curl")
    if shell is None or curl is None:
        pytest.skip("bash and curl are not both installed")
    (console,) = blocks(section(PAGE, "## Ask"), "console")
    lines = [line.removeprefix("$ ") for line in console.splitlines()]
    said = [
        subprocess.run(
            [shell, "-c", line.replace(str(serve.PORT), str(running.port))],
            cwd=home,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for line in lines
    ]
    assert (home / "curl.conf").stat().st_mode & 0o077 == 0
    first, granted, kept, why = (json.loads(text) for text in said[1:])
    (shown,) = (json.loads(text) for text in blocks(PAGE, "json"))
    assert first.keys() == shown.keys()
    assert first["recommended_products"] == shown["recommended_products"]
    assert first["items"][:1] == shown["items"]
    assert first["fallback_reason"] == shown["fallback_reason"] == "consent-closed"
    assert granted["purposes"]["recommend"]["features"]["purchases"]["open"]
    assert kept == {"accepted": True, "received": 1, "kept": 1}
    assert why["causes"] == ["TEA-01"]


def test_the_service_of_the_examples_answers_with_its_token_and_stops(
    shop: Shop, tmp_path: Path
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    environ = {
        **os.environ,
        "STATE_DIRECTORY": str(tmp_path),
        "HOMEBODY_STATE": str(tmp_path / "state"),
        "HOMEBODY_SHIPPED": str(shop.config.parent),
        "HOMEBODY_PORT": "0",
    }
    command = [sys.executable, "-W", "error", str(PI / "service.py")]
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as service:
        try:
            assert service.stdout is not None
            address = service.stdout.readline().removeprefix("listening at ").strip()
            token = (tmp_path / "profile" / "api.token").read_text("ascii")
            asked = [curl, "-s", f"{address}/model"]
            named = subprocess.run(
                [*asked, "--header", "@-"],
                input=f"Authorization: Bearer {token}",
                check=True,
                capture_output=True,
                text=True,
            )
            refused = subprocess.run(asked, check=True, capture_output=True, text=True)
        finally:
            service.terminate()
            _, complaints = service.communicate(timeout=20)
    assert json.loads(named.stdout)["model_id"] == "demo-shop"
    assert json.loads(refused.stdout)["error"]["code"] == "no-token"
    assert complaints == ""
    assert service.returncode == 0


def test_the_service_says_why_it_does_not_start(shop: Shop, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environ = {
            **os.environ,
            "STATE_DIRECTORY": str(tmp_path),
            "HOMEBODY_STATE": str(tmp_path / "state"),
            "HOMEBODY_SHIPPED": str(shop.config.parent),
            "HOMEBODY_PORT": str(taken.getsockname()[1]),
        }
        result = subprocess.run(
            [sys.executable, str(PI / "service.py")],
            env=environ,
            check=False,
            capture_output=True,
            text=True,
        )
    assert result.returncode == 2
    assert "is taken" in result.stderr
    assert "Traceback" not in result.stderr


def settings() -> dict[str, list[str]]:
    """Return the settings of the unit, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in (PI / "homebody-device.service").read_text("utf-8").splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_gives_the_service_what_it_reads_and_no_way_out() -> None:
    unit = settings()
    environ = dict(one.split("=", 1) for one in unit["Environment"])
    source = (PI / "service.py").read_text("utf-8")
    read = set(re.findall(r'environ(?:\.get\(|\[)"(\w+)"', source))
    given_by_systemd = {"STATE_DIRECTORY", "CREDENTIALS_DIRECTORY"}
    assert read - given_by_systemd - {"HOMEBODY_PORT"} <= set(environ)
    assert environ["HOMEBODY_STATE"].startswith(f"/var/lib/{unit['StateDirectory'][0]}/")
    assert unit["IPAddressDeny"] == ["any"]
    assert unit["IPAddressAllow"] == ["localhost"]
    assert unit["SocketBindAllow"] == [f"ipv4:tcp:{serve.PORT}"]
    assert unit["User"] == ["homebody"]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["StateDirectoryMode"] == ["0700"]


def test_systemd_reads_the_unit_without_complaint(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "homebody-device.service"
    text = (PI / "homebody-device.service").read_text("utf-8")
    unit.write_text(text.replace("/opt/homebody/venv/bin/python", sys.executable))
    result = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], check=False, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
