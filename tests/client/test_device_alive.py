"""A device in a real process: several threads, no sockets, and a kill at any moment."""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from homebody_client.device import Device
from homebody_privacy.errors import ConsentMissingError

from .device_life import allow
from .device_shop import NOW, DemoShop, event, open_device

_ROOT = Path(__file__).resolve().parents[2]
BATCH = 512
PRODUCTS = ("TEA-01", "BREAD-01", "FRUIT-03", "COFFEE-02")


def test_four_threads_at_once_neither_fail_nor_wait_for_each_other_for_ever(
    shop: DemoShop, tmp_path: Path
) -> None:
    start = time.monotonic()

    def now() -> float:
        return NOW + time.monotonic() - start

    with open_device(shop, tmp_path / "p", now=now) as device:
        allow(device, leaving=True)
        crowd = Crowd(device)
        crowd.act(seconds=2.0)
        assert crowd.broken == []
        assert min(crowd.done.values()) > 0
        device.strength = 100
        device.consent.lift()
        device.consent.grant("recommend", features=["purchases"])
        assert device.record(event("BREAD-02", "purchase", event_id="last"))
        assert_sound(device)
    with open_device(shop, tmp_path / "p", now=now) as device:
        assert not device.problems
        assert_sound(device)


def assert_sound(device: Device) -> None:
    """See that rows, switches and lists agree."""
    held = {row.feature for row in device.knows()}
    assert held <= set(device.consent.open_features("recommend"))
    assert held
    assert device.recommend().personalised
    assert len(device.consent.receipts()) > 3


class Crowd:
    """Four threads that do what apps do."""

    def __init__(self, device: Device) -> None:
        """Keep the device."""
        self.device = device
        self.broken: list[BaseException] = []  # what no app may see
        self.done = dict.fromkeys(("record", "look", "decide", "remove"), 0)
        self._numbers = itertools.count()

    def act(self, *, seconds: float) -> None:
        """Let them work."""
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._loop, args=(name, end)) for name in self.done]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds + 20.0)
        assert not any(thread.is_alive() for thread in threads)

    def record(self, number: int) -> None:
        """Tell of an event."""
        product = PRODUCTS[number % len(PRODUCTS)]
        self.device.record(event(product, "purchase", event_id=f"e{number}"))

    def look(self, _: int) -> None:
        """Ask for everything."""
        assert len(self.device.recommend()) == 10
        self.device.why("TEA-02")
        self.device.knows()
        self.device.export_data()

    def decide(self, _: int) -> None:
        """Move the switches."""
        device, consent = self.device, self.device.consent
        consent.withdraw("recommend")
        consent.grant("recommend", features=["purchases"])
        consent.grant("training", features=["purchases"])
        consent.restrict()
        consent.lift()
        device.tick()

    def remove(self, number: int) -> None:
        """Take things away."""
        self.device.forget("TEA-01")
        self.device.react("BREAD-01", "like")
        self.device.strength = number % 101
        if self.done["remove"] % 5 == 0:
            self.device.erase()

    def _loop(self, name: str, end: float) -> None:
        work = getattr(self, name)
        while time.monotonic() < end:
            try:
                work(next(self._numbers))
            except ConsentMissingError:  # a switch that another thread has just moved
                pass
            except Exception as error:  # noqa: BLE001 - whatever it is, the test tells
                self.broken.append(error)
            self.done[name] += 1


OFFLINE = """
import sys
from pathlib import Path
seen = []
def watch(name, args):
    if name.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.posix", "os.fork")):
        seen.append(name)
sys.addaudithook(watch)
sys.path.insert(0, sys.argv[1])
from tests.client.device_life import allow, live
from tests.client.device_shop import DemoShop, event, open_device
profile, config, bundle, catalog, key = map(Path, sys.argv[2:])
shop = DemoShop(config=config, bundle=bundle, catalog=catalog, key=key)
with open_device(shop, profile) as device:
    allow(device, leaving=True)
    live(device)
    for number in range(1000):
        answer = device.recommend(10, hour=number % 24)
        assert len(answer) == 10 and answer.personalised
        if number % 50 == 0:
            device.record(event("FRUIT-01", user="person-77341", minute=number // 50))
            device.why("TEA-02")
    device.export_data()
    device.check_in(idle=True, charging=True, unmetered=True)
    device.erase()
heavy = {"torch", "opacus", "flwr", "pandas", "scipy", "onnxruntime", "http.server", "asyncio"}
print(seen, sorted(heavy & set(sys.modules)))
"""


def test_s68_s39_cr_21_thousand_lists_open_no_socket_and_start_no_process(
    shop: DemoShop, tmp_path: Path
) -> None:
    done = child(OFFLINE, shop, tmp_path / "p")
    assert done.stdout.splitlines()[-1] == "[] []"


def child(
    code: str, shop: DemoShop, profile: Path, *more: str
) -> "subprocess.CompletedProcess[str]":
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments(shop, profile), *more],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )


