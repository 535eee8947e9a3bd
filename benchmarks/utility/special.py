"""Two populations that no loader gives: events in a file of one's own, and items nobody has had."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from cards import CONFIGS, Card

from homebody_models.bootstrap import bootstrap
from homebody_models.interactions import Interactions
from homebody_models.metrics import hit, ndcg, target_ranks
from homebody_models.zoo import ModelSpec
from homebody_privacy.environment import DATA
from homebody_server.run_folder import RunFolder
from homebody_simulation.api import simulate
from homebody_simulation.datasets import Dataset, load_dataset

CSV_DEVICES: Final = 2_000
COLD_SEED: Final = 7
COLD_ITEMS: Final = 370
_BOOTSTRAP_SEED: Final = 2026


def csv_of(data: str, file: Path) -> str:
    """Write the first 2,000 devices of a data set as user, item, timestamp; return its name."""
    if not file.exists():
        known = load_dataset(data).interactions
        lines = ["user,item,timestamp"]
        for device in range(CSV_DEVICES):
            rows = range(int(known.ptr[device]), int(known.ptr[device + 1]))
            lines += [f"u{device:05d},i{known.items[r]:05d},{known.times[r]}" for r in rows]
        file.write_text("\n".join(lines) + "\n", "utf-8")
    return f"interactions:{file}"


def cold_items(data: Interactions) -> npt.NDArray[np.int64]:
    """Return the 370 items of MovieLens 1M that are kept out of all training, as indices.

    They are drawn among the indices of the split published with NCF.
    """
    listed = (Path(os.environ[DATA]) / "ml-1m" / "ncf_items.txt").read_text("utf-8").split()
    drawn = np.random.default_rng(COLD_SEED).choice(len(listed), COLD_ITEMS, replace=False)
    index = {product: number for number, product in enumerate(data.catalog.ids)}
    return np.array(sorted(index[listed[i]] for i in drawn), dtype=np.int64)


def without(dataset: Dataset, cold: npt.NDArray[np.int64]) -> Dataset:
    """Return a data set without the events of cold items.

    A run that trains on all but the last event leaves the last one out. Where that is of a cold
    item another item stands for it, so that everything before it is trained on.
    """
    data = dataset.interactions
    last = data.ptr[1:] - 1
    items = data.items.copy()
    items[last[np.isin(items[last], cold)]] = np.setdiff1d(np.arange(len(data.catalog)), cold)[0]
    kept = ~np.isin(items, cold)
    lengths = np.add.reduceat(kept.astype(np.int64), data.ptr[:-1])
    stripped = Interactions(
        ptr=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=items[kept],
        times=data.times[kept],
        values=data.values[kept],
        repeats=data.repeats,
        catalog=data.catalog,
    )
    return replace(dataset, interactions=stripped, raw_events=len(stripped.items), skipped=())


def cold_run(card: Card, seed: int, work: Path) -> dict[str, Any]:
    """Train on what is left and rank each cold target among the cold items that a device lacks."""
    dataset = load_dataset(card.data)
    cold = cold_items(dataset.interactions)
    stripped = without(dataset, cold)
    name = f"{card.name}-s{seed}"
    folder = RunFolder(work / name)
    if not (folder.path / "report.json").exists():
        with patch("homebody_simulation.setup.load_dataset", lambda *_, **__: stripped):
            simulate(
                card.data,
                config=CONFIGS / f"{card.config}.toml",
                epsilon=card.epsilon,
                recipe="statistics",
                refit=True,
                seed=seed,
                runs=work,
                name=name,
            )
    report = json.loads((folder.path / "report.json").read_text("utf-8"))
    described = folder.read_json("run.json")["model"]
    model = ModelSpec(described["name"], described["options"]).build(dataset.interactions.catalog)
    parameters = folder.load_state().parameters
    ranks = []
    whole = dataset.interactions
    every = np.arange(len(whole.catalog))
    for device in range(whole.devices):
        *known, target = whole.history(device).tolist()
        if target not in cold or not known:
            continue
        seen = np.array([item for item in known if item not in cold], dtype=np.int32)
        among = np.setdiff1d(cold, known)
        hidden = np.setdiff1d(every, among)
        scores = model.scores(parameters, [seen])
        ranks.append(target_ranks(scores, np.array([target]), [hidden])[0])
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    values = np.array(ranks)
    return {
        "ndcg@10": asdict(bootstrap(ndcg(values, 10), rng=rng)),
        "hit@10": asdict(bootstrap(hit(values, 10), rng=rng)),
        "coverage@10": 0.0,
        "delta": report["epsilon"]["user"]["delta"],
        "devices": len(ranks),
        "items": COLD_ITEMS,
        "upload_bytes": report["upload_bytes"],
    }
