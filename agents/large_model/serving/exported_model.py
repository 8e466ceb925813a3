"""An exported large model: NumPy arrays in, scores out, by ONNX Runtime and without PyTorch.

Shape legend: n sessions, R rows read of a session, M candidates, K of their features, L layers, B key heads, W width of
a head, E width of states, T columns of a row, D content directions, V channels of a memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from agents.explanation import Explanation, explain
from agents.large_model.compact_observations import as_inputs, check_history, newest_rows, stacked
from agents.large_model.serving.export_folder import ITEMS, PRECISIONS, START, STEP, graph_file, read_description
from agents.networks.catalog_arrays import AUDIO_SHAPE, IMAGE_SHAPE, READER_WORD_BUCKETS, CatalogArrays, ItemMedia
from agents.networks.schema import Schema, UserColumns, title_words

_NUM_ITEMS = 2_048
"""Items that are encoded at a time."""


class ServedScores(NamedTuple):
    """Scores of the candidates of n sessions."""

    logits: np.ndarray
    """[n, M] float32: of the policy; `candidate_scorer.MISSING` where there is no candidate."""
    scores: np.ndarray
    """[n, M] float32: logits times the temperature of the policy, in units of reward unless the model is a
    generalist; up to a constant."""
    expected_rewards: np.ndarray
    """[n, M] float32: expected reward of a candidate shown alone; undefined where there is none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CatalogTables:
    """A catalogue as the graphs `start` and `step` read it, and the sizes of its sessions, by names of inputs.

    They are as in `catalog_arrays.CatalogArrays` and `schema.UserColumns`, with each item's rows of the item tables.
    """

    as_rows: np.ndarray
    as_candidates: np.ndarray
    directions: np.ndarray
    statistics: np.ndarray
    release_steps: np.ndarray
    creators: np.ndarray
    domain: np.ndarray
    setting: np.ndarray
    user_columns: np.ndarray
    elapsed_column: np.ndarray
    slate_size: np.ndarray
    session_length: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class CachedSession:
    """What has been read of one session; `ExportedModel.step` returns a new one and leaves it as it is."""

    items: np.ndarray
    """[R] int64."""
    feedback: np.ndarray
    """[R, T] float32."""
    keys: np.ndarray
    """[L, 1 + R, B, W] float32."""
    values: np.ndarray
    """[L, 1 + R, B, W] float32."""
    states: np.ndarray
    """[E] float32: the latest state of the session."""
    memories: np.ndarray
    """[D, V] float32: what the items shown have written, by content directions; empty in models without a memory."""
    elapsed: np.ndarray
    """[] float32: share of the session that was over."""
    candidates: np.ndarray
    """[M] int64: of the last step."""
    relations: np.ndarray
    """[M, K] float32: their dynamics with respect to the session, as of then."""

    @property
    def num_rows(self) -> int:
        """R."""
        return len(self.items)

    @property
    def num_bytes(self) -> int:
        """Memory of its arrays."""
        return sum(getattr(self, name).nbytes for name in _SESSION_PARTS)


_SESSION_PARTS = tuple(each.name for each in fields(CachedSession))
_PADDING = {"items": -1, "candidates": -1}


