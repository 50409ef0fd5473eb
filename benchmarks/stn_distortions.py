"""Images per second of every distortion: a whole batch at once, and one image after another.

The other side distorts as data sets are usually distorted, an image when it is asked for: by way of
PIL and torchvision's transforms (R, RTS, P, addition), SciPy's splines (E) or NumPy (TC), and
stacks the images of a batch. Both sides draw from the same ranges, on one thread, in turn, timed by
the processor's clock.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates
from torch import Tensor

from pr12.core import determinism
from pr12.core.vision import import_torchvision
from pr12.stn.model import distortions

ASKED = {"RTS": 20_000}  # images per second
CORNERS = [[0, 0], [27, 0], [27, 27], [0, 27]]


def seconds(call: Callable[[], object]) -> float:
    """Time one call by the clock of this process, which stands while others run."""
    start = time.process_time()
    call()
    return time.process_time() - start


def one_at_a_time(digits: Tensor) -> dict[str, Callable[[int], Tensor]]:
    """Give for every distortion what makes an image of one digit."""
    vision = import_torchvision()
    turned = vision.transforms.functional
    bilinear = vision.transforms.InterpolationMode.BILINEAR
    to_tensor, random = vision.transforms.ToTensor(), np.random.default_rng(0)
    pixels = (255 * digits).byte().numpy()

    def rotated(row: int) -> Tensor:
        picture = Image.fromarray(pixels[row])
        return to_tensor(turned.rotate(picture, random.uniform(-90, 90), interpolation=bilinear))

    def rotated_scaled_translated(row: int) -> Tensor:
        picture = turned.pad(Image.fromarray(pixels[row]), 7)
        scale = random.uniform(0.7, 1.2)
        shift = (random.uniform(-1, 1, 2) * (42 - 28 * scale) / 2).round().astype(int).tolist()
        moved = turned.affine(
            picture, random.uniform(-45, 45), shift, scale, [0.0, 0.0], interpolation=bilinear
        )
        return to_tensor(moved)

    def projected(row: int) -> Tensor:
        scale = random.uniform(0.75, 1)
        moved = 13.5 + (np.array(CORNERS) - 13.5) / scale + random.normal(0, 5, (4, 2))
        picture = turned.perspective(
            Image.fromarray(pixels[row]), moved.tolist(), CORNERS, interpolation=bilinear
        )
        return to_tensor(picture)

    axis = np.linspace(-0.5, 27.5, 4)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(16, 2)
    everywhere = np.stack(np.mgrid[:28, :28], axis=-1).reshape(-1, 2).astype(float)

    def elastic(row: int) -> Tensor:
        moved = 13.5 + (points - 13.5) / random.uniform(0.75, 1) + random.normal(0, 1.5, (16, 2))
        spline = RBFInterpolator(points, moved, kernel="thin_plate_spline", degree=1)
        places = spline(everywhere).T.reshape(2, 28, 28)
        return torch.from_numpy(map_coordinates(pixels[row] / np.float32(255), places, order=1))[
            None
        ]

    def cluttered(row: int) -> Tensor:
        canvas = np.zeros((60, 60), np.float32)
        top, left = random.integers(33, size=2)
        canvas[top : top + 28, left : left + 28] = pixels[row] / np.float32(255)
        for _ in range(6):
            (a, b), (top, left) = random.integers(23, size=2), random.integers(55, size=2)
            piece = pixels[random.integers(len(pixels)), a : a + 6, b : b + 6] / np.float32(255)
            field = canvas[top : top + 6, left : left + 6]
            np.maximum(field, piece, out=field)
        return torch.from_numpy(canvas)[None]

    def added(row: int) -> Tensor:
        other = int(random.integers(len(pixels)))
        return torch.cat([rotated_scaled_translated(row), rotated_scaled_translated(other)])

    return {
        "R": rotated,
        "RTS": rotated_scaled_translated,
        "P": projected,
        "E": elastic,
        "TC": cluttered,
        "addition": added,
    }


def main() -> None:
    """Print a row per distortion: medians of repeats, both sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=20, help="of ours per repeat")
    parser.add_argument("--single", type=int, default=256, help="images of the other side")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    determinism.deterministic()
    stream = determinism.generator(0, "benchmark")
    digits = torch.rand(1000, distortions.SIDE, distortions.SIDE, generator=stream)
    labels = torch.arange(1000) % 10
    rows = torch.arange(options.batch) % 1000
    print(f"one thread, batches of {options.batch}, medians of {options.repeats}")
    print("distortion  pixels  ours images/s  one at a time  ratio  asked")
    for name, make in one_at_a_time(digits).items():

        def ours(name: str = name) -> None:
            for _ in range(options.batches):
                distortions.batch(name, digits, labels, rows, stream)

        def theirs(make: Callable[[int], Tensor] = make) -> None:
            torch.stack([make(row % 1000) for row in range(options.single)])

        ours()
        theirs()
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(options.repeats)]
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        rate, slow = options.batch * options.batches / mine, options.single / other
        side = distortions.DISTORTIONS[name].side
        asked = f"{ASKED[name]:,}" if name in ASKED else ""
        print(
            f"{name:10s}  {side:2d}x{side:2d}  {rate:13,.0f}  {slow:13,.0f}  {rate / slow:5.1f}"
            f"  {asked}",
            flush=True,
        )


if __name__ == "__main__":
    main()
