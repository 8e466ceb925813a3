"""Ratings that users chose to give, and ratings of items shown at random."""

from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401  (registers the ids)
from recsim_env.logs import RatingsLog, fit_log, fit_ratings, read_log
from recsim_env.logs.__main__ import main
from recsim_env.logs.fitting.log_comparison import compare_logs, jensen_shannon, log_statistics, shares_of
from recsim_env.logs.fitting.selection import estimated_selection, mean_rating_by_selection, random_pairs

COAT = Path(__file__).resolve().parents[5] / "shared" / "data" / "coat"
NUM_USERS, NUM_ITEMS, SELECTION = 200, 150, 0.8


def write(path: Path, rows: list[tuple[int, int, int]]) -> Path:
    lines = (f"u{user},i{item},{rating},{time}\n" for time, (user, item, rating) in enumerate(rows))
    path.write_text("user,item,rating,timestamp\n" + "".join(lines))
    return path


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Ratings of chosen items, whose noise has the mean `SELECTION`, and of items shown at random."""
    folder, generator = tmp_path_factory.mktemp("selection"), np.random.default_rng(3)
    bias, quality = generator.normal(0.0, 0.5, NUM_USERS), generator.normal(0.0, 0.6, NUM_ITEMS)

    def rated(share: float, selection: float) -> list[tuple[int, int, int]]:
        users, items = np.nonzero(generator.random((NUM_USERS, NUM_ITEMS)) < share)
        opinion = bias[users] + quality[items] + generator.standard_normal(len(users)) + selection
        ratings = 1 + np.searchsorted([-1.2, -0.4, 0.5, 1.4], opinion)
        return list(zip(users.tolist(), items.tolist(), ratings.tolist(), strict=True))

    return write(folder / "chosen.csv", rated(0.3, SELECTION)), write(folder / "random.csv", rated(0.1, 0.0))


def test_choosing_by_opinion_shifts_the_noise_of_the_chosen_by_the_strength() -> None:
    """A choice with probability proportional to exp(s x opinion), among many items with N(0, 1) noise."""
    generator, strength = np.random.default_rng(0), 0.7
    noise = generator.standard_normal((4_000, 500))
    keys = strength * noise + generator.gumbel(size=noise.shape)
    chosen = noise[np.arange(len(noise)), keys.argmax(1)]
    assert chosen.mean() == pytest.approx(strength, abs=0.05)
    assert chosen.std() == pytest.approx(1.0, abs=0.05)


def test_selection_is_recovered_from_a_sample_under_random_exposure(logs: tuple[Path, Path]) -> None:
    chosen, at_random = (read_log(path) for path in logs)
    world = fit_ratings(chosen, num_factors=2, random_exposure=at_random)
    assert world.selection == pytest.approx(SELECTION, abs=0.1)
    assert world.fit_facts["selection"] == "estimated"
    pairs, generator = random_pairs(world, at_random), np.random.default_rng(0)
    shown = world.rate(pairs.users, pairs.items, generator, is_chosen=False)
    assert shown.mean() == pytest.approx(pairs.ratings.mean(), abs=0.06)
    again = world.rate(chosen.users, chosen.items, generator, is_chosen=True)
    assert again.mean() == pytest.approx(chosen.ratings.mean(), abs=0.06)


def test_without_a_sample_selection_is_assumed_or_given(logs: tuple[Path, Path]) -> None:
    log = read_log(logs[0])
    assumed, given = fit_ratings(log, num_factors=2), fit_ratings(log, num_factors=2, selection=0.2)
    assert (assumed.selection, assumed.fit_facts["selection"]) == (0.5, "assumed")
    assert (given.selection, given.fit_facts["selection"]) == (0.2, "given")
    low, high = mean_rating_by_selection(assumed, (1.0, 0.0))
    assert low < mean_rating_by_selection(assumed, (0.5,))[0] < high
    with pytest.raises(ValueError, match=r"selection=4\.0"):
        fit_ratings(log, selection=4.0)


def test_a_sample_of_other_users_or_another_scale_is_refused(logs: tuple[Path, Path], tmp_path: Path) -> None:
    world = fit_ratings(read_log(logs[0]), num_factors=2, selection=0.0)
    strangers = (tmp_path / "strangers.csv", "user,item,rating,timestamp\na,x,1,1\nb,y,2,2\n")
    halves = (tmp_path / "halves.csv", "user,item,rating,timestamp\nu1,i1,0.5,1\nu2,i2,2,2\n")
    for (path, text), message in ((strangers, "no row has a user and an item"), (halves, "its rating scale differs")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            estimated_selection(world, read_log(path))


def test_check_compares_both_kinds_of_ratings(
    logs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, at_random = (str(path) for path in logs)
    out = str(tmp_path / "world.npz")
    assert main(["fit", chosen, "--random-exposure", at_random, "--out", out, "--num-factors", "2"]) == 0
    assert "estimated" in capsys.readouterr().out
    main(["check", chosen, out, "--random-exposure", at_random])
    line = next(
        each for each in capsys.readouterr().out.splitlines() if each.startswith("mean rating, random exposure")
    )
    assert line.endswith("ok")
    assert main(["fit", chosen, "--selection", "0", "--out", out, "--num-factors", "2"]) == 0
    assert main(["check", chosen, out, "--random-exposure", at_random]) == 1
    line = next(
        each for each in capsys.readouterr().out.splitlines() if each.startswith("mean rating, random exposure")
    )
    assert line.endswith("NOT OK")


def test_factors_can_be_the_content_of_items_that_nothing_describes(logs: tuple[Path, Path], tmp_path: Path) -> None:
    path = str(tmp_path / "world.npz")
    fit_log(logs[0], num_factors=2).save(path)
    with pytest.warns(UserWarning, match="items have no distinguishing features"):
        gymnasium.make("recsim_env/MovieLens-v0", world=path)
    world = fit_ratings(read_log(logs[0]), num_factors=2, content="factors")
    assert world.feature_names.tolist() == ["learnt factor 1", "learnt factor 2"]
    assert np.ptp(world.item_features, axis=0).min() > 0.5
    world.save(path)
    gymnasium.make("recsim_env/MovieLens-v0", world=path)
    with pytest.raises(ValueError, match="content='learnt': unknown"):
        fit_ratings(read_log(logs[0]), content="learnt")


# Coat, where this machine has it


@pytest.fixture(scope="module")
def coat() -> tuple[RatingsLog, RatingsLog]:
    if not (COAT / "train.csv").is_file():
        pytest.skip("Coat is not on this machine")
    return read_log(COAT / "train.csv"), read_log(COAT / "test.csv")


@pytest.mark.parametrize(("has_sample", "tolerance"), [(False, 0.2), (True, 0.1)])
def test_coats_shown_at_random_are_rated_like_real_ones(
    coat: tuple[RatingsLog, RatingsLog], has_sample: bool, tolerance: float
) -> None:
    log, at_random = coat
    rows = np.random.default_rng(0).permutation(len(at_random.ratings))[: len(at_random.ratings) // 10]
    tenth = replace(
        at_random, **{name: getattr(at_random, name)[rows] for name in ("users", "items", "ratings", "times")}
    )
    world = fit_ratings(log, random_exposure=tenth if has_sample else None)
    users, items = (each.ravel() for each in np.indices((len(world.user_ids), len(world.item_ids))))
    generator = np.random.default_rng(0)
    shown = world.rate(users, items, generator, is_chosen=False)
    real = shares_of(at_random.ratings, world.rating_levels)
    assert shown.mean() == pytest.approx(2.229, abs=tolerance)
    assert jensen_shannon(real, shares_of(shown, world.rating_levels)) < 0.02
    simulated = world.rate(log.users, log.items, generator, is_chosen=True)
    both = (log_statistics(log.users, log.items, each, world.rating_levels) for each in (log.ratings, simulated))
    assert all(each.is_close for each in compare_logs(*both))
