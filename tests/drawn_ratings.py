"""A ratings log drawn from the rating model itself: 150 users, 120 items, about 7,000 ratings."""

from pathlib import Path

import numpy as np
from text_logs import HEADER, write

NUM_USERS, NUM_ITEMS = 150, 120
TRUE_CUTS = np.array([-2.0, -1.0, 0.0, 1.2])


def true_parameters() -> dict[str, np.ndarray]:
    """Parameters of the rating model that the log is drawn from."""
    generator = np.random.default_rng(5)
    return {
        "bias": generator.normal(0.0, 0.5, NUM_USERS),
        "scale": np.exp(generator.normal(0.0, 0.4, NUM_USERS)),
        "interests": generator.standard_normal((NUM_USERS, 2)),
        "factors": generator.normal(0.0, 0.5, (NUM_ITEMS, 2)),
        "quality": generator.normal(0.0, 0.7, NUM_ITEMS),
    }


def write_drawn_ratings(path: Path) -> Path:
    """Write the log as delimited text."""
    truth, generator = true_parameters(), np.random.default_rng(6)
    users, items = np.nonzero(generator.random((NUM_USERS, NUM_ITEMS)) < np.linspace(0.1, 0.7, NUM_ITEMS))
    worth = (truth["interests"][users] * truth["factors"][items]).sum(1) + truth["quality"][items]
    noise = generator.standard_normal(len(users))
    opinion = truth["bias"][users] + truth["scale"][users] * (worth + noise)
    ratings = 1 + (opinion[:, None] > TRUE_CUTS).sum(1)
    times = generator.permutation(len(users))
    rows = [f"u{u},i{i},{r},{t}\n" for u, i, r, t in zip(users, items, ratings, times, strict=True)]
    return write(path, HEADER + "".join(rows))
