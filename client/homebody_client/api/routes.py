"""What each address does, given a request that passed every check."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from homebody_privacy.consent import AGE_BANDS
from homebody_privacy.errors import UsageError

from . import answers
from .device_like import DeviceLike
from .messages import ApiResponse, bad, json_answer, missing
from .parameters import TEXT_MAX, Fields, Target, read_fields, read_json
from .profiles import SELECTORS, Profile, chosen

EVENTS_MAX: Final = 1_000
"""Events in one request."""

SURFACES: Final = ("home", "product", "cart")
REACTIONS: Final = ("like", "dislike")
METHODS: Final = ("api", "tap")
ERASE_WORD: Final = "erase"
"""What ``confirm`` must hold: an erase is never a slip."""

_TAIL: Final = 1_000
_VALUE_MAX: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A checked request and the device it means. Secret.

    Attributes:
        profiles: Every device this server answers for.
        target: Path and query.
        body: The body, at most 64 KiB.
    """

    profiles: Sequence[Profile] = field(repr=False)
    target: Target = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    def device(self, *parameters: str) -> DeviceLike:
        """Return the device meant, refusing query parameters that are not named."""
        self.target.only(*SELECTORS, *parameters)
        return chosen(self.profiles, self.target)[1]

    def fields(self, *allowed: str) -> Fields:
        """Return the body, an object whose fields are all named."""
        fields = read_fields(self.body)
        fields.only(*allowed)
        return fields


def recommendations(call: Call) -> ApiResponse:
    """Answer with a list; it is never empty and never an error for want of consent."""
    target = call.target
    target.only(*SELECTORS, "n", "surface", "product_id", "cart")
    surface = target.text("surface") or "home"
    product_id = target.text("product_id")
    cart = Fields({"cart": list(target.query.get("cart", ()))}).texts("cart")
    if surface not in SURFACES:
        raise bad("surface is none this device has.", f"give one of {', '.join(SURFACES)}")
    if (surface == "product") != (product_id is not None) or (cart and surface != "cart"):
        raise bad(
            "The surface and its item do not go together.",
            "give product_id with surface=product only, cart with surface=cart only",
        )
    number = target.number("n", 1, 100, 10)
    device = chosen(call.profiles, target)[1]
    found = device.recommend(surface=surface, n=number, product_id=product_id, cart=cart)
    return json_answer(answers.list_json(found))


def why(call: Call) -> ApiResponse:
    """Answer why a product would be in the list."""
    device = call.device()
    product_id = call.target.parts[1]
    if not 0 < len(product_id) <= TEXT_MAX:
        raise missing("The catalog holds no such product.", "ask for a product of a list")
    try:
        reason = device.why(product_id)
    except (UsageError, ValueError):
        raise missing("The catalog holds no such product.", "ask for a product of a list") from None
    return json_answer({"product_id": product_id, **answers.reason_json(reason)})


def events(call: Call) -> ApiResponse:
    """Take one event or a list of them; a user_id that is not this profile's is 404."""
    call.target.only("profile")
    given = read_json(call.body)
    found = given if isinstance(given, list) else [given]
    if not 0 < len(found) <= EVENTS_MAX:
        raise bad(f"The list holds not 1 to {EVENTS_MAX} events.", "send fewer at a time")
    if not all(isinstance(event, dict) for event in found):
        raise bad("An event is no JSON object.", "send an object, or a list of objects")
    checked = cast("list[dict[str, object]]", found)
    pairs = [(_recorder(call, event), event) for event in checked]  # all of them known, or none
    kept = sum(device.record(event) for device, event in pairs)
    return json_answer({"accepted": True, "received": len(found), "kept": kept})


def _recorder(call: Call, event: Mapping[str, object]) -> DeviceLike:
    query = dict(call.target.query)
    user_id = event.get("user_id")
    if isinstance(user_id, str) and user_id:
        query["user_id"] = (user_id,)
    return chosen(call.profiles, Target((), query))[1]


def read_consent(call: Call) -> ApiResponse:
    """Answer with every switch."""
    return json_answer(answers.consent_json(call.device().consent))


def change_consent(call: Call) -> ApiResponse:
    """Take a decision: ``grant`` with its features, ``refuse``, ``withdraw`` or ``defer``."""
    consent = call.device().consent
    fields = call.fields(
        "decision", "purpose", "features", "language", "explicit", "over_signal", "method"
    )
    purpose = fields.text("purpose")
    decision = fields.text("decision")
    if consent.terms is None or purpose not in consent.terms.purposes:
        raise bad("purpose is none of this device's config.", "see GET /consent for the purposes")
    if decision == "grant":
        _grant(call, fields, purpose)
    elif fields.texts("features"):
        raise bad("Only a grant names features.", "leave features away, or grant fewer of them")
    elif decision == "refuse":
        consent.refuse(purpose, method=_method(fields))
    elif decision == "withdraw":
        consent.withdraw(purpose, method=_method(fields))
    elif decision == "defer":
        consent.defer(purpose)
    else:
        raise bad("decision is none known.", "give grant, refuse, withdraw or defer")
    return json_answer(answers.consent_json(consent))


