"""Four systems tell one story: the same events come out, and nothing else is read."""

import json
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from homebody_client.events import (
    Event,
    event_json,
    read_app,
    read_crm,
    read_tickets,
    read_web,
)
from homebody_privacy.errors import InvalidFileError

from .event_examples import NOW, SEED

_FILES: Final = Path(__file__).parent / "event_files"
_READERS: Final[dict[str, tuple[Callable[..., Iterator[Event]], str]]] = {
    "app": (read_app, "shop_app.jsonl"),
    "web": (read_web, "shop_web.jsonl"),
    "crm": (read_crm, "shop_crm.csv"),
    "tickets": (read_tickets, "shop_tickets.csv"),
}


def _read(source: str) -> list[Event]:
    reader, name = _READERS[source]
    return list(reader(_FILES / name, now=NOW))


def _told(event: Event) -> tuple[object, ...]:
    """Return everything an event says but its source."""
    fields = dict(event.fields)
    return event.event, event.user_id, event.timestamp, event.event_id, fields, dict(event.ext)


@pytest.mark.parametrize("source", ["web", "crm", "tickets"])
def test_s02_four_files_of_one_story_give_one_stream(source: str) -> None:
    app, other = _read("app"), _read(source)
    assert [event.event for event in app] == [
        "product_view",
        "search",
        "add_to_cart",
        "purchase",
        "rating",
        "like",
        "dislike",
        "dismiss",
    ]
    assert [_told(event) for event in other] == [_told(event) for event in app]
    assert {event.source for event in other} == {source}
    assert {event.source for event in app} == {"app"}


def test_s02_the_first_line_of_the_apps_file_is_the_seeds_event() -> None:
    assert event_json(_read("app")[0]) == SEED


def test_s02_no_importer_opens_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class NoSocket(socket.socket):
        def __init__(self, *_: object, **__: object) -> None:
            opened.append("socket")
            raise OSError("no sockets here")

    def no_lookup(*_: object, **__: object) -> NoReturn:
        opened.append("lookup")
        raise OSError("no names here")

    monkeypatch.setattr(socket, "socket", NoSocket)
    monkeypatch.setattr(socket, "getaddrinfo", no_lookup)
    with pytest.raises(OSError, match="here"):
        socket.create_connection(("127.0.0.1", 9))  # the block works
    opened.clear()
    assert sum(len(_read(source)) for source in _READERS) == 32
    assert opened == []


@pytest.mark.parametrize("source", _READERS)
def test_s02_nothing_but_the_vocabulary_is_read(source: str) -> None:
    read = json.dumps([event_json(event) for event in _read(source)], ensure_ascii=False)
    text = (_FILES / _READERS[source][1]).read_text("utf-8")
    personal = ("ada@", "Ada", "203.0.113.9", "cookie", "ad-id-7", "diabetes", "sweet", "+49 30")
    assert source == "app" or any(word in text for word in personal)
    assert not [word for word in personal if word in read]


def _refusal(reader: Callable[..., Iterator[Event]], path: Path, **how: str) -> InvalidFileError:
    with pytest.raises(InvalidFileError) as caught:
        list(reader(path, now=NOW, **how))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return caught.value


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{not json 4711", "it is not one JSON object"),
        ('["4711"]', "it is not one JSON object"),
        ("[" * 50_000, "it is not one JSON object"),
        ('{"event": "like", "event": "purchase4711"}', "it is not one JSON object"),
        ('{"event": "rating", "rating": NaN}', "it is not one JSON object"),
        ('{"event": "buy4711"}', "field event must be one of the vocabulary"),
        (json.dumps({**SEED, "4711": 1}), "product_view: a field that this kind"),
        (
            json.dumps({**SEED, "product_id": "4711" * 40}),
            "product_view: field product_id must have",
        ),
        ('"' + "4711" * 20_000 + '"', "it has over 65536 characters"),
    ],
)
def test_s02_a_bad_line_is_named_by_number_and_not_shown(
    tmp_path: Path, line: str, problem: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{json.dumps(SEED)}\n\n{line}\n", "utf-8")
    error = _refusal(read_app, path)
    assert str(error).startswith(f"{path}: line 3: {problem}")
    assert "4711" not in str(error) + error.fix


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("12345,Haircut4711,2026-05-15 10:45:00Z,SKU-1", "column activity type is missing or unk"),
        ("12345,Order,2026-05-15 10:45:00,SKU-4711", "purchase: field timestamp has no offset"),
        ("12345,Order,4711,SKU-1", "purchase: field timestamp must be a time of RFC 3339"),
        ("12345,Order,2026-05-15 10:45:00Z,", "purchase: field product_id is missing"),
        (",Order,2026-05-15 10:45:00Z,SKU-4711", "purchase: field user_id must have 1 to 128"),
        ("12345,Order,2026-05-15 10:45:00Z,SKU-4711,x", "it has another number of fields"),
        ('12345,Order,"4711"x,SKU-1', "it is no line of CSV"),
        ("12345,Order,2026-05-15 10:45:00Z,SKU-\x004711", "purchase: field product_id holds contr"),
    ],
)
def test_s02_a_bad_line_of_csv_is_named_by_number_and_not_shown(
    tmp_path: Path, line: str, problem: str
) -> None:
    path = tmp_path / "bad.csv"
    good = '12345,Order,2026-05-15 10:45:00Z,"SKU-1"'
    path.write_text(
        f"Contact ID,Activity Type,Activity Date,Product Code\n{good}\n{line}\n{good}\n", "utf-8"
    )
    error = _refusal(read_crm, path)
    assert str(error).startswith(f"{path}: line 3: {problem}")
    assert "4711" not in str(error) + error.fix


