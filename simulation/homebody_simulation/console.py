"""What a run shows in a terminal: a bar on a TTY, one plain line a round elsewhere."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from homebody_client.bundles import open_model, read_public_key, trust_key
from homebody_client.recommend import recommend
from homebody_privacy.charges import round_up
from homebody_server.run_spec import RunSpec
from homebody_server.stages import STAGES
from homebody_simulation.compliance import policy_line
from homebody_simulation.curve import Point
from homebody_simulation.datasets import load_dataset
from homebody_simulation.setup import Prepared
from homebody_simulation.simulate import Progress as RunProgress
from homebody_simulation.simulate import SimulatedRun

_HISTORY_SHOWN = 5
_COLUMNS = ("ndcg@10", "hit@10", "coverage@10", "novelty@10")  # what 80 characters hold


def show_progress() -> RunProgress:
    """Return the progress for this terminal; it writes to stderr."""
    console = Console(stderr=True)
    return BarProgress(console) if console.is_terminal else LineProgress(console)


class LineProgress:
    """One line a round, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        """Write to ``console``."""
        self._console = console

    def begin(self, prepared: Prepared) -> None:
        """Say what is about to happen."""
        self._devices = prepared.spec.devices
        self._print(plan_line(prepared))
        found = policy_line(prepared.folder.read_json("run.json").get("check"))
        if found:
            self._print(found)

    def statistic(self, name: str, answered: int) -> None:
        """Write a line once everybody answered."""
        if answered >= self._devices:
            self._print(f"statistic={name} devices={answered}")

    def point(self, point: Point) -> None:
        """Write the round's line; round 0 is the start that statistics gave."""
        loss = "" if point.loss is None else f" loss={point.loss:.4f}"
        spent = "" if point.epsilon is None else f" eps_user={point.epsilon:.3f}"
        quality = "" if point.ndcg is None else f" ndcg@10={point.ndcg:.4f}"
        self._print(f"round={point.round}{loss}{quality}{spent}")

    def end(self) -> None:
        """Nothing to tidy."""

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class BarProgress:
    """A bar that stays in place."""

    def __init__(self, console: Console) -> None:
        """Draw on ``console``."""
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=4,
        )

    def begin(self, prepared: Prepared) -> None:
        """Say what is about to happen and draw the bar."""
        self._console.print(plan_line(prepared), highlight=False, markup=False)
        found = policy_line(prepared.folder.read_json("run.json").get("check"))
        if found:
            self._console.print(found, highlight=False, markup=False)
        spec = prepared.spec
        self._passes: dict[str, TaskID] = {
            one.name: self._bar.add_task(one.name, total=spec.devices, figures="devices")
            for one in spec.statistics
        }
        self._round = self._bar.add_task(
            "round", total=spec.rounds or 1, figures="", visible=spec.rounds > 0
        )
        self._bar.start()

    def statistic(self, name: str, answered: int) -> None:
        """Move the bar of a statistic."""
        self._bar.update(self._passes[name], completed=answered)

    def point(self, point: Point) -> None:
        """Move the bar of rounds."""
        spent = "" if point.epsilon is None else f"  ε {point.epsilon:.2f} (user)"
        quality = "" if point.ndcg is None else f"ndcg@10 {point.ndcg:.4f}"
        self._bar.update(self._round, completed=point.round, figures=f"{quality}{spent}")

    def end(self) -> None:
        """Leave the bar where it is."""
        self._bar.stop()


def plan_line(prepared: Prepared) -> str:
    """Return one line that says what a run is going to do."""
    spec = prepared.spec
    privacy = (
        "no differential privacy"
        if spec.ceiling is None
        else f"user-level epsilon at most {spec.ceiling:g} at delta {spec.delta:g}{_noise(spec)}"
    )
    carried = (
        "; ray has no TLS and asks nobody who they are: its raylets see their shards, so a "
        "private network and no real person's data"
        if prepared.request.runtime == "ray"
        else ""
    )
    return (
        f"{prepared.folder.name}: {spec.devices:,} devices, {_steps(spec)}, "
        f"{prepared.model.name} with {_size(prepared)}; {privacy}{carried}"
    )


def _size(prepared: Prepared) -> str:
    """Return how many parameters a model has, and how many of them rounds train."""
    layout = prepared.model.layout
    some = layout.frozen_size and prepared.spec.rounds
    trained = f" ({layout.trained_size:,} trained)" if some else ""
    return f"{layout.size:,} parameters{trained}"


def _steps(spec: RunSpec) -> str:
    """Return what a run does, in words."""
    passes = f"{len(spec.statistics)} one-shot statistics" if spec.statistics else ""
    if not spec.rounds:
        return passes
    rounds = f"cohort {spec.cohort_size} expected, {spec.rounds} rounds"
    return f"{passes}, then {rounds}" if passes else rounds


