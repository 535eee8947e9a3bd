"""Section 5: the impact assessment (GDPR Art. 35), as far as a record can fill it in.

The parts follow the numbering of the EDPB's template as this project knows it from secondary text;
questions are in our own words. Parts 4 and 6 are judgements, and left to people.
"""

from homebody_privacy.explaining.withdrawal import at_once
from homebody_server.evidence.case import Case, day_of
from homebody_server.evidence.inventory import features_of, leaving_of
from homebody_server.evidence.promise_part import claim, devices_see_to, operators_word
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
    "A prefill in our own words, numbered after the EDPB's template, which must be compared "
    "with the "
    "original before it is used. Parts 0 to 3 and 5 are filled in from the record. Parts 4 and "
    "6 are "
    "judgements of people; nothing here makes them."
)


def impact_assessment(case: Case) -> Sheet:
    """Return the prefilled assessment."""
    return Sheet(
        key="dpia",
        title="Data protection impact assessment, prefilled",
        about=_ABOUT,
        parts=(
            Part("0 About this assessment", _about(case)),
            Part("1 What is done", _described(case)),
            Part("2 Is it needed, and no more than that", _needed(case)),
            Part("3 What may go wrong for people", _risks(case)),
            Part(
                "4 How likely and how bad",
                (Answer("The risks of part 3", people="how likely each is, and how severe"),),
            ),
            Part("5 What is done about it", _measures(case)),
            Part(
                "6 What remains, and who answers for it",
                (
                    Answer(
                        "The decision",
                        people="whether what remains is acceptable, and whether the authority is "
                        "asked (Art. 36)",
                    ),
                    Answer(
                        "Whom it was discussed with",
                        people="advice of the protection officer, views of the people concerned",
                    ),
                ),
            ),
        ),
    )


def _about(case: Case) -> tuple[Answer, ...]:
    config = case.record.config
    activity = config.activity
    reference = activity.dpia_ref or "none"
    versions = (
        f"Config sha256:{config.digest()[:16]}, revision {config.revision}, notice version "
        f"{activity.policy_version}; assessment {reference}."
    )
    signed = tuple(
        Statement(
            f"Approved by {one.by} on {day_of(one.issued)}, until {day_of(one.expires)}.",
            CHECKED,
            (f"approval:{index}", "rule:APP-001"),
        )
        for index, one in case.approvers
    )
    none = Statement("No approval came with this run.", CHECKED, ("verify", "rule:APP-001"))
    return (
        Answer(
            "Which processing, which version",
            (
                Statement(
                    f"{activity.name}, by {activity.controller}.", WORD, ("config:activity.name",)
                ),
                Statement(
                    versions, CHECKED, ("ledger:0", "config:activity.dpia_ref", "rule:DOC-001")
                ),
            ),
        ),
        Answer("Who approved it", signed or (none,)),
    )


def _described(case: Case) -> tuple[Answer, ...]:
    config = case.record.config
    data = tuple(
        Statement(
            f"{row.name}: {listed(row.fields)}; for {listed(row.purposes)}; kept {row.kept}; "
            f"leaves the device: {row.egress}.",
            ENFORCED,
            (f"feature:{row.name}",),
        )
        for row in features_of(config)
    )
    sent = tuple(
        Statement(
            f"{row.what[:1].upper()}{row.what[1:]}: {row.size} bytes, {row.times} times, under "
            f"{row.purpose}.",
            ENFORCED,
            ("egress",),
        )
        for row in leaving_of(case.record)
    )
    nothing = Statement("The log of what leaves is empty or not there.", CHECKED, ("egress",))
    steps = (
        "Events stay on the device in an encrypted store. The device ranks there. Under "
        "training it "
        "computes an update, clips it and sends it into a sum over many devices; noise is added to "
        "the sum before anything is released."
    )
    return (
        Answer(
            "Nature: the steps", (Statement(steps, ENFORCED, ("config:dp.clip_norm", "egress")),)
        ),
        Answer("Scope: the data", data),
        Answer("Scope: what leaves a device", sent or (nothing,)),
        Answer(
            "Context: the people",
            (
                Statement(
                    f"{listed(config.activity.data_subjects)}; purposes that leave are locked "
                    "under "
                    f"{config.consent.min_age} years.",
                    ENFORCED,
                    ("config:activity.data_subjects", "config:consent.min_age", "rule:CON-004"),
                ),
            ),
            people="the relation to these people, and what they may expect",
        ),
    )


