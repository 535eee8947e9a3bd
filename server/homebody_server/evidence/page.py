"""``index.html`` and ``ledger.html``: made from a case and from nothing else; nothing is loaded."""

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from homebody_privacy.approval.statement import Approval
from homebody_privacy.explaining.matrix import matrix
from homebody_privacy.explaining.trust import uncovered
from homebody_server.evidence.audit_part import audit_statements
from homebody_server.evidence.case import Case, day_of
from homebody_server.evidence.chart import budget_chart
from homebody_server.evidence.inventory import (
    features_of,
    leaving_of,
    notices_of,
    purposes_of,
)
from homebody_server.evidence.ledger_part import rows_of
from homebody_server.evidence.promise_part import bets, face, not_covered, switched_off, waived
from homebody_server.evidence.references import config_rows, href, kind, rule_rows, short
from homebody_server.evidence.sample import Sample
from homebody_server.evidence.words import LEDGER_SENTENCE, Sheet, Statement, listed

_TEMPLATES: Final = ("index.html", "data.html", "record.html", "ledger.html", "macros.html")
_SECTIONS: Final = (
    ("face", "The promise, cap, spend, trust"),
    ("limits", "What is not covered, whose word it is, waivers"),
    ("data", "Data: matrix, inventory, notices"),
    ("check", "Check of the config"),
    ("dpia", "Impact assessment, prefilled"),
    ("ropa", "Record of processing activities"),
    ("model-card", "Model card and registry entry"),
    ("checklists", "Two checklists"),
    ("consent", "Consent records: schema and sample"),
    ("record", "The record: checkpoint, proofs, verify, audit"),
)


def render(
    case: Case,
    *,
    sheets: Mapping[str, Sheet],
    registry: str,
    sample: Sample | None,
    names: Iterable[str],
) -> dict[str, str]:
    """Return the pages by their name.

    Args:
        case: The run.
        sheets: Sheets by key.
        registry: The registry entry, as text.
        sample: The consent sample; None where the config allows no purpose any data.
        names: Every file of the pack.

    Raises:
        jinja2.UndefinedError: If a template asks for what is not there.
    """
    shown = _facts(case) | _data(case) | _record(case, sample, names)
    shown |= {
        "dpia": sheets["dpia"],
        "ropa": sheets["ropa"],
        "card": sheets["model-card"],
        "checklists": [sheets["nist-sp-800-226"], sheets["dp-review"]],
        "registry": registry,
    }
    refs = {ref for one in _statements(shown) for ref in one.refs}
    shown["config"] = config_rows(case.record.config, refs)
    shown["rules"] = rule_rows(case.check, case.policy, refs, case.unseen)
    environment = _environment(len(case.record.entries))
    return {
        name: environment.get_template(name).render(c=shown)
        for name in ("index.html", "ledger.html")
    }


