"""The large model: what its scores depend on and what they are invariant to; its presets."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_large_models import content_for, env_of, network_for, played, small_config

from agents.large_model.config import PRESETS, ModelConfig
from agents.large_model.env import make_env
from agents.large_model.losses import LossWeights, SessionLoss
from agents.large_model.model import LargeModelNetwork, Scores
from agents.large_model.rollout import play
from agents.networks.item_content import ItemContent
from agents.networks.schema import UNKNOWN_DOMAIN, Schema
from recsim_env.simulation.observation import RELEVANCE_COLUMNS

SEED = 5


def assert_same(found: Scores, expected: Scores, candidates: Any = slice(None)) -> None:
    """The same scores, of candidates in that order."""
    for name in ("logits", "clicks", "rewards"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name)[:, candidates], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.values, expected.values, atol=1e-4, rtol=1e-4)


def differs(found: Scores, expected: Scores) -> bool:
    return bool((found.logits - expected.logits).abs().max() > 1e-3)


@torch.no_grad()
def scores_of(model: LargeModelNetwork, sessions: Any, content: ItemContent) -> Scores:
    return model(sessions, content)


@pytest.fixture(scope="module", params=[0, 2])
def scene(request) -> tuple[LargeModelNetwork, ItemContent, Any]:
    """A model with so many candidate layers, a catalogue, and sessions that it has played in it."""
    env = env_of("slates")
    model = network_for(env, num_candidate_layers=request.param)
    content = content_for(env, model)
    return model, content, played(model, env, content, SEED)


def test_the_order_of_candidates_does_not_matter(scene):
    model, content, sessions = scene
    order = torch.randperm(sessions.candidates.shape[2], generator=torch.Generator().manual_seed(0))
    shuffled = replace(sessions, candidates=sessions.candidates[:, :, order], dynamics=sessions.dynamics[:, :, order])
    assert_same(scores_of(model, shuffled, content), scores_of(model, sessions, content), order)


def test_missing_candidates_change_no_score_and_have_no_probability(scene):
    model, content, sessions = scene
    fewer = replace(sessions, candidates=sessions.candidates.clone())
    fewer.candidates[:, :, 12:] = -1
    few = replace(sessions, candidates=sessions.candidates[:, :, :12], dynamics=sessions.dynamics[:, :, :12])
    found, expected = (scores_of(model, each, content) for each in (fewer, few))
    torch.testing.assert_close(found.logits[:, :12], expected.logits, atol=1e-4, rtol=1e-4)
    assert (found.logits.softmax(1)[:, 12:] == 0.0).all()
    torch.testing.assert_close(found.logits.softmax(1)[:, :12].sum(1), torch.ones(sessions.num_steps))


def test_candidates_interact_only_through_candidate_layers(scene):
    model, content, sessions = scene
    few = replace(sessions, candidates=sessions.candidates[:, :, :12], dynamics=sessions.dynamics[:, :, :12])
    alone, together = (scores_of(model, each, content).clicks[:, :12] for each in (few, sessions))
    is_same = torch.allclose(alone, together, atol=1e-4)
    assert is_same == (model.config.num_candidate_layers == 0)


def test_renumbered_items_are_scored_alike(scene):
    model, content, sessions = scene
    number = torch.randperm(len(content), generator=torch.Generator().manual_seed(0))  # new number of each item
    renumbered = {
        name: part[number.argsort()] if isinstance(part, torch.Tensor) and name != "statistics" else part
        for name, part in vars(content).items()
    }
    renumbered["statistics"] = content.statistics[:, number.argsort()]
    other = ItemContent(**renumbered)

    def renamed(items: torch.Tensor) -> torch.Tensor:
        return number[items.clamp(min=0)].where(items >= 0, -1)

    renamed_sessions = replace(sessions, candidates=renamed(sessions.candidates), row_items=renamed(sessions.row_items))
    assert_same(scores_of(model, renamed_sessions, other), scores_of(model, sessions, content))
    times = torch.full((len(sessions),), 40)
    relevance = torch.rand(len(sessions), sessions.candidates.shape[2], len(RELEVANCE_COLUMNS))
    places = sessions.candidates[:, 0], relevance, times, sessions.row_items, sessions.row_feedback
    moved = renamed_sessions.candidates[:, 0], relevance, times, renamed_sessions.row_items, sessions.row_feedback
    torch.testing.assert_close(other.dynamics(*moved), content.dynamics(*places))
    assert differs(scores_of(model, sessions, other), scores_of(model, sessions, content))


def test_scores_depend_on_user_feedback_items_and_dynamics(scene):
    model, content, sessions = scene
    before = scores_of(model, sessions, content)
    for changed in (
        replace(sessions, users=-sessions.users),
        replace(sessions, row_feedback=1.0 - sessions.row_feedback),
        replace(sessions, dynamics=1.0 - sessions.dynamics),
        replace(sessions, row_items=sessions.row_items.flip(0)),
    ):
        assert differs(scores_of(model, changed, content), before)


def test_feedback_of_later_steps_and_other_sessions_changes_no_score(scene):
    model, content, sessions = scene
    longest = int(sessions.lengths.argmax())
    begin = int(sessions.num_rows[longest, 1])
    changed = replace(sessions, row_feedback=sessions.row_feedback.clone())
    changed.row_feedback[longest, begin:] += 1.0  # what the second step of the longest session answers
    found, before = (scores_of(model, each, content).logits for each in (changed, sessions))
    is_later = (sessions.steps.sessions == longest) & (sessions.steps.num_rows > begin)
    torch.testing.assert_close(found[~is_later], before[~is_later])
    assert (found[is_later] - before[is_later]).abs().amax(1).min() > 1e-4


@pytest.mark.parametrize("missing", ["images", "audio", "words", "all"])
def test_any_modality_may_be_missing(missing):
    env = env_of("warm users")
    model = network_for(env, has_images=True, has_audio=True)
    content = content_for(env, model)
    lacks: dict[str, Any] = {"images": None, "audio": None, "words": torch.zeros_like(content.words)}
    less = replace(content, **(lacks if missing == "all" else {missing: lacks[missing]}))
    sessions = played(model, env, less, SEED)
    found = scores_of(model, sessions, less)
    assert found.logits.isfinite().all()
    assert differs(found, scores_of(model, sessions, content))
    one_less = scores_of(model, sessions.select(torch.arange(3)), less)
    torch.testing.assert_close(one_less.logits, found.logits[: len(one_less.logits)], atol=1e-4, rtol=1e-4)


def test_a_missing_modality_has_a_learned_vector():
    env = env_of("warm users", 3)
    model = network_for(env, has_images=True, has_audio=True)
    content = content_for(env, model)
    sessions = played(model, env, content, SEED)
    lacks: dict[str, Any] = {"words": torch.zeros_like(content.words), "images": None, "audio": None}
    for name, nothing in lacks.items():
        less = replace(content, **{name: nothing})
        before, whole = (scores_of(model, sessions, each) for each in (less, content))
        with torch.no_grad():
            model.encoder.missing[{"images": "image", "words": "title"}.get(name, name)].add_(1.0)
        assert differs(scores_of(model, sessions, less), before)
        assert_same(scores_of(model, sessions, content), whole)


def test_a_model_acts_in_a_scenario_with_other_columns():
    music, video = env_of("warm users", 3), env_of("single items", 3)
    model = network_for(music, has_images=True, has_audio=True)
    assert model.schema.domain("Music") == 1
    content = replace(content_for(video, model), images=None)
    assert content.domain == UNKNOWN_DOMAIN
    assert content.audio is None
    sessions = played(model, video, content, SEED)
    lacking = [name not in video.simulator.world.items.feature_names for name in model.schema.content_names]
    assert (content.features[:, lacking] == 0.0).all()
    assert (content.features[:, [not lacks for lacks in lacking]] != 0.0).any()
    assert scores_of(model, sessions, content).logits.isfinite().all()


def test_a_hidden_domain_is_read_as_an_unknown_one(scene):
    model, content, sessions = scene
    untold = scores_of(model, sessions, content.with_unknown_domain())
    assert_same(untold, scores_of(model, sessions, replace(content, domain=UNKNOWN_DOMAIN)))
    assert differs(untold, scores_of(model, sessions, content))


def test_the_initial_policy_is_that_of_the_supervised_heads():
    env = env_of("single items", 4)
    torch.manual_seed(0)
    model = LargeModelNetwork(small_config(num_candidate_layers=1), Schema.of([env.simulator]))
    content = content_for(env, model)
    scores = scores_of(model, played(model, env, content, SEED), content)
    torch.testing.assert_close(scores.logits, scores.expected_rewards / scores.temperature)
    assert scores.expected_rewards.std() > 0.0


def test_reinforcement_does_not_train_the_supervised_heads():
    env = env_of("single items", 4)
    model = network_for(env)
    content = content_for(env, model)
    sessions = played(model, env, content, SEED)
    targets = {"advantages": torch.randn(sessions.num_steps), "returns": torch.zeros(sessions.num_steps)}
    total, _ = SessionLoss(model)(sessions, content, LossWeights(policy=1.0), **targets)
    total.backward()
    width = model.config.candidate_width
    value_weights, expected = model.queries.weight.grad[:width], model.queries.weight.grad[width:]
    assert value_weights.abs().max() > 0.0
    assert (expected == 0.0).all()


def test_too_long_a_session_is_refused_in_one_line():
    env = make_env("recsim_env/Video-v0", 2, session_length=300)
    model = network_for(env)
    with pytest.raises(ValueError, match=r"^ModelConfig.max_tokens=128: must be at least 301") as raised:
        play(model, env, content_for(env, model), seed=0, generator=torch.Generator())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("width", [8, 33, 72, 104, 200, 256])
def test_candidate_layers_support_any_width(width):
    env = env_of("single items", 2)
    model = network_for(env, candidate_width=width, num_candidate_layers=1)
    assert played(model, env, content_for(env, model), SEED).values.isfinite().all()


MILLIONS = {"1m": 1.0, "10m": 10.0, "30m": 30.0, "100m": 100.0, "300m": 300.0, "1b": 1_000.0}


@pytest.fixture(scope="module")
def schemas() -> list[Schema]:
    """Of one world and of several, without and with pictures and sounds."""
    envs = [
        make_env(f"recsim_env/{name}-v0", 1) for name in ("Video", "Music", "Ecommerce", "News", "Social", "Ratings")
    ]
    of = [[env.simulator for env in some] for some in (envs[:1], envs)]
    return [Schema.of(simulators, has, has) for simulators in of for has in (False, True)]


def count_parameters(config: ModelConfig, schema: Schema) -> int:
    with torch.device("meta"):  # nothing is allocated
        return LargeModelNetwork(config, schema).num_parameters


@pytest.mark.parametrize("name", MILLIONS)
def test_a_preset_has_as_many_parameters_as_its_name_says(name, schemas):
    for schema in schemas:
        assert count_parameters(PRESETS[name], schema) == pytest.approx(1e6 * MILLIONS[name], rel=0.1)


def test_presets_are_in_the_order_of_their_size(schemas):
    assert {name for name in PRESETS if name[0].isdigit()} == set(MILLIONS)
    for schema in schemas:
        sizes = [count_parameters(preset, schema) for preset in PRESETS.values()]
        assert sizes == sorted(sizes)


def test_all_parameters_are_counted(schemas):
    model = LargeModelNetwork(small_config(), schemas[0])
    assert count_parameters(small_config(), schemas[0]) == model.num_parameters
    assert model.num_parameters == sum(weight.numel() for weight in model.parameters())
