"""Item content to vectors: features, title, image, audio and description, any of which may be missing.

Shape legend: i items, F content features, W words, V width of an item's vector, E width of a language model.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import silu

from agents.networks.item_content import ItemContent
from agents.networks.schema import Schema


def _title_encoder(num_word_buckets: int, word_width: int, item_width: int) -> nn.Sequential:
    """[i, W] word numbers to [i, V]: the mean of word embeddings and a linear layer; word 0 is padding."""
    embeddings = nn.EmbeddingBag(num_word_buckets, word_width, mode="mean", padding_idx=0)
    return nn.Sequential(embeddings, nn.Linear(word_width, item_width))


def patch_encoder(channels: int, item_width: int) -> nn.Sequential:
    """[i, channels, 32, 32] to [i, V]: patches of 4 x 4, one convolution over them, and a linear layer."""
    narrow, wide = 16, 32
    patches = nn.Conv2d(channels, narrow, 4, stride=4)  # 8 x 8
    mixed = nn.Conv2d(narrow, wide, 3, stride=2, padding=1)  # 4 x 4
    out = nn.Linear(wide * 4 * 4, item_width)
    return nn.Sequential(patches, nn.SiLU(), mixed, nn.SiLU(), nn.Flatten(), out)


class ContentEncoder(nn.Module):
    """Items to [i, V]: the sum of the encodings of all modalities, with a learned vector for each missing one.

    A modality that is not in the schema has no weights. Word embeddings are shared by hashing. `description_width` is
    E, 0 without descriptions.
    """

    def __init__(
        self, schema: Schema, *, item_width: int, num_word_buckets: int, word_width: int, description_width: int = 0
    ) -> None:
        super().__init__()
        self.features = nn.Linear(len(schema.content_names), item_width)
        self.title = _title_encoder(num_word_buckets, word_width, item_width) if schema.has_titles else None
        self.image = patch_encoder(3, item_width) if schema.has_images else None
        self.audio = patch_encoder(1, item_width) if schema.has_audio else None
        self.description = nn.Linear(description_width, item_width) if description_width else None
        modalities = ("title", "image", "audio", *(("description",) if description_width else ()))
        self.missing = nn.ParameterDict({name: torch.zeros(item_width) for name in modalities})
        self.norm = nn.RMSNorm(item_width)
        self.up, self.down = nn.Linear(item_width, 2 * item_width), nn.Linear(2 * item_width, item_width, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, content: ItemContent, items: torch.Tensor | None = None) -> torch.Tensor:
        """[i, V] of the items with ids [i], or of all items."""
        index = slice(None) if items is None else items
        names = ("features", "words", "images", "audio", "descriptions")
        given = {name: getattr(content, name) for name in names}
        parts: dict[str, Any] = {name: None if part is None else part[index] for name, part in given.items()}
        return self.encode(**parts)

    def encode(
        self,
        features: torch.Tensor,
        words: torch.Tensor | None = None,
        images: torch.Tensor | None = None,
        audio: torch.Tensor | None = None,
        descriptions: torch.Tensor | None = None,
        is_present: Mapping[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """[i, V], from the parts of an `ItemContent` for i items.

        In an exported graph, whose inputs are always the same, an image or audio may be given that the catalogue does
        not have: `is_present["image"]` and `is_present["audio"]`, [] bool each, are False then.
        """
        x = self.features(features)

        def encoded(name: str, encoding: torch.Tensor | None) -> torch.Tensor:
            if encoding is None:
                return self.missing[name]
            return encoding if is_present is None else encoding.where(is_present[name], self.missing[name])

        if self.title is not None:
            assert words is not None, "titles are in the schema of the model, so in the content"
            x = x + torch.where((words > 0).any(1, keepdim=True), self.title(words), self.missing["title"])
        if self.image is not None:
            x = x + encoded("image", None if images is None else self.image(images.to(x.dtype) / 127.5 - 1.0))
        if self.audio is not None:
            x = x + encoded("audio", None if audio is None else self.audio(audio[:, None].to(x.dtype) * 2.0 - 1.0))
        if self.description is not None:
            text = None if descriptions is None else self.description(descriptions.to(x.dtype))
            x = x + encoded("description", text)
        return x + self.down(silu(self.up(self.norm(x))))