def _environment(entries: int) -> Environment:
    folder = files("homebody_server.evidence").joinpath("templates")
    sources = {name: folder.joinpath(name).read_text("utf-8") for name in _TEMPLATES}
    environment = Environment(
        loader=DictLoader(sources),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def lead(ref: str) -> str:  # an entry that cannot be read has no place on the page
        name, _, index = ref.partition(":")
        return "#verify" if name == "ledger" and int(index) >= entries else href(ref)

    environment.filters |= {"href": lead, "short": short, "kind": kind}
    # The style is a file of ours, without a tag in it.
    style = folder.joinpath("style.css").read_text("utf-8")
    environment.globals["style"] = Markup(style)  # noqa: S704
    return environment


def _facts(case: Case) -> dict[str, Any]:
    """Return what the first two sections show."""
    config, figures, lines = case.record.config, case.figures, case.lines
    wrong = [line.text for line in lines if line.mark == "WRONG"]
    # The chart escapes its own text.
    chart = Markup(budget_chart(figures)) if figures and figures.steps else None  # noqa: S704
    return {
        "run": case.record.name,
        "day": case.day,
        "stamp": case.stamp,
        "verified": case.is_verified,
        "wrong": listed(wrong[:1]),
        "ok_lines": sum(line.mark == "ok" for line in lines),
        "wrong_lines": len(wrong),
        "activity": config.activity.name,
        "controller": config.activity.controller,
        "config_digest": config.digest(),
        "revision": config.revision,
        "kind": "a simulation" if case.record.simulated else "a fleet of devices",
        "figures": figures,
        "withheld": case.withheld,
        "chart": chart,
        "face": face(case),
        "uncovered": listed(uncovered(config)),
        "not_covered": not_covered(case),
        "switched_off": switched_off(case),
        "waived": waived(case),
        "bets": bets(case),
        "approvals": _approvals(case),
        "check": case.check,
        "ledger_sentence": LEDGER_SENTENCE,
        "sections": _SECTIONS,
    }


def _approvals(case: Case) -> dict[str, str]:
    needed, state = case.record.config.approval.required, case.approvals
    if state is not None:
        words = f"by keys of the reviewers' file, valid on {case.day}"
        return {"number": f"{len(state.valid)} of {needed}", "words": words}
    if case.approvers:
        words = "signed; no reviewers' file was given to compare keys with"
        return {"number": f"{len(case.approvers)} of {needed}", "words": words}
    return {"number": f"0 of {needed}", "words": "none came with this run"}


def _data(case: Case) -> dict[str, Any]:
    config = case.record.config
    return {
        "matrix": matrix(config),
        "features": features_of(config),
        "purposes": purposes_of(config),
        "notices": notices_of(case.record),
    }


def _record(case: Case, sample: Sample | None, names: Iterable[str]) -> dict[str, Any]:
    """Return what the last two sections show."""
    record, names = case.record, sorted(names)
    note = record.files.get("checkpoint")
    return {
        "rows": rows_of(record),
        "kinds": _kinds(case),
        "verify_log": case.verify_log,
        "signed": [_signed(one) for one in case.signed],
        "approval_notes": () if case.approvals is None else case.approvals.refused,
        "checkpoint": None if note is None else note.decode("utf-8", "replace"),
        "leaving": leaving_of(record),
        "audit": audit_statements(record),
        "files": names,
        "sample_files": [name for name in names if name.startswith("consent/")],
        "sample_receipt": None if sample is None else _receipt(sample),
    }


def _receipt(sample: Sample) -> str:
    return json.dumps(json.loads(sample.receipts[0]), indent=1, ensure_ascii=False)


def _signed(one: Any) -> dict[str, str]:  # noqa: ANN401 - an approval or a waiver
    is_approval = isinstance(one, Approval)
    about = (
        f"config {one.config[:12]}, app {one.app[:12]}, revision {one.revision}"
        if is_approval
        else f"{one.rule} at {one.path}: {one.reason}"
    )
    return {
        "what": "approval" if is_approval else "waiver",
        "by": one.by,
        "about": about,
        "issued": day_of(one.issued),
        "expires": day_of(one.expires),
    }


def _kinds(case: Case) -> list[dict[str, Any]]:
    found: dict[str, list[int]] = {}
    for entry in case.record.entries:
        found.setdefault(entry.kind, []).append(entry.index)
    return [
        {"kind": name, "count": len(places), "first": places[0], "last": places[-1]}
        for name, places in found.items()
    ]


def _statements(shown: object) -> Iterable[Statement]:
    """Return every statement within what is shown, however deep."""
    if isinstance(shown, Statement):
        yield shown
    elif isinstance(shown, Sheet):
        yield from shown.statements()
    elif isinstance(shown, Mapping):
        for one in shown.values():
            yield from _statements(one)
    elif isinstance(shown, (list, tuple)):
        for one in shown:
            yield from _statements(one)
    elif hasattr(shown, "claim") and hasattr(shown, "word"):  # the first page
        for name in ("claim", "bets", "enforced", "checked", "word"):
            yield from _statements(getattr(shown, name))
