"""Fitting a world to a ratings log, and saving it."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from drawn_ratings import NUM_USERS, TRUE_CUTS, true_parameters, write_drawn_ratings
from text_logs import GOOD_ROWS, HEADER, write

from recsim_env.logs import FittedWorld, fit_log, fit_ratings, load_or_fit, read_log
from recsim_env.logs.fitting.fit import appeal_of
from recsim_env.logs.fitting.grouped_ridge import Design, ridge_by_group, rows_by_group
from recsim_env.logs.fitting.ordinal_posterior import OrdinalModel, centred


@pytest.fixture(scope="module")
def made_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawn_ratings(tmp_path_factory.mktemp("made") / "made.csv")


@pytest.fixture(scope="module")
def made_world(made_csv: Path) -> FittedWorld:
    return fit_log(made_csv, num_factors=3, seed=1)


@pytest.fixture(scope="module")
def another_draw(made_csv: Path) -> FittedWorld:
    return fit_log(made_csv, num_factors=3, seed=2)


# Fitting


def test_a_draw_is_as_near_to_the_truth_as_to_another_draw(made_world: FittedWorld, another_draw: FittedWorld) -> None:
    """So it must be for draws from the posterior; estimates are nearer, a sampler gone wrong is further."""
    truth, world = true_parameters(), made_world
    users = [int(name[1:]) for name in world.user_ids]
    items = [int(name[1:]) for name in world.item_ids]
    triples = {
        "quality": (world.quality, another_draw.quality, truth["quality"][items]),
        "bias": (world.rating_bias, another_draw.rating_bias, truth["bias"][users]),
        "scale": (*(np.log(w.rating_scale) for w in (world, another_draw)), np.log(truth["scale"][users])),
        "affinity": (
            *(w.interests @ w.item_factors.T for w in (world, another_draw)),
            truth["interests"][users] @ truth["factors"][items].T,
        ),
    }
    for name, (draw, other, true) in triples.items():
        to_truth = np.corrcoef(draw.ravel(), true.ravel())[0, 1]
        to_other = np.corrcoef(draw.ravel(), other.ravel())[0, 1]
        assert to_truth == pytest.approx(to_other, abs=0.06), name
        assert to_truth > 0.6, name
    np.testing.assert_allclose(np.diff(world.rating_cuts), np.diff(TRUE_CUTS), atol=0.2)


def test_a_draw_has_the_spread_of_the_truth_not_of_shrunken_estimates(
    made_world: FittedWorld,
) -> None:
    truth = true_parameters()
    affinity = (made_world.interests @ made_world.item_factors.T).std()
    assert affinity == pytest.approx((truth["interests"] @ truth["factors"].T).std(), rel=0.2)
    assert made_world.quality.std() == pytest.approx(truth["quality"].std(), rel=0.15)
    assert made_world.rating_bias.std() == pytest.approx(truth["bias"].std(), rel=0.2)
    assert np.log(made_world.rating_scale).std() == pytest.approx(np.log(truth["scale"]).std(), rel=0.2)


def test_the_fitted_parameters_are_centred_as_documented(made_world: FittedWorld) -> None:
    world = made_world
    np.testing.assert_allclose(world.interests.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(world.interests.T @ world.interests / NUM_USERS, np.eye(3), atol=1e-6)
    mean_quality = world.num_item_ratings @ world.quality / world.num_item_ratings.sum()
    assert mean_quality == pytest.approx(-world.selection)
    np.testing.assert_allclose(world.rating_bias.mean(), 0, atol=1e-9)
    np.testing.assert_allclose(np.log(world.rating_scale).mean(), 0, atol=1e-9)
    strengths = (world.item_factors**2).sum(0)
    assert (np.diff(strengths) < 0).all()
    assert world.appeal.mean() == pytest.approx(0, abs=1e-9)
    assert world.appeal.std() == pytest.approx(1)


def test_centring_changes_no_rating() -> None:
    generator = np.random.default_rng(0)
    model = OrdinalModel(
        bias=generator.normal(1.0, 1.0, 9),
        scale=generator.uniform(0.5, 2.0, 9),
        interests=generator.normal(0.5, 1.0, (9, 2)),
        quality=generator.normal(-1.0, 1.0, 7),
        factors=generator.normal(1.0, 1.0, (7, 2)),
        cuts=np.array([-1.0, 0.0, 1.0, 2.0]),
    )
    after = centred(model, np.arange(1, 8))

    def above_first_cut(each: OrdinalModel) -> np.ndarray:
        worth = each.interests @ each.factors.T + each.quality
        return each.bias[:, None] + each.scale[:, None] * worth - each.cuts[0]

    np.testing.assert_allclose(above_first_cut(after), above_first_cut(model))
    np.testing.assert_allclose(np.diff(after.cuts), np.diff(model.cuts))
    np.testing.assert_allclose([*after.interests.mean(0), after.bias.mean()], 0.0, atol=1e-9)
    np.testing.assert_allclose(np.arange(1, 8) @ np.c_[after.factors, after.quality], 0.0, atol=1e-9)


def test_ridge_by_group_is_the_posterior_of_each_group_alone() -> None:
    generator = np.random.default_rng(0)
    groups = np.array([1, 0, 1, 1, 0, 1])
    first, table, others = generator.standard_normal(6), generator.standard_normal((3, 1)), np.array([2, 0, 1, 1, 0, 2])
    design, target = np.c_[first, table[others]], generator.standard_normal(6)
    columns = Design(first, others, table)
    precision, prior = np.array([2.0, 0.5]), np.array([[1.0, -1.0], [0.0, 3.0], [5.0, 6.0]])
    grouping = rows_by_group(groups, 3)
    found = ridge_by_group(grouping, columns, target, precision, prior)
    for group in range(2):
        own = groups == group
        covariance = np.linalg.inv(design[own].T @ design[own] + np.diag(precision))
        mean = covariance @ (design[own].T @ target[own] + precision * prior[group])
        np.testing.assert_allclose(found[group], mean)
    np.testing.assert_allclose(found[2], prior[2])  # a group without rows: the prior
    draws = np.array([ridge_by_group(grouping, columns, target, precision, prior, generator)[1] for _ in range(4_000)])
    np.testing.assert_allclose(draws.mean(0), found[1], atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.05)


def test_the_same_seed_gives_the_same_world_and_another_seed_another(
    made_csv: Path, made_world: FittedWorld, another_draw: FittedWorld
) -> None:
    np.random.seed(0)  # noqa: NPY002 - the fit must neither use nor touch the global generator
    again = fit_log(made_csv, num_factors=3, seed=1)
    assert np.random.random() == np.random.RandomState(0).random()  # noqa: NPY002
    np.testing.assert_array_equal(again.interests, made_world.interests)
    np.testing.assert_array_equal(again.rating_cuts, made_world.rating_cuts)
    assert again.fit_facts == made_world.fit_facts
    assert not np.allclose(another_draw.quality, made_world.quality)
    assert another_draw.fit_facts["held_out_rmse"] != made_world.fit_facts["held_out_rmse"]


def test_the_fit_reports_what_factors_gain_and_names_no_path(made_csv: Path, made_world: FittedWorld) -> None:
    facts = made_world.fit_facts
    errors = facts["held_out_rmse"]
    assert errors["factorisation"] < errors["biases"] - 0.02 < errors["global_mean"] - 0.1
    assert facts["source"] == "made.csv"
    assert str(made_csv.parent) not in str(facts)
    assert facts["num_ratings"] == made_world.num_item_ratings.sum() == made_world.num_user_ratings.sum()


@pytest.mark.parametrize("rows", [GOOD_ROWS, "a,x,5,1\nb,y,5,2\n", "a,x,5,1\na,y,5,2\nb,x,5,3\nb,y,5,4\n"])
def test_the_smallest_logs_give_a_finite_world(tmp_path: Path, rows: str) -> None:
    world = fit_log(write(tmp_path / "log.csv", HEADER + rows))
    assert world.interests.shape == (2, 1)
    pairs = np.arange(2).repeat(200), np.tile(np.arange(2), 200)
    assert set(world.rate(*pairs, np.random.default_rng(0), is_chosen=True)) <= {1, 2, 3, 4, 5}


@pytest.mark.parametrize("arguments", [{"num_factors": 0}, {"num_factors": 257}, {"seed": -1}])
def test_settings_out_of_range_are_refused_by_name(tmp_path: Path, arguments: dict[str, int]) -> None:
    log = read_log(write(tmp_path / "log.csv", HEADER + GOOD_ROWS))
    with pytest.raises(ValueError, match=next(iter(arguments))):
        fit_ratings(log, **arguments)


def test_appeal_is_standardised_log_popularity_that_trusts_small_counts_little() -> None:
    appeal = appeal_of(np.array([1, 3, 100, 300]))
    assert appeal.mean() == pytest.approx(0)
    assert appeal.std() == pytest.approx(1)
    assert 0 < appeal[1] - appeal[0] < (appeal[3] - appeal[2]) / 2  # both counts are tripled
    assert not appeal_of(np.array([4, 4])).any()


# Keeping


def test_a_world_is_the_same_after_saving_and_loading(tmp_path: Path, made_world: FittedWorld) -> None:
    made_world.save(tmp_path / "world.npz")
    loaded = FittedWorld.load(tmp_path / "world.npz")
    for name, value in vars(made_world).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    assert [path.name for path in tmp_path.iterdir()] == ["world.npz"]
    with pytest.raises(ValueError, match="read-only"):
        loaded.quality[0] = 1.0


def test_a_damaged_or_foreign_file_is_refused_in_one_line(tmp_path: Path, made_world: FittedWorld) -> None:
    path = tmp_path / "world.npz"
    made_world.save(path)
    content = path.read_bytes()
    arrays = dict(np.load(path))

    def rewritten(**overrides: object) -> bytes:
        np.savez(tmp_path / "other.npz", **{**arrays, **overrides})  # type: ignore[arg-type]
        return (tmp_path / "other.npz").read_bytes()

    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    foreign = (tmp_path / "other.npz").read_bytes()
    np.save(tmp_path / "bare.npy", np.zeros(3))
    damaged = {
        "empty": b"",
        "text": b"user,item\n",
        "truncated": content[: len(content) // 2],
        "flipped": content[:3000] + bytes(b ^ 255 for b in content[3000:3100]) + content[3100:],
        "foreign": foreign,
        "bare array": (tmp_path / "bare.npy").read_bytes(),
        "version": rewritten(format_version=np.int64(999)),
        "pickle": rewritten(titles=np.array([{}] * len(made_world.titles), object)),
        "shape": rewritten(quality=arrays["quality"][:-1]),
        "nan": rewritten(quality=arrays["quality"] * np.nan),
        "cuts": rewritten(rating_cuts=arrays["rating_cuts"][::-1]),
        "too few cuts": rewritten(rating_cuts=arrays["rating_cuts"][1:]),
        "selection": rewritten(selection=np.float64(-1.0)),
        "facts": rewritten(fit_facts=np.array("{")),
        "nested facts": rewritten(fit_facts=np.array("[" * 100_000)),
        "surrogates": rewritten(titles=np.array(["\ud800"] * len(made_world.titles))),
        "header of a terabyte": claiming(content, 10**12),
        "unclosed header": replaced(content, b"((("),
        "damaged LZMA": replaced(content, b"{}", zipfile.ZIP_LZMA).replace(b"\x5d\x00\x00", b"\xff\xff\xff"),
    }
    for name, bytes_ in damaged.items():
        path.write_bytes(bytes_)
        with pytest.raises(ValueError, match=r"world\.npz: ") as caught:
            FittedWorld.load(path)
        assert "\n" not in str(caught.value), name


def replaced(content: bytes, header: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The .npz with another header of the array of qualities."""
    source, target = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name in source.namelist():
            data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
            archive.writestr(name, data if name == "quality.npy" else source.read(name))
    return target.getvalue()


