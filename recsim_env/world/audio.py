"""Audio of synthetic items: log-mel patches of a voice, a drum, a bass and background noise.

Shape legend: n requested items, K topics, B mel bands, T frames.

A patch depends on an item only through two topics drawn from its mixture and through noisy copies of its quality and
appeal. No model of the patch explains more than s² / (s² + noise²) of the variance of a quality or an appeal that is
normal with standard deviation s and independent of the other.
"""

import numpy as np

NUM_BANDS = 32
"""Mel bands B, from low to high."""
NUM_FRAMES = 32
"""Frames T of a patch."""
BANDS_PER_OCTAVE = 6
DECIBELS = 70
"""From silence, 0 in a patch, to full scale, 1."""
QUALITY_NOISE = 0.45
"""Standard deviation of the noise on the audible quality, in units of quality."""
APPEAL_NOISE = 1.4
"""Standard deviation of the noise on the audible appeal, in units of appeal."""

_STREAM = 2  # titles, images and audio of one key have independent generators
_BATCH_SIZE = 256  # a batch fits the processor's cache
_GOLDEN = 0.618034  # its multiples modulo 1 are spread evenly, for any number of topics
_RHYTHMS = bytes.fromhex(  # 16 steps of two frames, one bit a step, set where there is a beat; one rhythm a topic
    "8888 a8a8 9248 8080 aaaa 8a8a c0c0 9292 8000 e0e0 b6b6 8420 f0f0 a0a0 9999 ffff"
)


def _pulses() -> np.ndarray:
    """[rhythms, T] float32 in [0, 1]: amplitude of the decaying beats at each frame of a loop."""
    steps = np.unpackbits(np.frombuffer(_RHYTHMS, np.uint8)).reshape(-1, 16)
    beats = np.zeros((len(steps), NUM_FRAMES))
    beats[:, :: NUM_FRAMES // 16] = steps
    decayed = [np.roll(beats, age, axis=1) * np.exp(-age / 1.5) for age in range(NUM_FRAMES)]
    return np.max(decayed, axis=0).astype(np.float32)


_PULSES = _pulses()
_BANDS = np.arange(NUM_BANDS, dtype=np.float32)[:, None]
_FRAMES = np.arange(NUM_FRAMES)


def draw_audio(topics: np.ndarray, quality: np.ndarray, appeal: np.ndarray, key: int, items: np.ndarray) -> np.ndarray:
    """[n, B, T] float32 in [0, 1], power in decibels: patches of some items, deterministic given the key.

    A topic sets the pitch, glide and overtones of the voice, and the rhythm of the drum. Quality lowers the noise;
    appeal raises the volume and adds a bass in the second half.

    `topics` [n, K] are on the simplex; `quality` and `appeal` are [n]; `key` is the catalogue's, in [0, 2**64); `items`
    [n] are not negative, and a patch does not depend on the other items requested.
    """
    patches = np.empty((len(items), NUM_BANDS, NUM_FRAMES), np.float32)
    for start in range(0, len(items), _BATCH_SIZE):
        block = slice(start, start + _BATCH_SIZE)
        patches[block] = _mix(topics[block], quality[block], appeal[block], key, items[block])
    return patches


def _mix(topics: np.ndarray, quality: np.ndarray, appeal: np.ndarray, key: int, items: np.ndarray) -> np.ndarray:
    generators = [np.random.default_rng([int(key), int(item), _STREAM]) for item in items]
    chances = np.stack([generator.random(5) for generator in generators])
    errors = np.stack([generator.standard_normal(2) for generator in generators])
    speckle = np.stack(
        [generator.standard_exponential((2, NUM_BANDS, NUM_FRAMES), np.float32) for generator in generators], 1
    )
    voice_topic, drum_topic = (chances[:, :2, None] > topics.cumsum(1)[:, None, :-1]).sum(2).T
    clarity = quality + QUALITY_NOISE * errors[:, 0]
    excitement = appeal + APPEAL_NOISE * errors[:, 1]

    cut = (NUM_FRAMES * chances[:, 2:3]).astype(int)  # the patch starts anywhere in the loop
    pulses = _PULSES[drum_topic[:, None] % len(_PULSES), (_FRAMES + cut) % NUM_FRAMES]
    drum = 0.1 * pulses[:, None] ** 2 * np.exp(-(((_BANDS - 24) / 6) ** 2))
    drop = _FRAMES - 8 * chances[:, 3:4] >= 12
    bass = (0.15 * (1 + np.tanh(0.5 * excitement))[:, None] * drop)[:, None] * np.exp(-((_BANDS / 3) ** 2))
    music = (_voice(voice_topic, chances[:, 4]) + drum + bass) * _decibels(5 * np.tanh(0.5 * excitement) - 5)
    noise = _decibels(-38 - 18 * np.tanh(0.8 * clarity))
    power = music * (0.7 + 0.3 * speckle[0]) + noise * speckle[1]
    return np.clip(1 + np.log10(power + 1e-9) * (10 / DECIBELS), 0, 1).astype(np.float32)


def _voice(topic: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """[n, B, T] power: overtones of a pitch that rises, stays or falls, depending on the topic."""
    lowest = 4 + 10 * (topic * _GOLDEN % 1) + 2 * (chance - 0.5)
    glide = 4 * (topic % 3 - 1)
    pitch = (lowest[:, None] + glide[:, None] * (_FRAMES / NUM_FRAMES - 0.5)).astype(np.float32)[:, None]
    voice = np.zeros((len(topic), NUM_BANDS, NUM_FRAMES), np.float32)
    for overtone in range(1, 6):
        loudness = 0.1 * overtone ** -(1.0 + topic % 2) * ((overtone % 2 == 1) | (topic % 4 < 2))
        distance = _BANDS - pitch - np.float32(BANDS_PER_OCTAVE * np.log2(overtone))
        voice += loudness.astype(np.float32)[:, None, None] * np.exp(-(distance**2))
    return voice


def _decibels(level: np.ndarray) -> np.ndarray:
    """[n, 1, 1] float32: power of a level [n] in decibels."""
    return (10 ** (level / 10)).astype(np.float32)[:, None, None]
