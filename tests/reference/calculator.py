"""The calculator tool: arithmetic over + - * / and brackets with Python's results and spelling."""

from __future__ import annotations

import ast
import operator

_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def _value(node: ast.expr) -> int | float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError("not arithmetic")


def calculate(expression: str) -> str | None:
    """The result as Python prints it, or None where there is none (no arithmetic, division by zero)."""
    try:
        return str(_value(ast.parse(expression.replace(",", ""), mode="eval").body))
    except (ValueError, SyntaxError, ZeroDivisionError):
        return None


def spoken(result: str) -> str:
    """How an answer repeats a result: whole numbers without `.0`, at most three decimals."""
    whole, dot, decimals = result.partition(".")
    if not dot or decimals == "0":
        return whole
    return f"{whole}.{decimals[:3]}..." if len(decimals) > 3 else result
