"""What ``evidence.json`` holds: the nineteen fields a claim must state, strictly.

``evidence.schema.json`` is made of these classes (a test compares), ships with the package and is
in every pack. A field that does not apply, and a figure that may not be shown, is an object that
says why; none is left out.
"""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_STRICT = ConfigDict(
    strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]


class _Model(BaseModel):
    model_config = _STRICT


class Absent(_Model):
    """In the place of something that does not apply, is not known or may not be shown."""

    absent: Literal["does not apply", "not shown", "not known"]
    """Which of the three."""
    why: Text
    """The reason, in words."""


class Said(_Model):
    """A statement."""

    text: Text
    """What is said."""
    label: Literal["enforced on device", "checked afterwards", "operator's word"]
    """What it rests on."""
    refs: Annotated[list[Text], Field(min_length=1)]
    """What supports it: rule:ID, config:PATH, ledger:INDEX, approval:INDEX and others."""


Saids = list[Said]


class Claim(_Model):
    """Field 1."""

    statement: Text | Absent
    """The one generated sentence."""


class Unit(_Model):
    """Field 2."""

    unit: Literal["user", "record"]
    two_devices: Text
    """What a person with two devices counts as."""
    rounds_at_most: int | Absent
    """Rounds of a run that one unit joins."""
    weight_at_most: float
    """Weight of one contribution."""
    said: Saids


class Adjacency(_Model):
    """Field 3."""

    adjacency: Literal["zero_out", "add_remove", "replace_one"]
    public: list[Text]
    """What is treated as public."""


class Point(_Model):
    """A point of the curve."""

    delta: float
    epsilon: float


class PrivacyLoss(_Model):
    """Field 4."""

    epsilon: float
    """Spent, over everything that was released; rounded up."""
    epsilon_unamplified: float
    """Toward whoever sees who takes part."""
    delta: float
    population_delta: float
    """Number of devices times delta; below 1."""
    cap: float
    curve: list[Point] | Absent
    mu: float | Absent
    """Strength as one Gaussian release."""
    power_at_one_percent: float | Absent
    """Greatest rate of true positives at 1 % false positives."""
    guess_in_100: int
    """Best guess of somebody who began even."""
    parts: dict[str, float]
    """Epsilon of each part by itself; they do not add up."""


class Mechanism(_Model):
    """Field 5."""

    name: Text
    clip_norm: float
    noise_multiplier: float | Absent
    relative_to: Text
    """What the noise multiplier is relative to."""
    correlation: dict[str, float | int | list[float]] | Absent
    """Sensitivity, theta, omega, rounds, separation and joins of correlated noise."""
    randomness: Text
    arithmetic: Text
    lattice_step: float
    seeds: Text


class Charge(_Model):
    """A release that was paid for."""

    entry: int
    """Entry of the ledger; 0 is what earlier runs carried in."""
    name: Text
    charge: dict[str, float | int | str | list[float] | None]


class Accounting(_Model):
    """Field 6."""

    method: Text
    version: Text
    charges: list[Charge] | Absent
    second: float | Absent
    """Epsilon by another accountant or by other code."""
    second_method: Text
    sampler_share_of_delta: float
    """Part of delta kept for what the noise sampler may err."""


class Sampling(_Model):
    """Field 7."""

    assumed: Text
    implemented: Text
    coins: Text
    """Who tosses them."""
    cap: int
    """Most devices of a round."""
    participation: Absent
    """Who takes part is in no file."""
    said: Saids


class Level(_Model):
    """Fields 2 to 7 of one layer; two layers are never added, compared or averaged."""

    unit: Unit
    adjacency: Adjacency
    privacy_loss: PrivacyLoss
    mechanism: Mechanism
    accounting: Accounting
    sampling: Sampling


class Trust(_Model):
    """Field 8."""

    model: Text
    sees: dict[str, Text]
    """What each party sees."""
    limits: dict[str, float | int | str | bool | None]
    """Collusion, drop-out and least numbers."""
    said: Saids


class Outputs(_Model):
    """Field 9."""

    covered: list[Text]
    unprotected_quantities: Saids


class Accesses(_Model):
    """Field 10."""

    run: Text
    tuning_data: Text
    tuning_runs: int
    feature_selection: Absent
    vocabulary: Text
    early_stopping: Text
    evaluation: Saids


class Lifetime(_Model):
    """Field 11."""

    data_dates: Absent
    retention: dict[str, Text]
    budget_scope: Text
    carried_charges: int
    at_the_cap: Text
    who_may_raise_it: Text
    device_epsilon_max: float | Absent


class Consent(_Model):
    """Field 12."""

    matrix: dict[str, list[Text]]
    """Purposes that may read each group of data."""
    receipts: Absent
    """Receipts are on people's devices."""
    withdrawal: Saids
    least_cohort: int | Absent


class Domain(_Model):
    """Field 13."""

    holds: dict[str, list[Text]]
    exclusions: dict[str, list[Text]]
    min_age: int
    groups: Absent


class Security(_Model):
    """Field 14."""

    suite: Text
    tls_min: Text
    post_quantum: Text
    secure_aggregation: bool
    ledger_head: Text
    """Merkle root under the last checkpoint, or hash of the last line."""
    store: Absent
    side_channels: Text


class Implementation(_Model):
    """Field 15."""

    versions: Text
    app: Digest | Absent
    """Digest of the files of the app that ran."""
    config: Digest
    model: Digest | Absent
    """Digest of the manifest of the model."""
    lock: Absent
    policy: Text
    verified: bool
    verify: list[Text]
    """Lines of verify."""


class Signature(_Model):
    """Field 19."""

    algorithm: Literal["Ed25519"]
    key: Digest
    """SHA-256 of the public key."""
    value: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
    """Over the canonical JSON of the document without this value."""


class Evidence(_Model):
    """``evidence.json``."""

    version: Literal["homebody.evidence/1"] = Field(alias="schema")
    run: Text
    verified: bool
    judged_on: Text
    """Day for which expiry was judged."""
    claim: Claim
    user_level: Level | Absent
    record_level: Level | Absent
    trust: Trust
    outputs: Outputs
    accesses: Accesses
    lifetime: Lifetime
    consent: Consent
    domain: Domain
    security: Security
    implementation: Implementation
    audit: dict[str, list[Text]] | Absent
    """Field 16: verdict, findings, sentences and the closing sentence."""
    utility: Saids | Absent
    """Field 17: released figures, each with its own charge."""
    limits: Saids
    """Field 18: the operator's word first."""
    signature: Signature


def evidence_schema() -> str:
    """Return the text of ``evidence.schema.json`` (JSON Schema 2020-12)."""
    schema = Evidence.model_json_schema(by_alias=True)
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return f"{json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False)}\n"
