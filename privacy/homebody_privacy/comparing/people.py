"""Who processes what, for what, and how people are asked: direction of each field's change."""

from typing import Final

from .meaning import Meaning
from .verdicts import Direction, changed, given, items, more_is, ranked

_WEAKER, _STRONGER, _CHANGED = Direction.WEAKER, Direction.STRONGER, Direction.CHANGED
_more_weaker, _more_stronger = more_is(_WEAKER), more_is(_STRONGER)
_reference = given(_STRONGER)

ACTIVITY: Final = {
    "name": Meaning("what people know it as", changed),
    "controller": Meaning("who decides", changed, "new_controller", always=True),
    "address": Meaning("where the controller is", changed),
    "contact": Meaning("where people write to", changed),
    "authority": Meaning("authority for complaints", _reference, "weaker_rights"),
    "jurisdictions": Meaning(
        "people in {item} are addressed", items(_CHANGED), gone="people in {item} no longer are"
    ),
    "data_subjects": Meaning(
        "data about {item} is used too", items(_WEAKER), "new_people", "not about {item} any more"
    ),
    "population": Meaning("devices that are enrolled and consent", changed),
    "recipients": Meaning(
        "{item} gets released models or figures",
        items(_WEAKER),
        "new_recipient",
        "{item} gets nothing any more",
    ),
    "transfers": Meaning(
        "ground of transfers to third countries",
        ranked({"none": 2, "adequacy": 1, "scc": 0}),
        "new_transfer",
    ),
    "dpia_ref": Meaning("impact assessment", _reference, "weaker_oversight"),
}

PURPOSE: Final = {
    "title": Meaning("what people read beside the switch {name}", changed),
    "legal_basis": Meaning(
        "legal basis of {name}",
        ranked({"consent": 1, "contract": 0, "legitimate_interests": 0}),
        "weaker_rights",
    ),
    "reason": Meaning("why {name} rests on another basis", changed),
    "default": Meaning("how the switch {name} starts", ranked({"off": 1, "on": 0}), "starts_on"),
    "leaves_device": Meaning("{name} leaves the device", _more_weaker, "leaves_device"),
    "requires": Meaning(
        "{name} works only while {item} is on too",
        items(_CHANGED),
        gone="{name} works without {item}",
    ),
    "fides_use": Meaning("use of {name} (Fides)", changed, "changed_purpose", always=True),
    "dpv_purpose": Meaning("purpose of {name} (DPV)", changed, "changed_purpose", always=True),
}

FEATURE: Final = {
    "fields": Meaning(
        "{name} also holds {item}", items(_WEAKER), "more_data", "{name} no longer holds {item}"
    ),
    "events": Meaning(
        "{name} is also made from {item}",
        items(_WEAKER, empty_is_all=True),
        "more_data",
        "{name} is no longer made from {item}",
    ),
    "exclude": Meaning(
        "{item} is never collected into {name}",
        items(_STRONGER),
        "more_data",
        "{item} may be collected into {name}",
    ),
    "allow": Meaning(
        "{name} may now also be used for {item}",
        items(_WEAKER),
        "new_feature_use",
        "{name} may no longer be used for {item}",
    ),
    "fides_category": Meaning("category of {name} (Fides)", changed),
    "dpv_category": Meaning("category of {name} (DPV)", changed),
    "sensitivity": Meaning(
        "how sensitive {name} is treated as",
        ranked({"ordinary": 0, "elevated": 1, "special": 2, "criminal": 3}),
        "less_care",
    ),
    "risk_ref": Meaning("risk in the assessment of {name}", _reference, "weaker_oversight"),
    "ttl_days": Meaning("days {name} is kept on the device", _more_weaker, "longer_retention"),
    "max_rows": Meaning("most rows of {name} on the device", _more_weaker, "more_data"),
    "user_editable": Meaning("people may correct {name}", _more_stronger, "weaker_rights"),
}

CONSENT: Final = {
    "expiry_days": Meaning("days a yes holds", _more_weaker, "longer_consent"),
    "grace_days": Meaning("days data waits for a new yes", _more_weaker, "longer_retention"),
    "refusal_days": Meaning("days a no is kept, not asked again", _more_stronger, "weaker_rights"),
    "reach_back": Meaning("a yes covers rows older than itself", _more_weaker, "more_data"),
    "withdraw_max_seconds": Meaning("seconds a withdrawal may take", _more_weaker, "weaker_rights"),
    "server_copy": Meaning("what the server has of a receipt", changed),
    "receipts_years": Meaning("years receipts are kept", changed),
    "honour_gpc": Meaning("an opt-out signal closes purposes", _more_stronger, "weaker_rights"),
    "signals": Meaning(
        "the opt-out signal {item} is looked at",
        items(_STRONGER),
        "weaker_rights",
        "the opt-out signal {item} is not looked at",
    ),
    "min_age": Meaning("least age for purposes that leave", _more_stronger, "weaker_rights"),
    "notices.*.file": Meaning("where the notice in {name} is", changed),
    "notices.*.sha256": Meaning(
        "the words of the notice in {name}", changed, "new_notice", always=True
    ),
}