def _noise(spec: RunSpec) -> str:
    """Return what noise a run adds, in words."""
    sums = "".join(
        f", {one.name} with noise multiplier {round_up(one.noise_multiplier, 4)}"
        for one in spec.statistics
    )
    if not spec.rounds:
        return sums
    return f"{sums}, {spec.mechanism} with noise multiplier {round_up(spec.noise_multiplier, 4)}"


def show_summary(run: SimulatedRun) -> None:
    """Print the run's figures to stdout."""
    console = Console()
    report = run.report
    console.print(report["claim"]["statement"], highlight=False, soft_wrap=True)
    utility = report["utility"]
    table = Table(title=f"{report['data']['name']}: {utility['task_in_words']}, full ranking")
    table.add_column("", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for row in utility["rows"]:
        values = dict(zip(utility["names"], row["cells"], strict=True))
        cells = (values[name] for name in _COLUMNS)
        means = (cell["mean"] if isinstance(cell, dict) else cell for cell in cells)
        table.add_row(row["name"], *(f"{mean:.4f}" for mean in means))
    console.print(table)
    if len(report["shipping"]["stages"]) > 1:
        shipping = report["shipping"]
        console.print(
            f"devices get the {shipping['shipped']}: {shipping['why']}",
            highlight=False,
            markup=False,
        )
    for purchase, figures in report["released"].items():
        told = ", ".join(
            f"{name} {figure['value']:.4f} ± {1.96 * figure['noise_sd']:.4f}"
            for name, figure in figures.items()
        )
        console.print(
            f"{purchase}, sent by devices, noised and charged: {told}",
            highlight=False,
            markup=False,
        )
    own = report["utility"]["model"]["ndcg@10"]
    console.print(
        f"ndcg@10 {own['mean']:.4f} (95 % {own['low']:.4f} to {own['high']:.4f}) · "
        f"bundle {report['bundle']['bytes'] / 1000:.0f} kB · {_done(report)} in "
        f"{report['seconds']:.0f} s · {_rate(report['devices_per_second'])} devices/s",
        highlight=False,
    )
    console.print(f"report  {run.folder / 'report.html'}", highlight=False, soft_wrap=True)
    console.print(f"bundle  {run.bundle}", highlight=False, soft_wrap=True)


def _done(report: Mapping[str, Any]) -> str:
    """Return what was released before the figures, in words."""
    passes = report["passes"]
    words = [f"{passes} statistics"] if passes else []
    return " and ".join([*words, f"{report['rounds']} rounds"] if report["rounds"] else words)


def show_profile(run: SimulatedRun) -> None:
    """Print where the time of a run went, by stage."""
    whole = sum(run.seconds.values())
    table = Table(title=f"Where {whole:.1f} s went")
    table.add_column("stage", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    table.add_column("what it is")
    for name, what in STAGES.items():
        if name in run.seconds:
            seconds = run.seconds[name]
            table.add_row(name, f"{seconds:.2f}", f"{seconds / (whole or 1.0):.0%}", what)
    Console().print(table)


def show_device(run: SimulatedRun) -> None:
    """Let one simulated device open the bundle and print its ten best with reasons."""
    request = run.report["data"]
    data = run.data
    if data is None:  # the run ended earlier
        data = load_dataset(request["name"], **request["options"]).interactions
    lengths = data.ptr[1:] - data.ptr[:-1]
    device_number = int(lengths.argsort(kind="stable")[len(lengths) // 2])  # neither cold nor hot
    titles = dict(zip(data.catalog.ids, data.catalog.titles, strict=True))
    trust = trust_key(read_public_key(run.trusted_key))
    model = open_model(run.bundle, trust, now=int(time.time()))
    history = [data.catalog.ids[i] for i in data.history(device_number)[-64:]]
    answer = recommend(model, history, n=10, hide_seen=not data.repeats, titles=titles)
    console = Console()
    latest = ", ".join(titles[p] for p in history[: -_HISTORY_SHOWN - 1 : -1])
    console.print(f"\nOne device; its latest choices: {latest}", highlight=False)
    table = Table(title="Ranked on the device, by the signed bundle")
    table.add_column("", justify="right")
    table.add_column("item")
    table.add_column("score", justify="right")
    table.add_column("reason")
    for place, item in enumerate(answer, start=1):
        title = titles[item.product_id]
        table.add_row(str(place), title, f"{item.score:.3f}", item.reason.text)
    console.print(table)


def _rate(per_second: float) -> str:
    """Return a rate as people read it: a fleet trains less than one device a second.

    Examples:
        >>> _rate(0.165), _rate(52.4)
        ('0.17', '52')
    """
    return f"{per_second:.0f}" if per_second >= 10 else f"{per_second:.2g}"  # noqa: PLR2004
