"""What a device adds to a round: bounded whatever it holds, its own alone, the same in a shard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.flower_app import build_client_app
from homebody_client.host import HELD_OUT, Host, open_host, shard
from homebody_client.participation_store import ParticipationStore
from homebody_client.training import contribution, shard_contribution
from homebody_models.draws import Draws
from homebody_models.interactions import Catalog, Interactions
from homebody_models.recommender import Layout, LocalGradient
from homebody_models.zoo import NAMES, ModelSpec
from homebody_privacy import messages
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import InvalidFileError, PolicyViolationError
from homebody_privacy.lattice import Lattice
from homebody_privacy.messages import Invitation

ITEMS = 6
BOUND = 2**16
CATALOG = Catalog(
    ids=tuple("abcdef"),
    titles=tuple("abcdef"),
    categories=("",) * ITEMS,
    features=np.zeros((ITEMS, 0), np.float32),
    feature_names=(),
)
Histories = list[list[int]]
SOME: Histories = [[0, 1, 2, 3], [], [4], [5, 5, 5, 1, 2], [2, 0]]


def interactions(histories: Histories) -> Interactions:
    """Return these histories, an event a second."""
    items = np.array([item for history in histories for item in history], np.int32)
    return Interactions(
        ptr=np.cumsum([0, *map(len, histories)]).astype(np.int64),
        items=items,
        times=np.arange(len(items), dtype=np.int64),
        values=np.ones(len(items), np.float32),
        repeats=True,
        catalog=CATALOG,
    )


@pytest.fixture(scope="session")
def config(write_config: Callable[..., Path]) -> PrivacyConfig:
    """Return a config of the user level alone."""
    return PrivacyConfig.load(write_config())


def host_of(config: PrivacyConfig, histories: Histories, model: str = "two-tower") -> Host:
    """Return a node that hosts all of ``histories``."""
    options: dict[str, int | float | bool] = {"dim": 3} if model != "popularity" else {}
    return Host(
        config=config,
        model=ModelSpec(model, options).build(CATALOG),
        histories=interactions(histories),
        devices=frozenset(range(len(histories))),
        example_key=bytes(32),
        record_key=bytes(32),
        lattice=Lattice(0.5),
    )


def start(host: Host) -> npt.NDArray[np.float32]:
    """Return a model to train."""
    return host.model.init(np.random.default_rng(0))


@settings(max_examples=60, deadline=None)
@given(
    histories=st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=12), min_size=1, max_size=4),
    scale=st.sampled_from([0.0, 1.0, 1e6, 1e38]),
    model=st.sampled_from(NAMES),
)
def test_the_norm_of_a_contribution_is_at_most_the_bound_for_any_history(
    config: PrivacyConfig, histories: Histories, scale: float, model: str
) -> None:
    host = host_of(config, histories, model)
    with np.errstate(all="ignore"):
        parameters = (start(host) * np.float32(scale)).astype(np.float32)
        for device in range(len(histories)):
            added = contribution(host, device, parameters, 1)
            assert added.dtype == np.int32
            assert added.shape == parameters.shape
            assert sum(int(v) ** 2 for v in added) <= BOUND**2


def test_a_device_of_some_history_uses_most_of_its_bound(config: PrivacyConfig) -> None:
    host = host_of(config, SOME)
    added = contribution(host, 0, start(host), 1)
    assert np.linalg.norm(added) > 0.9 * BOUND


@pytest.mark.parametrize("device", [1, 2])
def test_a_device_of_too_little_history_adds_zeros(config: PrivacyConfig, device: int) -> None:
    host = host_of(config, SOME)
    assert not contribution(host, device, start(host), 1).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pf_06_a_gradient_that_is_not_finite_adds_zeros(config: PrivacyConfig, bad: float) -> None:
    class Broken:
        name, layout = "broken", Layout({"b": (3,)})

        def local_gradient(self, *_: object) -> LocalGradient:
            return LocalGradient(np.array([1.0, bad, 0.0]), 0.0, 1)

    host = replace(host_of(config, SOME), model=Broken())  # type: ignore[arg-type]
    assert contribution(host, 0, np.zeros(3, np.float32), 1).tolist() == [0, 0, 0]


def test_a_contribution_points_downhill(config: PrivacyConfig) -> None:
    host = host_of(config, SOME)
    model = start(host)
    gradient = host.model.local_gradient(model, host.history(0), Draws(0)).vector
    assert float(gradient @ contribution(host, 0, model, 1)) < 0.0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 4), unique=True))
def test_a_shard_sends_the_sum_of_its_devices(config: PrivacyConfig, devices: list[int]) -> None:
    host = host_of(config, SOME)
    model = start(host)
    each = [contribution(host, d, model, 2).astype(np.int64) for d in devices]
    total = shard_contribution(host, tuple(devices), model, 2)
    assert total.tolist() == np.sum([np.zeros(len(model), np.int64), *each], axis=0).tolist()


def test_a_contribution_does_not_depend_on_other_devices(config: PrivacyConfig) -> None:
    others = [SOME[0], [3] * 9, [1, 2, 3], [0], [5, 4, 3, 2, 1]]
    one, two = host_of(config, SOME), host_of(config, others)
    model = start(one)
    assert contribution(one, 0, model, 1).tolist() == contribution(two, 0, model, 1).tolist()


def test_examples_change_with_round_and_device_key_and_with_nothing_else(
    config: PrivacyConfig,
) -> None:
    host = host_of(config, [[i % ITEMS for i in range(40)]] * 2)  # more events than are used
    model = start(host)
    first = contribution(host, 0, model, 1).tolist()
    assert first == contribution(host, 0, model, 1).tolist()
    assert first != contribution(host, 0, model, 2).tolist()
    assert first != contribution(host, 1, model, 1).tolist()


def test_only_hosted_histories_are_read(config: PrivacyConfig) -> None:
    host = replace(host_of(config, SOME), devices=frozenset({0}))
    with pytest.raises(ValueError, match="not hosted"):
        contribution(host, 3, start(host), 1)


@pytest.mark.parametrize(("devices", "parts"), [(7, 3), (2, 5), (10, 1), (0, 2)])
def test_shards_are_the_population_dealt_out_once(devices: int, parts: int) -> None:
    dealt = [device for part in range(parts) for device in shard(devices, part, parts)]
    assert sorted(dealt) == list(range(devices))


@pytest.mark.parametrize("part", [-1, 3])
def test_a_part_outside_the_parts_is_refused(part: int) -> None:
    with pytest.raises(ValueError, match="part"):
        shard(9, part, 3)


def settings_of(config_file: Path, population: Path) -> dict[str, Any]:
    """Return a run config as the simulation writes it."""
    return {
        "privacy-file": str(config_file),
        "population": str(population),
        "model": '{"name": "two-tower", "options": {"dim": 3}}',
        "clip-norm": 0.5,
        "lattice-bits": 16,
        "reference": False,
        "example-key": bytes(32).hex(),
        "record-key": bytes(32).hex(),
        "participation": str(population.with_name("devices")),
    }


NODE: dict[str, Any] = {"partition-id": 1, "num-partitions": 2}


@contextmanager
def opened(run_config: dict[str, Any]) -> Iterator[Host]:
    """Open a node, and close its record afterwards."""
    host = open_host(run_config, NODE)
    try:
        yield host
    finally:
        if isinstance(host.participation, ParticipationStore):
            host.participation.close()


@pytest.fixture
def population(tmp_path: Path) -> Path:
    """Return a folder of the histories."""
    folder = tmp_path / "population"
    folder.mkdir()
    interactions(SOME).save(folder)
    return folder


def test_a_node_opens_what_the_run_config_names(
    write_config: Callable[..., Path], population: Path
) -> None:
    with opened(settings_of(write_config(), population)) as host:
        assert list(host.devices) == [1, 3]
        assert host.history(3).tolist() == SOME[3]
        assert host.lattice == Lattice(0.5)
        assert host.held_out_item(3) is None


def test_a_node_opens_its_devices_own_record_and_what_they_hold_back(
    write_config: Callable[..., Path], population: Path
) -> None:
    np.save(population / HELD_OUT, np.array([1, -1, 2, 0, -1], np.int32), allow_pickle=False)
    asked = settings_of(write_config(), population)
    with opened(asked) as host:
        assert (host.held_out_item(3), host.held_out_item(1)) == (0, None)
        assert host.participation is not None
    assert [file.name for file in Path(asked["participation"]).iterdir()] == ["devices.sqlite"]


def test_a_reference_keeps_no_record(write_config: Callable[..., Path], population: Path) -> None:
    asked = settings_of(write_config(), population) | {"reference": True}
    with opened(asked) as host:
        assert host.participation is None
    assert not Path(asked["participation"]).exists()


def test_nothing_trains_without_a_privacy_config(tmp_path: Path, population: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"absent\.toml"):
        open_host(settings_of(tmp_path / "absent.toml", population), NODE)


@pytest.mark.parametrize("change", [{"clip-norm": 0.6}, {"lattice-bits": 17}], ids=str)
def test_a_node_refuses_a_bound_that_is_not_its_configs(
    write_config: Callable[..., Path], population: Path, change: dict[str, Any]
) -> None:
    asked = settings_of(write_config(), population) | change
    with pytest.raises(PolicyViolationError, match="clip norm or lattice"):
        open_host(asked, NODE)
    with opened(asked | {"reference": True}) as host:
        assert host.lattice != Lattice(0.5)


def ask(host: Host, **changes: Any) -> Message:  # noqa: ANN401 - fields of the invitation
    """Send the real app an invitation and return its answer."""
    fields: dict[str, Any] = {
        "run": "r",
        "round": 1,
        "devices": (0, 3),
        "config_digest": host.config_digest,
    }
    invitation = Invitation(**(fields | changes))
    model = ArrayRecord({messages.PARAMETERS: Array(start(host))})
    content = RecordDict(
        {messages.MODEL: model, messages.INVITATION: ConfigRecord(invitation.to_record())}
    )
    return deliver(host, content)


def deliver(host: Host, content: RecordDict) -> Message:
    """Send the real app a message and return its answer."""
    # A Message can be made by a server alone, and a grid makes this process one.
    from homebody_simulation.grid import CohortGrid, app_cohort  # noqa: PLC0415

    grid = CohortGrid(app_cohort(build_client_app(lambda _context: host)), {7: {}}, {})
    message = Message(content, dst_node_id=7, message_type=MessageType.TRAIN)
    (answer,) = grid.send_and_receive([message])
    return answer


def test_the_app_answers_with_the_sum_of_the_invited(config: PrivacyConfig) -> None:
    host = host_of(config, SOME)
    answer = ask(host)
    sent = answer.content.array_records[messages.UPDATE][messages.CONTRIBUTION].numpy()
    assert sent.dtype == np.int32
    assert sent.tolist() == shard_contribution(host, (0, 3), start(host), 1).tolist()


def test_the_app_declines_a_server_of_another_config_and_sends_a_code_alone(
    config: PrivacyConfig,
) -> None:
    answer = ask(host_of(config, SOME), config_digest="0" * 64)
    assert not answer.content.array_records
    (record,) = answer.content.config_records.values()
    assert dict(record) == {messages.CODE: "policy-violation"}


def test_a_device_asked_for_another_device_declines(config: PrivacyConfig) -> None:
    answer = ask(replace(host_of(config, SOME), devices=frozenset({0})), devices=(0, 3))
    assert not answer.content.array_records


def test_a_message_that_is_no_invitation_is_declined(config: PrivacyConfig) -> None:
    answer = deliver(host_of(config, SOME), RecordDict())
    assert not answer.content.array_records


def test_a_device_named_twice_in_an_invitation_does_not_count_twice(config: PrivacyConfig) -> None:
    host = host_of(config, SOME)
    with pytest.raises(ValueError, match="twice"):
        Invitation(run="r", round=1, devices=(0, 0), config_digest=host.config_digest)


@settings(max_examples=40, deadline=None)
@given(
    history=st.lists(st.integers(0, ITEMS - 1), max_size=12),
    scale=st.sampled_from([0.0, 1.0, 1e6, 1e38]),
    clip_norm=st.floats(1e-6, 1e3),
)
def test_a_contribution_of_an_adaptive_round_is_bounded_and_adds_one_vote(
    config: PrivacyConfig, history: list[int], scale: float, clip_norm: float
) -> None:
    host = host_of(config, [history])
    with np.errstate(all="ignore"):
        parameters = (start(host) * np.float32(scale)).astype(np.float32)
        added = contribution(host, 0, parameters, 1, clip_norm)
    assert added.dtype == np.int32
    assert added.size == parameters.size + 1
    assert sum(int(v) ** 2 for v in added[:-1]) <= BOUND**2
    assert int(added[-1]) in (-1, 0, 1)


def test_a_vote_says_whether_the_update_was_within_the_rounds_clip_norm(
    config: PrivacyConfig,
) -> None:
    host = host_of(config, SOME)
    model = start(host)
    norm = float(np.linalg.norm(host.model.local_gradient(model, host.history(0), Draws(0)).vector))
    within, clipped = (contribution(host, 0, model, 1, bound) for bound in (2 * norm, norm / 2))
    assert (int(within[-1]), int(clipped[-1])) == (1, -1)
    # The lattice is the round's: half of the bound is used, or all of it.
    used = [float(np.linalg.norm(added[:-1])) / BOUND for added in (within, clipped)]
    assert used == pytest.approx([0.5, 1.0], abs=0.02)


def test_a_shard_of_an_adaptive_round_sends_the_sum_of_its_votes(config: PrivacyConfig) -> None:
    host = host_of(config, SOME)
    model = start(host)
    each = [contribution(host, d, model, 2, 0.1).astype(np.int64) for d in range(5)]
    total = shard_contribution(host, tuple(range(5)), model, 2, 0.1)
    assert total.tolist() == np.sum(each, axis=0).tolist()


@pytest.mark.parametrize("clip_norm", [0.5, 100.0, float("nan"), 0.0, -1.0])
def test_a_device_of_one_clip_norm_declines_a_round_that_names_one(
    config: PrivacyConfig, clip_norm: float
) -> None:
    answer = ask(host_of(config, SOME), clip_norm=clip_norm)
    assert not answer.content.array_records
    (record,) = answer.content.config_records.values()
    assert dict(record) == {messages.CODE: "policy-violation"}


@pytest.mark.parametrize("clip_norm", [float("nan"), 0.0, -1.0, float("inf")])
def test_a_clip_norm_that_is_none_is_declined(
    write_config: Callable[..., Path], clip_norm: float
) -> None:
    adaptive = PrivacyConfig.load(write_config(more="adaptive_clip = true\n"))
    assert ask(host_of(adaptive, SOME), clip_norm=0.25).content.array_records
    assert not ask(host_of(adaptive, SOME), clip_norm=clip_norm).content.array_records
