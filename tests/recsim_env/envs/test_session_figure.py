"""A session in pictures, with latent state."""

import dataclasses
import itertools
import sys

import gymnasium
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_for_gymnasium
from gymnasium.vector import AutoresetMode
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from stable_baselines3.common.env_checker import check_env as check_for_sb3

from recsim_env.envs import session_figure as figures
from recsim_env.envs.session_figure import estimated_ratings, session_figure
from recsim_env.envs.session_recording import SessionRecording, ShownItem
from recsim_env.sb3 import make_sb3_vec_env


def env_of(scenario_name: str, render_mode: str | None = "rgb_array", **options):
    return gymnasium.make(f"recsim_env/{scenario_name}-v0", render_mode=render_mode, **options).unwrapped


def play(env, num_steps: int, seed: int = 5) -> list[float]:
    """Rewards of some steps of a session that the user does not leave, with slates without repeats."""
    env.reset(seed=seed)
    slots, rewards = np.arange(env.simulator.config.slate_size), []
    for step in range(num_steps):
        env.simulator.sessions["patience"] = 8.0
        rewards.append(env.step((slots + step) % 20 if len(slots) > 1 else step % 20)[1])
    return rewards


@pytest.fixture
def without_display():
    """A backend of Matplotlib without windows."""
    before = matplotlib.get_backend()
    plt.switch_backend("Agg")
    yield
    assert plt.get_fignums() == []
    plt.switch_backend(before)


@pytest.fixture
def windows(without_display, monkeypatch):
    """Invisible windows, which take no time."""
    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "test")
    monkeypatch.setattr(FigureCanvasAgg, "start_event_loop", lambda canvas, seconds: None)
    monkeypatch.setattr(FigureManagerBase, "show", lambda manager: None)


def test_human_without_a_display_is_refused_in_one_line(without_display):
    env = env_of("Video", "human")
    with pytest.raises(gymnasium.error.DependencyNotInstalled, match=r"^render_mode='human': no display[^\n]*$"):
        env.reset()
    env.close()


def test_a_picture_is_of_one_size_and_changes_with_each_step(scenario_name):
    env = env_of(scenario_name)
    env.reset(seed=5)
    pictures = [env.render()]
    for action in range(2):
        env.step(action)
        pictures.append(env.render())
    for picture in pictures:
        assert picture.shape == (800, 1280, 3) == (figures.HEIGHT, figures.WIDTH, 3)
        assert picture.dtype == np.uint8
    for earlier, later in itertools.pairwise(pictures):
        assert (earlier != later).any()


def test_the_same_session_gives_the_same_picture_whatever_the_style_of_other_plots():
    first, second = env_of("Video"), env_of("Video")
    play(first, 5)
    play(second, 5)
    expected = first.render()
    with plt.style.context("dark_background"):
        np.testing.assert_array_equal(second.render(), expected)
    second.reset(seed=6)
    assert (second.render() != expected).any()


@pytest.mark.parametrize(
    ("scenario", "slate_size", "num_steps"),
    [
        ("Ratings", 1, 0),
        ("Ratings", 1, 50),
        ("Video", 5, 50),
        ("Ratings", 10, 50),
        ("Ecommerce", 1, 50),
        ("Music", 5, 9),
    ],
)
def test_nothing_written_overlaps_or_leaves_the_picture(scenario, slate_size, num_steps, monkeypatch):
    env = env_of(scenario, slate_size=slate_size)
    play(env, num_steps)
    long_title = "Wolfgang Amadeus Mozart, $300 & $Motörhead " * 4
    monkeypatch.setattr(env.simulator, "world", with_titles(env.recording.world, long_title))
    drawn, draw = [], Text.draw

    def draw_and_note(text, renderer, *args, **kwargs):
        draw(text, renderer, *args, **kwargs)
        if text.get_visible() and text.get_text():
            drawn.append((text.get_text(), text.get_tightbbox(renderer)))

    monkeypatch.setattr(Text, "draw", draw_and_note)
    figure = session_figure(env.recording)
    FigureCanvasAgg(figure).draw()
    assert len(drawn) > 50
    assert sum(long_title in text for text, _ in drawn) == (0 if num_steps == 0 else {1: 12, 5: 10, 10: 10}[slate_size])
    for n, (text, box) in enumerate(drawn):
        assert 0 <= box.x0 < box.x1 <= figures.WIDTH, text
        assert 0 <= box.y0 < box.y1 <= figures.HEIGHT, text
        for other, other_box in drawn[:n]:
            assert not box.overlaps(other_box), f"{text!r} over {other!r}"
    legends = [axis.get_legend() for axis in figure.axes if axis.get_legend() is not None]
    for legend in legends:
        own = [text.get_text() for text in legend.get_texts()]
        assert not [text for text, box in drawn if text not in own and legend.get_window_extent().overlaps(box)]
    assert len(legends) == 3


def with_titles(world, title: str):
    items = dataclasses.replace(world.items, title=lambda item: title)
    return dataclasses.replace(world, items=items)