def claiming(content: bytes, num_items: int) -> bytes:
    """The .npz with another array of qualities, whose header declares `num_items` numbers that do not exist."""
    source, target = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            if name == "quality.npy":
                header = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    header, {"descr": "<f8", "fortran_order": False, "shape": (num_items,)}
                )
                data = header.getvalue() + b"\0" * 800
            archive.writestr(name, data)
    return target.getvalue()


def test_a_file_that_unpacks_to_too_many_bytes_is_refused_unread(
    tmp_path: Path, made_world: FittedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_world.save(tmp_path / "world.npz")
    monkeypatch.setattr("recsim_env.logs.fitting.fitted_world._MAX_BYTES", 10_000)
    monkeypatch.setattr(np.lib.format, "read_array", None)
    with pytest.raises(ValueError, match=r"world\.npz: .* the limit is 10,000"):
        FittedWorld.load(tmp_path / "world.npz")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, made_world: FittedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "world.npz", "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        made_world.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_ratings_follow_the_rating_model(made_world: FittedWorld) -> None:
    user, item, num_draws = 3, 4, 40_000
    pairs = np.full(num_draws, user), np.full(num_draws, item)
    ratings = made_world.rate(*pairs, np.random.default_rng(0), is_chosen=False)
    shares = np.bincount(ratings.astype(int), minlength=6)[1:] / num_draws
    worth = made_world.interests[user] @ made_world.item_factors[item] + made_world.quality[item]
    noise = np.random.default_rng(1).standard_normal(400_000)
    opinion = made_world.rating_bias[user] + made_world.rating_scale[user] * (worth + noise)
    expected = np.bincount((opinion[:, None] > made_world.rating_cuts).sum(1), minlength=5) / len(noise)
    np.testing.assert_allclose(shares, expected, atol=0.01)


# Caching


def test_a_log_is_fitted_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "log.csv", HEADER + GOOD_ROWS)
    first = load_or_fit(path)
    (kept,) = (tmp_path / "cache").iterdir()
    monkeypatch.setattr("recsim_env.logs.fitting.fit.fit_log", lambda *_, **__: pytest.fail("fitted again"))
    np.testing.assert_array_equal(load_or_fit(path).interests, first.interests)
    np.testing.assert_array_equal(load_or_fit(kept).interests, first.interests)
    monkeypatch.undo()
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    write(path, HEADER + GOOD_ROWS + "cid,x,5,50\n")
    assert len(load_or_fit(path).user_ids) == 3
    assert len(load_or_fit(path, seed=1).user_ids) == 3
    assert len(list((tmp_path / "cache").iterdir())) == 3
    for each in (tmp_path / "cache").iterdir():
        each.write_bytes(b"damaged")
    assert len(load_or_fit(path).user_ids) == 3


def test_a_user_without_a_home_fits_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSIM_CACHE", raising=False)
    monkeypatch.setenv("HOME", "~")  # as in a container whose user has none
    monkeypatch.chdir(tmp_path)
    assert len(load_or_fit(write(tmp_path / "log.csv", HEADER + GOOD_ROWS)).user_ids) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
