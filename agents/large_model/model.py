"""The network: a user's profile and the items shown with their feedback, as tokens; candidates scored from one state.

A(s, c) = r(s, c) + f(s, c) scores candidate c in state s: r is the expected reward of showing it, by the supervised
heads, and f what distillation or reinforcement adds for later steps, 0 at first. The policy is pi = softmax(A /
temperature); with the value V of the state, Q = V + A - E_pi A. So the policy is that of the supervised heads until
distillation or reinforcement changes it. A generalist has A = f, in a unit that suits all scenarios
(`ModelConfig.builds_on_feedback`).

Shape legend: n sessions, k tokens, K steps of any sessions, M candidates, J features of a candidate that change over
time, E width of states, V of items, C of candidates, R rows, T columns of a row, b bins, U user features, ... any
leading dimensions. A row is an item that was shown, with its feedback.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from agents.large_model.config import INPUT_VERSION, ModelConfig
from agents.large_model.content_memory import ContentMemory
from agents.networks.content_encoder import ContentEncoder
from agents.networks.item_content import DYNAMICS, ItemContent
from agents.networks.item_reader import ItemReader
from agents.networks.schema import Schema
from agents.networks.transformer import Transformer
from recsim_env.sb3.candidate_scorer import MISSING
from recsim_env.simulation.observation import FEEDBACK

if TYPE_CHECKING:
    from agents.large_model.language import LanguageBackbone  # needs the extra llm
    from agents.large_model.rollout import Sessions

ROW_COLUMNS = (*FEEDBACK, "time", "before", *DYNAMICS)
"""Columns of a row beside its item: the feedback as observed; the share of the session that was over when it was shown;
1 if it is from the user's history before the session; the item's dynamics when it was shown (of an item from before
the session, its state at the start of the session, and 0 for the others)."""

_INITIAL_TEMPERATURE = 0.3
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.02, 10.0
_SMOOTHNESS = 0.75  # standard deviation of a target, in bins
_MANY_TOKENS = 128  # sessions with fewer are read apart from much longer ones, to save the padding
_MARGIN = 2  # bins beyond each bound, so that targets near the bounds keep their mean


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The network's output for K steps; undefined for missing candidates, except for the logits."""

    logits: torch.Tensor
    """[K, M]: of the policy."""
    clicks: torch.Tensor
    """[K, M]: logits of a click, if shown alone."""
    rewards: torch.Tensor
    """[K, M]: mean reward if clicked, if shown alone."""
    values: torch.Tensor
    """[K, b]: logits of the distribution of the remaining return (`ReturnDistribution.mean`)."""
    temperature: torch.Tensor
    """[]: of the policy, in units of reward."""

    @property
    def expected_rewards(self) -> torch.Tensor:
        """[K, M]: expected reward of a candidate shown alone, by the supervised heads."""
        return self.clicks.sigmoid() * self.rewards


