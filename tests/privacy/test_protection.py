"""``[dp]`` of privacy.toml: every rule of the promise, one by one."""

from collections.abc import Callable

import pytest

from homebody_privacy.blt import BltParameters, Participation
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import HomebodyError, InvalidFileError, PolicyViolationError

Load = Callable[..., PrivacyConfig]
STRATEGY = "[dp.blt]\ntheta = [0.9075]\nomega = [0.46736]\n"
RECORD = (
    "[dp.record]\nenabled = false\nmax_grad_norm = 1.0\nnoise_multiplier = 1.0\n"
    "sampling_rate = 0.1\n"
    "steps = 10\ndelta = 1e-4\n"
)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('sampling = "poisson"', 'sampling = "fixed"', r"dp\.sampling"),
        ('sampling = "poisson"', 'sampling = "none"', "must be poisson with gaussian"),
        ("amplification = true", "amplification = false", "must be true with gaussian"),
        ('mechanism = "gaussian"', 'mechanism = "none"', "nobody is protected"),
        ('mechanism = "gaussian"', 'mechanism = "blt"', "credit for secret coins needs"),
        ("min_separation = 1", "min_separation = 2", "is not drawn by a coin"),
        ("max_rounds_per_device = 100", "max_rounds_per_device = 99", "is not drawn by a coin"),
        ("cohort_cap = 150", "cohort_cap = 149", "must be at least 150"),
        ("cohort_cap = 150", "cohort_cap = 99", "cohort_cap must be at least cohort_size"),
        ("cohort_cap = 150", "cohort_cap = 32768", r"must stay below 2\*\*31"),
        ("rounds = 100", "rounds = 0", r"dp\.rounds"),
        ("min_separation = 1", "min_separation = 0", r"dp\.min_separation"),
        ("tuning_runs = 0", "tuning_runs = -1", r"dp\.tuning_runs"),
        ('tuning_data = "public"', 'tuning_data = "none"', r"dp\.tuning_data"),
    ],
)
def test_pf_11_premises_that_secret_coins_do_not_have_are_refused(
    load: Load, old: str, new: str, why: str
) -> None:
    with pytest.raises(HomebodyError, match=why) as refusal:
        load(old, new)
    assert refusal.value.exit_code in (2, 10)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('sampling = "none"', 'sampling = "poisson"', "takes no credit"),
        ("amplification = false", "amplification = true", "credit for secret coins"),
        ('mechanism = "blt"', 'mechanism = "gaussian"', "must be poisson"),
        ("min_separation = 25", "min_separation = 101", "must be at most rounds"),
        ("max_rounds_per_device = 4", "max_rounds_per_device = 0", r"dp\.max_rounds_per_device"),
        ("max_rounds_per_device = 4", "max_rounds_per_device = 5", "more than the 4 rounds"),
        ("cohort_cap = 150", "cohort_cap = 99", "at least cohort_size"),
    ],
)
def test_pf_11_premises_that_correlated_noise_does_not_have_are_refused(
    load_blt: Load, old: str, new: str, why: str
) -> None:
    with pytest.raises(HomebodyError, match=why) as refusal:
        load_blt(old, new)
    assert refusal.value.exit_code in (2, 10)


def test_correlated_noise_needs_no_room_above_the_cohort(load_blt: Load) -> None:
    assert load_blt("cohort_cap = 150", "cohort_cap = 100").dp.cohort_cap == 100


def test_participation_is_what_the_file_says(load: Load, load_blt: Load) -> None:
    assert load_blt().dp.participation == Participation(rounds=100, min_separation=25, max_rounds=4)
    assert load().dp.participation.joins == 100


