"""Exported graphs with weights of linear layers in 8 bits."""

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from agents.large_model.env import make_env
from agents.large_model.random_sessions import ENV_IDS, random_sessions
from agents.large_model.serving.export_folder import PRECISIONS, START, STEP, graph_file
from agents.large_model.serving.exported_agent import ExportedRunner
from agents.large_model.serving.exported_model import ExportedModel

_NUM_LANES, _NUM_STEPS, _SEED = 8, 12, 500_000_001
_LINEAR = ["MatMul", "Gemm"]
_ONLY_WEIGHTS = {"MatMulConstBOnly": True}  # products of two activations, as in attention, stay as they are
_, _DYNAMIC, _STATIC = PRECISIONS


def quantize(folder: Path, precision: str) -> None:
    """Write the graphs `start` and `step` of an export in another precision beside those in full precision.

    Activations of `int8-static` are calibrated in random sessions of the split `train`.
    """
    calibration = _calibration_inputs(folder) if precision == _STATIC else {}
    for name in (START, STEP):
        with TemporaryDirectory() as temporary, _quiet():
            prepared = Path(temporary) / "prepared.onnx"
            quant_pre_process(folder / graph_file(name), prepared, skip_symbolic_shape=True)
            options: dict[str, Any] = {
                "model_input": prepared,
                "model_output": folder / graph_file(name, precision),
                "op_types_to_quantize": _LINEAR,
                "per_channel": True,
                "weight_type": QuantType.QInt8,
                "extra_options": _ONLY_WEIGHTS,
            }
            if precision == _DYNAMIC:
                quantize_dynamic(**options)
            else:
                reader = _Reader(calibration[name])
                quantize_static(calibration_data_reader=reader, quant_format=QuantFormat.QDQ, **options)


def _calibration_inputs(folder: Path) -> dict[str, list[dict[str, np.ndarray]]]:
    """Inputs of the graphs `start` and `step` in some random sessions of the split `train`."""
    model = _RecordingModel(folder)
    for env_id in ENV_IDS:
        env = make_env(env_id, _NUM_LANES, split="train")
        runner = ExportedRunner(model, model.catalog(env), _NUM_LANES)
        for observations, starts in itertools.islice(random_sessions(env, _SEED), _NUM_STEPS):
            runner.scores(observations, starts)
            model.start(runner.tables, observations)
    return model.recorded


class _RecordingModel(ExportedModel):
    """Keeps the inputs of all calls."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.recorded: dict[str, list[dict[str, np.ndarray]]] = {START: [], STEP: []}

    def start_inputs(self, *arguments: Any) -> dict[str, np.ndarray]:
        self.recorded[START].append(super().start_inputs(*arguments))
        return self.recorded[START][-1]

    def step_inputs(self, *arguments: Any) -> dict[str, np.ndarray]:
        self.recorded[STEP].append(super().step_inputs(*arguments))
        return self.recorded[STEP][-1]


class _Reader(CalibrationDataReader):
    def __init__(self, inputs: list[dict[str, np.ndarray]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return next(self._inputs, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings on the preparation of graphs."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(level)
