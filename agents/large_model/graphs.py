"""The network's calculations as graphs for ONNX: thin modules around the code that plays sessions in PyTorch.

Catalogues are inputs of the graphs, so that one export serves all of them.

Shape legend, which are also the names of dynamic dimensions in the graphs: n sessions, U columns of the part `user`, H
rows of an observed history, P rows that there is room for in a batch of sessions, M candidates, C candidates of the
step before, I items of a catalogue, i some of them, D content directions, W words of the longest title, V those that a
reader reads.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from agents.large_model.model import ROW_COLUMNS, LargeModelNetwork
from agents.large_model.session_state import Observation, SessionState
from agents.networks.catalog_arrays import AUDIO_SHAPE, IMAGE_SHAPE
from agents.networks.item_content import DYNAMICS, ITEM_STATE, ItemContent, with_readings
from agents.networks.schema import SETTING
from recsim_env.simulation.observation import FEEDBACK, RELEVANCE_COLUMNS, STATISTICS
from recsim_env.simulation.records import NUM_REFRESHES

Shape = tuple[int | str, ...]
"""Sizes; dynamic ones by name, such as "n", or in terms of one, such as "7 * H" or "1 + P"."""

FLOAT, INT, BOOL, BYTE = torch.float32, torch.int64, torch.bool, torch.uint8


class Graph(nn.Module):
    """A calculation with named inputs and outputs; `forward` has them in this order."""

    name: str
    network: LargeModelNetwork
    inputs: dict[str, tuple[torch.dtype, Shape]]
    outputs: tuple[str, ...]

    def forward(self, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results = self.calculate(dict(zip(self.inputs, arrays, strict=True)))
        return tuple(results[name] for name in self.outputs)

    def calculate(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        raise NotImplementedError


class ItemsGraph(Graph):
    """Content of some items to their rows of the item tables, with the readings of an `ItemReader`.

    All modalities that the network knows are inputs; images and audio count only if `has_images` and `has_audio`.
    """

    name = "items"
    outputs = ("as_rows", "as_candidates")

    def __init__(self, network: LargeModelNetwork) -> None:
        super().__init__()
        self.network = network
        schema, reader = network.schema, network.reader
        self.inputs = {"features": (FLOAT, ("i", len(schema.content_names)))}
        if schema.has_titles:
            self.inputs["words"] = (INT, ("i", "W"))
        if reader is not None:
            self.inputs["reader_words"] = (INT, ("i", "V"))
        if schema.has_images or reader is not None:
            self.inputs |= {"images": (BYTE, ("i", *IMAGE_SHAPE)), "has_images": (BOOL, ())}
        if schema.has_audio or reader is not None:
            self.inputs |= {"audio": (FLOAT, ("i", *AUDIO_SHAPE)), "has_audio": (BOOL, ())}

    def calculate(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        network, features = self.network, inputs["features"]
        images, audio = inputs.get("images"), inputs.get("audio")
        is_present: dict[str, Any] = {"image": inputs.get("has_images"), "audio": inputs.get("has_audio")}
        if network.reader is not None:
            readings = network.reader(inputs["reader_words"], images, audio, is_present)
            features = with_readings(features, readings, network.schema)
        vectors = network.encoder.encode(features, inputs.get("words"), images, audio, is_present=is_present)
        return dict(zip(self.outputs, network.tables_of(vectors), strict=True))


class SessionGraph(Graph):
    """Scores of the candidates of n sessions, and what was read of them.

    Inputs are the parts of compact observations, and the tables of the catalogue.
    """

    def __init__(self, network: LargeModelNetwork) -> None:
        super().__init__()
        self.network = network
        config, schema = network.config, network.schema
        num_user_features = len(schema.user_names)
        self.inputs = {
            "user": (FLOAT, ("n", "U")),
            "history_items": (INT, ("n", "H")),
            "history_feedback": (FLOAT, ("n", f"{len(FEEDBACK)} * H")),
            "candidate_items": (INT, ("n", "M")),
            "candidate_relevance": (FLOAT, ("n", f"{len(RELEVANCE_COLUMNS)} * M")),
            "time": (INT, ("n", 1)),
            "setting": (FLOAT, (len(SETTING),)),
            "user_columns": (INT, (num_user_features,)),
            "elapsed_column": (INT, (1,)),
            "slate_size": (INT, ()),
            "session_length": (INT, ()),
            "domain": (INT, ()),
            "as_rows": (FLOAT, ("I", config.width)),
            "as_candidates": (FLOAT, ("I", config.candidate_width)),
            "directions": (FLOAT, ("I", "D")),
            "statistics": (FLOAT, (NUM_REFRESHES, "I", len(STATISTICS))),
            "release_steps": (INT, ("I",)),
            "creators": (INT, ("I",)),
        }
        memories = ("memories",) if network.memory is not None else ()
        state = ("num_rows", "items", "feedback", "keys", "values", "states", *memories, "relations")
        self.outputs = ("logits", "scores", "expected_rewards", *(f"next_{name}" for name in state))

    def observation(self, inputs: dict[str, torch.Tensor]) -> Observation:
        return Observation.of(inputs, *(inputs[name] for name in ("setting", "user_columns", "elapsed_column")))

    def state(self, inputs: dict[str, torch.Tensor], num_rows: int, num_candidates: int) -> SessionState:
        """Sessions of which nothing has been read, with room for `num_rows` rows."""
        as_rows = inputs["as_rows"]
        names = ("directions", "statistics", "release_steps", "creators")
        content = ItemContent(
            features=as_rows[:, :0],  # is in the tables
            words=None,
            images=None,
            audio=None,
            domain=inputs["domain"],  # type: ignore[arg-type]
            has_creators=True,
            **{name: inputs[name] for name in names},
        )
        return SessionState(
            self.network,
            content,
            (as_rows, inputs["as_candidates"]),
            num_slots=inputs["slate_size"],
            max_steps=inputs["session_length"],
            num_sessions=inputs["user"].shape[0],
            num_rows=num_rows,
            num_candidates=num_candidates,
        )

    def results(self, state: SessionState, observation: Observation) -> dict[str, torch.Tensor]:
        found = state.scores(observation)
        names = ("num_rows", "items", "feedback", "states", "memories", "relations")
        return {
            "logits": found.logits,
            "scores": found.logits * found.temperature,
            "expected_rewards": found.expected_rewards,
            "next_keys": torch.stack(state.cache.keys, 1),
            "next_values": torch.stack(state.cache.values, 1),
            **{f"next_{name}": getattr(state, name) for name in names},
        }


class StartGraph(SessionGraph):
    """Reads sessions from one observation each, as `SessionState.start`."""

    name = "start"

    def calculate(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        observation = self.observation(inputs)
        state = self.state(inputs, observation.items.shape[1], observation.candidates.shape[1])
        state.start(observation)
        return self.results(state, observation)


class StepGraph(SessionGraph):
    """Reads the feedback to the last step of sessions, as `SessionState.update`.

    The state before it is an input, with room for the H rows of the observed history, which are the latest: `num_shown`
    of them are new.
    """

    name = "step"

    def __init__(self, network: LargeModelNetwork) -> None:
        super().__init__(network)
        config = network.config
        num_layers, num_heads = config.num_layers, config.num_key_heads
        cache = (FLOAT, ("n", num_layers, "1 + P", num_heads, config.width // config.num_heads))
        self.inputs |= {
            "num_shown": (INT, ("n",)),
            "num_rows": (INT, ("n",)),
            "items": (INT, ("n", "P")),
            "feedback": (FLOAT, ("n", "P", len(ROW_COLUMNS))),
            "keys": cache,
            "values": cache,
            "states": (FLOAT, ("n", config.width)),
            "elapsed": (FLOAT, ("n",)),
            "candidates": (INT, ("n", "C")),
            "relations": (FLOAT, ("n", "C", len(DYNAMICS) - len(ITEM_STATE))),
        }
        if network.memory is not None:
            self.inputs["memories"] = (FLOAT, ("n", "D", config.memory_channels))

    def calculate(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        observation = self.observation(inputs)
        state = self.state(inputs, inputs["items"].shape[1], inputs["candidates"].shape[1])
        state.num_slots = observation.items.shape[1]  # a size, where `slate_size` is a value
        names = ("num_rows", "items", "feedback", "states", "elapsed", "candidates", "relations", "memories")
        for name in names:
            if name in inputs:
                setattr(state, name, inputs[name].clone())
        state.cache.lengths = 1 + state.num_rows
        state.cache.keys, state.cache.values = (
            [layer.clone() for layer in inputs[name].unbind(1)] for name in ("keys", "values")
        )
        state.update(observation, inputs["num_shown"])
        return self.results(state, observation)


GRAPHS: Mapping[str, Any] = {graph.name: graph for graph in (ItemsGraph, StartGraph, StepGraph)}
