"""The signed catalog: only what its publisher signed, never an older one, and nothing malformed."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.bundle import Installed, Trust
from homebody_models.catalog import (
    CATALOG_TYPE,
    CatalogError,
    ItemCatalog,
    open_catalog,
)
from homebody_models.catalog_writer import CatalogItem, write_catalog
from homebody_models.dsse import PAYLOAD_TYPE, Signature, pre_authentication, write_signatures
from homebody_models.strict_json import canonical

from .bundle_forge import PUBLISHER, SECOND, STRANGER, TRUST, TWO_KEYS, Key

ITEMS = (
    CatalogItem(
        product_id="SKU-1",
        title="Bread",
        category="bakery",
        price="2.49",
        topics=("health", "diet"),
        created=1_700_000_000,
    ),
    CatalogItem(product_id="SKU-2", title="Milch, 1 l", category="dairy", price="0.99"),
    CatalogItem(product_id="SKU-3", title="Gift card", topics=("health",)),
)


def write(folder: Path, version: int = 3, items: tuple[CatalogItem, ...] = ITEMS) -> str:
    return write_catalog(
        folder, items, catalog_id="shop", version=version, sign=PUBLISHER.sign, currency="EUR"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "catalog")
    return tmp_path / "catalog"


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "catalog.json").read_bytes())
    return content


def sign_bytes(folder: Path, signed: bytes, *keys: Key, kind: str = CATALOG_TYPE) -> None:
    """Write a catalog of any content with good signatures, as only key holders can."""
    (folder / "catalog.json").write_bytes(signed)
    signatures = [
        Signature(*key.sign(pre_authentication(signed, kind))) for key in keys or (PUBLISHER,)
    ]
    (folder / "catalog.sig.json").write_bytes(write_signatures(*signatures, kind=kind))


def opened(folder: Path, trust: Trust = TRUST) -> ItemCatalog:
    return open_catalog(folder, trust)


def test_written_catalog_opens_with_all_it_says(tmp_path: Path) -> None:
    digest = write(tmp_path / "c")
    catalog = opened(tmp_path / "c")
    assert (catalog.version, catalog.digest, catalog.currency) == (3, digest, "EUR")
    assert catalog.items == ("SKU-1", "SKU-2", "SKU-3")
    assert catalog.index["SKU-2"] == 1
    assert [catalog.title(i) for i in range(3)] == ["Bread", "Milch, 1 l", "Gift card"]
    assert [catalog.category(i) for i in range(3)] == ["bakery", "dairy", ""]
    assert [catalog.price(i) for i in range(3)] == [2.49, 0.99, None]
    assert [catalog.topics(i) for i in range(3)] == [("diet", "health"), (), ("health",)]
    assert catalog.created.tolist() == [1_700_000_000, 0, 0]
    assert catalog.titles["SKU-3"] == "Gift card"
    assert len(catalog) == 3


def test_s27_size_is_told(folder: Path) -> None:
    assert opened(folder).size == (folder / "catalog.json").stat().st_size


def test_price_topics_and_dates_are_optional(tmp_path: Path) -> None:
    items = [CatalogItem(product_id="a", title="A"), CatalogItem(product_id="b", title="B")]
    write_catalog(tmp_path / "c", items, catalog_id="c", version=1, sign=PUBLISHER.sign)
    assert set(content_of(tmp_path / "c")) == {
        "catalog_id", "categories", "category", "ids", "schema", "titles", "topics", "version",
    }  # fmt: skip
    catalog = opened(tmp_path / "c")
    assert catalog.currency == ""
    assert np.isnan(catalog.prices).all()
    assert not catalog.created.any()
    assert catalog.category_names == ()


def test_catalog_is_written_canonically(folder: Path) -> None:
    assert (folder / "catalog.json").read_bytes() == canonical(content_of(folder))


def test_s27_older_version_is_refused(folder: Path) -> None:
    newer = replace(TRUST, installed=Installed(4, "0" * 64))
    with pytest.raises(CatalogError, match="older than 4"):
        opened(folder, newer)
    with pytest.raises(CatalogError, match="floor 4"):
        opened(folder, replace(TRUST, floor_serial=4))


def test_s27_other_content_under_a_used_version_is_refused(folder: Path) -> None:
    same = opened(folder)
    assert opened(folder, replace(TRUST, installed=Installed(3, same.digest))).digest == same.digest
    with pytest.raises(CatalogError, match="other content"):
        opened(folder, replace(TRUST, installed=Installed(3, "0" * 64)))


@pytest.mark.parametrize("name", ["catalog.json", "catalog.sig.json"])
def test_s27_any_flipped_byte_is_refused(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    for place in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[place] ^= 1
        (folder / name).write_bytes(bytes(flipped))
        with pytest.raises(CatalogError):
            opened(folder)


def test_s27_stranger_and_too_few_keys_are_refused(folder: Path) -> None:
    signed = (folder / "catalog.json").read_bytes()
    sign_bytes(folder, signed, STRANGER)
    with pytest.raises(CatalogError, match="0 trusted keys"):
        opened(folder)
    sign_bytes(folder, signed, PUBLISHER, PUBLISHER)
    with pytest.raises(CatalogError, match="1 trusted keys"):
        opened(folder, TWO_KEYS)
    sign_bytes(folder, signed, PUBLISHER, SECOND)
    assert len(opened(folder, TWO_KEYS)) == 3


def test_signature_of_a_bundle_cannot_stand_for_one_of_a_catalog(folder: Path) -> None:
    signed = (folder / "catalog.json").read_bytes()
    sign_bytes(folder, signed, kind=PAYLOAD_TYPE)
    with pytest.raises(CatalogError, match="payloadType"):
        opened(folder)
    other = (folder / "catalog.sig.json").read_bytes()
    (folder / "catalog.sig.json").write_bytes(
        other.replace(PAYLOAD_TYPE.encode(), CATALOG_TYPE.encode())
    )
    with pytest.raises(CatalogError, match="0 trusted keys"):
        opened(folder)


@pytest.mark.parametrize("name", ["catalog.json", "catalog.sig.json"])
def test_missing_linked_or_endless_file_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(CatalogError, match="No such file"):
        opened(folder)
    (folder / "elsewhere").write_bytes(data)
    path.symlink_to(folder / "elsewhere")
    with pytest.raises(CatalogError):
        opened(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CatalogError, match="no regular file"):
        opened(folder)


MISSING = object()
WRONG: tuple[tuple[str, object], ...] = (
    ("schema", 2),
    ("schema", True),
    ("version", 0),
    ("version", True),
    ("catalog_id", ""),
    ("unknown", 1),
    ("ids", MISSING),
    ("topics", MISSING),
    ("currency", MISSING),
    ("prices", MISSING),
    ("ids", []),
    ("ids", ["SKU-1", "SKU-1", "SKU-3"]),
    ("ids", ["SKU-1", "", "SKU-3"]),
    ("ids", ["SKU-1", "x" * 201, "SKU-3"]),
    ("ids", ["SKU-1", "a\nb", "SKU-3"]),
    ("ids", ["SKU-1", 2, "SKU-3"]),
    ("ids", "SKU"),
    ("titles", ["a", "b"]),
    ("titles", ["a", "b", "x" * 501]),
    ("categories", ["a", "a"]),
    ("category", [0, 1, 2]),
    ("category", [0, 1, -2]),
    ("category", [0, 1, True]),
    ("category", [0, 1]),
    ("currency", "euro"),
    ("prices", ["2.49", "1e3", ""]),
    ("prices", ["2.49", "-1", ""]),
    ("prices", ["2.49", "NaN", ""]),
    ("prices", ["2.49", 1, ""]),
    ("prices", ["2.49"]),
    ("created", [-1, 0, 0]),
    ("created", [0]),
    ("topics", {"Health": [0]}),
    ("topics", {"health": [3]}),
    ("topics", {"health": [1, 0]}),
    ("topics", {"health": [0, 0]}),
    ("topics", {"health": 0}),
    ("topics", []),
)


@pytest.mark.parametrize(
    ("name", "value"), WRONG, ids=[f"{i}-{name}" for i, (name, _) in enumerate(WRONG)]
)
def test_malformed_catalog_is_refused_even_if_signed(
    folder: Path, name: str, value: object
) -> None:
    content = {key: old for key, old in content_of(folder).items() if key != name}
    if value is not MISSING:
        content[name] = value
    sign_bytes(folder, canonical(content))
    with pytest.raises(CatalogError, match="catalog refused"):
        opened(folder)


@pytest.mark.parametrize(
    "text",
    [
        b"no",
        b"[]",
        b"{",
        b'{"schema":1,"schema":1}',
        b'{"schema":1.0}',
        b'{"schema":NaN}',
        b"[" * 100_000,
        b'"\xff"',
        b'{"schema":' + b"9" * 5_000 + b"}",
    ],
    ids=["word", "list", "open", "twice", "float", "nan", "deep", "no UTF-8", "huge"],
)
def test_bytes_that_are_no_strict_json_are_refused_even_if_signed(
    folder: Path, text: bytes
) -> None:
    sign_bytes(folder, text)
    with pytest.raises(CatalogError):
        opened(folder)


def test_half_a_surrogate_pair_is_refused(folder: Path) -> None:
    signed = (folder / "catalog.json").read_bytes().replace(b"Bread", b"\\ud800")
    sign_bytes(folder, signed)
    with pytest.raises(CatalogError):
        opened(folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@settings(max_examples=150)
@given(
    name=st.sampled_from(
        ["schema", "version", "ids", "titles", "categories", "category", "topics", "prices",
         "currency", "created", "catalog_id", "other"]
    ),
    value=json_values,
)  # fmt: skip
def test_any_signed_value_of_a_field_is_a_catalog_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: object
) -> None:
    folder = tmp_path_factory.mktemp("fuzz") / "c"
    write(folder)
    content = content_of(folder) | {name: value}
    try:
        sign_bytes(folder, json.dumps(content).encode())
        catalog = opened(folder)
    except CatalogError:
        return
    for item in range(len(catalog)):
        assert catalog.title(item)
        assert isinstance(catalog.category(item), str)
        catalog.price(item)
        catalog.topics(item)


@settings(max_examples=100)
@given(signed=st.binary(max_size=60), named=st.binary(max_size=60))
def test_any_bytes_are_refused_and_nothing_else_happens(
    tmp_path_factory: pytest.TempPathFactory, signed: bytes, named: bytes
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "catalog.json").write_bytes(signed)
    (folder / "catalog.sig.json").write_bytes(named)
    with pytest.raises(CatalogError):
        opened(folder)
    sign_bytes(folder, signed)
    with pytest.raises(CatalogError):
        opened(folder)


def test_what_a_device_would_refuse_is_not_written(tmp_path: Path) -> None:
    double = (ITEMS[0], ITEMS[0])
    with pytest.raises(ValueError, match="distinct"):
        write(tmp_path / "c", items=double)
    with pytest.raises(ValueError, match="currency"):
        write_catalog(tmp_path / "c", ITEMS, catalog_id="c", version=1, sign=PUBLISHER.sign)
    with pytest.raises(ValueError, match="version"):
        write(tmp_path / "c", version=0)
    assert not list(tmp_path.iterdir())


def test_catalog_is_never_overwritten(folder: Path) -> None:
    with pytest.raises(ValueError, match="never overwritten"):
        write(folder, version=4)


def test_repr_shows_no_columns(folder: Path) -> None:
    assert "Bread" not in repr(opened(folder))
