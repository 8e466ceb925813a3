"""The content tower: what is known of items, in any form, to one vector each; any form may be missing.

Shape legend: i items, F content features, W words, V width of an item's vector, E width of a language model.
"""

import torch
from torch import nn
from torch.nn.functional import silu

from agents.networks.item_content import ItemContent
from agents.networks.schema import Schema


class WordTower(nn.Module):
    """[i, W] numbers of words to [i, V]: the mean of their embeddings through a layer; 0 is no word."""

    def __init__(self, num_word_buckets: int, word_width: int, item_width: int) -> None:
        super().__init__()
        self.embeddings = nn.EmbeddingBag(num_word_buckets, word_width, mode="mean", padding_idx=0)
        self.out = nn.Linear(word_width, item_width)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.out(self.embeddings(words))


class PatchTower(nn.Module):
    """[i, channels, 32, 32] to [i, V]: patches of 4 x 4, mixed with their neighbours twice, then a layer over all."""

    def __init__(self, channels: int, out_width: int) -> None:
        super().__init__()
        narrow, wide = 16, 32
        self.patches = nn.Conv2d(channels, narrow, 4, stride=4)  # 8 x 8
        self.mixed = nn.Conv2d(narrow, wide, 3, stride=2, padding=1)  # 4 x 4
        self.out = nn.Linear(wide * 4 * 4, out_width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(silu(self.mixed(silu(self.patches(x)))).flatten(1))


class ContentEncoder(nn.Module):
    """Items to [i, V]: what each modality says is added up, a vector of its own standing in for one that is missing.

    A modality that the schema does not have has no weights.

    Args:
        schema: of the model.
        item_width: V.
        num_word_buckets: embeddings that all words share, by a hash.
        word_width: of a word's embedding.
        description_width: E; 0 if there are no descriptions.
    """

    def __init__(
        self, schema: Schema, *, item_width: int, num_word_buckets: int, word_width: int, description_width: int = 0
    ) -> None:
        super().__init__()
        width = item_width
        self.dense = nn.Linear(len(schema.content_names), width)
        self.words = WordTower(num_word_buckets, word_width, width)
        self.picture = PatchTower(3, width) if schema.has_pictures else None
        self.sound = PatchTower(1, width) if schema.has_sounds else None
        self.description = nn.Linear(description_width, width) if description_width else None
        modalities = ("words", "picture", "sound", *(("description",) if description_width else ()))
        self.missing = nn.ParameterDict({name: torch.zeros(width) for name in modalities})
        self.norm = nn.RMSNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, content: ItemContent, items: torch.Tensor | None = None) -> torch.Tensor:
        """[i, V] of some items by their ids [i], or of all of them."""
        which = slice(None) if items is None else items
        x = self.dense(content.features[which])
        words = content.words[which]
        x = x + torch.where((words > 0).any(1, keepdim=True), self.words(words), self.missing["words"])
        if self.picture is not None:
            seen = None if content.pictures is None else content.pictures[which].to(x.dtype) / 127.5 - 1.0
            x = x + (self.missing["picture"] if seen is None else self.picture(seen))
        if self.sound is not None:
            heard = None if content.sounds is None else content.sounds[which][:, None].to(x.dtype) * 2.0 - 1.0
            x = x + (self.missing["sound"] if heard is None else self.sound(heard))
        if self.description is not None:
            told = None if content.descriptions is None else content.descriptions[which].to(x.dtype)
            x = x + (self.missing["description"] if told is None else self.description(told))
        return x + self.down(silu(self.up(self.norm(x))))
