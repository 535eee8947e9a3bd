"""What a single edit is: of which kind, who must catch it, and with which exit code."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from homebody import cli
from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.approval.approvals_file import read_approvals
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import HomebodyError
from homebody_server.evidence.verify import verify_run
from homebody_server.evidence.verify_pack import verify_pack
from homebody_server.secure.permit import require_deployable

from .world import DEVICES, DPO, World

Verb = Literal["check", "approve", "run", "verify", "verify pack"]
Edit = Callable[[World], None]

SEED: Final = "homebody/mutations/1"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One edit of the untouched set.

    Attributes:
        kind: What is edited.
        name: Which edit; unlike any other of the kind.
        verb: Who must catch it.
        codes: Exit codes that are right; of several the edit decides.
        apply: Makes the edit in a copy.
    """

    kind: str
    name: str
    verb: Verb
    codes: tuple[int, ...]
    apply: Edit = field(repr=False)

    def judged(self, world: World) -> int:
        """Apply the edit to a copy and return the exit code of its verb."""
        self.apply(world)
        return JUDGES[self.verb](world)


def rng(*names: object) -> random.Random:
    """Return a source of choices that follows from the names alone."""
    return random.Random("|".join(map(str, (SEED, *names))))  # noqa: S311 - a choice of edits


def check(world: World) -> int:
    """Return the exit code of ``homebody check`` on the project."""
    return cli.run(["check", str(world.config), "--policy", str(world.policy), "--fast"])


def approve(world: World) -> int:
    """Return the exit code of ``homebody approve`` by the DPO, of what is installed."""
    key = world.root / "dpo.key"
    if not key.exists():
        world.signers[DPO].save(key)
    return cli.run(
        [
            *("approve", str(world.config), "--as", DPO, "--key", str(key), "--installed"),
            *("--policy", str(world.policy), "--reviewers", str(world.reviewers)),
        ]
    )


def run(world: World) -> int:
    """Return the exit code with which a fleet refuses to run the project; 0 if it would run."""
    try:
        require_deployable(
            PrivacyConfig.load(world.config),
            read_approvals(world.approvals),
            world.keys,
            policy=world.policy if world.policy.exists() else None,
            enrolled=DEVICES,
            now=world.now,
            app=installed_app(),
        )
    except HomebodyError as error:
        return error.exit_code
    return 0


def verify(world: World) -> int:
    """Return the exit code of verify on the run."""
    try:
        return verify_run(world.run, world.keys, world.now).exit_code
    except HomebodyError as error:
        return error.exit_code


def verify_of_pack(world: World) -> int:
    """Return the exit code of verify on the pack."""
    try:
        return verify_pack(world.pack, world.keys, world.now).exit_code
    except HomebodyError as error:
        return error.exit_code


JUDGES: Final[dict[Verb, Callable[[World], int]]] = {
    "check": check,
    "approve": approve,
    "run": run,
    "verify": verify,
    "verify pack": verify_of_pack,
}


def flipped(path: Path, source: random.Random) -> None:
    """Change one bit of one byte of a file."""
    content = bytearray(path.read_bytes())
    content[source.randrange(len(content))] ^= 1 << source.randrange(8)
    path.write_bytes(content)


def edited_json(path: Path, change: Callable[[Any], None]) -> None:
    """Change what a JSON file says."""
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    """Give the path of every value that is no table; a list is one value."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, (*path, name))
    else:
        yield path


def at(value: Any, path: tuple[Any, ...]) -> Any:  # noqa: ANN401 - JSON values
    """Return the value at a path."""
    for name in path:
        value = value[name]
    return value


def put(value: Any, path: tuple[Any, ...], new: object) -> None:  # noqa: ANN401 - JSON values
    """Put another value at a path."""
    at(value, path[:-1])[path[-1]] = new


def other(value: object, source: random.Random) -> object:
    """Return another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + source.randint(1, 9)
        case float():
            return value * source.choice((0.5, 0.9, 1.5))
        case str():
            place = source.randrange(len(value)) if value else 0
            return (
                value[:place]
                + ("0" if value[place : place + 1] != "0" else "1")
                + value[place + 1 :]
            )
        case list():
            return value[:-1] if value else ["0"]
        case _:
            return 1
