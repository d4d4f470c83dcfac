"""Makes calculator_tests.txt: expressions, a tab, and what CPython gives (nothing: no result).

    python make_calculator_tests.py > calculator_tests.txt

An expression is evaluated under the conditions of nanochat's use_calculator(): commas removed; either only
"0123456789*+-/.() " without "**", or only letters, digits, quotes, "()._" and blanks, with ".count(" and without WORDS.
"""

import random
import string
import warnings

WORDS = "__ import exec eval compile open file input globals locals vars dir getattr setattr delattr hasattr".split()
NUMERIC = set("0123456789*+-/.() ")
STRINGS = set(string.ascii_letters + string.digits + "'\"()._ ")

FIXED = """12*7|1/3|10/2|2**3|2* *3|(1+2)*3|1,000+1|7//2|-5//2|-5//-2|5//-2|1/0|1//0|1./0|1//0.|0/5|0/-5|.5+.5|5-|007
00|0|09.5|07.|1e5|1E5|0x10|3.0*2| 2 + 2 |()|( )|(())|()+()|()*3|3*()|-2*()|()*2.0|()-()|-()|()*9223372036854775807
()*9223372036854775808|(0-9223372036854775808)*()|()()|...|(...)|...+1|-...|....|..|.|1...|1 2|(1)(2)|1(2)|2*(3+4)-5/2
1/3*3|123456789*987654321|99999999999*99999999999|0.1+0.2|100-1,000|5%2|abc|3|3.|.3|1.50|-0.0|-0|0*-1.5|0.0*-1|1/8|2/3
1e-5|10000000000000000.0*10|10000000000000000.0|9999999999999998.0|0.0001|0.00001|0.00001*1|0.000123456
123456789012345678/3|--5|+-+3|- - 5|4.0//3|-4.5//2|4.5//-2|-0.0//1|0.0//-3|1//.1|6//.1|7.5//2.5|((2))|(1,2)|1.2.3|1..2
1. .2|1.+2|1.*2|1 .5|5/ /2|5///2|5//+2|5*-2|5*+-2|5+*2|*5|/5|(5|5)|(|)|)(|((((((((((1))))))))))|2*3/4//5+6-7|2-3-4
2/3/4|100//7//2|8/2*4|2+3*4|(2+3)*4|-(3+4)|-(-(-3))|1_000|1,2,3|,|1,,0||18014398509481984/4+0.25|9007199254740993*1.0
9007199254740993/1|(9007199254740993*3)/3|4503599627370497.5|4503599627370498.5|161943933024679.625
0.5*0.5*0.5*0.5*0.5*0.5*0.5*0.5*0.5*0.5*0.5*0.5|1.7976931348623157|2.2250738585072014|4.35*100|1.1*1.1|1.1+2.2|3.3/3
0.1*3|1-0.9|2.675*100|1/49*49|1,234,567.89*2|12 *\t7|12*7\n|½+1|１+1|1;1|1=1|1<2|1 if 1 else 2|a|'a'
'strawberry'.count('r')|"banana".count("an")|"aaaa".count("aa")|'aaa'.count('')|''.count('')|''.count('a')
"a b".count(" ")|'a,b'.count(',')|'a'.count('a')+1|len("abc")|"abc".upper()|'abc'.count("b")|'abc'.count('b")
'abc'.count(b)|'abc'.count()|'abc'.count('a''b')|'a' 'b'.count('ab')|('ab').count('b')|('ab'.count('b'))
('ab'.count)('b')|'ab'.count('b').count('1')|'ab'.count ('b')|'ab' .count('b')|'ab'. count('b')|'a.count('.count('c')
'''abc'''.count('b')|'''a'b'''.count("'")|'''a''b'''.count("'")|\"\"\"a'b\"\"\".count("'")|''''a'''.count('a')
'profile'.count('f')|'Directory'.count('r')|'open'.count('o')|'Import'.count('m')|'a__b'.count('a')
'evaluation'.count('a')|'a-b'.count('a')|'a!'.count('a')|'Aa'.count('a')|'x1y1'.count('1')|'a'.count(1)
(('abc')).count((('c')))|'a'.count('a'|'a'.count('a'))|.count('a')|'mississippi'.count('issi')
'mississippi'.count('ss')|"'".count("'")|'"'.count('"')|'hello world'.count('o w')|3.count('3')|'3'.count('3')
'a'.count('b')0|'a'x.count('a')
""".replace("\n", "|").split("|")  # fmt: skip


