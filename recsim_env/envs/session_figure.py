"""A session as one figure, for a viewer who may see what is latent: drawn by Matplotlib from a `SessionTrace`.

Shape legend: I items, K topics, F content features, L answers.
"""

import numpy as np

from recsim_env.envs.session_recording import SessionTrace, ShownItem

try:
    import matplotlib.style
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
except ModuleNotFoundError:
    from gymnasium.error import DependencyNotInstalled

    raise DependencyNotInstalled("pictures need Matplotlib: pip install 'recsim-env[render]'") from None

WIDTH, HEIGHT = 1280, 800
"""Size of a picture in pixels: multiples of 16, as video encoders like them."""

_DPI = 100
_SIZE = {"figsize": (WIDTH / _DPI, HEIGHT / _DPI), "dpi": _DPI}
_NUM_ROWS = 12
_RIDGE_PENALTY = 3.0
_TITLE, _TEXT = 10.5, 9.0  # points

# Okabe and Ito's colours, which colour-blind people can tell apart. Blue is what an agent sees, too.
_BLUE, _SKY, _GREEN, _VERMILION, _ORANGE, _GREY = "#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#5c5c5c"


def session_figure(trace: SessionTrace) -> Figure:
    """The session so far as a figure of its own, which no window and no `pyplot` knows of.

    After some steps of an env that was made with `render_mode="rgb_array"`, this writes it to a file:
    `session_figure(env.unwrapped.trace).savefig("session.png")`.
    """
    figure = Figure(**_SIZE)  # type: ignore[arg-type]
    draw_session(trace, figure)
    return figure


def session_pixels(trace: SessionTrace) -> np.ndarray:
    """[HEIGHT, WIDTH, 3] uint8: `session_figure` as an image; the same bytes for the same session."""
    canvas = FigureCanvasAgg(session_figure(trace))
    with matplotlib.style.context("default"):
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


class SessionWindow:
    """A window that shows the session so far. With a backend that has no windows, such as Agg, nothing is seen."""

    def __init__(self) -> None:
        import matplotlib.pyplot as plt  # here alone, as it picks a backend for the whole program

        self._pyplot = plt
        self._figure: Figure | None = None

    def show(self, trace: SessionTrace, seconds: float) -> None:
        """Draw the session, and give the viewer that much time; a window that was closed is opened again."""
        if self._figure is None or not self._pyplot.fignum_exists(self._figure.number):
            self._figure = self._pyplot.figure(**_SIZE)  # type: ignore[arg-type]
        draw_session(trace, self._figure)
        canvas = self._figure.canvas
        if canvas.required_interactive_framework is None:
            canvas.draw()
            return
        self._figure.show()
        canvas.draw_idle()
        canvas.start_event_loop(seconds)  # `pyplot.pause` would do so for whichever figure is the current one

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._figure is not None:
            self._pyplot.close(self._figure)
            self._figure = None


def draw_session(trace: SessionTrace, figure: Figure) -> None:
    """Draw the session so far onto a figure, in place of what is on it."""
    with matplotlib.style.context("default"):  # a picture does not depend on the viewer's own style
        figure.clear()
        figure.set_facecolor("white")
        figure.text(0.025, 0.955, _heading(trace), fontsize=14.0, weight="bold", va="center")
        _draw_slates(figure.add_axes((0.025, 0.49, 0.535, 0.4)), trace)
        _draw_ratings(figure.add_axes((0.065, 0.29, 0.495, 0.135)), trace)
        _draw_state(figure.add_axes((0.065, 0.08, 0.495, 0.135)), trace)
        latent, estimated = (figure.add_axes((left, 0.19, 0.145, 0.7)) for left in (0.66, 0.83))
        _draw_interests(latent, estimated, trace)


def _heading(trace: SessionTrace) -> str:
    end = " · the user has left" if trace.is_terminated else ""
    step = f"step {len(trace.slates)} of {trace.config.session_length}"
    return f"{trace.world.scenario.name} · {step}{end} · return {sum(trace.rewards):.1f}"


# What was shown


def _draw_slates(axis: Axes, trace: SessionTrace) -> None:
    """A row for each item of the last slates, the most recent slate on top; no slate is shown in part."""
    axis.set(xlim=(0.0, 1.0), ylim=(_NUM_ROWS, -1.0))
    axis.axis("off")
    axis.set_title("What was shown last", loc="left", fontsize=_TITLE)
    for x, name in ((0.0, "step"), (0.06, "title"), (0.71, "answer"), (0.845, "consumed")):
        axis.text(x, -0.5, name, fontsize=_TEXT, color=_GREY, va="center")
    slates = [(str(step), slate) for step, slate in enumerate(trace.slates, start=1)]
    slates = [("log", [shown]) for shown in trace.logged] + slates
    if not slates:
        axis.text(0.06, 0.5, "nothing yet", fontsize=_TEXT, va="center")
    row = 0
    for step, slate in reversed(slates):
        if row + len(slate) > _NUM_ROWS:
            break
        axis.axhline(row, color=_GREY, lw=0.5, alpha=0.5)
        axis.text(0.0, row + 0.5, step, fontsize=_TEXT, va="center")
        for shown in slate:
            place = f"{shown.slot + 1}. " if trace.config.slate_size > 1 else ""
            _draw_shown(axis, row, place + trace.world.items.title(shown.item), shown, _is_refused(trace, shown))
            row += 1


