"""A session as a Matplotlib figure with latent state, drawn from a `SessionRecording`.

Shape legend: I items, K topics, F content features, L items with feedback.
"""

from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from recsim_env.envs.session_recording import SessionRecording, ShownItem
from recsim_env.envs.session_text import rating_text

try:
    import matplotlib.style
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
except ModuleNotFoundError:
    raise DependencyNotInstalled("pictures need Matplotlib: pip install 'recsim-env[render]'") from None

WIDTH, HEIGHT = 1280, 800
"""Size of a picture in pixels: multiples of 16, for video encoders."""

_DPI = 100
_SIZE: dict[str, Any] = {"figsize": (WIDTH / _DPI, HEIGHT / _DPI), "dpi": _DPI}
_NUM_ROWS = 12
_RIDGE_PENALTY = 3.0
_NUM_ABSENCES = 30
"""Absences with their days in the picture, the last ones."""
_TEXT = 9.0  # points
_STYLE: list[Any] = [  # independent of the style of other plots
    "default",
    {
        "font.size": _TEXT,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.labelsize": _TEXT,
        "xtick.labelsize": _TEXT,
        "ytick.labelsize": _TEXT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "legend.fontsize": _TEXT,
        "legend.handletextpad": 0.4,
        "legend.columnspacing": 1.2,
        "legend.handlelength": 2.2,
    },
]

# The palette of Okabe and Ito, which is safe for colour-blind viewers. Blue is observed by agents, too.
_BLUE, _SKY, _GREEN, _VERMILION, _ORANGE, _GREY = "#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#5c5c5c"


def session_figure(recording: SessionRecording) -> Figure:
    """The session so far as a figure outside of `pyplot`.

    For an env with `render_mode="rgb_array"`: `session_figure(env.unwrapped.recording).savefig("session.png")`.
    """
    figure = Figure(**_SIZE)
    draw_session(recording, figure)
    return figure


def session_pixels(recording: SessionRecording) -> np.ndarray:
    """[HEIGHT, WIDTH, 3] uint8: `session_figure` as an image; the same bytes for the same session."""
    canvas: Any = FigureCanvasAgg(session_figure(recording))
    with matplotlib.style.context(_STYLE):
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


class SessionWindow:
    """A window that shows the session so far.

    Raises:
        gymnasium.error.DependencyNotInstalled: Matplotlib has no backend with windows, as without a display.
    """

    def __init__(self) -> None:
        import matplotlib.pyplot as plt  # here, as it selects a backend for the whole process

        self._figure: Any = None
        try:
            self._figure = plt.figure(**_SIZE)
            has_windows = self._figure.canvas.required_interactive_framework is not None
        except ImportError:  # the selected backend cannot be loaded
            has_windows = False
        self._pyplot = plt
        if not has_windows:
            self.close()
            raise DependencyNotInstalled(
                f"render_mode='human': no display, or no GUI toolkit for Matplotlib (backend {plt.get_backend()}); "
                "use render_mode='rgb_array' or 'ansi'"
            )

    def show(self, recording: SessionRecording, seconds: float) -> None:
        """Draw the session and show it for so many seconds; a closed window is opened again."""
        if not self._pyplot.fignum_exists(self._figure.number):
            self._figure = self._pyplot.figure(**_SIZE)
        draw_session(recording, self._figure)
        canvas = self._figure.canvas
        self._figure.show()
        canvas.draw_idle()
        canvas.start_event_loop(seconds)  # `pyplot.pause` would use the current figure

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._figure is not None:
            self._pyplot.close(self._figure)


def draw_session(recording: SessionRecording, figure: Figure) -> None:
    """Draw the session so far onto a figure, in place of its content."""
    with matplotlib.style.context(_STYLE):
        figure.clear()
        figure.set_facecolor("white")
        figure.text(0.025, 0.955, _heading(recording), fontsize=14.0, weight="bold", va="center")
        _draw_slates(figure.add_axes((0.025, 0.49, 0.535, 0.4)), recording)
        _draw_ratings(figure.add_axes((0.065, 0.29, 0.495, 0.135)), recording)
        _draw_state(figure.add_axes((0.065, 0.08, 0.495, 0.135)), recording)
        latent, estimated = (figure.add_axes((left, 0.19, 0.145, 0.7)) for left in (0.66, 0.83))
        _draw_interests(latent, estimated, recording)


def _heading(recording: SessionRecording) -> str:
    end = " · the user has left" if recording.is_terminated else ""
    step = f"step {len(recording.slates)} of {recording.config.session_length}"
    if recording.is_lifetime:
        end = " · the user has churned" if recording.is_terminated else ""
        num_days = recording.world.scenario.lifetime.num_days
        day, visit = min(recording.day, num_days), 1 + len(recording.visits)
        step = f"day {day:.0f} of {num_days} · visit {visit} · step {len(recording.slates)}"
    return f"{recording.world.scenario.name} · {step}{end} · return {sum(recording.rewards):.1f}"


# Slates


