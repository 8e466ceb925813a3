"""The model: a person's profile and what was shown and answered, as tokens; candidates scored by one state.

A(s, c) = worth(s, c) + care(s, c) is what showing candidate c is worth: the reward that supervision expects of it, and
what reinforcement adds for all that comes later. The policy is pi = softmax(A / temperature); with V of the state,
Q = V + A - E_pi A. At the start care is 0 and the policy is that of the supervised model.

Shape legend: n sessions, k tokens, K steps of any sessions, M candidates, E width of states, V of items, C of
candidates, R rows, b bins, U numbers of a user. A row is an item that was shown, with what was answered.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from agents.large_model.backbone import Trunk
from agents.large_model.heads import ReturnDistribution, policy_logits
from agents.large_model.sessions import Sessions
from agents.large_model.sizes import ModelSizes
from agents.networks.content_encoder import ContentEncoder
from agents.networks.item_content import DYNAMICS, STANDING, ItemContent
from agents.networks.schema import Schema
from recsim_env.simulation.observation import FEEDBACK

if TYPE_CHECKING:  # needs packages that nothing else needs
    from agents.large_model.language_backbone import LanguageTrunk

ROW_COLUMNS = (*FEEDBACK, "time", "before", *STANDING)
"""Columns of a row besides its item: the feedback as observed; the share of the session that was over when it was
shown; 1 if it is from before the session, of the history that the person brings; how the item stood then, or when the
session began if it is from before."""

_FIRST_TEMPERATURE = 0.3
_LEAST_TEMPERATURE, _MOST_TEMPERATURE = 0.02, 10.0


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a model says of candidates; of missing ones nothing that counts but the logits."""

    logits: torch.Tensor
    """[K, M]: of the policy."""
    clicks: torch.Tensor
    """[K, M]: logits of being chosen, shown alone."""
    rewards: torch.Tensor
    """[K, M]: mean reward of showing it alone, once it is chosen."""
    values: torch.Tensor
    """[K, b]: logits of the distribution of what is still to come (`LargeModel.value`)."""
    temperature: torch.Tensor
    """[]: of the policy, in units of reward."""

    @property
    def worths(self) -> torch.Tensor:
        """[K, M]: mean reward of showing a candidate alone, as supervision has it."""
        return self.clicks.sigmoid() * self.rewards


