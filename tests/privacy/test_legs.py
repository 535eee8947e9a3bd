"""Bodies of the legs: one way to write each, and nothing that no run could mean."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.legs import (
    ACTIONS,
    WORK_BLOCK,
    Announcement,
    Decline,
    Enrolment,
    Opening,
    Step,
    Work,
    pack,
    unpack,
)

from .sealed_world import CONFIG_SHA256, NOW, SERVER_KEY, counted

RECIPIENT = SERVER_KEY.public.hex()
ANNOUNCEMENT: dict[str, Any] = {
    "run": "autumn",
    "session": 1,
    "recipient": RECIPIENT,
    "config_sha256": CONFIG_SHA256,
    "devices": 6040,
    "model": {"name": "two-tower", "options": {"dim": 8}},
    "clip_norm": 0.5,
    "lattice_bits": 16,
    "example_key": "e1" * 32,
    "not_after": NOW + 600,
}
OPENING: dict[str, Any] = {
    "round": 7,
    "recipient": RECIPIENT,
    "length": 5,
    "word_bits": 32,
    "metric": "",
}
ENROLMENT: dict[str, Any] = {"certificate": "0a1b", "devices": [3, 0]}
DECLINE: dict[str, Any] = {"code": "consent-missing"}
BODIES: list[tuple[type[Any], dict[str, Any]]] = [
    (Announcement, ANNOUNCEMENT),
    (Enrolment, ENROLMENT),
    (Opening, OPENING),
    (Decline, DECLINE),
]
ASKED: dict[str, Any] = {"run": "autumn", "round": 7, "devices": [4], "config-digest": "c0" * 32}


def work(**fields: Any) -> Work:  # noqa: ANN401 - one of the fields' types
    usual: dict[str, Any] = {"asked": ASKED, "forwarded": b"shares", "content_key": counted(0, 32)}
    return Work(**(usual | fields))


@pytest.mark.parametrize(("kind", "values"), BODIES, ids=[kind.__name__ for kind, _ in BODIES])
def test_a_body_is_the_canonical_json_of_its_fields_and_nothing_else(
    kind: type[Any], values: dict[str, Any]
) -> None:
    body = kind(**values)
    content = body.to_bytes()
    assert json.loads(content) == values
    assert content == rfc8785.dumps(values)
    assert kind.from_bytes(content) == body
    for other in (
        content + b"\n",
        b" " + content,
        content[:-1],
        b"",
        b"[]",
        b"\xff",
        b"[" * 5000,
        rfc8785.dumps({**values, "more": 1}),
        json.dumps(values).encode(),
        json.dumps(values, separators=(",", ":")).encode("utf-16"),
    ):
        with pytest.raises(ValueError, match=r"canonical|fields"):
            kind.from_bytes(other)
    for name in values:
        rest = {key: value for key, value in values.items() if key != name}
        with pytest.raises(ValueError, match="fields"):
            kind.from_bytes(rfc8785.dumps(rest))


@pytest.mark.parametrize(("kind", "values"), BODIES, ids=[kind.__name__ for kind, _ in BODIES])
def test_a_field_of_another_type_is_refused(kind: type[Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        for other in (None, True, [], "x", 1.5, {"a": 1}, [1.5], [True]):
            if isinstance(other, type(value)) and type(other) is not bool:
                continue
            with pytest.raises(ValueError, match=name):
                kind.from_bytes(rfc8785.dumps({**values, name: other}))


BROKEN: list[tuple[type[Any], dict[str, Any], dict[str, Any]]] = [
    (Announcement, ANNOUNCEMENT, {"run": ""}),
    (Announcement, ANNOUNCEMENT, {"run": "r" * 256}),
    (Announcement, ANNOUNCEMENT, {"session": -1}),
    (Announcement, ANNOUNCEMENT, {"session": 2**53}),
    (Announcement, ANNOUNCEMENT, {"recipient": RECIPIENT[:-2]}),
    (Announcement, ANNOUNCEMENT, {"config_sha256": "C0" * 32}),
    (Announcement, ANNOUNCEMENT, {"devices": 0}),
    (Announcement, ANNOUNCEMENT, {"clip_norm": 0.0}),
    (Announcement, ANNOUNCEMENT, {"clip_norm": float("nan")}),
    (Announcement, ANNOUNCEMENT, {"clip_norm": float("inf")}),
    (Announcement, ANNOUNCEMENT, {"lattice_bits": 0}),
    (Announcement, ANNOUNCEMENT, {"example_key": "e1" * 31}),
    (Announcement, ANNOUNCEMENT, {"not_after": -1}),
    (Enrolment, ENROLMENT, {"devices": [-1]}),
    (Enrolment, ENROLMENT, {"devices": [3, 3]}),
    (Enrolment, ENROLMENT, {"certificate": "0A"}),
    (Enrolment, ENROLMENT, {"certificate": "0a1"}),
    (Opening, OPENING, {"round": -1}),
    (Opening, OPENING, {"length": 0}),
    (Opening, OPENING, {"word_bits": 16}),
    (Opening, OPENING, {"recipient": "zz" * 1216}),
    (Decline, DECLINE, {"code": ""}),
    (Decline, DECLINE, {"code": "Consent missing"}),
    (Decline, DECLINE, {"code": "consent-missing\n"}),
    (Decline, DECLINE, {"code": "c" * 64}),
]


@pytest.mark.parametrize(
    ("kind", "values", "broken"),
    BROKEN,
    ids=[f"{one.__name__}-{how}"[:60] for one, _, how in BROKEN],
)
def test_a_body_no_run_could_mean_cannot_be_built(
    kind: type[Any], values: dict[str, Any], broken: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"must|numbers from 0|twice"):
        kind(**{**values, **broken})


def test_a_decline_is_a_code_and_leaves_no_room_for_text() -> None:
    with pytest.raises(ValueError, match="code"):
        Decline.from_bytes(b'{"code":"the person is ill"}')


@given(st.binary(max_size=6000), st.lists(st.integers(0, 10**6), max_size=200, unique=True))
def test_work_survives_its_bytes_and_its_length_tells_no_more_than_its_blocks(
    forwarded: bytes, devices: list[int]
) -> None:
    one = work(forwarded=forwarded, asked={**ASKED, "devices": devices})
    content = one.to_bytes()
    assert Work.from_bytes(content) == one
    assert len(content) % WORK_BLOCK == 0
    least = len(rfc8785.dumps(dict(one.asked))) + len(forwarded) + 32 + 16
    assert least <= len(content) < least + WORK_BLOCK


def test_a_node_of_which_nobody_is_asked_gets_as_many_bytes_as_one_of_which_many_are() -> None:
    nobody, many = ({**ASKED, "devices": list(range(n))} for n in (0, 500))
    assert len(work(asked=nobody).to_bytes()) == len(work(asked=many).to_bytes())


@given(st.data())
def test_work_that_is_cut_longer_or_filled_up_otherwise_is_refused(data: st.DataObject) -> None:
    content = work().to_bytes()
    cut = data.draw(st.integers(0, len(content) - 1))
    filled = bytearray(content)
    filled[-1 - data.draw(st.integers(0, 3000))] = data.draw(st.integers(1, 255))
    parts = unpack(content, 4)
    longer = pack(*parts[:3], parts[3] + bytes(WORK_BLOCK))
    shorter = pack(*parts[:3], b"")
    for other in (content[:cut], content + b"\0", bytes(filled), longer, shorter):
        with pytest.raises(ValueError, match=r"filled up|too early|left over"):
            Work.from_bytes(other)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_work_carries_a_key_of_32_bytes(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        work(content_key=key)


@pytest.mark.parametrize("asked", [b"[]", b"", b'{"a": 1}', b"\xff"])
def test_what_work_asks_is_one_canonical_json_object(asked: bytes) -> None:
    parts = asked, b"", bytes(32)
    with pytest.raises(ValueError, match="canonical"):
        Work.from_bytes(pack(*parts, bytes(-len(pack(*parts, b"")) % WORK_BLOCK)))


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_packed_parts_come_apart_as_they_went_in_and_no_other_way(parts: list[bytes]) -> None:
    content = pack(*parts)
    assert unpack(content, len(parts)) == tuple(parts)
    assert len(content) == sum(4 + len(part) for part in parts)
    for count in (len(parts) + 1, max(len(parts) - 1, 0)):
        if count != len(parts):
            with pytest.raises(ValueError, match=r"too early|left over"):
                unpack(content, count)


def test_every_leg_that_is_a_query_has_an_action_of_its_own() -> None:
    assert set(ACTIONS) == set(Step) - {Step.UPDATE, Step.FIGURES, Step.DECLINE}
    assert len(set(ACTIONS.values())) == len(ACTIONS)
    assert all(action == f"secagg_{step}" for step, action in ACTIONS.items())


def test_secrets_of_a_body_are_not_in_its_repr() -> None:
    shown = repr(work()) + repr(Announcement(**ANNOUNCEMENT)) + repr(Enrolment(**ENROLMENT))
    for secret in (counted(0, 32).hex(), repr(counted(0, 32)), "e1" * 32, "0a1b", "[3, 0]", "[4]"):
        assert secret not in shown
