"""Run one scenario: the plan's accidents, restarts of the server until the run ends, the judge."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from homebody_privacy.errors import TooFewDevicesError
from homebody_privacy.ledger import read_ledger
from homebody_server.flower_app import run_rounds
from homebody_server.run_folder import TrainState
from tests.server.world import Builder, PowerCutError, World

from . import oracle
from .observed import Observed
from .plan import SETTINGS, Kind, Plan
from .townsfolk import settle
from .weather import ChaosGrid, Weather

_STARTS = 8
_OF_FLEETS = ("config_approved", "waiver", "policy_changed")  # a mirror in clear asks nobody


@dataclass(slots=True)
class Scenario:
    """A plan, and the run it happens to."""

    plan: Plan
    world: World
    mirror: World
    weather: Weather
    starts: int = 0
    cut_open: list[int] = field(default_factory=list)
    models: list[npt.NDArray[np.float32]] = field(default_factory=list)
    disk: list[bytes] = field(default_factory=list)
    state: TrainState | None = None

    @classmethod
    def of(cls, plan: Plan, build: Builder, root: Path) -> "Scenario":
        """Prepare a run and its mirror in clear, which have the same key."""
        setting = SETTINGS[plan.setting]
        own = {"key": plan.key, "counted": setting.counted or None, **setting.own}
        world = build("run", secagg=True, **own)
        mirror = build("mirror", **own | {"runtime": "cohort"})  # no fleet sums in clear
        town = settle(world, setting.parts, root / "nodes")
        weather = Weather(town, Observed(plan.faults))
        return cls(plan=plan, world=world, mirror=mirror, weather=weather)

    def run(self) -> None:
        """Run to the end, with a new start after each accident that stops the server."""
        self.models.append(self.world.folder.load_state().parameters)
        while self.state is None:
            self.starts += 1
            if self.starts > _STARTS:
                raise oracle.WrongError("the run does not come to its end")
            self._start()
            self.disk.append(oracle.on_disk(self.world.folder))

    def _start(self) -> None:
        weather, folder = self.weather, self.world.folder
        try:
            self.state = run_rounds(
                ChaosGrid(weather),
                folder,
                lambda _number, model: self.models.append(model),
                pace=weather.town.time.pace(),
            )
        except (PowerCutError, OSError) as error:
            if isinstance(error, OSError) and not weather.seen.dead:
                raise
            self._stopped()
        except TooFewDevicesError:
            weather.healed()

    def _stopped(self) -> None:
        weather, folder = self.weather, self.world.folder
        weather.seen.dead = False
        weather.restarted()
        with suppress(FileNotFoundError):
            record, _ = read_ledger(folder.ledger_file)
            if record.opened > record.closed:
                self.cut_open.append(record.opened)
        if any(fault.kind is Kind.CUT_NO_CACHE for fault in weather.seen.fired):
            for file in folder.path.glob(f"{folder.replay_file.name}*"):
                file.unlink()

    def judge(self) -> oracle.Tally:
        """Hold the run against everything that it must be."""
        assert self.state is not None
        weather, spec = self.weather, self.world.spec
        lines = oracle.raw_lines(self.world.folder)
        oracle.check_ledger(lines, spec)
        oracle.check_epsilon(self.world.folder, spec, lines)
        oracle.check_voids(weather, lines, self.cut_open)
        oracle.check_sums(weather)
        oracle.check_patience(weather, spec)
        singles: list[npt.NDArray[np.int64]] = []
        script = oracle.script_of(weather, lines)
        oracle.check_end(self.state, oracle.replay(self.mirror, script, singles))
        mirrored = oracle.raw_lines(self.mirror.folder)
        charged = [line for line in lines if line["kind"] not in _OF_FLEETS]
        oracle.demand(charged[1:] == mirrored[1:], "the ledger is not that of the replay")
        self._check_unseen(singles)
        return oracle.tally(weather, lines, self.starts)

    def _check_unseen(self, singles: list[npt.NDArray[np.int64]]) -> None:
        weather, spec = self.weather, self.world.spec
        hidden = oracle.secrets_of(weather, singles, self.plan.key)
        wire = b"\0".join(weather.wire)
        oracle.check_unseen("the wire", wire, hidden)
        oracle.check_unseen("the wire", wire, oracle.models_of(self.models))
        sums = oracle.sums_of(weather, spec)
        for content in self.disk:
            oracle.check_unseen("the run's folder", content, hidden)
            oracle.check_unseen("the run's folder", content, sums)
        leaked = {what for node in weather.town.nodes.values() for what in node.leaked}
        oracle.demand(not leaked, f"a node's state shows {sorted(leaked)}")
        states = b"\0".join(node.state() or b"" for node in weather.town.nodes.values())
        oracle.check_unseen("a node's state", states, hidden)
        oracle.check_unseen("a node's state", states, oracle.models_of(self.models))
