"""docs/exit-codes.md says of every error class what the class says of itself."""

import re
import subprocess
import sys
from pathlib import Path

from homebody_privacy import errors
from homebody_privacy.errors import HomebodyError

_PAGE = Path(__file__).parents[2] / "docs" / "exit-codes.md"


def documented() -> dict[str, tuple[int, str, str]]:
    """Return exit code, code and advice by class, in the words of the page."""
    row = r"(?m)^\| `(\w+)` \| (\d+) \| `([\w-]+)` \| ([^|]+) \| [^|]+ \|$"
    rows = re.findall(row, _PAGE.read_text("utf-8"))
    assert len({name for name, *_ in rows}) == len(rows)
    return {name: (int(number), code, advice) for name, number, code, advice in rows}


def classes() -> list[type[HomebodyError]]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, HomebodyError)]


def test_every_class_is_documented_with_exit_code_code_and_advice() -> None:
    expected = {
        kind.__name__: (kind.exit_code, kind.code, kind.fix or "read the message")
        for kind in classes()
    }
    assert documented() == expected


def test_the_example_prints_what_the_page_says(tmp_path: Path) -> None:
    page = _PAGE.read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (said,) = re.findall(r"(?m)^prints `([^`]+)`", page)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == said
