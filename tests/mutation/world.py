"""One small approved run with everything a reviewer gets of it: the untouched set.

Real parts throughout: the sample project's config, made smaller; two reviewers who sign; a run of
two rounds on simulated devices; the witness who cosigns its checkpoint; the evidence pack.
"""

import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import tomli_w

from homebody import cli
from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.approval.approvals_file import write_approvals
from homebody_privacy.approval.reviewers import ReviewerKeys, encode_key, reviewer_lines
from homebody_privacy.approval.statement import Approval, sign
from homebody_privacy.checkpoint import ledger_key, ledger_public
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.policy.check import PolicyRules
from homebody_privacy.signing import SigningKey
from homebody_server.evidence.case import open_case
from homebody_server.evidence.pack import write_pack
from homebody_server.evidence.sources import read_run
from homebody_simulation.request import Request
from homebody_simulation.simulate import simulate

SAMPLE: Final = Path(__file__).parents[2] / "docs" / "examples" / "compliance"
DPO: Final = "dpo@example.org"
SECURITY: Final = "security@example.org"
WITNESS: Final = "compliance@example.org"
DEVICES: Final = 300
DAY: Final = 86_400

POLICY: Final = """\
schema = "policy/1"
name = "Example Grocer baseline 3"
[[rule]]
id = "DP-002"
path = "dp.epsilon_max"
op = "<="
value = 3.0
why = "privacy loss per person is capped"
ref = "NIST SP 800-226"
[[rule]]
id = "X-101"
expr = "size(activity.recipients) == 0 || release.min_k >= 100"
why = "numbers that leave the firm need 100 people"
"""


@dataclass(frozen=True, slots=True)
class World:
    """The untouched set.

    Attributes:
        root: Folder of everything: ``project`` (config, policy, approvals), ``runs``, ``pack``.
        keys: What reviewers pinned.
        signers: Secret keys by name. Secret, in a test.
        now: Unix seconds of every check.
    """

    root: Path
    keys: ReviewerKeys
    signers: Mapping[str, SigningKey] = field(repr=False)
    now: int

    @property
    def config(self) -> Path:
        """The approved config."""
        return self.root / "project" / "privacy.toml"

    @property
    def policy(self) -> Path:
        """The firm's policy."""
        return self.root / "project" / "policy.toml"

    @property
    def run(self) -> Path:
        """Folder of the run."""
        return self.root / "runs" / "autumn"

    @property
    def pack(self) -> Path:
        """The evidence pack."""
        return self.root / "pack"

    @property
    def approvals(self) -> Path:
        """What reviewers signed, beside the config."""
        return self.config.with_name("privacy.approvals.json")

    def at(self, root: Path) -> "World":
        """Return the same in a copy of its folder."""
        return replace(self, root=root)

    @property
    def reviewers(self) -> Path:
        """File of the pinned keys."""
        return self.root / "reviewer-keys.toml"


def small_config() -> dict[str, Any]:
    """Return the sample project's config for as few devices as keep every rule."""
    values = tomllib.loads((SAMPLE / "privacy.toml").read_text("utf-8"))
    values["activity"]["population"] = DEVICES
    values["dp"] |= {
        "rounds": 2,
        "min_separation": 2,
        "max_rounds_per_device": 1,
        "cohort_size": 100,
        "cohort_cap": 150,
        "noise_multiplier": 8.0,
    }
    values["metrics"]["hit_rate"]["releases_per_run"] = 1
    return values


def sign_all(world: World, config: PrivacyConfig) -> None:
    """Let both reviewers approve a config, beside it."""
    policy = PolicyRules.load(world.policy).digest()
    envelopes = [
        sign(
            Approval(
                config=config.digest(),
                app=installed_app(),
                by=name,
                revision=config.revision,
                policy_version=config.activity.policy_version,
                policy=policy,
                issued=world.now - DAY,
                expires=world.now + 30 * DAY,
            ),
            world.signers[name],
        )
        for name in (DPO, SECURITY)
    ]
    write_approvals(world.approvals, envelopes)


def build(root: Path) -> World:
    """Make everything in a folder."""
    names = (DPO, SECURITY, WITNESS)
    signers = {name: SigningKey(bytes([i]) * 32) for i, name in enumerate(names, start=1)}
    runs = root / "runs"
    runs.mkdir()
    publisher = SigningKey(bytes([9]) * 32)
    publisher.save(runs / "publisher.key")
    (runs / "publisher.pub").write_bytes(publisher.public)
    ledger_key(runs)
    project = root / "project"
    project.mkdir()
    (project / "notices").mkdir()
    for notice in (SAMPLE / "notices").iterdir():
        (project / "notices" / notice.name).write_bytes(notice.read_bytes())
    (project / "privacy.toml").write_text(tomli_w.dumps(small_config()), "utf-8")
    (project / "policy.toml").write_text(POLICY, "utf-8")
    reviewers = root / "reviewer-keys.toml"
    reviewers.write_text(_reviewers(signers, ledger_public(runs), publisher), "utf-8")
    world = World(root, ReviewerKeys.load(reviewers), signers, int(time.time()))
    sign_all(world, PrivacyConfig.load(world.config))
    _train(world)
    _cosign(world)
    write_pack(world.pack, open_case(read_run(world.run), world.keys, world.now), ledger_key(runs))
    return world


def _reviewers(signers: Mapping[str, SigningKey], ledger: object, publisher: SigningKey) -> str:
    people = "\n".join(reviewer_lines(name, signers[name].public) for name in (DPO, SECURITY))
    witness = (
        f'[[reviewer]]\nname = "{WITNESS}"\nkey = "{encode_key(signers[WITNESS].public)}"\n'
        'may = ["witness"]\n'
    )
    pinned = f'[ledger]\nkey = "{ledger}"\n\n[publisher]\nkey = "{encode_key(publisher.public)}"\n'
    return f'schema = "reviewers/1"\n\n{people}\n{witness}\n{pinned}'


def _train(world: World) -> None:
    request = Request(
        data="synthetic",
        options={"devices": DEVICES, "items": 20},
        config_file=world.config,
        epsilon=2.5,
        engine="torch",
        threads=1,
        name="autumn",
        runs=world.root / "runs",
        policy=world.policy,
        reviewers=world.reviewers,
    )
    simulate(request)


def _cosign(world: World) -> None:
    secret = world.root / "witness.key"
    world.signers[WITNESS].save(secret)
    assert cli.run(["cosign", str(world.run), "--key", str(secret), "--as", WITNESS]) == 0
