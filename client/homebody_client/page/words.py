"""The words of the page: consequences of a choice, said from the terms the gates use.

Nothing is typed twice: change a field of the config and the sentence changes.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from types import MappingProxyType
from typing import Final

from homebody_privacy.consent import Closed, all_dependent
from homebody_privacy.consent_terms import ConsentTerms, GroupTerms

_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "product_id": "which product",
        "category": "its kind",
        "price": "its price",
        "price_band": "its price range",
        "quantity": "how many",
        "quantity_bucket": "roughly how many",
        "timestamp": "when",
        "day": "which day",
        "hour": "the hour",
        "device": "phone or computer",
        "query": "what you searched for",
        "results": "how much was found",
        "rating": "your rating",
        "cause": "why not",
        "seconds": "how long",
        "amount": "the amount",
        "merchant": "where you paid",
        "surface": "where it was shown",
        "position": "its place in the list",
        "feature": "which part of the app",
        "role": "your role",
    }
)

_DID: Final[Mapping[str, str]] = MappingProxyType(
    {
        "impression": "were shown",
        "product_view": "looked at",
        "search": "searched for",
        "add_to_cart": "put in the cart",
        "purchase": "bought",
        "rating": "rated",
        "like": "liked",
        "dislike": "did not like",
        "dismiss": "did not want",
        "dwell": "stayed with",
        "transaction": "paid",
        "feature_used": "used",
        "email_open": "opened by mail",
        "session_start": "began",
        "session_end": "ended",
        "": "chose",
    }
)

_STATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no-history": "The same list for everybody: this device knows nothing of you yet.",
        "unknown-history": "The same list for everybody: what is known fits no product here.",
        "model-not-personal": "The same list for everybody: this model makes no personal ones.",
        "consent-closed": "The same list for everybody: you have not allowed a personal one.",
        "no-model": "A plain list: no model has arrived yet.",
        "store-unreadable": "A plain list: the store of this device cannot be read.",
        "strength-zero": "The same list for everybody, as you set it.",
    }
)

_KILO: Final = 1_000


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    Examples:
        >>> listed(["bread", "milk", "tea"])
        'bread, milk and tea'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(number: int) -> str:
    """Return a small number as a word that begins a sentence.

    Examples:
        >>> counted(3), counted(40)
        ('Three', '40')
    """
    small = ("No", "One", "Two", "Three", "Four", "Five", "Six")
    return small[number] if number < len(small) else str(number)


def spaced(name: str) -> str:
    """Return a name of the config as words."""
    return name.replace("_", " ").replace("-", " ")


def kept(group: GroupTerms) -> str:
    """Say what is kept of a feature group, and how long.

    Examples:
        >>> kept(GroupTerms(fields=("product_id", "day"), allow=(), ttl_days=365))
        'which product and which day, for at most 365 days'
    """
    fields = listed([_FIELDS.get(name, spaced(name)) for name in group.fields])
    what = f" of what you {listed([did(event) for event in group.events])}" if group.events else ""
    return f"{fields}{what}, for at most {days(group.ttl_days)}"


def days(number: int) -> str:
    """Return a number of days in words."""
    return f"{number:,} day{'' if number == 1 else 's'}"


def if_yes(terms: ConsentTerms, purpose: str) -> str:
    """Say what follows from a yes."""
    groups = [spaced(name) for name, one in terms.groups.items() if purpose in one.allow]
    data = listed(groups) or "nothing"
    asks = f"Your yes ends by itself after {days(terms.expiry_days)}."
    if not terms.purposes[purpose].leaves_device:
        return (
            f"This device keeps what you choose below ({data}), encrypted, and works with it here. "
            f"Nothing is sent for this. {asks}"
        )
    return (
        f"Now and then this device sends something computed from what you choose below ({data}), "
        "limited in size. Each sending is listed under “What left this device”. What was already "
        f"added up with that of other people cannot be taken out again. {asks}"
    )


def if_no(terms: ConsentTerms, purpose: str) -> str:
    """Say what follows from a no, and from a yes taken back."""
    others = [f"“{terms.purposes[name].title}”" for name in all_dependent(terms, purpose)]
    cascade = f" It also switches off {listed(others)}." if others else ""
    if terms.purposes[purpose].leaves_device:
        return f"Nothing is sent for this, from this moment on. Your list stays.{cascade}"
    return (
        "You get the same list as everybody. What was kept for this alone is erased at once."
        f"{cascade}"
    )


def state_of_list(fallback_reason: str | None) -> str:
    """Say why a list is as it is."""
    if fallback_reason is None:
        return "Made for you, on this device, from what you allowed."
    otherwise = f"The same list for everybody ({spaced(fallback_reason)})."
    return _STATES.get(fallback_reason.replace("_", "-"), otherwise)


def state_of_switch(closed: Closed | None, *, yes: bool, until: float) -> str:
    """Say where a switch stands."""
    if closed is None:
        return f"On until {datetime.fromtimestamp(until, UTC).astimezone():%d %b %Y}."
    if yes:
        return f"You said yes, but it is shut: {closed.sentence}."
    return f"Off: {closed.sentence}."


def guarded(sensitivity: str) -> str:
    """Say how a feature group is protected specially; empty for ordinary data."""
    return {
        "elevated": "can say much about you; never shown outside this app",
        "special": "specially protected: never leaves this device",
        "criminal": "specially protected: never leaves this device",
    }.get(sensitivity, "")


def ask_again(*, strict: bool, over_signal: bool) -> str:
    """Return the question before a yes that must be confirmed; empty where one tap is enough."""
    if over_signal:
        return (
            "Your browser or system says that nothing about you should be shared. "
            "A yes here goes against that. Say yes all the same?"
        )
    if strict:
        return (
            "This can tell something about your health, beliefs or private life. "
            "Say explicitly that it may be used on this device?"
        )
    return ""


def age(band: str) -> str:
    """Return an age band in words.

    Examples:
        >>> age("13_15")
        '13 to 15'
    """
    low, _, high = band.partition("_")
    if low == "under":
        return f"under {high}"
    return f"{low} or older" if high == "plus" else f"{low} to {high}"


def did(event: object) -> str:
    """Return an event as a verb in the past."""
    name = event if isinstance(event, str) else ""
    return _DID.get(name, spaced(name))


def size(number: int) -> str:
    """Return bytes in words.

    Examples:
        >>> size(12_345)
        '12 kB'
    """
    if number < _KILO:
        return f"{number} bytes"
    return f"{number / _KILO:,.0f} kB"


def when(at: float, zone: tzinfo | None = None) -> str:
    """Return Unix seconds as a day and time people read; in the zone of the device by default."""
    return f"{datetime.fromtimestamp(at, UTC).astimezone(zone):%d %b %Y, %H:%M}"


def machine_time(at: float, zone: tzinfo | None = None) -> str:
    """Return Unix seconds for a ``datetime`` attribute."""
    return datetime.fromtimestamp(at, UTC).astimezone(zone).isoformat(timespec="seconds")


ERASE_WARNING: Final = (
    "This erases everything this device keeps of you: rows, taste model, what waits to be sent, "
    "and the keys that open them. It cannot be undone. Receipts of your choices stay, as proof of "
    "them, and so do counts of the rounds this device joined, which keep it from joining too often."
)
"""What an erase does and what it leaves, as the person reads it before."""
