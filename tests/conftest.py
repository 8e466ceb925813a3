"""The worlds that tests run in: tests take `env_id`, `some_env_id` or `scenario_name`, and run in each."""

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

_log_beside_checkout = CHECKOUT.parent / "shared" / "data" / "ml-100k"
if _log_beside_checkout.is_dir():  # so that the log is found from any working directory, and by subprocesses
    os.environ.setdefault("RECSIM_DATA", str(_log_beside_checkout))

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small matrices; and threads of torch that wait for a busy core are slow

from recsim_env.logs import find_log  # noqa: E402
from recsim_env.scenarios import SCENARIOS  # noqa: E402
from recsim_env.simulation.observation import OBSERVATION_KINDS  # noqa: E402

SCENARIO_NAMES = [name for name, it in SCENARIOS.items() if it.source != "ratings_log" or find_log() is not None]
VARIANTS = ["", "Slate", "Content", "Catalog"]
ENV_IDS = [f"recsim_env/{name}{variant}-v0" for name in SCENARIO_NAMES for variant in VARIANTS]

_OF_EACH = {"Ecommerce": ["Slate"], "Social": ["Content"], "Music": ["Catalog"], "News": [""], "MovieLens": ["Catalog"]}
_OF_EACH |= {"Video": ["", "Slate"], "Ratings": ["Content"]}
SOME_ENV_IDS = [f"recsim_env/{name}{variant}-v0" for name in SCENARIO_NAMES for variant in _OF_EACH[name]]
"""Each scenario once or twice, with each variant twice, for tests that would take minutes with all ids."""


@pytest.fixture(params=SCENARIO_NAMES)
def scenario_name(request) -> str:
    return request.param


@pytest.fixture(params=ENV_IDS)
def env_id(request) -> str:
    return request.param


@pytest.fixture(params=SOME_ENV_IDS)
def some_env_id(request) -> str:
    return request.param


@pytest.fixture(params=OBSERVATION_KINDS)
def observation_kind(request) -> str:
    return request.param
