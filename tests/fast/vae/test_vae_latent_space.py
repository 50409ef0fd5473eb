import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import norm

from pr12.core import determinism, tensor_files
from pr12.data import splits
from pr12.vae import latent_space
from pr12.vae.data import packed_arrays
from pr12.vae.figures import latent_page
from pr12.vae.model import latent_codes, networks, saved_nets
from pr12.workflow import step
from pr12.workflow.errors import UserError

SIZES = {"digits": (3, 4), "faces": (5, 4)}
LARGE = [("z2", 2), ("z5", 5), ("z10", 10), ("z20", 20)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def net(latent_dim, kind="digits", objective="sgvb_b", seeds=(0, 1)):
    likelihood = "bernoulli" if kind == "digits" else "gaussian"
    height, width = SIZES[kind]
    architecture = networks.Architecture(height * width, (6, 5), latent_dim, likelihood)
    parameters = networks.initial(architecture, seeds, "normal", 0.7)
    # Two moments, so that one that takes the first instead of the last is found out
    kept = {name: torch.stack([0.1 * value, value]) for name, value in parameters.items()}
    return saved_nets.Saved(architecture, objective, (100, 200), kept)


def split_of(kind, n=20):
    generator = torch.Generator().manual_seed(len(kind))
    labels = torch.arange(n) % 10 if kind == "digits" else torch.zeros(n).long()
    return splits.Split(torch.rand(n, *SIZES[kind], generator=generator), labels)


def system(saved, kind="digits", n=20):
    first = {name: value[:1] for name, value in saved_nets.at(saved, -1).items()}
    return latent_space.System(saved, first, split_of(kind, n))


def all_systems():
    digits = {name: system(net(latent_dim)) for name, latent_dim in LARGE}
    return digits | {"faces_z2": system(net(2, "faces"), "faces")}


# Sheets of images as text


@given(
    arrays.arrays(
        np.float64,
        arrays.array_shapes(min_dims=4, max_dims=4, max_side=4),
        elements=st.floats(-1, 2),
    )
)
@settings(max_examples=50, deadline=None)
def test_a_sheet_comes_back_to_half_a_level_of_grey_and_through_json(images):
    sheet = json.loads(json.dumps(packed_arrays.pack_images(images)))
    back = packed_arrays.unpack_images(sheet)
    assert back.dtype == np.uint8
    assert back.shape == images.shape
    assert np.abs(back / 255 - images.clip(0, 1)).max() <= 0.5 / 255 + 1e-9


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (0, 2, 3, 4)])
def test_what_is_no_sheet_is_not_packed(shape):
    with pytest.raises(UserError, match=r"has the shape \(rows, columns, H, W\), not"):
        packed_arrays.pack_images(np.zeros(shape))


def test_pixels_that_are_no_numbers_are_not_packed():
    with pytest.raises(UserError, match="pixels that are no numbers"):
        packed_arrays.pack_images(np.full((1, 1, 1, 2), np.nan))


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ([1], "needs shape and pixels"),
        ({"shape": [1, 1, 1, 2]}, "needs shape and pixels"),
        ({"shape": [1, 1, 2], "pixels": "AP8="}, "must be four positive sizes"),
        ({"shape": [1, 1, 0, 2], "pixels": "AP8="}, "must be four positive sizes"),
        ({"shape": [1, 1, 1, 2.0], "pixels": "AP8="}, "must be four positive sizes"),
        ({"shape": 2, "pixels": "AP8="}, "must be four positive sizes"),
        ({"shape": [1, 1, 1, 2], "pixels": "A?8="}, "not base64"),
        ({"shape": [1, 1, 1, 2], "pixels": None}, "not base64"),
        ({"shape": [1, 1, 1, 3], "pixels": "AP8="}, "has 2 pixels, not 3"),
    ],
)
def test_what_is_no_packed_sheet_is_told(sheet, message):
    with pytest.raises(UserError, match=message):
        packed_arrays.unpack_images(sheet)


# Codes