class ExportedModel:
    """A model that `python -m agents.large_model export` has written.

    `start` and `step` may be called by several threads at once, with any sessions of one catalogue in a batch.

    Args:
        folder: that of the export.
        precision: one of those that were exported, see `export_folder.PRECISIONS`.
        num_threads: of ONNX Runtime, for each call.

    Raises:
        ValueError: the folder is no export, is damaged, or does not have the precision; one line.
    """

    def __init__(self, folder: Path | str, *, precision: str = "fp32", num_threads: int = 1) -> None:
        self.folder = Path(folder)
        self.description = read_description(self.folder)
        if precision not in self.description["precisions"]:
            exported = ", ".join(self.description["precisions"])
            raise ValueError(f"precision={precision!r}: must be one of those in {self.folder}: {exported}")
        self.precision, self._num_threads = precision, num_threads
        self.schema = Schema.from_settings(self.description["settings"]["schema"])
        self.version: str = self.description["version"]
        """A short digest of the weights and of the format."""
        self._config = self.description["settings"]["model"]
        self._start, self._step = (_Graph(self._path(name, precision), num_threads) for name in (START, STEP))

    @property
    def max_tokens(self) -> int:
        """Longest session: 1 token for the profile, and one for each item shown."""
        return self._config["max_tokens"]

    def catalog(self, env_or_simulator: Any) -> CatalogTables:
        """The catalogue of an env, which is encoded in parts; to be called once.

        Raises:
            ValueError: its sessions are too long for the model, or its histories too short.
        """
        simulator = getattr(env_or_simulator, "simulator", env_or_simulator)
        check_history(simulator)
        config = simulator.config
        self._check_tokens(1 + config.history_length + config.session_length * config.slate_size)
        arrays = CatalogArrays.of(simulator, self.schema)
        graph = _Graph(self._path(ITEMS), self._num_threads)
        ids = np.arange(len(arrays.features))
        parts = [
            graph(self._item_inputs(simulator.world.items, arrays, ids[start : start + _NUM_ITEMS], graph.inputs))
            for start in range(0, len(ids), _NUM_ITEMS)
        ]
        setting, user_columns, elapsed_column = UserColumns.of(simulator, self.schema)
        return CatalogTables(
            **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
            directions=np.ascontiguousarray(arrays.directions, np.float32),
            statistics=np.ascontiguousarray(arrays.statistics, np.float32),
            release_steps=np.ascontiguousarray(arrays.release_steps, np.int64),
            creators=np.ascontiguousarray(arrays.creators, np.int64),
            domain=np.array(arrays.domain),
            setting=setting,
            user_columns=user_columns,
            elapsed_column=elapsed_column,
            slate_size=np.array(config.slate_size),
            session_length=np.array(config.session_length),
        )

    def start(
        self, tables: CatalogTables, observations: Mapping[str, np.ndarray]
    ) -> tuple[ServedScores, list[CachedSession]]:
        """Read n sessions from one compact observation each: profile and history.

        Args:
            tables: the catalogue, by `catalog`.
            observations: as an env returns them; `compact_observations.stack_observations` makes one batch of several.
        """
        inputs = self.start_inputs(tables, observations)
        return self._served(self._start(inputs), inputs)

    def step(
        self,
        tables: CatalogTables,
        sessions: Sequence[CachedSession],
        observations: Mapping[str, np.ndarray],
        num_shown: np.ndarray,
    ) -> tuple[ServedScores, list[CachedSession]]:
        """Read the feedback to the last step of n sessions, whose lengths may differ.

        Args:
            tables: the catalogue of the sessions.
            sessions: as the last call returned them.
            observations: the next compact observations; of the histories only the newest slates are read.
            num_shown: [n] int64, items of the last slate: at most those of a slate, fewer if there were not enough
                candidates.
        """
        inputs = self.step_inputs(tables, sessions, observations, num_shown)
        return self._served(self._step(inputs), inputs)

    def explain(
        self, tables: CatalogTables, observation: Mapping[str, np.ndarray], candidate: int | None = None
    ) -> Explanation:
        """Explain the score of a candidate, by default of the best, in a batch of one compact observation, as
        `LargeModel.explain`; without `sources`.

        Raises:
            ValueError: there are several sessions, or there is no such candidate.
        """
        return explain(lambda batch: self.start(tables, batch)[0].scores, observation, candidate)

    def start_inputs(self, tables: CatalogTables, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The inputs of the graph `start`, for the arguments of `start`."""
        num_rows = int((observations["history_items"] >= 0).sum(1).max())
        parts = as_inputs(newest_rows(observations, max(num_rows, 1)))
        self._check_tokens(1 + parts["history_items"].shape[1])
        return {**vars(tables), **parts}

    def step_inputs(
        self,
        tables: CatalogTables,
        sessions: Sequence[CachedSession],
        observations: Mapping[str, np.ndarray],
        num_shown: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """The inputs of the graph `step`, for the arguments of `step`: states of sessions, padded to the longest."""
        num_new = max(int(num_shown.max()), 1)
        num_rows = np.array([session.num_rows for session in sessions])
        room = int(num_rows.max()) + num_new
        self._check_tokens(1 + room)
        cache = (0, 1 + room, 0, 0)
        least = {"items": (room,), "feedback": (room, 0), "keys": cache, "values": cache}
        state = {
            name: stacked([getattr(session, name) for session in sessions], _PADDING.get(name, 0), least.get(name, ()))
            for name in _SESSION_PARTS
        }
        counts = {"num_rows": num_rows, "num_shown": np.ascontiguousarray(num_shown, np.int64)}
        return {**vars(tables), **as_inputs(newest_rows(observations, num_new)), **state, **counts}

    def _served(
        self, results: dict[str, np.ndarray], inputs: dict[str, np.ndarray]
    ) -> tuple[ServedScores, list[CachedSession]]:
        elapsed = inputs["user"][:, inputs["elapsed_column"][0]]
        sessions = []
        for i, (num_rows, candidates) in enumerate(
            zip(results["next_num_rows"], inputs["candidate_items"], strict=True)
        ):
            num_candidates = int(np.flatnonzero(candidates >= 0).max(initial=-1)) + 1
            parts = {
                "items": results["next_items"][i, :num_rows],
                "feedback": results["next_feedback"][i, :num_rows],
                "keys": results["next_keys"][i, :, : 1 + num_rows],
                "values": results["next_values"][i, :, : 1 + num_rows],
                "states": results["next_states"][i],
                "memories": results["next_memories"][i] if "next_memories" in results else np.zeros((0, 0), np.float32),
                "elapsed": elapsed[i],
                "candidates": candidates[:num_candidates],
                "relations": results["next_relations"][i, :num_candidates],
            }
            # Copies, which do not keep the padding of the whole batch in memory.
            sessions.append(CachedSession(**{name: np.array(part) for name, part in parts.items()}))
        return ServedScores(*(results[name] for name in ServedScores._fields)), sessions

    def _item_inputs(self, items: Any, arrays: CatalogArrays, ids: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """Inputs of the graph of items, for some of them; zeros in place of modalities that the catalogue lacks."""
        media = ItemMedia.of(
            items,
            ids,
            self._config["num_word_buckets"],
            has_titles="words" in names,
            has_images="images" in names,
            has_audio="audio" in names,
        )
        images = np.zeros((len(ids), *IMAGE_SHAPE), np.uint8) if media.images is None else media.images
        audio = np.zeros((len(ids), *AUDIO_SHAPE), np.float32) if media.audio is None else media.audio
        inputs = {
            "features": np.ascontiguousarray(arrays.features[ids], np.float32),
            "words": media.words,
            "images": images,
            "audio": audio,
            "has_images": np.array(media.images is not None),
            "has_audio": np.array(media.audio is not None),
        }
        if "reader_words" in names:
            inputs["reader_words"] = title_words([items.title(int(item)) for item in ids], READER_WORD_BUCKETS)
        return {name: inputs[name] for name in names}

    def _path(self, name: str, precision: str = PRECISIONS[0]) -> Path:
        return self.folder / graph_file(name, precision)

    def _check_tokens(self, number: int) -> None:
        if number > self.max_tokens:
            raise ValueError(f"sessions of {number - 1} items shown: the model reads at most {self.max_tokens - 1}")


class _Graph:
    """A graph that is ready to run, by names of inputs and outputs."""

    def __init__(self, path: Path, num_threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of several classes, with no common one but this
            raise ValueError(f"{path}: cannot be loaded ({' '.join(str(error).split())})") from None
        self.inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = self._session.run(self._outputs, {name: arrays[name] for name in self.inputs})
        return dict(zip(self._outputs, found, strict=True))