def test_a_strategy_is_for_correlated_noise_alone_and_must_have_a_sensitivity(
    load: Load, load_blt: Load
) -> None:
    blt = load_blt(new=STRATEGY).dp.blt
    assert blt is not None
    assert blt.parameters() == BltParameters(theta=(0.9075,), omega=(0.46736,))
    assert load_blt().dp.blt is None
    with pytest.raises(PolicyViolationError, match="is the strategy of mechanism blt"):
        load(new=STRATEGY)
    for change in ("theta = [1.0]", "theta = [0.0]", "theta = []", "theta = [0.9, 0.8]"):
        with pytest.raises(PolicyViolationError, match=r"dp\.blt: has no known .*theta"):
            load_blt(new=STRATEGY.replace("theta = [0.9075]", change))
    for change in ("omega = [1.1]", "omega = [0.0]", "omega = [-0.1]"):
        with pytest.raises(PolicyViolationError, match=r"dp\.blt: has no known .*omega"):
            load_blt(new=STRATEGY.replace("omega = [0.46736]", change))
    with pytest.raises(InvalidFileError, match=r"dp\.blt\.theta\.0"):
        load_blt(new=STRATEGY.replace("0.9075", "nan"))


def test_pf_26_a_clip_norm_adapts_with_independent_noise_alone(load: Load, load_blt: Load) -> None:
    assert not load().dp.adaptive_clip
    assert load(new="adaptive_clip = true\n").dp.adaptive_clip
    with pytest.raises(PolicyViolationError, match="adaptive_clip: needs mechanism gaussian"):
        load_blt(new="adaptive_clip = true\n")
    with pytest.raises(InvalidFileError, match=r"dp\.adaptive_clip"):
        load(new="adaptive_clip = 1\n")


def test_pf_20_tuning_on_private_data_says_how_often(load: Load) -> None:
    private = 'tuning_data = "private"\ntuning_runs = {}'
    asked = 'tuning_data = "public"\ntuning_runs = 0'
    with pytest.raises(PolicyViolationError, match="tuning_runs: must say how many runs"):
        load(asked, private.format(0))
    assert load(asked, private.format(3)).dp.tuning_runs == 3
    assert load('tuning_data = "public"', 'tuning_data = "synthetic"').dp.tuning_runs == 0


@pytest.mark.parametrize(
    "line", ["noise_multiplier = 0.0", "device_epsilon_max = 0.0", "noise_multiplier = inf"]
)
def test_an_optional_figure_is_positive(load: Load, line: str) -> None:
    with pytest.raises(InvalidFileError, match=line.partition(" ")[0]):
        load(new=f"{line}\n")


def test_what_may_be_left_out_has_the_default_that_is_documented(load: Load) -> None:
    dp = load().dp
    assert (dp.noise_multiplier, dp.blt, dp.record, dp.device_epsilon_max) == (None,) * 4
    assert dp.lattice_bits == 16


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_grad_norm = 1.0", "max_grad_norm = 0.0"),
        ("noise_multiplier = 1.0", "noise_multiplier = 0.0"),
        ("sampling_rate = 0.1", "sampling_rate = 1.5"),
        ("sampling_rate = 0.1", "sampling_rate = 0.0"),
        ("steps = 10", "steps = 0"),
        ("delta = 1e-4", "delta = 1.0"),
        ("delta = 1e-4", "delta = 1e-4\nepsilon_max = 0.0"),
        ("enabled = false", "enabled = 1"),
    ],
)
def test_a_record_level_without_meaning_is_refused(load: Load, old: str, new: str) -> None:
    record = load(new=RECORD).dp.record
    assert record is not None
    assert (record.enabled, record.epsilon_max) == (False, None)
    field = new.splitlines()[-1].partition(" ")[0]
    with pytest.raises(InvalidFileError, match=rf"dp\.record\.{field}"):
        load(new=RECORD.replace(old, new))


@pytest.mark.parametrize("bits", [16, 20])
def test_pf_36_the_cap_and_the_lattice_fit_a_word_together(load: Load, bits: int) -> None:
    most = (2**31 - 1) >> bits
    text = f"cohort_cap = {{}}\nlattice_bits = {bits}"
    assert load("cohort_cap = 150", text.format(most)).dp.cohort_cap == most
    with pytest.raises(InvalidFileError, match="a sum fits 32 bits"):
        load("cohort_cap = 150", text.format(most + 1))
