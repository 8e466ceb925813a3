"""Pictures and sounds of items, as files that a browser opens."""

import io
import struct
import wave
import zlib

import numpy as np

from recsim_env.world.audio import BANDS_PER_OCTAVE, DECIBELS

_RATE = 16_000
_SAMPLES_OF_FRAME = 1_000
_LOWEST = 110.0  # pitch of the first band in Hz


def png(image: np.ndarray) -> bytes:
    """An image [3, H, W] uint8, red, green and blue, as a PNG file."""
    height, width = image.shape[1:]
    rows = np.ascontiguousarray(image.transpose(1, 2, 0)).reshape(height, 3 * width)
    unfiltered = np.pad(rows, ((0, 0), (1, 0)))  # each row starts with its filter: none
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(unfiltered.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def wav(patch: np.ndarray) -> bytes:
    """A log-mel patch [B, T] in [0, 1], bands from low to high by frames, as a WAV file: a tone for each band."""
    power = 10.0 ** (DECIBELS / 10.0 * (patch.astype(np.float64) - 1.0)) * (patch > 0.0)
    centres = np.arange(patch.shape[1]) * _SAMPLES_OF_FRAME
    times = np.arange(patch.shape[1] * _SAMPLES_OF_FRAME)
    signal = np.zeros(len(times))
    for band, row in enumerate(np.sqrt(power)):
        pitch = _LOWEST * 2.0 ** (band / BANDS_PER_OCTAVE)
        phase = 2.4 * band  # so that the tones do not add up at the start
        signal += np.interp(times, centres, row) * np.sin(2.0 * np.pi * pitch / _RATE * times + phase)
    loudest = max(float(np.abs(signal).max()), 1e-9)
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes((signal / loudest * 0.8 * 32_767).astype("<i2").tobytes())
    return content.getvalue()
