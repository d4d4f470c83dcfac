"""Makes ../tokenizers: small trained vocabularies in every form, and what their libraries make of the strings.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 tiktoken==0.14.0 regex zstandard && python make_tokenizers.py

strings.zst holds u32 count, u32 how many at the end are about special tokens, then per string u32 bytes and the bytes.
NAME/ holds the tokenizer's files and golden.zst: per string u32 count (2^32 - 1: the library takes no such string, or other Unicode tables), the
ids (u16), and how they decode: a byte 0 (to the string), 1 (u32 bytes, bytes), or 2 (not compared); then,
where the byte that follows all strings is 1, for each string about special tokens u32 count and the ids with control
tokens found and bos and eos put around. All files are compressed by zstd, all numbers little-endian.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
import unicodedata
from pathlib import Path

import sentencepiece
import tiktoken
import zstandard
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizer import train_merges
from tokenizer_strings import CODE, strings

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "tokenizers"
ROOT = HERE.parents[1]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
STRINGS, N_SPECIAL = strings()


def corpus() -> list[str]:
    """Stories, Chinese, code, other scripts: texts that do not change, so that the vocabularies stay."""
    names = ["tests/models/nanochat/heldout.txt", "tests/models/minigpt/heldout.txt"]
    text = "\n".join((ROOT / name).read_text(encoding="utf-8")[:60_000] for name in names)
    text += "Äpfel, Übermut und süße Brötchen. naïve café déjà vu. Привет, мир! שלום עולם مرحبا بالعالم 한국어 日本語 ①② ﬁ ½ 3.14 2024 1,000\n" * 20
    return (text + CODE * 10).split("\n")


def write(name: str, data: bytes) -> None:
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(data))


def golden(name: str, encode, decode, full=None, misread: int | None = None) -> None:
    """encode(bytes) -> ids or None, decode(ids) -> bytes, full(bytes) -> ids with control tokens and ends; how strings with
    the token `misread` decode is not compared."""
    out = io.BytesIO()
    put = lambda ids: out.write(struct.pack("<I", len(ids)) + struct.pack(f"<{len(ids)}H", *ids))
    for text in STRINGS:
        ids = encode(text)
        if ids is None:
            out.write(b"\xff\xff\xff\xff")
            continue
        put(ids)
        if misread is not None and misread in ids:
            out.write(b"\2")
            continue
        back = decode(ids)
        out.write(b"\0" if back == text else b"\1" + struct.pack("<I", len(back)) + back)
    out.write(b"\1" if full else b"\0")
    if full:
        for text in STRINGS[len(STRINGS) - N_SPECIAL :]:
            put(full(text))
    write(f"{name}/golden.zst", out.getvalue())


def valid(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def same_unicode(text: str, forms: tuple[str, ...]) -> bool:
    """Whether the library's tables, which are of Unicode 12, normalize the text as those of Unicode 14 do."""
    return all(getattr(normalizers, form)().normalize_str(text) == unicodedata.normalize(form, text) for form in forms)


def golden_hf(name: str, t: Tokenizer) -> None:
    write(f"{name}/tokenizer.json.zst", t.to_str().encode())
    spec = t.to_str()
    forms = tuple(form for form in ("NFC", "NFKC") if f'"type":"{form}"' in spec)
    # Unigram finds its control tokens in text even when it is asked not to; here text stays text.
    forbidden = ["<unk>", "<s>", "</s>"] if '"Unigram"' in spec else []

    def encode(text: bytes):
        t.encode_special_tokens = True
        string = valid(text)
        if string is None or not same_unicode(string, forms) or any(word in string for word in forbidden):
            return None
        return t.encode(string, add_special_tokens=False).ids

    def full(text: bytes):
        t.encode_special_tokens = False
        return t.encode(text.decode(), add_special_tokens=True).ids

    # ByteLevel takes the texts of added tokens for its alphabet of bytes when it decodes: "Ünder" is not compared.
    golden(name, encode, lambda ids: t.decode(ids, skip_special_tokens=True).encode(), full, t.token_to_id("Ünder"))


BYTES = pre_tokenizers.ByteLevel.alphabet()


def train(t: Tokenizer, size: int, specials: list[str], bytes_: bool, **options) -> None:
    alphabet = BYTES if bytes_ else []
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False, **options))


def hf_gpt2() -> Tokenizer:
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    train(t, 900, ["<|endoftext|>"], True)
    return t


def hf_llama3() -> Tokenizer:
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    train(t, 900, ["<|begin|>", "<|im_start|>", "<|im_end|>"], True)
    begin = t.token_to_id("<|begin|>")
    template = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", begin)])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return t


