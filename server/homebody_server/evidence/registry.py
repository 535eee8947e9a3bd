"""The entry of the OpenDP registry of deployments, tier 3, as far as a record can fill it in.

Names as in ``schemas/deployments-schema.yaml`` of
https://github.com/opendp/deployments-registry-data.
It is a draft: whoever submits it adds their name, the sector and where the model is published.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from homebody_privacy.charges import round_up
from homebody_server.evidence.case import Case, day_of
from homebody_server.evidence.promise_part import claim, not_covered, operators_word
from homebody_server.evidence.words import listed

_TO_FILL: Final = "TO BE FILLED IN BY PEOPLE"
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def registry_entry(case: Case) -> dict[str, Any]:
    """Return the entry; a figure that may not be shown is not in it."""
    activity = case.record.config.activity
    slug = re.sub(r"[^a-z0-9]+", "-", f"{activity.name} {case.record.name}".lower()).strip("-")
    return {
        "url_slug": slug,
        "status": "Draft",
        "tier": 3,
        "deployment": {
            "basic": _basic(case),
            "dp_variant": _variant(case),
            "privacy_loss": _loss(case),
            "deployment_model": _model(case),
            "accounting": _accounting(case),
            "implementation": _implementation(case),
            "administrative": {
                "sources": "The evidence pack this entry came with; its MANIFEST lists every file.",
                "notes": case.stamp or f"Verified on {case.day}.",
                "registry_authors": [_TO_FILL],
            },
        },
    }


def to_yaml(entry: Mapping[str, Any]) -> str:
    """Return an entry as YAML: blocks of plain keys, texts in JSON's quotes, which YAML reads."""
    return "\n".join(_lines(entry, 0)) + "\n"


def _basic(case: Case) -> dict[str, Any]:
    activity = case.record.config.activity
    bundle = case.record.bundle
    published = _TO_FILL if bundle is None else day_of(int(bundle.get("created", 0)))
    return {
        "name": activity.name,
        "data_curators": [
            {"data_curator_name": activity.controller, "data_curator_type": _TO_FILL}
        ],
        "intended_use": listed(one.title for one in case.record.config.purposes.values()),
        "data_product_type": "Machine learning model",
        "data_product_region": listed(activity.jurisdictions),
        "description": (
            "A model that ranks items on people's devices, trained from clipped contributions of "
            f"devices, with noise on their sums. Run {case.record.name}."
        ),
        "publication_date": published,
        "data_product_sector": _TO_FILL,
    }


def _variant(case: Case) -> dict[str, Any]:
    features = case.record.config.features
    held = listed(f"{name} ({listed(group.fields)})" for name, group in features.items())
    return {
        "variant_name": "Approximate DP",
        "data_domain": f"What devices hold: {held}, a fixed public list of items.",
        "unprotected_quantities": " ".join(one.text for one in not_covered(case)),
    }


def _loss(case: Case) -> dict[str, Any]:
    figures, dp = case.figures, case.record.config.dp
    entry: dict[str, Any] = {
        "privacy_unit": "User-level" if dp.unit == "user" else "Record-level",
        "privacy_unit_details": (
            "All data of one device. Neighbouring data sets differ in one device, whose "
            "contribution "
            f"becomes zero ({dp.adjacency}). A person with two devices counts as two."
        ),
    }
    said = claim(case)
    if figures is None or said is None:
        entry["privacy_parameters_details"] = f"No figure is shown: {listed(case.withheld)}."
        return entry
    entry["privacy_parameters"] = {"epsilon": figures.epsilon, "delta": figures.delta}
    if figures.mu is not None:
        entry["privacy_parameters"]["rho"] = round_up(figures.mu**2 / 2, 6)
    entry["privacy_parameters_details"] = (
        f"{said.text} Cap: epsilon {figures.cap:g}. Without credit for secret coins: epsilon "
        f"{figures.unamplified:g}."
    )
    return entry


def _model(case: Case) -> dict[str, Any]:
    config, record = case.record.config, case.record
    kind = (
        "sums by secure aggregation, then noise from the server"
        if record.secagg
        else "the server adds up contributions, then adds noise"
    )
    scope = "each run has a budget of its own" if config.dp.budget_scope == "run" else "for life"
    return {
        "model_name": "Federated",
        "model_name_details": f"Devices train; {kind}.",
        "actors": " ".join(one.text for one in operators_word(case)),
        "release_type": "Many releases",
        "release_type_details": (
            f"The model after each round; nothing past epsilon {config.dp.epsilon_max:g}, {scope}."
            if case.figures is not None
            else "The model after each round."
        ),
        "data_source_type": "Dynamic",
        "access_type": "Non-interactive",
        "access_type_details": "Devices and recipients get the model; nobody asks queries.",
    }


def _accounting(case: Case) -> dict[str, Any]:
    figures = case.figures
    method = "no figure is shown" if figures is None else figures.method
    return {
        "post_processing": "Server optimizer, rounding to int8, packing and signing of the model.",
        "composition": (
            f"All charges of the ledger together: {method}. Correlated rounds are one release "
            "of known "
            "sensitivity; sums and figures are added in squares; secret cohorts by "
            "distributions of "
            "the privacy loss."
        ),
    }


def _implementation(case: Case) -> dict[str, Any]:
    dp = case.record.config.dp
    return {
        "preprocessing_and_hyperparameter_tuning": (
            f"Settings were tuned on {dp.tuning_data} data in {dp.tuning_runs} runs. Pretraining: "
            f"{dp.pretraining}."
        ),
        "mechanisms": (
            f"{dp.mechanism}: Gaussian noise rounded to a lattice of 2^{dp.lattice_bits} steps "
            "to the "
            "clip norm, randomness of the operating system. Versions: "
            f"{case.record.versions or 'not stated'}."
        ),
        "justification": (
            f"The config, sha256:{case.check.config_sha256}, was checked by "
            f"{case.check.policy or 'the baseline rules'}: {case.check.failed} failed, "
            f"{case.check.warned} warned."
        ),
    }


def _lines(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, one in value.items():
        key = name if _PLAIN.fullmatch(name) else _quoted(name)
        if isinstance(one, Mapping):
            yield f"{indent}{key}:"
            yield from _lines(one, depth + 1)
        elif isinstance(one, list):
            yield f"{indent}{key}:"
            for item in one:
                yield from _item(item, depth + 1)
        else:
            yield f"{indent}{key}: {_quoted(one)}"


def _item(item: object, depth: int) -> Iterator[str]:
    indent = "  " * depth
    if isinstance(item, Mapping):
        first, *rest = _lines(item, depth + 1)
        yield f"{indent}- {first.strip()}"
        yield from rest
    else:
        yield f"{indent}- {_quoted(item)}"


def _quoted(value: object) -> str:
    if isinstance(value, float):  # YAML 1.1 takes 1e-07 for a text: it wants a point
        text = repr(value)
        mantissa, e, exponent = text.partition("e")
        return text if not e or "." in mantissa else f"{mantissa}.0e{exponent}"
    return json.dumps(value, ensure_ascii=False)
