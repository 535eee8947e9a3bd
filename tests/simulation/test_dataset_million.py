"""A million devices: drawn in a minute, and memory follows what is read, not how many there are."""

import json
import subprocess
import sys

import pytest

_SCRIPT = """
import json, resource, time
from homebody_models.popularity import popularity_baseline
from homebody_models.split import leave_one_out
from homebody_simulation.datasets import load_dataset, summarise

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

found = {"imports": peak()}
start = time.process_time()
data = load_dataset("synthetic", devices=DEVICES, items=500)
found["draw_s"] = time.process_time() - start
start = time.process_time()
found["digest"] = data.interactions.digest()
split = leave_one_out(data.interactions)
found["popularity"] = float(popularity_baseline(split.train).max())
found["split_s"] = time.process_time() - start
found |= {"peak": peak(), "events": len(data.interactions.items)}
found |= {"evaluated": len(split.validation), "median": summarise(data).events_per_device.p50}
print(json.dumps(found | {"peak_of_summary": peak()}))
"""


def _measured(devices: int) -> dict[str, float]:
    """Draw, split and sum up a population in a process of its own."""
    script = _SCRIPT.replace("DEVICES", str(devices))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.slow  # half a minute of two cores, and 600 MB of the folder for temporary files
@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts peak memory in KiB")
def test_a_million_devices_are_drawn_in_a_minute_of_two_cores_within_700_mb() -> None:
    small, large = _measured(250_000), _measured(1_000_000)
    assert large["evaluated"] == 1_000_000
    assert large["median"] == small["median"] == 20
    assert large["draw_s"] < 120  # processor seconds: two cores for one minute
    assert large["split_s"] < 30
    used = large["peak"] - large["imports"]
    assert used < 700e6
    assert large["peak_of_summary"] - large["imports"] < 700e6
    # Columns of a device stay in memory, events do not: these alone are 16 bytes each.
    more_events = large["events"] - small["events"]
    assert used - (small["peak"] - small["imports"]) < 10 * more_events
