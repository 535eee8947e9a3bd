"""Render the page: Jinja2 templates with everything escaped, and the files they load."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from homebody_client.api.profiles import Profile
from homebody_privacy.errors import MissingExtraError

from . import choices, views, words

if TYPE_CHECKING:
    from jinja2 import Environment

LIST: Final = 6
"""Items of the list the page shows."""

_ASSETS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "page.css": "text/css; charset=utf-8",
        "page.js": "text/javascript; charset=utf-8",
        "htmx.min.js": "text/javascript; charset=utf-8",
        "icon.svg": "image/svg+xml",
    }
)
"""Everything the page loads, all of it from here. htmx.LICENSE.txt lies beside it."""


class Page:
    """Renders the device page.

    Args:
        demonstration: Say on the page that its devices are simulated.

    Raises:
        MissingExtraError: If Jinja2 is not installed.
    """

    __slots__ = ("_demonstration", "_templates")

    def __init__(self, *, demonstration: bool = False) -> None:
        """Load the templates."""
        self._demonstration = demonstration
        self._templates = _templates()

    def shell(self, profiles: Sequence[Profile]) -> bytes:
        """Return the page without any data: the same bytes whatever the devices hold."""
        labels = [profile.label for profile in profiles]
        return self._render(
            "shell.html",
            labels=labels,
            count=words.counted(len(labels)),
            demonstration=self._demonstration,
        )

    def asset(self, name: str) -> tuple[str, bytes] | None:
        """Return media type and bytes of a file the page loads; None if there is none."""
        return (_ASSETS[name], _asset(name)) if name in _ASSETS else None

    def part(self, name: str, at: int, profile: Profile) -> bytes | None:
        """Return a part of the page with its data; None if there is none of that name."""
        make = _PARTS.get(name)
        if make is None:
            return None
        return self._render(f"{name}.html", at=at, label=profile.label, **make(profile))

    def _render(self, template: str, **values: object) -> bytes:
        return self._templates.get_template(template).render(values).encode("utf-8", "replace")


_PARTS: Final[Mapping[str, Callable[[Profile], dict[str, object]]]] = MappingProxyType(
    {
        "list": lambda profile: {"shown": views.shown(profile.device, LIST)},
        "consent": lambda profile: {
            "choices": choices.choices(profile.device.consent),
            "statement": profile.device.model().get("statement"),
            "withdrawal": profile.device.model().get("withdrawal"),
        },
        "knows": lambda profile: {"known": views.rows(profile.device)},
        "left": lambda profile: {"sendings": views.sendings(profile.device)},
        "about": lambda profile: {
            "model": profile.device.model(),
            "paused": profile.device.consent.restricted,
            "erase_warning": words.ERASE_WARNING,
        },
    }
)


@cache
def _asset(name: str) -> bytes:
    return files("homebody_client.page").joinpath("static", name).read_bytes()


@cache
def _templates() -> "Environment":
    try:
        import jinja2  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError(
            "the device page needs Jinja2, which is not installed",
            fix="pip install 'homebody[device]'",
        ) from None
    return jinja2.Environment(
        loader=jinja2.PackageLoader("homebody_client.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
