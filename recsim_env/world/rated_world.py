"""Items and users with measured tastes: those of a ratings log, or new ones drawn from its statistics.

Shape legend: I items, N users.
"""

import numpy as np

from recsim_env.config import PopulationConfig
from recsim_env.logs import FittedWorld
from recsim_env.logs.population_statistics import DrawnItems, DrawnUsers
from recsim_env.world.catalog import Items
from recsim_env.world.population import Users, draw_traits


def half(size: int, split: str, generator: np.random.Generator) -> np.ndarray:
    """Indices below `size`, ascending: all of them, or a random half that `train` and `test` do not share."""
    if split == "all":
        return np.arange(size)
    return np.sort(generator.permutation(size)[0 if split == "train" else 1 :: 2])


def items_of(source: FittedWorld | DrawnItems, chosen: np.ndarray) -> Items:
    """The chosen items of a log in its order of arrival, or drawn items; titles are the log's where it has any."""
    titles = getattr(source, "titles", None)

    def title(item: int) -> str:
        if titles is not None:
            return str(titles[chosen[item]])
        topics = np.flatnonzero(source.item_topics[chosen[item]])
        return f"Film {item + 1} ({', '.join(str(source.topic_names[k]) for k in topics)})"

    return Items(
        factors=source.item_factors[chosen],
        topics=source.item_topics[chosen],
        quality=source.quality[chosen],
        appeal=source.appeal[chosen],
        prices=np.zeros(len(chosen)),
        creators=np.zeros(len(chosen), np.int64),
        features=source.item_features[chosen],
        feature_names=tuple(str(name) for name in source.feature_names),
        topic_names=tuple(str(name) for name in source.topic_names),
        title=title,
    )


def users_of(
    source: FittedWorld | DrawnUsers, chosen: np.ndarray, config: PopulationConfig, generator: np.random.Generator
) -> Users:
    """The chosen users; patience and the like, of which a log says nothing, are drawn from the config."""
    return Users(
        interests=source.interests[chosen],
        rating_bias=source.rating_bias[chosen],
        rating_scale=source.rating_scale[chosen],
        **draw_traits(config, len(chosen), generator),
        profiles=source.user_profiles[chosen],
        profile_names=tuple(str(name) for name in source.profile_names),
    )
