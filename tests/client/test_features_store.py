"""Events through the real store and back into features, and what its bytes do not hold."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from homebody_client.events import Event, read_crm, row_time, row_values
from homebody_client.features import DEFAULT_SPECS, Incremental, compute, example_at
from homebody_client.store import NewRow, Store

from .event_examples import NOW

_CRM: Final = Path(__file__).parent / "event_files" / "shop_crm.csv"
_FIELDS: Final = ("product_id", "category", "price", "quantity", "currency", "device", "timestamp")
_KEY: Final = bytes(range(32))
_HEAVY: Final = [
    "asyncio",
    "csv",
    "fastapi",
    "flwr",
    "http.server",
    "jinja2",
    "numpy",
    "opacus",
    "pydantic",
    "rfc8785",
    "rich",
    "socket",
    "ssl",
    "torch",
    "typer",
]


def _kept(event: Event) -> NewRow | None:
    values = row_values(event, _FIELDS)
    if not values:
        return None
    at = row_time(event, _FIELDS)
    return NewRow(feature="purchases", values=values, at=at, event_id=event.event_id)


def test_s28_features_of_stored_rows_are_those_of_the_events(tmp_path: Path) -> None:
    new = [row for event in read_crm(_CRM, now=NOW) if (row := _kept(event)) is not None]
    assert len(new) == 7  # of eight events a search is of no product
    with Store.open(tmp_path / "store.sqlite", dedupe_key=_KEY) as store:
        store.append(new, {"purchases": _KEY})
        assert store.append(new, {"purchases": _KEY}) == [None] * 7  # the same event, the same id
    with Store.open(tmp_path / "store.sqlite", dedupe_key=_KEY) as store:
        rows = store.rows("purchases", _KEY)
    running = Incremental(DEFAULT_SPECS)
    for stored in rows:
        running.update(stored)
    at = rows[-1].at + 60
    values = {wanted.name: compute(wanted, rows, at) for wanted in DEFAULT_SPECS}
    assert values == {wanted.name: running.value(wanted.name, at) for wanted in DEFAULT_SPECS}
    assert values == example_at(DEFAULT_SPECS, rows, at)
    assert values["spent_90d"] == {"EUR": 15.0}
    assert values["purchases_90d"] == 1.0


def test_s25_the_bytes_of_the_store_hold_neither_person_nor_product(tmp_path: Path) -> None:
    new = [row for event in read_crm(_CRM, now=NOW) if (row := _kept(event)) is not None]
    with Store.open(tmp_path / "store.sqlite", dedupe_key=_KEY) as store:
        store.append(new, {"purchases": _KEY})
    told = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert len(told) > 1_000
    for secret in (b"12345", b"SKU-", b"Tea", b"mobile", new[0].event_id.encode()):
        assert secret not in told
    with Store.open(tmp_path / "store.sqlite", dedupe_key=_KEY) as store:
        rows = store.rows("purchases", _KEY)
    assert "SKU-987" in str([dict(row.values) for row in rows])
    assert "12345" not in str([dict(row.values) for row in rows])


def test_recording_and_features_load_nothing_heavy() -> None:
    code = (
        "import sys, homebody_client.events, homebody_client.features;"
        f"print(*[name for name in {_HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.split() == []
