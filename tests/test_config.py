"""Every field says its range, and refuses what is outside of it in one line."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_env.config import (
    BehaviourConfig,
    CatalogConfig,
    PopulationConfig,
    RewardConfig,
    Scenario,
    SessionConfig,
    check_number,
)

CONFIGS = (CatalogConfig, PopulationConfig, BehaviourConfig, RewardConfig, SessionConfig)
FIELDS = [(config, field) for config in CONFIGS for field in dataclasses.fields(config) if field.name != "rating_cuts"]
any_field = st.sampled_from(FIELDS)


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
    assert message.startswith(f"{config.__name__}.{field.name}={value!r}: ")
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
    "cuts", [(1, 2, 3), (1, 2, 3, 4, 5), (0, 0, 1, 2), (3, 2, 1, 0), (0, 1, 2, math.nan), (0, 1, 2, math.inf), ()]
)
def test_rating_cuts_are_four_finite_ascending_numbers(cuts):
    with pytest.raises(ValueError, match=r"^BehaviourConfig\.rating_cuts=.*: must be 4 finite ascending numbers$"):
        BehaviourConfig(rating_cuts=cuts)


@given(candidates=st.integers(2, 10), extra=st.integers(1, 8))
def test_a_slate_longer_than_the_list_of_candidates_is_refused(candidates, extra):
    slate = candidates + extra
    if slate > 10:
        return
    with pytest.raises(ValueError, match=f"^slate_size={slate}: must be at most num_candidates={candidates}$"):
        SessionConfig(slate_size=slate, num_candidates=candidates)


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match=r"^Scenario\.source='film': must be 'synthetic', 'ratings_log' or 'stat"):
        Scenario(name="X", source="film")


def test_changing_one_value_of_a_preset_checks_it_again():
    with pytest.raises(ValueError, match=r"^SessionConfig\.session_length=1: must be a whole number in \[2, 100000\]$"):
        dataclasses.replace(SessionConfig(), session_length=1)
