"""Section 9: the schema of consent records, with a sample receipt and record made by the real code.

The sample is of nobody: its device key is derived from the config's digest and thrown away, its
times are fixed, and it says so. So two packs of one run are equal to the byte.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.consent import ConsentState, is_allowed
from homebody_privacy.consent_record import (
    SCHEMA_FILE,
    SHAPES_FILE,
    ControllerFacts,
    consent_records,
    problems,
    shapes,
)
from homebody_privacy.consent_terms import DAY_S, ConsentTerms
from homebody_privacy.receipts import NO_CHAIN, ConsentReceipt, line_hash, read_chain, signed_line
from homebody_privacy.signing import SigningKey

SAMPLE_TIME: Final = 1_767_225_600
"""2026-01-01: when the sample's person said yes; fixed, so that the sample never changes."""

_METHOD: Final = "sample: nobody was asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Files about consent. Public: the person is made up.

    Attributes:
        schema: JSON Schema of a record, as shipped.
        shapes: SHACL shapes of a record, in Turtle.
        receipts: Lines of the chain.
        record: The person's full copy, JSON-LD.
        device: Public key of the made-up device, as hex.
    """

    schema: str
    shapes: str
    receipts: tuple[bytes, ...]
    record: dict[str, Any]
    device: str


def consent_sample(config: PrivacyConfig) -> Sample:
    """Return a sample of what a yes, and a withdrawal a week later, leave on a device.

    Args:
        config: Config of the run; its premises about purposes must hold.

    Raises:
        ValueError: If the config's terms point nowhere, or the record breaks its schema.
    """
    terms = config.consent_terms()
    key = SigningKey(_drawn(config, "device key"))
    lines = tuple(_chain(terms, key))
    receipts = read_chain(lines, public=key.public)
    activity = config.activity
    controller = ControllerFacts(
        name=activity.controller,
        contact=activity.contact,
        address=activity.address,
        authority=activity.authority,
        jurisdictions=activity.jurisdictions,
        recipients=activity.recipients,
        transfers=activity.transfers,
    )
    ids = (_drawn(config, f"record {n}").hex()[:32] for n in range(len(receipts)))
    record = consent_records(
        receipts,
        terms,
        controller,
        subject=_drawn(config, "subject").hex()[:32],
        new_id=lambda: next(ids),
    )
    lacking = problems(json.loads(json.dumps(record)))
    if lacking:
        raise ValueError(f"the sample record breaks its schema: {'; '.join(lacking)}")
    return Sample(
        schema=files("homebody_privacy").joinpath(SCHEMA_FILE).read_text("utf-8"),
        shapes=shapes(),
        receipts=lines,
        record=record,
        device=key.public.hex(),
    )


def sample_files(sample: Sample) -> dict[str, bytes]:
    """Return the files of a sample by their path in the pack."""
    record = json.dumps(sample.record, indent=1, sort_keys=True, ensure_ascii=False)
    return {
        f"consent/{SCHEMA_FILE}": sample.schema.encode(),
        f"consent/{SHAPES_FILE}": sample.shapes.encode(),
        "consent/sample-receipts.jsonl": b"".join(line + b"\n" for line in sample.receipts),
        "consent/sample-record.jsonld": f"{record}\n".encode(),
        "consent/sample-device.pub": f"{sample.device}\n".encode(),
    }


def _drawn(config: PrivacyConfig, what: str) -> bytes:
    """Return 32 bytes that follow from the config alone: a sample's secret protects nobody."""
    return hashlib.sha256(f"homebody sample {what} {config.digest()}".encode()).digest()


def _chain(terms: ConsentTerms, key: SigningKey) -> Iterator[bytes]:
    """Return a yes to each purpose in the order the file needs them, then one withdrawal."""
    head, said = NO_CHAIN.head, []
    language = next(iter(sorted(terms.notices)), "")
    for purpose in terms.purposes:
        groups = tuple(name for name in terms.groups if is_allowed(terms, purpose, name))
        if groups:
            said.append((ConsentState.GIVEN, purpose, groups))
    if said:
        said.append((ConsentState.WITHDRAWN, *said[-1][1:]))
    for number, (event, purpose, groups) in enumerate(said, start=1):
        given = event == ConsentState.GIVEN
        at = SAMPLE_TIME + (0 if given else 7 * DAY_S)
        receipt = ConsentReceipt(
            n=number,
            prev=head,
            event=event,
            purpose=purpose,
            features=groups,
            policy_version=terms.policy_version,
            config_sha256=terms.config_sha256,
            notice_sha256=terms.notices.get(language, ""),
            language=language,
            at=at,
            valid_until=at + terms.expiry_days * DAY_S if given else None,
            by="DataSubject",
            method=_METHOD,
            explicit=False,
            over_signal=False,
            cause="",
            epoch=number,
        )
        line = signed_line(receipt, key)
        yield line
        head = line_hash(line)
