"""What is in memory makes no difference: not its limits, not a restart, and not who else is there."""

import asyncio

import numpy as np
import pytest
from stand_in_model import begin, catalog_of, client_with, recommend, recommender_with, respond

from agents.large_model.serving.config import MAX_ITEMS
from agents.large_model.serving.database_file import Answers
from agents.large_model.serving.requests import Feedback, NewSession, RecommendationRequest
from agents.large_model.serving.sessions import History

NUM_SESSIONS, NUM_STEPS = 3, 9


@pytest.fixture(scope="module")
def catalog():
    return catalog_of(session_length=4, history_length=3)


def course(client, sessions: list[str], steps: range) -> list[list]:
    """The recommendations of some sessions, side by side, with feedback to most of them."""
    found = []
    for step in steps:
        for number, session in enumerate(sessions):
            shown = recommend(client, session, num_items=1 + number)
            found.append([(each["item"], each["score"]) for each in shown["items"]])
            if (step + number) % 4 > 0:
                respond(client, session, shown, click=step % 2, rating=1.0 + step % 5)
            if step % 3 == 0:
                recommend(client, session, candidates=[3, 70, 41, 100 + step])
    return found


@pytest.fixture
def same_sessions(monkeypatch):
    """Names of sessions that are the same in each server."""
    counts: list[int] = []

    def start() -> None:
        counts[:] = [0]

    def name(size: int) -> str:
        counts[0] += 1
        return f"name-{counts[0]}"

    monkeypatch.setattr("agents.large_model.serving.recommender.secrets.token_urlsafe", name)
    return start


@pytest.fixture
def uninterrupted(tmp_path, catalog, same_sessions) -> list[list]:
    same_sessions()
    with client_with(tmp_path, catalog) as client:
        return course(client, [begin(client) for _ in range(NUM_SESSIONS)], range(NUM_STEPS))


def test_sessions_that_are_evicted_continue_as_if_nothing_had_happened(tmp_path, catalog, same_sessions, uninterrupted):
    same_sessions()
    (tmp_path / "small").mkdir()
    with client_with(tmp_path / "small", catalog, max_cached_sessions=1) as client:
        found = course(client, [begin(client) for _ in range(NUM_SESSIONS)], range(NUM_STEPS))
        text = client.get("/metrics").text
    assert "recsim_cached_sessions 1.0" in text
    assert "recsim_evicted_sessions_total 0.0" not in text
    assert found == uninterrupted


def test_sessions_continue_after_a_restart_as_if_nothing_had_happened(tmp_path, catalog, same_sessions, uninterrupted):
    same_sessions()
    (tmp_path / "restarted").mkdir()
    found, sessions = [], []
    for step in range(NUM_STEPS):
        with client_with(tmp_path / "restarted", catalog) as client:
            sessions = sessions or [begin(client) for _ in range(NUM_SESSIONS)]
            found += course(client, sessions, range(step, step + 1))
    assert found == uninterrupted


def test_memory_is_bounded_in_bytes(tmp_path, catalog, monkeypatch):
    monkeypatch.setattr("stand_in_model.Session.num_bytes", 300_000, raising=False)
    recommender = recommender_with(tmp_path, catalog, max_cached_mib=1)

    async def many() -> None:
        for _ in range(8):
            session = await recommender.create_session(NewSession())
            await recommender.recommend(session.session, RecommendationRequest())
            assert recommender.sessions.num_bytes <= 1 << 20
        assert len(recommender.sessions) == 3
        await recommender.close()

    asyncio.run(many())


def test_requests_at_the_same_time_share_calls_and_change_nothing(tmp_path, catalog, same_sessions):
    results, sizes = [], []
    for number, is_together in enumerate((False, True)):
        same_sessions()
        (tmp_path / str(number)).mkdir()
        recommender = recommender_with(tmp_path / str(number), catalog)

        async def play(name: str, recommender=recommender) -> list:
            found = []
            for step in range(6):
                request = RecommendationRequest(num_items=1 + step % 2)
                shown = await recommender.recommend(name, request)
                found.append([(each.item, each.score) for each in shown.items])
                answer = {"item": shown.items[0].item, "click": True, "rating": 1.0 + step % 5}
                feedback = Feedback.model_validate({"recommendation": step, "items": [answer]})
                await recommender.add_feedback(name, feedback)
            return found

        async def run(recommender=recommender, is_together=is_together, play=play) -> list:
            names = [(await recommender.create_session(NewSession())).session for _ in range(8)]
            if is_together:
                found = await asyncio.gather(*map(play, names))
            else:
                found = [await play(name) for name in names]
            await recommender.close()
            return list(found)

        results.append(asyncio.run(run()))
        sizes.append(recommender.model.current.model.batch_sizes)
    assert set(sizes[0]) == {1}
    assert max(sizes[1]) > 1
    assert results[0] == results[1]


def test_a_failure_of_the_model_is_that_of_its_call_alone(tmp_path, catalog, monkeypatch):
    recommender = recommender_with(tmp_path, catalog)

    async def run() -> None:
        session = (await recommender.create_session(NewSession())).session
        with monkeypatch.context() as broken:
            broken.setattr(recommender.model.current.model, "start", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await recommender.recommend(session, RecommendationRequest())
        assert (await recommender.recommend(session, RecommendationRequest())).recommendation == 0
        await recommender.close()

    asyncio.run(run())


def answers(items: list[int], time: int) -> Answers:
    return Answers(np.array(items), np.tile([1.0, 0.5, 4.0, 0.0, 0.0], (len(items), 1)), time)


def test_a_part_of_a_session_starts_with_the_newest_rows():
    history = History(history_length=3, session_length=4, max_rows=3 + 8 + MAX_ITEMS, largest_slate=MAX_ITEMS)
    history.add_earlier([answers([1, 2], 0), answers([3, 4], 1)])
    assert history.items.tolist() == [2, 3, 4]
    for step in range(3):
        history.add(answers([10 + step], 2 + step))
    assert (history.items.tolist(), history.ends) == ([2, 3, 4, 10, 11, 12], [3, 4, 5, 6])
    history.add(answers([13], 5))
    assert (history.items.tolist(), history.ends, history.first_step) == ([11, 12, 13], [3], 4)
    assert history.times.tolist() == [3, 4, 5]
    assert history.feedback[0].tolist() == pytest.approx([1.0, 0.0, 1.0, 0.5, 0.8, 0.0, 0.0])


def test_a_part_ends_before_it_is_too_long_for_the_model():
    history = History(history_length=3, session_length=1_000, max_rows=3 + 8 + MAX_ITEMS, largest_slate=MAX_ITEMS)
    for step in range(20):
        history.add(answers([step, step, step], step))
        assert len(history.items) <= 3 + 8