class CandidateLayer(nn.Module):
    """Candidates [n, M, C] attend to each other, so that a slate is more than its items; [n, M, C]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = max(number for number in range(1, max(width // 32, 1) + 1) if width % number == 0)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        heads = self.query_key_value(rms_norm(x, (x.shape[-1],))).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # [n, heads, M, C / heads] each
        attended = scaled_dot_product_attention(query, key, value, attn_mask=(mask > 0)[:, None, None])
        return x + self.out(attended.transpose(1, 2).flatten(2))


class LargeModel(nn.Module):
    """Sessions and candidates to a policy, a value and predictions of what is answered.

    Args:
        sizes: how large it is.
        schema: what it reads.
        trunk: a language model; None for a `Trunk`.
    """

    def __init__(self, sizes: ModelSizes, schema: Schema, trunk: "LanguageTrunk | None" = None) -> None:
        super().__init__()
        if trunk is not None:
            sizes = trunk.sizes(sizes)
        self.sizes, self.schema = sizes, schema
        width = sizes.width
        self.encoder = ContentEncoder(
            schema,
            item_width=sizes.item_width,
            num_word_buckets=sizes.num_word_buckets,
            word_width=sizes.word_width,
            description_width=0 if trunk is None else width,
        )
        self.profile = nn.Linear(len(schema.user_names), width)
        self._passes: torch.Tensor
        passes = torch.tensor([name in schema.passing_names for name in schema.user_names])
        self.register_buffer("_passes", passes, persistent=False)
        self.domain = nn.Embedding(1 + len(schema.domains), width)
        self.shown = nn.Linear(sizes.item_width, width, bias=False)
        self.answer = nn.Linear(len(ROW_COLUMNS), width)
        self.trunk = Trunk(sizes) if trunk is None else trunk
        self.context = nn.Linear(len(schema.user_names), width, bias=False)
        self.candidate_content = nn.Linear(sizes.item_width, sizes.candidate_width)
        self.candidate_dynamics = nn.Linear(len(DYNAMICS), sizes.candidate_width, bias=False)
        self.candidate_of_state = nn.Linear(width, sizes.candidate_width, bias=False)
        self.candidate_layers = nn.ModuleList(
            CandidateLayer(sizes.candidate_width) for _ in range(sizes.num_candidate_layers)
        )
        self.queries = nn.Linear(width, 3 * sizes.candidate_width)
        self.value_head = ReturnDistribution(width, schema.lowest_return, schema.highest_return, sizes.num_value_bins)
        self.log_temperature = nn.Parameter(torch.tensor([_FIRST_TEMPERATURE]).log())  # [1]: [] cannot be sharded
        with torch.no_grad():
            nn.init.normal_(self.domain.weight, std=0.02)
            self.queries.weight[: sizes.candidate_width] = 0.0  # care is 0 at the start
            self.queries.bias[: sizes.candidate_width] = 0.0

    @property
    def num_parameters(self) -> int:
        """Numbers that are learnt."""
        return sum(weight.numel() for weight in self.parameters() if weight.requires_grad)

    @property
    def temperature(self) -> torch.Tensor:
        """Of the policy, in units of reward."""
        return self.log_temperature[0].exp().clamp(_LEAST_TEMPERATURE, _MOST_TEMPERATURE)

    def content_of(self, env: Any) -> ItemContent:
        """The catalogue behind an env, as the model sees it."""
        describe = None if isinstance(self.trunk, Trunk) else self.trunk.describe
        return ItemContent.of(env, self.schema, self.sizes.num_word_buckets, self.log_temperature.device, describe)

    def first_tokens(self, users: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        """[n, E]: the profile token, from users [n, U] and the numbers of their scenarios [n]. It holds for the whole
        session, so what passes within one is left out: it is told with the step that is scored."""
        return self.profile(users.masked_fill(self._passes, 0.0)) + self.domain(domain)

    def row_tokens(self, items: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        """[n, k, E]: tokens of rows, from what their items are as rows [n, k, E] and `ROW_COLUMNS` [n, k, 13]."""
        return items + self.answer(answers)

    def forward(self, sessions: Sessions, content: ItemContent) -> Scores:
        """Scores of the K steps of whole sessions in one pass, in the order of `Sessions.steps`."""
        steps = sessions.steps
        occurring, places = torch.unique(
            torch.cat([sessions.row_items.flatten(), steps.candidates.flatten()]).clamp(min=0), return_inverse=True
        )
        as_rows, as_candidates = self.item_tables(content, occurring)  # [i, E], [i, C]
        num_rows = sessions.row_items.numel()
        rows = self.row_tokens(as_rows[places[:num_rows].view_as(sessions.row_items)], sessions.row_answers)
        domain = torch.full((len(sessions),), content.domain, device=rows.device)
        first = self.first_tokens(sessions.users[:, 0], domain)
        states = self.trunk(torch.cat([first[:, None], rows], 1))  # [n, 1 + R, E]
        return self.score(
            states[steps.sessions, steps.num_rows],
            steps.users,
            as_candidates[places[num_rows:].view_as(steps.candidates)],
            steps.dynamics,
            steps.candidates >= 0,
        )

    def extend(
        self, tokens: torch.Tensor, num_new: torch.Tensor, cache: Any, which: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `Trunk.extend`."""
        return self.trunk.extend(tokens, num_new, cache, which)

    def score(
        self, states: torch.Tensor, users: torch.Tensor, items: torch.Tensor, dynamics: torch.Tensor, mask: torch.Tensor
    ) -> Scores:
        """Score the candidates of K steps, whichever sessions they are of.

        Args:
            states: [K, E], before each step.
            users: [K, U], as observed then.
            items: [K, M, C]: what the candidates' items are as candidates (`item_tables`).
            dynamics: [K, M, 6]: `item_content.DYNAMICS`.
            mask: [K, M]: 0 for missing candidates.
        """
        known = rms_norm(states + self.context(users), (states.shape[-1],))  # [K, E]
        candidates = silu(
            items + self.candidate_dynamics(dynamics) + self.candidate_of_state(known)[:, None]
        )  # [K, M, C]
        for layer in self.candidate_layers:
            candidates = layer(candidates, mask)
        queries = self.queries(known).unflatten(-1, (3, -1))  # [K, 3, C]
        products = (candidates @ queries.transpose(1, 2)) * candidates.shape[2] ** -0.5  # [K, M, 3]
        value_weights, clicks, rewards = products.float().unbind(-1)
        worths = (clicks.sigmoid() * rewards).detach()  # what is expected is learnt from answers alone
        return Scores(
            logits=policy_logits(worths + value_weights, self.temperature, mask),
            clicks=clicks,
            rewards=rewards,
            values=self.value_head(known),
            temperature=self.temperature,
        )

    def item_tables(self, content: ItemContent, items: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """[i, E] and [i, C]: what items are as rows and as candidates, for some of a catalogue's or for all of them:
        once for a catalogue, to be gathered wherever they are shown."""
        vectors = self.encoder(content, items)
        return self.shown(vectors), self.candidate_content(vectors)

    def value(self, logits: torch.Tensor) -> torch.Tensor:
        """[...]: mean return still to come, of logits [..., b]."""
        return self.value_head.mean(logits)


def count_parameters(sizes: ModelSizes, schema: Schema) -> int:
    """Numbers that a model of that size learns, without making it."""
    with torch.device("meta"):
        return LargeModel(sizes, schema).num_parameters
