"""A shard of simulated devices behind sealed messages: its sum, its records, what it refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from homebody_client.flower_app import NODE_FOLDERS, build_client_app, node_of
from homebody_client.host import Host
from homebody_client.node_app import answer_sealed
from homebody_client.participation_store import ParticipationStore
from homebody_client.secure.policy import Policy
from homebody_client.secure.shard import ShardWorker
from homebody_client.training import shard_contribution
from homebody_models.recommender import Layout, LocalGradient
from homebody_privacy import messages
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError, PolicyViolationError
from homebody_privacy.lattice import Lattice
from homebody_privacy.legs import ACTIONS, BROADCAST, CIPHERTEXT, ENVELOPE, SEALED, Step
from homebody_privacy.messages import Invitation, Question
from homebody_privacy.node_folder import NodeFolder
from homebody_simulation.grid import CohortGrid

from .secure_town import Town
from .test_training import SOME, host_of, interactions, start

METRIC = """
[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 10.0
releases_per_run = 2
"""


@pytest.fixture(scope="module")
def config_file(write_config: Callable[..., Path]) -> Path:
    """Return a config that lists a metric."""
    return write_config(more=METRIC)


@pytest.fixture
def host(config_file: Path) -> Host:
    """Return a node that hosts five devices."""
    return host_of(PrivacyConfig.load(config_file), SOME)


def invitation(host: Host, *devices: int, **own: Any) -> Invitation:  # noqa: ANN401 - fields
    """Return an invitation of the host's devices."""
    usual: dict[str, Any] = {"run": "autumn", "round": 2, "config_digest": host.config_digest}
    return Invitation(devices=devices, **{**usual, **own})


def kept(into: list[np.ndarray[Any, Any]]) -> Callable[[Any], bytes]:
    """Return a protection that keeps what it is given."""

    def protect(vector: Any) -> bytes:  # noqa: ANN401 - integers
        into.append(vector)
        return b"sealed"

    return protect


@given(devices=st.lists(st.integers(0, 4), unique=True, max_size=5))
def test_what_is_protected_is_the_sum_of_the_asked_devices(
    config_file: Path, devices: list[int]
) -> None:
    host = host_of(PrivacyConfig.load(config_file), SOME)
    model, seen = start(host), list[np.ndarray[Any, Any]]()
    reply = ShardWorker(lambda: host).train(invitation(host, *devices), model, kept(seen))
    assert reply == b"sealed"
    (total,) = seen
    assert (total == shard_contribution(host, tuple(devices), model, 2)).all()
    assert total.any() == bool(set(devices) & {0, 3, 4})  # the others have too little history


def test_a_host_is_opened_once_and_only_for_work(host: Host) -> None:
    opened: list[int] = []

    def opener() -> Host:
        opened.append(1)
        return host

    worker = ShardWorker(opener)
    worker.ready()
    worker.let_out(b"x", "keys", "training", 1)
    assert worker.consent("training").tag == ""
    assert opened == []
    assert worker.devices() == [0, 1, 2, 3, 4]
    worker.train(invitation(host, 0), start(host), kept([]))
    assert opened == [1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pf_06_an_update_that_is_not_finite_adds_zeros_under_its_mask(
    host: Host, bad: float
) -> None:
    class Broken:
        name, layout = "broken", Layout({"b": (3,)})

        def local_gradient(self, *_: object) -> LocalGradient:
            return LocalGradient(np.array([1.0, bad, 0.0]), 0.0, 1)

    broken, seen = replace(host, model=Broken()), list[np.ndarray[Any, Any]]()  # type: ignore[arg-type]
    worker = ShardWorker(lambda: broken)
    worker.train(invitation(broken, 0, 3), np.zeros(3, np.float32), kept(seen))
    assert seen[0].tolist() == [0, 0, 0]


def test_a_shard_goes_by_its_own_config_and_its_devices_own_records(
    host: Host, tmp_path: Path
) -> None:
    worker, model = ShardWorker(lambda: host), start(host)
    with pytest.raises(PolicyViolationError, match="another privacy config"):
        worker.train(invitation(host, 0, config_digest="d" * 64), model, kept([]))
    with pytest.raises(PolicyViolationError, match="one clip norm"):
        worker.train(invitation(host, 0, clip_norm=0.25), model, kept([]))
    asked = Question(
        run="autumn", round=2, metric="unknown", devices=(0,), config_digest=host.config_digest
    )
    with pytest.raises(PolicyViolationError, match="does not list"):
        worker.figures(asked, model, kept([]))
    with ParticipationStore.open(tmp_path / "joins.sqlite", anchors=None) as store:
        config = host.config.model_copy(
            update={"dp": host.config.dp.model_copy(update={"noise_multiplier": 3.0})}
        )
        counted = replace(host, participation=store, config=config)
        seen: list[np.ndarray[Any, Any]] = []
        worker = ShardWorker(lambda: counted)
        worker.train(invitation(counted), model, kept(seen))  # nobody is asked: nobody joins
        assert not seen[-1].any()
        assert store.joins(0, "autumn") == 0
        worker.train(invitation(counted, 0, 3), model, kept(seen))
        assert seen[-1].any()
        assert store.joins(0, "autumn") == 1
        worker.train(invitation(counted, 0, 3), model + 1, kept(seen))  # another model
        assert not seen[-1].any()


# The messages of Flower around it.


def sealed_message(content: RecordDict, kind: str = "train") -> Message:
    """Return a message as a node gets it."""
    CohortGrid(lambda work: [None for _ in work], {7: {}}, {})  # this process speaks as a server
    message = Message(content, dst_node_id=7, message_type=kind)
    message.metadata.__dict__["_message_id"] = "m1"
    return message


def array(content: bytes, dtype: type = np.uint8) -> Array:
    """Return bytes as a message holds them."""
    return Array(np.frombuffer(content, dtype))


@pytest.mark.parametrize(
    "content",
    [
        RecordDict({SEALED: ArrayRecord({"other": array(b"x")})}),
        RecordDict({SEALED: ArrayRecord({ENVELOPE: array(b"x"), "more": array(b"x")})}),
        RecordDict({SEALED: ArrayRecord({ENVELOPE: array(b"xxxx", np.int32)})}),
        RecordDict({SEALED: ArrayRecord({ENVELOPE: Array(np.zeros((2, 2), np.uint8))})}),
        RecordDict(
            {
                SEALED: ArrayRecord({ENVELOPE: array(b"x")}),
                BROADCAST: ArrayRecord({"other": array(b"x")}),
            }
        ),
        RecordDict({SEALED: ArrayRecord({ENVELOPE: array(b"x")})}),
    ],
)
def test_a_sealed_message_that_holds_something_else_is_refused(content: RecordDict) -> None:
    node = Town.of([[0], [1], [2]]).members[0].node
    with pytest.raises(IntegrityError):
        answer_sealed(sealed_message(content), Step.UPDATE, node)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({messages.MODEL: ArrayRecord({messages.PARAMETERS: array(b"xxxx")})}),
        RecordDict(
            {
                SEALED: ArrayRecord({ENVELOPE: array(b"x")}),
                messages.MODEL: ArrayRecord({messages.PARAMETERS: array(b"x")}),
            }
        ),
    ],
)
def test_a_message_in_the_clear_is_refused_by_a_node_with_keys(content: RecordDict) -> None:
    node = Town.of([[0], [1], [2]]).members[0].node
    with pytest.raises(PolicyViolationError, match="sealed messages alone"):
        answer_sealed(sealed_message(content), Step.UPDATE, node)