def _draw_slates(axis: Axes, recording: SessionRecording) -> None:
    """A row for each item of the last slates, most recent first; slates are shown whole or not at all."""
    axis.set(xlim=(0.0, 1.0), ylim=(_NUM_ROWS, -1.0))
    axis.axis("off")
    axis.set_title("Last items shown")
    for x, name in ((0.0, "step"), (0.06, "title"), (0.71, "feedback"), (0.845, "consumed")):
        axis.text(x, -0.5, name, color=_GREY, va="center")
    slates = [("log", [shown]) for shown in recording.logged]
    slates += [(str(step), slate) for step, slate in enumerate(recording.slates, start=1)]
    if not slates:
        axis.text(0.06, 0.5, "none yet", va="center")
    row = 0
    for step, slate in reversed(slates):
        if row + len(slate) > _NUM_ROWS:
            break
        axis.axhline(row, color=_GREY, lw=0.5, alpha=0.5)
        axis.text(0.0, row + 0.5, step, va="center")
        for shown in slate:
            _draw_shown(axis, row, shown, recording)
            row += 1


def _draw_shown(axis: Axes, row: int, shown: ShownItem, recording: SessionRecording) -> None:
    middle, colour = row + 0.5, "black" if shown.click else _GREY
    slot = f"{int(shown.slot) + 1}. " if recording.config.slate_size > 1 else ""
    title = slot + recording.world.items.title(shown.item)
    text = axis.text(0.06, middle, title, va="center", color=colour, parse_math=False, clip_on=True)
    text.set_clip_path(Rectangle((0.06, row), 0.635, 1.0, transform=axis.transData))  # of any length
    if not shown.click:
        axis.text(0.71, middle, "skipped", va="center", color=_GREY)
        return
    rating = rating_text(shown, recording.is_shop)
    axis.text(0.71, middle, rating, va="center", color=_BLUE if shown.rating else "black")
    axis.add_patch(Rectangle((0.845, row + 0.28), 0.1, 0.44, fill=False, ec=_GREY, lw=0.6))
    axis.add_patch(Rectangle((0.845, row + 0.28), 0.1 * shown.consumption, 0.44, color=_SKY, lw=0.0))
    axis.text(1.0, middle, f"{shown.consumption:.0%}", va="center", ha="right")


# Time series


def _draw_ratings(axis: Axes, recording: SessionRecording) -> None:
    """Ratings, submitted or not, and steps without a rating."""
    steps, ratings = np.arange(1, len(recording.slates) + 1), np.array(recording.ratings)
    is_submitted = np.array([any(shown.rating > 0.0 for shown in slate) for slate in recording.slates], np.bool_)
    is_chosen = np.array([any(shown.click > 0.0 for shown in slate) for slate in recording.slates], np.bool_)
    is_opinion = ~is_submitted & (ratings > 0.0)
    is_unrated = is_chosen & (ratings == 0.0)
    kinds = [
        (is_submitted, "o", _BLUE, "submitted"),
        (is_opinion, "o", "white", "not submitted (latent)"),
        (~is_chosen & ~is_opinion, "x", _GREY, "skipped"),
    ]
    if recording.is_shop:
        kinds.append((is_unrated, "s", "white", "not bought"))
    for is_of_kind, marker, face, label in kinds:
        x, y, edge = steps[is_of_kind], ratings[is_of_kind], None if marker == "x" else _BLUE
        axis.scatter(x, y, 22.0, c=face, marker=marker, edgecolors=edge, label=label, zorder=2)
    axis.set(ylim=(-0.6, 5.6), ylabel="rating", yticks=range(6), yticklabels=["none", *"12345"])
    _finish_course(axis, recording, "Ratings")


def _draw_state(axis: Axes, recording: SessionRecording) -> None:
    """Trust, patience, total satiation and budget, each as a share of its maximum."""
    behaviour = recording.world.scenario.behaviour
    gain = behaviour.satiation_gain + behaviour.satiation_purchase
    lines = [
        ("trust", 1.0, "black", "-"),
        ("patience", behaviour.patience_limit, _VERMILION, "--"),
        ("satiation", gain / (1.0 - behaviour.satiation_decay), _ORANGE, "-."),  # with full consumption in every step
    ]
    if recording.is_shop:
        lines.append(("budget", float(recording.states[0]["budget"]), _GREEN, ":"))
    if recording.is_lifetime:
        lines = [lines[0], lines[2], ("satisfaction", 1.0, _GREEN, "--"), ("habit", 1.0, _BLUE, ":")]
    for name, most, colour, style in lines:
        shares = np.array([state[name].sum() for state in recording.states]) / (most or 1.0)
        axis.plot(shares, color=colour, ls=style, lw=1.8, label=name if most == 1.0 else f"{name} (of {most:.3g})")
        axis.plot(len(shares) - 1, shares[-1], "o", color=colour, ms=4.0)  # visible before there is a line
    axis.set(ylabel="share of maximum", yticks=(0.0, 0.5, 1.0), xlabel="step")
    axis.set_ylim(min(-0.06, axis.get_ylim()[0]), max(1.06, axis.get_ylim()[1]))
    if recording.is_lifetime:
        axis.set_xlabel("step; grey lines: new visits, after so many days of absence")
    _finish_course(axis, recording, "State (latent)")
    for step, days in recording.visits[-_NUM_ABSENCES:]:
        axis.text(step + 0.5, axis.get_ylim()[1], f" {days:.1f}", fontsize=7.0, color=_GREY, va="top")


