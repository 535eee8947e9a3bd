"""A clock for exchanges with nodes: only sleeping moves it, so that waits take no time."""

from typing import Any

from homebody_server.secure.pace import Pace


class Time:
    """Seconds that pass while somebody sleeps."""

    def __init__(self) -> None:
        """Start in the autumn of 2026."""
        self.passed = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        """Return Unix seconds."""
        return 1.79e9 + self.passed

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        assert seconds >= 0.0
        self.slept.append(seconds)
        self.passed += max(seconds, 1e-6)

    def pace(self, **own: Any) -> Pace:  # noqa: ANN401 - fields of a pace
        """Return a pace by this clock; each jitter is half its bound."""
        usual: dict[str, Any] = {
            "clock": lambda: self.passed,
            "now": self.now,
            "sleep": self.sleep,
            "below": lambda bound: bound / 2.0,
        }
        return Pace(**(usual | own))
