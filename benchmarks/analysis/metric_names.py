"""Titles, units and definitions of the metrics beyond reward."""

from typing import NamedTuple


class MetricName(NamedTuple):
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
    "catalog_coverage": MetricName("coverage", "share of items", 2, "available items that were shown at all"),
    "exposure_gini": MetricName("exposure Gini", "0 to 1", 2, "inequality of exposure over available items; 0: equal"),
    "intra_list_diversity": MetricName(
        "diversity", "0 to 2", 2, "mean of 1 − cosine over all pairs of items shown in a session"
    ),
    "novelty": MetricName("novelty", "bits", 1, "mean self-information of the shown items"),
    "new_item_exposure": MetricName("new items", "share of exposures", 2, "exposures of recently released items"),
    "share_discovered": MetricName("discovered", "share of arrivals", 2, "newly released items that were shown at all"),
    "steps_to_discovery": MetricName(
        "time to discovery", "steps", 0, "median time from release to first exposure, over discovered items"
    ),
    "session_length": MetricName("session length", "steps", 1),
    "industry_metric": MetricName(
        "industry metric",
        "a session",
        2,
        "clicks, watched fractions, purchases, ratings or active days: `Scenario.metric`",
    ),
    "churn": MetricName("churn", "share of users", 2, "users who left before the session's time limit"),
}


def name_of_metric(key: str) -> MetricName:
    """The metric's name, by default its key."""
    return _NAMES.get(key, MetricName(key.replace("_", " ")))
