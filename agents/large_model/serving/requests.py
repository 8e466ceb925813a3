"""The JSON that a server reads and writes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agents.large_model.serving.config import MAX_ITEMS
from recsim_env.config import MAX_SLATE_SIZE


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable characters")
    return text


Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
"""A name of a person, or of a feature of the profile."""

ItemId = Annotated[int, Field(ge=-(2**63), lt=2**63)] | Annotated[str, Field(max_length=200)]
"""An id of the log in a world from a log, otherwise a number in the catalogue."""

Feature = Annotated[float, Field(ge=-1.0, le=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Flag = bool | Literal[0, 1]


AgentName = Literal["large-model", "platform"]
SessionAgent = Literal["large-model", "platform", "blind"]


class InvalidRequestError(ValueError):
    """A request that cannot be fulfilled; the message says why in one line."""


STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)
"""No unknown keys, no values of other types, no numbers that are not finite; docstrings of fields are in the schema."""


class _Request(BaseModel):
    model_config = STRICT


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class NewSession(_Request):
    """A new session of a person."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"person": "ada", "profile": {"profile 1": 0.3}}]})

    person: Name | None = None
    """Their name, by which their earlier sessions are found; a new one by default."""
    profile: Annotated[dict[Name, Feature], Field(max_length=1_000)] = {}
    """Columns of the person's profile by name; 0 for those left out."""
    agent: SessionAgent = "large-model"
    """The agent that recommends: the large model; the platform's ranking by the predicted answer; or, in a blind test,
    one of the two at random for each recommendation, which `/sessions/{session}/comparison` reveals at the end."""


class Session(_Answer):
    """A session that has begun."""

    session: str
    """Its id, which only clients that act for the person should know."""
    person: str
    agent: SessionAgent
    model: str
    """Version of the model."""


class RecommendationRequest(_Request):
    """What to recommend."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"num_items": 3}, {"candidates": [3, 700, 41]}]})

    candidates: Annotated[list[ItemId], Field(min_length=1)] | None = None
    """Items to rank; all available items by default."""
    num_items: Annotated[int, Field(ge=1, le=MAX_ITEMS)] | None = None
    """Items to show; the server's --slate by default."""
    explain: bool = False
    """Whether the large model explains its scores; not in a blind session."""
    beliefs: bool = False
    """Whether to return the mean scores by topic; not in a blind session."""


class Why(_Answer):
    """The effect of the feedback on an item shown before on the score."""

    item: int | str
    click: bool
    """Whether it was clicked."""
    rating: float
    """The rating submitted; 0 for none."""
    effect: float
    """The score minus the score without the item, each relative to the mean of the best candidates."""
    instead: int | str
    """The best candidate without it."""


class RecommendedItem(_Answer):
    """An item to show."""

    item: int | str
    title: str
    score: float | None
    """In units of the model; of the platform, the predicted answer from -1 to 1. Null in a blind session."""
    probability: float | None = None
    """Under the model's own policy, among the candidates; null if the model did not choose the slate."""
    expected_reward: float | None = None
    """If it is shown alone now; null if the model did not choose the slate."""
    why: list[Why] | None = None
    """The strongest effects of items shown before, if asked for; null if the model did not choose the slate."""


class Recommendation(_Answer):
    """A slate, top slot first."""

    recommendation: int
    """Its number in the session, for the feedback."""
    items: list[RecommendedItem]
    beliefs: dict[str, float] | None = None
    """For each topic, the mean score of its items minus that of all candidates, in standard deviations."""
    model: str


class AgentResult(_Answer):
    """The feedback on the recommendations of one agent."""

    recommendations: int
    """Recommendations with feedback."""
    items: int
    """Items in them."""
    clicks: int
    click_rate: float | None
    """Clicks / items; null without items."""
    ratings: int
    """Items that were rated."""
    mean_rating: float | None
    """Of the items that were rated; null without one."""


