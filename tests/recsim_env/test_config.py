"""Every field states its range and refuses values outside of it in one line; so do overrides."""

import dataclasses
import math

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recsim_env  # noqa: F401  (registers the ids)
from recsim_env.config import (
    SECTIONS,
    BehaviourConfig,
    CatalogConfig,
    LifetimeConfig,
    PopulationConfig,
    RewardConfig,
    Scenario,
    SessionConfig,
    check_number,
)
from recsim_env.scenarios import VIDEO

CONFIGS = (CatalogConfig, PopulationConfig, BehaviourConfig, RewardConfig, LifetimeConfig, SessionConfig)
EVERY_FIELD = [(config, field) for config in CONFIGS for field in dataclasses.fields(config)]
FIELDS = [(config, field) for config, field in EVERY_FIELD if "low" in field.metadata]
FLAGS = [(config, field) for config, field in EVERY_FIELD if field.metadata.get("kind") is bool]
any_field = st.sampled_from(FIELDS)


def name_in_errors(config, field) -> str:
    """Fields of a session are arguments of `make`, and named like these."""
    return field.name if config is SessionConfig else f"{config.__name__}.{field.name}"


def names_of(fields) -> list[str]:
    return [f"{config.__name__}.{field.name}" for config, field in fields]


def test_every_field_is_a_number_with_a_range_a_flag_or_the_rating_scale():
    others = set(names_of(EVERY_FIELD)) - set(names_of(FIELDS)) - set(names_of(FLAGS))
    scale = {"BehaviourConfig.rating_levels", "BehaviourConfig.rating_cuts"}
    assert others == {*scale, "SessionConfig.candidates", "SessionConfig.candidate_order"}
    assert len(FIELDS) > 60
    assert len(FLAGS) >= 2


@pytest.mark.parametrize(("config", "field"), FIELDS, ids=names_of(FIELDS))
def test_a_value_below_above_not_a_number_or_of_another_type_is_refused_by_name(config, field):
    low, high, kind = (field.metadata[name] for name in ("low", "high", "kind"))
    step = 1 if kind is int else 1e-3 * max(abs(high), 1.0)
    wrong = [low - step, high + step, math.nan, math.inf, -math.inf, "1", None, True, [low], np.array([low])]
    if kind is int:
        wrong += [float(low), low + 0.5]
    noun = "a whole number" if kind is int else "a number"
    for value in wrong:
        with pytest.raises(ValueError, match=rf"^{name_in_errors(config, field)}=") as refused:
            config(**{field.name: value})
        assert str(refused.value) == f"{name_in_errors(config, field)}={value!r}: must be {noun} in [{low}, {high}]"


@pytest.mark.parametrize(("config", "field"), FLAGS, ids=names_of(FLAGS))
def test_a_flag_is_true_or_false_and_nothing_else(config, field):
    assert all(getattr(config(**{field.name: value}), field.name) is value for value in (True, False))
    for value in (0, 1, 0.0, math.nan, None, "True", np.True_, []):
        with pytest.raises(ValueError, match=r"^[^\n]*$") as refused:
            config(**{field.name: value})
        assert str(refused.value) == f"{name_in_errors(config, field)}={value!r}: must be True or False"


def outside(low: float, high: float, kind: type):
    """Values that a field must refuse: beyond its range, no numbers, or not whole where it counts."""
    infinite = [math.nan, math.inf, -math.inf, np.nan, 10**400]
    no_numbers = [None, True, False, np.True_, "3", "", [], [1], (1.0,), {}, 1j, np.array([1.0]), np.array("x"), object]
    fractions = st.floats(low, high).filter(lambda value: not value.is_integer()) if kind is int else st.nothing()
    whole_floats = [float(low), np.float64(low)] if kind is int else []
    integers = st.integers(max_value=math.ceil(low) - 1) | st.integers(min_value=math.floor(high) + 1)
    floats = st.floats(max_value=low, exclude_max=True) | st.floats(min_value=high, exclude_min=True)
    return st.sampled_from(infinite + no_numbers + whole_floats) | integers | floats | fractions