def arguments(shop: DemoShop, profile: Path) -> list[str]:
    """Return what a child is told."""
    return [str(p) for p in (_ROOT, profile, shop.config, shop.bundle, shop.catalog, shop.key)]


LIVES = """
import itertools, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.client.device_shop import DemoShop, event, open_device
profile, config, bundle, catalog, key = map(Path, sys.argv[2:7])
begin = int(sys.argv[7])
shop = DemoShop(config=config, bundle=bundle, catalog=catalog, key=key)
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
with open_device(shop, profile) as device:
    assert not device.problems, device.problems
    consent = device.consent
    consent.set_age_band("18_plus")
    say("open", *consent.open_features("recommend"), "|", *consent.open_features("training"))
    say("knows", *sorted(str(row.values["product_id"]) for row in device.knows()))
    if not consent.open_features("recommend"):
        say("granting recommend")
        consent.grant("recommend", features=["purchases", "tastes"])
        say("granted recommend")
    for number in itertools.count(begin):
        said = event(f"ITEM-{number}", "purchase", minute=number % 60)
        device.record({**said, "event_id": str(number)})
        say("recorded", number)
        if number % 5 == 4:
            say("granting training")
            consent.grant("training", features=["purchases"])
            say("granted training")
        if number % 7 == 6:
            say("withdrawing training")
            consent.withdraw("training")
            say("withdrawn training")
        if number % 40 == 39:
            say("withdrawing recommend")
            consent.withdraw("recommend")
            say("withdrawn recommend")
            say("granting recommend")
            consent.grant("recommend", features=["purchases", "tastes"])
            say("granted recommend")
        device.recommend(3)
"""


class Witness:
    """What a device that was killed had acknowledged."""

    def __init__(self) -> None:
        """Begin with a fresh device."""
        self.open = {"recommend": False, "training": False}
        self.unsure: set[str] = set()  # purposes whose change was under way
        self.recorded: list[int] = []
        self.last = -1

    def hear(self, line: str) -> None:
        """Take in what the child said."""
        what, *rest = line.split()
        if what == "recorded":
            self.last = int(rest[0])
            self.recorded.append(self.last)
        elif what in ("granting", "withdrawing"):
            self.unsure = {rest[0]}
            if what == "withdrawing" and rest[0] == "recommend":
                self.unsure.add("training")
        elif what in ("granted", "withdrawn"):
            self.unsure = set()
            self.open[rest[0]] = what == "granted"
            if line.strip() == "withdrawn recommend":
                self.open["training"] = False
                self.recorded = []

    def check(self, opened: str, knows: str) -> None:
        """Compare what the next process found with what was acknowledged."""
        recommend, _, training = opened.removeprefix("open").partition("|")
        found = {"recommend": bool(recommend.split()), "training": bool(training.split())}
        for purpose, is_open in found.items():
            if purpose not in self.unsure:
                assert is_open == self.open[purpose], f"{purpose} is {is_open}"
            self.open[purpose] = is_open
        kept = [int(word.removeprefix("ITEM-")) for word in knows.split()[1:]]
        assert len(kept) == len(set(kept))
        if not found["recommend"]:
            assert kept == []
            self.recorded = []
        if "recommend" not in self.unsure:
            lost = sorted(set(self.recorded) - set(kept))
            assert len(lost) <= BATCH
            assert lost == self.recorded[len(self.recorded) - len(lost) :]  # the last ones only
            assert len(set(kept) - set(self.recorded)) <= 1  # one may not have been said yet
        self.recorded = sorted(kept)
        self.unsure = set()


def lives(shop: DemoShop, profile: Path, deaths: int) -> int:
    """Let a child live and kill it, over and over; return how many events were recorded."""
    draw, witness = random.Random(24), Witness()  # noqa: S311 - moments of a kill
    for _ in range(deaths):
        arguments_ = [*arguments(shop, profile), str(witness.last + 2)]
        with subprocess.Popen(
            [sys.executable, "-c", LIVES, *arguments_], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            opened, knows = process.stdout.readline(), process.stdout.readline()
            assert knows.startswith("knows"), "it does not open any more"
            witness.check(opened, knows)
            killer = threading.Timer(draw.uniform(0.0, 0.6), os.kill, (process.pid, signal.SIGKILL))
            killer.start()
            for line in process.stdout:
                if line.endswith("\n"):
                    witness.hear(line)
            process.wait()
            killer.join()
            assert process.returncode == -signal.SIGKILL
    return witness.last + 1


def test_s24_r17_killed_device_opens_again_loses_its_last_batch_at_most_and_no_no(
    shop: DemoShop, tmp_path: Path
) -> None:
    assert lives(shop, tmp_path / "p", deaths=3) > 0


@pytest.mark.slow
def test_s24_r17_device_killed_fifty_times(shop: DemoShop, tmp_path: Path) -> None:
    assert lives(shop, tmp_path / "p", deaths=50) > 50
