"""A virtual environment for each peer that is not among our own requirements."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

CACHE: Final = "HOMEBODY_BENCH_CACHE"
"""Environment variable: where the environments are kept; .bench of the repository without it."""

_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "pfl": ("pfl==0.6.0",),
    "fedjax": ("fedjax==0.0.17",),
}
_JAX_ALONE: Final = ("jax>=0.10,<1",)
_MINUTES: Final = 30


class PeerMissingError(Exception):
    """A peer cannot be run here; the text says why, in one line."""


def cache_folder() -> Path:
    """Return where environments and the world's files are kept between runs."""
    return Path(os.environ.get(CACHE) or Path(__file__).parents[2] / ".bench").resolve()


def python_of(peer: str | None) -> Path:
    """Return the Python that has a peer installed, after installing it if need be.

    Raises:
        PeerMissingError: If it cannot be installed, as without a network.
    """
    if peer is None:
        return Path(sys.executable)
    if peer == "flower":
        return _own_python()
    if peer == "fedjax":
        try:
            return _environment("fedjax", _NEEDS["fedjax"])
        except PeerMissingError:
            return _environment("jax", _JAX_ALONE)
    # torch first, as the Makefile does: else pip takes the newest, on Linux with all of CUDA.
    return _environment(peer, (_torch(), *_NEEDS[peer]))


def _own_python() -> Path:
    try:
        version("ray")
    except PackageNotFoundError as error:
        raise PeerMissingError('ray is not installed: pip install "homebody[ray]"') from error
    return Path(sys.executable)


def _torch() -> str:
    return os.environ.get("TORCH") or f"torch=={version('torch').partition('+')[0]}"


def _environment(name: str, needs: tuple[str, ...]) -> Path:
    """Return the Python of an environment with these requirements."""
    asked = hashlib.sha256("\n".join((sys.version, *needs)).encode()).hexdigest()
    folder = cache_folder() / name
    python = folder / "bin" / "python"
    mark = folder / "requirements.sha256"
    if mark.exists() and mark.read_text("utf-8") == asked:
        return python
    print(f"installing {', '.join(needs)} (once)", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(folder)], name)
    for need in needs:
        _run([str(python), "-m", "pip", "install", "--quiet", need], name)
    mark.write_text(asked, "utf-8")
    return python


def _run(command: list[str], name: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, capture_output=True, text=True, check=False, timeout=60 * _MINUTES
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissingError(f"{name} could not be installed: {type(error).__name__}") from error
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = (errors or done.stderr.splitlines() or ["no reason given"])[-1].removeprefix(
            "ERROR: "
        )
        raise PeerMissingError(f"{name} could not be installed: {why[:160]}")