class Comparison(_Answer):
    """The results of the agents of a blind session, which has ended."""

    session: str
    agents: dict[AgentName, AgentResult]
    caveat: str
    """How far the difference can be trusted."""


class ItemFeedback(_Request):
    """The feedback of a person on an item."""

    item: ItemId
    click: Flag = False
    """Whether it was clicked."""
    consumption: Share = 0.0
    """The fraction that was consumed."""
    rating: Annotated[float, Field(ge=0.0, le=5.0)] = 0.0
    """The rating submitted; 0 for none."""
    purchase: Flag = False
    """Whether it was bought."""
    follow: Literal[-1, 0, 1] = 0
    """1 if its creator was followed, -1 if unfollowed."""


class Feedback(_Request):
    """The complete and final feedback on a recommendation; items that are left out were not clicked."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"recommendation": 0, "items": [{"item": 7, "click": 1, "consumption": 0.9, "rating": 5}]}]
        }
    )

    recommendation: Annotated[int, Field(ge=0, lt=2**63)]
    """Its number in the session."""
    items: Annotated[list[ItemFeedback], Field(max_length=MAX_ITEMS)]


class FeedbackReceipt(_Answer):
    """The feedback is stored."""

    recommendation: int
    is_new: bool
    """False if the same feedback was there already."""


class Item(_Answer):
    """An item of the catalogue."""

    item: int | str
    title: str
    features: dict[str, float]
    topics: dict[str, float]
    """Weights of its topics, as observed."""
    creator: int | None
    """The number of its creator; null where there is one for all."""
    price: float | None
    """Null where items are not for sale."""
    image: str | None
    """Path of its picture."""
    audio: str | None
    """Path of its sound."""


class StoredSession(_Answer):
    """Everything that is stored about a session."""

    session: str
    person: str
    profile: dict[str, float]
    agent: SessionAgent
    created: float
    """Seconds since 1970."""
    recommendations: list[dict[str, Any]]
    """The `agent` and `log_propensity` of each are null in a blind session that has not ended."""


class Catalog(_Answer):
    """What is recommended, and how."""

    env: str
    items: int
    topics: list[str]
    slate_size: int
    """Items of a slate by default."""
    is_shop: bool
    """Whether items are for sale."""
    has_simulated_users: bool
    """Whether there are users for `/simulated-visits`."""


class NewSimulatedVisit(_Request):
    """A simulated user who visits."""

    agent: AgentName = "large-model"
    """Recommends."""
    num_items: Annotated[int, Field(ge=1, le=MAX_SLATE_SIZE)] | None = None
    """Items of a slate; the server's --slate by default."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Draws the user and the responses; random by default."""


class SimulatedUser(_Answer):
    """The hidden state of a simulated user."""

    interests: dict[str, float]
    """For each topic, the mean affinity with its items minus that with all items, in standard deviations."""
    trust: float
    """0 to 1."""
    patience: float
    """The user leaves at 0."""


class SimulatedVisit(_Answer):
    """A visit that has begun."""

    visit: str
    agent: AgentName
    num_items: int
    num_steps: int
    """Maximum number of steps of the visit."""
    user: SimulatedUser


class SimulatedFeedback(_Answer):
    """The response of a simulated user to an item."""

    item: int | str
    title: str
    click: bool
    consumption: float
    rating: float
    """Submitted; 0 for none."""
    purchase: bool


class SimulatedStep(_Answer):
    """A slate, and the response of the simulated user."""

    step: int
    """From 0."""
    items: list[SimulatedFeedback]
    beliefs: dict[str, float]
    """Of the agent when it chose the slate; see `Recommendation`."""
    user: SimulatedUser
    """After the response."""
    is_over: bool
    has_left: bool
    """Whether the visit ended because the user lost patience."""


class Problem(_Answer):
    """Why a request was refused."""

    detail: str
    """One line."""
