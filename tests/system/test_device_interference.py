"""CN-19, S29: what is shut makes no difference, down to the last bit of everything that comes out.

Devices that differ only in a feature group that is shut give the same lists, reasons, features,
updates and figures, with the two-tower model a fleet trains; kept shut from the start, they keep
the same rows.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homebody_client.demo.shop import Shop, write_shop
from homebody_client.device import Device
from homebody_client.local_model import DeviceModel
from homebody_models.interactions import Catalog
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.messages import Invitation, Question

NOW = 1_800_000_000
TASTES = 'allow = ["recommend"]\nfides_category'
MORE = """
[dp.blt]
theta = [0.9, 0.4]
omega = [0.3, 0.3]

[metrics.quality]
purpose = "metrics"
features = ["purchases", "tastes"]
noise_multiplier = 40.0
releases_per_run = 2

[metrics.history]
purpose = "metrics"
features = ["purchases", "tastes"]
noise_multiplier = 40.0
releases_per_run = 2
"""
BOUGHT = ("TEA-01", "BREAD-02", "COFFEE-01", "TEA-01", "FRUIT-03")
REACTIONS = st.lists(
    st.tuples(
        st.sampled_from(("TEA-02", "DAIRY-05", "SWEET-01", "BREAD-02", "PLANTED-1")),
        st.sampled_from(("like", "dislike", "dismiss", "rating")),
    ),
    max_size=5,
)
Reactions = list[tuple[str, str]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Return the shop, with tastes that may leave, too."""
    shop = write_shop(tmp_path_factory.mktemp("shop"), now=NOW - 10)
    text = shop.config.read_text("utf-8")
    assert TASTES in text
    before, tastes, after = text.partition("[features.tastes]")
    everything = TASTES.replace('["recommend"]', '["recommend", "training", "metrics"]')
    text = (before + tastes + after.replace(TASTES, everything, 1)).replace(
        "[dp]\n", "[dp]\nnoise_multiplier = 3.0\n"
    )
    shop.config.write_text(text + MORE, "utf-8")
    assert everything in text
    return shop


class Twin:
    """One of the devices that are compared."""

    def __init__(self, shop: Shop, profile: Path) -> None:
        """Open a fresh profile."""
        self.device = Device.open(
            profile,
            config=shop.config,
            bundle=shop.bundle,
            catalog=shop.catalog,
            trusted_key=shop.key,
            now=lambda: float(NOW),
        )
        assert not self.device.problems
        self.device.consent.set_age_band("18_plus")
        self.config = PrivacyConfig.load(shop.config)

    def allow(self, *features: str) -> None:
        """Say yes to everything, for these feature groups."""
        for purpose in ("recommend", "training", "metrics"):
            self.device.consent.grant(purpose, features=features)

    def buy(self) -> None:
        """Record purchases, the same on every twin."""
        for minute, product in enumerate(BOUGHT):
            assert self.device.record(said(product, "purchase", minute))

    def react(self, reactions: Reactions) -> None:
        """Record what differs."""
        for minute, (product, kind) in enumerate(reactions):
            more = {"rating": minute % 6} if kind == "rating" else {}
            self.device.record({**said(product, kind, 30 + minute), **more})

    def out(self) -> dict[str, object]:
        """Return everything that comes out of the device but the random id of a list."""
        device = self.device
        moment: Any = {"hour": 9, "device": "mobile"}
        answers = [
            device.recommend(60, surface=surface, product_id=beside, **moment)
            for surface, beside in (("home", None), ("product", "TEA-02"), ("cart", None))
        ]
        lists = [replace(answer, recommendation_id="") for answer in answers]
        reasons = {p: device.why(p) for p in ("TEA-02", "DAIRY-05", "SWEET-01", "BREAD-02")}
        return {
            "lists": lists,
            "reasons": reasons,
            "features": repr(sorted(device.features().items())),
            "sent": self._sent(),
        }

    def _sent(self) -> dict[str, bytes]:
        catalog = self.device.catalog
        assert catalog is not None
        ids = catalog.items
        known = Catalog(
            ids=ids,
            titles=ids,
            categories=("",) * len(ids),
            features=np.zeros((len(ids), 0), np.float32),
            feature_names=(),
        )
        model = ModelSpec("two-tower", {"dim": 4, "cuts": 2}).build(known)
        local = DeviceModel(config=self.config, model=model, catalog=known, example_key=bytes(32))
        parameters = model.init(np.random.default_rng(0))
        self.device.check_in(idle=True, charging=True, unmetered=True)
        taking = self.device.participant(local)
        asked: Any = {"run": "r", "devices": (0,), "config_digest": self.config.digest()}
        update = taking.update(Invitation(round=1, **asked), parameters)
        assert update.any()
        return {
            "update": update.tobytes(),
            **{
                name: taking.figures(Question(round=1, metric=name, **asked), parameters).tobytes()
                for name in self.config.metrics
            },
        }

    def kept(self) -> list[object]:
        """Return what the store holds, in the clear."""
        return [(row.row, row.feature, row.at, row.values) for row in self.device.knows()]


