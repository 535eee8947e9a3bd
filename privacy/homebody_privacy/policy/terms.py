"""Words that other people's systems know: the taxonomies of Fides and of the W3C's DPV.

The lists are shipped, with their notices, so that a device or a server checks without either
package; a test compares them with fideslang.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Terms a config may use.

    Attributes:
        fides_uses: Data uses of the Fides taxonomy, such as ``train_ai_system``.
        fides_categories: Data categories of it, such as ``user.behavior``.
        dpv_purposes: Purposes of the Data Privacy Vocabulary 2.0, with ``dpv:`` before them.
        dpv_data: Categories of personal data of its extension, with ``pd:`` before them.
    """

    fides_uses: frozenset[str]
    fides_categories: frozenset[str]
    dpv_purposes: frozenset[str]
    dpv_data: frozenset[str]


@lru_cache(maxsize=1)
def terms() -> Terms:
    """Return the lists that are shipped."""
    found = json.loads(files(__package__).joinpath("terms.json").read_text("utf-8"))
    return Terms(
        fides_uses=frozenset(found["fides_uses"]),
        fides_categories=frozenset(found["fides_categories"]),
        dpv_purposes=frozenset(f"dpv:{name}" for name in found["dpv_purposes"]),
        dpv_data=frozenset(f"pd:{name}" for name in found["dpv_data"]),
    )
