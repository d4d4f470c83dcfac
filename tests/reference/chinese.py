"""Questions and answers for the character-level Chinese model: a small fixed world."""

from __future__ import annotations

COLOURS = {
    "天空": "蓝色", "草": "绿色", "雪": "白色", "太阳": "金色", "香蕉": "黄色", "煤": "黑色", "草莓": "红色", "橘子": "橙色",
    "大象": "灰色", "牛奶": "白色", "西红柿": "红色", "葡萄": "紫色", "树叶": "绿色", "柠檬": "黄色", "乌鸦": "黑色", "桃花": "粉色",
}  # fmt: skip
SOUNDS = {
    "狗": "汪汪", "猫": "喵喵", "牛": "哞哞", "羊": "咩咩", "鸭子": "嘎嘎", "小鸡": "叽叽", "青蛙": "呱呱", "蜜蜂": "嗡嗡", "老鼠": "吱吱",
    "公鸡": "喔喔",
}  # fmt: skip
FOODS = {
    "牛": "草", "兔子": "胡萝卜", "猫": "鱼", "猴子": "香蕉", "熊": "蜂蜜", "老鼠": "奶酪", "松鼠": "坚果", "马": "干草", "熊猫": "竹子",
    "青蛙": "虫子", "狗": "骨头", "鸟": "种子",
}  # fmt: skip
HOMES = {
    "鱼": "水里", "鸟": "鸟窝里", "蜜蜂": "蜂巢里", "熊": "山洞里", "骆驼": "沙漠里", "企鹅": "冰上", "猴子": "树上", "马": "马厩里",
    "蜘蛛": "网上", "鲸": "大海里",
}  # fmt: skip
LEGS = {"狗": "四", "猫": "四", "鸟": "两", "鸭子": "两", "蜘蛛": "八", "蚂蚁": "六", "蜜蜂": "六", "马": "四"}
OPPOSITES = [
    ("大", "小"), ("高", "低"), ("长", "短"), ("冷", "热"), ("快", "慢"), ("黑", "白"), ("上", "下"), ("左", "右"), ("前", "后"), ("多", "少"),
    ("新", "旧"), ("开", "关"), ("早", "晚"), ("远", "近"), ("轻", "重"), ("胖", "瘦"), ("真", "假"), ("好", "坏"), ("哭", "笑"), ("里", "外"),
]  # fmt: skip
CAPITALS = {
    "中国": "北京", "法国": "巴黎", "英国": "伦敦", "德国": "柏林", "日本": "东京", "意大利": "罗马", "西班牙": "马德里", "俄罗斯": "莫斯科",
    "埃及": "开罗", "希腊": "雅典", "韩国": "首尔", "泰国": "曼谷", "加拿大": "渥太华", "印度": "新德里", "古巴": "哈瓦那", "挪威": "奥斯陆",
}  # fmt: skip
DAYS = ["星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"]
MONTHS = ["一月", "二月", "三月", "四月", "五月", "六月", "七月", "八月", "九月", "十月", "十一月", "十二月"]
SEASONS = {"春天": "花开了", "夏天": "很热", "秋天": "叶子黄了", "冬天": "会下雪"}
VERSES = [
    ("床前明月光", "疑是地上霜"), ("举头望明月", "低头思故乡"), ("白日依山尽", "黄河入海流"), ("欲穷千里目", "更上一层楼"),
    ("春眠不觉晓", "处处闻啼鸟"), ("夜来风雨声", "花落知多少"), ("锄禾日当午", "汗滴禾下土"), ("谁知盘中餐", "粒粒皆辛苦"),
]  # fmt: skip  # poems of the Tang dynasty
UNITS = [("一年", "月", "十二个月"), ("一个星期", "天", "七天"), ("一天", "小时", "二十四小时"), ("一小时", "分钟", "六十分钟"), ("一分钟", "秒", "六十秒")]
SELF = [
    (("你是谁？", "你叫什么名字？", "介绍一下你自己。"), "我是一个很小的语言模型。"),
    (("你好！", "你好", "您好！"), "你好！你想知道什么？"),
    (("你会做什么？", "你能做什么？"), "我会回答简单的问题，还会做加法。"),
    (("你多大？", "你有多大？"), "我很小，只有几十万个数字。"),
    (("你住在哪里？", "你在哪里？"), "我住在一个小文件里。"),
    (("你是人吗？", "你是真人吗？"), "不是，我是一个程序。"),
    (("谢谢！", "谢谢你！"), "不客气！"),
    (("再见！", "再见"), "再见！祝你愉快。"),
    (("你喜欢什么颜色？", "你最喜欢的颜色是什么？"), "我喜欢绿色。"),
]
SPECIALS = ("<pad>", "<unk>", "<sep>")
_DIGITS = "零一二三四五六七八九"


