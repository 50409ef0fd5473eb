"""What ``pr12 quality fit`` keeps for later: references and calibration, as data and no code.

A model is a folder: ``model.json`` with settings and names, ``references.safetensors`` with images
and labels as they are registered, ``scores.safetensors`` with what was scored on the calibration.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pr12.rca.data import scan_files
from pr12.rca.predict import scores as predict_scores
from pr12.rca.predict.cases import Case
from pr12.rca.predict.scores import Scored
from pr12.rca.predict.settings import DEFAULTS, KEPT, Settings
from pr12.workflow import address, files
from pr12.workflow.errors import UserError

ARRAYS = ("references", "scores")
STORED = ("scores", "real", "similarity", "voted")  # of `Scored`
TEXTS = ("name", "spacing", "notes", "content", "placed", "origin", "direction", "named")


class Past(NamedTuple):
    """What calibrates: subjects whose real Dice is known."""

    source: str  # "calibration", or "reference", whose labels were damaged
    count: int  # subjects that there are
    structures: tuple[int, ...]  # numbers in the references' files, the last axis of scores
    scored: Sequence[Scored]  # none if they are too few
    patients: Sequence[str]  # of `scored`


class Model(NamedTuple):
    """What new cases need."""

    references: list[Case]  # their labels as in the files
    settings: dict[str, Any]  # those of KEPT
    past: Past


def write(folder: Path, model: Model) -> None:
    """Write a model; model.json comes last, so that a folder with it is whole.

    Parameters
    ----------
    folder : Path
        It is there.
    model : Model
        With one reference at least.
    """
    (folder / "model.json").unlink(missing_ok=True)
    # A file of safetensors needs a tensor, also where nothing calibrates
    arrays = {"references": {}, "scores": {"subjects": np.array(len(model.past.scored))}}
    for index, case in enumerate(model.references):
        arrays["references"] |= {f"{index}/image": case.image, f"{index}/labels": case.labels}
    for index, subject in enumerate(model.past.scored):
        arrays["scores"] |= {f"{index}/{name}": getattr(subject, name) for name in STORED}
    for name, held in arrays.items():
        scan_files.write_arrays(folder / f"{name}.safetensors", held)
    content = {
        "format": 1,
        "code": _code(),
        "settings": model.settings,
        "references": [
            {name: getattr(case, name) for name in TEXTS}
            | {"names": {str(number): name for number, name in case.names.items()}}
            for case in model.references
        ],
        "source": model.past.source,
        "count": model.past.count,
        "structures": list(model.past.structures),
        "patients": list(model.past.patients),
        "sha256": {name: files.sha256(folder / f"{name}.safetensors") for name in ARRAYS},
    }
    with files.atomic(folder / "model.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "ascii")


def _code() -> str:
    return address.source_digest(predict_scores.__name__)


def read(folder: Path) -> Model:
    """Read a model.

    Parameters
    ----------
    folder : Path
        As ``pr12 quality fit`` wrote it.

    Raises
    ------
    UserError
        If it is none, not whole, or of another version.

    Examples
    --------
    >>> read(Path("/dev"))
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: /dev has no model.json; give a folder that pr12 quality fit \
wrote
    """
    path = folder / "model.json"
    if not path.is_file():
        raise UserError(f"{folder} has no model.json; give a folder that pr12 quality fit wrote")
    again = f"{folder} is no whole model; fit it again"
    try:
        content = files.read_json(path)
        if content["format"] != 1 or content["code"] != _code():
            raise UserError(f"{folder} was fitted by another version of the tool; fit it again")
        if any(
            files.sha256(folder / f"{name}.safetensors") != content["sha256"][name]
            for name in ARRAYS
        ):
            raise UserError(again)
        held = {name: scan_files.read_arrays(folder / f"{name}.safetensors")[0] for name in ARRAYS}
        return Model(
            [_case(each, held["references"], i) for i, each in enumerate(content["references"])],
            {name: content["settings"][name] for name in KEPT},
            Past(
                content["source"],
                content["count"],
                tuple(content["structures"]),
                [_subject(held["scores"], i) for i in range(len(content["patients"]))],
                content["patients"],
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OSError):
        raise UserError(again) from None


def _case(texts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], index: int) -> Case:
    lists = {
        name: texts[name] and tuple(texts[name]) for name in ("spacing", "origin", "direction")
    }
    return Case(
        name=texts["name"],
        image=arrays[f"{index}/image"],
        labels=arrays[f"{index}/labels"],
        views=(),
        real={},
        notes=tuple(texts["notes"]),
        content=texts["content"],
        placed=texts["placed"],
        names={int(number): name for number, name in texts["names"].items()},
        named=texts["named"],
        **lists,
    )


def _subject(arrays: Mapping[str, np.ndarray], index: int) -> Scored:
    held = {name: arrays[f"{index}/{name}"] for name in STORED}
    nothing = np.zeros((), np.float32)
    return Scored(**held, disagreement=nothing, distances=nothing)


def with_settings(settings: Settings, model: Model, folder: Path) -> Settings:
    """Return the settings with those that a model was made with.

    Parameters
    ----------
    settings : Settings
        The command's.
    model : Model
        Read.
    folder : Path
        Its own, for a message.

    Raises
    ------
    UserError
        If one is given that is not the model's.
    """
    for name in KEPT:
        given, ours = (_plain(each) for each in (getattr(settings, name), model.settings[name]))
        if given not in (ours, _plain(DEFAULTS[name])):
            raise UserError(
                f"--params.{name} is {_said(given)} and the model {folder} was fitted with "
                f"{_said(ours)}; leave it out, or fit another model"
            )
    scoring = {name: _tuple(value) for name, value in model.settings.items()}
    return dataclasses.replace(settings, **scoring)


def _said(value: Any) -> str:
    return "its default" if value is None else str(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def laid_on(past: Past, structures: Sequence[int]) -> Past:
    """Return what calibrates with the scores of other structures: NaN where they are new.

    Parameters
    ----------
    past : Past
        Of a model.
    structures : sequence of int
        S numbers.

    Examples
    --------
    >>> subject = Scored(np.ones((1, 2, 1)), np.ones((1, 1)), None, np.ones((1, 1)), None, None)
    >>> past = laid_on(Past("reference", 1, (7,), [subject], ["a"]), (3, 7))
    >>> past.scored[0].real.tolist()
    [[nan, 1.0]]
    """
    places = [past.structures.index(n) if n in past.structures else -1 for n in structures]

    def laid(array: np.ndarray) -> np.ndarray:
        return np.where(np.array(places) >= 0, array[..., places], np.nan).astype(array.dtype)

    scored = [
        subject._replace(**{name: laid(getattr(subject, name)) for name in STORED[:2] + STORED[3:]})
        for subject in past.scored
    ]
    return past._replace(structures=tuple(structures), scored=scored)
