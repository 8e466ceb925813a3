"""Write rliable_reference.json: rliable's statistics of artificial scores, against which ours are tested.

rliable depends on pandas, statsmodels and seaborn, so run it in a separate environment:

    python -m venv rl && rl/bin/pip install rliable==1.2.0 'pandas<3'
    rl/bin/python tests/benchmarks/analysis/rliable_reference.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rliable import library, metrics

NUM_TASKS, THRESHOLDS = 3, [0.1, 0.4, 0.5, 0.8]

cases = []
for num_x, num_y in ((2, 2), (5, 5), (10, 7)):
    generator = np.random.default_rng(num_x)
    x = np.round(generator.normal(0.5, 0.2, (num_x, NUM_TASKS)), 1)  # rounded: some runs are equal
    y = np.round(generator.normal(0.4, 0.2, (num_y, NUM_TASKS)), 1)
    profiles, _ = library.create_performance_profile({"x": x}, np.array(THRESHOLDS), reps=10)
    cases.append(
        {
            "x": x.tolist(),
            "y": y.tolist(),
            "interquartile_mean": metrics.aggregate_iqm(x),
            "optimality_gap": metrics.aggregate_optimality_gap(x, 1.0),
            "probability_of_improvement": metrics.probability_of_improvement(x, y),
            "profile": profiles["x"].tolist(),
        }
    )
result = {"rliable": version("rliable"), "thresholds": THRESHOLDS, "cases": cases}
Path(__file__).with_suffix(".json").write_text(json.dumps(result) + "\n")
