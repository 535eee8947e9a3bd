"""Edits of the bundle, the catalog, and of what report and run say."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from homebody_models.dsse import Signature, pre_authentication, write_signatures
from homebody_models.strict_json import canonical
from homebody_privacy.signing import SigningKey

from .mutants import Mutant, at, edited_json, flipped, other, put, rng
from .world import World

_STRANGER: Final = SigningKey(bytes([77]) * 32)
_BUNDLE: Final = (
    *("manifest.json", "manifest.sig.json", "model.safetensors", "items.json", "golden.json"),
    "card.json",
)
_CATALOG: Final = ("catalog.json", "catalog.sig.json")

_CLAIMS: Final = (
    *(("privacy", name) for name in ("epsilon", "epsilon_unamplified", "delta", "statement")),
    *(("privacy", name) for name in ("config_sha256", "clip_norm", "noise_multiplier", "rounds")),
    *(("privacy", name) for name in ("unit", "adjacency", "mechanism")),
    ("serial",),
    ("version",),
)
"""What a publisher could say otherwise, and sign."""

_REPORT: Final = (
    *(("epsilon", "user", name) for name in ("spent", "delta", "ceiling", "unit", "mechanism")),
    *(("epsilon", "user", name) for name in ("rounds", "void_rounds", "amplified", "statistics")),
    *(("epsilon", "user", "parts", name) for name in ("training", "metrics")),
    *(("privacy", name) for name in ("epsilon_unamplified", "adjacency", "clip_norm")),
    *(("privacy", name) for name in ("noise_multiplier", "cohort_size", "cohort_cap", "sampling")),
    *(("privacy", name) for name in ("budget_scope", "adaptive_clip")),
    ("privacy", "parts_unamplified", "training"),
    ("claim", "statement"),
    ("digests", "config"),
    ("digests", "model"),
    ("bundle", "digest"),
    ("released", "metrics/hit_rate/2", "hit@10", "value"),
)
_SPEC: Final = (
    *("rounds", "devices", "cohort_size", "cohort_cap", "clip_norm", "lattice_bits"),
    *("noise_multiplier", "ceiling", "delta", "config_digest", "population", "lifetime"),
    *("mechanism", "min_separation", "max_rounds_per_device", "report_goal", "max_corrupt"),
    *("max_dropout", "min_nodes"),
)
_LOWERED: Final = (0.97, 0.9, 0.5, 0.1, 0.0)

Edit = Callable[[World], None]


def mutants() -> Iterator[Mutant]:
    """Give every edit of what was released and of what is said of it."""
    for folder, names in (("model.hbm", _BUNDLE), ("catalog", _CATALOG)):
        for name in names:
            for turn in range(3):
                yield _verify("bundle", f"{name}, bit {turn}", _flip(f"{folder}/{name}", turn))
            yield _verify("bundle", f"{name} missing", _gone(f"{folder}/{name}"))
        yield _verify("bundle", f"{folder} missing", _no_folder(folder))
    yield _verify("bundle", "a file more", _more)
    yield _verify("bundle", "signed by a stranger", _manifest(lambda _: None, by=_STRANGER))
    yield _verify("bundle", "signed twice", _signed_twice)
    for path in _CLAIMS:
        name = ".".join(path)
        yield _verify("bundle's claim, signed anew", name, _manifest(_changing(path)))
    for factor in _LOWERED:
        yield _verify("bundle's claim, signed anew", f"epsilon x {factor}", _lower(factor))
        yield _verify("report's claim", f"epsilon x {factor}", _in_report(_scaled(factor)))
    for path in _REPORT:
        yield _verify("report's claim", ".".join(path), _in_report(_changing(path)))
    yield _verify("report's claim", "no parts", _in_report(_without_parts))
    yield _verify("report's claim", "no file", _gone("report.json"))
    yield _verify("report's claim", "no epsilon", _in_report(_dropping("epsilon")))
    yield _verify("report's claim", "epsilon as text", _in_report(_as_text))
    for name in _SPEC:
        edit = _in_run(_changing(("spec", name)))
        yield _verify("run's constants", name, edit)
    yield _verify("run's constants", "no constants", _in_run(_dropping("spec")))
    yield _verify("run's constants", "another policy", _in_run(_changing(("policy", "sha256"))))
    yield _verify("run's constants", "no approvals", _in_run(_dropping("approvals")))
    yield _verify("run's constants", "no file", _gone("run.json"))
    for number in range(6):
        yield _verify("egress", f"charge of line {number % 4}, {number}", _charge(number))
    for number in range(4):
        yield _verify("egress", f"line {number} missing", _egress(_without(number)))
        yield _verify("egress", f"line {number} twice", _egress(_doubled(number)))
        yield _verify("egress", f"purpose of line {number}", _purpose(number))
    yield _verify("egress", "missing", _gone("egress.jsonl"))
    yield _verify("egress", "no JSON", _egress(lambda lines: [*lines, "{"]))
    yield _verify("state", "another model", _other_state)


def _verify(kind: str, name: str, apply: Edit) -> Mutant:
    return Mutant(kind, name, "verify", (14,), apply)


def _flip(name: str, turn: int) -> Edit:
    return lambda world: flipped(world.run / name, rng(name, turn))


def _gone(name: str) -> Edit:
    return lambda world: (world.run / name).unlink()


def _no_folder(name: str) -> Edit:
    def apply(world: World) -> None:
        (world.run / name).rename(world.root / "elsewhere")

    return apply


def _more(world: World) -> None:
    (world.run / "model.hbm" / "more.json").write_text("{}", "utf-8")


def _publisher() -> SigningKey:
    return SigningKey(bytes([9]) * 32)


def _manifest(change: Callable[[Any], None], by: SigningKey | None = None) -> Edit:
    """Change a manifest and sign it: with the publisher's own key, unless another is given."""

    def apply(world: World) -> None:
        key = by or _publisher()
        folder = world.run / "model.hbm"
        value = json.loads((folder / "manifest.json").read_text("utf-8"))
        change(value)
        content = canonical(value)
        signature = Signature(key.key_id, key.sign(pre_authentication(content)))
        (folder / "manifest.json").write_bytes(content)
        (folder / "manifest.sig.json").write_bytes(write_signatures(signature))

    return apply


