"""Words that no text for people may hold (rule TXT-001): they promise what nobody can keep.

``withdrawal_words`` has what a notice about withdrawal may never say; here are the words of reports
and titles besides.
"""

import re
from typing import Final

from homebody_privacy import withdrawal_words

_NEVER: Final = (
    "100 % private",
    "100% private",
    "completely private",
    "zero risk",
    "no risk to your privacy",
    "guaranteed safe",
    "proven by audit",
    "audit passed",
    "passed the audit",
    "gdpr certified",
    "certified private",
    "certified compliant",
    "ccpa compliant",
    "fully compliant",
    "military-grade",
    "military grade",
    "unbreakable",
    "state-of-the-art encryption",
    "untraceable",
    "anonymously",
)
_PATTERN: Final = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in _NEVER))
_ADDRESS: Final = re.compile(r"https?://[^\s)>\"']+")
_DENIED: Final = re.compile(r"\b(?:no|not|without|never) differential(?:ly)?[ -]priva(?:te|cy)\b")


def banned_words(text: str, *, anything_leaves: bool = True) -> list[str]:
    """Return what a text for people says that may not be said; best empty.

    Args:
        text: A report, notice, title or page; addresses in it are no words.
        anything_leaves: Whether any purpose leaves the device.

    Examples:
        >>> banned_words("Zero risk: military-grade and anonymous.")
        ['anonymous', 'zero risk', 'military-grade']
        >>> banned_words("A laboratory run without differential privacy: nothing is claimed.")
        []
    """
    flat = _DENIED.sub("", " ".join(_ADDRESS.sub("", text).split()).casefold())
    found = withdrawal_words.banned_words(flat, anything_leaves=anything_leaves)
    return [*found, *dict.fromkeys(_PATTERN.findall(flat))]