def test_a_picture_says_so_when_the_user_has_left():
    env = env_of("Video")
    env.reset(seed=5)
    is_over = False
    while not is_over:
        env.simulator.sessions["patience"], env.simulator.sessions["trust"] = 0.01, 0.0
        assert "has left" not in session_figure(env.recording).texts[0].get_text()
        is_over = env.step(0)[2]
    assert "has left" in session_figure(env.recording).texts[0].get_text()


def test_a_trace_holds_the_items_shown_and_their_feedback():
    overrides = {"behaviour": {"choice_intercept": 2.0}, "session": {"reward_scale": 0.125}}
    env = env_of("VideoSlate", overrides=overrides)
    env.reset(seed=5)
    for step in range(20):
        env.simulator.sessions["patience"], env.simulator.sessions["trust"] = 8.0, float(step < 10)
        candidates = np.array(env.simulator.sessions["candidates"][0])
        _, reward, _, _, info = env.step(np.array([3, 1, 3, 0, 2]))
        slate = env.recording.slates[step]
        assert [(shown.slot, shown.item) for shown in slate] == [
            (slot, candidates[place]) for slot, place in ((0, 3), (1, 1), (3, 0), (4, 2))
        ]
        chosen = [shown for shown in slate if shown.click]
        assert len(chosen) == 5 * info["reward_click"]
        assert sum(shown.consumption for shown in slate) == pytest.approx(5 * info["reward_consumption"], abs=1e-6)
        rating_sum = 5 * info["reward_rating"]
        assert env.recording.ratings[step] * len(chosen) == pytest.approx(rating_sum)  # the mean of the items rated
        not_submitted = rating_sum - sum(shown.rating for shown in chosen)
        num_hidden = sum(shown.rating == 0.0 for shown in chosen)
        assert num_hidden - 1e-9 <= not_submitted <= 5 * num_hidden + 1e-9
        assert env.recording.rewards[step] == 8.0 * reward  # without `reward_scale`
        assert env.recording.states[step + 1]["trust"] == env.latent_state()["trust"]
    assert len(env.recording.states) == 21
    assert {len([shown for shown in slate if shown.click]) for slate in env.recording.slates} >= {0, 1, 2}


@pytest.mark.parametrize("render_mode", [None, "ansi"])
def test_no_trace_is_kept_without_pictures(render_mode):
    env = env_of("Video", render_mode)
    play(env, 2)
    assert env.recording is None


def test_each_session_has_a_trace_of_its_own():
    env = env_of("Video")
    play(env, 3)
    before = env.recording
    env.reset()
    assert (len(before.slates), len(env.recording.slates)) == (3, 0)


def test_pictures_change_nothing():
    env, watched = env_of("Video", None), env_of("Video")
    expected = play(env, 5)
    play(watched, 2)
    watched.render()
    assert play(watched, 5) == expected


def shown(item: int, rating: float) -> ShownItem:
    return ShownItem(item=item, slot=0.0, click=1.0, consumption=0.5, rating=rating, purchase=0.0, follow=0.0)


def test_ratings_are_estimated_from_the_feedback_of_the_session():
    env = env_of("Video")
    env.reset(seed=5)
    items, recording = env.simulator.world.items, SessionRecording(env.simulator)
    assert estimated_ratings(recording) is None
    liked = items.topics[:, 2] > 0.5
    for item in range(100):
        recording.slates.append([shown(item, rating=5.0 if liked[item] else 2.0)])
    estimated = estimated_ratings(recording)
    assert estimated.shape == (len(items),)
    assert estimated[liked].mean() > estimated[~liked].mean() + 0.5
    unrated = shown(200, rating=0.0)
    recording.slates.append([unrated])
    np.testing.assert_array_equal(estimated_ratings(recording), estimated)


def test_a_click_without_a_purchase_counts_as_0_in_a_shop_only():
    refused = shown(3, rating=0.0)
    for scenario_name, is_answer in (("Ecommerce", True), ("Video", False)):
        env = env_of(scenario_name)
        env.reset(seed=5)
        env.recording.logged, env.recording.slates = [], [[refused]]
        assert (estimated_ratings(env.recording) is not None) == is_answer


def test_items_of_a_logged_history_are_shown_and_learned_from():
    env = env_of("Music")
    session = env.simulator.sessions[0]
    seed = 0
    while not 5 < session["num_shown"] < 20:
        env.reset(seed=seed)
        seed += 1
    assert [shown.item for shown in env.recording.logged] == session["history_items"][: session["num_shown"]].tolist()
    assert estimated_ratings(env.recording) is not None
    assert "log" in [text.get_text() for text in session_figure(env.recording).axes[0].texts]
    env.recording.logged = []
    assert estimated_ratings(env.recording) is None


def test_a_figure_is_written_to_a_file(tmp_path):
    env = env_of("VideoSlate")
    play(env, 3)
    session_figure(env.recording).savefig(tmp_path / "session.png")
    assert plt.imread(tmp_path / "session.png").shape[:2] == (figures.HEIGHT, figures.WIDTH)
    assert plt.get_fignums() == []


