"""An adaptive clip norm: made of released shares alone, charged, kept over a crash."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict

from homebody_privacy import messages
from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.adaptive_clip import AdaptiveClip
from homebody_privacy.charges import PoissonRounds, of_part
from homebody_privacy.lattice import Lattice
from homebody_privacy.ledger import Ledger
from homebody_privacy.messages import Invitation
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.clipping_state import Clipping

from .world import (
    DEVICES,
    Builder,
    PowerCutError,
    Work,
    World,
    cut_in_round,
    entries,
    is_training,
    ledger_of,
    power_cut,
    same_end,
    sent_by,
    watched,
)

RULE = AdaptiveClip.for_cohort(DEVICES)
ROUNDS = 4


def stream(number: int = 1, key: bytes = bytes(32)) -> NoiseStream:
    """Return the stream of a round's count."""
    return NoiseStream(derive_key(key, "counts", number))


def adaptive(make_world: Builder, name: str = "run", **fields: Any) -> World:  # noqa: ANN401
    """Return a world of four rounds whose clip norm adapts."""
    usual = {"rounds": ROUNDS, "count_multiplier": RULE.count_multiplier, "clip_norm": 0.05}
    return make_world(name, **(usual | fields))


def test_the_next_clip_norm_follows_from_the_share_that_is_released() -> None:
    start = Clipping(rule=RULE, clip_norm=0.5, bits=16)
    after = start.after(6, stream())
    noise = int(rounded_gaussian(1, RULE.count_multiplier, stream())[0])
    share = min(1.0, max(0.0, 0.5 + (6 + noise) / (2 * DEVICES)))
    assert after.share == pytest.approx(share)
    assert after.clip_norm == pytest.approx(0.5 * math.exp(-0.2 * (share - 0.5)))
    assert (start.clip_norm, start.share) == (0.5, None)
    assert after.lattice == Lattice(after.clip_norm, 16)


def test_a_clip_norm_settles_where_half_of_the_updates_are_within_it() -> None:
    norms = np.linspace(0.5, 1.5, DEVICES)
    at = Clipping(rule=RULE, clip_norm=20.0, bits=16)
    for number in range(400):
        within = int((norms <= at.clip_norm).sum())
        at = at.after(2 * within - DEVICES, stream(number))
    assert 0.7 < at.clip_norm < 1.3


def clip_norms(world: World) -> tuple[Any, dict[int, float]]:
    """Return the devices, and the clip norm each round's invitations name."""
    seen: dict[int, float] = {}

    def see(work: Work, _: object) -> None:
        if is_training(work):
            for message, _ in work:
                record = message.content.config_records[messages.INVITATION]
                invitation = Invitation.from_record(record)
                assert invitation.clip_norm is not None
                assert (
                    seen.setdefault(invitation.round, invitation.clip_norm) == invitation.clip_norm
                )

    return watched(world.honest, see), seen


def followed(start: float, shares: list[float | None]) -> list[float]:
    """Return the clip norm of each round, from the ledger's shares and nothing else."""
    norms = [start]
    for share in shares:
        assert share is not None
        norms.append(RULE.following(norms[-1], share))
    return norms


def test_pf_26_every_clip_norm_follows_from_the_ledger_alone(make_world: Builder) -> None:
    world = adaptive(make_world)
    devices, seen = clip_norms(world)
    state = world.run(devices)
    norms = followed(world.spec.clip_norm, ledger_of(world).unclipped)
    assert list(seen.values()) == norms[:-1]
    assert state.clip_norm == norms[-1]
    assert len(set(norms)) == ROUNDS + 1


