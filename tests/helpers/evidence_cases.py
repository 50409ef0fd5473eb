"""Evidence that tests write, and figures drawn from metrics and pictures as a step does it."""

import json
import runpy
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
from safetensors.numpy import save_file

from pr12.report import evidence, plots
from pr12.report import figures as report_figures
from pr12.report.stored import pictures as stored_pictures
from pr12.workflow import files, settings


def node(place, digest="0123456789", source="abcdef0123", params=None, reads=(), raw=None):
    """Return the node of a folder, such as of the place ``vae/z2/train``."""
    paper, _, step = place.split("/")
    return {
        "folder": f"build/test/{place}.{digest}",
        "step": f"pr12.{paper}.{step}",
        "params": params or {},
        "source": source,
        "reads": {f"read{i}": [folder, "file"] for i, folder in enumerate(reads)},
        "raw": raw or {},
    }


def today(nodes, results):
    """Return what the Snakefile writes of a paper's graph."""
    by_folder = {ours["folder"]: ours for ours in nodes}
    return {"cases": [*results], "nodes": by_folder, "results": results, "before": {}}


def packed(picture, scratch):
    """Pack what a step would write."""
    arrays = isinstance(picture, dict) and any(isinstance(p, np.ndarray) for p in picture.values())
    path = scratch / f"picture.{'safetensors' if arrays else 'json'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if arrays:
        save_file({name: np.ascontiguousarray(ours) for name, ours in picture.items()}, path)
    else:
        path.write_text(json.dumps(picture))
    return stored_pictures.packed(path)


def write_case(folder, case, metrics, chain, picture=None):
    """Write one case's evidence."""
    provenance = {"command": "python -m pr12.any", "inputs": {}, "source": chain[-1]["source"]}
    result = {"metrics": metrics, "provenance": provenance}
    content = evidence.content_of(case, result, chain, {}, Path.cwd())
    pictures = {} if picture is None else packed(picture, folder.parent / "scratch")
    evidence.write(folder / case, content, pictures)


def write(folder, paper, metrics, pictures):
    """Write evidence of cases, all current; give the paths of the figures step but out."""
    cases = dict.fromkeys([*metrics, *(name.removesuffix("_picture") for name in pictures)])
    nodes = {case: node(f"{paper}/{case}/evaluate") for case in cases}
    for name in ("evidence", "committed", "texts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for case, ours in nodes.items():
        picture = pictures.get(f"{case}_picture")
        write_case(folder / "evidence", case, metrics.get(case, {}), [ours], picture)
    results = {case: ours["folder"] for case, ours in nodes.items()}
    files.write_json(folder / "chains.json", today(nodes.values(), results))
    names = ("evidence", "committed", "texts")
    return [*(f"{name}={folder / name}" for name in names), f"chains={folder / 'chains.json'}"]


def command_line(folder, paper, metrics, pictures, params, out):
    """Write evidence and give the command line of the figures step."""
    paths = write(folder, paper, metrics, pictures)
    return ["--params", json.dumps(params), *paths, f"out={folder / out}"]


def run(paper, arguments):
    """Run the figures step of a paper whose evidence nothing withdraws."""
    nothing = mock.patch.object(settings, "withdrawn", return_value={})
    command = mock.patch.object(sys, "argv", [f"{paper}.figures", *arguments])
    with nothing, command, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the module is imported already
        runpy.run_module(f"pr12.{paper}.figures", run_name="__main__", alter_sys=True)


# The same in a process of its own; further lines may look at what was imported.
CODE = """
import runpy, sys
from pr12.workflow import settings
settings.withdrawn = lambda folder: {{}}
runpy.run_module("pr12.{paper}.figures", run_name="__main__", alter_sys=True)
"""


def drawn(figures, metrics, pictures):
    """Draw figures in the project's style from what each names: file -> plot."""
    by_case = {name.removesuffix("_picture"): picture for name, picture in pictures.items()}
    actual = {}
    with plots.style():
        for figure in figures:
            given = report_figures.inputs(figure, metrics, by_case)
            plot = figure.draw(*given) if any(given) else None
            if plot:
                assert plot.file == figure.file
                actual[figure.file] = plot
    return actual