@pytest.mark.parametrize("grid", [2, 15, 20])
def test_the_manifolds_codes_are_scipys_quantiles_of_the_normal_distribution(grid):
    codes = latent_codes.plane_codes(grid).numpy()
    places = norm.ppf((np.arange(grid) + 0.5) / grid)
    for row in range(grid):
        np.testing.assert_allclose(codes[row, :, 0], places, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(codes[row, :, 1], places[grid - 1 - row], rtol=1e-6, atol=1e-7)


def test_every_cell_of_the_manifold_has_the_same_probability():
    codes = latent_codes.plane_codes(8)
    probability = torch.special.ndtr(codes)
    assert probability[..., 0].diff(dim=1).sub(1 / 8).abs().max() < 1e-6
    assert probability[..., 1].diff(dim=0).add(1 / 8).abs().max() < 1e-6  # z2 grows upwards


def test_a_walk_goes_from_end_to_end_in_equal_steps():
    starts, ends = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[-1.0, 5.0], [3.0, 3.0]])
    codes = latent_codes.walk(starts, ends, 10)
    assert codes.shape == (2, 10, 2)
    np.testing.assert_array_equal(codes[:, 0], starts)
    np.testing.assert_array_equal(codes[:, -1], ends)
    np.testing.assert_allclose(
        codes.diff(dim=1), ((ends - starts) / 9)[:, None].expand(2, 9, 2), atol=1e-6
    )


# Pictures


def grey(images):
    return np.rint(255 * images.clamp(0, 1).numpy()).astype(int)


def one_by_one(ours, z):
    """Decode a single code by the functions of the model."""
    return networks.decode(ours.parameters, z.view(1, 1, -1)).view(ours.test.images.shape[1:])


def assert_shown(sheet, row, column, expected):
    shown = packed_arrays.unpack_images(sheet)[row, column].astype(int)
    assert np.abs(shown - grey(expected)).max() <= 1  # a level: another order of the same sums


def test_the_picture_shows_what_the_decoder_gives_at_every_place():
    systems = all_systems()
    shown = latent_space.picture(systems, grid=6)
    codes = latent_codes.plane_codes(6)
    for kind, name in (("digits", "z2"), ("faces", "faces_z2")):
        sheet = shown["manifolds"][kind]
        assert sheet["shape"] == [6, 6, *SIZES[kind]]
        for row, column in ((0, 0), (0, 5), (4, 1)):
            assert_shown(sheet, row, column, one_by_one(systems[name], codes[row, column]))
    assert set(shown["samples"]) == {name for name, _ in LARGE}
    for name, latent_dim in LARGE:
        assert shown["samples"][name]["shape"] == [10, 10, *SIZES["digits"]]
        z = torch.randn(10, 10, latent_dim, generator=determinism.generator(0, "samples"))
        assert_shown(shown["samples"][name], 3, 8, one_by_one(systems[name], z[3, 8]))


def test_reconstructions_stand_below_their_images_and_walks_between_them():
    systems = all_systems()
    shown = latent_space.picture(systems, grid=2)
    assert set(shown["reconstructions"]) == set(systems)
    for name, sheet in shown["reconstructions"].items():
        ours = systems[name]
        means = networks.encode(ours.parameters, ours.test.images.flatten(1)).mean[0]
        assert sheet["shape"] == [2, 8, *ours.test.images.shape[1:]]
        for column in (0, 7):
            assert_shown(sheet, 0, column, ours.test.images[column])
            assert_shown(sheet, 1, column, one_by_one(ours, means[column]))
    (sheet,) = shown["walks"].values()
    assert list(shown["walks"]) == ["z20"]
    assert sheet["shape"] == [4, 10, *SIZES["digits"]]
    ours = systems["z20"]
    means = networks.encode(ours.parameters, ours.test.images.flatten(1)).mean[0]
    assert_shown(sheet, 1, 0, one_by_one(ours, means[2]))
    assert_shown(sheet, 1, 9, one_by_one(ours, means[3]))
    assert_shown(sheet, 3, 3, one_by_one(ours, means[6] * 2 / 3 + means[7] / 3))


def test_the_planes_weights_decode_in_numpy_as_the_model_does_and_make_a_page():
    systems = all_systems()
    planes = json.loads(json.dumps(latent_space.picture(systems, grid=2)["planes"]))
    assert latent_page.page(planes).startswith("<!doctype html>")
    for plane, name in zip(planes, ("z2", "faces_z2"), strict=True):
        ours = systems[name]
        weights = {
            key: packed_arrays.unpack_numbers(value) for key, value in plane["weights"].items()
        }
        z = np.array([0.7, -1.3])
        h = z
        for layer in ("decoder.0", "decoder.1"):
            h = np.tanh(h @ weights[f"{layer}.weight"] + weights[f"{layer}.bias"].ravel())
        h = h @ weights["decoder.mean.weight"] + weights["decoder.mean.bias"].ravel()
        expected = one_by_one(ours, torch.tensor(z, dtype=torch.float32))
        height, width = plane["height"], plane["width"]
        pixels = (1 / (1 + np.exp(-h))).reshape(height, width)
        np.testing.assert_allclose(pixels, expected, atol=2e-3)
        means = networks.encode(ours.parameters, ours.test.images.flatten(1)).mean[0]
        for index in (0, 19):
            *code, label = plane["codes"][index]
            assert code == pytest.approx(means[index].tolist(), abs=1e-3)
            assert label == ours.test.labels[index].item()
        assert plane["likelihood"] == ours.saved.architecture.likelihood


