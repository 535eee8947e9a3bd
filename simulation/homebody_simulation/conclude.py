"""The end of a run: open the test once, sign the model, write what was found."""

import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from homebody_models.recommender import model_digest
from homebody_server.record_entries import enter_model
from homebody_server.stages import EVALUATION
from homebody_simulation.compliance import policy_summary
from homebody_simulation.cost import Meter
from homebody_simulation.curve import read_points
from homebody_simulation.egress import write_egress
from homebody_simulation.privacy_report import PrivacyReport, claim, limits, privacy_report
from homebody_simulation.publish import publish
from homebody_simulation.report import write_report
from homebody_simulation.request import Request
from homebody_simulation.setup import Prepared
from homebody_simulation.shipping import shipping_of
from homebody_simulation.uploads import statistic_lengths, upload_bytes, uploads
from homebody_simulation.utility_report import utility_report


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long training took.

    Attributes:
        seconds: Wall seconds of training.
        rounds: Rounds run in that time.
        passes: Sums about everybody made in that time.
    """

    seconds: float
    rounds: int
    passes: int = 0

    def devices_per_second(self, cohort_size: int, devices: int) -> float:
        """Return expected devices per second: how many really came is nobody's to know."""
        asked = self.rounds * cohort_size + self.passes * devices
        return asked / self.seconds if self.seconds > 0.0 else 0.0


def conclude(prepared: Prepared, meter: Meter, timing: Timing) -> dict[str, Any]:
    """Evaluate, sign and report a run that has ended; return the report.

    It may be called again after a crash: what it wrote before is replaced.

    Args:
        prepared: The run; its test must be sealed still.
        meter: What the devices' part cost.
        timing: How long training took.
    """
    folder, spec, layout = prepared.folder, prepared.spec, prepared.model.layout
    state = folder.load_state()
    with prepared.stages.of(EVALUATION):
        shipping = shipping_of(prepared)
        utility = utility_report(prepared, shipping)
    shipped = shipping.shipped.parameters
    found, sent = privacy_report(prepared), uploads(prepared)
    epsilon, privacy = found.epsilon, found.privacy
    report: dict[str, Any] = {
        "schema": "report/1",
        "run": folder.name,
        "recipe": spec.recipe,
        "refit": prepared.request.refit,
        "passes": len(spec.statistics),
        "rounds": state.next_round - 1,
        "runtime": prepared.request.runtime,
        "seeded": prepared.request.seed is not None,
        "claim": {"statement": claim(prepared, epsilon)},
        "epsilon": epsilon,
        "privacy": privacy,
        "released": found.released,
        "audit": None,
        "voids": found.voids,
        "limits": limits(prepared, found),
        "shipping": shipping.to_dict(),
        "utility": utility,
        "curve": _curve(prepared, found),
        "cost": meter.per_device(),
        "uploads": sent,
        "upload_bytes": upload_bytes(sent),
        "devices_per_second": timing.devices_per_second(spec.cohort_size, spec.devices),
        "seconds": timing.seconds,
        "data": _data(prepared),
        "model": {
            "name": prepared.model.name,
            "parameters": layout.size,
            "trained": layout.trained_size if spec.rounds else 0,
        },
        "policy": policy_summary(folder.read_json("run.json").get("check")),
        "reproduce": _command(prepared),
        "digests": {"config": spec.config_digest, "model": model_digest(shipped)},
        "versions": ", ".join(
            f"{name} {version(name)}" for name in ("homebody", "flwr", "torch", "opacus")
        )
        + f", Python {sys.version.split()[0]}",
    }
    report["bundle"] = publish(prepared, shipped, report)
    enter_model(folder, spec, bundle=report["bundle"]["digest"], model=report["digests"]["model"])
    write_egress(folder, spec, rounds=report["rounds"], statistics=statistic_lengths(prepared))
    write_report(folder.path, report)
    folder.write_json("report.json", report)  # last: a run with a report has all the rest
    return report


def _curve(prepared: Prepared, found: PrivacyReport) -> list[dict[str, Any]]:
    """Return the looks by round; without their epsilon where its premise failed."""
    points = [p.to_dict() for p in read_points(prepared.folder.path / "metrics.jsonl")]
    credit = prepared.config.dp.amplification
    if credit and found.epsilon is not None and not found.epsilon["user"]["amplified"]:
        return [{**point, "epsilon": None} for point in points]
    return points


def _data(prepared: Prepared) -> dict[str, Any]:
    data = prepared.dataset
    return {
        "name": prepared.request.data,
        "devices": data.interactions.devices,
        "items": len(data.interactions.catalog),
        "unit": data.unit,
        "options": dict(prepared.request.options),
        "source": data.source,
        "licence": data.licence,
        "population": prepared.spec.population,
    }


def _command(prepared: Prepared) -> str:
    """Return the command that runs this again."""
    request, spec = prepared.request, prepared.spec
    if request.fleet is not None:
        return f"homebody train --fleet {request.fleet}"
    options: dict[str, object] = {
        "data": request.data,
        "epsilon": "inf" if request.epsilon is None else f"{request.epsilon:g}",
        "recipe": None if spec.recipe == "rounds" else spec.recipe,
        "rounds": spec.rounds or None,
        "cohort": spec.cohort_size if spec.rounds else None,
        "mechanism": spec.mechanism if spec.rounds and spec.ceiling is not None else None,
        "runtime": request.runtime,
        "model": request.model,
        "seed": request.seed,
        "engine": None if request.engine == "auto" else request.engine,
        **_unreliable(request),
        **{name: request.options.get(name) for name in ("devices", "items", "on_bad")},
        "config": prepared.folder.config_file,
    }
    words = ["homebody simulate"]
    words += ["--refit"] if request.refit else []
    words += [f"--{k.replace('_', '-')} {v}" for k, v in options.items() if v is not None]
    columns = request.options.get("columns")
    if isinstance(columns, dict):
        words += [f"--column {role}={name}" for role, name in columns.items()]
    return " ".join(words)


def _unreliable(request: Request) -> dict[str, float | None]:
    """Return the options that say how reliable the devices are, where they are not."""
    chances = {"availability": 1.0, "drop_out": 0.0, "slow": 0.0}
    return {
        name: value if (value := getattr(request, name)) != usual else None
        for name, usual in chances.items()
    }
