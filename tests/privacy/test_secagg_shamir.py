"""Shamir's shares against Lagrange's formula in fractions, and what fewer shares say."""

import random
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.secagg.shamir import PRIME, coefficients, combine, element, split

from .secagg_fleet import Entropy

_SECRETS = st.binary(min_size=32, max_size=32)
_POINTS = st.lists(st.integers(1, 1200), min_size=2, max_size=12, unique=True)


def at_zero(shares: dict[int, int]) -> int:
    """Interpolate by the formula of the textbook: exact fractions, reduced at the very end."""
    total = Fraction(0)
    for point, value in shares.items():
        term = Fraction(value)
        for other in shares.keys() - {point}:
            term *= Fraction(-other, point - other)
        total += term
    return total.numerator * pow(total.denominator, -1, PRIME) % PRIME


def test_the_modulus_is_the_first_prime_above_all_secrets() -> None:
    def passes(n: int, base: int) -> bool:  # Miller and Rabin
        odd, twos = n - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        power = pow(base, odd, n)
        return power == 1 or any(pow(power, 1 << step, n) == n - 1 for step in range(twos))

    bases = [int.from_bytes(Entropy(f"base {at}")(32), "big") for at in range(40)]
    assert PRIME == 2**256 + 297
    assert all(passes(PRIME, base) for base in bases)
    assert not any(all(passes(n, base) for base in bases) for n in range(2**256 + 1, PRIME, 2))


@given(_SECRETS, _POINTS, st.randoms(use_true_random=False))
def test_any_threshold_of_shares_gives_the_secret_back(
    secret: bytes, points: list[int], rng: random.Random
) -> None:
    threshold = rng.randint(1, len(points))
    shares = dict(zip(points, split(secret, points, threshold, Entropy("split")), strict=True))
    some = dict(rng.sample(sorted(shares.items()), threshold))
    assert combine(some) == secret
    assert at_zero({point: element(share) for point, share in some.items()}) == int.from_bytes(
        secret, "big"
    )


def test_every_choice_of_shares_agrees_with_the_oracle() -> None:
    secret, points = bytes([255]) * 32, (1, 2, 7, 100, 1000)
    shares = dict(zip(points, split(secret, points, 3, Entropy("all")), strict=True))
    for size in (1, 2, 3, 4):
        for chosen in combinations(points, size):
            opened = combine({point: shares[point] for point in chosen})
            value = at_zero({point: element(shares[point]) for point in chosen})
            assert opened == (value.to_bytes(32, "big") if value < 2**256 else None)
            assert (opened == secret) is (size >= 3)


@given(_SECRETS, _SECRETS)
def test_fewer_shares_fit_every_secret(secret: bytes, other: bytes) -> None:
    points = [1, 2, 3, 4]
    shares = split(secret, points, 3, Entropy("fewer"))
    seen = {point: element(shares[point - 1]) for point in (2, 4)}
    # the polynomial of degree 2 through (0, other) and the two shares exists for any other secret
    third = at_zero({p - 3: v for p, v in {**seen, 0: int.from_bytes(other, "big")}.items()})
    completed = {point: shares[point - 1] for point in (2, 4)} | {3: third.to_bytes(33, "big")}
    assert combine(completed) == other


def test_shares_are_spread_over_the_field() -> None:
    entropy = Entropy("spread")
    tops = [
        split(bytes(32), [5], 1, entropy),
        *(split(bytes(32), [5, 6], 2, entropy) for _ in "ab"),
    ]
    assert tops[0] == [bytes(33)]  # a threshold of one hides nothing, hence is never chosen
    assert len({share for shares in tops[1:] for share in shares}) == 4


def test_weights_are_lagranges() -> None:
    points = (1, 3, 10, 88)
    assert [weight * 1 % PRIME for weight in coefficients(points)] == [
        at_zero({other: int(other == point) for other in points}) for point in points
    ]


@pytest.mark.parametrize("points", [[], [0, 1], [-1, 2], [3, 3]])
def test_points_that_would_show_the_secret_or_repeat_are_refused(points: list[int]) -> None:
    with pytest.raises(ValueError, match="points"):
        split(bytes(32), points, 1, Entropy("bad"))
    with pytest.raises(ValueError, match="points"):
        coefficients(tuple(points))


def test_what_is_no_secret_threshold_or_share_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        split(bytes(31), [1, 2], 2, Entropy("bad"))
    for threshold in (0, 3):
        with pytest.raises(ValueError, match="threshold"):
            split(bytes(32), [1, 2], threshold, Entropy("bad"))
    with pytest.raises(ValueError, match="another number of bytes"):
        split(bytes(32), [1, 2], 2, lambda n: bytes(n - 1))
    with pytest.raises(ValueError, match="increase"):
        coefficients((2, 1))
    for share in (bytes(32), bytes(34), PRIME.to_bytes(33, "big"), b"\xff" * 33):
        with pytest.raises(ValueError, match="a share is"):
            element(share)
    assert element((PRIME - 1).to_bytes(33, "big")) == PRIME - 1


def test_a_value_beyond_all_secrets_is_none() -> None:
    assert combine({1: (2**256).to_bytes(33, "big")}) is None
    assert combine({1: (2**256 - 1).to_bytes(33, "big")}) == b"\xff" * 32
