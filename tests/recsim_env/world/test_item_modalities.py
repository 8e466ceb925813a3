"""Titles, images and sounds of synthetic items: each reveals a part, together they reveal more."""

import numpy as np
import pytest

from recsim_env.config import CatalogConfig
from recsim_env.world import audio, images
from recsim_env.world.audio import draw_audio
from recsim_env.world.images import draw_images
from recsim_env.world.titles import VOCABULARY, draw_features, make_title

NUM_ITEMS, NUM_TOPICS, NUM_FOLDS = 4_000, 8, 4
CONFIG = CatalogConfig(num_topics=NUM_TOPICS, quality_sd=0.5, appeal_sd=0.8)
KEY = 2**64 - 59
PENALTY = 300.0
TARGETS = ("topic", "quality", "appeal")
DRAWN = pytest.mark.parametrize("draw", [draw_images, draw_audio])


def draw_latents(num_items: int, num_topics: int = NUM_TOPICS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Topics [n, K], quality [n] and appeal [n]."""
    generator = np.random.default_rng(0)
    topics = generator.dirichlet(np.full(num_topics, CONFIG.topic_concentration), num_items)
    quality, appeal = generator.standard_normal((2, num_items))
    return topics, CONFIG.quality_sd * quality, CONFIG.appeal_sd * appeal


@pytest.fixture(scope="module")
def explained_by():
    """Of each modality, of the three together and of all: the R² of topic, quality and appeal on held-out items."""
    latents, items = draw_latents(NUM_ITEMS), np.arange(NUM_ITEMS)
    titles = [make_title(*each, KEY, item) for item, each in enumerate(zip(*latents, strict=True))]
    columns = {
        "title": np.array([[word in words_of(title) for word in VOCABULARY] for title in titles], float),
        "image": read_images(draw_images(*latents, KEY, items)),
        "audio": read_audio(draw_audio(*latents, KEY, items)),
    }
    columns["three"] = np.hstack(list(columns.values()))
    columns["features"] = draw_features(*latents, CONFIG, np.random.default_rng(1)).astype(float)
    columns["all"] = np.hstack([columns["three"], columns["features"]])
    table = {name: explained(each, latents) for name, each in columns.items()}
    print("\nR² on held-out items", *(f"{target:>8}" for target in TARGETS))
    for name, row in table.items():
        print(f"{name:>20}", *(f"{row[target]:8.3f}" for target in TARGETS))
    return table


def words_of(title: str) -> list[str]:
    return title.lower().replace(":", "").replace(",", "").split()


def read_images(pictures: np.ndarray) -> np.ndarray:
    """The hues of top, bottom, left and right, how colourful each of 8 x 8 patches is, and how grainy the whole."""
    pixels = pictures.astype(np.float32) / 255
    patches = pixels.reshape(-1, 3, 8, 4, 8, 4).mean((3, 5))
    colour = np.tensordot(patches, np.exp(2j * np.pi * np.arange(3) / 3), (1, 0))  # an angle is a hue
    distance = np.abs(np.angle(colour[..., None] * np.exp(-2j * np.pi * np.arange(16) / 16))) * 16 / (2 * np.pi)
    hues = np.maximum(0, 1 - distance)  # each hue is shared by the two nearest of 16
    parts = [hues[:, :3], hues[:, 6:], hues[:, 3:6, :4], hues[:, 3:6, 4:]]
    grain = np.median(np.abs(np.diff(pixels, 2, axis=3)), axis=(2, 3))
    return np.hstack([*(part.mean((1, 2)) for part in parts), np.abs(colour).reshape(-1, 64), grain, np.log(grain)])


def read_audio(patches: np.ndarray) -> np.ndarray:
    """Mean and spread of each band, the levels in order, how loud the end is, and how often the drum is beaten."""
    drum = patches[:, 18:].mean(1)
    beats = np.abs(np.fft.rfft(drum - drum.mean(1, keepdims=True), axis=1))
    levels = np.quantile(patches, np.linspace(0, 1, 11), axis=(1, 2)).T
    drop = patches[:, :6, 20:].mean((1, 2)) - patches[:, :6, :12].mean((1, 2))
    return np.hstack([patches.mean(2), patches.std(2), beats, levels, drop[:, None]])


def explained(columns: np.ndarray, latents: tuple[np.ndarray, ...]) -> dict[str, float]:
    """The R² of ridge regressions, each item predicted from the folds that it is not in; topics count as one target."""
    columns = (columns - columns.mean(0)) / (columns.std(0) + 1e-9)
    targets = np.column_stack(latents)
    targets = targets - targets.mean(0)
    errors = np.empty_like(targets)
    fold = np.arange(len(targets)) % NUM_FOLDS
    for held_out in range(NUM_FOLDS):
        train, test = fold != held_out, fold == held_out
        gram = columns[train].T @ columns[train] + PENALTY * np.eye(columns.shape[1])
        errors[test] = targets[test] - columns[test] @ np.linalg.solve(gram, columns[train].T @ targets[train])
    lost, total = (errors**2).sum(0), (targets**2).sum(0)
    return {
        "topic": 1 - lost[:-2].sum() / total[:-2].sum(),
        "quality": 1 - lost[-2] / total[-2],
        "appeal": 1 - lost[-1] / total[-1],
    }


@pytest.mark.parametrize(
    ("modality", "target", "low", "high"),
    [
        ("title", "topic", 0.40, 0.53),
        ("title", "quality", 0.07, 0.20),
        ("title", "appeal", 0.50, 0.67),
        ("image", "topic", 0.50, 0.69),
        ("image", "quality", 0.12, 0.26),
        ("image", "appeal", 0.40, 0.53),
        ("audio", "topic", 0.30, 0.53),
        ("audio", "quality", 0.45, 0.60),
        ("audio", "appeal", 0.12, 0.28),
    ],
)
def test_each_modality_explains_a_part_of_topic_quality_and_appeal(explained_by, modality, target, low, high):
    assert low < explained_by[modality][target] < high


@pytest.mark.parametrize("target", TARGETS)
def test_modalities_together_explain_more_than_each_alone(explained_by, target):
    alone = max(explained_by[name][target] for name in ("title", "image", "audio"))
    assert alone + 0.03 < explained_by["three"][target] < 0.9
    assert max(alone, explained_by["features"][target]) + 0.03 < explained_by["all"][target] < 0.95


def test_titles_show_appeal_best_images_topics_and_audio_quality(explained_by):
    best = {target: max(("title", "image", "audio"), key=lambda name: explained_by[name][target]) for target in TARGETS}
    assert best == {"topic": "image", "quality": "audio", "appeal": "title"}


@pytest.mark.parametrize(("modality", "module"), [("image", images), ("audio", audio)])
def test_no_modality_explains_more_than_its_noise_allows(explained_by, modality, module):
    for target, spread, noise in (
        ("quality", CONFIG.quality_sd, module.QUALITY_NOISE),
        ("appeal", CONFIG.appeal_sd, module.APPEAL_NOISE),
    ):
        most = spread**2 / (spread**2 + noise**2)
        assert 0.75 * most < explained_by[modality][target] < most + 0.03


@DRAWN
def test_an_image_does_not_depend_on_the_other_items_requested(draw):
    latents, items = draw_latents(600), np.arange(600) + 2**40
    together = draw(*latents, KEY, items)
    for chosen in (np.arange(599, -1, -1), np.arange(3, 600, 7), *np.arange(0, 600, 29)[:, None]):
        assert np.array_equal(draw(*(latent[chosen] for latent in latents), KEY, items[chosen]), together[chosen])
    assert draw(*(latent[:0] for latent in latents), KEY, items[:0]).shape == (0, *together.shape[1:])


@DRAWN
def test_other_keys_and_other_items_are_drawn_differently(draw):
    latents = draw_latents(40)
    first, again = (draw(*latents, KEY, np.arange(40)) for _ in range(2))
    assert np.array_equal(first, again)
    for other in (draw(*latents, KEY - 1, np.arange(40)), draw(*latents, KEY, np.arange(40) + 40)):
        assert (first != other).any((*range(1, first.ndim),)).all()
    same_latents = [np.repeat(latent[:1], 40, axis=0) for latent in latents]
    assert len(np.unique(draw(*same_latents, KEY, np.arange(40)), axis=0)) == 40


@DRAWN
@pytest.mark.parametrize("num_topics", [2, 17, 256])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_images_and_audio_stay_in_range_for_extreme_items(draw, num_topics, scale):
    topics, quality, appeal = draw_latents(30, num_topics)
    drawn = draw(topics, scale * quality, scale * appeal, 0, np.arange(30))
    assert (drawn.dtype, drawn.shape) == (
        (np.uint8, (30, 3, 32, 32)) if draw is draw_images else (np.float32, (30, 32, 32))
    )
    assert drawn.min() >= 0
    assert drawn.max() <= (255 if draw is draw_images else 1)
    assert (drawn.std((*range(1, drawn.ndim),)) > 0.01).all()  # not a blank


@pytest.mark.parametrize(("draw", "read"), [(draw_images, read_images), (draw_audio, read_audio)])
def test_items_of_a_single_topic_are_classified_by_it(draw, read):
    topic = np.arange(800) % NUM_TOPICS
    drawn = read(draw(np.eye(NUM_TOPICS)[topic], np.full(800, 0.5), np.zeros(800), KEY, np.arange(800)))
    drawn = drawn / (drawn[:400].std(0) + 1e-9)
    centres = np.array([drawn[:400][topic[:400] == k].mean(0) for k in range(NUM_TOPICS)])
    nearest = ((drawn[400:, None] - centres) ** 2).sum(2).argmin(1)
    assert (nearest == topic[400:]).mean() > 0.9


def test_titles_have_the_words_of_the_vocabulary_and_all_of_them():
    latents = draw_latents(3_000, num_topics=16)
    titles = [make_title(*each, KEY, item) for item, each in enumerate(zip(*latents, strict=True))]
    assert titles[:50] == [make_title(*(latent[item] for latent in latents), KEY, item) for item in range(50)]
    assert {word for title in titles for word in words_of(title)} == set(VOCABULARY)
    assert list(VOCABULARY) == sorted(set(VOCABULARY))