def test_a_plane_reaches_as_far_as_its_codes_and_shows_at_most_1000():
    narrow = latent_space.plane("near", system(net(2)))
    wide = net(2)
    wide.parameters["encoder.mean.bias"][-1, 0, 0, 1] = -7.2
    wide.parameters["encoder.mean.weight"][-1] *= 0.01
    far = latent_space.plane("far", system(wide, n=1010))
    assert narrow["extent"] == [-3.0, 3.0, -3.0, 3.0]
    assert far["extent"] == [-8.0, 8.0, -8.0, 8.0]
    assert len(far["codes"]) == 1000


# The step


def write_inputs(folder, names, n=20):
    for kind in SIZES:
        images, labels = split_of(kind, n)
        tensors = {"images": (255 * images).round().byte(), "labels": labels}
        tensor_files.write_tensors(folder / f"{kind}_test", tensors, {"maximum": "255"})
    for name in names:
        kind = "faces" if name == "faces_z2" else "digits"
        saved_nets.save(folder / name, net(latent_space.LATENT_DIMS[name], kind))


def job_in(folder, names):
    reads = ("digits_test", "faces_test", *names)
    paths = {name: folder / name for name in (*reads, "metrics", "picture")}
    params = latent_space.Params(grid=4)
    return step.Job(params, paths, reads, "pr12.vae.latent_space", "command")


@pytest.mark.parametrize("names", [("z2", "faces_z2"), tuple(latent_space.LATENT_DIMS)])
def test_the_step_writes_metrics_and_picture_alike_on_every_run(tmp_path, names):
    write_inputs(tmp_path, names)
    latent_space.main(job_in(tmp_path, names))
    picture = (tmp_path / "picture").read_bytes()
    actual = json.loads((tmp_path / "metrics").read_text())
    assert set(actual["metrics"]) == {f"{name}/reconstruction_mse" for name in names}
    assert all(len(values) == 2 for values in actual["metrics"].values())
    for name in names:
        saved = saved_nets.load(tmp_path / name)
        kind = "faces" if name == "faces_z2" else "digits"
        x = splits.load_split(tmp_path / f"{kind}_test").images.flatten(1)
        z = networks.encode(saved_nets.at(saved, -1), x).mean
        errors = ((networks.decode(saved_nets.at(saved, -1), z) - x) ** 2).mean(dim=(1, 2))
        assert actual["metrics"][f"{name}/reconstruction_mse"] == pytest.approx(errors.tolist())
    assert list(json.loads(picture)["walks"]) == ["z2" if len(names) == 2 else "z20"]
    latent_space.main(job_in(tmp_path, names))
    assert (tmp_path / "picture").read_bytes() == picture


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("z2", net(3), "z2 has 3 latent variables; give a model with 2"),
        ("faces_z2", net(5, "faces"), "faces_z2 has 5 latent variables; give a model with 2"),
        ("faces_z2", net(2), "trained on images of 12 pixels and the data have 20"),
    ],
)
def test_a_model_of_another_latent_or_image_size_is_refused(tmp_path, name, wrong, message):
    write_inputs(tmp_path, ("z2", "faces_z2"))
    saved_nets.save(tmp_path / name, wrong)
    with pytest.raises(UserError, match=message):
        latent_space.main(job_in(tmp_path, ("z2", "faces_z2")))


def test_a_net_without_an_encoder_and_too_few_images_are_refused(tmp_path):
    write_inputs(tmp_path, ("z2", "faces_z2"))
    given = net(2, objective="mcem")
    decoder = {n: v for n, v in given.parameters.items() if n.startswith("decoder")}
    saved_nets.save(tmp_path / "z2", given._replace(parameters=decoder))
    with pytest.raises(UserError, match="z2 was trained by mcem and has no encoder"):
        latent_space.main(job_in(tmp_path, ("z2", "faces_z2")))
    write_inputs(tmp_path, ("z2", "faces_z2"), n=7)
    with pytest.raises(UserError, match="digits_test has 7 images; 8 are shown"):
        latent_space.main(job_in(tmp_path, ("z2", "faces_z2")))
