"""Take the pictures of an evidence pack for the docs: ``python -m tests.system.evidence_images``.

The sample project of ``docs/examples/compliance``, approved by two made-up people, simulated,
cosigned and packed by the commands of the reviewer's guide. Written to ``docs/images``.
"""

import base64
import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from homebody.cli import run as homebody
from homebody_privacy.environment import STATE

from .device_pages import Browser, chromium

_ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = _ROOT / "docs" / "images"
_PEOPLE: Final = ("dpo@example.org", "security@example.org")
_WITNESS: Final = "compliance@example.org"


def sample_pack(folder: Path) -> Path:
    """Run the sample project through and return its pack.

    Args:
        folder: An empty folder, which becomes the working folder.

    Raises:
        RuntimeError: If a command ends with another exit code than 0.
    """
    shutil.copytree(_ROOT / "docs" / "examples" / "compliance", folder, dirs_exist_ok=True)
    os.chdir(folder)
    lines = ['schema = "reviewers/1"']
    for name in (*_PEOPLE, _WITNESS):
        witness = ["--witness"] if name == _WITNESS else []
        lines.append(_told(["keys", "new", f"{name}.key", "--as", name, *witness]))
    keys = folder / "reviewer-keys.toml"
    keys.write_text("\n".join(lines), "utf-8")
    own = ["--policy", "policy.toml", "--reviewers", keys.name]
    for name in _PEOPLE:
        _told(
            ["approve", "privacy.toml", "--installed", "--as", name, "--key", f"{name}.key", *own]
        )
    data = ["--data", "synthetic", "--devices", "600", "--epsilon", "1", "--name", "autumn"]
    _told(["simulate", *data, "--config", "privacy.toml", *own])
    _told(["cosign", "runs/autumn", "--key", f"{_WITNESS}.key", "--as", _WITNESS])
    publisher = base64.b64encode((folder / "runs" / "publisher.pub").read_bytes()).decode()
    ledger = (folder / "runs" / "ledger.pub").read_text("utf-8").strip()
    with keys.open("a", encoding="utf-8") as file:
        file.write(f'\n[ledger]\nkey = "{ledger}"\n[publisher]\nkey = "{publisher}"\n')
    _told(["report", "runs/autumn", "--evidence", "evidence", "--keys", keys.name])
    return folder / "evidence"


def take(browser: Browser, pack: Path) -> None:
    """Write every picture."""
    for name, (width, height) in (("face", (1180, 1240)), ("phone", (390, 844))):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto((pack / "index.html").as_uri())
        page.screenshot(path=IMAGES / f"evidence-{name}.png")
        page.close()


def _told(arguments: Sequence[str]) -> str:
    """Run a command and return what it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = homebody(list(arguments))
    if code:
        raise RuntimeError(f"homebody {' '.join(arguments)} ended with {code}")
    return said.getvalue()


if __name__ == "__main__":
    IMAGES.mkdir(parents=True, exist_ok=True)
    with chromium() as started, tempfile.TemporaryDirectory() as temporary:
        os.environ[STATE] = str(Path(temporary) / "state")
        project = Path(temporary) / "project"
        project.mkdir()
        take(started, sample_pack(project))
