"""What a node keeps between two legs: enough to go on, no secret longer than it is needed."""

import json

import pytest

from homebody_privacy.secagg.device import SecAggDevice
from homebody_privacy.secagg.device_state import DeviceMemory, DeviceSettings, DeviceState, read

from .secagg_fleet import Entropy, Fleet


def secrets(memory: DeviceMemory) -> set[str]:
    """Return which fields hold a secret."""
    names = ("keys", "seed", "mask_keys", "open_keys", "held")
    return {name for name in names if getattr(memory, name)}


def test_each_leg_drops_the_keys_that_no_later_leg_needs() -> None:
    fleet = Fleet(4)
    fleet.advertise()
    assert secrets(fleet.memory(0)) == {"keys"}
    fleet.share()
    assert secrets(fleet.memory(0)) == {"seed", "mask_keys", "open_keys", "held"}
    fleet.check()
    assert secrets(fleet.memory(0)) == {"seed", "mask_keys", "held"}
    fleet.leg(0, "mask", fleet.vectors[0])
    assert secrets(fleet.memory(0)) == {"held"}


def test_wiped_bytes_hold_no_key_and_no_neighbour() -> None:
    fleet = Fleet(4, name="wiped")
    made = [Entropy(f"wiped {node}")(128) for node in range(4)]
    fleet.advertise()
    assert all(made[node][:32].hex().encode() in fleet.states[node] for node in range(4))
    fleet.share().mask().confirm().unmask()
    for node in range(4):
        state = fleet.states[node]
        assert fleet.memory(node) == DeviceMemory(state=DeviceState.WIPED)
        for at in range(0, 128, 32):
            assert made[node][at : at + 32].hex().encode() not in state
        assert all(
            other.hex().encode() not in state for other in fleet.ids if other != fleet.ids[node]
        )


@pytest.mark.parametrize("leg", ["advertise", "share", "check", "mask", "confirm"])
def test_aborted_bytes_hold_no_key_after_any_leg(leg: str) -> None:
    fleet = Fleet(4)
    for step in {
        "check": ("advertise", "share", "check"),
        "confirm": ("advertise", "share", "mask", "confirm"),
    }.get(leg, ("advertise", "share", "mask")):
        getattr(fleet, step)()
        if step == leg:
            break
    assert secrets(fleet.memory(0))
    fleet.leg(0, "abort")
    assert fleet.memory(0) == DeviceMemory(state=DeviceState.ABORTED)


def test_bytes_come_back_the_same_at_every_leg() -> None:
    fleet = Fleet(4).advertise()
    for step in (fleet.share, fleet.mask, fleet.confirm):
        for node in fleet.live:
            assert fleet.device(node).to_bytes() == fleet.states[node]
        step()


def test_a_node_shows_how_far_it_is_and_nothing_else() -> None:
    fleet = Fleet(4).advertise().share()
    assert repr(fleet.device(0)) == "SecAggDevice(state='shared')"
    shown = repr(fleet.memory(0)) + repr(fleet.settings(0))
    for secret in (fleet.memory(0).seed, *fleet.memory(0).mask_keys, *fleet.memory(0).held):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    assert repr(fleet.ids[0]) not in shown


def test_bytes_of_another_identity_are_refused() -> None:
    fleet = Fleet(4).advertise()
    with pytest.raises(ValueError, match="signing key"):
        SecAggDevice.from_bytes(fleet.states[0], fleet.signers[1])


def test_bytes_that_are_no_state_are_refused_without_showing_them() -> None:
    fleet = Fleet(4).advertise()
    sound = json.loads(fleet.states[0])
    (magic,) = sound
    settings, memory = sound[magic]
    wrong = [
        b"",
        b"{",
        b"[]",
        json.dumps({"another": [settings, memory]}).encode(),
        json.dumps({magic: [settings]}).encode(),
        json.dumps({magic: [settings, {**memory, "state": "idle"}]}).encode(),
        json.dumps({magic: [settings, {**memory, "more": 1}]}).encode(),
        json.dumps({magic: [{**settings, "length": 0}, memory]}).encode(),
        json.dumps({magic: [{**settings, "node_id": "00"}, memory]}).encode(),
        json.dumps({magic: [settings, {**memory, "seed": "x"}]}).encode(),
    ]
    for content in wrong:
        with pytest.raises(ValueError, match="no state of a secure sum") as refusal:
            read(content)
        assert refusal.value.__cause__ is None
    assert read(json.dumps(sound).encode())[1] == fleet.memory(0)


def test_settings_need_a_whole_id() -> None:
    fleet = Fleet(3)
    with pytest.raises(ValueError, match="node_id must have 32 bytes"):
        fleet.settings(0, node_id=b"short")
    assert isinstance(fleet.settings(0), DeviceSettings)
