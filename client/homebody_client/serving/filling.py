"""From scores to the places of a list: what comes first, caps, diversity, draws."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from homebody_client.serving.scoring import Floats, Setting
from homebody_client.serving.surfaces import Surface
from homebody_models.diversity import Place, Taste, candidates, choose

Mask = npt.NDArray[np.bool_]


class Filler:
    """Fills the places of one list.

    Args:
        setting: What the list is made from. Secret.
        surface: Where it is shown.
        scores: Score of each item of the shelf.
        visible: Which items this answer may show.
        rng: Randomness of exploration; needed where the surface explores.
    """

    def __init__(
        self,
        setting: Setting,
        surface: Surface,
        *,
        scores: Floats,
        visible: Mask,
        rng: "np.random.Generator | None",
    ) -> None:
        """Keep what the list is made from; nothing is drawn yet."""
        personal = setting.evidence is not None
        self._setting = setting
        self._surface = surface
        self._scores = scores
        self._visible = visible
        explore = surface.explore if personal else 0.0
        self._taste = Taste(mmr=surface.mmr, explore=explore, rng=rng)

    def fill(self, first: Sequence[Place], n: int) -> tuple[list[Place], bool]:
        """Fill a list up to ``n`` places, and say whether the cap on categories gave way.

        What the person has not seen comes first, then what they have where the surface hides it,
        then what they spoke against. The cap gives way only when all of these have been tried.
        """
        places = list(first)
        codes = self._setting.shelf.codes
        cap = self._surface.cap(n)
        room = self._room(places, cap)
        for limit in (room, None) if room is not None else (None,):
            for stage in self._stages():
                if len(places) >= n:
                    break
                places += self._more(places, n - len(places), stage, limit)
        counts = codes[[place.item for place in places]]
        relaxed = cap is not None and bool((np.bincount(counts[counts >= 0]) > cap).any())
        return places, relaxed

    def _room(self, places: Sequence[Place], cap: int | None) -> npt.NDArray[np.int64] | None:
        """Return how many items each category may still have; None for no cap."""
        shelf = self._setting.shelf
        if cap is None or not shelf.categories:
            return None
        room = np.full(len(shelf.categories), cap, np.int64)
        codes = shelf.codes[[place.item for place in places]]
        np.subtract.at(room, codes[codes >= 0], 1)
        return room

    def _stages(self) -> Iterator[Mask]:
        """Yield what to list first, then what only where that does not fill the list."""
        evidence, visible = self._setting.evidence, self._visible
        if evidence is None:
            yield visible
            return
        late = np.zeros(len(visible), np.int8)
        if self._surface.hide_seen:
            late[evidence.chosen()] = 1
        late[evidence.unwanted()] = 2
        yield visible & (late == 0)
        yield visible & (late == 1)
        yield visible & (late == 2)  # noqa: PLR2004 the last stage

    def _more(
        self,
        places: Sequence[Place],
        n: int,
        stage: Mask,
        room: npt.NDArray[np.int64] | None,
    ) -> list[Place]:
        """Fill up to ``n`` more places from one stage."""
        shelf = self._setting.shelf
        done = np.array([place.item for place in places], np.int64)
        stage[done] = False
        pool = candidates(self._scores, n, visible=stage, room=room, groups=shelf.codes)
        return choose(
            pool,
            self._scores,
            n,
            self._taste,
            vectors=self._vectors if shelf.ranker is not None else None,
            groups=shelf.codes,
            room=room,
            listed=done,
        )

    def _vectors(self, items: npt.NDArray[np.int64]) -> npt.NDArray[np.floating]:
        """Return rows for similarity; an item the model does not know is like nothing."""
        shelf = self._setting.shelf
        if shelf.ranker is None:
            return np.zeros((len(items), 0))
        inside = items < shelf.known
        rows = shelf.ranker.vectors(np.where(inside, items, 0))
        return rows * inside[:, None]
