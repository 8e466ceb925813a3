"""The JSON that a server reads and writes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agents.large_model.serving.config import MAX_ITEMS


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


class InvalidRequestError(ValueError):
    """A request that cannot be fulfilled; the message says why in one line."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class NewSession(_Request):
    """A person who is there."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"person": "ada", "profile": {"profile 1": 0.3}}]})

    person: Name | None = None
    """Their name, by which their earlier sessions are found; a new one by default."""
    profile: Annotated[dict[Name, Feature], Field(max_length=1_000)] = {}
    """Columns of the person's profile by name; 0 for those left out."""


class Session(_Answer):
    """A session that has begun."""

    session: str
    """Its id, which only those should know who act for the person."""
    person: str
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
    """Whether to say why."""


class Why(_Answer):
    """What the feedback to an item shown before does for the score."""

    item: int | str
    effect: float
    """The score less that without the item, each relative to the mean of the best candidates."""
    instead: int | str
    """The best candidate without it."""


class RecommendedItem(_Answer):
    """An item to show."""

    item: int | str
    title: str
    score: float
    """In units of the model."""
    probability: float
    """Under the model's own policy, among the candidates."""
    expected_reward: float
    """If it is shown alone now."""
    why: list[Why] | None = None
    """The strongest effects of items shown before, if asked for."""


class Recommendation(_Answer):
    """A slate, top slot first."""

    recommendation: int
    """Its number in the session, for the feedback."""
    items: list[RecommendedItem]
    model: str


class ItemFeedback(_Request):
    """What a person did with an item."""

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
    """The feedback to a recommendation, at once and for good; items that are left out were not clicked."""

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
    image: str | None
    """Path of its picture."""
    audio: str | None
    """Path of its sound."""


class StoredSession(_Answer):
    """Everything that is stored on a session."""

    session: str
    person: str
    profile: dict[str, float]
    created: float
    """Seconds since 1970."""
    recommendations: list[dict[str, Any]]


class Problem(_Answer):
    """Why a request was refused."""

    detail: str
    """One line."""
