"""Measure results of photo style transfer, against the same measures of other methods.

There is no ground truth: photorealism is measured by the matting Laplacian and by the best local
affine fit, structure by the similarity of edges, style by the colours of each class and by the
Gram matrices that the step ``photo`` noted.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from pr12.core import tensor_files
from pr12.photostyle.model import experiments, local_affine, matting, measures
from pr12.photostyle.params import Quality as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

MAIN = "lambda10000"  # the paper's lambda


def measured(image, content, style, labels, laplacian, radius: int) -> dict[str, float]:
    """Return all measures of one result.

    Parameters
    ----------
    image, content : ndarray
        From 0 to 1, shape (H, W, 3).
    style : ndarray
        Its own size.
    labels : mapping
        ``content`` and ``style`` -> label of every pixel.
    laplacian : csr_matrix
        Of the content.
    radius : int
        Of windows of the local affine fit.
    """
    distance = measures.colour_distance(image, style, labels["content"], labels["style"])
    return {
        "matting_energy": measures.matting_energy(image, laplacian),
        "affine_residual": measures.affine_residual(image, content, radius),
        "edge_similarity": measures.edge_similarity(image, content),
        "colour_distance": distance,
        "content_distance": float(np.sqrt(np.square(image - content).mean())),
    }


def common_images(
    photographs: Mapping[str, torch.Tensor],
    pair: str,
    content: np.ndarray,
    style: np.ndarray,
    labels: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Return the images that are the same for all seeds: the content, and results to compare."""
    images = {
        "content": content,
        "histogram": measures.histogram_matched(content, style),
        "histogram_by_class": measures.histogram_matched_by_class(
            content, style, labels["content"], labels["style"]
        ),
    }
    if f"{pair}/published" in photographs:
        images["published"] = photographs[f"{pair}/published"].numpy() / 255.0
    return images


def images_by_seed(
    results: Mapping[str, torch.Tensor],
    info: Mapping[str, Any],
    content: np.ndarray,
    params: Params,
) -> dict[int, dict[str, np.ndarray]]:
    """Return each seed's results by name, the main one also smoothed and rounded."""
    names = ["neural", "first", *info["photorealism"]]
    by_seed = {
        seed: {name: experiments.as_array(results[f"{name}/{seed}"][None]) for name in names}
        for seed in info["seeds"]
    }
    main_result = main_of(info["photorealism"])
    for images in by_seed.values():
        image = images[main_result]
        images["smoothed"] = local_affine.smoothed(
            content, image, params.smoothing_radius, params.smoothing_epsilon
        )
        images["rounded"] = np.round(image * 255) / 255  # as the published results are stored
    return by_seed


def main_of(names: list[str]) -> str:
    """Return the result of a sweep of lambda that is smoothed too: the paper's, else the first.

    Examples
    --------
    >>> main_of(["lambda1", "lambda10000"]), main_of(["lambda100", "lambda1e+06"])
    ('lambda10000', 'lambda100')
    """
    return MAIN if MAIN in names else names[0]


def with_style_distances(
    values: dict[str, float], info: Mapping[str, Any], name: str, seed: int
) -> dict[str, float]:
    """Return measures of a result, and the distances of its style that the step ``photo`` noted."""
    for kind in ("style_distance", "style_distance_plain"):
        distance = info[kind].get(f"{name}/{seed}", info[kind].get(name))
        if distance is not None:
            values = values | {kind: distance}
    return values


def ratios(metrics: Mapping[str, list[float]], result: str) -> dict[str, list[float]]:
    """Return how a photorealistic result stands to the neural one, seed by seed."""
    values = {}
    for kind, over, under in (
        ("matting_energy", "neural", result),
        ("style_distance", result, "neural"),
        ("style_distance_plain", result, "neural"),
        ("colour_distance", result, "neural"),
    ):
        pairs = zip(metrics[f"{over}/{kind}"], metrics[f"{under}/{kind}"], strict=True)
        values[f"{result}/ratio_{kind}"] = [a / max(b, 1e-12) for a, b in pairs]
    return values


def main(job: step.Job) -> None:
    """Run the step."""
    params = job.params
    photographs = tensor_files.read_tensors(job.paths["photographs"])
    results = tensor_files.read_tensors(job.paths["results"])
    metadata = tensor_files.read_metadata(job.paths["results"])
    if "photorealism" not in (info := json.loads(metadata.get("info", "{}"))):
        raise UserError(f"{job.paths['results']} is no result of photo; give one as results=PATH")
    pair, seeds = info["pair"], info["seeds"]
    if f"{pair}/content" not in photographs:
        raise UserError(
            f"{job.paths['photographs']} has no pair {pair}, of which {job.paths['results']} is; "
            "give the photographs that photo has read"
        )
    content, style = (
        photographs[f"{pair}/{name}"].numpy() / 255.0 for name in ("content", "style")
    )
    labels = {name: photographs[f"{pair}/{name}_mask"].numpy() for name in ("content", "style")}
    laplacian = matting.laplacian(content)
    common = common_images(photographs, pair, content, style, labels)
    by_seed = images_by_seed(results, info, content, params)
    measure = partial(
        measured, content=content, style=style, labels=labels, laplacian=laplacian,
        radius=params.affine_radius,
    )  # fmt: skip
    metrics: dict[str, list[float]] = {}
    fixed = {name: measure(image) for name, image in common.items()}
    for seed in seeds:
        varied = {name: measure(image) for name, image in by_seed[seed].items()}
        for name, values in (fixed | varied).items():
            for key, value in with_style_distances(values, info, name, seed).items():
                metrics.setdefault(f"{name}/{key}", []).append(value)
    for result in info["photorealism"]:
        metrics |= ratios(metrics, result)
    shown = {name: as_uint8(image) for name, image in (common | by_seed[seeds[0]]).items()}
    shown["style"] = photographs[f"{pair}/style"]
    shown |= {f"{name}_mask": torch.from_numpy(values) for name, values in labels.items()}
    tensor_files.write_tensors(job.paths["picture"], shown)
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


def as_uint8(image: np.ndarray) -> torch.Tensor:
    """Return an image as figures draw it: uint8 (H, W, 3)."""
    return torch.from_numpy(np.round(image.clip(0, 1) * 255).astype(np.uint8))


if __name__ == "__main__":
    with step.start(Params, reads=["photographs", "results"], writes=["metrics", "picture"]) as job:
        main(job)
