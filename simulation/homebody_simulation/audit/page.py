"""``audit.html`` and the block a run's report may include: made from the audit and nothing else."""

import json
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from homebody_simulation.audit.figure import intervals_svg, lags_svg, rows_of
from homebody_simulation.audit.report import AuditReport

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>homebody audit</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 0 auto; padding: 1.5rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8888; }
.verdict { border-left: 4px solid #0072B2; padding: .6rem 1rem; font-weight: 600; }
.chart { width: 100%; max-width: 40rem; height: auto; }
.chart text { font-size: 12px; fill: currentColor; }
.chart .grid { stroke: #8888; stroke-width: 1; }
</style>
</head>
<body>
<h1>Audit</h1>
<p class="verdict">{{ a.verdict }}</p>
{% if a.findings %}<ul>
{% for finding in a.findings %}<li>{{ finding }}</li>
{% endfor %}</ul>{% endif %}
{% for sentence in a.sentences %}<p>{{ sentence }}</p>
{% endfor %}
{% if a.rows %}<table><tr><th>measured</th><th>interval and claim</th></tr>
{% for row in a.rows %}<tr><td>{{ row.label }}</td><td>{{ row.words }}</td></tr>
{% endfor %}</table>{% endif %}
{% for figure in a.figures %}<div>{{ figure }}</div>
{% endfor %}
<p>{{ a.closing }}</p>
</body>
</html>
"""


def audit_section(report: AuditReport) -> dict[str, Any]:
    """Return the block of an audit for a page: words, rows and figures, the closing sentence apart.

    Returns:
        ``verdict``, ``findings``, ``sentences`` (without those two and the closing one), ``rows``
        (``label``, ``words``), ``figures`` (SVG elements as text) and ``closing``.
    """
    *words, verdict, closing = report.sentences()
    found = report.conformance
    figures = [] if found is None else [intervals_svg(rows_of(found)), lags_svg(found)]
    rows = () if found is None else rows_of(found)
    return {
        "verdict": verdict,
        "findings": list(report.findings),
        "sentences": words[: len(words) - len(report.findings)],
        "rows": [{"label": row.label, "words": row.words} for row in rows],
        "figures": [svg for svg in figures if svg is not None],
        "closing": closing,
    }


def render(report: AuditReport) -> str:
    """Return the page: one file, no script, nothing loaded from elsewhere."""
    section = audit_section(report)
    # The figures escape their own text; autoescape would show the tags.
    section["figures"] = [Markup(svg) for svg in section["figures"]]  # noqa: S704
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(_PAGE).render(a=section)


def write(report: AuditReport, folder: Path) -> None:
    """Write ``audit.json``, ``audit.html`` and, with tier 1, ``audit.svg`` to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "audit.json").write_text(text + "\n", "utf-8")
    (folder / "audit.html").write_text(render(report), "utf-8")
    if report.conformance is not None:
        (folder / "audit.svg").write_text(intervals_svg(rows_of(report.conformance)), "utf-8")
