"""Sources of information on items are hidden one at a time, in the same sessions."""

import json

import torch

from agents.large_model.checkpoint import load_network
from agents.large_model.config import PRETRAINED
from agents.large_model.env import make_env
from benchmarks.experiments import knockouts
from benchmarks.experiments.knockouts import HIDDEN, table, without

SMALL = ["--scenario", "News", "--sessions", "4"]


def test_a_row_for_each_age_and_the_same_command_adds_none(tmp_path):
    for _ in range(2):
        assert knockouts.main(["--out", str(tmp_path), *SMALL]) == 0
        rows = [json.loads(line) for line in (tmp_path / "knockouts.jsonl").read_text().splitlines()]
        assert [row["age"] for row in rows] == ["any age", "new"]
    for row in rows:
        assert set(row["differences"]) == set(HIDDEN)
        assert all(low <= mean <= high for mean, low, high in row["differences"].values())
        assert row["differences"]["audio"] == [0.0, 0.0, 0.0]  # News has none
    assert (tmp_path / "knockouts.md").read_text() == table(rows)


def test_a_hidden_source_leaves_the_others_as_they_are():
    env = make_env("recsim_env/Video-v0", 2, session_length=6)
    network = load_network(PRETRAINED)
    content, names = network.content_of(env), network.schema.content_names
    for source, columns in {
        "title": {"quality by title", "appeal by title"},
        "cues": {"quality cue", "appeal cue"},
        "statistics": set(),
    }.items():
        bare = without(network, content, HIDDEN[source])
        for number, name in enumerate(names):
            is_same = torch.equal(bare.features[:, number], content.features[:, number])
            assert is_same == (name not in columns), (source, name)
        assert torch.equal(bare.statistics, content.statistics) == (source != "statistics")
