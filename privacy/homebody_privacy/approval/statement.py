"""What a reviewer signs: an in-toto Statement that approves a config and an app, or lifts a rule.

In-toto Statement v1: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. The
payload is RFC 8785 JSON, one spelling. ``urn:homebody:approval:1`` binds the digest of
``privacy.toml``, the app (the wheel's file and the digest of what it installs), the policy and the
waivers the reviewer had before them; ``urn:homebody:waiver:1`` lifts one rule at one field of one
config until it expires.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import rfc8785

from homebody_privacy.errors import IntegrityError, PolicyViolationError
from homebody_privacy.signing import SigningKey

from .dsse import Envelope

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
APPROVAL: Final = "urn:homebody:approval:1"
WAIVER: Final = "urn:homebody:waiver:1"

_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_CONFIG: Final = "privacy.toml"
_INSTALLED: Final = "homebody"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_RULE: Final = re.compile(r"[A-Z]{1,4}-[0-9]{3}")
_PATH: Final = re.compile(r"[A-Za-z0-9_.*-]{1,200}")
_LONGEST: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A reviewer says that this config may run in this app.

    Attributes:
        config: Digest of the config, hex.
        app: Digest of the installed files of the app (``app_digest``), hex.
        wheel: Name and SHA-256 of the wheel that installs them; None where the reviewer looked at
            an installation.
        by: Name of the reviewer, as ``[approval]`` and the pinned keys have it.
        revision: ``revision`` of the config.
        policy_version: Version of the notice.
        policy: SHA-256 of the firm's policy the config was checked by; None for the baseline alone.
        waivers: Digests of the waivers that were in force for the reviewer, hex, sorted.
        issued: When it was signed, Unix seconds.
        expires: From when it counts no more, Unix seconds.
    """

    config: str
    app: str
    wheel: tuple[str, str] | None = None
    by: str
    revision: int
    policy_version: int
    policy: str | None = None
    waivers: tuple[str, ...] = ()
    issued: int
    expires: int

    def __post_init__(self) -> None:
        """Refuse what approves nothing."""
        digests = [self.config, self.app, *self.waivers, *([self.policy] if self.policy else [])]
        if self.wheel is not None:
            digests.append(self.wheel[1])
            if not self.wheel[0].endswith(".whl") or "/" in self.wheel[0]:
                raise ValueError("wheel must be the name of a wheel's file")
        _check_digests(digests)
        _check_person(self.by, self.issued, self.expires)
        versions = (self.revision, self.policy_version)
        if not all(type(version) is int and version >= 1 for version in versions):
            raise ValueError("revision and policy_version must be whole numbers from 1")
        if list(self.waivers) != sorted(set(self.waivers)):
            raise ValueError("waivers must be sorted, each once")

    def to_statement(self) -> dict[str, Any]:
        """Return the in-toto Statement."""
        app = {"homebodyTree": self.app}
        if self.wheel is not None:
            app["sha256"] = self.wheel[1]
        predicate = {
            "decision": "approve",
            "by": self.by,
            "revision": self.revision,
            "policy_version": self.policy_version,
            "policy": self.policy,
            "waivers": list(self.waivers),
            "issued": self.issued,
            "expires": self.expires,
        }
        name = _INSTALLED if self.wheel is None else self.wheel[0]
        subjects = [_subject(_CONFIG, {"sha256": self.config}), _subject(name, app)]
        return _statement(subjects, APPROVAL, predicate)

    @classmethod
    def from_statement(cls, value: Mapping[str, Any]) -> Self:
        """Read what ``to_statement`` returned; ``unverified`` catches what else it raises."""
        config, app = value["subject"]
        told = dict(value["predicate"])
        if told.pop("decision") != "approve":
            raise ValueError("the decision must be approve")
        wheel = (app["name"], app["digest"]["sha256"]) if "sha256" in app["digest"] else None
        told["waivers"] = tuple(told["waivers"])
        tree = app["digest"]["homebodyTree"]
        return cls(config=config["digest"]["sha256"], app=tree, wheel=wheel, **told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A reviewer lifts one rule at one field of one config, for a time and for a reason.

    Attributes:
        rule: Stable id of the rule, such as ``AGG-002``.
        path: Field it is lifted for, dotted.
        reason: Why, in the reviewer's words. Public: it stands in the evidence.
        config: Digest of the config, hex: a changed file needs a new waiver.
        by: Name of the reviewer.
        issued: When it was signed, Unix seconds.
        expires: From when the rule holds again, Unix seconds.
    """

    rule: str
    path: str
    reason: str
    config: str
    by: str
    issued: int
    expires: int

    def __post_init__(self) -> None:
        """Refuse what lifts no rule."""
        if _RULE.fullmatch(self.rule) is None or _PATH.fullmatch(self.path) is None:
            raise ValueError("a waiver names a rule, such as AGG-002, and a dotted field")
        if not 0 < len(self.reason) <= _LONGEST or not self.reason.isprintable():
            raise ValueError(f"a waiver needs a reason of at most {_LONGEST} printable characters")
        _check_digests([self.config])
        _check_person(self.by, self.issued, self.expires)

    @property
    def digest(self) -> str:
        """SHA-256 of the signed payload, hex: how an approval names it."""
        return hashlib.sha256(rfc8785.dumps(self.to_statement())).hexdigest()

    def lifts(self, rule: str, path: str) -> bool:
        """Tell whether it lifts this rule at this field."""
        return (self.rule, self.path) == (rule, path)

    def to_statement(self) -> dict[str, Any]:
        """Return the in-toto Statement."""
        names = ("rule", "path", "reason", "by", "issued", "expires")
        predicate = {name: getattr(self, name) for name in names}
        return _statement([_subject(_CONFIG, {"sha256": self.config})], WAIVER, predicate)

    @classmethod
    def from_statement(cls, value: Mapping[str, Any]) -> Self:
        """Read what ``to_statement`` returned; ``unverified`` catches what else it raises."""
        (config,) = value["subject"]
        return cls(config=config["digest"]["sha256"], **value["predicate"])


def sign(statement: Approval | Waiver, key: SigningKey) -> Envelope:
    """Sign a statement.

    Args:
        statement: What the holder of the key says.
        key: The reviewer's key. Secret.
    """
    return Envelope.sign(PAYLOAD_TYPE, rfc8785.dumps(statement.to_statement()), key)


def unverified(envelope: Envelope) -> Approval | Waiver:
    """Return what an envelope says, whoever signed it: to be shown, never to be relied on.

    Raises:
        IntegrityError: If it is no statement of homebody, to the byte.
    """
    try:
        return _parsed(envelope)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise IntegrityError(
            "an envelope holds no approval and no waiver as homebody writes them"
        ) from error


def read(envelope: Envelope, keys: Mapping[str, bytes]) -> Approval | Waiver:
    """Return what a reviewer signed.

    Args:
        envelope: Untrusted.
        keys: Raw Ed25519 public key of each person whose word counts, by name.

    Raises:
        PolicyViolationError: If the statement is by nobody of ``keys``.
        IntegrityError: If it is no statement, or was not signed with the key of who it names.
    """
    found = unverified(envelope)
    public = keys.get(found.by)
    if public is None:
        raise PolicyViolationError(
            f"{found.by}: their signature does not count here: no key of theirs is pinned",
            fix="ask somebody whose key is in the reviewers' file",
        )
    if not envelope.signed_with(public):
        raise IntegrityError(
            f"{found.by}: the signature does not match what was signed, or is of another key"
        )
    return found


def _parsed(envelope: Envelope) -> Approval | Waiver:
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValueError("it is of another type")
    value = json.loads(envelope.payload)
    kind = value["predicateType"]
    readers: dict[str, type[Approval | Waiver]] = {APPROVAL: Approval, WAIVER: Waiver}
    found = readers[kind].from_statement(value)
    if rfc8785.dumps(found.to_statement()) != envelope.payload:
        raise ValueError("it holds more, or has another spelling")
    return found


def _statement(subject: list[Any], kind: str, predicate: dict[str, Any]) -> dict[str, Any]:
    return {"_type": _STATEMENT, "subject": subject, "predicateType": kind, "predicate": predicate}


def _subject(name: str, digest: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "digest": digest}


def _check_digests(digests: list[str]) -> None:
    if any(_SHA256.fullmatch(digest) is None for digest in digests):
        raise ValueError("a digest is 64 hex digits in lower case")


def _check_person(by: str, issued: int, expires: int) -> None:
    if not by or not by.isprintable() or len(by) > _LONGEST:
        raise ValueError("by must be the name of a person")
    if type(issued) is not int or type(expires) is not int or not 0 <= issued < expires:
        raise ValueError("a statement is issued before it expires, in whole Unix seconds")
