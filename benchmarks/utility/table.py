"""The cards as the tables of docs/utility.md."""

import math
from typing import Any, Final

from cards import BY_NAME, CARDS, Card
from judge import judged, kept_card

BEGIN: Final = "<!-- cards: printed by python benchmarks/utility --table -->"
END: Final = "<!-- end of cards -->"
Rows = list[tuple[str, ...]]


def kept_cards() -> dict[str, dict[str, Any]]:
    """Return the cards that were measured, by name, in the order they are defined."""
    found = {name: kept_card(name) for name in BY_NAME}
    return {name: judged(card) for name, card in found.items() if card is not None}


def tables() -> str:
    """Return all tables, as the page has them."""
    kept = kept_cards()
    parts = [
        ("One-shot statistics", _statistics(kept)),
        ("Groceries: kept of the gain without privacy", _gains(kept)),
        ("Statistics, then rounds", _both(kept)),
        ("Cold items, and a file of one's own", _special(kept)),
        ("Without privacy", _baselines(kept)),
        ("Sweeps", _sweep(kept)),
    ]
    shown = [f"### {title}\n\n{_markdown(rows)}" for title, rows in parts if len(rows) > 1]
    shown += [_picture(card) for card in CARDS if card.kind == "sweep" and card.name in kept]
    return "\n\n".join([BEGIN, *shown, END])


