"""What is measured beside the table of systems, and what is shown of each worker's answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from device_figure import Figure
from running import ask

_PROGRAM: Final = "section_worker.py"
_SMALL: Final = 500
_LARGE: Final = 10_000
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of the page.

    Attributes:
        name: What ``--only`` takes, and what its worker is told.
        title: Its heading.
        slow: Whether it is measured only when asked for.
        shown: Makes a table's head and rows, and figures with targets, of the worker's answer.
        timeout_s: Seconds after which it is given up.
    """

    name: str
    title: str
    slow: bool = False
    shown: Callable[[Answer], tuple[Sequence[str], list[list[str]], list[Figure]]]
    timeout_s: float = 900.0


def measure(section: Section, *, quick: bool) -> dict[str, Any]:
    """Return what a section found, with the table and the figures it shows.

    Raises:
        NotHereError: If it needs what this machine has not.
        WorkerFailedError: If its worker ends without an answer.
    """
    answer = ask(_PROGRAM, section.name, quick=quick, timeout_s=section.timeout_s)
    return shown(section, answer)


def shown(section: Section, answer: Answer) -> dict[str, Any]:
    """Return what is kept of an answer."""
    head, rows, figures = section.shown(answer)
    return {
        "title": section.title,
        "head": list(head),
        "rows": rows,
        "figures": [figure.to_json() for figure in figures],
        "answer": answer,
    }


def _cohorts(answer: Answer) -> tuple[Sequence[str], list[list[str]], list[Figure]]:
    sizes = answer["sizes"]
    head = (
        *("cohort, of 1M devices", "devices/s, 2 threads", "training alone", "per core-second"),
        *("a round", "devices/s, 1 thread", "2 threads to 1"),
    )
    rows = [
        [
            f"{one['cohort']:,}",
            f"{one['devices_s']:,.0f}",
            f"{one['trained_s']:,.0f}",
            f"{one['per_core_s']:,.0f}",
            f"{1000 * one['cohort'] / one['devices_s']:,.1f} ms",
            f"{one['one_thread_s']:,.0f}",
            f"{one['devices_s'] / one['one_thread_s']:.2f} x",
        ]
        for one in sizes
    ]
    figures = []
    ways = (
        ("whole rounds, 2 threads", "devices_s"),
        ("whole rounds, 1 thread", "one_thread_s"),
        ("training alone, 1 thread", "one_thread_trained_s"),
    )
    for what, name in ways:
        rates = [one[name] for one in sizes]
        figures.append(
            Figure(
                what=f"cohorts of {sizes[0]['cohort']:,} to {sizes[-1]['cohort']:,}, {what}, "
                "devices/s of the slowest",
                unit="{:,.0f}",
                value=min(rates),
                reference="the fastest",
                beside=max(rates),
                relation=">=",
                target=0.8,
                of_ratio=True,
            )
        )
    large = next((one for one in sizes if one["cohort"] >= _LARGE), sizes[-1])
    figures.append(
        Figure(
            what=f"2 threads against 1 at a cohort of {large['cohort']:,}, whole rounds, devices/s",
            unit="{:,.0f}",
            value=large["devices_s"],
            reference="it",
            beside=large["one_thread_s"],
            relation=">=",
            target=1.5,
            of_ratio=True,
        )
    )
    return head, rows, figures


def _whole(answer: Answer) -> tuple[Sequence[str], list[list[str]], list[Figure]]:
    return (
        (),
        [],
        [
            Figure(
                what=f"{answer['devices']:,} devices once, in cohorts of {answer['cohort']:,}",
                unit="{:.1f} s",
                value=answer["wall_s"],
                relation="<=",
                target=20.0,
            ),
            _memory(answer, 1.5),
        ],
    )


def _memory(answer: Answer, most: float) -> Figure:
    return Figure(
        what="most memory of its processes",
        unit="{:.2f} GB",
        value=answer["peak_bytes"] / 1e9,
        relation="<=",
        target=most,
    )


def _movielens(answer: Answer) -> tuple[Sequence[str], list[list[str]], list[Figure]]:
    return (
        (),
        [],
        [
            Figure(
                what=f"TwoTower, {answer['devices']:,} devices once, noise and step included",
                unit="{:.2f} s",
                value=answer["wall_s"],
                relation="<=",
                target=3.0,
                note=answer.get("note", ""),
            ),
        ],
    )


