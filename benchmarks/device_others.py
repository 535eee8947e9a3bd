"""Figures of ``ranking.py`` and ``browser.py`` as rows of the device's table."""

from typing import Any

from device_figure import Figure

_MS = "{:.3f} ms"


def ranking(rounds: int) -> list[Figure]:
    """Return the time of the first ten items beside plain numpy and ONNX Runtime."""
    import ranking as script  # noqa: PLC0415 it fixes the threads of numpy

    found = script.measure(rounds)
    small, large = (found[str(items)] for items in (script.SMALL, script.LARGE))
    accelerated = "top 10 of 100,000 items, accelerator"
    return [
        _turns("top 10 of 3,706 items", small, ("ours", "numpy"), "plain numpy", 2.0),
        _turns("top 10 of 100,000 int8 items", large, ("ours", "runtime"), "onnxruntime fp32", 1.5),
        _turns(accelerated, large, ("accelerated", "runtime"), "onnxruntime called bare", 1.5),
        _turns(accelerated, large, ("accelerated", "tuned-runtime"), "the same, tuned", 1.5),
    ]


def _turns(
    what: str, shown: dict[str, Any], pair: tuple[str, str], reference: str, most: float
) -> Figure:
    own, other = pair
    if own not in shown or other not in shown:
        return Figure(what=what, unit=_MS, value=None, note="onnxruntime is not installed")
    return Figure(
        what=what,
        unit=_MS,
        value=shown[own][0],
        reference=reference,
        beside=shown[other][0],
        by_turns=shown["ratios"][f"{own}/{other}"],
        relation="<=",
        target=most,
        of_ratio=True,
    )


def browser(loads: int) -> list[Figure]:
    """Return the browser client's size, time to ready and time of a list."""
    what = "browser client"
    try:
        import browser as script  # noqa: PLC0415 needs chromium

        found = script.measure(loads)
    except (ImportError, RuntimeError) as error:
        return [Figure(what=what, unit=_MS, value=None, note=f"not measured: {error}")]
    figures = [
        Figure(
            what=f"{what}: its one file",
            unit="{:,.0f} bytes",
            value=float(found["bytes"]),
            reference="compressed with gzip",
            beside=float(found["gzip_bytes"]),
            relation="<=",
            target=12_288.0,
        )
    ]
    for items in script.SIZES:
        page = found[str(items)]
        figures += [
            Figure(
                what=f"{what}: page to ready, {items:,} items",
                unit="{:.0f} ms",
                value=page["page_to_ready_ms"],
                reference="a page that does nothing",
                beside=page["page_alone_ms"],
            ),
            Figure(
                what=f"{what}: a list, {items:,} items, p95",
                unit="{:.2f} ms",
                value=page["list_p95_ms"],
            ),
        ]
    return figures
