"""Taking a model or catalog into use: whole or not at all, never back, and with a way back."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homebody_client.activation import BundleHome, CatalogHome
from homebody_client.activation_state import Entry
from homebody_client.bundles import trust_key
from homebody_models.bundle import BundleFacts, write_bundle
from homebody_models.catalog_writer import CatalogItem, write_catalog
from homebody_models.recommender import Exported
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_privacy.signing import SigningKey

NOW = 1_800_000_000
KEY, STRANGER = SigningKey(bytes(32)), SigningKey(b"s" * 32)
TRUST = trust_key(KEY.public)


def publish(
    folder: Path,
    serial: int,
    *,
    min_serial: int = 1,
    expires: int = NOW + 1_000,
    model_id: str = "shop",
    key: SigningKey = KEY,
    salt: int = 0,
) -> Path:
    rng = np.random.default_rng(serial + 1_000 * salt)
    exported = Exported(
        encoder="mean",
        embeddings=rng.standard_normal((6, 3)).astype(np.float32),
        bias=rng.standard_normal(6).astype(np.float32),
        history_max=64,
        history_decay=0.9,
    )
    facts = BundleFacts(
        model_id=model_id,
        version=f"v{serial}",
        serial=serial,
        min_serial=min_serial,
        created=NOW - 10,
        expires=expires,
        catalog_sha256="0" * 64,
        privacy={},
    )
    ids = [f"SKU-{i}" for i in range(6)]
    write_bundle(
        folder, exported, item_ids=ids, facts=facts, sign=lambda m: (key.key_id, key.sign(m))
    )
    return folder


class Kept:
    """A state kept in memory, as the vault keeps it on disk."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.state: dict[str, Any] | None = None

    def write(self, state: Mapping[str, object]) -> None:
        """Keep a state."""
        self.state = json.loads(json.dumps(state))


def home_at(folder: Path, kept: Kept, line: str | None = None) -> BundleHome:
    return BundleHome(
        folder, TRUST, read_state=lambda: kept.state, write_state=kept.write, line=line
    )


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def home(tmp_path: Path, kept: Kept) -> BundleHome:
    return home_at(tmp_path / "bundles", kept)


def test_nothing_installed_serves_nothing(home: BundleHome) -> None:
    active = home.active(now=NOW)
    assert (active.content, active.found, active.problem) == (None, "none", "")


def test_installed_model_serves_at_the_next_start(tmp_path: Path, kept: Kept) -> None:
    source = publish(tmp_path / "fetched", 5, min_serial=3)
    installed = home_at(tmp_path / "bundles", kept).install(source, now=NOW)
    active = home_at(tmp_path / "bundles", kept).active(now=NOW)
    assert active.content is not None
    assert active.found == "active"
    assert active.content.digest == installed.digest
    entry = home_at(tmp_path / "bundles", kept).entry()
    assert entry == Entry(digest=installed.digest, serial=5, floor=3)


def test_two_models_are_on_disk_at_most(tmp_path: Path, home: BundleHome) -> None:
    digests = [
        home.install(publish(tmp_path / f"v{serial}", serial), now=NOW).digest
        for serial in range(1, 6)
    ]
    on_disk = {path.name for path in (tmp_path / "bundles").iterdir()}
    assert on_disk == set(digests[-2:])


def test_s38_older_model_is_refused_and_the_new_one_serves_on(
    tmp_path: Path, home: BundleHome
) -> None:
    home.install(publish(tmp_path / "v5", 5), now=NOW)
    with pytest.raises(IntegrityError, match="older") as refusal:
        home.install(publish(tmp_path / "v4", 4), now=NOW)
    assert refusal.value.exit_code == 14
    active = home.active(now=NOW)
    assert active.content is not None
    assert active.content.manifest.facts.serial == 5


def test_floor_survives_models_that_do_not_name_it(tmp_path: Path, kept: Kept) -> None:
    home = home_at(tmp_path / "bundles", kept)
    home.install(publish(tmp_path / "v5", 5, min_serial=5), now=NOW)
    home.install(publish(tmp_path / "v6", 6, min_serial=1), now=NOW)
    entry = home.entry()
    assert entry is not None
    assert entry.floor == 5


def test_previous_model_below_the_floor_does_not_come_back(
    tmp_path: Path, home: BundleHome
) -> None:
    home.install(publish(tmp_path / "v5", 5), now=NOW)
    new = home.install(publish(tmp_path / "v6", 6, min_serial=6), now=NOW)
    damage(tmp_path / "bundles" / new.digest)
    active = home.active(now=NOW)
    assert (active.content, active.found) == (None, "none")


def test_other_content_under_a_used_serial_is_refused(tmp_path: Path, home: BundleHome) -> None:
    home.install(publish(tmp_path / "a", 5), now=NOW)
    with pytest.raises(IntegrityError, match="used for other content"):
        home.install(publish(tmp_path / "b", 5, salt=1), now=NOW)


