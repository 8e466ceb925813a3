"""Pictures and sounds of items are files that other programs read."""

import io
import wave

import numpy as np
from matplotlib.image import imread
from stand_in_model import catalog_of, client_with

from agents.large_model.serving.media import png, wav


def test_a_png_file_has_the_pixels_of_the_image():
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    read = imread(io.BytesIO(png(image)), format="png")
    np.testing.assert_array_equal(np.round(read * 255).astype(np.uint8), image.transpose(1, 2, 0))


def test_a_wav_file_sounds_at_the_pitch_and_time_of_the_patch():
    patch = np.zeros((32, 32), np.float32)
    patch[12, 16:] = 1.0  # two octaves above the lowest band, in the second half
    with wave.open(io.BytesIO(wav(patch))) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
    first, second = np.split(samples, 2)
    assert np.abs(first[: len(first) * 9 // 10]).max() == 0.0
    spectrum = np.abs(np.fft.rfft(second))
    assert abs(np.fft.rfftfreq(len(second), 1.0 / rate)[spectrum.argmax()] - 440.0) < 2.0


def test_an_item_with_sound_is_served_with_it(tmp_path):
    with client_with(tmp_path, catalog_of("recsim_env/Music-v0")) as client:
        found = client.get("/items/7").json()
        sound = client.get(found["audio"])
        assert sound.headers["content-type"] == "audio/wav"
        assert sound.content.startswith(b"RIFF")