def test_a_window_is_drawn_at_each_reset_and_step_and_closed_with_the_env(windows, monkeypatch):
    drawn, draw = [], figures.draw_session
    monkeypatch.setattr(figures, "draw_session", lambda *args: drawn.append(args) or draw(*args))
    env = gymnasium.make("recsim_env/Video-v0", render_mode="human")
    env.reset(seed=5)
    env.step(0)
    assert len(drawn) == 2
    assert env.render() is None
    assert len(drawn) == 3
    assert len(plt.get_fignums()) == 1
    plt.close(plt.get_fignums()[0])  # as a viewer may do
    env.step(1)
    assert len(plt.get_fignums()) == 1
    env.close()
    assert plt.get_fignums() == []
    env.close()


@pytest.mark.parametrize("name", ["Video", "VideoSlate"])
def test_the_checkers_accept_every_way_of_rendering(name, windows, recwarn):
    env = env_of(name)
    check_for_gymnasium(env)  # in each render mode
    check_for_sb3(env, skip_render_check=False)
    assert [str(warning.message) for warning in recwarn] == []


def test_the_wrappers_of_gymnasium_collect_a_frame_for_each_step():
    env = gymnasium.make("recsim_env/Video-v0", render_mode="rgb_array_list")
    env.reset(seed=5)
    env.step(0)
    frames = env.render()
    assert [frame.shape for frame in frames] == [(figures.HEIGHT, figures.WIDTH, 3)] * 2


def test_a_picture_before_the_first_reset_is_refused():
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env_of("Video").render()


@pytest.mark.parametrize("render_mode", ["rgb_array", "human"])
def test_without_matplotlib_one_line_says_what_to_install(render_mode, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "recsim_env.envs.session_figure")
    env = env_of("Video", render_mode)
    if render_mode == "rgb_array":
        env.reset()
    draw = env.reset if render_mode == "human" else env.render
    with pytest.raises(gymnasium.error.DependencyNotInstalled, match=r"^[^\n]*pip install 'recsim-env\[render\]'$"):
        draw()


def test_an_unknown_render_mode_is_refused():
    with (
        pytest.warns(UserWarning, match="render_mode"),
        pytest.raises(ValueError, match=r"^render_mode='gif': must be None or one of human, rgb_array, ansi$"),
    ):
        env_of("Video", "gif")


@pytest.mark.parametrize("autoreset_mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_a_vector_env_draws_the_session_of_each_lane(autoreset_mode):
    options = {"session_length": 3, "render_mode": "rgb_array"}
    envs = gymnasium.make_vec("recsim_env/Video-v0", 2, autoreset_mode=autoreset_mode, **options)
    env = env_of("Video", **options)
    envs.reset(seed=4)
    env.reset(seed=5)
    is_over = False
    for step in range(5):
        if is_over and autoreset_mode == AutoresetMode.NEXT_STEP:
            env.reset()
        else:
            env.step(step)
        _, _, terminated, truncated, _ = envs.step([step] * 2)
        is_over = terminated[1] or truncated[1]
        if is_over and autoreset_mode == AutoresetMode.SAME_STEP:
            env.reset()
        pictures = envs.render()
        assert len(pictures) == 2
        np.testing.assert_array_equal(pictures[1], env.render())


def test_the_sb3_vec_env_draws_lane_0():
    env = make_sb3_vec_env("recsim_env/Video-v0", 3, seed=5, render_mode="rgb_array")
    single = env_of("Video")
    env.reset()
    single.reset(seed=5)
    env.step(np.array([2, 3, 4]))
    single.step(2)
    np.testing.assert_array_equal(env.render(), single.render())


@pytest.mark.parametrize("render_mode", ["human", "gif"])
def test_a_vector_env_has_no_window(render_mode):
    with pytest.raises(ValueError, match=r"must be None or one of rgb_array, ansi$"):
        gymnasium.make_vec("recsim_env/Video-v0", 2, render_mode=render_mode)


def test_a_picture_of_a_lifetime_shows_its_visits_and_absences():
    env = gymnasium.make("recsim_env/VideoLifetime-v0", render_mode="rgb_array").unwrapped
    env.reset(seed=4)
    absences, session = [], env.simulator.sessions[0]
    for step in range(1, 61):
        *_, terminated, truncated, info = env.step(0)
        if info["reward_visit"]:
            absences.append((step, float(session["absence"])))
        if terminated or truncated:
            break
    assert len(absences) > 2
    assert env.recording.visits == absences
    figure = session_figure(env.recording)
    texts = {text.get_text().strip() for axis in figure.axes for text in axis.texts}
    assert {f"{days:.1f}" for _, days in absences} <= texts
    (heading,) = (text.get_text() for text in figure.texts)
    assert heading.startswith(f"VideoLifetime · day {env.recording.day:.0f} of 30 · visit {1 + len(absences)} · ")
    assert env.render().shape == (800, 1280, 3)
