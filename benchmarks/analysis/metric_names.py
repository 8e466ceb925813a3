"""Titles, units and definitions of the metrics beyond reward."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MetricName:
    """A metric in figures and tables."""

    title: str
    unit: str = ""
    num_digits: int = 2
    definition: str = ""

    @property
    def label(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


_NAMES = {
    "catalog_coverage": MetricName(
        title="coverage", unit="share of items", definition="available items that were shown at all"
    ),
    "exposure_gini": MetricName(
        title="exposure Gini", unit="0 to 1", definition="inequality of exposure over available items; 0: equal"
    ),
    "intra_list_diversity": MetricName(
        title="diversity", unit="0 to 2", definition="mean of 1 − cosine over all pairs of items shown in a session"
    ),
    "novelty": MetricName(
        title="novelty", unit="bits", num_digits=1, definition="mean self-information of the shown items"
    ),
    "new_item_exposure": MetricName(
        title="new items", unit="share of exposures", definition="exposures of recently released items"
    ),
    "share_discovered": MetricName(
        title="discovered", unit="share of arrivals", definition="newly released items that were shown at all"
    ),
    "steps_to_discovery": MetricName(
        title="time to discovery",
        unit="steps",
        num_digits=0,
        definition="median time from release to first exposure, over discovered items",
    ),
    "session_length": MetricName(title="session length", unit="steps", num_digits=1),
    "churn": MetricName(
        title="churn", unit="share of users", definition="users who left before the session's time limit"
    ),
}


def name_of_metric(key: str) -> MetricName:
    """The metric's name, by default its key."""
    return _NAMES.get(key, MetricName(title=key.replace("_", " ")))
