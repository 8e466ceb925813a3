"""A world small enough to compute by hand: three candidates, three interest factors, two topics.

All tests share these sizes, because each new set of sizes is compiled anew.
"""

import numpy as np

from recsim_env.catalog import NUM_REFRESHES, Items
from recsim_env.config import BehaviourConfig, CatalogConfig, RewardConfig, Scenario, SessionConfig
from recsim_env.population import Users, user_records
from recsim_env.simulator import Simulator
from recsim_env.user_model import item_dtype
from recsim_env.world import World

CERTAIN = 50.0  # a utility, or a logit, that leaves nothing to chance


def make_simulator(
    *,
    num_sessions: int = 1,
    factors=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    topics=((1.0, 0.0), (0.5, 0.5), (0.0, 1.0)),
    quality=(0.0, 0.0, 0.0),
    appeal=(0.0, 0.0, 0.0),
    release=None,
    retire=None,
    interests=(0.1, 0.2, 0.3),
    patience: float = 5.0,
    receptiveness: float = 0.1,
    rating_bias: float = 0.0,
    rating_scale: float = 1.0,
    reward: RewardConfig = RewardConfig(),  # noqa: B008
    slate_size: int = 1,
    session_length: int = 50,
    **behaviour,
) -> Simulator:
    """Sessions of one person in a catalogue of a few items; by default nothing arrives or retires."""
    num_items = len(quality)
    records = np.zeros(num_items, item_dtype(3, 2))
    records["factors"], records["topics"] = factors, topics
    records["quality"], records["appeal"] = quality, appeal
    records["release_step"] = 0 if release is None else release
    records["retire_step"] = np.iinfo(np.int64).max if retire is None else retire
    items = Items(
        factors=records["factors"],
        topics=records["topics"],
        quality=records["quality"],
        appeal=records["appeal"],
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
        profiles=np.full((1, 3), 0.5, np.float32),
        profile_names=("a", "b", "c"),
    )
    scenario = Scenario(
        name="Tiny",
        source="synthetic",
        catalog=CatalogConfig(shelf_life=10),
        behaviour=BehaviourConfig(**behaviour),
        reward=reward,
    )
    statistics = np.zeros((NUM_REFRESHES, num_items, 3), np.float32)
    statistics[1:] = np.linspace(0.1, 0.9, num_items)[None, :, None]
    world = World(
        scenario=scenario,
        items=items,
        users=users,
        item_records=records,
        item_statistics=statistics,
        user_records=user_records(users),
    )
    config = SessionConfig(num_candidates=3, history_length=4, slate_size=slate_size, session_length=session_length)
    simulator = Simulator(world, config, num_sessions)
    start(simulator)
    return simulator


def start(simulator: Simulator, *, world_seed=0, user_seed=0, noise_seed=None) -> None:
    """Begin all sessions; only chance in the user's answers differs between them, unless seeds are given."""
    noise = np.arange(len(simulator)) if noise_seed is None else noise_seed
    seeds = np.stack(np.broadcast_arrays(world_seed, user_seed, noise), -1).astype(np.uint64)
    simulator.start(np.arange(len(simulator)), seeds)


def show(simulator: Simulator, *items: int) -> np.ndarray:
    """Show every session these items, top slot first; the outcomes. An item that is no candidate is an error."""
    candidates = simulator.sessions["candidates"]
    places = [np.argmax(candidates == item, axis=1) for item in items]
    for item, place in zip(items, places, strict=True):
        assert (np.take_along_axis(candidates, place[:, None], 1) == item).all()
    return simulator.step(np.stack(places, 1))
