"""Open the secure gatherer of a run from its folder."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from flwr.serverapp import Grid

from homebody_privacy.approval.approvals_file import to_values
from homebody_privacy.replay import ReplayCache
from homebody_privacy.stream import derive_key
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import RunSpec
from homebody_server.secure.copies import ConsentCopies
from homebody_server.secure.gatherer import Deployed, RunFacts, Secure
from homebody_server.secure.home import AggregatorHome
from homebody_server.secure.pace import Pace
from homebody_server.secure.serials import Serials
from homebody_server.secure.session import Bounds

COPIES: Final = "proofs.db"
"""File of a fleet's folder: ``ConsentCopies``."""


@contextmanager
def secure_gatherer(
    grid: Grid,
    folder: RunFolder,
    spec: RunSpec,
    home: AggregatorHome,
    pace: Pace | None,
    deployed: Deployed | None = None,
) -> Iterator[Secure]:
    """Give the gatherer of a run while the block lasts.

    Args:
        grid: How nodes are reached.
        folder: The run; its key keys the replay cache.
        spec: The run's constants.
        home: The fleet.
        pace: Time and patience; None for the usual.
        deployed: Of a fleet; None in a simulation.
    """
    key = folder.read_key()
    facts = RunFacts(
        run=spec.run_id or folder.name,
        config_digest=spec.config_digest,
        model=folder.read_json("run.json").get("model", {}),
        clip_norm=spec.clip_norm,
        lattice_bits=spec.lattice_bits,
        example_key=derive_key(key, "device-examples"),
        **_told(deployed),
    )
    bounds = Bounds(
        max_corrupt=spec.max_corrupt, max_dropout=spec.max_dropout, least=spec.min_nodes
    )
    with ExitStack() as stack:
        replays = ReplayCache(folder.replay_file, derive_key(key, "replays"))
        stack.enter_context(replays)
        copies = _copies(deployed)
        if copies is not None:
            stack.enter_context(copies)
        yield Secure(
            grid,
            home,
            facts,
            bounds,
            serials=Serials(folder.session_file),
            replays=replays,
            deadline_s=spec.deadline_s,
            pace=pace or Pace(),
            deployed=deployed,
            copies=copies,
        )


def _copies(deployed: Deployed | None) -> ConsentCopies | None:
    """Return the fleet's proofs of consent, without those that are too old; None without any."""
    if deployed is None:
        return None
    consent = deployed.permit.config().consent
    if consent.server_copy == "none":
        return None
    copies = ConsentCopies(deployed.permit.fleet / COPIES)
    copies.forget_before(consent.receipts_years, now=deployed.permit.clock())
    return copies


def _told(deployed: Deployed | None) -> dict[str, Any]:
    """Return what the nodes of a fleet are told besides."""
    if deployed is None:
        return {}
    return {
        "app": deployed.permit.app(),
        "approvals": to_values(deployed.permit.envelopes()),
        "ledger": deployed.window.key_line,
    }