def _grant(call: Call, fields: Fields, purpose: str) -> None:
    features = fields.texts("features")
    if not features:
        raise bad("A grant names no features.", "name each feature group the person said yes to")
    call.device().consent.grant(
        purpose,
        features=features,
        language=fields.text("language") if "language" in fields.values else "en",
        explicit=fields.flag("explicit", otherwise=False),
        over_signal=fields.flag("over_signal", otherwise=False),
        method=_method(fields),
    )


def _method(fields: Fields) -> str:
    """Return how the decision was said; it is kept in the receipt."""
    method = fields.text("method") if "method" in fields.values else "api"
    if method not in METHODS:
        raise bad("method is none known.", f"give one of {', '.join(METHODS)}")
    return method


def export(call: Call) -> ApiResponse:
    """Answer with everything of the person, as a file to keep."""
    answer = json_answer(call.device().export_data())
    disposition = ("Content-Disposition", 'attachment; filename="homebody-export.json"')
    return ApiResponse(status=200, body=answer.body, more=(disposition,))


def erase(call: Call) -> ApiResponse:
    """Erase everything of the person; the body must say ``{"confirm": "erase"}``."""
    if call.fields("confirm").values.get("confirm") != ERASE_WORD:
        raise bad("The erase is not confirmed.", 'send {"confirm": "erase"}')
    call.device().erase()
    return json_answer({"erased": True})


def model(call: Call) -> ApiResponse:
    """Answer with the facts of the model in use."""
    return json_answer(answers.model_json(call.device().model()))


def egress(call: Call) -> ApiResponse:
    """Answer with what left, oldest first."""
    number = call.target.number("n", 1, _TAIL, 50)
    entries = call.device("n").egress.tail(number)
    return json_answer({"entries": [answers.left_json(entry) for entry in entries]})


def knows(call: Call) -> ApiResponse:
    """Answer with every row kept."""
    return json_answer(answers.known_json(call.device()))


def correct(call: Call) -> ApiResponse:
    """Change fields of a row (GDPR Art. 16)."""
    device = call.device()
    fields = call.fields("row", "values")
    row = fields.number("row", 0, 2**53)
    values = fields.values.get("values")
    if not isinstance(values, dict) or not values:
        raise bad("values is no object of fields.", "name each field with its new value")
    if not all(_plain(value) for value in values.values()):
        raise bad("A value is no text, number, true, false or null.", "correct values")
    try:
        device.correct(row, values)
    except ValueError:
        raise missing(
            "No row of that number takes these values.", "see GET /knows for the rows"
        ) from None
    return json_answer({"corrected": True})


def _plain(value: object) -> bool:
    short = not isinstance(value, str) or len(value) <= _VALUE_MAX
    return value is None or (isinstance(value, str | int | float | bool) and short)


def forget(call: Call) -> ApiResponse:
    """Erase every row of a product, or one row."""
    device = call.device()
    fields = call.fields("product_id", "row")
    if ("row" in fields.values) == ("product_id" in fields.values):
        raise bad("Neither one product nor one row is named.", "give product_id or row")
    if "row" in fields.values:
        gone = device.delete(fields.number("row", 0, 2**53))
    else:
        gone = device.forget(fields.text("product_id"))
    return json_answer({"forgotten": gone})


def react(call: Call) -> ApiResponse:
    """Take a like or a dislike."""
    device = call.device()
    fields = call.fields("product_id", "reaction")
    reaction = fields.text("reaction")
    if reaction not in REACTIONS:
        raise bad("reaction is none known.", f"give one of {', '.join(REACTIONS)}")
    return json_answer(
        {"accepted": True, "kept": device.react(fields.text("product_id"), reaction)}
    )


def strength(call: Call) -> ApiResponse:
    """Set how personal lists are: 0 is the same list for all."""
    device = call.device()
    device.strength = call.fields("strength").number("strength", 0, 100)
    return json_answer({"strength": device.strength})


def pause(call: Call) -> ApiResponse:
    """Pause everything, or end the pause (GDPR Art. 18)."""
    consent = call.device().consent
    if call.fields("on").flag("on"):
        consent.restrict()
    else:
        consent.lift()
    return json_answer({"paused": consent.restricted})


def age(call: Call) -> ApiResponse:
    """Keep the person's age band; purposes that leave are locked while it is not known."""
    device = call.device()
    band = call.fields("band").text("band")
    if band not in AGE_BANDS:
        raise bad("band is none known.", f"give one of {', '.join(AGE_BANDS)}")
    device.consent.set_age_band(band)
    return json_answer({"accepted": True})


Route = Callable[[Call], ApiResponse]

ROUTES: Final[Mapping[tuple[str, ...], Mapping[str, Route]]] = {
    ("recommendations",): {"GET": recommendations},
    ("why", "*"): {"GET": why},
    ("events",): {"POST": events},
    ("consent",): {"GET": read_consent, "PUT": change_consent},
    ("export",): {"GET": export},
    ("erase",): {"POST": erase},
    ("model",): {"GET": model},
    ("egress",): {"GET": egress},
    ("knows",): {"GET": knows, "PUT": correct},
    ("forget",): {"POST": forget},
    ("react",): {"POST": react},
    ("strength",): {"PUT": strength},
    ("pause",): {"PUT": pause},
    ("age",): {"PUT": age},
}
"""Addresses, their parts and methods; ``*`` stands for one part of any text."""
