"""
What costs photorealism?
========================

Deep Photo Style Transfer allows an image to differ from the content by anything that is, in each
small window, an affine function of the content's colours. What does that forbid?
"""

# %%
# A photograph inside scikit-learn, made small, and its matting Laplacian.
import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage
from skimage import transform
from sklearn.datasets import load_sample_image

from pr12.photostyle.model import matting
from pr12.photostyle.model.measures import matting_energy

content = transform.resize(load_sample_image("china.jpg"), (107, 160), anti_aliasing=True)
matrix = matting.laplacian(content)
print(f"{matrix.shape[0]} pixels, {matrix.nnz / matrix.shape[0]:.1f} entries a row")

# %%
# Changes that look alike in size. The first three are affine in the colours, the same everywhere or
# slowly varying; the others move or invent edges.
height, width, _ = content.shape
ramp = np.linspace(0, 1, width)[None, :, None]
warm = np.array([[0.9, 0.1, 0.0], [0.0, 0.8, 0.0], [0.0, 0.1, 0.6]])
stream = np.random.default_rng(0)
changes = {
    "darker": 0.4 * content,
    "warm colours": content @ warm.T,
    "evening from the right": (1 - ramp) * content + ramp * (content @ warm.T) * 0.5,
    "gamma": content**2,
    "blurred": ndimage.gaussian_filter(content, (1.5, 1.5, 0)),
    "moved by 2 pixels": np.roll(content, 2, axis=1),
    "strokes": np.clip(
        content + 0.15 * ndimage.gaussian_filter(stream.standard_normal(content.shape), (1, 3, 0))
        * 4, 0, 1
    ),
}  # fmt: skip
energies = {name: max(matting_energy(image, matrix), 1e-9) for name, image in changes.items()}

# %%
figure, axes = plt.subplots(2, 4, figsize=(10, 4), layout="constrained")
shown = {"content": content, **changes}
for place, (name, image) in zip(axes.flat, shown.items(), strict=True):
    place.imshow(image.clip(0, 1))
    place.set_title(name, fontsize=9)
    place.axis("off")

# %%
# What each costs, on a logarithmic axis.
figure, axes = plt.subplots(figsize=(6.5, 3), layout="constrained")
axes.barh(list(energies), list(energies.values()))
axes.invert_yaxis()
axes.set(xscale="log", xlabel="matting energy per pixel")

# %%
# Light and colour are nearly free, even where they change over the image. A curve (gamma) is almost
# affine in a window of 3 by 3 pixels and costs a little. What moves or adds edges costs most: that
# is what keeps lines straight.