@given(data=st.data())
@settings(max_examples=600, deadline=None, derandomize=True)
def test_each_field_refuses_what_is_outside_its_range_by_name_value_and_range(data):
    config, field = data.draw(any_field)
    low, high, kind = (field.metadata[name] for name in ("low", "high", "kind"))
    value = data.draw(outside(low, high, kind))
    with pytest.raises(ValueError, match=r"must be a (whole )?number in \[") as refused:
        config(**{field.name: value})
    message = str(refused.value)
    assert message.startswith(f"{name_in_errors(config, field)}={value!r}: ")
    assert message.endswith(f"[{low}, {high}]")
    assert "\n" not in message
    assert ("whole" in message) == (kind is int)


@given(data=st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_each_field_takes_all_of_its_range(data):
    config, field = data.draw(any_field)
    low, high, kind = (field.metadata[name] for name in ("low", "high", "kind"))
    values = st.integers(low, high) if kind is int else st.floats(low, high) | st.integers(math.ceil(low), int(high))
    value = data.draw(st.sampled_from([low, high]) | values)
    fixed = {"num_candidates": 1_000_000} if config is SessionConfig else {}
    if config is SessionConfig and field.name == "num_candidates":
        fixed = {"slate_size": 1}
    assert getattr(config(**(fixed | {field.name: value})), field.name) == value


def test_defaults_are_in_range_and_documented():
    for config, field in FIELDS:
        assert field.metadata["low"] <= field.default <= field.metadata["high"], field.name
        assert type(field.default) is field.metadata["kind"], (config, field.name)
    assert all(type(field.default) is bool for _, field in FLAGS)


@pytest.mark.parametrize("value", [np.int64(5), np.int32(5), np.uint8(5), 5])
def test_numbers_of_numpy_are_numbers(value):
    check_number("count", value, 1, 9, int)
    check_number("level", value, 1, 9)
    check_number("level", np.float32(5.5), 1, 9)


def test_configs_are_frozen_and_take_keywords_only():
    for config in CONFIGS:
        with pytest.raises(TypeError):
            config(1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            config().seed = 1
        with pytest.raises(TypeError):
            config(no_such_field=1)


@pytest.mark.parametrize(
    "cuts",
    [
        *[(1, 2, 3), (1, 2, 3, 4, 5), (0, 0, 1, 2), (3, 2, 1, 0), (0, 1, 2, math.nan), (math.nan, 0, 1, 2), ()],
        *[(0, 1, 2, math.inf), (-math.inf, 0, 1, 2), [0, 1, 2], "abcd", ("a", "b", "c", "d"), None, 3.0, {0: 1}],
        *[(0, 1, None, 3), (0, 1, 2, 1j), np.arange(4.0)],
    ],
)
def test_rating_cuts_are_ascending_and_one_fewer_than_the_ratings(cuts):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refused:
        BehaviourConfig(rating_cuts=cuts)
    message = f"BehaviourConfig.rating_cuts={cuts!r}: must be a tuple of 4 finite ascending numbers"
    assert str(refused.value) == message


@pytest.mark.parametrize("levels", [(1,), (), (0, 1), (1, 5.5), (2, 1), (1, 1), tuple(range(1, 13)), "ab", None])
def test_rating_levels_are_2_to_11_ascending_numbers_up_to_5(levels):
    with pytest.raises(
        ValueError, match=r"^BehaviourConfig.rating_levels=[^\n]* 2 to 11 ascending numbers above 0 and up"
    ):
        BehaviourConfig(rating_levels=levels, rating_cuts=(0.0,))


def test_a_scale_of_half_stars_has_nine_cuts():
    levels = tuple(0.5 * k for k in range(1, 11))
    assert BehaviourConfig(rating_levels=levels, rating_cuts=tuple(range(9))).rating_levels == levels
    with pytest.raises(ValueError, match="must be a tuple of 9 finite ascending numbers"):
        BehaviourConfig(rating_levels=levels)


def test_rating_cuts_may_be_a_list_as_in_json():
    assert BehaviourConfig(rating_cuts=[-1.0, 0.0, 1.0, 2.0]) == BehaviourConfig(rating_cuts=(-1.0, 0.0, 1.0, 2.0))


def test_rating_cuts_can_be_any_kind_of_number():
    cuts = (-1, 0.5, np.float64(1.0), np.int64(3))
    assert BehaviourConfig(rating_cuts=cuts).rating_cuts == cuts


@given(candidates=st.integers(2, 10), extra=st.integers(1, 8))
def test_a_slate_longer_than_the_list_of_candidates_is_refused(candidates, extra):
    slate = candidates + extra
    if slate > 10:
        return
    with pytest.raises(ValueError, match=f"^slate_size={slate}: must be at most num_candidates={candidates}$"):
        SessionConfig(slate_size=slate, num_candidates=candidates)


def test_an_unknown_source_is_refused():
    with pytest.raises(
        ValueError, match=r"^Scenario\.source='film': must be one of synthetic, ratings_log, statistics, replay, items$"
    ):
        Scenario(name="X", source="film")


def test_changing_one_value_of_a_preset_checks_it_again():
    with pytest.raises(ValueError, match=r"^session_length=1: must be a whole number in \[2, 100000\]$"):
        dataclasses.replace(SessionConfig(), session_length=1)


# Scenarios


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_of_a_scenario_is_a_config_of_its_kind(name):
    for wrong in ({}, None, 3, SECTIONS[name]):
        with pytest.raises(ValueError, match=rf"^Scenario\.{name}=.*: must be a {SECTIONS[name].__name__}$"):
            dataclasses.replace(VIDEO, **{name: wrong})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"populace": {}},
            "overrides['populace']: unknown; did you mean 'population'? Must be one of catalog, population, behaviour, "
            "reward, lifetime, session",
        ),
        ({"reward": 3}, "overrides['reward']=3: must be a dict of field names and values"),
        ({"reward": None}, "overrides['reward']=None: must be a dict of field names and values"),
        (
            {"reward": {"ratings": 1.0}},
            "overrides['reward']['ratings']: unknown; did you mean 'rating'? Must be one of rating, "
            "neutral_rating, click, consumption, purchase, retention, visit, active_day",
        ),
        ({"catalog": {"item_lifetime": 0}}, "CatalogConfig.item_lifetime=0: must be a whole number in [1, 1000000000]"),
        ({"population": {"warm_share": 1.5}}, "PopulationConfig.warm_share=1.5: must be a number in [0.0, 1.0]"),
        ({"behaviour": {"is_shop": 1}}, "BehaviourConfig.is_shop=1: must be True or False"),
        ({"session": {"slate_size": 9, "num_candidates": 5}}, "slate_size=9: must be at most num_candidates=5"),
    ],
)
def test_wrong_overrides_are_refused_by_section_and_field(overrides, message):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refused:
        VIDEO.override(overrides)
    assert str(refused.value) == message
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refused:
        gymnasium.make("recsim_env/Video-v0", overrides=overrides)
    assert str(refused.value) == message


