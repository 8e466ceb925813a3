"""The evidence on a new version: propensities of slates, off-policy test and shadow test."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import CHECKOUT  # noqa: F401  (sets what threads may do)
from small_large_models import NUM_LANES, content_for, env_of, network_for, perturbed, played

from agents.large_model.model import LargeModelNetwork
from agents.large_model.online.config import ServedPolicy
from agents.large_model.online.evidence import OffPolicyResult, off_policy_test, served_log_probabilities, shadow_test
from agents.large_model.rollout import Sessions
from agents.large_model.serving.slates import BestSlate, PlackettLuce, draw_slate
from agents.networks.item_content import ItemContent

LOGITS = np.array([0.3, 1.2, -0.5, 0.9])
POLICIES = [ServedPolicy(selection=selection, exploration=0.3) for selection in ("greedy", "softmax")]


def log_probabilities(policy: ServedPolicy, slates: list, num_missing: int = 0) -> torch.Tensor:
    """Of slates of the four candidates, with places without a candidate after them."""
    candidates = [*range(10, 14), *[-1] * num_missing]
    logits = torch.tensor([*LOGITS, *[-1e9] * num_missing], dtype=torch.float32)
    steps = SimpleNamespace(slates=torch.tensor(slates), candidates=torch.tensor([candidates] * len(slates)))
    return served_log_probabilities(policy, logits.expand(len(slates), -1), steps)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("num_missing", [0, 2])
def test_probabilities_of_all_slates_add_up_to_1(policy, num_missing):
    for num_slots in (1, 2, 3):
        slates = list(itertools.permutations(range(4), num_slots))
        assert log_probabilities(policy, slates, num_missing).exp().sum() == pytest.approx(1.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_they_are_the_propensities_of_the_server(policy):
    kind = BestSlate if policy.selection == "greedy" else PlackettLuce
    for step in range(20):
        slate = draw_slate([kind(LOGITS)], 2, policy.exploration, 0, "session", step)
        (found,) = log_probabilities(policy, [slate.places.tolist()])
        assert float(found) == pytest.approx(slate.log_propensity, abs=1e-6)


def test_an_empty_slot_has_probability_1():
    for policy in POLICIES:
        (short,), (long,) = log_probabilities(policy, [[1]], 1), log_probabilities(policy, [[1, 4]], 1)
        expected = math.log(0.7 * (1.0 if policy.selection == "greedy" else softmax(1)) + 0.3 / 4)
        assert float(short) == pytest.approx(expected)
        assert float(long) == pytest.approx(expected)


def softmax(place: int) -> float:
    return float(np.exp(LOGITS[place]) / np.exp(LOGITS).sum())


class Scorer:
    """In place of an `ExportedModel`: the scores of a function of the items."""

    def __init__(self, score) -> None:
        self._score = score

    def catalog(self, simulator: None) -> None:
        return simulator

    def start(self, tables: None, observation: dict) -> tuple:
        return (SimpleNamespace(scores=self._score(observation["candidate_items"]).astype(np.float32)),)


def requests(number: int) -> tuple:
    """The requests of one part, with candidates 0..4 and one place without a candidate."""
    observations = [{"candidate_items": np.array([[n % 3, 3, 4, -1]])} for n in range(number + 1)]
    return [None], SimpleNamespace(observations=lambda part: observations)


def test_the_shadow_test_counts_agreement_coverage_and_failures():
    parts, served = requests(30)
    lowest, last, failing = (
        Scorer(score)
        for score in (
            lambda items: np.where(items >= 0, -items, -9),
            lambda items: items,
            lambda items: np.where(items == 2, np.nan, items),
        )
    )
    found = shadow_test(last, lowest, None, parts, served, 30)
    assert (found.num_requests, found.agreement, found.coverage, found.num_failures) == (30, 0.0, 1 / 3, 0)
    same = shadow_test(lowest, lowest, None, parts, served, 12)
    assert (same.num_requests, same.agreement, same.coverage) == (12, 1.0, 1.0)
    assert shadow_test(failing, last, None, parts, served, 30).num_failures == 10


def test_the_shadow_test_makes_no_more_requests_than_it_needs():
    _, served = requests(6)
    made = []
    several = SimpleNamespace(observations=lambda part: made.append(part) or served.observations(part))
    scorer = Scorer(lambda items: items)
    assert shadow_test(scorer, scorer, None, [1, 2, 3], several, 8).num_requests == 8
    assert made == [3, 2]


class Served:
    """In place of `ServedSessions`: parts are numbers of sessions that were played."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def sessions(self, parts: list, network: LargeModelNetwork, content: ItemContent) -> tuple:
        chosen = self._sessions.select(torch.tensor([part.number for part in parts]))
        return chosen, chosen.log_probabilities.sum(2)


def test_sessions_of_one_person_are_not_independent():
    env = env_of("single items")
    published, new = network_for(env), perturbed(network_for(env), seed=1)
    content = content_for(env, published)
    served = Served(played(published, env, content))

    def result(num_copies: int, num_people: int) -> OffPolicyResult:
        """Copies of all sessions, those of one session by one person where there are as many people as sessions."""
        parts = [
            SimpleNamespace(person=f"{n % num_people}", number=n % NUM_LANES) for n in range(NUM_LANES * num_copies)
        ]
        policy = ServedPolicy(selection="softmax", exploration=0.0)
        return off_policy_test(new, published, parts, served, lambda network: content, policy)

    once, copied, by_others = result(1, NUM_LANES), result(5, NUM_LANES), result(5, 5 * NUM_LANES)
    assert (once.num_people, copied.num_people, copied.num_sessions) == (NUM_LANES, NUM_LANES, 5 * NUM_LANES)
    assert copied.effective_sample_size == pytest.approx(once.effective_sample_size)
    for name in ("difference", "prediction"):
        assert getattr(copied, name) == pytest.approx(getattr(once, name)), "copies are no evidence"
        value, low, high = getattr(by_others, name)
        assert value == pytest.approx(getattr(once, name)[0])
        width = getattr(once, name)[2] - getattr(once, name)[1]
        assert high - low == pytest.approx(width * ((NUM_LANES - 1) / (5 * NUM_LANES - 1)) ** 0.5)
    assert np.isnan(result(1, 1).difference[1:]).all()
