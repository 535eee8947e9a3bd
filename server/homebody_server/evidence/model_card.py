"""Section 7: the card of the model that devices get, with its privacy section."""

from homebody_server.evidence.case import Case
from homebody_server.evidence.figures import correlated_of
from homebody_server.evidence.promise_part import bets, claim, not_covered, switched_off
from homebody_server.evidence.sources import bundle_digest
from homebody_server.evidence.words import (
    CHECKED,
    ENFORCED,
    WORD,
    Answer,
    Part,
    Sheet,
    Statement,
    listed,
)

_ABOUT = (
    "Made of the signed bundle, the approved config and the ledger. Quality figures of the "
    "laboratory "
    "are not on it: no noise was added to them, and the privacy figure does not cover them."
)


def model_card(case: Case) -> Sheet:
    """Return the card of a run's model."""
    return Sheet(
        key="model-card",
        title="Model card",
        about=_ABOUT,
        parts=(
            Part("The model", (_model(case), _use(case))),
            Part("How it was made", (_made(case), _data(case))),
            Part("Privacy", _privacy(case)),
            Part("Quality", (_quality(case), _groups())),
            Part("Life", (_life(case),)),
        ),
    )


def released_figures(case: Case) -> tuple[Statement, ...]:
    """Return the figures about people that were released with noise, each with its charge."""
    found = []
    for entry in case.record.of_kind("answer"):
        values = entry.values.get("values", {})
        words = listed(f"{name} {value:.4f}" for name, value in sorted(values.items()))
        text = (
            f"{entry.values.get('name')}: {words}, as devices sent them, with noise; charged to "
            "the "
            "ledger. Noise may carry a figure beyond the range it has."
        )
        found.append(Statement(text, CHECKED, (f"ledger:{entry.index}",)))
    return tuple(found)


def _model(case: Case) -> Answer:
    bundle, card = case.record.bundle, case.record.card
    if bundle is None or card is None:
        none = Statement("The run published no model.", CHECKED, ("verify",))
        return Answer("What it is", (none,))
    what = (
        f"{card.get('model')} {card.get('version')}: {card.get('does')}. {card.get('items')} "
        "items, "
        f"{card.get('quantisation')}."
    )
    digest = f"Manifest sha256:{bundle_digest(case.record)}, serial {bundle.get('serial')}."
    refs = (*case.record.refs("model_released"), "bundle")
    return Answer(
        "What it is",
        (Statement(what, CHECKED, ("bundle",)), Statement(digest, CHECKED, refs)),
    )


def _use(case: Case) -> Answer:
    transparency = case.record.config.transparency
    text = (
        "To rank items on a person's own device. Not for decisions about people; class under "
        "the EU "
        f"AI Act by the controller's own finding: {transparency.ai_act_class}."
    )
    return Answer(
        "Use, and what it is not for",
        (Statement(text, WORD, ("config:transparency.ai_act_class", "rule:ADM-001")),),
    )


def _made(case: Case) -> Answer:
    record, dp = case.record, case.record.config.dp
    ledger = record.ledger
    rounds = 0 if ledger is None else ledger.closed
    sums = 0 if ledger is None else len(ledger.statistics)
    text = (
        f"{sums} one-shot statistics and {rounds} rounds on devices; mechanism {dp.mechanism}, "
        "clip "
        f"norm {dp.clip_norm:g}. Pretraining: {dp.pretraining}. Tuned on {dp.tuning_data} data, "
        f"{dp.tuning_runs} runs that are in no ledger."
    )
    found = [Statement(text, CHECKED, (*record.refs("purchase", "intent"), "rule:DP-013"))]
    run = correlated_of(record)
    if run is not None:
        noise = (
            f"Noise multiplier {run.noise_multiplier:g} on the sum over the clip norm before it is "
            f"correlated; sensitivity {run.sensitivity:.5f}; a device joins at most "
            f"{run.max_rounds} "
            f"rounds, {run.min_separation} apart."
        )
        found.append(Statement(noise, CHECKED, record.refs("purchase")))
    return Answer("Training", tuple(found))


def _data(case: Case) -> Answer:
    config = case.record.config
    text = (
        f"Events that people's devices hold: {listed(config.features)}. Nobody else holds them; "
        "the "
        f"population is {config.activity.population} consenting devices, by the config."
    )
    simulated = (
        (Statement("Here the devices were simulated.", WORD, ("ledger:0",)),)
        if case.record.simulated
        else ()
    )
    return Answer("Data", (Statement(text, WORD, ("config:activity.population",)), *simulated))


def _privacy(case: Case) -> tuple[Answer, ...]:
    said = claim(case)
    if said is None:
        none = Statement(
            f"No figure is shown: {listed(case.withheld)}.", CHECKED, ("verify", "check")
        )
        return (Answer("What may be said of it", (none,)), Answer("Not covered", not_covered(case)))
    return (
        Answer("What may be said of it", (said, *bets(case))),
        Answer("Not covered", not_covered(case)),
        Answer("Switched off", switched_off(case)),
    )


def _quality(case: Case) -> Answer:
    found = released_figures(case)
    none = Statement(
        "No figure about its lists was released: none was asked, so none was charged.",
        CHECKED,
        ("verify",),
    )
    return Answer("What devices said of it", found or (none,))


def _groups() -> Answer:
    return Answer(
        "Whom it serves less",
        people="devices with few events and rare items lose most to noise; the run's own report "
        "has laboratory figures by group, which this pack does not copy",
    )


def _life(case: Case) -> Answer:
    days = case.record.config.release.retire_after_days
    text = f"It leaves devices {days} days after its release at the latest."
    return Answer("End", (Statement(text, ENFORCED, ("config:release.retire_after_days",)),))