def _draw_shown(axis: Axes, row: int, title: str, shown: ShownItem, is_refused: bool) -> None:
    middle, colour = row + 0.5, "black" if shown.is_chosen else _GREY
    text = axis.text(0.06, middle, title, fontsize=_TEXT, va="center", color=colour, parse_math=False, clip_on=True)
    text.set_clip_path(Rectangle((0.06, row), 0.635, 1.0, transform=axis.transData))  # however long it is
    if not shown.is_chosen:
        axis.text(0.71, middle, "skipped", fontsize=_TEXT, va="center", color=_GREY)
        return
    num_stars = int(shown.rating)
    stars = "★" * num_stars + "☆" * (5 - num_stars) if num_stars else "not bought" if is_refused else "not rated"
    axis.text(0.71, middle, stars, fontsize=_TEXT, va="center", color=_BLUE if num_stars else "black")
    axis.add_patch(Rectangle((0.845, row + 0.28), 0.1, 0.44, fill=False, ec=_GREY, lw=0.6))
    axis.add_patch(Rectangle((0.845, row + 0.28), 0.1 * shown.consumption, 0.44, color=_SKY, lw=0.0))
    axis.text(1.0, middle, f"{shown.consumption:.0%}", fontsize=_TEXT, va="center", ha="right")


def _is_refused(trace: SessionTrace, shown: ShownItem) -> bool:
    """Whether an item was passed over; in a shop also if it was looked at and not bought."""
    return not (shown.is_bought if trace.world.scenario.behaviour.is_shop else shown.is_chosen)


# Over the steps


def _draw_ratings(axis: Axes, trace: SessionTrace) -> None:
    """What the user thinks of each chosen item, submitted or not, and what was chosen without being rated, or not."""
    steps, stars = np.arange(1, len(trace.slates) + 1), np.array(trace.stars)
    is_submitted = np.array([any(shown.rating > 0.0 for shown in slate) for slate in trace.slates], np.bool_)
    is_chosen = np.array([any(shown.is_chosen for shown in slate) for slate in trace.slates], np.bool_)
    is_opinion = ~is_submitted & (stars > 0.0)
    is_unrated = is_chosen & (stars == 0.0)
    kinds = [
        (is_submitted, "o", _BLUE, "submitted"),
        (is_opinion, "o", "white", "not submitted (latent)"),
        (~is_chosen & ~is_opinion, "x", _GREY, "skipped"),
    ]
    if trace.world.scenario.behaviour.is_shop:
        kinds.append((is_unrated, "s", "white", "not bought"))
    for is_of_kind, marker, face, label in kinds:
        x, y, edge = steps[is_of_kind], stars[is_of_kind], None if marker == "x" else _BLUE
        axis.scatter(x, y, 22.0, c=face, marker=marker, edgecolors=edge, label=label, zorder=2)
    axis.set(ylim=(-0.6, 5.6), ylabel="rating (stars)", yticks=range(6), yticklabels=["none", *"12345"])
    _finish_course(axis, trace, "Ratings")


def _draw_state(axis: Axes, trace: SessionTrace) -> None:
    """Trust, patience, the sum of satiation over topics and the budget, each as a share of the most that it can be."""
    behaviour = trace.world.scenario.behaviour
    gain = behaviour.satiation_gain + behaviour.satiation_purchase
    lines = [
        ("trust", 1.0, "black", "-"),
        ("patience", behaviour.patience_limit, _VERMILION, "--"),
        ("satiation", gain / (1.0 - behaviour.satiation_decay), _ORANGE, "-."),  # of who consumes all that there is
    ]
    if behaviour.is_shop:
        lines.append(("budget", float(trace.states[0]["budget"]), _GREEN, ":"))
    for name, most, colour, style in lines:
        shares = np.array([state[name].sum() for state in trace.states]) / (most or 1.0)
        axis.plot(shares, color=colour, ls=style, lw=1.8, label=name if most == 1.0 else f"{name} (of {most:.3g})")
        axis.plot(len(shares) - 1, shares[-1], "o", color=colour, ms=4.0)  # seen before there is a line, too
    axis.set(ylabel="share of the most", yticks=(0.0, 0.5, 1.0), xlabel="step")
    axis.set_ylim(-0.06, max(1.06, axis.get_ylim()[1]))
    _finish_course(axis, trace, "State (latent)")