def test_sum_and_count_of_a_round_are_charged_as_one_release(make_world: Builder) -> None:
    world, fixed = adaptive(make_world), make_world("fixed", rounds=ROUNDS, clip_norm=0.05)
    world.run()
    fixed.run()
    charges = ledger_of(world).charges()
    assert {charge.to_dict()["count_multiplier"] for charge in charges} == {RULE.count_multiplier}
    delta = world.spec.accounted_delta
    total = spent_epsilon(charges, delta)
    assert total > 1.1 * spent_epsilon(ledger_of(fixed).charges(), delta)
    effective = 1.0 / math.sqrt(3.0**-2 + RULE.count_multiplier**-2)
    one = PoissonRounds(
        population=DEVICES,
        cohort_size=DEVICES,
        cohort_cap=40,
        noise_multiplier=effective,
        rounds=ROUNDS,
    )
    assert total == pytest.approx(spent_epsilon([one], delta), abs=1e-3)
    assert of_part(charges, "clipping")


@pytest.mark.parametrize("after", [False, True], ids=["before devices train", "after they did"])
def test_a_run_that_resumes_goes_on_with_the_clip_norm_it_had(
    make_world: Builder, *, after: bool
) -> None:
    whole, cut = adaptive(make_world, "whole"), adaptive(make_world, "cut")
    expected = whole.run()
    with pytest.raises(PowerCutError):
        cut.run(cut_in_round(3, cut.honest, after=after))
    assert cut.folder.load_state().clip_norm != cut.spec.clip_norm
    devices, seen = clip_norms(cut)
    state = cut.run(devices)
    assert same_end(state, expected)
    assert state.clip_norm == expected.clip_norm
    assert list(seen) == [3, 4]
    assert entries(cut)[1:] == entries(whole)[1:]


def test_a_share_that_was_not_entered_is_entered_after_the_crash(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = adaptive(make_world, "whole"), adaptive(make_world, "cut")
    whole.run()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "release", power_cut)
        with pytest.raises(PowerCutError):
            cut.run()
    cut.run()
    assert ledger_of(cut).unclipped == ledger_of(whole).unclipped


def test_each_device_adds_one_vote_and_its_update_within_the_rounds_bound(
    make_world: Builder,
) -> None:
    world = adaptive(make_world, rounds=1)
    sent: dict[int, npt.NDArray[np.int64]] = {}

    def see(work: Work, replies: list[Message | None]) -> None:
        if is_training(work):
            sent.update(sent_by(replies))

    world.run(watched(world.honest, see))
    assert len(sent) == DEVICES
    for integers in sent.values():
        assert integers.size == world.host.model.layout.size + 1
        assert int(integers[-1]) in (-1, 0, 1)
        assert world.spec.lattice.is_within_bound(integers[:-1])


@pytest.mark.parametrize("votes", [10**6, -(10**6)])
def test_a_device_that_votes_many_times_has_one_vote(make_world: Builder, votes: int) -> None:
    def stuffed(with_votes: int) -> float | None:
        world = adaptive(make_world, f"w{with_votes}", rounds=1)

        def answer(asked: Message, good: Message) -> Message:
            integers = good.content.array_records[messages.UPDATE][messages.CONTRIBUTION].numpy()
            changed = np.append(integers[:-1], with_votes).astype(np.int64)
            record = ArrayRecord({messages.CONTRIBUTION: Array(changed)})
            return Message(RecordDict({messages.UPDATE: record}), reply_to=asked)

        return world.run(world.instead(4, answer)).clip_norm

    assert stuffed(votes) == stuffed(1 if votes > 0 else -1) != stuffed(0)


def test_a_device_of_one_clip_norm_declines_another(make_world: Builder) -> None:
    world = adaptive(make_world, rounds=1)
    fixed = make_world("fixed", rounds=1, clip_norm=0.05)
    # The digest agrees: only the rule of the config can refuse.
    object.__setattr__(fixed.host, "config_digest", world.spec.config_digest)
    answers: list[RecordDict] = []

    def see(work: Work, replies: list[Message | None]) -> None:
        if is_training(work):
            answers.extend(reply.content for reply in replies if reply is not None)

    world.run(watched(fixed.honest, see))
    assert len(answers) == DEVICES
    for content in answers:
        assert not content.array_records
        assert dict(content.config_records[messages.DECLINED]) == {
            messages.CODE: "policy-violation"
        }
