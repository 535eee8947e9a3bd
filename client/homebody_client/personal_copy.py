"""Everything of a person, as one JSON document (GDPR Art. 15 and 20)."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from homebody_client.consent.book import ConsentBook
from homebody_client.core import Core
from homebody_client.fleet import joined
from homebody_client.rights import export_of
from homebody_privacy.errors import HomebodyError, InvalidFileError


def copy_of(core: Core) -> dict[str, object]:
    """Return rows, decisions, receipts, facts of the model, reasons, what left, rounds joined.

    What is damaged is left out and named in ``problems``: the rest is the person's all the same.
    """
    problems = list(core.problems)

    def tried(read: Callable[[], list[Any]]) -> list[Any]:
        try:
            return read()
        except HomebodyError as error:
            problems.append(str(error))
            return []

    rows = [] if core.rows is None else tried(core.rows.known)
    book = core.parts.book
    more: dict[str, object] = {
        "exported_at": core.now(),
        "strength": core.strength(),
        "model": core.model_facts(),
        "reasons": [
            {"product_id": one.product_id, "code": one.reason.code, "text": one.reason.text}
            for one in core.make(core.query())
        ],
        "left": tried(lambda: [asdict(entry) for entry in core.parts.egress.entries()]),
        "joined": tried(lambda: joined(core.setup.profile)),
    }
    if isinstance(book, ConsentBook):
        more = export_of(book, rows, tried(lambda: list(book.receipts())), more)
    return {**more, "problems": problems}


def read_copy(file: Path) -> object:
    """Return a copy taken along, parsed.

    Raises:
        InvalidFileError: If it cannot be read or is no JSON.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidFileError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if document is None:  # outside: the parser's own words may quote what it read
        raise InvalidFileError(f"{file}: it is no JSON")
    return document