def _finish_course(axis: Axes, trace: SessionTrace, title: str) -> None:
    length = trace.config.session_length
    axis.set_xlim(-0.01 * length, 1.01 * length)
    if trace.is_terminated:
        axis.axvline(len(trace.slates), color="black", lw=1.0, ls=":", zorder=1)
    axis.legend(loc="lower right", bbox_to_anchor=(1.015, 0.97), ncols=4, **_LEGEND)  # type: ignore[arg-type]
    _finish(axis, title)


# Interests


def _draw_interests(latent: Axes, estimated: Axes, trace: SessionTrace) -> None:
    """What the user likes of each topic, and what the answers tell of it.

    Interests multiply factors, which need not be topics. So both are shown as means over the items of the catalogue,
    weighted with their share of the topic: of the affinity, and of `estimated_stars`. A bar begins at the mean of all
    items. (What an item's topics are is latent too; the estimate itself does without.)
    """
    items = trace.world.items
    of_topic = items.topics.T / np.maximum(items.topics.sum(0), 1e-12)[:, None]  # [K, I], rows sum to 1
    first, now = (items.factors @ trace.states[n]["interests"] for n in (0, -1))
    mood = trace.world.moods[trace.states[-1]["mood"]]
    effective = now - items.topics @ (trace.states[-1]["satiation"] - mood)
    felt = (
        "now, less satiation" if len(trace.world.moods) == 1 else f"now, sated, in mood {trace.states[-1]['mood'] + 1}"
    )
    by_topic, topics = of_topic @ now, np.arange(len(of_topic))
    latent.barh(topics, by_topic - now.mean(), 0.7, now.mean(), color=_GREEN, label="now")
    latent.plot(of_topic @ first, topics, "|", c="black", ms=11.0, label="at the start")
    latent.plot(of_topic @ effective, topics, "D", c=_ORANGE, mec="black", mew=0.5, ms=4.0, label=felt)
    latent.axvline(now.mean(), color="black", lw=0.8, label="mean of all items")
    latent.set(xlabel="mean affinity of its items", yticks=topics, yticklabels=items.topic_names)
    latent.legend(loc="upper left", bbox_to_anchor=(-0.06, -0.07), **_LEGEND)  # type: ignore[arg-type]

    predicted = estimated_stars(trace)
    estimated.set(xlabel="mean stars of its items", yticks=[])
    if predicted is None:
        estimated.text(0.5, 0.5, "no answers yet", ha="center", fontsize=_TEXT, transform=estimated.transAxes)
        estimated.set(xlim=(0.0, 5.0))
    else:
        mean, estimate = predicted.mean(), of_topic @ predicted
        estimated.barh(topics, estimate - mean, 0.7, mean, color=_BLUE)
        estimated.axvline(mean, color="black", lw=0.8)
        low, high = estimated.get_xlim()
        estimated.set_xlim(min(low, mean - 0.25), max(high, mean + 0.25))  # next to nothing should look like it
    note = "without a purchase: 0 stars" if trace.world.scenario.behaviour.is_shop else "a skip counts as 0 stars"
    if predicted is not None and np.ptp(estimate) > 1e-9:
        note += f"\ncorrelation with latent: {np.corrcoef(estimate, by_topic)[0, 1]:.2f}"
    estimated.text(0.0, -0.085, note, fontsize=_TEXT, va="top", linespacing=1.5, transform=estimated.transAxes)
    for axis, title in ((latent, "Latent interests"), (estimated, "Estimated from the history")):
        axis.set_ylim(len(topics) - 0.4, -0.6)
        _finish(axis, title)


def estimated_stars(trace: SessionTrace) -> np.ndarray | None:
    """[I] float64: how many stars to expect of each item, judged from what an agent may see; None before any answer.

    Ridge regression of the [L] answers so far, in stars with 0 for what was skipped or not bought (as the reward has
    it), on the [L, F] content features of the items shown. A choice that was not rated tells it nothing. It knows
    neither satiation nor trust nor other users, and takes skips for opinions: a reading aid, not the best that can be
    done.
    """
    shown = [shown for slate in (trace.logged, *trace.slates) for shown in slate]
    answers = [each for each in shown if each.rating > 0.0 or _is_refused(trace, each)]
    if not answers:
        return None
    features = trace.world.items.features.astype(np.float64)
    stars = np.array([each.rating for each in answers])
    seen = features[[each.item for each in answers]]
    centred = seen - seen.mean(0)
    gram = centred.T @ centred + _RIDGE_PENALTY * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (stars - stars.mean()))
    return stars.mean() + (features - seen.mean(0)) @ weights


_LEGEND = {"frameon": False, "fontsize": _TEXT, "handletextpad": 0.4, "columnspacing": 1.2, "handlelength": 2.2}


def _finish(axis: Axes, title: str) -> None:
    axis.set_title(title, loc="left", fontsize=_TITLE)
    axis.grid(alpha=0.25)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=_TEXT)
    axis.xaxis.label.set_fontsize(_TEXT)
    axis.yaxis.label.set_fontsize(_TEXT)
    axis.spines[["top", "right"]].set_visible(False)
