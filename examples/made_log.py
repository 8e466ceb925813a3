"""Write a raw ratings log whose truth is known, to try the tools for logs on: `python examples/made_log.py --out DIR`.

Items and users are drawn from the statistics in the package. Every user has an opinion of every item, chooses what to
rate by the popularity of the items and by that opinion, and is also shown a few items at random. Files in DIR:

    ratings.csv   user, item, rating, timestamp: what users chose to rate
    random.csv    the same columns: ratings of items that were shown at random
    items.csv     item, title, genres, year
    truth.npz     the world that the log was drawn from, for the same users and items
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from recsim_env import FittedWorld, read_log
from recsim_env.logs.fitting.population_statistics import draw_items, draw_users, load_statistics

_APPEAL, _LIKING = 1.0, 0.6
"""Weights of the popularity of an item, and of the user's opinion of it, in the choice of what to rate."""
_NUM_RANDOM = 2.0
"""Mean number of items that a user is shown at random."""
_FIRST_TIME, _DAY = 1_700_000_000, 86_400  # seconds
_ADJECTIVES = (
    *("Amber", "Broken", "Crimson", "Distant", "Eastern", "Falling", "Gentle", "Hidden", "Iron", "Lonely"),
    *("Midnight", "Northern", "Open", "Paper", "Quiet", "Restless", "Silent", "Tall", "Velvet", "Winter"),
)
_NOUNS = (
    *("Angel", "Bridge", "Captain", "Daughter", "Engine", "Forest", "Garden", "Harbour", "Island", "Journey"),
    *("King", "Letter", "Mirror", "Night", "Ocean", "Promise", "River", "Stranger", "Tower", "Voyage"),
)
_ENDINGS = ("", " Returns", " at Dawn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    parser.add_argument("--users", type=int, default=1_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--items", type=int, default=800, metavar="N", help="at most 1,200 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    options = parser.parse_args()
    if options.users < 20 or not 20 <= options.items <= len(_ADJECTIVES) * len(_NOUNS) * len(_ENDINGS):
        parser.error("--users must be at least 20, and --items between 20 and 1,200")
    write_log(options.out, options.users, options.items, np.random.default_rng(options.seed))


def write_log(folder: Path, num_users: int, num_items: int, generator: np.random.Generator) -> None:
    """Draw the world and the ratings, and write the four files.

    Args:
        folder: made if it does not exist.
        num_users: U, at least 20.
        num_items: I, at least 20; items that no user chose to rate are in the items file alone.
        generator: source of all draws.
    """
    statistics = load_statistics()
    items, users = draw_items(statistics, num_items, generator), draw_users(statistics, num_users, generator)
    item_ids = np.array([f"m{number:04d}" for number in generator.permutation(10_000)[:num_items]])
    user_ids = np.array([f"u{number:05d}" for number in generator.permutation(100_000)[:num_users]])
    arrivals = _FIRST_TIME + generator.uniform(0, 300 * _DAY, num_users)

    # [U, I]: how each user would rate each item, and whether it is rated.
    affinity = users.interests @ items.item_factors.T + items.quality
    noise = generator.standard_normal(affinity.shape)
    opinions = users.rating_bias[:, None] + users.rating_scale[:, None] * (affinity + noise)
    ratings = statistics.rating_levels[np.searchsorted(statistics.rating_cuts, opinions)].astype(int)
    attraction = _APPEAL * items.appeal + _LIKING * (affinity + noise) + generator.gumbel(size=affinity.shape)
    num_ratings = np.clip(generator.lognormal(3.4, 0.7, num_users), 8, num_items // 2).astype(int)
    is_chosen = (-attraction).argsort(1).argsort(1) < num_ratings[:, None]
    is_random = ~is_chosen & (generator.random(affinity.shape) < _NUM_RANDOM / num_items)

    folder.mkdir(parents=True, exist_ok=True)
    for name, is_rated in (("ratings.csv", is_chosen), ("random.csv", is_random)):
        rated_by, rated = np.nonzero(is_rated)
        times = (arrivals[rated_by] + generator.exponential(5 * _DAY, len(rated))).astype(int)
        columns = {"user": user_ids[rated_by], "item": item_ids[rated], "rating": ratings[is_rated]}
        pl.DataFrame({**columns, "timestamp": times}).sort("timestamp", "user", "item").write_csv(folder / name)
    titles = np.array([f"The {a} {noun}{end}" for end in _ENDINGS for a in _ADJECTIVES for noun in _NOUNS])
    described = {
        "item": item_ids,
        "title": generator.choice(titles, num_items, replace=False),
        "genres": ["|".join(items.topic_names[row > 0]) for row in items.item_topics],
        "year": np.rint(1995 + 30 * items.item_features[:, -1].astype(float)).astype(int),
    }
    pl.DataFrame(described).write_csv(folder / "items.csv")

    # In the order of the log, so that the splits of the true and of a fitted world hold the same items and users.
    log = read_log(folder / "ratings.csv", folder / "items.csv")
    rated = np.argsort(item_ids)[np.searchsorted(np.sort(item_ids), log.item_ids)]
    raters = np.argsort(user_ids)[np.searchsorted(np.sort(user_ids), log.user_ids)]
    truth = FittedWorld(
        item_factors=items.item_factors[rated],
        item_topics=log.item_topics,
        topic_names=log.topic_names,
        quality=items.quality[rated],
        appeal=items.appeal[rated],
        item_features=log.item_features,
        feature_names=log.feature_names,
        interests=users.interests[raters],
        rating_bias=users.rating_bias[raters],
        rating_scale=users.rating_scale[raters],
        user_profiles=log.user_profiles,
        profile_names=log.profile_names,
        item_ids=log.item_ids,
        titles=log.titles,
        num_item_ratings=np.bincount(log.items),
        user_ids=log.user_ids,
        num_user_ratings=np.bincount(log.users),
        rating_levels=statistics.rating_levels,
        rating_cuts=statistics.rating_cuts,
        selection=float(noise[is_chosen].mean()),
        fit_facts={"source": "made_log.py", "selection": "given"},
    )
    truth.save(folder / "truth.npz")
    print(f"{is_chosen.sum():,} chosen ratings with mean {ratings[is_chosen].mean():.2f}")
    print(f"{is_random.sum():,} ratings at random with mean {ratings[is_random].mean():.2f}")
    print(f"mean of the ratings of all items by all users: {ratings.mean():.2f}")


if __name__ == "__main__":
    main()