@pytest.mark.parametrize(("config", "field"), FIELDS, ids=names_of(FIELDS))
def test_every_field_of_every_section_can_be_changed(config, field):
    section = next(name for name, kind in SECTIONS.items() if kind is config)
    high = 5 if field.name == "slate_size" else field.metadata["high"]
    changed = VIDEO.override({section: {field.name: high}})
    assert getattr(getattr(changed, section), field.name) == high
    assert dataclasses.replace(changed, **{section: getattr(VIDEO, section)}) == VIDEO


def test_no_changes_leave_the_scenario_as_it_is():
    assert VIDEO.override({}) == VIDEO
    assert VIDEO.override({"reward": {}, "catalog": {}}) == VIDEO


def test_changes_reach_the_world_and_arguments_of_make_come_before_them():
    overrides = {
        "catalog": {"num_items": 300},
        "population": {"num_users": 40},
        "reward": {"rating": 0.0, "click": 2.0},
        "session": {"session_length": 7, "num_candidates": 20},
    }
    env = gymnasium.make("recsim_env/Video-v0", overrides=overrides, session_length=9).unwrapped
    world = env.simulator.world
    assert (len(world.items), len(world.users)) == (300, 40)
    assert world.scenario.behaviour == VIDEO.behaviour
    assert env.simulator.config == SessionConfig(session_length=9, num_candidates=20)
    env.reset(seed=0)
    for _ in range(5):
        _, reward, *_, info = env.step(0)
        assert reward == 2.0 * info["reward_click"]
