"""Logs of simulated sessions: what a row says, what is read back, and writers that are interrupted."""

import json

import gymnasium
import numpy as np
import polars as pl
import pytest
from written_logs import CountsSessions, FirstCandidates, Unsteady, contents, make_env, write

import recsim_env
from recsim_env import read_events, read_manifest, replay, scan_events
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.locked_folder import locked
from recsim_env.logs.simulated.event_schema import PER_SLOT
from recsim_env.simulation.records import HISTORY_FEEDBACK, NO_ITEM

# What a row says


def test_a_session_is_logged_from_its_first_step_to_its_last(tmp_path):
    events = read_events(write(tmp_path, num_steps=1_600))
    for (session,), rows in events.group_by(["session"], maintain_order=True):
        assert rows["step"].to_list() == list(range(len(rows)))
        is_over = (rows["terminated"] | rows["truncated"]).to_list()
        assert not any(is_over[:-1])
        assert is_over[-1] or session + 8 not in events["session"]
    assert events["session"].n_unique() > 30


@pytest.mark.parametrize("name", ["Ecommerce", "Social", "Music"])
def test_feedback_is_that_of_the_history_in_the_next_observation(tmp_path, name):
    env = make_env(f"recsim_env/{name}Slate-v0", observation="compact", history_length=20)
    events, simulator = read_events(write(tmp_path, env, rows_per_shard=8, num_steps=8 * 40)), env.simulator
    env.reset(seed=0)
    for step in range(40):
        rows = events[8 * step : 8 * step + 8]
        before = np.array(simulator.sessions["num_shown"])
        env.step(rows["action"].to_numpy())
        shown = {column: np.zeros((8, 5)) for column in HISTORY_FEEDBACK} | {"item": np.full((8, 5), NO_ITEM)}
        for lane, session in enumerate(simulator.sessions):
            for n in range(before[lane], session["num_shown"]):
                feedback = dict(zip(HISTORY_FEEDBACK, session["history_feedback"][n % 20], strict=True))
                slot = int(feedback["slot"])
                shown["item"][lane, slot] = session["history_items"][n % 20]
                for column, value in feedback.items():
                    shown[column][lane, slot] = value
        for column in PER_SLOT:
            np.testing.assert_array_equal(rows[column].to_numpy(), shown[column], err_msg=column)
        if env.simulator.is_over.any():
            env.reset(options={"reset_mask": env.simulator.is_over.copy()})
    for column in ("click", "rating", {"Ecommerce": "purchase", "Social": "follow", "Music": "consumption"}[name]):
        assert events[column].to_numpy().any()


def test_the_reward_is_that_of_the_env_and_its_weighted_terms(tmp_path):
    env = make_env("recsim_env/VideoLifetime-v0", overrides={"reward": {"click": 0.5}})
    events = read_events(write(tmp_path, env, num_steps=8_000, rows_per_shard=8_000))
    rated = (events["item"].to_numpy() >= 0) & events["click"].to_numpy()
    terms = {name: events[f"reward_{name}"].to_numpy() for name in ("rating", "click", "active_day")}
    by_hand = terms["rating"] - 2.0 * rated[:, 0] + 0.5 * terms["click"] + 2.0 * terms["active_day"]
    np.testing.assert_allclose(events["reward"], by_hand / 8, atol=1e-12)
    assert events["visit"].max() > 0
    assert events["reward_active_day"].sum() > 0


def test_an_empty_slot_has_no_item_and_no_feedback(tmp_path):
    class SameTwice(FirstCandidates):
        def predict(self, observations, state=None, episode_start=None, deterministic=True):
            return np.tile([1, 1, 0, 2, 1], (8, 1)), state

    env = make_env("recsim_env/VideoSlate-v0")
    events = read_events(write(tmp_path, env, SameTwice(env)))
    items, candidates = events["item"].to_numpy(), events["candidates"].to_numpy()
    np.testing.assert_array_equal(items[:, [0, 2, 3]], candidates[:, [1, 0, 2]])
    assert (items[:, [1, 4]] == NO_ITEM).all()
    assert not events["click"].to_numpy()[:, [1, 4]].any()


def test_no_column_holds_latent_state():
    schema = read_schema()
    assert not set(schema) & {*recsim_env.simulation.simulator.LATENT_STATE} - {"user"}
    assert "examined" not in schema  # attention is latent


def read_schema():
    from recsim_env.logs.simulated.event_schema import event_schema

    return event_schema(slate_size=1, num_candidates=20, num_action_features=0)


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_the_autoreset_mode_makes_no_difference(tmp_path, mode):
    events = read_events(write(tmp_path / mode, make_env(autoreset_mode=mode)))
    assert events.equals(read_events(write(tmp_path / "default")))


