"""The face of a pack on paper, where a converter is installed; its bytes differ from run to run.

So the file lies beside the pack, not in it, and ``MANIFEST`` does not list it: what is signed is
the page it was made from.
"""

import shutil
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from homebody_privacy.errors import DependencyError

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_SECONDS: Final = 120


def print_pack(folder: Path) -> Path:
    """Print ``index.html`` of a pack to ``<folder>.pdf`` beside it.

    Returns:
        The file.

    Raises:
        DependencyError: If neither WeasyPrint nor Chromium is installed, or it fails.
    """
    target = folder.with_name(f"{folder.name}.pdf")
    if find_spec("weasyprint") is not None:
        html = import_module("weasyprint").HTML  # optional, and slow to load
        html(filename=str(folder / "index.html")).write_pdf(str(target))
        return target
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise DependencyError(
            "no PDF was made: neither WeasyPrint nor Chromium is installed",
            fix="pip install weasyprint, or print index.html from a browser",
        )
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-pdf-header-footer",
        f"--print-to-pdf={target.resolve()}",
        (folder / "index.html").resolve().as_uri(),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise DependencyError(f"no PDF was made: {browser} failed") from error
    if not target.is_file():
        raise DependencyError(f"no PDF was made: {browser} wrote none")
    return target
