"""The laptop: data sets, populations, runtimes and the report of a simulated run."""
