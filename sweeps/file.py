"""Reading and checking a sweep file, the description of a sweep; errors name the line in the file.

    options:            # main.py's options without dashes, flags as true, the same for every job
      dataset_path: ${DATA}/mvtec3d
    grid:               # option: list of values; category and seed among them; null leaves the option out
      seed: [0, 1, 2]
    exclude:            # combinations of the grid that are not run; keys left out stand for any value
      - {shots: 50, category: rope}
    resources: {gpus: 0.5, cpus: 4, memory_gib: 8}      # of one job

The schema is made from main.py's own parser, so a new flag is known here at once.
"""

import argparse
import difflib
import json
from pathlib import Path
from typing import NamedTuple, Optional

import yaml
from jsonschema import Draft202012Validator

from common.errors import InputError
from runs.arguments import build_parser

REFUSED = {
    "output_dir": "every job has its own folder below -o",
    "save_feature_path": "every job has its own folder below -o; save_feature: true is enough",
    "seeds": "a sweep has a job per seed; write seed in grid",
    "fit_only": "a sweep compares results of test parts",
    "overwrite": "a finished job is kept; remove its folder, or sweep into another one",
}


class Resources(NamedTuple):
    """The resources that one job takes; None: not given."""

    gpus: Optional[float] = None
    cpus: Optional[int] = None
    memory_gib: Optional[float] = None


class SweepFile(NamedTuple):
    """A checked sweep file; ``lines`` = {path of keys: line number}, for messages about errors found later."""

    name: str
    options: dict
    grid: dict
    exclude: tuple
    resources: Resources
    lines: dict

    def line(self, *path):
        """Text "name, line n" for ``path``, or for the nearest key above it that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}, line {self.lines[path]}" if path in self.lines else self.name

    def content(self):
        """The content as :func:`check` takes it: a dict that fits into JSON."""
        resources = {name: value for name, value in self.resources._asdict().items() if value is not None}
        return {"options": self.options, "grid": self.grid, "exclude": list(self.exclude), "resources": resources}


def read(path):
    """The SweepFile in the YAML file ``path``.

    Raises:
        InputError: the file cannot be read, is no YAML, has a key twice, or does not fit the schema; the message names
            the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_lines(node, str(path))) if node else {}
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: no YAML: {getattr(error, 'problem', None) or error}") from None
    try:
        json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:  # for example a date or .nan
        raise InputError(
            f"{path}: a value is neither text nor number, true, false or null ({error}); quote it"
        ) from None
    return check(content, str(path), lines)


def check(content, name, lines=None):
    """The SweepFile of ``content``, the YAML file's content as Python values.

    Raises:
        InputError: ``content`` does not fit the schema, or contradicts itself.
    """
    lines = lines or {}
    found = [(_path_of(error), _text_of(error)) for error in Draft202012Validator(schema()).iter_errors(content)]
    if found:
        found.sort(key=lambda pair: _line(lines, pair[0]))
        path, text = found[0]
        more = f" (and {len(found) - 1} more faults)" if len(found) > 1 else ""
        raise InputError(f"{name}, line {_line(lines, path)}: {'.'.join(map(str, path)) or 'the file'}: {text}{more}")
    sweep = SweepFile(
        name,
        dict(content.get("options") or {}),
        dict(content.get("grid") or {}),
        tuple(content.get("exclude") or ()),
        Resources(**(content.get("resources") or {})),
        lines,
    )
    for option in sweep.grid:
        if option in sweep.options:
            raise InputError(f"{sweep.line('grid', option)}: grid.{option}: {option} stands in options, too; keep one")
    for number, combination in enumerate(sweep.exclude):
        for option, value in combination.items():
            if option not in sweep.grid:
                raise InputError(f"{sweep.line('exclude', number, option)}: exclude.{option}: not in grid")
            if not any(same(value, known) for known in sweep.grid[option]):
                raise InputError(
                    f"{sweep.line('exclude', number, option)}: exclude.{option}: {value!r} is no value "
                    f"of grid.{option}, so nothing would be left out"
                )
    return sweep


