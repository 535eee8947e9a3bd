"""A run's catalog carries what a catalog can, and a device opens it with the run's model."""

from pathlib import Path

import numpy as np

from homebody_client.device import Device
from homebody_models.interactions import Catalog
from homebody_simulation.api import simulate
from homebody_simulation.public_items import public_items


def test_odd_names_are_cut_cleaned_or_left_out() -> None:
    catalog = Catalog(
        ids=("a", "b\n", "c" * 201, "d", " e"),
        titles=("A\x00B", "B", "C", "x" * 600, "E"),
        categories=("tea\t", "", "", "y" * 300, ""),
        features=np.zeros((5, 0), np.float32),
        feature_names=(),
    )
    found = public_items(catalog)
    assert [(item.product_id, len(item.title), item.category[:4]) for item in found] == [
        ("a", 3, "tea"),
        ("d", 500, "yyyy"),
    ]


def test_a_device_takes_model_and_catalog_of_a_run_into_use(tmp_path: Path) -> None:
    run = simulate("synthetic", devices=60, cohort=20, epsilon=8.0, rounds=2, runs=tmp_path)
    with Device.open(
        tmp_path / "profile", bundle=run.bundle, catalog=run.catalog, trusted_key=run.trusted_key
    ) as device:
        assert device.bundle is not None
        assert device.catalog is not None
        assert set(device.catalog.items) == set(device.bundle.item_ids)
        assert len(device.recommend(5)) == 5
        assert not [problem for problem in device.problems if "privacy.toml" not in problem]
