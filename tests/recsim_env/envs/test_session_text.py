"""A session in text, without latent state."""

import re

import gymnasium
import numpy as np
import pytest

from recsim_env.envs.session_recording import ShownItem
from recsim_env.envs.session_text import rating_text, session_as_text
from recsim_env.simulation.records import NO_ITEM

SHOWN = re.compile(r"^ +(\d+)\. (.+?) {2,}(?:slot (\d+): )?(skipped|consumed +\d+%, (?:[★☆]{5}|not rated|not bought))$")
OFFERED = re.compile(r"^  \[ *(\d+)\] (.+?) {2,}(?:click rate ( *\d+)%, mean rating (\d\.\d)|no ratings yet)$")


def parse(text: str) -> tuple[str, list[re.Match], list[re.Match], str]:
    """Heading, lines of items shown, lines of items on offer, and the last line; no line is left over."""
    heading, *lines = text.splitlines()
    cut = lines.index("  candidates:")
    shown, (*offered, rest) = [SHOWN.match(line) for line in lines[:cut]], lines[cut + 1 :]
    offered = [OFFERED.match(line) for line in offered]
    assert None not in shown
    assert None not in offered
    return heading, shown, offered, rest


def test_a_session_is_rendered_one_line_for_each_item(scenario_name):
    env = gymnasium.make(f"recsim_env/{scenario_name}-v0", render_mode="ansi").unwrapped
    env.reset(seed=5)
    titles, ids = env.simulator.world.items.title, env.simulator.world.items.ids

    def is_named(text, item):
        title, _, own_id = text.rstrip("]").rpartition(" [") if ids else (text, "", "")
        return titles(int(item)).startswith(title.rstrip("…").rstrip()) and own_id == (ids[int(item)] if ids else "")

    num_logged = int(env.simulator.sessions["num_shown"][0])
    for step in range(25):
        heading, shown, offered, rest = parse(env.render())
        assert heading == f"{scenario_name} · step {step} of 50"
        assert [int(line[1]) for line in shown] == list(range(max(1, num_logged + step - 19), num_logged + step + 1))
        session = env.simulator.sessions[0]
        items = [session["history_items"][(int(line[1]) - 1) % 20] for line in shown]
        for item, line in zip(items, shown, strict=True):
            assert is_named(line[2], item)
        assert [int(line[1]) for line in offered] == list(range(10))
        for place, line in enumerate(offered):
            assert is_named(line[2], session["candidates"][place])
        assert rest == "        and 10 more"
        env.simulator.sessions["patience"] = 8.0  # no user leaves
        env.step(step % 20)


def test_feedback_is_rendered():
    overrides = {"behaviour": {"choice_intercept": 2.0, "initial_trust": 1.0}}  # many clicks
    env = gymnasium.make("recsim_env/Video-v0", render_mode="ansi", overrides=overrides).unwrapped
    env.reset(seed=5)
    kinds = set()
    for step in range(40):
        env.simulator.sessions["patience"] = 8.0  # no user leaves
        *_, info = env.step(step % 20)
        answer = parse(env.render())[1][-1][4]
        if not info["reward_click"]:
            assert answer == "skipped"
        else:
            assert answer.startswith(f"consumed {info['reward_consumption']:4.0%}, ")
            assert answer.endswith("not rated") or answer.count("★") == info["reward_rating"]
        kinds.add(answer.split()[-1][:1])
    assert len(kinds) >= 3  # skipped, rated, not rated


@pytest.mark.parametrize(
    ("rating", "text"), [(0.5, "½☆☆☆☆"), (1.0, "★☆☆☆☆"), (3.5, "★★★½☆"), (4.5, "★★★★½"), (5.0, "★★★★★"), (2.6, "★★½☆☆")]
)
def test_ratings_are_rendered_to_the_nearest_half_star(rating, text):
    shown = ShownItem(item=0, slot=0.0, click=1.0, consumption=1.0, rating=rating, purchase=0.0, follow=0.0)
    assert rating_text(shown, is_shop=False) == text


def test_slates_are_rendered_with_their_slots():
    env = gymnasium.make("recsim_env/VideoSlate-v0", render_mode="ansi").unwrapped
    env.reset(seed=5)
    env.step(np.array([3, 1, 3, 0, 2]))
    shown = parse(env.render())[1]
    assert [line[3] for line in shown] == [None, "2", "4", "5"]  # slot 3 repeated slot 1, and stayed empty


def test_a_vector_env_renders_each_lane():
    envs = gymnasium.make_vec("recsim_env/VideoSlate-v0", 3, render_mode="ansi")
    env = gymnasium.make("recsim_env/VideoSlate-v0", render_mode="ansi")
    envs.reset(seed=1)
    env.reset(seed=3)
    envs.step(np.tile(np.arange(5), (3, 1)))
    env.step(np.arange(5))
    texts = envs.render()
    assert type(texts) is tuple
    assert len(set(texts)) == 3
    assert texts[2] == env.render()


def test_rendering_shows_nothing_that_is_latent(scenario_name):
    """Two sessions that differ in all that is latent, and in nothing that is observed, look the same."""
    env = gymnasium.make(f"recsim_env/{scenario_name}-v0", render_mode="ansi").unwrapped
    env.reset(seed=5)
    for action in range(5):
        if not env.step(action)[2]:
            continue
    before = env.render()
    session = env.simulator.sessions
    for name in ("interests", "satiation", "trust", "patience", "rating_bias", "rating_scale", "receptiveness"):
        session[name] = 0.123
    session["noise_key"] = session["user_key"] = session["world_key"] = 1
    twin = np.flatnonzero((env.simulator.world.users.profiles == 0).all(1))
    session["user"] = twin[0] if len(twin) else (session["user"] + 1) % len(env.simulator.world.users)
    assert env.render() == before


def test_missing_candidates_are_not_offered():
    env = gymnasium.make("recsim_env/Video-v0", render_mode="ansi").unwrapped
    env.reset(seed=5)
    env.simulator.sessions["candidates"][0, 4:] = NO_ITEM
    lines = session_as_text(env.simulator, 0).splitlines()
    offered = [line for line in lines if OFFERED.match(line)]
    assert len(offered) == 4
    assert lines[-1] == offered[-1]


def test_rendering_without_a_mode_warns_and_gives_nothing():
    for env in (gymnasium.make("recsim_env/Video-v0").unwrapped, gymnasium.make_vec("recsim_env/Video-v0", 2)):
        env.reset(seed=0)
        with pytest.warns(UserWarning, match="render"):
            assert env.render() is None


def test_rendering_changes_nothing():
    envs = [gymnasium.make("recsim_env/Video-v0", render_mode="ansi").unwrapped for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    rewards = [[], []]
    for step in range(10):
        for env, own in zip(envs, rewards, strict=True):
            env.simulator.sessions["patience"] = 8.0  # no user leaves
            if env is envs[0]:
                assert env.render() == env.render()
            own.append(env.step(step)[1])
    assert rewards[0] == rewards[1]