def run_config(
    host: Host, config_file: Path, tmp_path: Path
) -> dict[str, str | int | float | bool]:
    """Return what a sealed simulation tells its nodes, and write it."""
    (tmp_path / "population").mkdir()
    interactions(SOME).save(tmp_path / "population")
    town = Town.of([[0, 2, 4], [1, 3]])
    for number, member in enumerate(town.members):
        NodeFolder.create(
            tmp_path / "nodes" / str(number),
            identity=member.identity,
            certificate=member.certificate,
            pins=member.pins,
        )
    return {
        NODE_FOLDERS: str(tmp_path / "nodes"),
        "privacy-file": str(config_file),
        "population": str(tmp_path / "population"),
        "model": json.dumps({"name": "two-tower", "options": {"dim": 3}}),
        "clip-norm": host.lattice.clip_norm,
        "lattice-bits": host.lattice.bits,
        "reference": True,
        "example-key": "00" * 32,
        "record-key": "00" * 32,
    }


def test_a_simulated_node_opens_from_its_own_folder_and_declines_what_is_plain(
    host: Host, config_file: Path, tmp_path: Path
) -> None:
    settings = run_config(host, config_file, tmp_path)
    node_config: dict[str, Any] = {"partition-id": 1, "num-partitions": 2}
    context = Context(1, 7, node_config, RecordDict(), settings)
    with node_of(context) as node:
        assert node is not None
        assert node.policy == Policy.of(host.config, reference=True)
        assert node.identity.node_id == node.certificate.node_id
    assert (tmp_path / "nodes" / "1" / "state.db").exists()
    app = build_client_app(node=node_of)
    plain = RecordDict({messages.INVITATION: ConfigRecord(invitation(host, 1).to_record())})
    for kind in ("train", "evaluate", "query.enrol", f"query.{ACTIONS[Step.SHARE]}"):
        reply = app(sealed_message(plain, kind), context)
        code = reply.content.config_records[messages.DECLINED][messages.CODE]
        assert code == "policy-violation"
        assert not reply.content.array_records