def test_model_of_another_line_is_refused_until_the_app_names_it(
    tmp_path: Path, kept: Kept
) -> None:
    home_at(tmp_path / "bundles", kept).install(publish(tmp_path / "a", 5), now=NOW)
    other = publish(tmp_path / "b", 1, model_id="cinema")
    with pytest.raises(IntegrityError, match="another line"):
        home_at(tmp_path / "bundles", kept).install(other, now=NOW)
    named = home_at(tmp_path / "bundles", kept, line="cinema")
    named.install(other, now=NOW)
    active = named.active(now=NOW)
    assert active.content is not None
    assert active.content.manifest.facts.model_id == "cinema"
    with pytest.raises(IntegrityError, match="older"):  # the old line's serial is not forgotten
        home_at(tmp_path / "bundles", kept, line="shop").install(
            publish(tmp_path / "c", 4), now=NOW
        )


def damage(folder: Path) -> None:
    table = folder / "model.safetensors"
    data = bytearray(table.read_bytes())
    data[-1] ^= 1
    table.write_bytes(bytes(data))


def test_s38_tampered_bundle_is_refused_with_exit_14(tmp_path: Path, home: BundleHome) -> None:
    home.install(publish(tmp_path / "v1", 1), now=NOW)
    source = publish(tmp_path / "v2", 2)
    damage(source)
    with pytest.raises(IntegrityError, match="step 7") as refusal:
        home.install(source, now=NOW)
    assert refusal.value.exit_code == 14
    with pytest.raises(IntegrityError, match="step 2"):
        home.install(publish(tmp_path / "v3", 3, key=STRANGER), now=NOW)
    active = home.active(now=NOW)
    assert active.content is not None
    assert active.content.manifest.facts.serial == 1


def test_damaged_model_gives_way_to_the_one_before(tmp_path: Path, home: BundleHome) -> None:
    old = home.install(publish(tmp_path / "v1", 1), now=NOW)
    new = home.install(publish(tmp_path / "v2", 2), now=NOW)
    damage(tmp_path / "bundles" / new.digest)
    active = home.active(now=NOW)
    assert active.content is not None
    assert (active.content.digest, active.found) == (old.digest, "previous")
    assert "step 7" in active.problem
    shutil.rmtree(tmp_path / "bundles" / old.digest)
    assert home.active(now=NOW).found == "none"


def test_model_that_serves_is_the_way_back_of_the_next(tmp_path: Path, home: BundleHome) -> None:
    old = home.install(publish(tmp_path / "v1", 1), now=NOW)
    damaged = home.install(publish(tmp_path / "v2", 2), now=NOW)
    damage(tmp_path / "bundles" / damaged.digest)
    home.install(publish(tmp_path / "v3", 3), now=NOW)
    entry = home.entry()
    assert entry is not None
    assert entry.previous == old.digest


def test_installing_again_mends_a_damaged_model(tmp_path: Path, home: BundleHome) -> None:
    source = publish(tmp_path / "v1", 1)
    digest = home.install(source, now=NOW).digest
    damage(tmp_path / "bundles" / digest)
    home.install(source, now=NOW)
    assert home.active(now=NOW).found == "active"


def test_expired_model_serves_on_and_says_so_but_is_not_installed(
    tmp_path: Path, home: BundleHome
) -> None:
    home.install(publish(tmp_path / "v1", 1, expires=NOW + 10), now=NOW)
    active = home.active(now=NOW + 11)
    assert active.content is not None
    assert active.content.stale
    with pytest.raises(IntegrityError, match="expired"):
        home.install(publish(tmp_path / "v2", 2, expires=NOW + 10), now=NOW + 11)


def test_file_that_was_planted_among_the_models_is_not_served(
    tmp_path: Path, home: BundleHome
) -> None:
    digest = home.install(publish(tmp_path / "v1", 1), now=NOW).digest
    shutil.rmtree(tmp_path / "bundles" / digest)
    publish(tmp_path / "bundles" / digest, 9)  # genuine, newer, and not what is in use
    assert home.active(now=NOW).found == "none"


def test_state_of_another_shape_is_refused(tmp_path: Path, kept: Kept) -> None:
    kept.state = {"shop": {"digest": 1}}
    with pytest.raises(IntegrityError, match="not what was written"):
        home_at(tmp_path / "bundles", kept).active(now=NOW)


def test_missing_source_is_named(tmp_path: Path, home: BundleHome) -> None:
    with pytest.raises(InvalidFileError, match="no model bundle here"):
        home.install(tmp_path / "nowhere", now=NOW)


