"""A server follows the versions of a model: it uses each one soon after it is published or rolled back to."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.large_model.serving.model_versions import ModelVersions, Publication
from agents.large_model.serving.recommender import Recommender
from agents.large_model.serving.served_model import ServedModel
from agents.terminal import one_line


class FollowedVersions:
    """The published version of a folder, for a server.

    Args:
        versions: of the folder.
        load: makes an `ExportedModel`, or an object like it, of the folder of an export.
        log: called with one line when the version changes, or cannot be used.
    """

    def __init__(self, versions: ModelVersions, load: Callable[[Path], Any], log: Callable[[str], None]) -> None:
        self._versions, self._load, self._log = versions, load, log
        self._refused: Publication | None = None
        self._problem = ""
        """The one logged last; empty if there is none."""

    def published_model(self) -> Any:
        """The model that is published now.

        Raises:
            ValueError: it cannot be loaded; one line.
        """
        return self._model_of(self._versions.published)

    async def follow(self, recommender: Recommender) -> None:
        """Let a recommender use the published version, until this is cancelled.

        A version that cannot be used is refused: the one in use stays, and the next one is waited for.
        """
        while True:
            await asyncio.sleep(recommender.config.versions_poll_seconds)
            try:
                latest = await asyncio.to_thread(lambda: self._versions.history[-1])
            except Exception as error:  # any error: the server continues
                self._report(recommender, f"versions: {one_line(error)}")
                continue
            if latest == self._refused:
                continue
            self._problem = ""
            if latest.version != recommender.version:
                await self._use(recommender, latest)

    async def _use(self, recommender: Recommender, latest: Publication) -> None:
        simulator, before = recommender.catalog.simulator, recommender.version
        try:
            served = await asyncio.to_thread(lambda: ServedModel.of(self._model_of(latest.version), simulator))
            recommender.use(served)
        except Exception as error:  # of the version
            self._refused = latest
            self._report(recommender, f"version {latest.version} is refused, {before} stays in use: {one_line(error)}")
        else:
            self._refused = None
            self._log(f"version {latest.version} is in use in place of {before} ({latest.reason})")

    def _model_of(self, version: str) -> Any:
        model = self._load(self._versions.export_of(version))
        if model.version != version:
            raise ValueError(f"its export is that of version {model.version}")
        return model

    def _report(self, recommender: Recommender, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._log(problem)
            recommender.metrics.refusals.inc()
