"""Rounds of online learning in trackers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from agents.large_model.online.service import STATE, OnlineService, ServiceRound
from agents.provenance import provenance
from agents.terminal import warn
from agents.tracking.copies import Copies
from agents.tracking.run_description import described_in
from agents.tracking.tracker import Record, Tracker

_METRICS = ("num_sessions", "num_steps", "mean_return", "divergence", "is_reverted")


@contextmanager
def tracked_rounds(service: OnlineService, track: Sequence[str], command: Sequence[str]) -> Iterator[Tracker]:
    """A tracker of the service's rounds, which starts with all earlier rounds; log `record_of` each new one.

    Args:
        service: the service; the trackers' files are in `learning` in its folder of versions.
        track: names of trackers, see `agents.tracking.copies.COPIES`.
        command: arguments of `python -m agents.large_model`.

    Raises:
        ValueError: a tracker cannot be opened.
    """
    versions = service.versions.folder
    (versions / STATE).mkdir(exist_ok=True)
    configs = (service.learning, service.publication, service.policy, service.config)
    settings = {type(each).__name__: asdict(each) for each in configs}
    run = described_in(
        versions / STATE, f"{versions.resolve().name}-online", settings, provenance(command, "agents.large_model")
    )
    copies = Copies(track, versions / STATE, run, [record_of(each) for each in service.rounds], warn)
    try:
        yield copies
    finally:
        copies.close()


def record_of(result: ServiceRound) -> Record:
    """The record of a round, with its number as the step."""
    metrics = {name: float(getattr(result, name)) for name in _METRICS}
    return Record(result.number, {**metrics, "is_published": float(result.decision == "publish")}, result.time)
