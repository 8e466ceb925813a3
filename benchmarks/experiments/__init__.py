"""Experiments beyond the suites, one script each: `python -m benchmarks.experiments.NAME --help`.

`gpu_headline` and `scaling` fit on one 80 GB data-centre GPU and need no network; with `--device cpu` and small sizes
the same code runs anywhere.
"""
