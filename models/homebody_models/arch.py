"""The shape of a model in a manifest: which tensors there are and how the encoder works."""

from dataclasses import dataclass
from typing import Final

from homebody_models.history import HistoryWindow
from homebody_models.json_fields import from_number, to_number, to_object, to_whole
from homebody_models.quantise import ENCODERS, PackedModel
from homebody_models.ridge import Ridge
from homebody_models.safetensors_format import TensorSpec

QUANT: Final = "int8-row"
_MOST_ITEMS: Final = 10_000_000
_MOST_DIM: Final = 4_096
_RIDGE = {"ridge", "unseen_weight"}
_REPEAT = {"repeat"}
_USUAL = {
    "encoder",
    "n_items",
    "dim",
    "hidden",
    "history_max",
    "history_decay",
    "n_context",
    "quant",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arch:
    """Shape of a model, and the numbers its encoder needs. Public.

    Attributes:
        encoder: ``none``, ``mean``, ``mean-repeat`` or ``ridge``.
        n_items: Items, at least 1.
        dim: Width of the item table; 0 for the encoder ``none``.
        window: Which events form the user vector.
        problem: Quadratic problem of the encoder ``ridge``; None for the others.
        repeat: What a history item's share adds to its own score; 0 unless ``mean-repeat``.
    """

    encoder: str
    n_items: int
    dim: int
    window: HistoryWindow
    problem: Ridge | None = None
    repeat: float = 0.0

    @classmethod
    def of(cls, model: PackedModel) -> "Arch":
        """Describe a packed model."""
        items, dim = model.rows.shape
        return cls(
            encoder=model.encoder,
            n_items=items,
            dim=dim,
            window=model.window,
            problem=model.problem,
            repeat=model.repeat,
        )

    def tensors(self) -> dict[str, TensorSpec]:
        """Return the tensors a file of this shape holds."""
        per_item = TensorSpec("F32", (self.n_items,))
        if self.encoder == "none":
            return {"b": per_item}
        table = TensorSpec("I8", (self.n_items, self.dim))
        return {"E": table, "scale": per_item, "b": per_item}

    def to_json(self) -> dict[str, object]:
        """Return the manifest's object."""
        fields: dict[str, object] = {
            "encoder": self.encoder,
            "n_items": self.n_items,
            "dim": self.dim,
            "hidden": 0,
            "history_max": self.window.history_max,
            "history_decay": from_number(self.window.history_decay),
            "n_context": 0,
            "quant": QUANT,
        }
        if self.problem is not None:
            fields["ridge"] = from_number(self.problem.ridge)
            fields["unseen_weight"] = from_number(self.problem.unseen_weight)
        if self.repeat:
            fields["repeat"] = from_number(self.repeat)
        return fields

    @classmethod
    def from_json(cls, value: object) -> "Arch":
        """Parse the manifest's object.

        Raises:
            ValueError: If the encoder is unknown, or a field is missing, unknown or out of range.
        """
        encoder = to_object(value, "arch").get("encoder")
        if not isinstance(encoder, str) or encoder not in ENCODERS:
            raise ValueError(f"arch.encoder must be one of {', '.join(ENCODERS)}")
        has_problem = encoder == "ridge"
        own = {"ridge": _RIDGE, "mean-repeat": _REPEAT}.get(encoder, set())
        fields = to_object(value, "arch", _USUAL | own)
        to_whole(fields["hidden"], "arch.hidden", most=0)  # no encoder here has a hidden layer
        to_whole(fields["n_context"], "arch.n_context", most=0)
        if fields["quant"] != QUANT:
            raise ValueError(f"arch.quant must be {QUANT}")
        least, most = (0, 0) if encoder == "none" else (1, _MOST_DIM)
        return cls(
            encoder=encoder,
            n_items=to_whole(fields["n_items"], "arch.n_items", least=1, most=_MOST_ITEMS),
            dim=to_whole(fields["dim"], "arch.dim", least=least, most=most),
            window=HistoryWindow(
                to_whole(fields["history_max"], "arch.history_max"),
                to_number(fields["history_decay"], "arch.history_decay"),
            ),
            problem=Ridge(
                to_number(fields["ridge"], "arch.ridge"),
                to_number(fields["unseen_weight"], "arch.unseen_weight"),
            )
            if has_problem
            else None,
            repeat=to_number(fields["repeat"], "arch.repeat") if "repeat" in own else 0.0,
        )
