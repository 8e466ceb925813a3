"""Sampled scenarios."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_env import LIFETIMES, SCENARIOS
from recsim_env.config import SECTIONS, Scenario
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.scenario_sampling import (
    MECHANISMS,
    NUM_AVAILABLE,
    NUM_RESERVED,
    RANGES,
    SAMPLE_SPLITS,
    Range,
    sample_scenario,
)

FITTED = ("MovieLens", "Ratings")
"""Scenarios whose items and users come from a log, so that most of their `catalog` and `population` has no effect."""


def test_a_seed_gives_the_same_scenario_again_and_another_seed_or_family_another_one():
    assert sample_scenario(3) == sample_scenario(3)
    drawn = [sample_scenario(seed, split) for seed in range(5) for split in SAMPLE_SPLITS]
    assert len({dataclasses.replace(each, name="") for each in drawn}) == len(drawn)


@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=200, deadline=None)
def test_every_coefficient_lies_in_its_range_or_has_the_default_of_a_mechanism_that_is_off(seed):
    scenario = sample_scenario(seed)
    for section, ranges in RANGES.items():
        for name, each in ranges.items():
            if (section, name) != ("session", "session_length") or scenario.lifetime.num_days == 0:
                assert each.low <= getattr(getattr(scenario, section), name) <= each.high
    for _, ranges in MECHANISMS.values():
        for section, of_section in ranges.items():
            values, defaults = getattr(scenario, section), SECTIONS[section]()
            for name, each in of_section.items():
                value = getattr(values, name)
                assert each.low <= value <= each.high or value == getattr(defaults, name) or value == 0.0


@pytest.mark.parametrize("name", [*SCENARIOS, *LIFETIMES])
def test_the_ranges_hold_every_preset_in_their_interior(name):
    preset = (SCENARIOS | LIFETIMES)[name]
    is_fitted = name.removesuffix("Lifetime") in FITTED
    for section, ranges in RANGES.items():
        if is_fitted and section in ("catalog", "population"):
            continue
        for field, each in ranges.items():
            if not (section == "session" and preset.lifetime.num_days > 0):
                assert_inside(each, preset, section, field)
    for _, ranges in MECHANISMS.values():
        for section, of_section in ranges.items():
            for field, each in of_section.items():
                if getattr(getattr(preset, section), field) != getattr(SECTIONS[section](), field):
                    assert_inside(each, preset, section, field)
    catalog = preset.catalog
    assert NUM_AVAILABLE.low < catalog.arrivals_per_step * catalog.item_lifetime < NUM_AVAILABLE.high


def assert_inside(each: Range, preset: Scenario, section: str, field: str) -> None:
    value = getattr(getattr(preset, section), field)
    is_limit = value in (0.0, 1.0) and value in (each.low, each.high)  # of the field itself
    assert each.low < value < each.high or is_limit or value == 0.0, f"{section}.{field}={value}"


def test_each_mechanism_is_in_about_its_share_of_the_scenarios():
    drawn = [sample_scenario(seed) for seed in range(400)]
    shares = {
        "shop": np.mean([each.behaviour.is_shop for each in drawn]),
        "creators": np.mean([each.catalog.num_creators > 1 for each in drawn]),
        "moods": np.mean([each.population.num_moods > 1 for each in drawn]),
        "visits": np.mean([each.lifetime.num_days > 0 for each in drawn]),
    }
    for mechanism, share in shares.items():
        probability = MECHANISMS[mechanism][0]
        assert abs(share - probability) < 4.0 * np.sqrt(probability * (1.0 - probability) / len(drawn)), mechanism


def test_no_sampled_scenario_is_a_preset_and_no_two_share_people_or_items():
    scenarios = [sample_scenario(seed, split) for seed in range(2) for split in SAMPLE_SPLITS]
    assert not {each.name for each in scenarios} & set(SCENARIOS | LIFETIMES)
    worlds = [RecommenderVectorEnv(1, each).simulator.world for each in scenarios]
    people = [set(world.users.rating_bias.tolist()) for world in worlds]
    items = [set(world.items.quality.tolist()) for world in worlds]
    for sets in (people, items):
        assert len(set.union(*sets)) == sum(map(len, sets))


def test_reserved_families_have_few_seeds_and_errors_say_so():
    sample_scenario(NUM_RESERVED - 1, "test")
    for split in ("validation", "test"):
        with pytest.raises(ValueError, match=r"^seed=64: must be a whole number in \[0, 63\]$"):
            sample_scenario(NUM_RESERVED, split)
    with pytest.raises(ValueError, match=r"^split='tset': unknown; did you mean 'test'\?"):
        sample_scenario(0, "tset")


def test_sessions_can_be_played_to_their_end_in_sampled_scenarios():
    for seed in range(6):
        env = RecommenderVectorEnv(4, sample_scenario(seed), split="train", observation="compact")
        env.reset(seed=0)
        env.action_space.seed(0)
        is_running, num_steps = np.ones(4, np.bool_), 0
        while is_running.any():
            _, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
            assert np.isfinite(rewards).all()
            is_running, num_steps = is_running & ~(terminated | truncated), num_steps + 1
        assert num_steps <= env.simulator.config.session_length
