"""Language models small enough for tests, saved in the format of their library."""

from pathlib import Path

import pytest
import tokenizers
import torch
import transformers

WIDTH = 32
WORDS = "space kitchen football garden guitar history code travel topic quality appeal cue amazing in depth . : ; -"
COMMON = {"vocab_size": 64, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.3}
_OF_LLAMA = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**COMMON, **_OF_LLAMA, num_key_value_heads=2),
    "gpt2": lambda: transformers.GPT2Config(**COMMON, n_positions=64, n_embd=WIDTH, n_layer=2, n_head=2),
    "bert": lambda: transformers.BertConfig(**{**COMMON, "is_decoder": False}, **_OF_LLAMA),
    "bloom": lambda: transformers.BloomConfig(**COMMON, hidden_size=WIDTH, n_layer=2, n_head=2),
}


def save_language_model(folder: Path, kind: str = "llama", seed: int = 0) -> str:
    """A causal language model of random weights and a tokenizer with a few words, as their library saves them."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", *WORDS.split(), *"0123456789"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformers.AutoModelForCausalLM.from_config(CONFIGS[kind]()).save_pretrained(folder)
    return str(folder)


def raised(kind: type[Exception], call, *arguments, **named) -> str:
    """What the error says, which must be one line."""
    with pytest.raises(kind) as error:
        call(*arguments, **named)
    assert "\n" not in str(error.value)
    return str(error.value)
