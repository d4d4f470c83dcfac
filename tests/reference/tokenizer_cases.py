"""Strings that a tokenizer must encode exactly as tiktoken does."""

from __future__ import annotations

import random

from corpus import SPECIAL_TOKENS, plain_stories

_FIXED = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n", "\r", "\t", "\t\t", " \n", "\n ", " \n ", "  \n  \n  ",
    "\n\t\n", " \t \n", "a", " a", "  a", "   a", "a ", "a  ", "a   b", "a\nb", "a\n\nb", "a \n b", "a\r\nb", "a\tb", "\ta", " \ta", "\n  a",
    "Hello", "Hello, world!", "hello world", "HELLO WORLD", "Hello  world", "Hello\nworld\n", "Once upon a time", "the the the", "aaaaaaaaaaaa",
    "0", "1", "12", "123", "1234", "12345", "123456", "1234567890", " 1", " 12", " 123", "  123", "a1", "1a", "a1b2c3", "12 34 56",
    "3.14159", "1,000,000", "-42", "+7", "1e-5", "0x1F", "2026-03-14", "12:30", "50%", "$5.00", "1/2", "½ ¼ ²³", "١٢٣", "१२३४", "一二三", "Ⅷ ⅷ",
    "What is 12 * 7?", "12*7", "12 * 7 is 84.", "999 / 3 = 333.0", "(1 + 2) * 3", "a+b=c", "x_1 = y**2",
    "I'm", "you're", "he's", "we'll", "I've", "I'd", "don't", "can't", "it's 'quoted'", "'s", "'S", "'LL", "I'M", "DON'T", "'tis", "''s", "o'clock",
    "rock 'n' roll", "’s", "I’m", "'re're", "'d'", "'velvet", "'lling",
    "!", "!!", "!!!", " !", " !!", "!a", "?!", "...", " ...", "---", "a---b", "(a)", "[b]", "{c}", "\"q\"", "«x»", "a,b", "a, b", "a ,b", "!\n", "!\n\n", " !\r\n",
    "?\n?", ".\n\n.", "end.\nStart", "#include <stdio.h>\nint main(void) { return 0; }\n", "\tif (x) {\n\t\treturn;\n\t}\n", "for i in range(10):\n    print(i)\n",
    "{\"key\": [1, 2.5, null]}", "https://example.org/a?b=c&d=%20", "user@example.org", "C:\\path\\file", "<b>bold</b>", "a|b", "~`^", "@@", "##", "&&", "==", "!=",
    "café", "cafe\u0301", "naïve façade", "Ünïcödé", "Straße", "ÆØÅ", "Ελληνικά", "Привет, мир!", "שלום", "مرحبا", "हिन्दी", "ไทย", "한국어", "日本語のテキスト",
    "中文字符", "你好，世界！", "中文 and English 混合", "ｆｕｌｌｗｉｄｔｈ　１２", "Tiếng Việt", "ǅ ǆ", "İstanbul ı", "ſ K Å", "'ſ", "'ſa", "I'ſ",
    "😀", "😀😀", " 😀", "a😀b", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "☃", "♥︎", "1️⃣", "👩🏽‍🚀 flies", "emoji 🎉!\n",
    "\u00a0", "a\u00a0b", "\u2003", "a\u2003b", "\u3000", "\u200b", "a\u200bb", "\u200d", "\u2028", "a\u2028b", "\u0085", "\ufeff", "\ufeffa", "\u00ad", "\u0000", "a\u0000b",
    "\u0001\u0002\u001f", "\u007f", "\u0080\u009f", "\ufffd", "\ue000", "\U0010ffff", "\U0001d400\U0001d401", "\u0300", "a\u0300\u0301\u0302", "\u0600", "\v\f", " \v a",
    "  leading", "trailing  ", "  both  ", "many     spaces", "tab\tand  space", "line one\n  line two\n\n    line three", " \n\n \n", "x \n\n  y", "\n\n\n  z", "a   \n   b",
    "'", "''", "'''", " '", "' ", "'a", "' a", "\"'s\"", "_", "__init__", "snake_case", "camelCase", "kebab-case", "ALLCAPS123", "v1.2.3", "h2o", "3rd", "10th",
    "ẞß", "ﬁ ﬂ", "ŒUVRE", "Ǆ", "ʼn", "ʰʲ", "ªº", "ꙮ", "𐍈", "𓀀", "𠜎", "ªa", "߀߁", "᠑᠒", "٣٫٤", "①②", "₁₂", "㊿", "〇", "〡",
]  # fmt: skip


def cases(seed: int = 3) -> list[str]:
    """The fixed strings, special tokens as ordinary text, story text, and random mixtures."""
    rng = random.Random(seed)
    texts = list(_FIXED)
    texts += list(SPECIAL_TOKENS) + ["".join(SPECIAL_TOKENS), "a<|bos|>b", "<|bos|", " <|user_start|> hi", "<|", "|>", "<|unknown|>"]
    texts += [plain_stories(rng, 1), plain_stories(rng, 3), "a" * 300, " " * 100, "\n" * 50, "ab " * 80, "12" * 60, "'s" * 20, "é" * 64, "中" * 64]
    alphabet = "aZ é中😀1٣'\n\r\t .,!<|>_-\u00a0\u0301\u200dſst"
    texts += ["".join(rng.choice(alphabet) for _ in range(rng.randrange(2, 40))) for _ in range(60)]
    return texts