def test_rows_are_those_of_single_envs(tmp_path):
    events = read_events(write(tmp_path, seed=3))
    for lane in range(8):
        rows = events.filter(pl.col("session") == lane)
        env = gymnasium.make("recsim_env/Video-v0")
        env.reset(seed=3 + lane)
        for row in rows.iter_rows(named=True):
            _, reward, terminated, truncated, _ = env.step(row["action"][0])
            assert (reward, terminated, truncated) == (row["reward"], row["terminated"], row["truncated"])


# Files


def test_what_is_read_back_is_what_was_written(tmp_path):
    frames = []
    original = pl.DataFrame.write_parquet

    def keep(frame, *arguments, **options):
        frames.append(frame)
        return original(frame, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pl.DataFrame, "write_parquet", keep)
        write(tmp_path)
    assert len(frames) == 5
    written, read = pl.concat(frames), read_events(tmp_path)
    assert read.schema == written.schema
    for column in read.columns:
        assert read[column].to_numpy().tobytes() == written[column].to_numpy().tobytes()
    assert scan_events(tmp_path).collect().equals(read)


def test_the_same_command_gives_the_same_bytes_in_one_folder_or_another(tmp_path):
    first = contents(write(tmp_path / "one"))
    assert contents(write(tmp_path / "two")) == first
    write(tmp_path / "one")  # complete: nothing to do
    assert contents(tmp_path / "one") == first
    assert set(first) == {"manifest.json", *(f"events-{number:05d}.parquet" for number in range(5))}


def test_the_manifest_says_how_the_log_was_made(tmp_path):
    write(tmp_path, make_env(split="train", overrides={"reward": {"click": 0.5}}), seed=5)
    manifest = read_manifest(tmp_path)
    assert (manifest.env_id, manifest.policy, manifest.seed) == ("recsim_env/Video-v0", "random", 5)
    assert (manifest.num_envs, manifest.num_steps, manifest.steps_per_shard) == (8, 400, 10)
    assert manifest.env_arguments["split"] == "train"
    assert manifest.env_arguments["overrides"] == {"reward": {"click": 0.5}}
    assert manifest.versions["recsim_env"] == recsim_env.__version__
    metadata = pl.read_parquet_metadata(tmp_path / "events-00000.parquet")
    assert metadata["recsim_env.manifest"] == manifest.as_json() == (tmp_path / "manifest.json").read_text()


def test_another_command_in_the_folder_is_refused_in_one_line(tmp_path):
    before = contents(write(tmp_path))
    for arguments, message in (
        ({"seed": 1}, "seed=0, here 1"),
        ({"num_steps": 800}, "num_steps=400, here 800"),
        ({"env": make_env(split="test")}, "env_arguments.split='all', here 'test'"),
        ({"policy": FirstCandidates(make_env())}, "policy='random', here '.*FirstCandidates'"),
    ):
        with pytest.raises(ValueError, match=rf"contains another log \(.*{message}\)"):
            write(tmp_path, **arguments)
    assert contents(tmp_path) == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="contains other files"):
        write(tmp_path)
    assert list(contents(tmp_path)) == ["thesis.tex"]


def test_one_process_writes_into_a_folder(tmp_path):
    with locked(tmp_path), pytest.raises(ValueError, match="another run is writing into this folder"):
        write(tmp_path)


def test_damaged_files_are_named_when_they_are_read(tmp_path):
    write(tmp_path)
    file, generator = tmp_path / "events-00002.parquet", np.random.default_rng(0)
    whole = file.read_bytes()
    for position in [*generator.integers(0, len(whole), 60).tolist(), 0, len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(generator.integers(8))
        file.write_bytes(bytes(damaged))
        try:  # bytes between the parts of a file have no meaning
            assert read_events(tmp_path).shape == (400, 24)
        except ValueError as error:
            assert "events-00002.parquet: " in str(error)  # noqa: PT017
    for content in (whole[:-1], whole[:100], b""):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"events-00002\.parquet: damaged"):
            read_events(tmp_path)
    file.unlink()
    with pytest.raises(ValueError, match="has 4 of 5 shards"):
        read_events(tmp_path)


def test_a_value_that_was_changed_is_noticed(tmp_path):
    write(tmp_path)
    file = tmp_path / "events-00001.parquet"
    changed = pl.read_parquet(file).with_columns(reward=pl.col("reward") + 1e-9)
    changed.write_parquet(file, metadata=pl.read_parquet_metadata(file))
    with pytest.raises(ValueError, match=r"events-00001\.parquet: damaged"):
        read_events(tmp_path)


def test_an_action_that_is_not_one_for_each_lane_is_refused_in_one_line(tmp_path):
    class ShowsOne(FirstCandidates):
        def predict(self, observations, state=None, episode_start=None, deterministic=True):
            return 0, state

    with pytest.raises(ValueError, match=r"^action of shape \(\): must be of shape \(8,\)"):
        write(tmp_path, policy=ShowsOne(make_env()))


