"""The benchmark: who recommends best, by how much, and how sure one can be. Run `python -m benchmarks --help`."""
