"""Tags of the rows that are there, in memory: a repeated event is known without asking the disk."""

from collections.abc import Collection
from collections.abc import Set as AbstractSet

from .database import Database


class KnownTags:
    """The tags of one store, read at the first question.

    Args:
        database: The file; nobody else writes to it while it is open.
    """

    __slots__ = ("_database", "_tags")

    def __init__(self, database: Database) -> None:
        """Know nothing yet."""
        self._database = database
        self._tags: set[object] | None = None

    def known(self) -> AbstractSet[object]:
        """Return the tags of all rows.

        Raises:
            IntegrityError: If the file is damaged.
            UsageError: If it cannot be read.
        """
        if self._tags is None:
            self._tags = {tag for (tag,) in self._database.read("SELECT tag FROM rows")}
        return self._tags

    def add(self, tags: Collection[bytes]) -> None:
        """Note rows that are on disk now."""
        if self._tags is not None:
            self._tags.update(tags)

    def forget(self) -> None:
        """Forget all: rows are about to be deleted, and nothing of them is remembered."""
        self._tags = None
