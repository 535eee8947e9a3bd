"""Figures of whole processes: start, memory, sockets, answers over HTTP, size of an install."""

import contextlib
import http.client
import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from device_figure import Figure
from device_shop import USER, BenchShop, use_state

_ROOT = Path(__file__).resolve().parents[1]
_LIST = """
import sys
from homebody import Device
device = Device.open(sys.argv[1], config=sys.argv[2], trusted_key=sys.argv[3])
found = device.recommend()
if found.fallback_reason is not None:
    raise SystemExit(found.fallback_reason)
"""
_CPU = "__import__('time').process_time()"  # since the process began, its children aside
_MEMORY = """
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""
_SOCKETS = """
import socket
seen = []
sys.addaudithook(lambda name, _: seen.append(name) if name.startswith("socket.") else None)
for _ in range(1_000):
    device.recommend()
quiet = len(seen)
socket.socket().close()
print(quiet, len(seen) - quiet)
"""
_API = """
import sys
from homebody import Device
from homebody_client.api.profiles import Profile
from homebody_client.api.serve import local_server
from homebody_client.api.tokens import Tokens, install_token
from pathlib import Path
device = Device.open(sys.argv[1], config=sys.argv[2], trusted_key=sys.argv[3])
token = install_token(Path(sys.argv[1]))
server = local_server([Profile("", device)], tokens=Tokens(token), port=0, engine=sys.argv[4])
print(server.port, token, flush=True)
server.run()
"""
_BARE_API = """
import http.server
class Constant(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"{}" * 500
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Constant)
print(server.server_port, "none", flush=True)
server.serve_forever()
"""


def _command(code: str, *words: str | Path) -> list[str]:
    return [sys.executable, "-c", code, *map(str, words)]


def _files(shop: BenchShop, profile: Path) -> tuple[Path, ...]:
    use_state(profile)
    return profile, shop.folder / "privacy.toml", shop.folder / "publisher.pub"


def _said(code: str, *words: str | Path) -> tuple[str, float]:
    """Run a process; return its first line and the seconds from its start to that line."""
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own code
        _command(code, *words), stdout=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline() if process.stdout is not None else ""
        took = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"a process of the benchmark ended with {process.returncode}")
    return line, took


def start(shop: BenchShop, profile: Path, repeats: int) -> list[Figure]:
    """Measure from the start of a process to its first list: by the clock, and of the CPU."""
    words, files = f"{_LIST}\nprint({_CPU}, flush=True)", _files(shop, profile)
    took, bare = [], []
    for _ in range(repeats + 1):  # the first one may find nothing cached
        took.append(_said(words, *files))
        bare.append(_said(f"import numpy; print({_CPU}, flush=True)"))
    own, other = (np.array([(s, float(said)) for said, s in ran[1:]]) for ran in (took, bare))
    ratios = np.median(own / other, axis=0)  # of turns: what slows one slows its reference too
    reference = "Python imports numpy"
    return [
        Figure(
            what=f"process start to first list, {shop.items:,} items",
            unit="{:.0f} ms",
            value=1e3 * float(np.median(own[:, 0])),
            reference=reference,
            beside=1e3 * float(np.median(other[:, 0])),
            by_turns=float(ratios[0]),
            relation="<=",
            target=200.0,
        ),
        Figure(
            what="- time of the CPU",
            unit="{:.0f} ms",
            value=1e3 * float(np.median(own[:, 1])),
            reference=reference,
            beside=1e3 * float(np.median(other[:, 1])),
            by_turns=float(ratios[1]),
        ),
    ]


def memory(shop: BenchShop, profile: Path) -> Figure:
    """Measure the most memory a process that lists ever had resident."""
    own = int(_said(_LIST + _MEMORY, *_files(shop, profile))[0])
    bare = int(_said("import numpy\n" + _MEMORY)[0])
    return Figure(
        what=f"memory, {shop.items:,} items, most ever resident",
        unit="{:.1f} MB",
        value=own * 1024 / 1e6,
        reference="Python imports numpy",
        beside=bare * 1024 / 1e6,
        relation="<=",
        target=60.0,
    )


def sockets(shop: BenchShop, profile: Path) -> Figure:
    """Count the uses of sockets by 1,000 lists, and see that one on purpose is counted."""
    own, on_purpose = map(int, _said(_LIST + _SOCKETS, *_files(shop, profile))[0].split())
    return Figure(
        what="sockets opened by 1,000 lists",
        unit="{:.0f}",
        value=float(own),
        reference="one opened on purpose is seen as",
        beside=float(on_purpose),
        relation="=",
        target=0.0,
    )


@contextlib.contextmanager
def _serving(code: str, *words: str | Path) -> Iterator[tuple[int, str]]:
    with subprocess.Popen(  # noqa: S603 - our own code
        _command(code, *words), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            port, token = line.split()
            yield int(port), token
        finally:
            process.terminate()


def _ask(port: int, token: str) -> float:
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(
        "GET", f"/recommendations?user_id={USER}", headers={"Authorization": f"Bearer {token}"}
    )
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"a server answered {answer.status}")
    return time.perf_counter() - started


def answers(shop: BenchShop, profile: Path, calls: int) -> list[Figure]:
    """Measure GET /recommendations on both servers."""
    found = []
    for engine, name in (("standard", "standard library"), ("fastapi", "FastAPI")):
        what = f"GET /recommendations, {name}, {shop.items:,} items, p95"
        if engine == "fastapi" and importlib.util.find_spec("fastapi") is None:
            note = "FastAPI is not installed"
            found.append(Figure(what=what, unit="{:.2f} ms", value=None, note=note))
            continue
        took, bare = [], []
        with (
            _serving(_API, *_files(shop, profile), engine) as api,
            _serving(_BARE_API) as constant,
        ):
            for call in range(calls + 10):
                if call >= 10:  # noqa: PLR2004 - the first ones warm both up
                    took.append(_ask(*api))
                    bare.append(_ask(*constant))
                else:
                    _ask(*api)
                    _ask(*constant)
        found.append(
            Figure(
                what=what,
                unit="{:.2f} ms",
                value=1e3 * float(np.quantile(took, 0.95)),
                reference="http.server, a constant",
                beside=1e3 * float(np.quantile(bare, 0.95)),
                relation="<",
                target=30.0,
            )
        )
    return found


def base_install(folder: Path) -> Figure:
    """Measure what the wheel and its dependencies take in a fresh environment."""
    what, unit = "base install", "{:.0f} MB"
    steps = (
        [sys.executable, "-m", "venv", str(folder / "venv")],
        [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", str(_ROOT)],
    )
    for step in steps:
        ended = subprocess.run(step, capture_output=True, text=True, check=False)  # noqa: S603
        if ended.returncode:
            return Figure(what=what, unit=unit, value=None, note="the registry is out of reach")
    packages = next((folder / "venv/lib").glob("python*/site-packages"))
    own = others = 0
    for file in packages.rglob("*"):
        top = file.relative_to(packages).parts[0]
        if not file.is_file() or top.startswith(
            ("pip", "setuptools", "pkg_resources", "_distutils")
        ):
            continue
        if top.startswith("homebody"):
            own += file.stat().st_size
        else:
            others += file.stat().st_size
    return Figure(
        what=what,
        unit=unit,
        value=(own + others) / 1e6,
        reference="its dependencies",
        beside=others / 1e6,
        relation="<=",
        target=130.0,
    )
