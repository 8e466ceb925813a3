"""Sessions load a server of a stand-in model; their requests are measured."""

import threading

from stand_in_model import catalog_of, recommender_with

from agents.large_model.serving.app import create_app, listen, run
from benchmarks.experiments import serving_load
from benchmarks.experiments.serving_load import ENDPOINTS, measure, table


def test_requests_of_each_endpoint_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(serving_load, "NUM_ITEMS", 400)
    with listen("127.0.0.1", 0) as listener:
        app = create_app(recommender_with(tmp_path, catalog_of()))
        threading.Thread(target=run, args=(app, listener), daemon=True).start()
        for num_candidates in (50, 400):
            times, lasted = measure(listener.getsockname()[1], 2, num_candidates, 1.0)
            assert lasted >= 1.0
            assert set(times) == set(ENDPOINTS)
            assert all(len(seconds) > 0 and min(seconds) > 0.0 for seconds in times.values())


def test_the_table_has_a_line_for_each_row():
    figures = {"requests_per_s": 9.0, "p50_ms": 1.5, "p95_ms": 2.5, "p99_ms": 3.5}
    rows = [{"num_candidates": 100, "num_sessions": n, "endpoint": "feedback", **figures} for n in (1, 8)]
    assert table(rows).row_count == 2
