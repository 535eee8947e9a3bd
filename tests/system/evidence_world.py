"""A finished run of a small project that two reviewers approved, and its evidence pack."""

import base64
import json
import shutil
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import tomli_w

from homebody.cli import run as homebody
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.signing import SigningKey
from homebody_server.evidence.case import Case, open_case
from homebody_server.evidence.pack import write_pack
from homebody_server.evidence.sources import read_run
from homebody_simulation.request import Request
from homebody_simulation.simulate import simulate
from tests.approving import approve_file
from tests.privacy.review_world import DPO, KEYS, keys_text

DEVICES: Final = 60
DAY_S: Final = 86_400
NOW: Final = int(time.time()) // DAY_S * DAY_S
"""The day of the tests: approvals are signed by the clock."""

POLICY: Final = "policy.toml"
PINNED: Final = "reviewer-keys.toml"

_PROJECT: Final = Path(__file__).parents[2] / "docs" / "examples" / "compliance"
_SMALL: Final[dict[str, Any]] = {
    "rounds": 2,
    "min_separation": 2,
    "max_rounds_per_device": 1,
    "cohort_size": 20,
    "cohort_cap": 43,
    "delta": 1e-3,
    "budget_scope": "run",
    "epsilon_max": 4.0,
    "noise_multiplier": 1.6,
    "blt": {"theta": [0.99], "omega": [0.3]},
}
_COINS: Final[dict[str, Any]] = {
    "mechanism": "gaussian",
    "sampling": "poisson",
    "amplification": True,
    "min_separation": 1,
    "max_rounds_per_device": 2,
    "cohort_size": 30,
    "cohort_cap": DEVICES,
}
"""What of ``[dp]`` is another with secret cohorts."""


def write_project(folder: Path, *, population: int = DEVICES, coins: bool = False) -> Path:
    """Write the sample project for sixty devices, approved by two reviewers.

    Rules that so few devices cannot keep are lifted by waivers of both.

    Args:
        folder: Where to.
        population: Devices the config speaks of.
        coins: Whether cohorts are drawn by secret coins.
    """
    values = tomllib.loads((_PROJECT / "privacy.toml").read_text("utf-8"))
    values["activity"]["population"] = population
    values["aggregation"]["report_goal"] = 5
    for metric in values["metrics"].values():
        metric["releases_per_run"] = 1
        metric["noise_multiplier"] = 20.0
    values["dp"] |= _SMALL | (_COINS if coins else {})
    if coins:
        del values["aggregation"]["report_goal"], values["dp"]["blt"]
    shutil.copytree(_PROJECT / "notices", folder / "notices")
    path = folder / "privacy.toml"
    path.write_text(tomli_w.dumps(values), "utf-8")
    shutil.copy(_PROJECT / POLICY, folder / POLICY)
    (folder / PINNED).write_text(keys_text(), "utf-8")
    approve_file(path, enrolled=DEVICES, policy=folder / POLICY)
    return path


def finished(folder: Path, *, population: int = DEVICES, coins: bool = False) -> Path:
    """Run the small project and return the run's folder."""
    folder.mkdir()
    request = Request(
        data="synthetic",
        options={"devices": DEVICES, "items": 20},
        config_file=write_project(folder, population=population, coins=coins),
        policy=folder / POLICY,
        reviewers=folder / PINNED,
        name="autumn",
        runs=folder / "runs",
    )
    run = simulate(request).folder
    publisher = base64.b64encode((run.parent / "publisher.pub").read_bytes()).decode()
    ledger = (run.parent / "ledger.pub").read_text("utf-8").strip()
    with (folder / PINNED).open("a", encoding="utf-8") as file:
        file.write(f'\n[ledger]\nkey = "{ledger}"\n[publisher]\nkey = "{publisher}"\n')
    KEYS[DPO].save(folder / "witness.key")
    assert homebody(["cosign", str(run), "--key", str(folder / "witness.key"), "--as", DPO]) == 0
    return run


def copied(run: Path, folder: Path) -> Path:
    """Copy a run with the keys beside it, to be changed."""
    runs = folder / "runs"
    runs.mkdir(parents=True)
    for file in run.parent.iterdir():
        if file.is_file():
            shutil.copy2(file, runs / file.name)
    return Path(shutil.copytree(run, runs / run.name))


def key_of(run: Path) -> SigningKey:
    """Return the key of a run's ledger."""
    return SigningKey.load(run.parent / "ledger.key")


def pinned(run: Path) -> ReviewerKeys:
    """Return the keys that a reviewer of a run pinned."""
    return ReviewerKeys.load(run.parents[1] / PINNED)


def opened(run: Path, keys: ReviewerKeys | None = None, now: int = NOW) -> Case:
    """Judge a run."""
    return open_case(read_run(run), keys, now)


def packed(run: Path, folder: Path, keys: ReviewerKeys | None = None, *, now: int = NOW) -> Path:
    """Write the pack of a run and return its folder."""
    write_pack(folder, opened(run, keys, now=now), key_of(run))
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file of a pack by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def edit_run(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``run.json``."""
    path = run / "run.json"
    told = json.loads(path.read_text("utf-8"))
    change(told)
    path.write_text(json.dumps(told), "utf-8")


@dataclass
class Shape:
    """Links and places of a page.

    Attributes:
        links: Where it leads.
        ids: Places in it.
        tags: Every tag, opened.
        text: What a person reads.
    """

    links: list[str]
    ids: list[str]
    tags: list[str]
    text: str


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.shape = Shape([], [], [], "")
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.tags.append(tag)
        self._hidden = tag == "style"
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.shape.links.append(value)
            if name == "id" and value:
                self.shape.ids.append(value)

    def handle_endtag(self, tag: str) -> None:
        self._hidden = self._hidden and tag != "style"

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.shape.text += data


def shape_of(page: Path) -> Shape:
    """Return links, places and text of a page."""
    reader = _Reader()
    reader.feed(page.read_text("utf-8"))
    return reader.shape
