"""A byte-level BPE in nanochat's form: trained here, stored as a pickled tiktoken Encoding."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from pathlib import Path

import regex
import tiktoken

from corpus import SPECIAL_TOKENS, Document, documents

SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)


def train_merges(words: Counter[bytes], n_merges: int) -> dict[bytes, int]:
    """Ranks of the 256 bytes and of n_merges pairs, most frequent pair first (ties: smaller bytes)."""
    ranks = {bytes([i]): i for i in range(256)}
    split = {word: [word[i : i + 1] for i in range(len(word))] for word in words}
    for _ in range(n_merges):
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, parts in split.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda p: (-pairs[p], p))
        ranks[best[0] + best[1]] = len(ranks)
        for parts in split.values():
            i = 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == best:
                    parts[i : i + 2] = [best[0] + best[1]]
                i += 1
    return ranks


def train_tokenizer(vocab_size: int, seed: int, n_documents: int) -> tiktoken.Encoding:
    """Words with digits are left out, so every digit stays a token of its own and numbers are easy to copy."""
    words: Counter[bytes] = Counter()
    for document in itertools.islice(documents(seed), n_documents):
        for segment in document:
            if not segment.is_special:
                words.update(w.encode() for w in regex.findall(SPLIT_PATTERN, segment.text) if not regex.search(r"\p{N}", w))
    ranks = train_merges(words, vocab_size - 256 - len(SPECIAL_TOKENS))
    return tiktoken.Encoding(
        name="rustbpe",
        pat_str=SPLIT_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={token: len(ranks) + i for i, token in enumerate(SPECIAL_TOKENS)},
    )


def save_tokenizer(encoding: tiktoken.Encoding, path: Path) -> None:
    path.write_bytes(pickle.dumps(encoding))


def load_tokenizer(path: Path) -> tiktoken.Encoding:
    return pickle.loads(path.read_bytes())


def encode_document(encoding: tiktoken.Encoding, document: Document) -> tuple[list[int], list[bool]]:
    """Token ids, and for each token whether predicting it carries loss."""
    ids: list[int] = []
    has_loss: list[bool] = []
    for segment in document:
        part = [encoding.encode_single_token(segment.text)] if segment.is_special else encoding.encode_ordinary(segment.text)
        ids += part
        has_loss += [segment.has_loss] * len(part)
    return ids, has_loss
