"""What a GPU is wanted for: `python -m benchmarks.experiments.gpu_headline` and `python -m benchmarks.experiments.scaling`.

Each ends within its `--minutes` on one 80 GB data-centre GPU, needs no network, and appends result rows. With
`--device cpu` and small sizes the same code runs anywhere.
"""
