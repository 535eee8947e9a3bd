"""Section 8: two lists of questions a reviewer asks, answered from the record.

After the topics of NIST SP 800-226 and of the W3C's considerations for reviewing such systems, in
our own words: neither is quoted, and neither body has seen these lists.
"""

from homebody_server.evidence.case import Case
from homebody_server.evidence.model_card import released_figures
from homebody_server.evidence.promise_part import (
    bets,
    claim,
    devices_see_to,
    not_covered,
    operators_word,
    switched_off,
)
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

_OWN_WORDS = "In our own words; compare with the original before relying on it."


def guarantee_checklist(case: Case) -> Sheet:
    """Return the questions after NIST SP 800-226, from the guarantee down to the data."""
    return Sheet(
        key="nist-sp-800-226",
        title="Checklist after the topics of NIST SP 800-226",
        about=f"Questions on how to judge a guarantee. {_OWN_WORDS} It is no NIST document.",
        parts=(
            Part("The guarantee", (_parameters(case), _unit(case), _over_time(case))),
            Part("The mechanism", (_mechanism(case), _arithmetic(case), _accuracy(case))),
            Part("Around it", (_trust(case), _access(case), _collection(case), _untold(case))),
        ),
    )


def review_checklist(case: Case) -> Sheet:
    """Return the questions a reviewer without a background in the subject asks."""
    return Sheet(
        key="dp-review",
        title="Questions of a first review",
        about=(
            "After the considerations that a W3C group drafted for reviewers of such systems. "
            f"{_OWN_WORDS} It is no W3C document."
        ),
        parts=(
            Part("Whom does it protect from whom", (_trust(case), _against(case))),
            Part("How much", (_parameters(case), _unit(case), _repeated(case))),
            Part("What else", (_choice(case), _small(case), _wrong(case))),
        ),
    )


def _parameters(case: Case) -> Answer:
    said = claim(case)
    if said is None:
        text = f"No figure is shown: {listed(case.withheld)}."
        return Answer("Which figures", (Statement(text, CHECKED, ("verify", "check")),))
    return Answer("Which figures, and what do they mean", (said, *bets(case)))


def _unit(case: Case) -> Answer:
    dp = case.record.config.dp
    text = (
        f"The unit is {dp.unit}: all data of one device. Two worlds differ in one device, whose "
        f"contribution becomes zero ({dp.adjacency}). A person with two devices counts as two."
    )
    refs = ("config:dp.unit", "config:dp.adjacency", "rule:DP-003", "rule:DP-012", "ledger:0")
    return Answer(
        "What is one unit, and what is a neighbouring data set", (Statement(text, CHECKED, refs),)
    )


def _over_time(case: Case) -> Answer:
    dp, figures = case.record.config.dp, case.figures
    each = dp.budget_scope == "run"
    scope = "Each run has a budget of its own" if each else "There is one budget for life"
    refs = ("config:dp.budget_scope", "rule:DP-006", "rule:DP-014")
    if figures is None:
        return Answer("What happens over time", (Statement(f"{scope}.", CHECKED, refs),))
    kept = "stays within" if figures.epsilon <= figures.cap else "went PAST"
    about = f"epsilon {figures.cap:g} at delta {figures.delta:g}, user level"
    cap = f"{scope}; this ledger {kept} {about}."
    found = [Statement(cap, CHECKED, (*refs, "config:dp.epsilon_max", "verify"))]
    if figures.carried:
        text = "What earlier runs on the same people spent is carried into this ledger."
        found.append(Statement(text, CHECKED, ("ledger:0",)))
    return Answer("What happens over time", tuple(found))


def _mechanism(case: Case) -> Answer:
    dp = case.record.config.dp
    words = {
        "blt": "Gaussian noise, correlated over rounds; nothing is assumed about who takes part",
        "gaussian": "Gaussian noise, fresh each round, on cohorts drawn by secret coins",
        "none": "none",
    }
    text = f"{words[dp.mechanism]}; contributions are clipped to length {dp.clip_norm:g} first."
    refs = ("config:dp.mechanism", "config:dp.clip_norm", *case.record.refs("purchase", "intent"))
    return Answer("Which mechanism", (Statement(text[:1].upper() + text[1:], CHECKED, refs),))


def _arithmetic(case: Case) -> Answer:
    bits = case.record.config.dp.lattice_bits
    text = (
        f"Contributions and noise are whole numbers on a lattice of 2^{bits} steps to the clip "
        "norm: "
        "no noise is added to floating-point values. A key from the operating system is "
        "stretched by a "
        "stream cipher."
    )
    return Answer(
        "Is the arithmetic safe", (Statement(text, CHECKED, ("config:dp.lattice_bits",)),)
    )


def _accuracy(case: Case) -> Answer:
    return Answer(
        "How useful is what is left",
        released_figures(case),
        people="the run's own report compares with popularity and local-only; those figures carry "
        "no noise and stay with the operator",
    )


def _trust(case: Case) -> Answer:
    return Answer("In whom must one trust, and for what", operators_word(case))


def _against(case: Case) -> Answer:
    return Answer("What is out of its reach", not_covered(case))


def _access(case: Case) -> Answer:
    transport = case.record.config.transport
    text = (
        f"Between device and aggregator: {transport.seal}, over TLS {transport.tls_min} or later. "
        "The masks of secure aggregation are not post-quantum."
    )
    return Answer(
        "Who can reach what",
        (Statement(text, ENFORCED, ("config:transport.seal", "config:transport.tls_min")),),
        people="access to the server's machines",
    )


def _collection(case: Case) -> Answer:
    return Answer("What of the collected data is exposed before any noise", devices_see_to(case))


def _untold(case: Case) -> Answer:
    return Answer("What is released or known without noise", not_covered(case))


def _repeated(case: Case) -> Answer:
    return _over_time(case)


def _choice(case: Case) -> Answer:
    return Answer("Can a person say no, and change their mind", switched_off(case))


def _small(case: Case) -> Answer:
    least = case.record.config.release.min_k
    goal = case.record.config.aggregation.report_goal
    rounds = f"; a round with under {goal} replies releases nothing" if goal else ""
    text = f"No figure is released about under {least} people{rounds}."
    refs = ("config:release.min_k", "rule:REL-001", "rule:AGG-002")
    return Answer("What of small groups", (Statement(text, WORD, refs),))


def _wrong(case: Case) -> Answer:
    lines = tuple(
        Statement(line.text[:1].upper() + line.text[1:], CHECKED, ("verify",))
        for line in case.lines
        if line.mark != "ok"
    )
    nothing = Statement("Nothing: all is as it should be.", CHECKED, ("verify",))
    return Answer(
        "What did the check of the record find, besides what is as it should be",
        lines or (nothing,),
    )