def test_folders_without_a_log_and_shards_of_another_log_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing"):
        read_events(tmp_path / "nowhere")
    one, other = write(tmp_path / "one"), write(tmp_path / "other", seed=1)
    (one / "events-00003.parquet").write_bytes((other / "events-00003.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"events-00003\.parquet: belongs to another log"):
        read_events(one)
    (one / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"manifest\.json: damaged"):
        read_events(one)


def test_a_shard_under_the_name_of_another_one_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "events-00003.parquet").write_bytes((tmp_path / "events-00001.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"events-00003\.parquet: is another shard of the log, not shard 3$"):
        read_events(tmp_path)


def test_a_shard_without_a_number_is_read_as_logs_were_once_written(tmp_path):
    write(tmp_path)
    events, file = read_events(tmp_path), tmp_path / "events-00003.parquet"
    metadata = pl.read_parquet_metadata(file)
    assert metadata.pop("recsim_env.shard") == "3"
    pl.read_parquet(file).write_parquet(file, metadata=metadata)
    assert read_events(tmp_path).equals(events)


@pytest.mark.parametrize(
    "change",
    [
        *({name: value} for name in ("num_envs", "num_steps", "steps_per_shard", "seed") for value in ("4", None, -4)),
        *({name: 0} for name in ("num_envs", "num_steps", "steps_per_shard", "slate_size")),
        {"num_steps": 401},
        {"env_arguments": []},
        {"versions": None},
        {"env_id": 3},
    ],
    ids=str,
)
def test_a_manifest_with_impossible_values_is_refused_in_one_line(tmp_path, change):
    manifest = json.loads((write(tmp_path) / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, **change}))
    for reads in (read_events, scan_events, replay):
        with pytest.raises(ValueError, match=r"manifest\.json: damaged, or not the manifest of a simulated log$"):
            reads(tmp_path)


# Interrupted writers


@pytest.mark.parametrize("policy", ["random", FirstCandidates, CountsSessions])
def test_an_interrupted_log_goes_on_where_it_stopped(tmp_path, policy, monkeypatch):
    def arguments():
        env = make_env("recsim_env/Music-v0")
        own = "random" if policy == "random" else policy(env)
        return {"env": env, "policy": own, "epsilon": None if policy == "random" else 0.3}

    whole = contents(write(tmp_path / "whole", **arguments()))
    num_steps, step = 0, RecommenderVectorEnv.step

    def counted(env, actions):
        nonlocal num_steps
        num_steps += 1
        if num_steps == 38:  # in the fourth shard of ten steps
            raise KeyboardInterrupt
        return step(env, actions)

    monkeypatch.setattr(RecommenderVectorEnv, "step", counted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "broken", **arguments())
    assert len(list((tmp_path / "broken").glob("*.parquet"))) == 3
    with pytest.raises(ValueError, match="has 3 of 5 shards"):
        read_events(tmp_path / "broken")
    num_steps = 100
    write(tmp_path / "broken", **arguments())
    assert contents(tmp_path / "broken") == whole
    # With a memory, from the start; otherwise from the third shard.
    assert num_steps - 100 == (50 if policy is CountsSessions else 30)


def test_a_policy_that_is_not_reproducible_is_found_out(tmp_path):
    env = make_env()
    write(tmp_path, env, Unsteady(env))
    (tmp_path / "events-00004.parquet").unlink()
    with pytest.raises(ValueError, match=r"events-00000\.parquet: is not reproduced"):
        write(tmp_path, env, Unsteady(env))


def test_a_policy_is_seeded_so_that_one_object_plays_two_logs_alike(tmp_path):
    class Seeded(FirstCandidates):
        def set_random_seed(self, seed):
            self.generator = np.random.default_rng(seed)

        def predict(self, observations, state=None, episode_start=None, deterministic=True):
            return self.generator.integers(0, 20, 8), state

    env = make_env()
    policy = Seeded(env)
    assert contents(write(tmp_path / "one", env, policy)) == contents(write(tmp_path / "two", env, policy))


def test_a_damaged_resume_point_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "events-00004.parquet").unlink()
    (tmp_path / "resume.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"resume\.npz: damaged; delete it"):
        write(tmp_path)


# Refused envs


def test_an_env_that_starts_its_next_sessions_itself_is_refused(tmp_path):
    with pytest.raises(ValueError, match="autoreset_mode='SameStep': must be 'NextStep', the default, or 'Disabled'"):
        write(tmp_path, make_env(autoreset_mode="SameStep"))
    with pytest.raises(ValueError, match="must be a RecommenderVectorEnv"):
        write(tmp_path, gymnasium.make("recsim_env/Video-v0"))