def hf_qwen() -> Tokenizer:
    """Normalized, with added tokens of every kind."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    train(t, 900, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], True)
    t.add_tokens([
        AddedToken("<tool>", normalized=False, special=False), AddedToken("[word]", single_word=True, normalized=False),
        AddedToken("<left>", lstrip=True, normalized=False), AddedToken("<right>", rstrip=True, normalized=False), AddedToken("Ünder", normalized=True),
    ])  # fmt: skip
    return t


def hf_falcon() -> Tokenizer:
    """What stands behind ByteLevel meets its alphabet of bytes: ² is a digit there, as a byte of ò and others."""
    t = Tokenizer(models.BPE())
    P = pre_tokenizers
    t.pre_tokenizer = P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False), P.Digits(individual_digits=False), P.Split(Regex("[0-9][0-9][0-9]"), "isolated"), P.Split("Ġt", "merged_with_previous")])
    t.decoder = decoders.ByteLevel()
    train(t, 700, ["<|endoftext|>"], True)
    return t


def hf_splits() -> Tokenizer:
    """The behaviours of splits."""
    t = Tokenizer(models.BPE())
    P = pre_tokenizers
    t.pre_tokenizer = P.Sequence([
        P.Split("\n", "merged_with_previous"), P.Split(Regex("e+"), "merged_with_next"), P.Split(" ", "contiguous"), P.Split(Regex("[aou]x?"), "isolated", invert=True),
        P.Punctuation("merged_with_previous"), P.Split("#", "removed"), P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    t.decoder = decoders.ByteLevel()
    train(t, 500, [], True)
    return t


def hf_prefix() -> Tokenizer:
    """A space put before every text, pieces of words only."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.decoder = decoders.ByteLevel()
    train(t, 500, ["<|endoftext|>"], True)
    return t


def hf_words() -> Tokenizer:
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.decoder = decoders.Fuse()
    train(t, 500, ["<unk>"], False, limit_alphabet=80)
    return t


def hf_deepseek() -> Tokenizer:
    """$ at ends of lines, \\s? before letters, scripts."""
    t = Tokenizer(models.BPE())
    P = pre_tokenizers
    t.pre_tokenizer = P.Sequence([
        P.Split(Regex(r"[\r\n]"), "isolated"), P.Split(Regex(r"\s?\p{L}+"), "isolated"), P.Split(Regex(r"\s?\p{P}+"), "isolated"),
        P.Split(Regex(r"\s+$"), "isolated"), P.Split(Regex(r"\p{Han}+"), "isolated"), P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    t.decoder = decoders.ByteLevel()
    train(t, 700, ["<|endoftext|>"], True)
    return t


def hf_llama2() -> Tokenizer:
    """SentencePiece's BPE as tokenizers spells it: byte fallback, U+2581 for spaces, no pre-tokenizer."""
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    train(t, 900, ["<unk>", "<s>", "</s>"] + bytes_, False, limit_alphabet=120)
    spec = json.loads(t.to_str())
    spec["pre_tokenizer"] = None
    spec["added_tokens"] = spec["added_tokens"][:3]
    t = Tokenizer.from_str(json.dumps(spec))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return t


def hf_metaspace() -> Tokenizer:
    """Compatibility forms, lower case, unknown characters that are not fused, and both ends."""
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"(?<=\w)[-_]+(?=\w)"), "~")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    t.decoder = decoders.Metaspace(prepend_scheme="first")
    train(t, 600, ["<unk>", "<s>", "</s>"], False, limit_alphabet=90)
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return t


def hf_unigram() -> Tokenizer:
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t.train_from_iterator(corpus(), trainers.UnigramTrainer(vocab_size=700, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False))
    return t


def hf_precompiled(p: sentencepiece.SentencePieceProcessor, charsmap: bytes) -> Tokenizer:
    """SentencePiece's Unigram as transformers converts it."""
    t = Tokenizer(models.Unigram([(p.id_to_piece(i), p.get_score(i)) for i in range(p.vocab_size())], p.unk_id(), False))
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    t.decoder = decoders.Metaspace()
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    return t


def charsmap_of(model: bytes) -> bytes:
    """precompiled_charsmap of a SentencePiece model: field 2 of its field 3."""
    from google.protobuf import descriptor_pb2  # noqa: F401 - the runtime must be there
    from sentencepiece import sentencepiece_model_pb2

    m = sentencepiece_model_pb2.ModelProto()
    m.ParseFromString(model)
    return m.normalizer_spec.precompiled_charsmap


def sentencepiece_model(name: str, **options) -> sentencepiece.SentencePieceProcessor:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), model_writer=model, num_threads=1, minloglevel=2, **options)
    p = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    write(f"{name}/tokenizer.model.zst", model.getvalue())
    return p


def golden_sp(name: str, p: sentencepiece.SentencePieceProcessor) -> None:
    # SentencePiece prints a sign for unknown characters, which is left out here.
    golden(name, lambda text: p.encode(text), lambda ids: p.decode(ids).replace(" \u2047 ", "").encode())


