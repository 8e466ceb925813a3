"""What anyone can see of a synthetic item, as a picture: two figures in a landscape, and perhaps a badge.

Shape legend: n items asked for, K topics, S side of a picture in pixels.

A picture knows an item only through four topics drawn from its mixture and through noisy copies of its quality and
appeal. So nobody who looks at it, however well, explains more than s² / (s² + noise²) of a quality or an appeal
that is normal with standard deviation s and independent of the other.
"""

import numpy as np

SIDE = 32
"""Pixels S on each side of a picture."""
QUALITY_NOISE = 0.9
"""Standard deviation of the noise on the quality that a picture shows, in units of quality."""
APPEAL_NOISE = 0.8
"""Standard deviation of the noise on the appeal that a picture shows, in units of appeal."""

_NUM_SCENES = 4  # what shows a topic: the left figure, the right figure, the sky, the ground
_STREAM = 1  # titles, pictures and sounds of one key share no number
_AT_ONCE = 256  # pictures painted at once fit the cache
_GOLDEN = 0.618034  # its multiples modulo 1 stay apart, however many topics there are
_FIGURES = (  # 8 x 8 pixels, a byte for each row; in the order of the topics' words in `content`
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
    "ff81a1899dbf81ff",  # picture in a frame
    "81c3ffdbffe77e3c",  # cat
    "66ffffff7e3c1800",  # heart
)


def _masks() -> np.ndarray:
    """[figures, 10, 10] bool, with a margin of one empty pixel for whatever lies outside of a figure."""
    rows = np.array([list(bytes.fromhex(figure)) for figure in _FIGURES], np.uint8)
    return np.pad(np.unpackbits(rows[..., None], axis=2), ((0, 0), (1, 1), (1, 1))).astype(bool)


_MASKS = _masks()
_PIXELS = np.arange(SIDE, dtype=np.float32)


def draw_images(topics: np.ndarray, quality: np.ndarray, appeal: np.ndarray, key: int, items: np.ndarray) -> np.ndarray:
    """[n, 3, S, S] uint8, red, green and blue in 0..255: the pictures of some items, the same for the same key.

    A topic has a figure, a hue and a direction of stripes. Quality keeps the grain away; appeal shows in bright
    colours, contrast and the size of a badge.

    Args:
        topics: [n, K] float64 on the simplex.
        quality: [n] float64.
        appeal: [n] float64.
        key: of the catalogue, in [0, 2**64).
        items: [n] int64, not negative; an item's picture does not depend on what else is asked for.
    """
    pictures = np.empty((len(items), 3, SIDE, SIDE), np.uint8)
    for start in range(0, len(items), _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        pictures[block] = _paint(topics[block], quality[block], appeal[block], key, items[block])
    return pictures


def _paint(topics: np.ndarray, quality: np.ndarray, appeal: np.ndarray, key: int, items: np.ndarray) -> np.ndarray:
    generators = [np.random.default_rng([int(key), int(item), _STREAM]) for item in items]
    chances = np.stack([generator.random((_NUM_SCENES, 3), np.float32) for generator in generators])
    errors = np.stack([generator.standard_normal(2) for generator in generators])
    grain = np.stack([generator.standard_normal((3, SIDE, SIDE), np.float32) for generator in generators])
    scenes = (chances[:, :, :1] > topics.cumsum(1)[:, None, :-1]).sum(2)
    value_weights = _squash(1.5 * (quality + QUALITY_NOISE * errors[:, 0]))[:, None, None]
    shine = _squash(1.5 * (appeal + APPEAL_NOISE * errors[:, 1]))[:, None, None]

    hues = scenes[:, :, None] * _GOLDEN + np.array([0.0, 1 / 3, 2 / 3]) + 0.02 * (chances[:, :, 1:2] - 0.5)
    colours = (0.5 + (0.1 + 0.4 * shine) * np.cos(2 * np.pi * hues)).astype(np.float32)[..., None, None]

    horizon = 18 + 6 * chances[:, 2, 2, None, None]
    stripes = np.stack([_stripes(scenes[:, scene], chances[:, scene, 2]) for scene in (2, 3)], 1)[:, :, None]
    is_sky = (_PIXELS[:, None] < horizon)[:, None]
    picture = np.where(is_sky, colours[:, 2] * (0.6 + 0.2 * stripes[:, 0]), colours[:, 3] * (0.4 + 0.2 * stripes[:, 1]))
    for scene, centre in ((0, 8), (1, 24)):
        figure = _figure(scenes[:, scene], centre + 3 * chances[:, scene, 1] - 1.5, 12 + 4 * chances[:, scene, 2])
        picture = np.where(figure[:, None], 0.35 + 0.65 * colours[:, scene], picture)
    is_badge = np.hypot(_PIXELS[:, None] - 5, _PIXELS - 26) < 7 * shine - 1
    picture = np.where(is_badge[:, None], np.array([1.0, 0.9, 0.1], np.float32)[:, None, None], picture)
    picture = picture + (0.02 + 0.2 * (1 - value_weights[:, None])) * grain
    return np.clip(255 * picture + 0.5, 0, 255).astype(np.uint8)


def _squash(x: np.ndarray) -> np.ndarray:
    return (0.5 + 0.5 * np.tanh(0.5 * x)).astype(np.float32)


def _stripes(topic: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """[n, S, S] in [-1, 1]: waves whose direction and width are their topic's."""
    angle, waves = np.pi * topic * _GOLDEN, 3 + topic % 3
    across, down = (f(angle) * waves / SIDE for f in (np.cos, np.sin))
    turns = across[:, None, None] * _PIXELS + down[:, None, None] * _PIXELS[:, None] + phase[:, None, None]
    return np.cos(2 * np.pi * turns.astype(np.float32))


def _figure(topic: np.ndarray, centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    """[n, S, S] bool: where the topic's figure is, `centre` pixels from the left and on the middle line."""
    down, across = (
        np.clip((_PIXELS - middle) * (8 / size[:, None]) + 5, 0, 9).astype(int) for middle in (16, centre[:, None])
    )
    return _MASKS[topic[:, None, None] % len(_MASKS), down[:, :, None], across[:, None, :]]
