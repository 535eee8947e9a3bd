"""The ClientApp of a virtual node on Ray: a shard of the population, trained by an engine at once.

A worker process of Ray answers many messages of a run. What it hosts is opened once and kept, so
that kernels are loaded and histories mapped once; a cluster then scales by its cores.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache, partial
from typing import Final, get_args

from flwr.app import Context

from homebody_client.flower_app import build_client_app, node_of
from homebody_client.host import Host, Setting, open_host
from homebody_simulation.availability import Attendees, Conditions
from homebody_simulation.cohort.shard import with_engine
from homebody_simulation.request import EngineName

ENGINE: Final = "engine"
"""Key of the run config that names the engine."""

ANSWERS: Final = "answers"
"""Key of the run config that says how many answers of devices the run expects."""

_KEY: Final = "attendance-key"

_Settings = tuple[tuple[str, Setting], ...]


def reliability(conditions: Conditions, run_key: bytes) -> dict[str, Setting]:
    """Return what a run config says of how reliable the devices are.

    Args:
        conditions: How reliable they are.
        run_key: Key of the run. Secret.
    """
    attendees = Attendees.of(conditions, run_key)
    if attendees is None:
        return {}
    chances = {name: float(value) for name, value in asdict(conditions).items()}
    return {**chances, _KEY: attendees.key.hex()}


def host_of_context(context: Context) -> Host:
    """Return the host of a virtual node, opened at its first message in this process."""
    return _opened(_settings(context.run_config), _settings(context.node_config))


def _settings(config: Mapping[str, Setting]) -> _Settings:
    return tuple(sorted(config.items()))


@lru_cache(maxsize=8)  # a worker serves whichever nodes Ray gives it, of one run
def _opened(run_config: _Settings, node_config: _Settings) -> Host:
    run = dict(run_config)
    host = replace(open_host(run, dict(node_config)), attendance=_attendance(run))
    name: EngineName = next(one for one in get_args(EngineName) if one == run[ENGINE])
    # One thread: each worker has one processor.
    return with_engine(host, name, answers=int(run[ANSWERS]), threads=1)


def _attendance(run: Mapping[str, Setting]) -> Attendees | None:
    """Return who is there, by what ``reliability`` wrote."""
    if _KEY not in run:
        return None
    conditions = Conditions(
        availability=float(run["availability"]),
        drop_out=float(run["drop_out"]),
        slow=float(run["slow"]),
        rounds_per_day=int(run["rounds_per_day"]),
    )
    return Attendees(conditions, bytes.fromhex(str(run[_KEY])))


app = build_client_app(host_of_context, node=partial(node_of, opener=host_of_context))
