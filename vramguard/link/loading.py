"""Calls of libraries that load something by its name, and names that need no owner."""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Loader(NamedTuple):
    """A call that loads something: of these packages, under a name that ends so; its arguments by position."""

    roots: tuple[str, ...]
    ends: str  # a pattern
    kind: str  # that of an Artefact
    positional: tuple[str, ...]
    named: tuple[str, ...]  # the argument that names it, by each of its names
    source: str = "hub"


# Signatures as in transformers 5.23, diffusers 0.35, peft 0.18, huggingface_hub 1.2, datasets 4.4,
# sentence-transformers 5.1, timm 1.0, torch 2.13 (hub.py), mlflow 3.6, langchain-huggingface 1.1, bentoml 1.4.
# ModelScope's hub is another, and is left out.
_FROM: Final = (
    "transformers", "diffusers", "optimum", "tokenizers", "setfit", "huggingface_hub", "unsloth", "trl", "auto_gptq",
    "gptqmodel", "adapters", "peft", "sentence_transformers", "span_marker", "gliner",
)  # fmt: skip
_NAME: Final = (
    "pretrained_model_name_or_path", "model_name", "model_name_or_path", "model_id", "identifier",
    "pretrained_model_or_path", "repo_id_or_path",
)  # fmt: skip
_EMBEDDINGS: Final = r"HuggingFace(?:Bge|Instruct)?Embeddings?|HuggingFaceCrossEncoder"
_CHAINS: Final = ("langchain", "langchain_huggingface", "langchain_community")
_SENTENCES: Final = ("model_name_or_path", "model_name")
_LOADERS: Final = (
    Loader(("peft",), r"PeftModel\w*\.from_pretrained", "adapter", ("model", "model_id"), ("model_id",)),
    Loader(_FROM, r"\w+\.from_pretrained", "model", _NAME[:1], _NAME),
    Loader(("diffusers",), "load_lora_weights", "adapter", _NAME[:1], (*_NAME, f"{_NAME[0]}_or_dict")),
    Loader(("transformers", "optimum"), "pipeline", "model", ("task", "model"), ("model",)),
    Loader(("huggingface_hub",), "snapshot_download", "model", ("repo_id",), ("repo_id",)),
    Loader(("huggingface_hub",), "hf_hub_download", "file", ("repo_id", "filename"), ("repo_id",)),
    Loader(("datasets",), "load_dataset", "dataset", ("path", "name"), ("path",)),
    Loader(("sentence_transformers",), "SentenceTransformer|CrossEncoder", "model", _SENTENCES[:1], _SENTENCES),
    Loader(_CHAINS, _EMBEDDINGS, "model", ("model_name",), ("model_name", "model")),
    Loader(("timm",), "create_model", "model", ("model_name",), ("model_name",), "timm"),
    Loader(("torch",), r"hub\.load", "code", ("repo_or_dir", "model"), ("repo_or_dir",), "torch-hub"),
    Loader(("bentoml",), r"models\.HuggingFaceModel", "model", ("model_id", "revision"), ("model_id",)),
    Loader(("mlflow",), r"\w+\.load_model", "model", ("model_uri",), ("model_uri",), "mlflow"),
)
_ENDS: Final = tuple(re.compile(rf"(?:.*\.)?(?:{row.ends})") for row in _LOADERS)
# The last part of every one of these.
LAST: Final = re.compile(
    r"from_pretrained|load_lora_weights|pipeline|snapshot_download|hf_hub_download|load_dataset|SentenceTransformer"
    rf"|CrossEncoder|{_EMBEDDINGS}|create_model|load|load_model|HuggingFaceModel"
)
TOKENIZERS: Final = re.compile(r"\w*(?:Tokenizer\w*|Processor|FeatureExtractor)\Z")
# Ids without an owner, which the hub keeps from its first years, and those that sentence-transformers completes.
OLD: Final = re.compile(
    r"(?:bert|distilbert|roberta|distilroberta|xlm|albert|xlnet|camembert|t5|gpt2|openai-gpt|distilgpt2|ctrl)(?:-[\w-]+)?"
    r"|(?:all|multi-qa|paraphrase|msmarco|distiluse|nli|stsb|gtr|sentence-t5|clip-ViT|average_word_embeddings)-[\w.-]+"
    r"|LaBSE",
    re.IGNORECASE,
)
OLD_DATA: Final = frozenset({
    "ag_news", "amazon_polarity", "beans", "billsum", "bookcorpus", "boolq", "c4", "cifar10", "cifar100",
    "cnn_dailymail", "code_search_net", "common_voice", "conll2003", "daily_dialog", "dbpedia_14", "drop", "eli5",
    "emotion", "fashion_mnist", "food101", "glue", "gsm8k", "hellaswag", "hotpot_qa", "imagenet-1k", "imdb", "lambada",
    "librispeech_asr", "mbpp", "mc4", "minds14", "mnist", "ms_marco", "multi_news", "natural_questions",
    "openai_humaneval", "openwebtext", "opus_books", "oscar", "paws", "piqa", "ptb_text_only", "pubmed_qa", "quora",
    "race", "rotten_tomatoes", "samsum", "sciq", "snli", "speech_commands", "squad", "squad_v2", "sst2", "super_glue",
    "superb", "swag", "trec", "trivia_qa", "tweet_eval", "wikipedia", "wikitext", "winogrande", "wmt14", "wmt16",
    "xnli", "xsum", "yelp_polarity", "yelp_review_full",
})  # fmt: skip


def loader_of(origin: str) -> Loader | None:
    """What a function of this full name loads; None where it loads nothing that is known."""
    root, _, rest = origin.partition(".")
    rows = zip(_LOADERS, _ENDS, strict=True)
    return next((row for row, ends in rows if root in row.roots and ends.fullmatch(rest)), None)