def test_s02_numbers_that_are_none_are_refused_and_empty_lines_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    for text in ("4711,00", "12.50 EUR", "1e3", "nan", "0x10", "٤"):
        path.write_text(
            "Contact ID,Activity Type,Activity Date,Product Code,Unit Price\n\n"
            f'12345,Order,2026-05-15T10:45:00Z,SKU-1,"{text}"\n',
            "utf-8",
        )
        error = _refusal(read_crm, path)
        assert str(error).startswith(f"{path}: line 3: purchase: field price must be a number")


def test_s02_an_export_without_offsets_is_read_with_the_one_named(tmp_path: Path) -> None:
    path = tmp_path / "local.csv"
    path.write_text(
        "Requester ID,Type,Created At,Product SKU\n12345,Order,2026-05-15 12:45:00,SKU-1\n", "utf-8"
    )
    assert "add Z for UTC" in _refusal(read_tickets, path).fix
    (event,) = read_tickets(path, now=NOW, offset="+02:00")
    assert event.timestamp == 1_778_841_900.0


def test_s02_a_web_page_event_that_no_table_knows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "web.jsonl"
    rows: list[dict[str, Any]] = [
        {"event": "Video Played 4711", "userId": "1", "timestamp": 0},
        {"event": "Product Viewed", "userId": "1", "timestamp": 0},
        {"event": "Product Viewed", "userId": 1, "timestamp": 0, "properties": {"sku": "S"}},
        {"event": "Product Viewed", "userId": "1", "timestamp": True, "properties": {"sku": "S"}},
        {"event": "Product Viewed", "userId": "1", "timestamp": 10**30, "properties": {"sku": "S"}},
        {"event": "Product Viewed", "userId": "1", "properties": ["S"], "context": {"device": 3}},
    ]
    for row in rows:
        path.write_text(json.dumps(row) + "\n", "utf-8")
        assert "line 1: " in str(_refusal(read_web, path))


def test_s02_a_file_that_is_missing_or_not_utf_8_is_refused(tmp_path: Path) -> None:
    assert "No such file" in str(_refusal(read_app, tmp_path / "none.jsonl"))
    path = tmp_path / "latin.csv"
    path.write_bytes("Contact ID,Notes\n1,gr\u00fcn\n".encode("latin-1"))
    assert "it is not UTF-8" in str(_refusal(read_crm, path))


def test_s02_events_before_a_bad_line_come_out(tmp_path: Path) -> None:
    path = tmp_path / "half.jsonl"
    path.write_text(f"{json.dumps(SEED)}\nbad\n", "utf-8")
    events = read_app(path, now=NOW)
    assert next(events).event == "product_view"
    with pytest.raises(InvalidFileError, match="line 2"):
        next(events)


def test_s02_a_file_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("Contact ID,Activity Type,Activity Date,Product Code,Notes\n")
        for number in range(4_000):
            file.write(f"1,Order,2026-05-15 10:45:00Z,SKU-{number},{'n' * 1_000}\n")
    size = path.stat().st_size
    tracemalloc.start()
    count = sum(1 for _ in read_crm(path, now=NOW))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 4_000
    assert peak < size / 8


def test_reading_json_lines_does_not_load_the_csv_module() -> None:
    code = (
        "import sys; from pathlib import Path; from homebody_client.events import read_app;"
        f"n = len(list(read_app(Path({str(_FILES / 'shop_app.jsonl')!r}), now=1.8e9)));"
        "print(n, 'csv' in sys.modules, 'pydantic' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.split() == ["8", "False", "False"]
