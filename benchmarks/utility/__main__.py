"""What a given epsilon buys: every figure of docs/utility.md, as cards.

    python benchmarks/utility [--all | --only NAME ...] [--work DIR] [--jobs N]

Runs the command line's own code and writes a card a figure into ``benchmarks/utility/cards``.
Without an option the small cards are measured, and nothing is changed but the cards. MovieLens and
Online Retail need HOMEBODY_DATA; without it those cards are left out, and the output says so.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cards import BY_NAME, CARDS, KEPT, Card
from judge import finish
from measure import measure, shown
from table import figure_line, put_in, tables

from homebody_privacy.environment import DATA, silence


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for and keep the cards."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--all", action="store_true", help="the large cards, too (about an hour)")
    parser.add_argument("--only", nargs="*", help="these cards, by name")
    parser.add_argument("--table", action="store_true", help="print what was kept, run nothing")
    parser.add_argument(
        "--list", action="store_true", help="print each card's command, run nothing"
    )
    parser.add_argument("--page", action="store_true", help="put the tables into docs/utility.md")
    parser.add_argument("--jobs", type=int, default=1, help="cards at a time")
    parser.add_argument("--work", type=Path, help="folder of runs; finished ones are not run again")
    asked = parser.parse_args(arguments)
    silence()
    if asked.list:
        for card in CARDS:
            print(f"{card.name}{' (small)' if card.small else ''}: {shown(card)}")
        return
    if asked.table:
        print(tables())
        return
    if asked.page:
        page = Path(__file__).parents[2] / "docs" / "utility.md"
        page.write_text(put_in(page.read_text("utf-8")), "utf-8")
        return
    unknown = [name for name in asked.only or () if name not in BY_NAME]
    if unknown:
        parser.error(f"no card is called {unknown[0]}; --list says which there are")
    cards = [card for card in CARDS if _is_asked(card, asked)]
    with tempfile.TemporaryDirectory() as own:
        _measure_all(cards, asked.work or Path(own), asked.jobs)


def _is_asked(card: Card, asked: argparse.Namespace) -> bool:
    if asked.only is not None:
        return card.name in asked.only
    return asked.all or card.small


def _measure_all(cards: Sequence[Card], work: Path, jobs: int) -> None:
    KEPT.mkdir(exist_ok=True)
    there = [card for card in cards if not _needs_folder(card) or os.environ.get(DATA)]
    for card in cards:
        if card not in there:
            print(f"{card.name}: left out, {DATA} is not set")
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        begun = {pool.submit(measure, card, work): card for card in there}
        for done in as_completed(begun):
            name = begun[done].name
            error = done.exception()
            if error is not None:
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr, flush=True)
                continue
            text = json.dumps(done.result(), indent=1) + "\n"
            (KEPT / f"{name}.json").write_text(text, "utf-8")
            finish()
            print(figure_line(name), flush=True)
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def _needs_folder(card: Card) -> bool:
    return card.data.startswith("movielens") or card.data == "online-retail"


if __name__ == "__main__":
    main()
