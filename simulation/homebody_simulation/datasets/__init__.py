"""Data sets of the simulation: one loader each, found by name."""

from homebody_simulation.datasets.loader import BadRow, Dataset, Loader, PlantedTruth
from homebody_simulation.datasets.registry import LOADERS, load_dataset
from homebody_simulation.datasets.summary import Summary, summarise

__all__ = [
    "LOADERS",
    "BadRow",
    "Dataset",
    "Loader",
    "PlantedTruth",
    "Summary",
    "load_dataset",
    "summarise",
]
