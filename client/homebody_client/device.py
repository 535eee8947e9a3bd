"""What an app embeds: one person's device, which records, ranks and explains on its own."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from homebody_client.bundles import open_model, read_public_key, trust_key
from homebody_client.explain import Reason
from homebody_client.recommend import Recommendations, explain, recommend
from homebody_models.bundle import ModelBundle


def _unix_time() -> int:
    """Return the system's Unix seconds."""
    return int(time.time())


class Device:
    """One user's runtime and data. The history is kept in memory and never leaves.

    Args:
        bundle: A verified model.
        titles: Names shown to people, by product id; None shows ids.
    """

    __slots__ = ("_bundle", "_history", "_titles")

    def __init__(self, bundle: ModelBundle, *, titles: Mapping[str, str] | None = None) -> None:
        """Start with an empty history."""
        self._bundle = bundle
        self._titles = titles
        self._history: list[str] = []

    @classmethod
    def open(
        cls,
        bundle_folder: Path | str,
        *,
        trusted_key: Path | str,
        now: Callable[[], int] = _unix_time,
    ) -> "Device":
        """Verify a bundle and start a device with it.

        Args:
            bundle_folder: The bundle, ``model.hbm``. Not trusted.
            trusted_key: File of the publisher's public key, as shipped with the app.
            now: Returns Unix seconds.

        Raises:
            InvalidFileError: If the bundle or the key is missing or unreadable.
            IntegrityError: If the bundle is not what the publisher signed, or has expired.
        """
        trust = trust_key(read_public_key(Path(trusted_key)))
        return cls(open_model(Path(bundle_folder), trust, now=now()))

    @property
    def bundle(self) -> ModelBundle:
        """The model in use. Public."""
        return self._bundle

    @property
    def history(self) -> tuple[str, ...]:
        """Product ids recorded, oldest first. Secret."""
        return tuple(self._history)

    def record(self, product_id: str) -> None:
        """Keep that the person chose a product; the next list knows it.

        Args:
            product_id: Any product id; one the model does not know is kept and skipped in
                ranking, for a later model may know it.

        Raises:
            ValueError: If the id is empty.
        """
        if not product_id:
            raise ValueError("product_id must not be empty")
        self._history.append(product_id)

    def forget(self, product_id: str) -> int:
        """Erase every event of a product; return how many there were."""
        kept = [name for name in self._history if name != product_id]
        gone = len(self._history) - len(kept)
        self._history = kept
        return gone

    def recommend(self, n: int = 10, *, hide_seen: bool = False) -> Recommendations:
        """Return the ``n`` best items for this person, each with its reason.

        Args:
            n: Length of the list, at least 1.
            hide_seen: Leave out what was chosen before, as long as that leaves ``n`` items.
        """
        return recommend(self._bundle, self._history, n=n, hide_seen=hide_seen, titles=self._titles)

    def why(self, product_id: str) -> Reason:
        """Return why a product would be recommended.

        Raises:
            ValueError: If the model's catalog does not hold the product.
        """
        index = self._bundle.index
        if product_id not in index:
            raise ValueError("product_id is not in the catalog of this model")
        known = [index[name] for name in self._history if name in index]
        return explain(self._bundle, known, [index[product_id]], self._titles)[0]
