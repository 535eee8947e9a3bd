"""Section 3: the data inventory (what is kept, what for, how long, what leaves) and notices."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from homebody_privacy.config import PrivacyConfig
from homebody_server.evidence.sources import RunRecord

_LARGEST_NOTICE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRow:
    """One group of data. Public.

    Attributes:
        name: Its name.
        fields: What is kept of an event.
        excluded: Values that are never collected.
        purposes: What may read it.
        leaving: Those of them that send something.
        kept: How long and how much of it a device keeps.
        sensitivity: As the config says.
        risk_ref: Entry of the impact assessment; empty without one.
        categories: Terms of Fides and DPV.
        egress: What of it leaves the device, in words.
        editable: Whether the person may correct a row.
    """

    name: str
    fields: tuple[str, ...]
    excluded: tuple[str, ...]
    purposes: tuple[str, ...]
    leaving: tuple[str, ...]
    kept: str
    sensitivity: str
    risk_ref: str
    categories: tuple[str, str]
    egress: str
    editable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeRow:
    """One switch. Public.

    Attributes:
        name: Its name.
        title: What the person reads beside it.
        basis: Legal basis, with its reason where it is not consent.
        leaves: Whether anything is sent.
        needs: Switches that must be on too.
        terms: Terms of Fides and DPV.
    """

    name: str
    title: str
    basis: str
    leaves: bool
    needs: tuple[str, ...]
    terms: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRow:
    """The words shown before a yes, in one language. Public.

    Attributes:
        language: Which.
        file: Where they are.
        sha256: Digest that the config names.
        text: The words; None where the pack's maker had no file of that digest.
    """

    language: str
    file: str
    sha256: str
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """What left a device, in equal lines taken together. Public: no device, no count.

    Attributes:
        what: In words.
        purpose: Under which switch.
        size: Bytes each time.
        times: How often.
        charges: Ledger charges that paid for it, or the first and the last of many.
    """

    what: str
    purpose: str
    size: int
    times: int
    charges: tuple[str, ...]


def purposes_of(config: PrivacyConfig) -> tuple[PurposeRow, ...]:
    """Return every switch of a config."""
    return tuple(
        PurposeRow(
            name=name,
            title=one.title,
            basis=one.legal_basis + (f": {one.reason}" if one.reason else ""),
            leaves=one.leaves_device,
            needs=one.requires,
            terms=(one.fides_use, one.dpv_purpose),
        )
        for name, one in config.purposes.items()
    )


def features_of(config: PrivacyConfig) -> tuple[FeatureRow, ...]:
    """Return every group of data of a config, with what of it leaves."""
    return tuple(
        FeatureRow(
            name=name,
            fields=group.fields,
            excluded=group.exclude,
            purposes=group.allow,
            leaving=_leaving(config, group.allow),
            kept=f"{group.ttl_days} days, {group.max_rows} rows",
            sensitivity=group.sensitivity,
            risk_ref=group.risk_ref,
            categories=(group.fides_category, group.dpv_category),
            egress="; ".join(_sent(config, name)) or "nothing",
            editable=group.user_editable,
        )
        for name, group in config.features.items()
    )


def notices_of(record: RunRecord) -> tuple[NoticeRow, ...]:
    """Return the words shown, with their text where a file of that digest lies in the run."""
    return tuple(
        NoticeRow(
            language=language,
            file=one.file,
            sha256=one.sha256,
            text=_text(record, one.file, one.sha256),
        )
        for language, one in sorted(record.config.consent.notices.items())
    )


def leaving_of(record: RunRecord) -> tuple[Leaving, ...]:
    """Return what left a device, equal lines taken together, in order of first appearance."""
    found: dict[tuple[str, str, int], list[str]] = {}
    for line in record.egress:
        key = (str(line.get("what")), str(line.get("purpose")), int(line.get("bytes", 0)))
        found.setdefault(key, []).append(str(line.get("charge") or line.get("ledger")))
    return tuple(
        Leaving(
            what=what,
            purpose=purpose,
            size=size,
            times=len(charges),
            charges=tuple(dict.fromkeys((charges[0], charges[-1]))),
        )
        for (what, purpose, size), charges in found.items()
    )


def _leaving(config: PrivacyConfig, allowed: Iterable[str]) -> tuple[str, ...]:
    purposes = config.purposes
    return tuple(name for name in allowed if name in purposes and purposes[name].leaves_device)


def _sent(config: PrivacyConfig, group: str) -> Iterable[str]:
    """Return what of a group leaves: updates under training, listed figures under theirs."""
    if "training" in config.features[group].allow:
        yield "clipped updates that may be computed from it, under training"
        if config.recipe != "rounds":
            yield "one-shot sums that may be computed from it, under training"
    for name, metric in config.metrics.items():
        if group in metric.features:
            yield f"the figure {name}, under {metric.purpose}"


def _text(record: RunRecord, file: str, digest: str) -> str | None:
    path = (record.folder / file).resolve()
    if not path.is_relative_to(record.folder.resolve()) or not path.is_file():
        return None
    content = path.read_bytes()
    if len(content) > _LARGEST_NOTICE or hashlib.sha256(content).hexdigest() != digest:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