def said(product: str, kind: str, minute: int) -> dict[str, object]:
    """Return an event."""
    at = f"2027-01-15T07:{minute:02d}:00Z"
    return {"user_id": "12345", "event": kind, "product_id": product, "timestamp": at}


Life = Callable[[Twin, Reactions], None]


def shut_from_the_start(twin: Twin, reactions: Reactions) -> None:
    """Never allow tastes."""
    twin.allow("purchases")
    twin.react(reactions[:2])
    twin.buy()
    twin.react(reactions[2:])


def narrowed(twin: Twin, reactions: Reactions) -> None:
    """Allow tastes, live, and take them back."""
    twin.allow("purchases", "tastes")
    twin.react(reactions)
    twin.buy()
    twin.device.recommend()
    twin.device.features()
    twin.allow("purchases")


def withdrawn_for_what_leaves(twin: Twin, reactions: Reactions) -> None:
    """Keep tastes for lists alone: what is sent must not know them."""
    twin.allow("purchases", "tastes")
    twin.buy()
    twin.react(reactions)
    for purpose in ("training", "metrics"):
        twin.device.consent.grant(purpose, features=["purchases"])


def twins(shop: Shop, folder: Path, life: Life, *many: Reactions) -> list[Twin]:
    """Return devices that lived the same life but for these reactions."""
    found = []
    for number, reactions in enumerate(many):
        twin = Twin(shop, folder / str(number))
        life(twin, reactions)
        found.append(twin)
    return found


LOUD: Reactions = [("TEA-02", "like"), ("BREAD-02", "dislike"), ("SWEET-01", "rating")]


@pytest.mark.parametrize("life", [shut_from_the_start, narrowed])
def test_cn_19_s29_shut_feature_makes_no_difference(shop: Shop, tmp_path: Path, life: Life) -> None:
    one, other, third = twins(shop, tmp_path, life, LOUD, [], LOUD[::-1])
    before = one.out()
    assert before == other.out() == third.out()
    assert [key for key, _ in sorted(before.items())] == ["features", "lists", "reasons", "sent"]
    if life is shut_from_the_start:
        assert one.kept() == other.kept() == third.kept()
        sizes = {(tmp_path / name / "store.sqlite").stat().st_size for name in "012"}
        assert len(sizes) == 1
    for twin in (one, other, third):
        twin.device.close()


def test_cn_19_feature_kept_for_lists_alone_is_in_nothing_that_is_sent(
    shop: Shop, tmp_path: Path
) -> None:
    one, other = twins(shop, tmp_path, withdrawn_for_what_leaves, LOUD, [])
    left, right = one.out(), other.out()
    assert left["sent"] == right["sent"]
    assert left["lists"] != right["lists"]
    for twin in (one, other):
        twin.device.close()


def test_comparison_sees_a_feature_that_is_open(shop: Shop, tmp_path: Path) -> None:
    def open_to_all(twin: Twin, reactions: Reactions) -> None:
        twin.allow("purchases", "tastes")
        twin.buy()
        twin.react(reactions)

    one, other = twins(shop, tmp_path, open_to_all, LOUD, [])
    left, right = one.out(), other.out()
    assert left["lists"] != right["lists"]
    assert left["reasons"] != right["reasons"]
    sent: Any = (left["sent"], right["sent"])
    assert sent[0]["update"] != sent[1]["update"]
    for twin in (one, other):
        twin.device.close()


@pytest.mark.slow
@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(reactions=REACTIONS, late=st.booleans())
def test_cn_19_whatever_the_shut_feature_holds(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory, reactions: Reactions, *, late: bool
) -> None:
    life = narrowed if late else shut_from_the_start
    one, other = twins(shop, tmp_path_factory.mktemp("twins"), life, reactions, [])
    assert one.out() == other.out()
    for twin in (one, other):
        twin.device.close()
