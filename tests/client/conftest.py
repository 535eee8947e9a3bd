"""A signed model of a small shop, in which milk goes with bread and tea with biscuits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from homebody_client.demo.shop import Shop, write_shop
from homebody_models.bundle import BundleFacts, write_bundle
from homebody_models.recommender import Exported
from homebody_privacy.signing import SigningKey

NOW: Final = 1_800_000_000
IDS: Final = ("BREAD", "MILK", "TEA", "BISCUITS", "SALT, COARSE", "MATCHES")
KEY: Final = SigningKey(bytes(32))

_TABLE = np.array([[4, 0], [3, 0.1], [0, 4], [0.1, 3], [0, 0], [-1, -1]], np.float32)
_BIAS = np.array([0.2, 0.1, 0.3, 0, 0.25, 0.05], np.float32)


def publish(folder: Path, *, encoder: str = "mean", expires: int = NOW + 10**9) -> Path:
    """Write the shop's model as a bundle and return its folder."""
    exported = Exported(
        encoder=encoder,
        embeddings=_TABLE if encoder == "mean" else _TABLE[:, :0],
        bias=_BIAS,
        history_max=64,
        history_decay=0.9,
    )
    facts = BundleFacts(
        model_id="shop",
        version="v1",
        serial=1,
        created=NOW - 10,
        expires=expires,
        catalog_sha256="0" * 64,
        privacy={"epsilon": "4.05"},
    )

    def sign(message: bytes) -> tuple[str, bytes]:
        return KEY.key_id, KEY.sign(message)

    write_bundle(folder, exported, item_ids=IDS, facts=facts, sign=sign)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_key_store_of_the_machine() -> Iterator[None]:
    """Keep the developer's own key store out of it: keys lie in files of the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
        yield


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Return the files of the made-up shop."""
    return write_shop(tmp_path_factory.mktemp("shop") / "shop", now=NOW - 10)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs: ``publisher.pub``, ``shop/model.hbm``, ``popular/model.hbm``."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "publisher.pub").write_bytes(KEY.public)
    for name, encoder in (("shop", "mean"), ("popular", "none")):
        (folder / name).mkdir()
        publish(folder / name / "model.hbm", encoder=encoder)
    return folder
