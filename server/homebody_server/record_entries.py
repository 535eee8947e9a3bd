"""What a run enters in its ledger besides charges: who approved it, what came out, how it ended.

Each can be entered again after a crash: what is in the ledger already is not entered twice.
"""

import datetime as dt
from collections.abc import Iterable

from homebody_privacy.approval.approvals_file import envelopes_of
from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.approval.statement import Approval, Waiver, unverified
from homebody_privacy.errors import IntegrityError
from homebody_privacy.ledger import Ledger
from homebody_privacy.ledger_entries import (
    ConfigApproved,
    Destroyed,
    ModelReleased,
    Notice,
    PolicyChanged,
    RetentionRun,
    RunClosed,
    WaiverEntered,
)
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import RunSpec
from homebody_server.spending import open_ledger, runs_before


def note_app(folder: RunFolder, app: str) -> None:
    """Note in ``run.json`` which app runs the rounds; the latest, where it changed on the way.

    Args:
        folder: The run.
        app: SHA-256 of the files this process runs from, as hex.
    """
    run = folder.read_json("run.json")
    if run.get("app") != app:
        folder.write_json("run.json", {**run, "app": app})


def enter_opening(ledger: Ledger, folder: RunFolder, spec: RunSpec, app: str) -> None:
    """Enter what reviewers signed for the run, and the firm's own rules where they are others.

    A ledger is the operator's word: whose signatures count is for ``verify`` to say, by keys that
    the operator does not choose. What was signed for another app than runs is not entered: it says
    nothing of this run.

    Args:
        ledger: The run's.
        folder: The run; ``run.json`` has ``approvals`` as DSSE envelopes, ``policy`` with a digest.
        spec: Its constants.
        app: SHA-256 of the files this process runs from, as hex.

    Raises:
        IntegrityError: If an envelope is no statement of homebody.
    """
    if not ledger.holds_notices or ledger.record.ended is not None:
        return
    run = folder.read_json("run.json")
    notices = _signed(run.get("approvals") or [], ledger.header.config, app)
    policy = (run.get("policy") or {}).get("sha256")
    if policy != _policy_before(ledger, folder, spec):
        notices.insert(0, PolicyChanged(policy=policy))
    for notice in notices:
        if notice not in ledger.record.notices:
            ledger.enter(notice)


def enter_model(folder: RunFolder, spec: RunSpec, *, bundle: str, model: str) -> None:
    """Enter that a signed bundle was published.

    Args:
        folder: The run.
        spec: Its constants; one without a ceiling has no ledger.
        bundle: SHA-256 of the bundle's manifest, as hex.
        model: Digest of the model in it, as hex.
    """
    if spec.ceiling is None:
        return
    with open_ledger(folder, spec) as ledger:
        if ledger.holds_notices:
            ledger.enter(ModelReleased(bundle=bundle, model=model))
        ledger.checkpoint()


def enter_end(folder: RunFolder, spec: RunSpec) -> None:
    """Enter how a run ended and what it no longer keeps, once its key is gone.

    Args:
        folder: The run; ``run.json`` says how it ended.
        spec: Its constants; one without a ceiling has no ledger.

    Raises:
        IntegrityError: If something the run kept while it was open is still there.
    """
    if spec.ceiling is None or not folder.ledger_file.exists():
        return
    kept = folder.kept()
    if kept:
        raise IntegrityError(
            f"{folder.path}: {kept[0]} should be destroyed and is still there",
            fix="remove it, then resume the run: it ends with that",
        )
    ended = folder.read_json("run.json")["outcome"]["ended"]
    with open_ledger(folder, spec) as ledger:
        if ledger.holds_notices and ledger.record.ended is None:
            ledger.enter(RunClosed(ended=ended))
        if ledger.holds_notices and not ledger.record.retention_runs:
            ledger.enter(RetentionRun(what=_gone(spec)))
        ledger.checkpoint()


def _policy_before(ledger: Ledger, folder: RunFolder, spec: RunSpec) -> str | None:
    """Return the digest of the firm's rules in the run before on the same people."""
    previous = ledger.header.previous
    if previous is None:
        return None
    runs = (run.record for run in runs_before(folder, spec))
    return next((run.policy for run in runs if run.header.run == previous.run), None)


def _gone(spec: RunSpec) -> list[Destroyed]:
    """Return what a run of these constants keeps while it is open."""
    found: list[Destroyed] = ["run-key"]
    if spec.mechanism == "blt" and spec.rounds:
        found.append("noise-state")
    if not spec.lifetime:
        found.append("device-records")
    if spec.secagg:
        found += ["aggregator-keys", "replay-log"]
    return found


def _signed(envelopes: object, config: str, app: str) -> list[Notice]:
    """Return the entries of approvals of config and app, and of waivers, with ids of their keys."""
    try:
        found = envelopes_of(envelopes)
    except ValueError as error:
        raise IntegrityError(f"run.json holds approvals that are none: {error}") from error
    approved: dict[str | None, set[str]] = {}
    waived: dict[tuple[str, str, str], set[str]] = {}
    for envelope in found:
        said = unverified(envelope)
        if said.config != config:
            continue
        if isinstance(said, Approval):
            if said.app == app:
                approved.setdefault(said.policy, set()).update(_keys(envelope))
        else:
            day = (said.rule, said.path, _day(said))
            waived.setdefault(day, set()).update(_keys(envelope))
    return [
        *(
            WaiverEntered(rule=rule, path=path, config=config, keys=sorted(keys), expires_day=day)
            for (rule, path, day), keys in waived.items()
        ),
        *(
            ConfigApproved(config=config, app=app, keys=sorted(keys), policy=policy)
            for policy, keys in approved.items()
        ),
    ]


def _keys(envelope: Envelope) -> Iterable[str]:
    return (one.keyid for one in envelope.signatures)


def _day(waiver: Waiver) -> str:
    return dt.datetime.fromtimestamp(waiver.expires, dt.UTC).date().isoformat()
