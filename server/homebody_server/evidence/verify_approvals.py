"""Did those who may sign approve what ran? Config, app, policy and waivers, against pinned keys."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.approval.quorum import ApprovalState, approved
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.approval.statement import Approval, unverified
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError, InvalidFileError

from .facts import POLICY_FILE, RunFacts
from .verify_lines import POLICY, Line, note, ok, wrong

_BEFORE: Final = frozenset({"purchase", "intent"})
_SHORT: Final = 12  # digits of a digest that a line shows

Entry = Mapping[str, Any]


def check_approvals(
    facts: RunFacts, keys: ReviewerKeys | None, now: int, at: int | None
) -> tuple[Line, ...]:
    """Check what reviewers signed.

    Args:
        facts: The run's files.
        keys: Pinned keys; None leaves signatures of reviewers uncompared.
        now: Unix seconds.
        at: When the model was signed, Unix seconds, by its publisher's word; None where that is not
            known. An approval must have held then; that it expired since is a note.
    """
    if facts.ledger is None or facts.config is None or facts.envelopes is None:
        return ()
    entries = [one for _, one in facts.ledger.of_kind("config_approved")]
    lines = list(_apps(facts, facts.envelopes, entries))
    if keys is None:
        return (*lines, _uncompared(facts.envelopes, entries))
    lines += _entries(facts, entries)
    if not entries:
        return tuple(lines)
    when = now if at is None else at
    judged = [_judged(facts, one, keys, when) for one in entries]
    entry, state = max(judged, key=lambda one: len(one[1].valid))
    app = str(entry.get("app"))
    lines += [wrong(f"an approval is not what was signed: {why}") for why in state.broken]
    lines.append(_quorum(facts.config, app, state))
    # Who signed again in the middle of a run was entered again: the last of each counts.
    for one in {(str(one.get("app")), str(one.get("policy"))): one for one in entries}.values():
        lines += _as_entered(facts.envelopes, one)
    lines += _policy(facts, entry, state)
    lines += _waivers(facts, state)
    if state.enough and not approved(facts.config, app, facts.envelopes, keys, now).enough:
        lines.append(note("the approvals expired since: another run needs new ones"))
    return tuple(lines)


def _judged(
    facts: RunFacts, entry: Entry, keys: ReviewerKeys, when: int
) -> tuple[Entry, ApprovalState]:
    """Return an entry and how approvals of its app stand."""
    if facts.config is None or facts.envelopes is None:
        raise IntegrityError("without config and approvals there is nothing to judge")
    app = str(entry.get("app"))
    return entry, approved(facts.config, app, facts.envelopes, keys, when)


def _uncompared(envelopes: tuple[Envelope, ...], entries: list[Entry]) -> Line:
    if envelopes or entries:
        return note("approvals were not compared with anybody's key: give --keys")
    return note("no approvals: a simulation may do without, a fleet may not")


def _apps(facts: RunFacts, envelopes: tuple[Envelope, ...], entries: list[Entry]) -> Iterator[Line]:
    """Check that what was approved is the app that ran the rounds, by the run's own word."""
    ran = None if facts.run is None else facts.run.get("app")
    if not isinstance(ran, str):  # a pack, or a run of before it was noted
        return
    named = {str(one.get("app")) for one in entries}
    if not named:
        named = {said.app for said in _approvals(envelopes) if said.config == facts.digest}
    if named and ran not in named:
        shown = ", ".join(sorted(one[:_SHORT] for one in named))
        yield wrong(f"approved for another app, {shown}, than ran, {ran[:_SHORT]}", POLICY)


def _approvals(envelopes: tuple[Envelope, ...]) -> Iterator[Approval]:
    for envelope in envelopes:
        try:
            said = unverified(envelope)
        except IntegrityError:
            continue  # the quorum tells of it
        if isinstance(said, Approval):
            yield said


