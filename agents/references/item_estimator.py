"""Estimates of latent item attributes from what agents observe of items: content, age and statistics.

A regression that is trained on catalogues whose latent attributes are known. Under squared error it tends to the
posterior mean.

Shape legend: I items of a catalogue, A refreshes of the statistics, L latent attributes of an item, V width.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from torch import nn
from torch.nn.functional import mse_loss, silu

from agents.agent import NotFittedError
from agents.networks.content_encoder import ContentEncoder
from agents.networks.item_content import ITEM_STATE, ItemContent
from agents.networks.schema import Schema
from recsim_env.simulation.relevance import REFRESH_AT

_LATENTS = ("factors", "topics", "quality", "appeal")
_WIDTH, _WORD_BUCKETS, _WORD_WIDTH = 64, 512, 16
_HIDDEN, _BATCH = 128, 128
_HELD_OUT = 5
"""One item in this many is held out for early stopping."""
_AGES = np.array([np.flatnonzero(refresh == REFRESH_AT)[0] for refresh in range(REFRESH_AT[-1] + 1)])
"""The age at each refresh."""


class _Network(nn.Module):
    """Content and `ITEM_STATE` of items to latent attributes, standardised over the training catalogues."""

    def __init__(self, schema: Schema, num_latents: int) -> None:
        super().__init__()
        self.encoder = ContentEncoder(schema, item_width=_WIDTH, num_word_buckets=_WORD_BUCKETS, word_width=_WORD_WIDTH)
        self.content = nn.Linear(_WIDTH, _HIDDEN)
        self.state = nn.Linear(len(ITEM_STATE), _HIDDEN, bias=False)
        self.linear = nn.Linear(len(ITEM_STATE), num_latents, bias=False)
        self.hidden = nn.Linear(_HIDDEN, _HIDDEN)
        self.out = nn.Linear(_HIDDEN, num_latents)
        self.mean: torch.Tensor
        self.deviation: torch.Tensor
        self.register_buffer("mean", torch.zeros(num_latents))
        self.register_buffer("deviation", torch.ones(num_latents))

    def forward(self, content: ItemContent, items: torch.Tensor, refreshes: torch.Tensor) -> torch.Tensor:
        """[i, L] of items [i] after as many refreshes [i]."""
        times = content.release_steps[items] + torch.tensor(_AGES)[refreshes]
        item_state = content.item_state(items[:, None], times[:, None])[:, 0]
        hidden = silu(self.content(self.encoder(content, items)) + self.state(item_state))
        return self.linear(item_state) + self.out(silu(self.hidden(hidden)))

    def standardised(self, latents: torch.Tensor) -> torch.Tensor:
        """[i, L]: standardised latent attributes."""
        return (latents - self.mean) / self.deviation


@torch.no_grad()
def _error(network: _Network, content: ItemContent, items: torch.Tensor, truth: torch.Tensor) -> float:
    """Squared error for some items, after half of the refreshes of their statistics."""
    estimates = network(content, items, torch.full_like(items, len(_AGES) // 2))
    return float(mse_loss(estimates, network.standardised(truth[items])))


@dataclass(kw_only=True)
class ItemEstimator:
    """Estimates latent attributes of items from content, age and statistics."""

    num_catalogs: int = 8
    """Catalogues to train on."""
    num_epochs: int = 12
    """Epochs, at most; in each, an item's statistics are those of a random age. The epoch with the least error on
    held-out items is kept: catalogues of one ratings log share their items, which invites overfitting."""
    learning_rate: float = 2e-3
    """Of AdamW at the start; it falls linearly to 0."""
    _network: _Network | None = field(default=None, init=False)
    _schema: Schema | None = field(default=None, init=False)

    def fit(self, env: Any, seed: int = 0) -> None:
        """Train on the catalogue of an env and on those with the next seeds."""
        first = int(env.simulator.catalog_seed)
        envs = [env.remake(num_envs=1, catalog_seed=first + number) for number in range(self.num_catalogs)]
        self._schema = Schema.of([env.simulator for env in envs], has_images=False, has_audio=False)
        contents = [self._content(env) for env in envs]
        truths = [torch.tensor(_truth(env), dtype=torch.float32) for env in envs]
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _Network(self._schema, truths[0].shape[1])
        latents = torch.cat(truths)
        network.mean.copy_(latents.mean(0))
        network.deviation.copy_(latents.std(0).clamp(min=1e-6))
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=0.02)
        is_training = [torch.arange(len(each)) % _HELD_OUT != 0 for each in truths]
        sizes = [int(mask.sum()) for mask in is_training]
        batches = [(place, part) for place, size in enumerate(sizes) for part in range(-(-size // _BATCH))]
        least, best = np.inf, network.state_dict()
        for epoch in range(self.num_epochs):
            orders = [
                mask.nonzero()[:, 0][torch.randperm(size, generator=generator)].split(_BATCH)
                for mask, size in zip(is_training, sizes, strict=True)
            ]
            for turn, which in enumerate(torch.randperm(len(batches), generator=generator).tolist()):
                place, part = batches[which]
                items = orders[place][part]
                refreshes = torch.randint(len(_AGES), (len(items),), generator=generator)
                loss = mse_loss(network(contents[place], items, refreshes), network.standardised(truths[place][items]))
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate * (1.0 - (epoch + turn / len(batches)) / self.num_epochs)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            error = sum(
                _error(network, content, (~mask).nonzero()[:, 0], truth)
                for content, truth, mask in zip(contents, truths, is_training, strict=True)
            )
            if error < least:
                least, best = error, {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(best)
        for env in envs:
            env.close()
        self._network = network

    @torch.no_grad()
    def estimates(self, env: Any) -> np.ndarray:
        """[A, I] records like `world.item_records`, with estimates after each refresh of the statistics.

        Observable attributes (price, creator, steps) are the true ones.

        Raises:
            NotFittedError: before `fit` or `restore`.
        """
        if self._network is None:
            raise NotFittedError
        content, world = self._content(env), env.simulator.world
        items = torch.arange(len(world.items))
        records = np.repeat(world.item_records[None], len(_AGES), 0)
        dtype = np.dtype([(name, records.dtype[name]) for name in _LATENTS])
        for refresh in range(len(_AGES)):
            estimates = self._network(content, items, torch.full_like(items, refresh))
            latents = (estimates * self._network.deviation + self._network.mean).double().numpy()
            attributes = unstructured_to_structured(latents, dtype)
            for name in _LATENTS:
                records[name][refresh] = attributes[name]
            topics = records["topics"][refresh].clip(min=1e-6)
            records["topics"][refresh] = topics / topics.sum(1, keepdims=True)
        return records

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The weights and the schema, for `restore`."""
        if self._network is None or self._schema is None:
            raise NotFittedError
        weights = {name: weight.numpy() for name, weight in self._network.state_dict().items()}
        return weights, asdict(self._schema)

    def restore(self, tensors: Mapping[str, np.ndarray], schema: Mapping[str, Any]) -> None:
        """Take over the results of another estimator's `learned`."""
        self._schema = Schema.from_settings(dict(schema))
        self._network = _Network(self._schema, len(tensors["mean"]))
        self._network.load_state_dict({name: torch.tensor(x) for name, x in tensors.items()})

    def _content(self, env: Any) -> ItemContent:
        assert self._schema is not None
        return ItemContent.of(env, self._schema, _WORD_BUCKETS, torch.device("cpu"))


def _truth(env: Any) -> np.ndarray:
    """[I, L]: the latent attributes of all items."""
    return structured_to_unstructured(env.simulator.world.item_records[list(_LATENTS)])
