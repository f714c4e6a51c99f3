"""What generate() gives a model to read: token ids, the mask of a padded batch, the cache, an encoder's output."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

import torch

from vramguard.trace.caches import new_cache
from vramguard.trace.record import TraceError
from vramguard.trace.values import know

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SPECIAL: Final = ("token_id", "token_index", "token_ids")  # how configs name the ids that mean something
_CACHES: Final = (
    "past_key_values",
    "cache_params",
    "state",
    "mems",
    "past_buckets_states",
)  # how models name the cache


class Reading:
    """A model, and the state that one pass leaves for the next."""

    def __init__(self, model: Any, sequences: int, logits_to_keep: int | None) -> None:  # noqa: ANN401 - a torch module
        self.model = model
        self.sequences = sequences
        self.cache = new_cache(model)
        self._keep = logits_to_keep
        self._seen = 0  # tokens that the cache holds
        self._plain = _plain_token(model.config)
        self.encoded: Any = None  # what the encoder returned
        self._encoder_mask: torch.Tensor | None = None

    def read(self, tokens: int) -> None:
        """Run the model over the next `tokens` tokens of every sequence; nothing of its output but the cache stays."""
        given = {"input_ids": self._ids(tokens), "attention_mask": self._mask(self._seen + tokens)}
        takes = _takes(self.model.forward)
        if self._encodes():
            given = self._after_encoder(given)
        name = next((name for name in _CACHES if takes(name)), _CACHES[0])
        given |= {name: self.cache, "use_cache": self.model.can_generate(), "logits_to_keep": self._keep}
        output = self.model(**{key: value for key, value in given.items() if value is not None and takes(key)})
        self._seen += tokens
        if self.cache is None:
            self.cache = getattr(output, name, None)

    def _encodes(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)

    def _after_encoder(self, given: dict[str, Any]) -> dict[str, Any]:
        """Let the encoder read the prompt once, and the decoder as many tokens."""
        if self.encoded is None:
            encoder = self.model.get_encoder()
            takes = _takes(encoder.forward)
            wanted = {**given, **self._heard(takes), "return_dict": True}
            self._encoder_mask = given["attention_mask"]
            self.encoded = encoder(**{key: item for key, item in wanted.items() if item is not None and takes(key)})
        return {
            "encoder_outputs": self.encoded,
            "attention_mask": self._encoder_mask,
            "decoder_input_ids": given["input_ids"],
            "decoder_attention_mask": given["attention_mask"],
        }

    def _heard(self, takes: Callable[[str], bool]) -> dict[str, torch.Tensor]:
        """Half a minute of sound, which is what whisper's encoder always reads. Raises TraceError for other senses."""
        config = self.model.config
        if takes("input_ids"):
            return {}
        sizes = ("num_mel_bins", "max_source_positions")
        if not takes("input_features") or not all(hasattr(config, name) for name in sizes):
            raise TraceError(f"{type(self.model).__name__}: its encoder reads no text")
        frames = 2 * config.max_source_positions
        return {"input_features": torch.zeros(self.sequences, config.num_mel_bins, frames, dtype=self.model.dtype)}

    def _ids(self, tokens: int) -> torch.Tensor:
        return know(torch.zeros(self.sequences, tokens, dtype=torch.long), self._plain)

    def _mask(self, tokens: int) -> torch.Tensor | None:
        """The mask of a padded batch: what it holds is not known, or code would find that nothing is padded."""
        if self.sequences == 1:
            return None
        mask = torch.ones(self.sequences, tokens, dtype=torch.long)
        mask.known = None
        return mask


def _takes(function: Callable[..., object]) -> Callable[[str], bool]:
    parameters = inspect.signature(function).parameters
    return parameters.__contains__


def _plain_token(config: Any) -> int:  # noqa: ANN401 - transformers' config
    """An id that means nothing to the model: no padding, no image."""
    special = set(_special(config.to_dict()))
    return next(token for token in range(len(special) + 1) if token not in special)


def _special(value: object, name: str = "") -> Iterator[int]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _special(item, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _special(item, name)
    elif isinstance(value, int) and name.endswith(_SPECIAL):
        yield value
