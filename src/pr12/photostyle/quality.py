"""Measure results of photo style transfer, against the same measures of other methods.

There is no ground truth: photorealism is measured by the matting Laplacian and by the best local
affine fit, structure by the similarity of edges, style by the colours of each class and by the
Gram matrices that the step ``photo`` noted.
"""

import json

import numpy as np
import torch

from pr12.photostyle import experiments, local_affine, matting, measures
from pr12.photostyle.params import Quality as Params
from pr12.shared import files, step, tensor_files


def measured(image, content, style, labels, laplacian, radius: int) -> dict[str, float]:
    """Give all measures of one result.

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


def main(job: step.Job) -> None:
    """Run the step."""
    params = job.params
    photographs = tensor_files.read_tensors(job.paths["photographs"])
    results = tensor_files.read_tensors(job.paths["results"])
    info = json.loads(tensor_files.read_metadata(job.paths["results"])["info"])
    pair, seeds = info["pair"], info["seeds"]
    content, style = (
        photographs[f"{pair}/{name}"].numpy() / 255.0 for name in ("content", "style")
    )
    labels = {name: photographs[f"{pair}/{name}_mask"].numpy() for name in ("content", "style")}
    laplacian = matting.laplacian(content)
    common = {
        "content": content,
        "histogram": measures.histogram_matched(content, style),
        "histogram_by_class": measures.histogram_matched_by_class(
            content, style, labels["content"], labels["style"]
        ),
    }
    if f"{pair}/published" in photographs:
        common["published"] = photographs[f"{pair}/published"].numpy() / 255.0
    by_seed = {
        seed: {name: experiments.as_array(results[f"{name}/{seed}"][None]) for name in names}
        for names in [["neural", "first", *info["photorealism"]]]
        for seed in seeds
    }
    main_result = info["photorealism"][0] if len(info["photorealism"]) == 1 else "lambda10000"
    for own in by_seed.values():
        image = own[main_result]
        own["smoothed"] = local_affine.smoothed(
            content, image, params.smoothing_radius, params.smoothing_epsilon
        )
        own["rounded"] = np.round(image * 255) / 255  # as the published results are kept
    metrics: dict[str, list[float]] = {}

    def add(name: str, values: dict[str, float]) -> None:
        for key, value in values.items():
            metrics.setdefault(f"{name}/{key}", []).append(value)

    radius = params.affine_radius
    fixed = {
        name: measured(image, content, style, labels, laplacian, radius)
        for name, image in common.items()
    }
    for seed in seeds:
        own = {
            name: measured(image, content, style, labels, laplacian, radius)
            for name, image in by_seed[seed].items()
        }
        for name, values in (fixed | own).items():
            for kind in ("style_distance", "style_distance_plain"):
                distance = info[kind].get(f"{name}/{seed}", info[kind].get(name))
                if distance is not None:
                    values = values | {kind: distance}
            add(name, values)
    for result in info["photorealism"]:
        for kind, over, under in (
            ("matting_energy", "neural", result),
            ("style_distance", result, "neural"),
            ("style_distance_plain", result, "neural"),
            ("colour_distance", result, "neural"),
        ):
            pairs = zip(metrics[f"{over}/{kind}"], metrics[f"{under}/{kind}"], strict=True)
            metrics[f"{result}/ratio_{kind}"] = [a / max(b, 1e-12) for a, b in pairs]
    first = by_seed[seeds[0]]
    shown = {name: as_uint8(image) for name, image in (common | first).items()}
    shown["style"] = photographs[f"{pair}/style"]
    shown |= {f"{name}_mask": torch.from_numpy(own) for name, own in labels.items()}
    tensor_files.write_tensors(job.paths["picture"], shown)
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


def as_uint8(image: np.ndarray) -> torch.Tensor:
    """Give an image as it is kept for figures: uint8 (H, W, 3)."""
    return torch.from_numpy(np.round(image.clip(0, 1) * 255).astype(np.uint8))


if __name__ == "__main__":
    with step.start(Params, reads=["photographs", "results"], writes=["metrics", "picture"]) as job:
        main(job)