def test_a_simulation_that_is_not_sealed_opens_no_node() -> None:
    with node_of(Context(1, 7, {}, RecordDict(), {})) as node:
        assert node is None


def test_a_deployed_node_takes_no_word_of_flowers_configs(
    host: Host, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = run_config(host, config_file, tmp_path)
    context = Context(1, 7, {"partition-id": 1, "num-partitions": 2}, RecordDict(), settings)
    monkeypatch.setenv("HOMEBODY_NODE", str(tmp_path / "nowhere"))
    reply = build_client_app(node=node_of)(sealed_message(RecordDict()), context)
    code = reply.content.config_records[messages.DECLINED][messages.CODE]
    assert code == "invalid-file"  # its own folder is what counts, and there is none
    assert not (tmp_path / "nodes" / "1" / "state.db").exists()


@pytest.mark.parametrize("told", [(0.5, 15), (0.75, 16), (0.5, 16)])
def test_a_policy_bounds_a_run_by_its_own_lattice(
    config_file: Path, told: tuple[float, int]
) -> None:
    policy = Policy.of(PrivacyConfig.load(config_file))
    assert policy.lattice == Lattice(clip_norm=0.5, bits=16)
    assert policy.bounds(*told) == (told == (0.5, 16))
    assert Policy.of(PrivacyConfig.load(config_file), reference=True).bounds(*told)
    assert policy.purpose("", 1) == "training"
    assert policy.purpose("quality", 1) == policy.purpose("quality", 0) == "metrics"
    with pytest.raises(PolicyViolationError, match="does not list this metric"):
        policy.purpose("unknown", 1)
    with pytest.raises(PolicyViolationError, match="does not list statistics"):
        policy.purpose("", 0)


def test_the_broadcast_is_read_beside_the_envelope() -> None:
    town = Town.of([[0, 1], [2], [3]])
    town.enrol()
    asked = town.sum()
    asked.legs(until=Step.UPDATE)
    content = RecordDict(
        {
            SEALED: ArrayRecord({ENVELOPE: array(asked.message(Step.UPDATE, 0))}),
            BROADCAST: ArrayRecord({CIPHERTEXT: array(asked.ciphertext)}),
        }
    )
    reply = answer_sealed(sealed_message(content), Step.UPDATE, town.members[0].node)
    assert list(reply) == [SEALED]
    assert asked.take(Step.UPDATE, reply.array_records[SEALED][ENVELOPE].numpy().tobytes()) == ""
