"""Places in a source file where a line can be inserted, and the blocks and functions around a syntax node."""

import ast
from collections import namedtuple

Place = namedtuple("Place", "source line indent code")
Place.__doc__ = """Where a line belongs: Source, index of the line before which it goes, indentation, call."""


class Missing(Exception):
    """A place was not found (``absent``) or is not certain; the message says where, why, and what to insert by hand."""

    def __init__(self, why, where, code, absent=False):
        super().__init__("{}; by hand, insert {}: import scoring_addon; scoring_addon.{}".format(why, where, code))
        self.absent = absent


def blocks_around(tree, wanted):
    """[(list of statements, the statement in it that contains ``wanted``)], outermost first; [] if there is none."""
    for _, block in ast.iter_fields(tree):
        if not isinstance(block, list):
            continue
        for item in block:
            if isinstance(item, ast.AST) and any(node is wanted for node in ast.walk(item)):
                return ([(block, item)] if isinstance(item, ast.stmt) else []) + blocks_around(item, wanted)
    return []


def function_around(tree, wanted):
    """The innermost function around a node, or None."""
    functions = [
        statement
        for _, statement in blocks_around(tree, wanted)
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return functions[-1] if functions else None


def dotted(node):
    """``a`` or ``a.b`` as text, None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        value = dotted(node.value)
        return value and value + "." + node.attr
    return None


def before(source, statement, code, where):
    """The Place of ``code`` on a line of its own before a statement.

    Raises:
        Missing: something else comes before the statement on its line.
    """
    first = min([statement.lineno] + [d.lineno for d in getattr(statement, "decorator_list", [])])
    if not source.begins_line(statement):
        raise Missing(
            "{}: line {}: shares its line with what stands before it".format(source.name, statement.lineno), where, code
        )
    return Place(source, first - 1, source.indent(statement), code)


def after(source, statement, code, where):
    """The Place of ``code`` on a line of its own after a statement.

    Raises:
        Missing: the statement shares its line with other statements.
    """
    if not source.begins_line(statement) or not source.ends_line(statement):
        raise Missing(
            "{}: line {}: shares its line with other statements".format(source.name, statement.lineno), where, code
        )
    return Place(source, statement.end_lineno, source.indent(statement), code)