def number(n: int) -> str:
    """0..99 in Chinese characters."""
    tens, ones = divmod(n, 10)
    if tens == 0:
        return _DIGITS[ones]
    return ("" if tens == 1 else _DIGITS[tens]) + "十" + (_DIGITS[ones] if ones else "")


def all_questions() -> list[tuple[str, str]]:
    """Every (question, answer) of the world."""
    pairs: list[tuple[str, str]] = []

    def add(answer: str, *questions: str) -> None:
        pairs.extend((q, answer) for q in questions)

    for thing, colour in COLOURS.items():
        add(f"{thing}是{colour}的。", f"{thing}是什么颜色？", f"{thing}是什么颜色的？", f"{thing}的颜色是什么？")
        add(f"是的，{thing}是{colour}的。", f"{thing}是{colour}的吗？")
        wrong = "红色" if colour != "红色" else "绿色"
        add(f"不，{thing}是{colour}的。", f"{thing}是{wrong}的吗？")
    for animal, sound in SOUNDS.items():
        add(f"{animal}{sound}叫。", f"{animal}怎么叫？", f"{animal}是怎么叫的？")
    for animal, food in FOODS.items():
        add(f"{animal}吃{food}。", f"{animal}吃什么？", f"{animal}喜欢吃什么？")
    for animal, home in HOMES.items():
        add(f"{animal}住在{home}。", f"{animal}住在哪里？", f"{animal}的家在哪里？")
    for animal, legs in LEGS.items():
        add(f"{animal}有{legs}条腿。", f"{animal}有几条腿？", f"{animal}有多少条腿？")
    for a, b in OPPOSITES + [(b, a) for a, b in OPPOSITES]:
        add(f"{a}的反义词是{b}。", f"{a}的反义词是什么？", f"什么是{a}的反义词？")
    for country, city in CAPITALS.items():
        add(f"{country}的首都是{city}。", f"{country}的首都是哪里？", f"{country}的首都是什么？")
        add(f"{city}是{country}的首都。", f"{city}是哪个国家的首都？", f"{city}在哪里？")
    for names, kind in ((DAYS, "天"), (MONTHS, "个月")):
        for a, b in zip(names, names[1:] + names[:1]):
            add(f"{a}的后一{kind}是{b}。", f"{a}的后一{kind}是什么？", f"{a}后面是什么？")
            add(f"{b}的前一{kind}是{a}。", f"{b}的前一{kind}是什么？", f"{b}前面是什么？")
    for season, sign in SEASONS.items():
        add(f"{season}{sign}。", f"{season}怎么样？", f"{season}是什么样的？")
    for first, second in VERSES:
        add(f"{second}。", f"{first}的下一句是什么？", f"{first}，下一句？")
        add(f"{first}。", f"{second}的上一句是什么？")
    for whole, unit, answer in UNITS:
        add(f"{whole}有{answer}。", f"{whole}有多少{unit}？", f"{whole}有几{unit}？")
    for questions, answer in SELF:
        add(answer, *questions)
    for a in range(11):
        for b in range(11):
            add(f"{number(a)}加{number(b)}等于{number(a + b)}。", f"{number(a)}加{number(b)}等于几？", f"{number(a)}加{number(b)}是多少？")
    return pairs


def vocabulary() -> dict[str, int]:
    """The three special entries, printable ASCII, then the world's characters in code-point order."""
    ascii_chars = [chr(c) for c in range(0x20, 0x7F)]
    chars = sorted({c for pair in all_questions() for text in pair for c in text} - set(ascii_chars))
    return {word: i for i, word in enumerate([*SPECIALS, *ascii_chars, *chars])}


def encode(text: str, word2id: dict[str, int]) -> list[int]:
    return [word2id.get(c, word2id["<unk>"]) for c in text]
