"""Observable text of synthetic items, and their dense features.

Shape legend: I items, K topics.
"""

import numpy as np

from recsim_env.config import CatalogConfig

_TOPIC_WORDS = (
    ("space", "orbit", "galaxy", "rocket"),
    ("kitchen", "recipe", "bread", "flavour"),
    ("football", "match", "league", "goal"),
    ("garden", "forest", "river", "birds"),
    ("guitar", "concert", "melody", "drums"),
    ("history", "empire", "castle", "archive"),
    ("code", "robot", "circuit", "startup"),
    ("travel", "island", "train", "harbour"),
    ("comedy", "prank", "sketch", "parody"),
    ("fitness", "marathon", "yoga", "strength"),
    ("science", "atom", "cell", "theorem"),
    ("fashion", "fabric", "runway", "style"),
    ("finance", "market", "savings", "trade"),
    ("painting", "sculpture", "gallery", "colour"),
    ("animals", "kitten", "puppy", "wildlife"),
    ("drama", "family", "secret", "letters"),
)
_OPENINGS = (  # in order of appeal
    ("minutes of", "notes on", "errata to"),
    ("about", "introduction to", "a report on"),
    ("a short look at", "the story of", "an evening with"),
    ("amazing", "top ten", "the best of"),
    ("shocking", "unbelievable", "gone wrong"),
    ("you won't believe this", "what happened next", "must see"),
)
_LEAST_APPEAL = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of each row of openings but the first
_SLOPPY = ("quick and rough", "part 17", "re-upload", "compilation")
_CAREFUL = ("in depth", "explained well", "award-winning", "a masterpiece")
_APPEAL_NOISE, _QUALITY_NOISE = 0.6, 0.9

VOCABULARY = tuple(
    sorted({"and"}.union(*(phrase.split() for row in (*_TOPIC_WORDS, *_OPENINGS, _SLOPPY, _CAREFUL) for phrase in row)))
)
"""All words of titles; those of one title are `title.lower().replace(":", "").replace(",", "").split()`."""


def topic_names_of(num_topics: int) -> tuple[str, ...]:
    """One name for each topic."""
    words = [_TOPIC_WORDS[k % len(_TOPIC_WORDS)][0] for k in range(num_topics)]
    return tuple(
        word if k < len(_TOPIC_WORDS) else f"{word} {k // len(_TOPIC_WORDS) + 1}" for k, word in enumerate(words)
    )


def feature_names_of(num_topics: int) -> tuple[str, ...]:
    """Names of the columns of `draw_features`."""
    return (*(f"topic: {name}" for name in topic_names_of(num_topics)), "quality cue", "appeal cue")


def draw_features(
    topics: np.ndarray,
    quality: np.ndarray,
    appeal: np.ndarray,
    config: CatalogConfig,
    generator: np.random.Generator,
) -> np.ndarray:
    """[I, K + 2] float32 in [-1, 1]: noisy topics, tanh of a noisy quality cue and of a noisy appeal cue."""
    num_items, num_topics = topics.shape
    features = np.empty((num_items, num_topics + 2), np.float32)
    features[:, :num_topics] = topics + config.feature_noise * generator.standard_normal(topics.shape)
    noise = config.cue_noise * generator.standard_normal((2, num_items))
    features[:, num_topics] = np.tanh(config.quality_cue * quality + noise[0])
    features[:, num_topics + 1] = np.tanh(config.appeal_cue * appeal + noise[1])
    return np.clip(features, -1.0, 1.0)


def make_title(topics: np.ndarray, quality: float, appeal: float, key: int, item: int) -> str:
    """A title of two topic words with a cue of appeal and a cue of quality; deterministic.

    The opening depends on appeal, in six levels; the closing depends on the sign of quality; both with noise.
    """
    generator = np.random.default_rng([key, item])
    first, second = (
        _TOPIC_WORDS[k % len(_TOPIC_WORDS)][generator.integers(4)] for k in generator.choice(len(topics), 2, p=topics)
    )
    level = np.searchsorted(_LEAST_APPEAL, appeal + _APPEAL_NOISE * generator.standard_normal())
    is_careful = quality + _QUALITY_NOISE * generator.standard_normal() > 0.0
    opening = _OPENINGS[level][generator.integers(3)]
    closing = (_CAREFUL if is_careful else _SLOPPY)[generator.integers(4)]
    return f"{opening}: {first} and {second}, {closing}".capitalize()
