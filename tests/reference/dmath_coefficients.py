#!/usr/bin/env python3
"""Prints the polynomial tables of base/dmath.c (for developers; needs mpmath).

Each table is the Chebyshev expansion of a remainder, on the interval that the range reduction leaves, turned into
powers and rounded to double. The largest error, relative to the function's value, is printed beside it.
"""
from mpmath import mp, mpf, chebyfit, exp, sin, cos, atanh, sqrt, log, pi, factorial, polyval, linspace, fabs, floor

mp.dps = 60


def taylor(coefficient, power):
    """sum of coefficient(i) * x^(i - power): the remainder's own series, stable at 0."""
    return lambda x: sum(coefficient(i) * x ** (i - power) for i in range(power, power + 40))


def table(name, remainder, low, high, terms, value, weight):
    coefficients = [mpf(float(c)) for c in chebyfit(remainder, [low, high], terms)]
    worst = max(fabs((polyval(coefficients, x) - remainder(x)) * weight(x) / value(x))
                for x in linspace(low, high, 2001) if x != 0)
    print(f"/* error below 2^{float(log(worst, 2)):.1f} */")
    print(f"static const double {name}[] = {{")
    for c in reversed(coefficients):
        print(f"    {float(c).hex()},")
    print("};")


def split(name, value, bits):
    """value as a sum of doubles; all but the last have at most `bits` bits"""
    parts, rest = [], mpf(value)
    for i, b in enumerate(bits):
        e = int(floor(log(fabs(rest), 2))) - (b - 1)
        part = mpf(float(rest)) if b == 53 else floor(rest / mpf(2) ** e) * mpf(2) ** e
        parts.append(float(part))
        rest -= mpf(float(part))
    print(f"{name}: " + ", ".join(p.hex() for p in parts))


r = log(2) / 2 * (1 + mpf(2) ** -20)
table("exp_tail", taylor(lambda i: 1 / factorial(i), 3), -r, r, 11, exp, lambda x: x ** 3)
z = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2
table("log_tail", taylor(lambda i: mpf(1) / (2 * i + 1), 3), mpf(0), z * (1 + mpf(2) ** -20), 9,
      lambda x: atanh(sqrt(x)) / sqrt(x), lambda x: x ** 3)
q = (pi / 4) ** 2 * (1 + mpf(2) ** -20)
table("sin_tail", taylor(lambda i: (-1) ** i / factorial(2 * i + 1), 1), mpf(0), q, 7,
      lambda x: sin(sqrt(x)) / sqrt(x), lambda x: x)
table("cos_tail", taylor(lambda i: (-1) ** i / factorial(2 * i), 2), mpf(0), q, 6, lambda x: cos(sqrt(x)), lambda x: x * x)
split("ln2", log(2), [40, 53])
split("pi/2", pi / 2, [53, 53, 53])
split("1/3", mpf(1) / 3, [53, 53])
split("1/5", mpf(1) / 5, [53, 53])
split("1/ln2, 2/pi", 1 / log(2), [53])
split("2/pi", 2 / pi, [53])