def calculate(expr: str) -> object:
    expr = expr.replace(",", "")
    if set(expr) <= NUMERIC:
        allowed = "**" not in expr
    else:
        allowed = set(expr) <= STRINGS and ".count(" in expr and not any(word in expr.lower() for word in WORDS)
    try:
        return eval(expr, {"__builtins__": {}}, {}) if allowed else None
    except Exception:
        return None


def number(rng: random.Random) -> str:
    match rng.randrange(8):
        case 0 | 1:
            return str(rng.randrange(100))
        case 2:
            return str(rng.randrange(10 ** rng.randrange(1, 50)))
        case 3:
            return f"{rng.randrange(10 ** rng.randrange(1, 18))}.{rng.randrange(10 ** rng.randrange(1, 18))}"
        case 4:
            return str(2 ** rng.randrange(1, 200))
        case 5:
            return "0." + "0" * rng.randrange(40) + str(rng.randrange(10**6))
        case 6:
            return f"{rng.randrange(10**7):,}"
        case _:
            return rng.choice([".5", "3.", "0", "1", "10", "0.1"])


def expression(rng: random.Random, depth: int) -> str:
    kind = rng.randrange(10) if depth else 0
    if kind < 2:
        return number(rng)
    if kind == 2:
        return "(" + expression(rng, depth - 1) + ")"
    if kind == 3:
        return rng.choice("+-") + expression(rng, depth - 1)
    operator = rng.choice(["+", "-", "*", "/", "//", " + ", " / "])
    return expression(rng, depth - 1) + operator + expression(rng, depth - 1)


def count(rng: random.Random) -> str:
    """A string counted in another, as written by hand: quotes of every kind, literals side by side, parentheses."""
    def literal(most: int) -> str:
        text = "".join(rng.choice("aab bcAx1._") for _ in range(rng.randrange(most)))
        quote = rng.choice(["'", '"', "'", '"', "\'\'\'", '"""'])
        return rng.choice(["{}", "{}", "({})", " {} "]).format(quote + text + quote)
    inner = literal(3) if rng.randrange(8) else literal(2) + literal(2)
    outer = literal(20) if rng.randrange(6) else literal(9) + literal(9)
    return outer + rng.choice([".count(", ".count( ", ". count(", ".count (", ".Count("][: 5 if rng.randrange(9) == 0 else 2]) + inner + ")"


def main() -> None:
    warnings.simplefilter("ignore")
    rng = random.Random(11)
    cases = [case.replace("\\t", "\t") for case in FIXED if "\t" not in case and "\\" not in case]
    nines, zeros = "9" * 400, "0" * 200
    cases += [nines + tail for tail in (".0", ".0-" + "9" * 100, "/3", "*1.0", ".*0")]
    cases += ["-" + nines + ".//2", "1/" + nines, "9" * 300 + "." + "9" * 200, f"1{zeros}.0*1{zeros}.0"]
    cases += ["1/1" + "0" * 323, "3/1" + "0" * 324]
    cases += ["9" * 255 + "*" + "9" * 255, "(" * 60 + "1" + ")" * 60, "-" * 500 + "1"]
    while len(cases) < 5000:
        case = expression(rng, rng.randrange(1, 7)) if rng.randrange(8) else count(rng)
        if len(case) <= 200:
            cases.append(case)
    for case in cases:
        value = calculate(case)
        print(case + "\t" + ("" if value is None or isinstance(value, str) else str(value)))


if __name__ == "__main__":
    main()
