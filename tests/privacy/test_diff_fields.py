"""Every field of the schema has a direction, and words; ``diff`` says them."""

import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from homebody.cli import run
from homebody_privacy.comparing.changes import changes
from homebody_privacy.comparing.difference import difference, difference_text
from homebody_privacy.comparing.fields import BOOKKEEPING, FIELDS, TABLES
from homebody_privacy.comparing.verdicts import Direction
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.planned import planned_loss
from homebody_privacy.variants import to_toml
from homebody_privacy.withdrawal_words import banned_words

from .config_edits import EXAMPLE, GONE, SAMPLED, edited

NEXT = {
    "revision": 13,
    "dp.noise_multiplier": 14.0,
    "aggregation.report_goal": 500,
    "features.tastes.allow": ["recommend", "training", "metrics"],
    "features.tastes.ttl_days": 90,
}


def leaves(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Return the path of every field, with ``*`` for names of tables."""
    for name, field in model.model_fields.items():
        yield from below(field.annotation, before + (field.alias or name))


def below(kind: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - an annotation
    table = inner(kind)
    if get_origin(kind) is dict:
        yield from below(get_args(kind)[1], f"{path}.*")
    elif table is not None:
        yield from leaves(table, f"{path}.")
    else:
        yield path


def inner(kind: Any) -> type[BaseModel] | None:  # noqa: ANN401 - an annotation
    """Return the table a field holds, if it holds one."""
    kinds = get_args(kind) if get_origin(kind) in {Union, types.UnionType} else (kind,)
    found = [one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)]
    return found[0] if found else None


def optional_tables(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Return the path of every table that may be missing or that has a name of its own."""
    for name, field in model.model_fields.items():
        path, kind = before + (field.alias or name), field.annotation
        if get_origin(kind) is dict:
            yield f"{path}.*"
            kind, path = get_args(kind)[1], f"{path}.*"
        table = inner(kind)
        if table is not None:
            if type(None) in get_args(kind):
                yield path
            yield from optional_tables(table, f"{path}.")


def test_cr_42_every_field_has_a_direction_and_no_unknown_one_has() -> None:
    assert {*FIELDS, *BOOKKEEPING} == set(leaves(PrivacyConfig))
    assert not set(FIELDS) & set(BOOKKEEPING)


def test_every_table_that_may_come_or_go_has_one_too() -> None:
    assert set(TABLES) == set(optional_tables(PrivacyConfig))


def test_what_may_get_weaker_says_why_people_are_asked_again() -> None:
    for path, meaning in FIELDS.items():
        steps = [*_steps(meaning.judge)]
        if Direction.WEAKER in steps:
            assert meaning.reason, path


def _steps(judge: Any) -> Iterator[Direction]:  # noqa: ANN401 - a judge
    words = ["none", "scc", "consent", "contract", "off", "on", "ordinary", "criminal", "user"]
    words += ["record", "blt", "lifetime", "run", "private", "public", "1.2", "1.3", "full"]
    words += ["dp_only_stop_future", "retrain_window", "second_key", ""]
    values: tuple[Any, ...] = (1, 2, *words)
    for old in values:
        for new in values:
            if isinstance(old, int) == isinstance(new, int) and old != new:
                yield from (step.direction for step in judge_of(judge, old, new))


def judge_of(judge: Any, old: Any, new: Any) -> Any:  # noqa: ANN401 - a judge and values
    try:
        return list(judge(old, new))
    except TypeError:  # a set
        return list(judge((old,), (new,)))


def test_cr_42_the_documented_difference_is_printed_to_the_letter() -> None:
    old, new = edited({}), edited(NEXT)
    told = difference(old, new, loss=planned_loss)
    assert difference_text(told).splitlines() == [
        "b9c4e58aa213 -> 728ca090ab38: 2 weaker, 2 stronger, 0 other",
        "  WEAKER   tastes may now also be used for metrics   (features.tastes.allow)",
        "  WEAKER   noise added to each round: 20 -> 14   (dp.noise_multiplier)",
        "  stronger days tastes is kept on the device: 180 -> 90   (features.tastes.ttl_days)",
        "  stronger fewest replies in a round: 300 -> 500   (aggregation.report_goal)",
        (
            "  effect   planned privacy loss 0.962 -> 1.382 a run; best guess 73 -> 80 in 100; "
            "runs to the cap 5 -> 3"
        ),
        "  people must be asked again: new_feature_use, weaker_dp",
        "  raise activity.policy_version (still 4): nobody would be asked again",
        "  all earlier approvals are void",
    ]


def test_a_file_that_means_the_same_voids_nothing() -> None:
    told = difference(edited({}), edited({"dp.lattice_bits": 16}), loss=planned_loss)
    assert (told.changes, told.problems, told.exit_code, told.voids_approvals) == ((), (), 0, False)


@pytest.mark.parametrize(
    ("edits", "problem"),
    [
        ({"activity.contact": "x@example.org"}, "revision must rise above 12"),
        ({"revision": 11}, "revision must rise above 12 (is 11)"),
        ({"revision": 13, "activity.policy_version": 3}, "policy_version may not fall"),
        ({"revision": 13, "activity.controller": "Other"}, "raise activity.policy_version"),
    ],
)
def test_a_file_may_not_follow_without_its_numbers_rising(
    edits: dict[str, object], problem: str
) -> None:
    told = difference(edited({}), edited(edits), loss=planned_loss)
    assert [one for one in told.problems if problem in one] == list(told.problems)
    assert told.exit_code == 10


def test_a_loss_that_rises_is_weaker_although_every_field_is_just_changed() -> None:
    alone = {**SAMPLED, "dp.budget_scope": "run"}
    sampled, larger = edited(alone), edited({**alone, "dp.cohort_size": 1050, "dp.delta": 1e-8})
    told = difference(sampled, larger, loss=planned_loss)
    assert [(one.path, str(one.direction)) for one in told.changes] == [
        ("planned loss", "WEAKER"),  # at one delta; at its own each file would say otherwise
        ("dp.delta", "stronger"),
        ("dp.cohort_size", "CHANGED"),
    ]
    assert told.ask_again == ("weaker_dp",)


def test_of_secret_cohorts_both_figures_are_compared() -> None:
    told = difference(edited({}), edited(SAMPLED), loss=planned_loss)
    effect = told.to_dict()["effect"]
    assert "planned privacy loss 0.962 -> 0.363 a run" in effect
    assert "for whoever sees who takes part 0.962 -> 119.813, 73 -> 100 in 100" in effect


def test_figures_that_lose_their_premise_are_not_printed() -> None:
    broken = edited({"dp.sampling": "poisson"})
    told = difference(edited({}), broken, loss=planned_loss)
    assert told.to_dict()["effect"] == "planned privacy loss 0.962 -> (none: DP-010 failed)"
    assert [str(one.direction) for one in told.changes] == ["WEAKER", "CHANGED"]
    assert told.new.figures is None


def test_no_text_of_a_change_says_what_may_not_be_said() -> None:
    texts = [m.what + m.gone for m in [*FIELDS.values(), *TABLES.values()]]
    assert banned_words("\n".join(texts)) == []
    assert all(len(text) > 5 for text in texts)


def test_an_item_that_comes_and_one_that_goes_are_told_apart() -> None:
    found = changes(edited({}), edited({"consent.signals": []}))
    assert [one.text for one in found] == [
        "the opt-out signal sec_gpc is not looked at",
        "the opt-out signal os_setting is not looked at",
    ]


def test_the_command_prints_both_formats_and_ends_with_10(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "next.toml"
    file.write_text(to_toml(edited(NEXT)), "utf-8")
    assert run(["diff", str(EXAMPLE), str(file)]) == 10
    assert "2 weaker, 2 stronger, 0 other" in capsys.readouterr().out
    assert run(["diff", str(EXAMPLE), str(file), "--format", "json"]) == 10
    told = json.loads(capsys.readouterr().out)
    assert told["ask_again"] == ["new_feature_use", "weaker_dp"]
    assert told["new"]["figures"]["epsilon"] == 1.382
    assert run(["diff", str(EXAMPLE), str(EXAMPLE)]) == 0
    file.write_text(to_toml(edited(NEXT | {"activity.policy_version": 5})), "utf-8")
    capsys.readouterr()
    assert run(["diff", str(EXAMPLE), str(file)]) == 0
    assert "policy_version 4 -> 5" in capsys.readouterr().out


def test_a_record_level_that_is_off_changes_nothing_for_anybody() -> None:
    (gone,) = changes(edited({}), edited({"dp.record": GONE}))
    assert (gone.direction, gone.reason) == (Direction.CHANGED, "")


def test_every_reason_to_ask_again_is_told_on_the_page_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    section = page[page.index("## homebody diff\n") :].partition("\n## ")[0]
    rows = section[section.index("| reason |") :].splitlines()[2:]
    told = {name for row in rows if row.startswith("| ") for name in re.findall(r"`(\w+)`", row)}
    assert told == {m.reason for m in [*FIELDS.values(), *TABLES.values()] if m.reason}
