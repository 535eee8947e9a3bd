"""A finished run of a small project that compliance looked at, and its evidence pack."""

import json
import shutil
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import tomli_w

from homebody_privacy.approval.approvals_file import to_values
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.approval.statement import Approval, Waiver, sign
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.signing import SigningKey
from homebody_server.evidence.case import Case, open_case
from homebody_server.evidence.pack import write_pack
from homebody_server.evidence.sources import read_run
from homebody_simulation.api import simulate

DEVICES: Final = 60
DAY_S: Final = 86_400
NOW: Final = 1_830_297_600
"""2028-01-01, whatever the clock says: no test depends on the day it runs on."""

REVIEWERS: Final = {
    name: SigningKey(bytes([number]) * 32)
    for number, name in enumerate(("dpo@example.org", "security@example.org"), start=1)
}
_PROJECT: Final = Path(__file__).parents[2] / "docs" / "examples" / "compliance" / "privacy.toml"
_SMALL: Final[dict[str, Any]] = {
    "rounds": 2,
    "min_separation": 2,
    "max_rounds_per_device": 1,
    "cohort_size": 20,
    "cohort_cap": 43,
    "delta": 1e-3,
    "budget_scope": "run",
    "epsilon_max": 4.0,
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
    """Write the sample project for sixty devices.

    Args:
        folder: Where to.
        population: Devices the config speaks of.
        coins: Whether cohorts are drawn by secret coins.
    """
    values = tomllib.loads(_PROJECT.read_text("utf-8"))
    values["activity"]["population"] = population
    values["aggregation"]["report_goal"] = 5
    if coins:
        del values["aggregation"]["report_goal"]
    for metric in values["metrics"].values():
        metric["releases_per_run"] = 1
        metric["noise_multiplier"] = 20.0
    values["dp"] |= _SMALL | (_COINS if coins else {})
    del values["dp"]["blt"], values["dp"]["noise_multiplier"]
    shutil.copytree(_PROJECT.parent / "notices", folder / "notices", dirs_exist_ok=True)
    path = folder / "privacy.toml"
    path.write_text(tomli_w.dumps(values), "utf-8")
    return path


def finished(folder: Path, *, population: int = DEVICES, coins: bool = False) -> Path:
    """Run the small project and return the run's folder."""
    folder.mkdir()
    config = write_project(folder, population=population, coins=coins)
    runs = folder / "runs"
    run = simulate("synthetic", devices=DEVICES, items=20, config=config, runs=runs, name="autumn")
    return run.folder


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


def opened(run: Path, keys: ReviewerKeys | None = None, now: int = NOW) -> Case:
    """Judge a run."""
    return open_case(read_run(run), keys, now)


def packed(run: Path, folder: Path, *, now: int = NOW) -> Path:
    """Write the pack of a run and return its folder."""
    write_pack(folder, opened(run, now=now), key_of(run))
    return folder


def pinned() -> ReviewerKeys:
    """Return the reviewers' keys, pinned."""
    return ReviewerKeys({name: key.public for name, key in REVIEWERS.items()}, {})


def waiver(run: Path, by: str, *, expires: int, reason: str = "a trial of sixty people") -> Waiver:
    """Return a waiver of the least number of replies, for the config of a run."""
    return Waiver(
        rule="AGG-002",
        path="aggregation.report_goal",
        reason=reason,
        config=PrivacyConfig.read(run / "privacy.toml").digest(),
        by=by,
        issued=NOW - 10 * DAY_S,
        expires=expires,
    )


def approval(run: Path, by: str, waivers: Iterable[Waiver] = ()) -> Approval:
    """Return an approval of the config of a run."""
    config = PrivacyConfig.read(run / "privacy.toml")
    return Approval(
        config=config.digest(),
        app="ab" * 32,
        by=by,
        revision=config.revision,
        policy_version=config.activity.policy_version,
        waivers=tuple(sorted(one.digest for one in waivers)),
        issued=NOW - 9 * DAY_S,
        expires=NOW + 100 * DAY_S,
    )


def put_approvals(run: Path, statements: Iterable[Approval | Waiver]) -> None:
    """Put what reviewers signed into a run."""
    envelopes = [sign(one, REVIEWERS[one.by]) for one in statements]
    edit_run(run, lambda told: told.update(approvals=to_values(envelopes)))


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