def _needed(case: Case) -> tuple[Answer, ...]:
    config = case.record.config
    purposes = tuple(
        Statement(
            f"{one.title}: {one.legal_basis}" + (f", because {one.reason}." if one.reason else "."),
            ENFORCED,
            (f"config:purposes.{name}.legal_basis", "rule:CON-011", "rule:CON-012"),
        )
        for name, one in config.purposes.items()
    )
    consent = (
        f"A yes is to one purpose and named data, ends after {config.consent.expiry_days} days "
        "and is "
        f"asked again when the notice changes; a no is kept {config.consent.refusal_days} days. "
        "A no "
        "takes as many actions as a yes."
    )
    rights = (
        f"Access, correction, erasure, freeze and export are on the device. Switched off: "
        f"{at_once(config)}."
    )
    profiling = (
        "A list without profiling is "
        f"{'there' if config.transparency.non_profiling_option else 'missing'}; "
        f"a list is decided by: {listed(config.transparency.main_parameters)}."
    )
    return (
        Answer("Purposes and legal bases", purposes, people="why no milder means would do"),
        Answer(
            "Consent",
            (
                Statement(
                    consent,
                    ENFORCED,
                    ("config:consent.expiry_days", "rule:CON-001", "rule:CON-010"),
                ),
            ),
        ),
        Answer(
            "Rights",
            (
                Statement(
                    rights, ENFORCED, ("config:consent.withdraw_max_seconds", "rule:RGT-001")
                ),
                Statement(
                    profiling, ENFORCED, ("config:transparency.main_parameters", "rule:TRN-001")
                ),
            ),
        ),
        Answer(
            "Decisions about people",
            (
                Statement(
                    "No decision with legal or similar effect rests on it."
                    if not config.transparency.significant_decision
                    else "A decision with legal or similar effect rests on it.",
                    WORD,
                    ("config:transparency.significant_decision", "rule:ADM-001"),
                ),
            ),
        ),
    )


def _risks(case: Case) -> tuple[Answer, ...]:
    config = case.record.config
    named = tuple(
        Statement(
            f"{row.name} is {row.sensitivity}"
            + (f"; covered by risk {row.risk_ref}." if row.risk_ref else "."),
            WORD,
            (f"feature:{row.name}", "rule:FEA-004"),
        )
        for row in features_of(config)
    )
    guess = claim(case)
    known = (
        Statement(
            f"Somebody guesses from what is released that a person took part. {guess.text}",
            CHECKED,
            guess.refs,
        )
        if guess is not None
        else Statement(
            f"Somebody guesses from what is released that a person took part. No figure is shown: "
            f"{listed(case.withheld)}.",
            CHECKED,
            ("verify", "check"),
        )
    )
    return (
        Answer("From what is released", (known,)),
        Answer("From the kind of data", named),
        Answer(
            "If the operator does not keep its word",
            operators_word(case),
            people="risks from outside this record: lost devices, coercion, staff",
        ),
    )


def _measures(case: Case) -> tuple[Answer, ...]:
    kept = [finding for finding in case.check.findings if finding.refuses]
    rules = (
        f"{case.check.failed} rules failed, {case.check.warned} warned, {case.check.waived} "
        "lifted by "
        "a waiver."
    )
    failed = tuple(
        Statement(f"{one.rule} at {one.path}: {one.message}", CHECKED, (f"rule:{one.rule}",))
        for one in kept
    )
    return (
        Answer("Enforced on the device", devices_see_to(case)),
        Answer("Rules the config was checked by", (Statement(rules, CHECKED, ("check",)), *failed)),
        Answer(
            "Organisational measures",
            people="who may start a run, who holds which key, how incidents are handled",
        ),
    )