def _evaluation(answer: Answer) -> tuple[Sequence[str], list[list[str]], list[Figure]]:
    head = ("what", "devices", "devices/s", "seconds")
    rows = [
        [
            one["what"],
            f"{one['devices']:,}",
            f"{one['devices'] / one['wall_s']:,.0f}",
            f"{one['wall_s']:.3f}",
        ]
        for one in answer["parts"]
    ]
    return head, rows, []


def from_gpu_program(found: Answer) -> Answer:
    """Return the answer of section ``gpu`` from what ``gpu.py --json`` wrote on another machine."""
    towers = [
        {**one, "devices_s": one["devices"] / one["seconds"], "roofline": one["ratio"]}
        for one in found["towers"]
    ]
    passes = found.get("passes", [])  # what an older program wrote has none
    return {"rounds": found["rounds"], "towers": towers, "passes": passes}


def _gpu(answer: Answer) -> tuple[Sequence[str], list[list[str]], list[Figure]]:
    head = ("on the GPU", "devices/s")
    rows = [
        [f"TwoTower, {one['precision']}", f"{one['devices_s']:,.0f}"] for one in answer["towers"]
    ]
    rows += [
        [f"{one['what']}, {one['devices']:,} devices once", f"{one['devices_s']:,.0f}"]
        for one in answer["passes"]
    ]
    figures = []
    for one in answer["rounds"]:
        what = f"cohort {one['cohort']:,} of {one['population']:,}"
        rows.append([f"{what}, training alone", f"{one['trained_s']:,.0f}"])
        figures.append(
            Figure(
                what=f"{what}, whole rounds",
                unit="{:,.0f} devices/s",
                value=one["devices_s"],
                relation=">=",
                target=350_000.0 if one["cohort"] == _SMALL else 4_000_000.0,
            )
        )
    best = min(answer["towers"], key=lambda one: one["roofline"])
    figures.append(
        Figure(
            what=f"TwoTower, {best['precision']}, against its own roofline",
            unit="{:.2f} x the time",
            value=best["roofline"],
            relation="<=",
            target=2.0,
        )
    )
    return head, rows, figures


def _million(answer: Answer) -> tuple[Sequence[str], list[list[str]], list[Figure]]:
    head = ("stage", "seconds")
    rows = [[name, f"{seconds:.1f}"] for name, seconds in answer["stages"].items()]
    return (
        head,
        rows,
        [
            Figure(
                what=f"{answer['devices']:,} devices, {answer['rounds']} rounds of "
                f"{answer['cohort']:,}, from the command to the report",
                unit="{:.0f} s",
                value=answer["wall_s"],
                relation="<=",
                target=600.0,
            ),
            _memory(answer, 2.0 * 1.073741824),
        ],
    )


def _sweep(answer: Answer) -> tuple[Sequence[str], list[list[str]], list[Figure]]:
    figure = Figure(
        what=f"{answer['points']} epsilons, {answer['seeds']} seeds, Complete Journey",
        unit="{:.0f} s",
        value=answer["wall_s"],
        relation="<=",
        target=600.0,
    )
    return (), [], [figure]


def _ray(answer: Answer) -> tuple[Sequence[str], list[list[str]], list[Figure]]:
    seconds = answer["seconds"]
    head = ("raylets, a processor each", "a round", "devices/s")
    rows = [
        [raylets, f"{one:.1f} s", f"{answer['devices'] / one:,.0f}"]
        for raylets, one in seconds.items()
    ]
    figure = Figure(
        what=f"rounds of all {answer['devices']:,} devices on two raylets, devices/s a processor",
        unit="{:,.0f}",
        value=answer["devices"] / seconds["2"] / 2,
        reference="one raylet",
        beside=answer["devices"] / seconds["1"],
    )
    return head, rows, [figure]


SECTIONS: Final = (
    Section(name="cohorts", title="The size of a cohort", shown=_cohorts),
    Section(name="pass", title="Every one of a million devices, once", shown=_whole),
    Section(name="movielens", title="MovieLens 1M with TwoTower, one pass", shown=_movielens),
    Section(name="evaluation", title="Evaluation", shown=_evaluation),
    Section(name="gpu", title="A GPU", shown=_gpu),
    Section(
        name="million",
        title="A run of a million devices",
        slow=True,
        shown=_million,
        timeout_s=3600.0,
    ),
    Section(name="sweep", title="A sweep", slow=True, shown=_sweep, timeout_s=3600.0),
    Section(name="ray", title="A cluster", slow=True, shown=_ray, timeout_s=1800.0),
)
BY_NAME: Final = {section.name: section for section in SECTIONS}
