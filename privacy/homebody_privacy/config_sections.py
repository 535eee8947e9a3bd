"""Tables of ``privacy.toml`` that say who processes what, why, for how long and under whose eyes.

A field without a default must be in the file: what is not said is not assumed. What is allowed here
is what can be *said*; what may *run* is ``premises``' and the policy's to tell.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .config_digest import LATER
from .protection import STRICT, Name, Names, Text

Texts = Annotated[tuple[Text, ...], Field(strict=False)]
Exclusion = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*:.+$")]
Jurisdiction = Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]


class Activity(BaseModel):
    """Who processes, and for what."""

    model_config = STRICT

    name: Text
    """What people know it as."""
    controller: Text
    """Who decides, with legal form."""
    address: Text
    """Where the controller is."""
    contact: Text
    """Where people write to."""
    authority: str
    """Supervisory authority for complaints; empty where there is none."""
    jurisdictions: Annotated[tuple[Jurisdiction, ...], Field(strict=False, min_length=1)]
    """Where the people are: ISO 3166 codes, states of the US as ``US-CA``, the Union as ``EU``."""
    data_subjects: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
    """Whose data it is."""
    population: int = Field(ge=1)
    """Devices that are enrolled and consent: N of the failure chance. Public."""
    recipients: Texts
    """Who else gets released figures or models; devices that rank are not named."""
    transfers: Literal["none", "adequacy", "scc"]
    """Ground of transfers to third countries (GDPR Art. 44 to 49)."""
    dpia_ref: str
    """The impact assessment (GDPR Art. 35); empty where there is none, which DOC-001 refuses."""
    policy_version: int = Field(ge=1)
    """Version of the notice; a higher one makes every device ask again."""


class Purpose(BaseModel):
    """One use of data: one switch, off until the person turns it on."""

    model_config = STRICT

    title: Text
    """What the person reads beside the switch."""
    legal_basis: Literal["consent", "contract", "legitimate_interests"] = "consent"
    """GDPR Art. 6(1); what leaves the device needs consent besides (ePrivacy Art. 5(3))."""
    reason: str = ""
    """Why another basis than consent; by default none."""
    default: Literal["off", "on"] = "off"
    """How the switch starts; anything but off is refused by CON-010."""
    leaves_device: bool
    """Whether anything computed from the data is sent."""
    requires: Names = ()
    """Purposes that must be on too."""
    fides_use: Text
    """Data use of the Fides taxonomy."""
    dpv_purpose: Text
    """Purpose of the W3C Data Privacy Vocabulary."""


class FeatureGroup(BaseModel):
    """Data that is allowed or refused together."""

    model_config = STRICT

    fields: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
    """What is kept of each event."""
    events: Annotated[Names, LATER] = ()
    """Kinds of event that belong to the group; by default every kind that has one of the fields."""
    exclude: Annotated[tuple[Exclusion, ...], Field(strict=False)] = ()
    """``field:value`` pairs; an event that holds one is never kept."""
    allow: Names
    """Purposes that may read it: the matrix."""
    fides_category: Text
    """Data category of the Fides taxonomy."""
    dpv_category: Text
    """Personal data category of the W3C Data Privacy Vocabulary."""
    sensitivity: Literal["ordinary", "elevated", "special", "criminal"]
    """Special: GDPR Art. 9; criminal: Art. 10. Neither may feed a purpose that leaves."""
    risk_ref: str = ""
    """Entry of the impact assessment that covers it; needed above ordinary."""
    ttl_days: int = Field(ge=1)
    """Days a row stays on the device."""
    max_rows: int = Field(ge=1)
    """Most rows a device keeps; the oldest go first."""
    user_editable: bool = True
    """Whether the person may correct a row (GDPR Art. 16; DSA Art. 27(3))."""


class Metric(BaseModel):
    """A figure about people that may be released; what is not listed cannot be sent."""

    model_config = STRICT

    purpose: Name
    """The switch it is sent under; it must leave the device."""
    features: Names
    """Feature groups it reads; each must allow the purpose."""
    noise_multiplier: float = Field(gt=0)
    """Noise on the sum over all devices, each of which adds a vector of norm at most 1."""
    releases_per_run: int = Field(ge=1)
    """How often in a run, at most once a round, and once before the first of a run that starts
    from statistics; all are charged."""


class Aggregation(BaseModel):
    """How the replies of a round are put together."""

    model_config = STRICT

    secagg: bool
    """Whether replies are summed by secure aggregation: a deployment must, a simulation may."""
    report_goal: int | None = Field(default=None, ge=1)
    """Replies a round needs; with fewer it is void. With ``blt`` alone, and there it should be
    given: with ``gaussian`` a decision that depends on the secret number of devices would be a
    release, so there it is left out."""
    max_dropout: float = Field(ge=0, lt=1)
    """Share of the nodes of a secure sum that may vanish without making it void."""
    max_corrupt: float = Field(ge=0, lt=1)
    """Share of them that may work against the others, together with the server."""
    min_nodes: Annotated[int, LATER] = Field(default=3, ge=3)
    """Nodes a secure sum needs; with fewer it is void: a sum of one or two is no secret."""
    update_ttl_hours: int = Field(ge=1)
    """Hours a reply may wait on the device for its server; then it is destroyed."""


class Transport(BaseModel):
    """What everything travels in."""

    model_config = STRICT

    tls_min: Literal["1.2", "1.3"]
    """Least version of TLS on every link; below 1.3 a deployment is refused."""
    seal: Literal["mlkem768_x25519_aes256gcm"]
    """Suite of the seal between devices and aggregator."""
    ip_log: Literal["none", "truncated", "full"]
    """What of addresses is logged; full is refused by TLS-002."""


class Release(BaseModel):
    """What must hold before a model or a figure is given out."""

    model_config = STRICT

    min_k: int = Field(ge=1)
    """No figure about fewer people."""
    requires: Annotated[tuple[Literal["ledger_verified", "audit_passed"], ...], Field(strict=False)]
    """Checks that come first."""
    audit_max_advantage: float = Field(gt=0, le=1)
    """Most advantage a membership attack may show in the audit."""
    retire_after_days: int = Field(ge=1)
    """Days after which a model leaves the devices."""


class Retention(BaseModel):
    """What the server keeps, and for how long."""

    model_config = STRICT

    server_updates_hours: int = Field(ge=0)
    """Hours that replies are kept; 0 is in memory only."""
    ledger_years: int = Field(ge=1)
    """Years the ledger is kept after its run."""


class Rights(BaseModel):
    """What a withdrawal does to a trained model."""

    model_config = STRICT

    trained_model: Literal["dp_only_stop_future", "retrain_window", "unlearn"]
    """``dp_only_stop_future``: the model stays. ``retrain_window``: it is also started afresh."""
    retrain_every_days: int = Field(ge=0)
    """Days between two fresh starts from consenting people; 0 is never."""


class Transparency(BaseModel):
    """What people are told of the ranking."""

    model_config = STRICT

    main_parameters: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
    """What decides a list, in plain words (DSA Art. 27)."""
    non_profiling_option: bool
    """Whether there is a list without profiling (DSA Art. 38)."""
    significant_decision: bool
    """Whether a decision with legal or similar effect rests on it; true is refused by ADM-001."""
    ai_act_class: Literal["minimal", "limited", "high"]
    """Class of the EU AI Act, by the controller's own finding."""


class LedgerTerms(BaseModel):
    """How the ledger is signed."""

    model_config = STRICT

    checkpoint_every_rounds: int = Field(ge=1)
    """Rounds between two signed checkpoints."""
    witness: Literal["none", "second_key", "rfc3161", "public_log"]
    """Who cosigns: with ``second_key`` a key that the operator does not hold."""


class ApprovalTerms(BaseModel):
    """Who is asked before anything runs; whose signature counts is pinned elsewhere."""

    model_config = STRICT

    required: int = Field(ge=0)
    """Distinct people that must sign; a deployment needs two."""
    approvers: Texts
    """Who is asked, by the names that reviewers' keys have."""
    expires_days: int = Field(ge=1)
    """Days an approval holds."""
