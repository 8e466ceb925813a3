"""Images of synthetic items: two figures in a landscape, and sometimes a badge.

Shape legend: n requested items, K topics, S side of an image in pixels.

An image depends on an item only through four topics drawn from its mixture and through noisy copies of its quality and
appeal. No model of the image explains more than s² / (s² + noise²) of the variance of a quality or an appeal that is
normal with standard deviation s and independent of the other.
"""

import numpy as np

SIDE = 32
"""Pixels S on each side of an image."""
QUALITY_NOISE = 0.9
"""Standard deviation of the noise on the visible quality, in units of quality."""
APPEAL_NOISE = 0.8
"""Standard deviation of the noise on the visible appeal, in units of appeal."""

_NUM_SCENES = 4  # each shows a topic: left figure, right figure, sky, ground
_STREAM = 1  # titles, images and audio of one key have independent generators
_BATCH_SIZE = 256  # a batch fits the processor's cache
_GOLDEN = 0.618034  # its multiples modulo 1 are spread evenly, for any number of topics
_FIGURES = (  # 8 x 8 pixels, one byte a row; in the order of the topics' words in `titles`
    "183c243c3c7edb99",  # rocket
    "281428ff7e7e7e3c",  # steaming pot
    "3c66dbbdbddb663c",  # football
    "183c7e3c7eff1818",  # tree
    "03060c78f8d8f870",  # guitar
    "dbff7e7e7e6666ff",  # castle
    "187edbff7e5a7e24",  # robot
    "10181c1e10ff7e3c",  # sailing boat
    "3c7edbffbdc37e3c",  # laughing face
    "00c3e7ffffe7c300",  # dumbbell
    "3c181824247eff7e",  # flask
    "66ffffbd3c3c3c3c",  # shirt
    "03031b1b1bdbdbff",  # bar chart
    "ff81a1899dbf81ff",  # image in a frame
    "81c3ffdbffe77e3c",  # cat
    "66ffffff7e3c1800",  # heart
)


def _masks() -> np.ndarray:
    """[figures, 10, 10] bool, with a margin of one empty pixel."""
    rows = np.array([list(bytes.fromhex(figure)) for figure in _FIGURES], np.uint8)
    return np.pad(np.unpackbits(rows[..., None], axis=2), ((0, 0), (1, 1), (1, 1))).astype(bool)


_MASKS = _masks()
_PIXELS = np.arange(SIDE, dtype=np.float32)


def draw_images(topics: np.ndarray, quality: np.ndarray, appeal: np.ndarray, key: int, items: np.ndarray) -> np.ndarray:
    """[n, 3, S, S] uint8, red, green and blue: images of some items, deterministic given the key.

    A topic sets a figure, a hue and a direction of stripes. Quality lowers the grain; appeal sets brightness,
    contrast and the size of a badge.

    `topics` [n, K] are on the simplex; `quality` and `appeal` are [n]; `key` is the catalogue's, in [0, 2**64); `items`
    [n] are not negative, and an image does not depend on the other items requested.
    """
    images = np.empty((len(items), 3, SIDE, SIDE), np.uint8)
    for start in range(0, len(items), _BATCH_SIZE):
        block = slice(start, start + _BATCH_SIZE)
        images[block] = _paint(topics[block], quality[block], appeal[block], key, items[block])
    return images


def _paint(topics: np.ndarray, quality: np.ndarray, appeal: np.ndarray, key: int, items: np.ndarray) -> np.ndarray:
    generators = [np.random.default_rng([int(key), int(item), _STREAM]) for item in items]
    chances = np.stack([generator.random((_NUM_SCENES, 3), np.float32) for generator in generators])
    errors = np.stack([generator.standard_normal(2) for generator in generators])
    grain = np.stack([generator.standard_normal((3, SIDE, SIDE), np.float32) for generator in generators])
    scenes = (chances[:, :, :1] > topics.cumsum(1)[:, None, :-1]).sum(2)
    clarity = _logistic(1.5 * (quality + QUALITY_NOISE * errors[:, 0]))[:, None, None]
    brightness = _logistic(1.5 * (appeal + APPEAL_NOISE * errors[:, 1]))[:, None, None]

    hues = scenes[:, :, None] * _GOLDEN + np.array([0.0, 1 / 3, 2 / 3]) + 0.02 * (chances[:, :, 1:2] - 0.5)
    colours = (0.5 + (0.1 + 0.4 * brightness) * np.cos(2 * np.pi * hues)).astype(np.float32)[..., None, None]

    horizon = 18 + 6 * chances[:, 2, 2, None, None]
    stripes = np.stack([_stripes(scenes[:, scene], chances[:, scene, 2]) for scene in (2, 3)], 1)[:, :, None]
    is_sky = (_PIXELS[:, None] < horizon)[:, None]
    image = np.where(is_sky, colours[:, 2] * (0.6 + 0.2 * stripes[:, 0]), colours[:, 3] * (0.4 + 0.2 * stripes[:, 1]))
    for scene, centre in ((0, 8), (1, 24)):
        figure = _figure(scenes[:, scene], centre + 3 * chances[:, scene, 1] - 1.5, 12 + 4 * chances[:, scene, 2])
        image = np.where(figure[:, None], 0.35 + 0.65 * colours[:, scene], image)
    is_badge = np.hypot(_PIXELS[:, None] - 5, _PIXELS - 26) < 7 * brightness - 1
    image = np.where(is_badge[:, None], np.array([1.0, 0.9, 0.1], np.float32)[:, None, None], image)
    image = image + (0.02 + 0.2 * (1 - clarity[:, None])) * grain
    return np.clip(255 * image + 0.5, 0, 255).astype(np.uint8)


def _logistic(x: np.ndarray) -> np.ndarray:
    return (0.5 + 0.5 * np.tanh(0.5 * x)).astype(np.float32)


def _stripes(topic: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """[n, S, S] in [-1, 1]: waves whose direction and width depend on the topic."""
    angle, waves = np.pi * topic * _GOLDEN, 3 + topic % 3
    across, down = (f(angle) * waves / SIDE for f in (np.cos, np.sin))
    cycles = across[:, None, None] * _PIXELS + down[:, None, None] * _PIXELS[:, None] + phase[:, None, None]
    return np.cos(2 * np.pi * cycles.astype(np.float32))


def _figure(topic: np.ndarray, centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    """[n, S, S] bool: mask of the topic's figure, `centre` pixels from the left and vertically centred."""
    down, across = (
        np.clip((_PIXELS - middle) * (8 / size[:, None]) + 5, 0, 9).astype(int) for middle in (16, centre[:, None])
    )
    return _MASKS[topic[:, None, None] % len(_MASKS), down[:, :, None], across[:, None, :]]