class ReturnDistribution(nn.Module):
    """States [..., E] to logits [..., b] of a histogram of returns, trained by cross-entropy with a smoothed target.

    HL-Gauss: Farebrother et al., "Stop regressing: training value functions via classification for scalable deep RL",
    ICML 2024. The b bins reach from the lowest to the highest return, with two more at each end as a margin.
    """

    def __init__(self, width: int, low: float, high: float, num_bins: int) -> None:
        super().__init__()
        self.logits = nn.Linear(width, num_bins)
        nn.init.zeros_(self.logits.weight)
        self.low, self.high = low, high
        margin = _MARGIN * (high - low) / (num_bins - 2 * _MARGIN)
        self.edges: torch.Tensor
        self.register_buffer("edges", torch.linspace(low - margin, high + margin, num_bins + 1), persistent=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.logits(states)

    def mean(self, logits: torch.Tensor) -> torch.Tensor:
        """[...]: mean return of the distribution."""
        centres = (self.edges[1:] + self.edges[:-1]) / 2.0
        return (logits.float().softmax(-1) * centres).sum(-1)  # not a product of matrices, which autocast would round

    def target(self, returns: torch.Tensor) -> torch.Tensor:
        """[..., b]: masses in the bins of a normal distribution around each return, clipped to the bounds."""
        spread = _SMOOTHNESS * (self.edges[1] - self.edges[0]) * 2.0**0.5
        below = torch.erf((self.edges - returns[..., None].clamp(self.low, self.high)) / spread)  # [..., b + 1]
        return (below[..., 1:] - below[..., :-1]) / (below[..., -1:] - below[..., :1])

    def loss(self, logits: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        """[...]: cross-entropy with the target of each return."""
        return -(self.target(returns) * logits.float().log_softmax(-1)).sum(-1)


def policy_logits(scores: torch.Tensor, temperature: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[..., M]: logits of the policy softmax(scores / temperature), `MISSING` for missing candidates."""
    return (scores.float() / temperature).masked_fill(mask == 0, MISSING)


class CandidateLayer(nn.Module):
    """Self-attention among candidates [n, M, C], so that the score of one depends on the others; [n, M, C]."""

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


class CandidateNetwork(nn.Module):
    """A feed-forward network on candidates [n, M, C] and a state [n, E], so that how features of a candidate combine
    may depend on the state; [n, M, C]."""

    def __init__(self, width: int, state_width: int, hidden_width: int) -> None:
        super().__init__()
        self.up, self.of_state = nn.Linear(width, hidden_width), nn.Linear(state_width, hidden_width, bias=False)
        self.down = nn.Linear(hidden_width, width, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        hidden = silu(self.up(rms_norm(x, (x.shape[-1],))) + self.of_state(state)[:, None])
        return x + self.down(hidden)


class LargeModelNetwork(nn.Module):
    """Sessions and candidates to a policy, a value and predicted feedback.

    The backbone is a `Transformer`, or the language model that is given.
    """

    reads_in_one_pass = False
    """Whether `forward` reads short and long sessions in one pass of the backbone, as all processes have to that share
    a backbone in shards: in each pass they gather its weights together, whatever sessions each of them has."""

    def __init__(
        self, config: ModelConfig, schema: Schema, language_backbone: "LanguageBackbone | None" = None
    ) -> None:
        super().__init__()
        if language_backbone is not None:
            config = language_backbone.adapted(config)
        self.config, self.schema = config, schema
        width, candidate_width, num_user_features = config.width, config.candidate_width, len(schema.user_names)
        self.encoder = ContentEncoder(
            schema,
            item_width=config.item_width,
            num_word_buckets=config.num_word_buckets,
            word_width=config.word_width,
            description_width=0 if language_backbone is None else width,
        )
        self.reader = ItemReader().frozen() if schema.has_readings else None
        self.profile = nn.Linear(num_user_features, width)
        self._is_dynamic: torch.Tensor
        is_dynamic = torch.tensor([name in schema.dynamic_names for name in schema.user_names])
        self.register_buffer("_is_dynamic", is_dynamic, persistent=False)
        self.domain = nn.Embedding(1 + len(schema.domains), width)
        self.row_item = nn.Linear(config.item_width, width, bias=False)
        self.row_feedback = nn.Linear(len(ROW_COLUMNS), width)
        self.backbone = language_backbone or _backbone(config)
        self.context = nn.Linear(num_user_features, width, bias=False)
        self.candidate_content = nn.Linear(config.item_width, candidate_width)
        self.candidate_dynamics = nn.Linear(len(DYNAMICS), candidate_width, bias=False)
        self.candidate_of_state = nn.Linear(width, candidate_width, bias=False)
        channels = config.memory_channels
        self.memory = ContentMemory(width, candidate_width, channels) if channels else None
        hidden_width = config.candidate_hidden_width
        self.candidate_network = CandidateNetwork(candidate_width, width, hidden_width) if hidden_width else None
        self.candidate_layers = nn.ModuleList(
            CandidateLayer(candidate_width) for _ in range(config.num_candidate_layers)
        )
        self.queries = nn.Linear(width, 3 * candidate_width)
        self.value_head = ReturnDistribution(width, schema.lowest_return, schema.highest_return, config.num_value_bins)
        self.log_temperature = nn.Parameter(torch.tensor([_INITIAL_TEMPERATURE]).log())  # [1]: FSDP cannot shard []
        with torch.no_grad():
            nn.init.normal_(self.domain.weight, std=0.02)
            self.queries.weight[:candidate_width] = 0.0  # f is 0 at first
            self.queries.bias[:candidate_width] = 0.0

    @property
    def device(self) -> torch.device:
        return self.log_temperature.device

    @property
    def num_parameters(self) -> int:
        """Trained parameters."""
        return sum(weight.numel() for weight in self.parameters() if weight.requires_grad)

    @property
    def temperature(self) -> torch.Tensor:
        """Of the policy, in units of reward."""
        return self.log_temperature[0].exp().clamp(_MIN_TEMPERATURE, _MAX_TEMPERATURE)

    def settings(self) -> dict[str, Any]:
        """Everything beside the weights that `checkpoint.rebuild` needs, for JSON."""
        language = getattr(self.backbone, "config", None)
        return {
            "input_version": INPUT_VERSION,
            "model": asdict(self.config),
            "schema": asdict(self.schema),
            **({} if language is None else {"language_model": asdict(language)}),
        }

    def trained_weights(self) -> dict[str, torch.Tensor]:
        """Weights by name, without the frozen ones of a language model."""
        frozen = {name for name, weight in self.named_parameters() if not weight.requires_grad}
        return {name: weight for name, weight in self.state_dict().items() if name not in frozen}

    def content_of(self, env: Any) -> ItemContent:
        """The catalogue of an env, as this network observes it."""
        describe = getattr(self.backbone, "describe", None)
        read = None if self.reader is None else self.reader.read
        return ItemContent.of(env, self.schema, self.config.num_word_buckets, self.device, describe=describe, read=read)

    def extended(self, schema: Schema, seed: int = 0) -> "LargeModelNetwork":
        """A copy that reads further columns, to which it is indifferent at first; its value head is new, with weights
        from the seed."""
        with torch.random.fork_rng(devices=[]):  # layers draw from the CPU's global generator
            torch.manual_seed(seed)
            new = LargeModelNetwork(self.config, schema)
        weights, own = new.state_dict(), self.state_dict()
        names = {
            "encoder.features.weight": (self.schema.content_names, schema.content_names),
            "profile.weight": (self.schema.user_names, schema.user_names),
            "context.weight": (self.schema.user_names, schema.user_names),
        }
        for name, weight in own.items():
            if name in names:
                old_names, new_names = names[name]
                weights[name] = torch.zeros_like(weights[name])
                weights[name][:, [new_names.index(each) for each in old_names]] = weight
            elif name == "domain.weight":
                weights[name] = weight[:1].expand_as(weights[name])
            elif not name.startswith("value_head."):
                weights[name] = weight
        new.load_state_dict(weights)
        return new.to(self.device)

    def profile_tokens(self, users: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        """[n, E]: the first token of sessions, from user features [n, U] and the numbers of their scenarios [n].
        Features that change within a session are left out: `score` reads them at each step."""
        return self.profile(users.masked_fill(self._is_dynamic, 0.0)) + self.domain(domain)

    def row_tokens(self, items: torch.Tensor, feedback: torch.Tensor) -> torch.Tensor:
        """[n, k, E]: tokens of rows, from their items [n, k, E] (`item_tables`) and `ROW_COLUMNS` [n, k, T]."""
        return items + self.row_feedback(feedback)

    def forward(self, sessions: "Sessions", content: ItemContent) -> Scores:
        """Scores of the K steps of whole sessions in one pass, in the order of `Sessions.steps`."""
        steps = sessions.steps
        used, index = torch.unique(
            torch.cat([sessions.row_items.flatten(), steps.candidates.flatten()]).clamp(min=0), return_inverse=True
        )
        as_rows, as_candidates = self.item_tables(content, used)  # [i, E], [i, C]
        num_rows = sessions.row_items.numel()
        rows_at = index[:num_rows].view_as(sessions.row_items)
        candidates_at = index[num_rows:].view_as(steps.candidates)
        rows = self.row_tokens(as_rows[rows_at], sessions.row_feedback)
        domain = torch.full((len(sessions),), content.domain, device=rows.device)
        profile = self.profile_tokens(sessions.users[:, 0], domain)
        states = self._states(torch.cat([profile[:, None], rows], 1), 1 + (sessions.row_items >= 0).sum(1))
        present = states[steps.sessions, steps.num_rows]
        candidates = as_candidates[candidates_at]
        if self.memory is not None:
            directions = content.directions[used]
            of_rows = directions[rows_at] * (sessions.row_items >= 0)[:, :, None]
            memories = self.memory.after_each_row(states[:, 1:], of_rows)[steps.sessions, steps.num_rows]
            candidates = candidates + self.memory.read(memories, directions[candidates_at], present)
        return self.score(present, steps.users, candidates, steps.dynamics, steps.candidates >= 0)

    def _states(self, tokens: torch.Tensor, num_tokens: torch.Tensor) -> torch.Tensor:
        """[n, k, E]: states after each of the first `num_tokens` [n] tokens [n, k, E] of sessions."""
        is_short = num_tokens <= _MANY_TOKENS
        if self.reads_in_one_pass or tokens.shape[1] <= 2 * _MANY_TOKENS or not is_short.any():
            return self.backbone(tokens)
        states = torch.zeros_like(tokens)
        states[is_short, :_MANY_TOKENS] = self.backbone(tokens[is_short, :_MANY_TOKENS]).to(states.dtype)
        if not is_short.all():
            states[~is_short] = self.backbone(tokens[~is_short]).to(states.dtype)
        return states

    def score(
        self, states: torch.Tensor, users: torch.Tensor, items: torch.Tensor, dynamics: torch.Tensor, mask: torch.Tensor
    ) -> Scores:
        """Scores of the candidates of K steps of any sessions.

        Args:
            states: [K, E], before each step.
            users: [K, U], as observed then.
            items: [K, M, C] of `item_tables`, plus what they read of the memories, if there are any.
            dynamics: [K, M, J]: `item_content.DYNAMICS`.
            mask: [K, M]: 0 for missing candidates.
        """
        state = rms_norm(states + self.context(users), (states.shape[-1],))  # [K, E]
        candidates = silu(
            items + self.candidate_dynamics(dynamics) + self.candidate_of_state(state)[:, None]
        )  # [K, M, C]
        if self.candidate_network is not None:
            candidates = self.candidate_network(candidates, state)
        for layer in self.candidate_layers:
            candidates = layer(candidates, mask)
        queries = self.queries(state).unflatten(-1, (3, -1))  # [K, 3, C]
        products = (candidates @ queries.transpose(1, 2)) * candidates.shape[2] ** -0.5  # [K, M, 3]
        future, clicks, rewards = products.float().unbind(-1)
        advantages = future
        if self.config.builds_on_feedback:
            advantages = (clicks.sigmoid() * rewards).detach() + future  # the former is trained by feedback alone
        return Scores(
            logits=policy_logits(advantages, self.temperature, mask),
            clicks=clicks,
            rewards=rewards,
            values=self.value_head(state),
            temperature=self.temperature,
        )

    def item_tables(self, content: ItemContent, items: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """[i, E] and [i, C]: items as rows and as candidates, of some or all items of a catalogue: computed once for a
        catalogue, and looked up afterwards."""
        return self.tables_of(self.encoder(content, items))

    def tables_of(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[i, E] and [i, C]: items as rows and as candidates, from their content vectors [i, V]."""
        return self.row_item(vectors), self.candidate_content(vectors)


def _backbone(config: ModelConfig) -> Transformer:
    names = ("width", "num_layers", "num_heads", "num_key_heads", "hidden_width", "max_tokens")
    return Transformer(**{name: getattr(config, name) for name in names})