def same(one, other):
    """Whether two YAML values are the same: 1 equals 1.0, but not true."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def schema():
    """The JSON schema of a sweep file, a dict."""
    values = {name: _value_schema(name, action) for name, action in _actions().items() if name not in REFUSED}
    lists = {
        name: {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"anyOf": [value, {"type": "null"}]}}
        for name, value in values.items()
        if name != "save_maps"
    }
    for name in ("category", "seed"):
        lists[name]["items"] = {"type": ["string", "integer"]}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "options": {"type": ["object", "null"], "additionalProperties": False, "properties": values},
            "grid": {"type": ["object", "null"], "additionalProperties": False, "properties": lists},
            "exclude": {"type": ["array", "null"], "items": {"type": "object", "minProperties": 1}},
            "resources": {
                "type": ["object", "null"],
                "additionalProperties": False,
                "properties": {
                    "gpus": {"type": "number", "minimum": 0, "maximum": 1},  # main.py uses one at most
                    "cpus": {"type": "integer", "minimum": 1},
                    "memory_gib": {"type": "number", "exclusiveMinimum": 0},
                },
            },
        },
    }


def _actions():
    """{name: argparse action} of main.py's options."""
    return {action.dest: action for action in build_parser()._actions if action.dest != "help"}


def _value_schema(name, action):
    if name == "save_maps" or isinstance(action, argparse._StoreTrueAction):  # maps go to the job's folder
        return {"type": "boolean"}
    scalar = {"type": ["string", "number"]}
    if action.choices is not None:
        scalar = {"enum": list(action.choices)}
    if action.nargs is None:
        return scalar
    return {"anyOf": [scalar, {"type": "array", "minItems": 1, "items": scalar}]}


def _path_of(error):
    """The keys that lead to a schema error; the last one may be an unknown key."""
    path = tuple(error.absolute_path)
    unknown = _unknown(error)
    return (*path, unknown[0]) if unknown else path


def _unknown(error):
    if error.validator != "additionalProperties":
        return []
    return [key for key in error.instance if key not in error.schema["properties"]]


def _text_of(error):
    unknown = _unknown(error)
    if unknown:
        key, known = str(unknown[0]), list(error.schema["properties"])
        if key in REFUSED:
            return f"not here: {REFUSED[key]}"
        dashed = key.lstrip("-").replace("-", "_")
        close = [dashed] if dashed in known else difflib.get_close_matches(dashed, known, 1)
        known_text = "" if len(known) > 8 else f"; known: {', '.join(known)}"
        return "unknown key" + (f"; did you mean {close[0]}?" if close else known_text or "; main.py --help lists them")
    instance = error.instance
    if error.validator == "anyOf":
        choices = dict.fromkeys(value for part in _flatten(error.validator_value) for value in part.get("enum", ()))
        kinds = (
            "true or false"
            if any(part.get("type") == "boolean" for part in error.validator_value)
            else "a value or a list of values"
        )
        return f"{instance!r} is not " + (f"one of {', '.join(map(str, choices))}" if choices else kinds)
    if error.validator == "enum":
        return f"{instance!r} is not one of {', '.join(map(str, error.validator_value))}"
    if error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        words = {
            "object": "keys with values",
            "array": "a list in [ ]",
            "string": "a text",
            "number": "a number",
            "integer": "a whole number",
            "boolean": "true or false",
            "null": "nothing",
        }
        return f"{instance!r} is not {' or '.join(words[kind] for kind in kinds)}"
    if error.validator == "uniqueItems":
        return "a value is given twice"
    if error.validator in ("minItems", "minProperties"):
        return "is empty"
    return error.message


def _flatten(parts):
    for part in parts:
        yield part
        if "items" in part:
            yield part["items"]
        yield from _flatten(part.get("anyOf", ()))


def _line(lines, path):
    path = tuple(path)
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _lines(node, name, path=()):
    """Yield (path of keys, line number) of everything below a YAML node.

    Raises:
        InputError: a mapping has a key twice; YAML would silently take the last value.
    """
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise InputError(f"{name}, line {line}: {'.'.join(map(str, (*path, key.value)))}: is given twice")
            seen.add(key.value)
            yield from _lines(value, name, (*path, key.value))
            yield (*path, key.value), line  # the line of the key, not of its value
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, name, (*path, number))
