"""Section 6: the record of processing activities (GDPR Art. 30(1)), from the approved config."""

from homebody_server.evidence.case import Case
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
    "Filled in from the approved config, point by point after GDPR Art. 30(1). It is a record of "
    "one activity; the firm's whole record is its own."
)
_TRANSFERS = {
    "none": "No transfer to a third country.",
    "adequacy": "Transfers to third countries with an adequacy decision (Art. 45).",
    "scc": "Transfers under standard contractual clauses (Art. 46).",
}


def record_of_processing(case: Case) -> Sheet:
    """Return the record of processing of a run's activity."""
    return Sheet(
        key="ropa",
        title="Record of processing activities",
        about=_ABOUT,
        parts=(
            Part("Who", (_controller(case), _officer(case))),
            Part("What and why", (_purposes(case), _subjects(case), _recipients(case))),
            Part(
                "Where, how long, how protected", (_transfers(case), _limits(case), _guards(case))
            ),
        ),
    )


def _controller(case: Case) -> Answer:
    activity = case.record.config.activity
    text = f"{activity.controller}, {activity.address}. Contact: {activity.contact}."
    refs = ("config:activity.controller", "config:activity.address", "config:activity.contact")
    return Answer("Controller (a)", (Statement(text, WORD, refs),))


def _officer(case: Case) -> Answer:
    authority = case.record.config.activity.authority or "none named"
    text = f"Complaints go to: {authority}."
    return Answer(
        "Representative, joint controllers, data protection officer (a); authority",
        (Statement(text, WORD, ("config:activity.authority",)),),
        people="representative and joint controllers, if any, and the officer's name",
    )


def _purposes(case: Case) -> Answer:
    found = []
    for name, one in case.record.config.purposes.items():
        place = "something leaves the device" if one.leaves_device else "stays on the device"
        text = f"{one.title} ({name}): {one.legal_basis}; {place}; starts {one.default}."
        refs = (f"config:purposes.{name}.legal_basis", "rule:CON-010", "rule:CON-011")
        found.append(Statement(text, ENFORCED, refs))
    return Answer("Purposes and their legal basis (b)", tuple(found))


def _subjects(case: Case) -> Answer:
    config = case.record.config
    activity = config.activity
    people = f"People: {listed(activity.data_subjects)}, in {listed(activity.jurisdictions)}."
    found = [
        Statement(people, WORD, ("config:activity.data_subjects", "config:activity.jurisdictions"))
    ]
    for name, group in config.features.items():
        text = (
            f"{name} ({group.sensitivity}): {listed(group.fields)}; never collected: "
            f"{listed(group.exclude)}. {group.fides_category}, {group.dpv_category}."
        )
        refs = (f"feature:{name}", "rule:FEA-002", "rule:FEA-004", "rule:FEA-005")
        found.append(Statement(text, ENFORCED, refs))
    return Answer("Categories of people and of data (c)", tuple(found))


def _recipients(case: Case) -> Answer:
    activity = case.record.config.activity
    text = (
        f"Released models and figures go to the devices that rank and to: "
        f"{listed(activity.recipients)}. No single contribution goes to anybody but the sum."
    )
    return Answer(
        "Recipients (d)",
        (Statement(text, WORD, ("config:activity.recipients", "config:aggregation.secagg")),),
        people="processors (hosting of the server), which no file here names",
    )


def _transfers(case: Case) -> Answer:
    text = _TRANSFERS[case.record.config.activity.transfers]
    return Answer("Transfers (e)", (Statement(text, WORD, ("config:activity.transfers",)),))


def _limits(case: Case) -> Answer:
    config = case.record.config
    found = [
        Statement(
            f"On the device, {name}: {group.ttl_days} days, {group.max_rows} rows at most; earlier "
            "where consent ends.",
            ENFORCED,
            (f"feature:{name}", "config:consent.expiry_days"),
        )
        for name, group in config.features.items()
    ]
    hours = config.retention.server_updates_hours
    on_server = "in memory alone" if hours == 0 else f"{hours} hours"
    server = (
        f"On the server: replies {on_server}; the ledger {config.retention.ledger_years} years "
        "after its run. The ledger holds nobody's data."
    )
    receipts = (
        f"Receipts of consent: on the device, {config.consent.receipts_years} years after the last "
        f"event; the server has: {config.consent.server_copy}."
    )
    refs = (
        "config:retention.server_updates_hours",
        "config:retention.ledger_years",
        "rule:RET-001",
    )
    found.append(Statement(server, WORD, refs))
    found.append(Statement(receipts, ENFORCED, ("config:consent.receipts_years",)))
    return Answer("Limits for erasure (f)", tuple(found))


def _guards(case: Case) -> Answer:
    config = case.record.config
    transport = (
        f"On the wire: TLS {config.transport.tls_min} or later, a seal "
        f"{config.transport.seal} between device and aggregator; addresses logged: "
        f"{config.transport.ip_log}."
    )
    loss = (
        f"What is released carries noise: user level, epsilon at most {config.dp.epsilon_max:g} at "
        f"delta {config.dp.delta:g}, {config.dp.adjacency} adjacency, over "
        f"{'each run' if config.dp.budget_scope == 'run' else 'the lifetime of a device'}."
    )
    found = [Statement(transport, ENFORCED, ("config:transport.seal", "rule:TLS-002"))]
    if case.figures is not None:
        found.append(Statement(loss, CHECKED, ("config:dp.epsilon_max", "rule:DP-002", "verify")))
    return Answer(
        "Technical and organisational measures (g)",
        tuple(found),
        people="organisational measures: training, access to servers, contracts",
    )
