"""Whether a card met its target, from the cards themselves."""

import json
from typing import Any

from cards import BY_NAME, KEPT, Card


def finish() -> None:
    """Write into every kept card what it keeps of no DP and whether its target was met."""
    for name in BY_NAME:
        found = kept_card(name)
        if found is not None:
            text = json.dumps(judged(found), indent=1) + "\n"
            (KEPT / f"{name}.json").write_text(text, "utf-8")


def kept_card(name: str | None) -> dict[str, Any] | None:
    """Return a card that was measured; None if it was not."""
    file = KEPT / f"{name}.json"
    return json.loads(file.read_text("utf-8")) if file.exists() else None


def judged(kept: dict[str, Any]) -> dict[str, Any]:
    """Return a card with its shares of figures without privacy, and ``met`` (None: no target)."""
    card = BY_NAME[kept["card"]]
    if "ndcg@10" not in kept:
        return {**kept, "met": None}
    own = kept["ndcg@10"]["mean"]
    bare = kept_card(card.against)
    best = _baseline(card, "ease-windowed", kept["task"])
    gains = [] if bare is None or card.gain is None else _gains(card, kept, bare)
    met = None
    if card.target is not None:
        met = own > card.target
    elif gains:
        met = min(each["kept"] for each in gains) >= card.gain
    elif card.kind == "csv":
        met = own > kept["popularity"]["ndcg@10"]
    shares = {
        "no_dp": None if bare is None else own / bare["ndcg@10"]["mean"],
        "ease_windowed": None if best is None or card.goal is None else own / best,
    }
    return {**kept, "shares": shares, "gains": gains, "met": met}


def _gains(card: Card, kept: dict[str, Any], bare: dict[str, Any]) -> list[dict[str, Any]]:
    """Return how much of the gain over popularity is kept, task by task.

    Popularity can be counted by events or by devices: the better of the two is the floor.
    """
    tasks = [(kept["task"], kept, bare, kept["popularity"]["ndcg@10"])]
    if kept["first_time"]:
        fresh, without = kept["first_time"], bare["first_time"]
        floor = fresh["popularity"]["ndcg@10"]["mean"]
        tasks.append(("new", fresh["model"], without["model"], floor))
    found = []
    for task, model, reference, counted in tasks:
        floor = max(counted, _baseline(card, "popularity", task) or 0.0)
        own, no_dp = model["ndcg@10"]["mean"], reference["ndcg@10"]["mean"]
        found.append(
            {
                "task": task,
                "ndcg@10": own,
                "popularity": floor,
                "no_dp": no_dp,
                "kept": (own - floor) / (no_dp - floor),
            }
        )
    return found


def _baseline(card: Card, name: str, task: str) -> float | None:
    """Return ndcg@10 of a baseline of the card's data; None where it was not measured."""
    shelf = kept_card(f"{card.data}-baselines")
    rows = [] if shelf is None else shelf["rows"]
    found = [row["ndcg@10"]["mean"] for row in rows if (row["name"], row["task"]) == (name, task)]
    return found[0] if found else None