def llama2c(p: sentencepiece.SentencePieceProcessor) -> bytes:
    """llama2.c's tokenizer.bin, as its tokenizer.py writes it."""
    pieces = []
    for i in range(p.vocab_size()):
        text = "\n<s>\n" if i == p.bos_id() else "\n</s>\n" if i == p.eos_id() else p.id_to_piece(i)
        pieces.append((text.replace("▁", " ").encode(), p.get_score(i)))
    longest = max(len(text) for text, _ in pieces)
    return struct.pack("<I", longest) + b"".join(struct.pack("<fI", score, len(text)) + text for text, score in pieces)


def gguf_meta(**keys) -> bytes:
    return json.dumps({f"tokenizer.ggml.{key}": value for key, value in keys.items()}, ensure_ascii=False).encode()


def main() -> None:
    count = struct.pack("<II", len(STRINGS), N_SPECIAL)
    write("strings.zst", count + b"".join(struct.pack("<I", len(text)) + text for text in STRINGS))
    for make in (hf_gpt2, hf_llama3, hf_qwen, hf_falcon, hf_splits, hf_prefix, hf_deepseek):
        golden_hf(make.__name__, make())
    golden_hf("hf_words", hf_words())
    for make in (hf_llama2, hf_metaspace, hf_unigram):
        golden_hf(make.__name__, make())

    # GPT-2's two files, and GGUF's metadata, of the first; no library reads these forms, but the ids are the same.
    model = json.loads(hf_gpt2().to_str())["model"]
    merges = [" ".join(pair) for pair in model["merges"]]
    write("gpt2/vocab.json.zst", json.dumps(model["vocab"], ensure_ascii=False).encode())
    write("gpt2/merges.txt.zst", ("#version: 0.2\n" + "\n".join(merges) + "\n").encode())
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    kinds = [3 if token == "<|endoftext|>" else 1 for token in tokens]
    write("gguf_gpt2/gguf.json.zst", gguf_meta(model="gpt2", pre="gpt-2", tokens=tokens, token_type=kinds, merges=merges, bos_token_id=0, eos_token_id=0))

    llama = dict(model_type="bpe", vocab_size=900, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.995)
    p = sentencepiece_model("sp_bpe", **llama)
    golden_sp("sp_bpe", p)
    write("llama2c/tokenizer.bin.zst", llama2c(p))
    ids = range(p.vocab_size())
    kind = lambda i: 2 if p.is_unknown(i) else 3 if p.is_control(i) else 6 if p.is_byte(i) else 1
    write("gguf_llama/gguf.json.zst", gguf_meta(model="llama", tokens=[p.id_to_piece(i) for i in ids], scores=[p.get_score(i) for i in ids],
        token_type=[kind(i) for i in ids], bos_token_id=1, eos_token_id=2, unknown_token_id=0))  # fmt: skip
    golden_sp("sp_bpe_user", sentencepiece_model("sp_bpe_user", **llama, user_defined_symbols=["<tool>", "[word]", "▁▁▁", "river"]))
    golden_sp("sp_bpe_nfkc", sentencepiece_model("sp_bpe_nfkc", model_type="bpe", vocab_size=800, character_coverage=0.995))
    p = sentencepiece_model("sp_unigram", model_type="unigram", vocab_size=650, character_coverage=0.995)
    golden_sp("sp_unigram", p)
    golden_hf("hf_precompiled", hf_precompiled(p, charsmap_of(p.serialized_model_proto())))
    # What stands in the text as user-defined pieces are spelled stays as it is; around it U+2581 is a space, and so on.
    golden_sp("sp_user", sentencepiece_model("sp_user", model_type="unigram", vocab_size=400, character_coverage=0.98, normalization_rule_name="nmt_nfkc_cf",
        user_defined_symbols=["▁<tool>", "▁▁", "ﬁ", "River", "①"]))  # fmt: skip
    golden_sp("sp_unigram_bytes", sentencepiece_model("sp_unigram_bytes", model_type="unigram", vocab_size=900, byte_fallback=True, normalization_rule_name="identity",
        add_dummy_prefix=False, remove_extra_whitespaces=False, user_defined_symbols=["<tool>", "river"]))  # fmt: skip

    for name, pattern in (("tiktoken_cl100k", tiktoken_pattern("cl100k")), ("tiktoken_o200k", tiktoken_pattern("o200k"))):
        import regex
        from collections import Counter
        words = Counter(word.encode() for line in corpus() for word in regex.findall(pattern, line))
        ranks = train_merges(words, 500)
        e = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": len(ranks)})
        write(f"{name}/tokenizer.pkl.zst", pickle.dumps(e))
        golden(name, lambda text: None if valid(text) is None else e.encode_ordinary(valid(text)), e.decode_bytes)


def tiktoken_pattern(name: str) -> str:
    sys.path.insert(0, str(HERE.parent / "data"))
    from make_bpe_tests import PATTERNS

    return PATTERNS[name]


if __name__ == "__main__":
    main()
