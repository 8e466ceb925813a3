"""Behaviour fitted to a log of shown items: recovered from simulated sessions whose behaviour is known."""

import dataclasses
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import recsim_env
from recsim_env import LogWriter
from recsim_env.logs import FittedWorld, fit_log
from recsim_env.logs.__main__ import main
from recsim_env.logs.fitting.session_behaviour import Estimate, fitted_behaviour, overrides_of, slate_click_rates
from recsim_env.logs.reading.shown_items import ShownItems, read_shown_items

NUM_USERS, NUM_ITEMS = 150, 120
TRUTH = {
    "behaviour": {
        "continue_probability": 0.6,
        "choose_again_probability": 0.3,
        "choice_intercept": -1.5,
        "satiation_gain": 0.8,
    },
    "population": {"patience_mean": 2.0, "patience_sd": 0.6},
}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of ratings, its items with genres, and the world fitted to them."""
    folder, generator = tmp_path_factory.mktemp("log"), np.random.default_rng(0)
    pairs = [(u, i) for u in range(NUM_USERS) for i in range(NUM_ITEMS) if generator.random() < 0.4]
    rows = "".join(f"u{u},i{i},{1 + (u * i + generator.integers(3)) % 5},{t}\n" for t, (u, i) in enumerate(pairs))
    items = "".join(f"i{i},{'abcdef'[i % 6]}\n" for i in range(NUM_ITEMS))
    write(folder / "log.csv", "user,item,rating,timestamp\n" + rows)
    write(folder / "items.csv", "item,genres\n" + items)
    fit_log(folder / "log.csv", items_path=folder / "items.csv").save(folder / "world.npz")
    return folder


@pytest.fixture(scope="module")
def world(folder: Path) -> FittedWorld:
    return FittedWorld.load(folder / "world.npz")


@pytest.fixture(scope="module")
def shown(folder: Path, world: FittedWorld) -> ShownItems:
    """Sessions with the behaviour `TRUTH`, with the ids of the log."""
    arguments = {"world": str(folder / "world.npz"), "overrides": TRUTH, "num_envs": 100}
    env = gymnasium.make_vec("recsim_env/MovieLensSlate-v0", **arguments)
    LogWriter(env, "random", folder / "sessions", num_steps=60_000).write()
    shown = read_shown_items(folder / "sessions")
    users, items = world.user_ids[shown.users.astype(int)], world.item_ids[shown.items.astype(int)]
    return dataclasses.replace(shown, users=users, items=items)


@pytest.fixture(scope="module")
def estimates(shown: ShownItems, world: FittedWorld) -> dict[str, Estimate]:
    found = fitted_behaviour(shown, world, recsim_env.SCENARIOS["MovieLens"])
    return {each.field: each for each in found}


def test_click_rates_of_slots_are_those_of_simulated_users() -> None:
    generator, weight, continues, again, num_slots = np.random.default_rng(0), 0.4, 0.7, 0.6, 4
    clicks = np.zeros(num_slots)
    for _ in range(20_000):
        examined = 1
        while examined < num_slots and generator.random() < continues:
            examined += 1
        left = list(range(examined))
        while left and generator.random() < len(left) * weight / (1.0 + len(left) * weight):
            clicks[left.pop(generator.integers(len(left)))] += 1
            if generator.random() >= again:
                break
    np.testing.assert_allclose(slate_click_rates(weight, continues, again, num_slots), clicks / 20_000, atol=0.01)


@pytest.mark.parametrize(
    ("field", "tolerance"),
    [
        ("continue_probability", 0.03),
        ("choose_again_probability", 0.08),
        ("choice_intercept", 0.2),
        ("patience_mean", 0.5),
        ("patience_sd", 0.21),
        ("satiation_gain", 0.4),
    ],
)
def test_behaviour_is_recovered_from_simulated_sessions(
    estimates: dict[str, Estimate], field: str, tolerance: float
) -> None:
    truth = {**TRUTH["behaviour"], **TRUTH["population"]}[field]
    assert estimates[field].fitted == pytest.approx(truth, abs=tolerance)
    assert abs(estimates[field].preset - truth) > tolerance  # so that the preset would fail


def test_a_world_plays_with_the_behaviour_that_was_fitted(
    tmp_path: Path, world: FittedWorld, estimates: dict[str, Estimate]
) -> None:
    overrides = overrides_of(list(estimates.values()))
    dataclasses.replace(world, behaviour=overrides).save(tmp_path / "world.npz")
    for env_id, section in (("MovieLens", "behaviour"), ("MovieLensLifetime", "behaviour")):
        env = gymnasium.make(f"recsim_env/{env_id}-v0", world=str(tmp_path / "world.npz"))
        scenario = env.unwrapped.simulator.world.scenario
        assert getattr(scenario, section).choice_intercept == overrides["behaviour"]["choice_intercept"]
        assert scenario.population.patience_mean == overrides["population"]["patience_mean"]


def test_sessions_are_split_where_nothing_is_shown_for_half_an_hour(tmp_path: Path) -> None:
    rows = [("a", "x", 1, 1_100_000_000), ("a", "y", 0, 1_100_000_000), ("a", "z", 0, 1_100_000_060)]
    rows += [("a", "x", 1, 1_100_009_000), ("b", "x", 0, 1_100_000_000)]
    text = "user,item,click,timestamp\n" + "".join(f"{u},{i},{c},{t}\n" for u, i, c, t in rows)
    shown = read_shown_items(write(tmp_path / "shown.csv", text))
    assert shown.sessions.tolist() == [0, 0, 0, 1, 2]
    assert shown.steps.tolist() == [0, 0, 1, 0, 0]
    assert shown.slots.tolist() == [0, 1, 0, 0, 0]
    assert shown.clicks.tolist() == [True, False, False, True, False]


def test_absences_give_the_hazard_of_return(tmp_path: Path, world: FittedWorld) -> None:
    generator, rows = np.random.default_rng(1), []
    for user in range(NUM_USERS):
        day = generator.random()
        while day < 60.0:
            rows.append(
                f"u{user},i{generator.integers(NUM_ITEMS)},{generator.integers(2)},{1_100_000_000 + 86_400 * day}\n"
            )
            day += 0.05 + generator.exponential(1.0 / 0.4)
    shown = read_shown_items(write(tmp_path / "shown.csv", "user,item,click,timestamp\n" + "".join(rows)))
    found = {each.field: each for each in fitted_behaviour(shown, world, recsim_env.LIFETIMES["MovieLensLifetime"])}
    assert "0.39 per day of absence" in found["return_rate"].measure or "0.40 per" in found["return_rate"].measure
    assert found["churn_days"].fitted == pytest.approx(-np.log(0.01) / 0.4, rel=0.15)


def test_fit_says_what_is_fitted_and_what_is_assumed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(2)
    rows = [
        f"u{session % NUM_USERS},i{generator.integers(NUM_ITEMS)},{int(generator.random() < 0.3)},{session}\n"
        for session in range(600)
        for _ in range(1 + generator.geometric(0.3))
    ]
    sessions = write(folder / "shown.csv", "user,item,click,session\n" + "".join(rows))
    out = folder / "with_behaviour.npz"
    items = ["--items", str(folder / "items.csv")]
    assert main(["fit", str(folder / "log.csv"), *items, "--out", str(out), "--sessions", str(sessions)]) == 0
    said = capsys.readouterr().out
    assert "behaviour.choice_intercept" in said
    assert "population.patience_mean" in said
    assert "trust (its loss after disappointment, and its effect on clicks)" in said
    assert "examination (examined slots of a slate)" in said  # the log has one item a slate
    assert FittedWorld.load(out).behaviour["population"]["patience_mean"] > 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item,session\na,x,1\n", ":1: no column for click among user,item,session"),
        ("user,item,click\na,x,1\n", "no column of sessions or times"),
        ("user,item,click,session\na,x,yes,1\n", ":2: click='yes': must be a number from 0"),
        ("user,item,click,session\n,x,1,1\n", ":2: user='': must not be empty"),
        ("user,item,click,session\na,x,1\n", ":2: has 3 fields, must have 4"),
    ],
)
def test_an_invalid_log_of_shown_items_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_shown_items(write(tmp_path / "shown.csv", text))
    assert "\n" not in str(caught.value)
