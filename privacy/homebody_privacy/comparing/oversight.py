"""Who may see what, for how long, and under whose eyes: direction of each field's change."""

from math import inf
from typing import Final

from .meaning import Meaning
from .verdicts import Direction, changed, items, more_is, ranked

_WEAKER, _STRONGER, _CHANGED = Direction.WEAKER, Direction.STRONGER, Direction.CHANGED
_more_weaker, _more_stronger = more_is(_WEAKER), more_is(_STRONGER)

REST: Final = {
    "aggregation.secagg": Meaning("the server sees sums alone", _more_stronger, "weaker_security"),
    "aggregation.report_goal": Meaning(
        "fewest replies in a round", more_is(_STRONGER, nothing=0), "weaker_security"
    ),
    "aggregation.max_dropout": Meaning(
        "share of nodes that may vanish from a sum", _more_weaker, "weaker_security"
    ),
    "aggregation.max_corrupt": Meaning(
        "share of nodes that may work with the server", _more_stronger, "weaker_security"
    ),
    "aggregation.min_nodes": Meaning("fewest nodes in a sum", _more_stronger, "weaker_security"),
    "aggregation.update_ttl_hours": Meaning(
        "hours a reply waits on the device", _more_weaker, "longer_retention"
    ),
    "transport.tls_min": Meaning(
        "least version of TLS", ranked({"1.2": 0, "1.3": 1}), "weaker_security"
    ),
    "transport.seal": Meaning("suite of the seal", changed),
    "transport.ip_log": Meaning(
        "what of addresses is logged", ranked({"full": 0, "truncated": 1, "none": 2}), "more_data"
    ),
    "release.min_k": Meaning("fewest people behind a figure", _more_stronger, "weaker_dp"),
    "release.requires": Meaning(
        "a release needs {item}",
        items(_STRONGER),
        "weaker_oversight",
        "a release no longer needs {item}",
    ),
    "release.audit_max_advantage": Meaning(
        "most an audit's attack may gain", _more_weaker, "weaker_oversight"
    ),
    "release.retire_after_days": Meaning(
        "days a model stays on devices", _more_weaker, "longer_retention"
    ),
    "retention.server_updates_hours": Meaning(
        "hours the server keeps replies", _more_weaker, "longer_retention"
    ),
    "retention.ledger_years": Meaning(
        "years the ledger is kept", _more_stronger, "weaker_oversight"
    ),
    "rights.trained_model": Meaning(
        "what a withdrawal does to trained models",
        ranked({"dp_only_stop_future": 0, "retrain_window": 1}),
        "weaker_rights",
    ),
    "rights.retrain_every_days": Meaning(
        "days between two fresh starts (0 is never)", more_is(_WEAKER, zero=inf), "weaker_rights"
    ),
    "transparency.main_parameters": Meaning(
        'people are told of "{item}"',
        items(_CHANGED),
        gone='people are no longer told of "{item}"',
    ),
    "transparency.non_profiling_option": Meaning(
        "a list without profiling is offered", _more_stronger, "weaker_rights"
    ),
    "transparency.significant_decision": Meaning(
        "decides with legal or similar effect", _more_weaker, "weaker_rights"
    ),
    "transparency.ai_act_class": Meaning("class of the EU AI Act", changed),
    "ledger.checkpoint_every_rounds": Meaning(
        "rounds between two signed checkpoints", _more_weaker, "weaker_oversight"
    ),
    "ledger.witness": Meaning(
        "who cosigns the ledger",
        ranked({"none": 0, "second_key": 1, "rfc3161": 1, "public_log": 1}),
        "weaker_oversight",
    ),
    "approval.required": Meaning("people who must sign", _more_stronger, "weaker_oversight"),
    "approval.approvers": Meaning(
        "{item} is asked to sign", items(_CHANGED), gone="{item} is no longer asked to sign"
    ),
    "approval.expires_days": Meaning("days an approval holds", _more_weaker, "weaker_oversight"),
}
