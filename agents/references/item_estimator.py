"""What items are, as well as it can be told from what anyone sees of them: content, age and statistics.

A regression from what is seen to what is latent, learnt in catalogues whose truth was read. Under squared error it
tends to the posterior mean, which is all that can be known without asking anybody.

Shape legend: I items of a catalogue, A refreshes of statistics, L latent numbers of an item, V width.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss, silu

from agents.large_model.worlds import make_env
from agents.networks.content_encoder import ContentEncoder
from agents.networks.item_content import ITEM_STATE, ItemContent
from agents.networks.schema import Schema
from recsim_env.simulation.observation import REFRESH_AT

_LATENTS = ("factors", "topics", "quality", "appeal")
_WIDTH, _WORD_BUCKETS, _WORD_WIDTH = 64, 512, 16
_HIDDEN, _BATCH = 128, 128
_HELD_OUT = 5
_AGES = np.array([np.flatnonzero(refresh == REFRESH_AT)[0] for refresh in range(REFRESH_AT[-1] + 1)])
"""The age at each refresh."""


class _Network(nn.Module):
    """Content and `ITEM_STATE` of items to their latent numbers, each with mean 0 and deviation 1 where it was learnt."""

    def __init__(self, schema: Schema, num_latents: int) -> None:
        super().__init__()
        self.encoder = ContentEncoder(schema, item_width=_WIDTH, num_word_buckets=_WORD_BUCKETS, word_width=_WORD_WIDTH)
        self.content = nn.Linear(_WIDTH, _HIDDEN)
        self.standing = nn.Linear(len(ITEM_STATE), _HIDDEN, bias=False)
        self.directly = nn.Linear(len(ITEM_STATE), num_latents, bias=False)
        self.deeper = nn.Linear(_HIDDEN, _HIDDEN)
        self.out = nn.Linear(_HIDDEN, num_latents)
        self.mean: torch.Tensor
        self.deviation: torch.Tensor
        self.register_buffer("mean", torch.zeros(num_latents))
        self.register_buffer("deviation", torch.ones(num_latents))

    def forward(self, content: ItemContent, items: torch.Tensor, refreshes: torch.Tensor) -> torch.Tensor:
        """[i, L] of items [i] after as many refreshes [i]."""
        times = content.release_steps[items] + torch.tensor(_AGES)[refreshes]
        standing = content.item_state(items[:, None], times[:, None])[:, 0]
        hidden = silu(self.content(self.encoder(content, items)) + self.standing(standing))
        return self.directly(standing) + self.out(silu(self.deeper(hidden)))

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """[i, L]: latent numbers as `forward` gives them."""
        return (latents - self.mean) / self.deviation


@torch.no_grad()
def _error(network: _Network, content: ItemContent, items: torch.Tensor, truth: torch.Tensor) -> float:
    """Squared error about some items, as they are when half of their statistics have come in."""
    found = network(content, items, torch.full_like(items, len(_AGES) // 2))
    return float(mse_loss(found, network.scaled(truth[items])))


class ItemEstimator:
    """Tells what items are from what anyone sees of them.

    Args:
        num_catalogs: catalogues that it learns from.
        num_epochs: times that each item is looked at, with its statistics at some age, at most. What is kept is how
            it was when it erred least about the items that it did not learn from, one in `_HELD_OUT`: catalogues of one
            ratings log hold the same items, and can be learnt by heart.
        learning_rate: of AdamW at the beginning; it falls to 0 in a line.
    """

    def __init__(self, *, num_catalogs: int = 8, num_epochs: int = 12, learning_rate: float = 2e-3) -> None:
        self.num_catalogs, self.num_epochs, self.learning_rate = num_catalogs, num_epochs, learning_rate
        self._network: _Network | None = None
        self._schema: Schema | None = None

    def learn(self, env_id: str, env_options: Mapping[str, Any], seed: int = 0) -> None:
        """Learn from catalogues of a scenario: the one of `env_options`, and those with the next seeds."""
        first = env_options.get("catalog_seed", 0)
        options = [{**env_options, "catalog_seed": first + number} for number in range(self.num_catalogs)]
        envs = [make_env(env_id, 1, **each) for each in options]
        self._schema = Schema.of([env.simulator for env in envs], has_images=False, has_audio=False)
        contents = [self._content(env) for env in envs]
        truths = [torch.tensor(_truth(env), dtype=torch.float32) for env in envs]
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _Network(self._schema, truths[0].shape[1])
        everything = torch.cat(truths)
        network.mean.copy_(everything.mean(0))
        network.deviation.copy_(everything.std(0).clamp(min=1e-6))
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=0.02)
        learnt_from = [torch.arange(len(each)) % _HELD_OUT != 0 for each in truths]
        sizes = [int(mask.sum()) for mask in learnt_from]
        batches = [(place, part) for place, size in enumerate(sizes) for part in range(-(-size // _BATCH))]
        least, best = np.inf, network.state_dict()
        for epoch in range(self.num_epochs):
            orders = [
                mask.nonzero()[:, 0][torch.randperm(size, generator=generator)].split(_BATCH)
                for mask, size in zip(learnt_from, sizes, strict=True)
            ]
            for turn, which in enumerate(torch.randperm(len(batches), generator=generator).tolist()):
                place, part = batches[which]
                items = orders[place][part]
                refreshes = torch.randint(len(_AGES), (len(items),), generator=generator)
                loss = mse_loss(network(contents[place], items, refreshes), network.scaled(truths[place][items]))
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate * (1.0 - (epoch + turn / len(batches)) / self.num_epochs)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            error = sum(
                _error(network, content, (~mask).nonzero()[:, 0], truth)
                for content, truth, mask in zip(contents, truths, learnt_from, strict=True)
            )
            if error < least:
                least, best = error, {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(best)
        for env in envs:
            env.close()
        self._network = network

    @torch.no_grad()
    def estimates(self, env: Any) -> np.ndarray:
        """[A, I] records like `world.item_records`: what each item of the catalogue behind an env seems to be after
        each refresh of its statistics. What anyone can see of it (price, creator, steps) is as it is.

        Raises:
            ValueError: nothing has been learnt.
        """
        if self._network is None:
            raise ValueError("ItemEstimator.estimates: nothing has been learnt yet; call learn first")
        content, world = self._content(env.unwrapped), env.unwrapped.simulator.world
        items = torch.arange(len(world.items))
        records = np.repeat(world.item_records[None], len(_AGES), 0)
        for refresh in range(len(_AGES)):
            found = self._network(content, items, torch.full_like(items, refresh))
            numbers = (found * self._network.deviation + self._network.mean).double().numpy()
            for name, columns in _columns(world.item_records.dtype).items():
                shape = records[name][refresh].shape
                records[name][refresh] = numbers[:, columns].reshape(shape)
            topics = records["topics"][refresh].clip(min=1e-6)
            records["topics"][refresh] = topics / topics.sum(1, keepdims=True)
        return records

    def learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What a file has to hold: arrays, and settings that JSON can hold; `take` brings it back."""
        assert self._network is not None
        assert self._schema is not None
        weights = {name: weight.numpy() for name, weight in self._network.state_dict().items()}
        return weights, self._schema.as_settings()

    def take(self, tensors: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> None:
        """Have learnt what another had."""
        self._schema = Schema.from_settings(dict(settings))
        self._network = _Network(self._schema, len(tensors["mean"]))
        self._network.load_state_dict({name: torch.tensor(x) for name, x in tensors.items()})

    def _content(self, env: Any) -> ItemContent:
        assert self._schema is not None
        return ItemContent.of(env, self._schema, _WORD_BUCKETS, torch.device("cpu"))


def _truth(env: Any) -> np.ndarray:
    """[I, L]: the latent numbers of all items."""
    records = env.simulator.world.item_records
    return np.concatenate([records[name].reshape(len(records), -1) for name in _LATENTS], 1)


def _columns(dtype: np.dtype) -> dict[str, slice]:
    """Where each latent number stands among the L."""
    found, begin = {}, 0
    for name in _LATENTS:
        size = int(np.prod(dtype[name].shape))
        found[name] = slice(begin, begin + size)
        begin += size
    return found