def put_in(page: str) -> str:
    """Return a page with the tables of the kept cards in place of those it has."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{tables()}{after}"


def figure_line(name: str) -> str:
    """Return a measured card in one line."""
    card = kept_cards()[name]
    if "ndcg@10" not in card:
        return f"{name}: {len(card['rows'])} rows"
    return f"{name}: ndcg@10 {_figure(card)}, {_target(card)}"


def _statistics(kept: dict[str, dict[str, Any]]) -> Rows:
    head = (
        "data set, ε (δ)",
        "ndcg@10: mean (sd; seeds)",
        "95 % over devices and seeds",
        "hit@10",
        "of no DP",
        "of windowed EASE",
        "popularity",
        "up a device",
        "target",
    )
    rows = [head]
    for card in CARDS:
        if card.kind != "run" or card.recipe != "statistics" or card.name not in kept:
            continue
        found = kept[card.name]
        rows.append(
            (
                _what(card, found),
                _figure(found),
                _interval(found),
                f"{found['hit@10']['mean']:.4f}",
                _percent(found, "no_dp"),
                _goal(card, found),
                f"{found['popularity']['ndcg@10']:.4f}",
                _bytes(found["upload_bytes"]),
                "the next table" if card.gain else _target(found),
            )
        )
    return rows


def _gains(kept: dict[str, dict[str, Any]]) -> Rows:
    head = ("data set, ε", "task", "ndcg@10", "popularity", "no DP", "gain kept", "asked")
    rows = [head]
    for card in CARDS:
        for gain in kept.get(card.name, {}).get("gains", ()):
            figures = (gain[name] for name in ("ndcg@10", "popularity", "no_dp"))
            rows.append(
                (
                    f"{card.data}, ε {card.epsilon:g}",
                    gain["task"],
                    *(f"{figure:.4f}" for figure in figures),
                    f"{math.floor(100 * gain['kept'])} %",
                    _asked(gain["kept"], card.gain or 0.0),
                )
            )
    return rows


def _asked(share: float, least: float) -> str:
    return f"{100 * least:.0f} %: {'met' if share >= least else 'missed'}"


def _both(kept: dict[str, dict[str, Any]]) -> Rows:
    head = (
        *("data set, ε", "task", "start", "end", "shipped", "figure shipped"),
        *("of windowed EASE", "rounds", "up a device", "target"),
    )
    rows: Rows = [head]
    for card in CARDS:
        if card.kind != "run" or card.recipe != "both" or card.name not in kept:
            continue
        found = kept[card.name]
        stages = found["stages"]
        shipped = found["shipped"]
        rows.append(
            (
                f"{card.data}, ε {card.epsilon:g}",
                found["task"],
                *(_figure(stages[name]) if name in stages else "-" for name in ("start", "end")),
                ", ".join(f"{name} {shipped.count(name)}" for name in sorted(set(shipped))),
                _figure(found),
                _goal(card, found),
                str(found["rounds"]),
                _bytes(found["upload_bytes"]),
                _target(found),
            )
        )
    return rows


def _special(kept: dict[str, dict[str, Any]]) -> Rows:
    rows: Rows = [("what", "hit@10", "ndcg@10: mean (sd; seeds)", "popularity", "target")]
    for card in CARDS:
        if card.kind not in ("cold", "csv") or card.name not in kept:
            continue
        found = kept[card.name]
        floor = found["popularity"]
        what = {
            "cold": f"cold items of {card.data}, ε {card.epsilon:g}, {found['devices']} devices",
            "csv": f"CSV of user, item, timestamp: {found['devices']:,} users, ε {card.epsilon:g}",
        }[card.kind]
        rows.append(
            (
                what,
                f"{found['hit@10']['mean']:.4f}",
                _figure(found),
                "" if floor is None else f"{floor['ndcg@10']:.4f}",
                _target(found),
            )
        )
    return rows


def _baselines(kept: dict[str, dict[str, Any]]) -> Rows:
    cards = [card for card in CARDS if card.kind == "baselines" and card.name in kept]
    columns = [
        (card, task)
        for card in cards
        for task in dict.fromkeys(row["task"] for row in kept[card.name]["rows"])
    ]
    names = dict.fromkeys(row["name"] for card in cards for row in kept[card.name]["rows"])
    rows: Rows = [("ndcg@10 (hit@10)", *(f"{card.data}, {task}" for card, task in columns))]
    for name in names:
        cells = [name]
        for card, task in columns:
            found = [
                row for row in kept[card.name]["rows"] if (row["name"], row["task"]) == (name, task)
            ]
            cells.append(_pair(found[0]) if found else "-")
        rows.append(tuple(cells))
    return rows


def _pair(row: dict[str, Any]) -> str:
    return f"{row['ndcg@10']['mean']:.4f} ({row['hit@10']['mean']:.4f})"


def _sweep(kept: dict[str, dict[str, Any]]) -> Rows:
    rows: Rows = [("row", "noise", "ndcg@10: mean, 95 %", "coverage", "vs no-dp", "up a device")]
    for card in CARDS:
        if card.kind != "sweep" or card.name not in kept:
            continue
        for row in kept[card.name]["rows"]:
            name = {"point": f"ε {row['epsilon']:g}" if row["epsilon"] else "", "no-dp": "no-dp"}
            ndcg, mark = row["ndcg"], " (knee)" if row["knee"] else ""
            rows.append(
                (
                    f"{card.data}, {name.get(row['kind']) or row['name']}{mark}",
                    "" if row["noise"] is None else f"{row['noise']:.2f}",
                    f"{ndcg['mean']:.4f}, {ndcg['low']:.4f} to {ndcg['high']:.4f}",
                    f"{row['coverage']:.3f}",
                    "" if row["against"] is None else f"{100 * row['against']:+.0f} %",
                    "" if row["upload_bytes"] is None else _bytes(row["upload_bytes"]),
                )
            )
    return rows


def _picture(card: Card) -> str:
    words = f"{card.data}: ndcg@10 and coverage against epsilon, with floors, ceiling and knee"
    return f"![{words}](images/frontier-{card.data}.png)"


def _what(card: Card, found: dict[str, Any]) -> str:
    if card.epsilon is None:
        return f"{card.data}, no DP"
    smaller = f", head {found['settings']['head']}" if card.config != card.data else ""
    return f"{card.data}, ε {card.epsilon:g} ({found['delta']:g}){smaller}"


def _percent(found: dict[str, Any], name: str) -> str:
    share = found.get("shares", {}).get(name)
    # Rounded down: a share that misses its goal by a hair is not to be read as one that met it.
    return "" if share is None else f"{math.floor(100 * share)} %"


def _goal(card: Card, found: dict[str, Any]) -> str:
    share = _percent(found, "ease_windowed")
    return f"{share} (goal {100 * card.goal:.0f} %)" if share and card.goal else share


def _figure(found: dict[str, Any]) -> str:
    ndcg = found["ndcg@10"]
    return f"{ndcg['mean']:.4f} ({ndcg['sd']:.4f}; {len(ndcg['seeds'])})"


def _interval(found: dict[str, Any]) -> str:
    return f"{found['ndcg@10']['low']:.4f} to {found['ndcg@10']['high']:.4f}"


def _bytes(count: float) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"  # noqa: PLR2004


def _target(found: dict[str, Any]) -> str:
    if found["met"] is None:
        return ""
    asked = found["source"] if found["target"] is None else f"> {found['target']:.4f}"
    return f"{asked}: {'met' if found['met'] else 'missed'}"


def _markdown(rows: Rows) -> str:
    shown = [rows[0], ("---",) * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in shown)
