"""Makes bpe_tests.json: a small byte-pair vocabulary, and texts with the ids that tiktoken's encode_ordinary gives.

    pip install tiktoken==0.14.0 regex && python make_bpe_tests.py > bpe_tests.json
"""

import itertools
import json
import random
from collections import Counter

import regex
import tiktoken

# nanochat, GPT-2, cl100k (GPT-4) and o200k (GPT-4o) in tiktoken's spelling.
PATTERNS = {
    "nanochat": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+""",
    "gpt2": r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
    "cl100k": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s""",
    "o200k": "|".join(
        [
            r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
            r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
            r"""\p{N}{1,3}""",
            r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""",
            r"""\s*[\r\n]+""",
            r"""\s+(?!\S)""",
            r"""\s+""",
        ]
    ),
}

TRAINING = """The miller's daughter carried the bread to the river, and the river carried the boat to the town.
There wasn't any wind that day; there was only the water, turning the wheel, and the wheel turning the stone.
  "You're late," said the miller. "We'll have to grind the corn before the evening comes."
    The children were counting: 1, 2, 3, 10, 20, 100, 2024. They'd counted the sacks, the cats and the windows.
In the evening the town was quiet. The baker lit the lamp... and everyone went home, singing.

你好，世界。今天天气很好。你好，你好！ Äpfel, Übermut und süße Brötchen. naïve café déjà vu
for (int i = 0; i < 10; i++) { total += values[i]; }    // add    them    up
"""

PARTS = """a b the The  river miller's we'LL I'm 'tis ſ 'ſ K 1 23 4567 ½ ² ٣٤ 你好 世界 。 🌍 👨‍👩‍👧 é e\u0301 ß Übermut ... !!! -- <|bos|>
<|user_start|> ing tion _ x=1; i++) ǅ ʰ ª 𝔘 日本語 naïve \u180e \u200b \ufeff \u00a0 \u1680 \u2009 \u2028 \u3000 \u0085 \0 \x7f \ud7ff \ue000
\U0010ffff""".split(" ")
PARTS += [" ", " ", " ", "  ", "    ", "\n", "\n\n", "\r\n", "\t", " \n", "\x0b", "\x0c", "\x1c"]

FIXED = [
    "", " ", "\n", "   ", "  leading and trailing  ", "tabs\tand\n\nnewlines\r\n  x\n", "don't won't 'tis 's WE'LL they'Ve",
    "Numbers: 123, 4567, 89 and 3.14159", "x=1;y=x**2+3*(x-1)", "<|bos|> is ordinary text here", "自注意力机制（Self-Attention）。",
    "the" * 40, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a\u180eb \u180e c", "\u0085\u0085x", " \u00a0 \u00a0x", "\n \n \n x", "x\n", "x \n\n",
]  # fmt: skip


def train(text: str, n_merges: int) -> dict[bytes, int]:
    ranks = {bytes([i]): i for i in range(256)}
    words = Counter(regex.findall(PATTERNS["gpt2"], text))
    split = {word: [bytes([b]) for b in word.encode()] for word in words}
    for _ in range(n_merges):
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, parts in split.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        ranks.setdefault(best[0] + best[1], len(ranks))
        for parts in split.values():
            i = 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == best:
                    parts[i : i + 2] = [best[0] + best[1]]
                i += 1
    return ranks


def main() -> None:
    rng = random.Random(7)
    ranks = train(TRAINING, 300)
    texts = FIXED + ["".join(rng.choice(PARTS) for _ in range(rng.randrange(1, 24))) for _ in range(100)]
    texts += ["".join(rng.choice("therivabcdng") for _ in range(n)) for n in (90, 95, 96, 97, 98, 150, 400)]
    groups = []
    for name, pattern in PATTERNS.items():
        encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        cases = [{"text": text, "ids": encoding.encode_ordinary(text)} for text in texts]
        groups.append({"name": name, "pattern": pattern, "cases": cases})
    tokens = [token.hex() for token, _ in sorted(ranks.items(), key=lambda item: item[1])]
    print('{"made_by": "make_bpe_tests.py with tiktoken %s",' % tiktoken.__version__)
    print('"tokens": ' + json.dumps(tokens) + ",")
    print('"groups": [')
    print(",\n".join(json.dumps(group).replace('{"text"', '\n{"text"') for group in groups))
    print("]}")


if __name__ == "__main__":
    main()