def test_disk_that_refuses_leaves_the_old_model(
    tmp_path: Path, home: BundleHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.install(publish(tmp_path / "v1", 1), now=NOW)
    source = publish(tmp_path / "v2", 2)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(InvalidFileError, match="No space left"):
            home.install(source, now=NOW)
    assert len(list((tmp_path / "bundles").iterdir())) == 1
    active = home.active(now=NOW)
    assert active.content is not None
    assert active.content.manifest.facts.serial == 1


_CHILD = """
import json, os, shutil, signal, sys
from pathlib import Path

from homebody_client.activation import BundleHome
from homebody_client.bundles import trust_key
from homebody_privacy.durable import write_durably
from homebody_privacy.signing import SigningKey

folder, source, state = (Path(name) for name in sys.argv[1:4])
fatal = int(sys.argv[4])
steps = 0


def deadly(call):
    def counted(*values, **named):
        global steps
        steps += 1
        if steps == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*values, **named)
    return counted


for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir"):
    setattr(os, name, deadly(getattr(os, name)))
home = BundleHome(
    folder,
    trust_key(SigningKey(bytes(32)).public),
    read_state=lambda: json.loads(state.read_bytes()) if state.exists() else None,
    write_state=lambda value: write_durably(state, json.dumps(value).encode()),
)
home.install(source, now=1_800_000_000)
print(steps)
"""


def test_s38_killed_at_any_step_the_old_model_serves_or_the_new_one(tmp_path: Path) -> None:
    start, state = tmp_path / "start", tmp_path / "state.json"
    for name, serial in (("v1", 1), ("v2", 2), ("v3", 3)):
        publish(tmp_path / name, serial)
    for source in ("v1", "v2"):
        _child(start, tmp_path / source, state, 0)
    before = state.read_bytes()
    steps = int(_child(_again(tmp_path, start, state, before), tmp_path / "v3", state, 0).stdout)
    served = []
    for fatal in range(1, steps + 1):
        folder = _again(tmp_path, start, state, before)
        assert _child(folder, tmp_path / "v3", state, fatal).returncode == -signal.SIGKILL
        home = BundleHome(
            folder,
            TRUST,
            read_state=lambda: json.loads(state.read_bytes()),
            write_state=lambda value: write_durably(state, json.dumps(value).encode()),
        )
        active = home.active(now=NOW)
        assert active.content is not None
        assert active.found == "active"
        served.append(active.content.manifest.facts.serial)
        home.install(tmp_path / "v3", now=NOW)  # what the crash left is not in its way
        assert len(list(folder.iterdir())) == 2
    assert served == sorted(served)
    assert set(served) == {2, 3}
    assert steps > 10


def _again(tmp_path: Path, start: Path, state: Path, before: bytes) -> Path:
    folder = tmp_path / "bundles"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(start, folder)
    state.write_bytes(before)
    return folder


def _child(
    folder: Path, source: Path, state: Path, fatal: int
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", _CHILD, str(folder), str(source), str(state), str(fatal)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def catalog(folder: Path, version: int, title: str = "Bread") -> Path:
    items = [CatalogItem(product_id="a", title=title)]

    def sign(message: bytes) -> tuple[str, bytes]:
        return KEY.key_id, KEY.sign(message)

    write_catalog(folder, items, catalog_id="shop", version=version, sign=sign)
    return folder


def test_s27_catalog_is_installed_like_a_model_and_never_an_older_one(
    tmp_path: Path, kept: Kept
) -> None:
    home = CatalogHome(
        tmp_path / "catalog", TRUST, read_state=lambda: kept.state, write_state=kept.write
    )
    first = home.install(catalog(tmp_path / "c1", 1), now=NOW)
    second = home.install(catalog(tmp_path / "c2", 2), now=NOW)
    with pytest.raises(IntegrityError, match="older"):
        home.install(catalog(tmp_path / "c0", 1, "Cake"), now=NOW)
    with pytest.raises(IntegrityError, match="other content"):
        home.install(catalog(tmp_path / "other", 2, "Cake"), now=NOW)
    active = home.active(now=NOW)
    assert active.content is not None
    assert active.content.digest == second.digest
    file = tmp_path / "catalog" / second.digest / "catalog.json"
    file.write_bytes(file.read_bytes().replace(b"Bread", b"Broad"))
    active = home.active(now=NOW)
    assert active.content is not None
    assert (active.content.digest, active.found) == (first.digest, "previous")


def test_s27_catalog_without_a_good_signature_is_refused(tmp_path: Path, kept: Kept) -> None:
    home = CatalogHome(
        tmp_path / "catalog", TRUST, read_state=lambda: kept.state, write_state=kept.write
    )
    source = catalog(tmp_path / "c1", 1)
    (source / "catalog.sig.json").unlink()
    with pytest.raises(IntegrityError, match="catalog refused"):
        home.install(source, now=NOW)