def _finish_course(axis: Axes, recording: SessionRecording, title: str) -> None:
    length = recording.config.session_length
    if recording.is_lifetime:
        length = max(len(recording.slates), recording.world.scenario.lifetime.visit_length)
        for step, _ in recording.visits:
            axis.axvline(step + 0.5, color=_GREY, lw=0.5, zorder=0)
    axis.set_xlim(-0.01 * length, 1.01 * length)
    if recording.is_terminated:
        axis.axvline(len(recording.slates), color="black", lw=1.0, ls=":", zorder=1)
    axis.legend(loc="lower right", bbox_to_anchor=(1.015, 0.97), ncols=4)
    axis.set_title(title)


# Interests


def _draw_interests(latent: Axes, estimated: Axes, recording: SessionRecording) -> None:
    """The user's interest in each topic, latent and estimated from feedback.

    Interests multiply factors, which need not be topics. Both panels therefore show means over the catalogue, weighted
    by the items' share of the topic: of affinity, and of `estimated_ratings`. A bar starts at the mean of all items.
    (The topics of items are latent, too; the estimate does not use them.)
    """
    items = recording.world.items
    of_topic = items.topics.T / np.maximum(items.topics.sum(0), 1e-12)[:, None]  # [K, I], rows sum to 1
    first, now = (items.factors @ recording.states[n]["interests"] for n in (0, -1))
    mood = recording.world.moods[recording.states[-1]["mood"]]
    effective = now - items.topics @ (recording.states[-1]["satiation"] - mood)
    mood_number = recording.states[-1]["mood"] + 1
    label = "now, less satiation" if len(recording.world.moods) == 1 else f"now, sated, in mood {mood_number}"
    by_topic, topics = of_topic @ now, np.arange(len(of_topic))
    latent.barh(topics, by_topic - now.mean(), 0.7, now.mean(), color=_GREEN, label="now")
    latent.plot(of_topic @ first, topics, "|", c="black", ms=11.0, label="at the start")
    latent.plot(of_topic @ effective, topics, "D", c=_ORANGE, mec="black", mew=0.5, ms=4.0, label=label)
    latent.axvline(now.mean(), color="black", lw=0.8, label="mean of all items")
    latent.set(xlabel="mean affinity of its items", yticks=topics, yticklabels=items.topic_names)
    latent.legend(loc="upper left", bbox_to_anchor=(-0.06, -0.07))

    predicted = estimated_ratings(recording)
    estimated.set(xlabel="mean rating of its items", yticks=[])
    if predicted is None:
        estimated.text(0.5, 0.5, "no feedback yet", ha="center", transform=estimated.transAxes)
        estimated.set(xlim=(0.0, 5.0))
    else:
        mean, estimate = predicted.mean(), of_topic @ predicted
        estimated.barh(topics, estimate - mean, 0.7, mean, color=_BLUE)
        estimated.axvline(mean, color="black", lw=0.8)
        low, high = estimated.get_xlim()
        estimated.set_xlim(min(low, mean - 0.25), max(high, mean + 0.25))  # small differences look small
    note = "no purchase counts as 0" if recording.is_shop else "a skip counts as 0"
    if predicted is not None and min(np.ptp(estimate), np.ptp(by_topic)) > 1e-9:  # those of real people are unknown
        note += f"\ncorrelation with latent: {np.corrcoef(estimate, by_topic)[0, 1]:.2f}"
    estimated.text(0.0, -0.085, note, va="top", linespacing=1.5, transform=estimated.transAxes)
    for axis, title in ((latent, "Latent interests"), (estimated, "Estimated from the history")):
        axis.set(ylim=(len(topics) - 0.4, -0.6), title=title)


def estimated_ratings(recording: SessionRecording) -> np.ndarray | None:
    """[I] float64: expected rating of each item, estimated from observations; None before any feedback.

    Ridge regression of [L] ratings, with 0 for items that were skipped or not bought (as in the reward), on the [L, F]
    content features of these items. It ignores consumed items without a rating, satiation, trust and other users:
    a reading aid, not the best possible estimate.
    """
    shown = [shown for slate in (recording.logged, *recording.slates) for shown in slate]
    rated = [item for item in shown if item.rating > 0.0 or item.is_refused(recording.is_shop)]
    if not rated:
        return None
    features = recording.world.items.features.astype(np.float64)
    ratings = np.array([shown.rating for shown in rated])
    seen = features[[shown.item for shown in rated]]
    centred = seen - seen.mean(0)
    gram = centred.T @ centred + _RIDGE_PENALTY * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (ratings - ratings.mean()))
    estimate: np.ndarray = ratings.mean() + (features - seen.mean(0)) @ weights
    return estimate
