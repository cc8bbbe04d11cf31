"""Tokenizers that need no download, and those that come with a model."""

from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.config import ModelConfig
from fullcontext.model import hub

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)


def load(config: ModelConfig) -> Any:
    """The fast tokenizer of a model.

    Raises ConfigError naming the tokenizer if it is neither built in, nor local, nor reachable.
    """
    match config.tokenizer:
        case "mistral_v1":
            return mistral_v1()
        case "symbols":
            return symbols(config.symbols)
        case name:
            return _pretrained(name, config.trust_remote_code)


def mistral_v1() -> Any:
    """Mistral's first SentencePiece model, of `mistral-common`, as a fast tokenizer.

    Merges are ordered by piece *score*: ordered by id, as converters do it, repeated spaces
    tokenise differently from SentencePiece itself.
    """
    import mistral_common
    from sentencepiece import SentencePieceProcessor
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    folder = Path(mistral_common.__file__).parent / "data"
    pieces = SentencePieceProcessor(model_file=str(folder / "tokenizer.model.v1"))
    vocab = {pieces.id_to_piece(i): i for i in range(pieces.get_piece_size())}
    scores = {piece: pieces.get_score(i) for piece, i in vocab.items()}
    merges = sorted(
        (
            (-scores[piece], left, right)
            for piece in vocab
            for left, right in _splits(piece, vocab)
            if not pieces.is_control(vocab[piece]) and not pieces.is_byte(vocab[piece])
        ),
        key=lambda merge: (merge[0], vocab[merge[1]], vocab[merge[2]]),
    )
    model = BPE(
        vocab, [(left, right) for _, left, right in merges], unk_token="<unk>",
        fuse_unk=True, byte_fallback=True,
    )  # fmt: skip
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in ("<unk>", "<s>", "</s>")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", vocab["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _splits(piece: str, vocab: dict[str, int]) -> list[tuple[str, str]]:
    cuts = ((piece[:i], piece[i:]) for i in range(1, len(piece)))
    return [(left, right) for left, right in cuts if left in vocab and right in vocab]


def symbols(groups: dict[str, int]) -> Any:
    """One token a word: `{"k": 2, "v": 1}` gives k0, k1, v0, the question mark and the newline."""
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    if not groups:
        raise ConfigError("model.tokenizer=symbols needs model.symbols, e.g. {k: 64, v: 64}")
    words = ["<unk>", "<s>", "</s>", "\n", "?"]
    words += [f"{prefix}{i}" for prefix, count in groups.items() for i in range(count)]
    vocab = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(" +"), "removed"),
            pre_tokenizers.Split("\n", "isolated"),
        ]
    )
    # Joins words with spaces, so that text from ids gives the same ids again.
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _pretrained(name: str, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, trust_remote_code=trust_remote_code, local_files_only=not hub.answers()
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the tokenizer model.tokenizer={name!r} cannot be loaded"
            f" ({str(error).splitlines()[0]}); give a local folder (model.tokenizer=FOLDER),"
            " connect to the hub, or use model=tiny, which needs no download"
        ) from error
    if not tokenizer.is_fast or tokenizer.eos_token_id is None:
        raise ConfigError(f"the tokenizer {name!r} must be a fast one with an end token")
    return tokenizer
