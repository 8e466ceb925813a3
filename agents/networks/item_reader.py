"""What the title, the image and the audio of an item say of its quality and its appeal.

All worlds have the same words, and the same looks and sounds of quality and appeal, so this is learned once, from
catalogues of sampled scenarios whose latent attributes are known, and holds in every other world.

Shape legend: i items, I items of a catalogue, W words of the longest title, R readings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss, silu
from torch.nn.utils.rnn import pad_sequence

from agents.networks.catalog_arrays import READER_WORD_BUCKETS, ItemMedia
from agents.networks.content_encoder import patch_encoder
from agents.networks.schema import LATENTS_READ
from recsim_env.scenario_sampling import sample_scenario
from recsim_env.world.catalog import Items
from recsim_env.world.world import build_world

_PATCH_WIDTH = 32
_NUM_READ = 2_048
"""Items that are read at a time."""
_NUM_ITEMS, _NUM_EPOCHS, _BATCH, _LEARNING_RATE = 1_500, 4, 256, 3e-3
_FIRST_SEED = 2**30
"""Of the scenarios that it is trained in."""


class ItemReader(nn.Module):
    """Titles, images and audio to `READINGS`, by squared error: they tend to posterior means."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(READER_WORD_BUCKETS, len(LATENTS_READ))
        nn.init.zeros_(self.words.weight)  # unknown words say nothing
        self.image, self.audio = patch_encoder(3, _PATCH_WIDTH), patch_encoder(1, _PATCH_WIDTH)
        self.of_image, self.of_audio = (nn.Linear(_PATCH_WIDTH, len(LATENTS_READ)) for _ in range(2))
        for layer in (self.of_image, self.of_audio):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        words: torch.Tensor,
        images: torch.Tensor | None,
        audio: torch.Tensor | None,
        is_present: Mapping[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """[i, R], from word numbers [i, W] padded with 0, images [i, 3, 32, 32] uint8 and audio [i, 32, 32].

        `is_present` is as for `ContentEncoder.encode`.
        """
        of_title = (self.words(words) * (words > 0)[:, :, None]).sum(1)
        of_image = of_audio = torch.zeros_like(of_title)
        if images is not None:
            of_image = self.of_image(silu(self.image(images / 127.5 - 1.0)))
        if audio is not None:
            of_audio = self.of_audio(silu(self.audio(audio[:, None] * 2.0 - 1.0)))
        if is_present is not None:
            of_image, of_audio = of_image * is_present["image"], of_audio * is_present["audio"]
        return torch.cat([of_title, of_image, of_audio], 1)

    @torch.no_grad()
    def read(self, items: Items) -> np.ndarray:
        """[I, R] float32: `READINGS` of all items of a catalogue."""
        parts = [self(*sources) for sources in self.sources(items, np.arange(len(items)))]
        return torch.cat(parts).cpu().numpy()

    def frozen(self) -> "ItemReader":
        """Itself, with buffers in place of parameters, so that it is saved with a network and not trained further."""
        for module in self.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach())
        return self

    def sources(self, items: Items, ids: np.ndarray) -> Iterator[tuple[torch.Tensor | None, ...]]:
        """Words, images and audio of some items, a part at a time."""
        device = self.words.weight.device
        for start in range(0, len(ids), _NUM_READ):
            media = ItemMedia.of(items, ids[start : start + _NUM_READ], READER_WORD_BUCKETS)
            yield tuple(None if part is None else torch.tensor(part, device=device) for part in media)


def trained_item_reader(num_catalogs: int, seed: int = 0) -> ItemReader:
    """A reader that has been trained on catalogues of as many sampled scenarios of the family `train`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = ItemReader()
    generator = np.random.default_rng(seed)
    catalogs = [_labelled(reader, number, generator) for number in range(num_catalogs)]
    titles, *others = zip(*catalogs, strict=True)
    words = pad_sequence([title for part in titles for title in part], batch_first=True)
    images, audio, latents = (torch.cat(parts) for parts in others)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=_LEARNING_RATE)
    batches = [
        batch
        for _ in range(_NUM_EPOCHS)
        for batch in np.array_split(generator.permutation(len(words)), -(-len(words) // _BATCH))
    ]
    for number, batch in enumerate(batches):
        readings = reader(words[batch], images[batch], audio[batch]).unflatten(1, (-1, len(LATENTS_READ)))
        loss = mse_loss(readings, latents[batch][:, None].expand_as(readings))
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * (1.0 - number / len(batches))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return reader


def _labelled(reader: ItemReader, number: int, generator: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Words, images, audio and latent attributes of some items of a catalogue."""
    scenario = sample_scenario(_FIRST_SEED + number)
    scenario = replace(scenario, catalog=replace(scenario.catalog, has_audio=True))
    items = build_world(scenario, split="train", structure_split="train").items
    ids = generator.permutation(len(items))[:_NUM_ITEMS]
    (sources,) = reader.sources(items, ids)  # few enough for one part
    latents = np.stack([getattr(items, name)[ids] for name in LATENTS_READ], 1)
    return *sources, torch.tensor(latents, dtype=torch.float32)  # type: ignore[arg-type]