def _signed_twice(world: World) -> None:
    path = world.run / "model.hbm" / "manifest.sig.json"
    edited_json(path, lambda v: v["signatures"][0].update(sig=base64.b64encode(bytes(64)).decode()))


def _changing(path: tuple[str, ...]) -> Callable[[Any], None]:
    def change(value: Any) -> None:  # noqa: ANN401 - JSON values
        put(value, path, other(at(value, path), rng("claim", *path)))

    return change


def _lower(factor: float) -> Edit:
    def change(value: Any) -> None:  # noqa: ANN401 - JSON values
        privacy = value["privacy"]
        privacy["epsilon"] = f"{float(privacy['epsilon']) * factor:.6f}"

    return _manifest(change)


def _scaled(factor: float) -> Callable[[Any], None]:
    def change(value: Any) -> None:  # noqa: ANN401 - JSON values
        value["epsilon"]["user"]["spent"] *= factor

    return change


def _dropping(name: str) -> Callable[[Any], None]:
    return lambda value: value.pop(name) and None


def _without_parts(value: Any) -> None:  # noqa: ANN401 - JSON values
    value["epsilon"]["user"]["parts"] = {}


def _as_text(value: Any) -> None:  # noqa: ANN401 - JSON values
    value["epsilon"]["user"]["spent"] = str(value["epsilon"]["user"]["spent"])


def _in_report(change: Callable[[Any], None]) -> Edit:
    return lambda world: edited_json(world.run / "report.json", change)


def _in_run(change: Callable[[Any], None]) -> Edit:
    return lambda world: edited_json(world.run / "run.json", change)


Lines = list[str]


def _egress(change: Callable[[Lines], Lines]) -> Edit:
    def apply(world: World) -> None:
        path = world.run / "egress.jsonl"
        lines = path.read_text("utf-8").splitlines()
        path.write_text("".join(f"{line}\n" for line in change(lines)), "utf-8")

    return apply


def _without(number: int) -> Callable[[Lines], Lines]:
    return lambda lines: [*lines[:number], *lines[number + 1 :]]


def _doubled(number: int) -> Callable[[Lines], Lines]:
    return lambda lines: [*lines, lines[number]]


def _charge(number: int) -> Edit:
    charges = ("round/9", "metrics/free/2", "tuning", None, "statistics/gram", 7)
    return _in_line(number % 4, lambda line: line.update(charge=charges[number]))


def _purpose(number: int) -> Edit:
    return _in_line(number, lambda line: line.update(purpose="recommend"))


def _in_line(number: int, change: Callable[[dict[str, Any]], None]) -> Edit:
    def edit(lines: Lines) -> Lines:
        line = json.loads(lines[number])
        change(line)
        return [*lines[:number], json.dumps(line), *lines[number + 1 :]]

    return _egress(edit)


def _other_state(world: World) -> None:
    import numpy as np  # noqa: PLC0415 - here alone

    path = world.run / "state.npz"
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    found["parameters"] = found["parameters"] + np.float32(1)
    np.savez(path, allow_pickle=False, **found)
