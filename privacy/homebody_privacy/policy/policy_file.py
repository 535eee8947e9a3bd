"""``policy.toml``: the rules of a firm, beside the baseline. They can only add.

A rule under an id of the baseline applies beside it: whichever is stricter decides. There is no
way to write that a rule of the baseline does not count; that is a waiver's, which people sign.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import rfc8785
from pydantic import BaseModel, Field, ValidationError, model_validator

from homebody_privacy.errors import InvalidFileError
from homebody_privacy.protection import STRICT, Text
from homebody_privacy.toml_file import read_toml

from .registry import by_id
from .values import LISTED, ORDERED, Op

_OWN: Final = "X-1"
_FIX: Final = "correct the named rule; docs/policy.md lists ids, paths and operations"

Scalar = bool | int | float | str


class PolicyRule(BaseModel):
    """One rule: a field compared with a value, or an expression."""

    model_config = STRICT

    id: Annotated[str, Field(pattern=r"^[A-Z]{1,4}-[0-9]{3}$")]
    """Id of a rule of the baseline or a profile, which it makes stricter, or ``X-1nn``."""
    path: Annotated[str | None, Field(pattern=r"^[a-z*][A-Za-z0-9_*-]*(\.[A-Za-z0-9_*-]+)*$")] = (
        None
    )
    """Field of the config, dotted; ``*`` stands for every name of a table."""
    op: Op | None = None
    """How it is compared."""
    value: Scalar | list[Scalar] | None = None
    """With what."""
    expr: Text | None = None
    """CEL, instead of path, op and value; what must hold."""
    why: Text
    """The reason, as people read it."""
    ref: str = ""
    """Law, standard or document it rests on; by default none."""

    @property
    def comparison(self) -> tuple[str, Op, object] | None:
        """Path, operation and value; None of a rule that is an expression."""
        return None if self.path is None or self.op is None else (self.path, self.op, self.value)

    @model_validator(mode="after")
    def _refuse_half_a_rule(self) -> Self:
        compares = [part is not None for part in (self.path, self.op, self.value)]
        if self.expr is not None:
            if any(compares):
                raise ValueError("expr stands alone: path, op and value belong to another rule")
            if not self.id.startswith(_OWN):
                raise ValueError("expr needs an id of the firm's own, X-1nn")
            return self
        if not all(compares):
            raise ValueError("a rule has path, op and value, or expr")
        _check_value(self.op, self.value)
        return self

    @model_validator(mode="after")
    def _refuse_an_id_of_something_else(self) -> Self:
        if self.id.startswith(_OWN):
            return self
        known = by_id().get(self.id)
        if known is None:
            raise ValueError(f"{self.id} is no rule: take one of the baseline, or X-1nn")
        if self.path is not None and not any(rule.covers(self.path) for rule in known):
            paths = ", ".join(dict.fromkeys(path for rule in known for path in rule.paths))
            raise ValueError(f"{self.id} is about {paths}, not {self.path}: take an id X-1nn")
        return self


class PolicyRules(BaseModel):
    """The whole file."""

    model_config = STRICT

    version: Literal["policy/1"] = Field(alias="schema")
    """Format of the file; ``schema`` in it."""
    name: Text
    """What reports call it."""
    rule: Annotated[tuple[PolicyRule, ...], Field(strict=False)] = ()
    """The rules."""

    @model_validator(mode="after")
    def _refuse_two_of_a_kind(self) -> Self:
        seen: set[tuple[str, str | None, str | None]] = set()
        for rule in self.rule:
            own = rule.id.startswith(_OWN)
            which = (rule.id, None if own else rule.path, None if own else rule.op)
            if which in seen:
                raise ValueError(f"{rule.id} is there twice")
            seen.add(which)
        return self

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read and check a file.

        Raises:
            InvalidFileError: If it is missing, no TOML or breaks the schema; the message names
                each field.
        """
        values = read_toml(path, "policy.toml")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"{path}: {_field(e['loc'])}: {_reason(e)}" for e in error.errors()]
            raise InvalidFileError("\n".join(dict.fromkeys(lines)), fix=_FIX) from error

    def digest(self) -> str:
        """Return the SHA-256 of the file's canonical JSON (RFC 8785), as hex."""
        values: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return hashlib.sha256(rfc8785.dumps(values)).hexdigest()


def _check_value(op: str | None, value: object) -> None:
    if op in ORDERED and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise ValueError(f"value of {op} must be a number")
    if op in LISTED and not isinstance(value, list):
        raise ValueError(f"value of {op} must be a list")
    if op in ("contains", "not_contains") and isinstance(value, list):
        raise ValueError(f"value of {op} must be one value")


def _field(location: tuple[int | str, ...]) -> str:
    named = [part for part in location if part not in ("bool", "int", "float", "str")]
    return ".".join(map(str, named)) or "(whole file)"


def _reason(error: Any) -> str:  # noqa: ANN401 - pydantic's own dictionary
    return str(error["msg"]).removeprefix("Value error, ")
