"""A world small enough to compute by hand: three candidates, three interest factors, two topics, creators and moods.

All tests share these sizes, because each new set of sizes is compiled again.
"""

import numpy as np

from recsim_env.config import (
    BehaviourConfig,
    CatalogConfig,
    LifetimeConfig,
    PopulationConfig,
    RewardConfig,
    Scenario,
    SessionConfig,
)
from recsim_env.simulation.observation import STATISTICS
from recsim_env.simulation.records import ITEM, NUM_REFRESHES, WorldSizes, dtypes
from recsim_env.simulation.simulator import Simulator
from recsim_env.world.catalog import Items
from recsim_env.world.population import Users, user_records
from recsim_env.world.world import World

SIZES = WorldSizes(num_factors=3, num_topics=2, num_creators=2, num_moods=2, num_content_features=4)
CERTAIN = 50.0  # a utility, or a logit, that leaves nothing to chance


def make_simulator(
    *,
    num_sessions: int = 1,
    factors=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    topics=((1.0, 0.0), (0.5, 0.5), (0.0, 1.0)),
    quality=(0.0, 0.0, 0.0),
    appeal=(0.0, 0.0, 0.0),
    prices=0.0,
    creators=0,
    release=None,
    retire=None,
    num_ratings: float = 10.0,
    interests=(0.1, 0.2, 0.3),
    patience: float = 5.0,
    receptiveness: float = 0.1,
    rating_bias: float = 0.0,
    rating_scale: float = 1.0,
    budget: float = 0.0,
    moods=((0.0, 0.0), (0.0, 0.0)),
    warm_share: float = 0.0,
    warm_steps: int = 20,
    repeat_share: float = 0.0,
    repeat_after: int = 0,
    choose_again_probability: float = 0.0,
    lifetime: LifetimeConfig = LifetimeConfig(),  # noqa: B008
    new_item_share: float = 0.0,
    new_item_age: int = 20,
    reward: RewardConfig = RewardConfig(),  # noqa: B008
    is_live: bool = False,
    num_threads: int = 1,
    slate_size: int = 1,
    num_candidates: int = 3,
    candidate_order: str = "random",
    candidates: str = "random",
    session_length: int = 50,
    **behaviour,
) -> Simulator:
    """Sessions of one person in a catalogue of a few items; by default nothing arrives or retires.

    Of item n of the catalogue the platform knows, once it is released, n's share of the way from .1 to .9 for each of
    its statistics, from `num_ratings` ratings.
    """
    num_items = len(quality)
    records = np.zeros(num_items, dtypes(SIZES)[ITEM])
    records["index"] = np.arange(num_items)
    records["factors"], records["topics"] = factors, topics
    records["quality"], records["appeal"] = quality, appeal
    records["price"], records["creator"] = prices, creators
    records["release_step"] = 0 if release is None else release
    records["retire_step"] = np.iinfo(np.int64).max if retire is None else retire
    items = Items(
        factors=records["factors"],
        topics=records["topics"],
        quality=records["quality"],
        appeal=records["appeal"],
        prices=records["price"],
        creators=records["creator"],
        observed_topics=np.maximum(records["topics"], 0.0),
        features=np.linspace(-0.9, 0.9, num_items * 4, dtype=np.float32).reshape(num_items, 4),
        feature_names=("one", "two", "three", "four"),
        topic_names=("left", "right"),
        title=lambda item: f"Item {item}",
    )
    users = Users(
        interests=np.array([interests], np.float64),
        rating_bias=np.array([rating_bias]),
        rating_scale=np.array([rating_scale]),
        patience=np.array([patience]),
        receptiveness=np.array([receptiveness]),
        budget=np.array([budget]),
        profiles=np.full((1, 3), 0.5, np.float32),
        profile_names=("a", "b", "c"),
    )
    scenario = Scenario(
        name="Tiny",
        source="synthetic",
        catalog=CatalogConfig(
            item_lifetime=10,
            num_creators=SIZES.num_creators,
            repeat_share=repeat_share,
            repeat_after=repeat_after,
            new_item_share=new_item_share,
            new_item_age=new_item_age,
        ),
        population=PopulationConfig(num_moods=SIZES.num_moods, warm_share=warm_share, warm_steps=warm_steps),
        behaviour=BehaviourConfig(choose_again_probability=choose_again_probability, **behaviour),
        reward=reward,
        lifetime=lifetime,
    )
    statistics = np.zeros((NUM_REFRESHES, num_items, len(STATISTICS) + 1), np.float32)
    statistics[1:, :, : len(STATISTICS)] = np.linspace(0.1, 0.9, num_items)[None, :, None]
    statistics[1:, :, len(STATISTICS)] = num_ratings
    world = World(
        scenario=scenario,
        items=items,
        users=users,
        sizes=SIZES,
        item_records=records,
        item_statistics=statistics,
        user_records=user_records(users, SIZES),
        answer_variance=2.0,
        moods=np.array(moods, np.float64),
    )
    config = SessionConfig(
        num_candidates=num_candidates,
        history_length=4,
        slate_size=slate_size,
        session_length=session_length,
        candidate_order=candidate_order,
        candidates=candidates,
    )
    simulator = Simulator(world, config, num_sessions, num_threads=num_threads, is_live=is_live)
    start(simulator)
    return simulator


def start(simulator: Simulator, *, candidate_seed=0, user_seed=0, noise_seed=None) -> None:
    """Begin all sessions; only chance in the user's answers differs between them, unless seeds are given."""
    noise = np.arange(len(simulator)) if noise_seed is None else noise_seed
    seeds = np.stack(np.broadcast_arrays(candidate_seed, user_seed, noise), -1).astype(np.uint64)
    simulator.start(np.arange(len(simulator)), seeds)


def show(simulator: Simulator, *items: int) -> np.ndarray:
    """Show every session these items, top slot first; the outcomes. An item that is no candidate is an error."""
    candidates = simulator.sessions["candidates"]
    places = [np.argmax(candidates == item, axis=1) for item in items]
    for item, place in zip(items, places, strict=True):
        assert (np.take_along_axis(candidates, place[:, None], 1) == item).all()
    return simulator.step(np.stack(places, 1))