def _entries(facts: RunFacts, entries: list[Entry]) -> Iterator[Line]:
    """Check what the ledger says of approvals, whoever signed them."""
    if not entries:
        yield wrong("nobody approved this run: the ledger has no config_approved", POLICY)
        return
    ledger, digest = facts.ledger, facts.digest
    if ledger is None or digest is None:
        return
    first = ledger.of_kind("config_approved")[0][0]
    charged = [i for i, one in enumerate(ledger.entries) if one["kind"] in _BEFORE]
    if charged and charged[0] < first:
        yield wrong(f"entry {charged[0]} was charged before the config was approved")
    others = {str(one.get("config")) for one in entries} - {digest}
    if others:
        shown = ", ".join(sorted(one[:_SHORT] for one in others))
        yield wrong(f"the ledger approves another config, {shown}, than ran, {digest[:_SHORT]}")
    elif ledger.header.get("config") == digest:
        yield ok("every round ran the approved config")


def _quorum(config: PrivacyConfig, app: str, state: ApprovalState) -> Line:
    what = f"config {config.digest()[:_SHORT]} and app {app[:_SHORT]}"
    if len(state.valid) >= max(state.required, 1):
        return ok(f"{len(state.valid)} approvals cover {what}")
    reasons = "".join(f"; {why}" for why in state.refused)
    return wrong(f"{len(state.valid)} of {state.required} approvals cover {what}{reasons}", POLICY)


def _as_entered(envelopes: tuple[Envelope, ...], entry: Entry) -> Iterator[Line]:
    """Check that the ledger names those who signed, no more and no less."""
    signed: set[str] = set()
    for envelope in envelopes:
        try:
            said = unverified(envelope)
        except IntegrityError:
            continue  # the quorum tells of it
        what = (said.config, said.app, said.policy) if isinstance(said, Approval) else None
        if what == (entry.get("config"), entry.get("app"), entry.get("policy")):
            signed |= {one.keyid for one in envelope.signatures}
    named = entry.get("keys")
    if not isinstance(named, list) or set(map(str, named)) != signed:
        yield wrong("the ledger names other approvers than those who signed")


def _policy(facts: RunFacts, entry: Entry, state: ApprovalState) -> Iterator[Line]:
    """Check that the policy is the one the approvers signed by."""
    policy = entry.get("policy")
    if state.enough and policy != state.policy_sha256:
        yield wrong("the ledger names another policy than the approvers signed by")
    yield from _policy_file(facts, policy)


def _policy_file(facts: RunFacts, policy: object) -> Iterator[Line]:
    told = None if facts.run is None else facts.run.get("policy")
    named = told.get("sha256") if isinstance(told, dict) else None
    if facts.run is not None and named != policy:
        yield wrong("run.json names another policy than the ledger")
    if POLICY_FILE not in facts.content:
        if policy is not None:
            yield wrong(f"the run was approved by a policy, and {POLICY_FILE} is missing")
        return
    from homebody_privacy.policy.check import PolicyRules  # noqa: PLC0415 - its own extra

    try:
        found = PolicyRules.load(facts.folder / POLICY_FILE).digest()
    except InvalidFileError:
        yield wrong(f"{POLICY_FILE} is not what was approved: it breaks its schema")
        return
    if found == policy:
        yield ok(f"policy {found[:_SHORT]} is the one that was approved")
    else:
        yield wrong(f"{POLICY_FILE} is not the policy that was approved")


def _waivers(facts: RunFacts, state: ApprovalState) -> Iterator[Line]:
    """Check that every rule the ledger says was lifted was lifted by those who may."""
    signed = {(one.rule, one.path) for one in state.waivers}
    proposed = {(one.rule, one.path) for one in state.proposed}
    entered = set()
    for _, one in facts.ledger.of_kind("waiver") if facts.ledger is not None else ():
        rule, path = str(one.get("rule")), str(one.get("path"))
        entered.add((rule, path))
        if (rule, path) not in proposed or one.get("config") != facts.digest:
            yield wrong(f"the ledger names a waiver of {rule} that nobody who may signed")
        elif (rule, path) not in signed:
            yield note(f"a waiver of {rule} at {path} has too few signatures: it lifts nothing")
        else:
            yield note(f"{rule} was lifted at {path} by a signed waiver")
    for rule, path in sorted(signed - entered):
        yield note(f"a waiver of {rule} at {path} was signed and is not in the ledger")
