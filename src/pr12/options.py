"""A tool's settings as options of the command line, with types, units and defaults.

The settings stand once, in a pydantic dataclass; typer's annotations are made of it. What the tool
says of its params and paths names the options instead.
"""

import contextlib
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer


def option(hint: Any, default: Any, text: str) -> tuple[Any, Any]:
    """Return annotation and default of an option for a field of settings.

    Parameters
    ----------
    hint : type
        Of the field: a plain type, a Literal, or a tuple of one of them, perhaps or None.
    default : object
        Of the field.
    text : str
        For the help.

    Examples
    --------
    >>> annotation, default = option(int, 700, "Longest side, pixels.")
    >>> typing.get_args(annotation)[0], default
    (<class 'int'>, 700)
    >>> option(tuple[str, ...] | None, None, "")[0].__args__[0]
    list[str] | None
    """
    plain = _plain(hint)
    optional = typing.get_origin(plain) in (types.UnionType, typing.Union)
    if optional:
        plain = _plain(next(each for each in typing.get_args(plain) if each is not type(None)))
    if typing.get_origin(plain) is tuple:
        plain = list[_plain(typing.get_args(plain)[0])]
    return Annotated[plain | None if optional else plain, typer.Option(help=text)], default


def _plain(hint: Any) -> Any:
    """Return a type without what annotates it."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _dashed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(name: str, hint: Any) -> str:
    """Return what stands for a path on the command line: an option, or the word for an argument."""
    is_argument = isinstance(typing.get_args(hint)[1], typer.models.ArgumentInfo)
    return name.upper() if is_argument else _dashed(name)


def translated(text: str, shown: Mapping[str, str]) -> str:
    """Return a tool's message with its options in place of params and paths.

    Parameters
    ----------
    text : str
        Of the tool, as ``python -m`` shows it.
    shown : mapping
        Name of a param or path -> its option.

    Examples
    --------
    >>> translated("--params.size is 0; lower size", {"size": "--size"})
    '--size is 0; lower --size'
    >>> translated("mend calibration=DIR, not a/calibration", {"calibration": "--calibration"})
    'mend --calibration DIR, not a/calibration'
    """
    names = "|".join(sorted(shown, key=len, reverse=True)) or "(?!)"
    alone = (
        "|".join(sorted((name for name in shown if "_" in name), key=len, reverse=True)) or "(?!)"
    )
    patterns = (
        (rf"--params\.({names})\b", ""),
        (rf"(?<![\w./=-])({names})=(?=\S)", " "),
        (rf"(?<=\blower )({names})\b|(?<=\braise )({names})\b|(?<=\bset )({names})\b", ""),
        (rf"(?<![\w./=-])({alone})(?![\w./=-])", ""),
    )
    for pattern, end in patterns:
        text = re.sub(pattern, lambda match, end=end: shown[_first(match)] + end, text)
    return text


def _first(match: re.Match) -> str:
    return next(group for group in match.groups() if group)


class Translated:
    """A stream of messages in which a tool's options stand in place of its params and paths.

    The command that reruns the tool, the first line of its log, stays what a shell can run; on a
    terminal it is left out.
    """

    def __init__(self, stream: Any, shown: Mapping[str, str]) -> None:
        self.stream, self.shown, self.skips = stream, shown, False

    def write(self, text: str) -> int:
        """Write a message."""
        if self.skips and text == "\n":
            self.skips = False
        elif text.startswith("PYTHONPATH="):
            self.skips = self.stream.isatty()
            self.stream.write("" if self.skips else text)
        else:
            self.stream.write(translated(text, self.shown))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def command(
    answered: Callable[[], AbstractContextManager[None]],
    module: str,
    settings: type,
    defaults: Mapping[str, Any],
    texts: Mapping[str, str],
    paths: Mapping[str, tuple[Any, Any]],
) -> Callable[..., None]:
    """Return the function of a command that runs a tool.

    Parameters
    ----------
    answered : callable
        Returns a context in which mistakes are answered.
    module : str
        What ``python -m`` runs; it is imported when the command runs.
    settings : type
        Its dataclass.
    defaults, texts : mapping
        Field -> default, and what the help says of it.
    paths : mapping
        Name on the module's command line -> annotation and default of the argument or option.
    """
    shown = {name: _shown(name, hint) for name, (hint, _) in paths.items()}
    shown |= {name: _dashed(name) for name in defaults}

    def run(**given: Any) -> None:
        values = {name: given.pop(name) for name in defaults}
        line = [f"{name}={path}" for name, path in given.items() if path is not None]
        sys.argv = [module, "--params", json.dumps(values), *line]
        import runpy

        with answered(), contextlib.redirect_stderr(Translated(sys.stderr, shown)):
            runpy.run_module(module, run_name="__main__", alter_sys=True)

    hints = typing.get_type_hints(settings, include_extras=True)
    entries = dict(paths)
    for name, default in defaults.items():
        entries[name] = option(hints[name], default, texts[name])
    run.__signature__ = inspect.Signature(
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
            )
            for name, (hint, default) in entries.items()
        ]
    )
    run.__annotations__ = {name: hint for name, (hint, _) in entries.items()}
    return run
