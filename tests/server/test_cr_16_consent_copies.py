"""CR-16: the server can keep proofs of consent, and nobody reads a person in them."""

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homebody_client.consent.wire import ConsentOnTheWire
from homebody_privacy.errors import IntegrityError, UsageError
from homebody_privacy.receipts import ChainEnd, commitment
from homebody_server.secure.copies import ConsentCopies
from homebody_server.secure.opening import COPIES
from tests.client.consent_device import ConsentDevice

from .secure_time import Time
from .secure_world import Fleet, nodes_of
from .world import Builder

NOW = 1_800_000_000.0  # 2027
YEAR = 366 * 86_400.0
OWN: dict[str, Any] = {
    "mechanism": "blt",
    "rounds": 1,
    "min_separation": 1,
    "max_rounds_per_device": 1,
    "metrics": (),
    "runtime": "deploy",
}
TAG = "ab" * 16
PROOF = commitment(bytes(32), ChainEnd(3, "5e" * 32))


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[ConsentCopies]:
    """Return copies, of which one is kept."""
    with ConsentCopies(tmp_path / COPIES) as opened:
        opened.keep(TAG, PROOF, now=NOW)
        yield opened


def test_cr_16_what_a_device_can_compute_again_is_proved_and_nothing_else(
    copies: ConsentCopies, tmp_path: Path
) -> None:
    assert copies.proves(TAG, commitment(bytes(32), ChainEnd(3, "5e" * 32)))
    for other in (ChainEnd(4, "5e" * 32), ChainEnd(3, "5f" * 32)):
        assert not copies.proves(TAG, commitment(bytes(32), other))
    assert not copies.proves("cd" * 16, PROOF)
    later = commitment(bytes(32), ChainEnd(4, "77" * 32))
    copies.keep(TAG, later, now=NOW)
    assert copies.proves(TAG, later)
    assert not copies.proves(TAG, PROOF)
    assert stat.S_IMODE((tmp_path / COPIES).stat().st_mode) == 0o600


def test_cr_16_a_deleted_copy_leaves_no_byte(copies: ConsentCopies, tmp_path: Path) -> None:
    assert TAG.encode() in (tmp_path / COPIES).read_bytes()
    assert copies.forget(TAG)
    assert not copies.forget(TAG)
    left = b"".join(file.read_bytes() for file in tmp_path.glob(f"{COPIES}*"))
    assert TAG.encode() not in left
    assert PROOF.encode() not in left


def test_cr_16_copies_end_and_are_counted_in_ranges_alone(copies: ConsentCopies) -> None:
    assert copies.bucket() == "1-99"
    copies.forget_before(3, now=NOW + 3 * YEAR)
    assert copies.proves(TAG, PROOF)
    copies.forget_before(3, now=NOW + 4 * YEAR)
    assert copies.bucket() == "none"


@pytest.mark.parametrize(("tag", "proof"), [("person-1", PROOF), (TAG, ""), (TAG.upper(), PROOF)])
def test_cr_16_nothing_but_a_tag_and_a_commitment_is_kept(
    copies: ConsentCopies, tag: str, proof: str
) -> None:
    with pytest.raises(ValueError, match="hex digits"):
        copies.keep(tag, proof, now=NOW)


def test_copies_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / COPIES).write_bytes(b"not a data base at all " * 99)
    with pytest.raises(IntegrityError, match="damaged"):
        ConsentCopies(tmp_path / COPIES)
    with pytest.raises(UsageError, match="cannot be used"):
        ConsentCopies(tmp_path / "no folder" / COPIES)


def test_cr_16_a_device_that_destroys_its_secret_is_unlinked(
    copies: ConsentCopies, tmp_path: Path
) -> None:
    device = ConsentDevice.open(tmp_path)
    device.say_yes()
    wire = ConsentOnTheWire(device.book)
    tag = wire.tag("training")
    copies.keep(tag, wire.commitment(), now=NOW)
    assert copies.proves(tag, device.reopen().wire.commitment())
    wire.unlink()
    assert device.book.receipts()[-1].purpose == "metrics"  # the person keeps theirs
    assert not copies.proves(tag, wire.commitment())


@pytest.fixture
def fleets(make_world: Builder) -> dict[str, Fleet]:
    """Return an approved fleet for each thing that ``consent.server_copy`` may say."""
    made = {}
    for copy in ("commitment", "none"):
        consent = make_world.base.consent.model_copy(update={"server_copy": copy})
        base = make_world.base.model_copy(update={"consent": consent})
        world = replace(make_world, base=base)(copy, secagg=True, **OWN)
        made[copy] = nodes_of(world, 4, Time())
    return made


def test_cr_16_a_run_keeps_what_devices_show_where_the_config_says_so(
    fleets: dict[str, Fleet],
) -> None:
    for fleet in fleets.values():
        node = fleet.nodes[1]
        node.consent_tag, node.consent_proof = TAG, PROOF
        fleet.run()
    assert not (fleets["none"].world.folder.aggregator_folder / COPIES).exists()
    fleet = fleets["commitment"]
    file = fleet.world.folder.aggregator_folder / COPIES
    with ConsentCopies(file) as copies:
        assert copies.proves(TAG, PROOF)
        assert copies.bucket() == "1-99"
    content = file.read_bytes()
    ledger = fleet.world.folder.ledger_file.read_bytes()
    for node in fleet.nodes.values():
        assert node.identity.node_id not in content
        assert node.identity.node_id.hex().encode() not in content
    for said in (TAG.encode(), PROOF.encode()):
        assert said not in ledger
