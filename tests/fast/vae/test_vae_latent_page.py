import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pr12.report import index
from pr12.vae.data import packed_arrays
from pr12.vae.figures import latent_page
from pr12.workflow.errors import UserError

SHAPES = {
    "decoder.0.weight": (2, 5),
    "decoder.0.bias": (5,),
    "decoder.mean.weight": (5, 6),
    "decoder.mean.bias": (1, 6),
}


def plane(shapes=SHAPES, **more):
    draw = np.random.default_rng(0).normal
    made = {
        "title": "Digits",
        "height": 2,
        "width": 3,
        "likelihood": "bernoulli",
        "weights": {
            name: packed_arrays.pack_numbers(draw(size=s), "float16") for name, s in shapes.items()
        },
        "codes": [[0.25, -1, 3], [np.float32(1.5), 2, 7]],
        "extent": [-3, 3, -3, 3],
    }
    return made | more


def planes_of(text):
    return json.loads(re.search(r"(?m)^const planes = (.*);$", text)[1])


@pytest.mark.parametrize("kind", ["float16", "float32"])
@pytest.mark.parametrize("shape", [(3,), (2, 5), (1, 4), (0,)])
def test_packed_numbers_come_back_rounded_once(kind, shape):
    numbers = np.random.default_rng(1).normal(size=shape)
    actual = packed_arrays.unpack_numbers(
        json.loads(json.dumps(packed_arrays.pack_numbers(numbers, kind)))
    )
    assert actual.dtype == kind
    np.testing.assert_array_equal(actual, numbers.astype(kind))


def test_numbers_are_packed_little_endian_row_by_row_whatever_their_layout():
    numbers = np.array([[1, 2], [3, 4]], dtype=">f4").T
    data = base64.b64decode(packed_arrays.pack_numbers(numbers, "float32")["data"])
    assert data == np.array([1, 3, 2, 4], dtype="<f4").tobytes()


@pytest.mark.parametrize(("number", "kind"), [(7e4, "float16"), (np.nan, "float32")])
def test_a_number_that_is_not_finite_is_not_packed(number, kind):
    with pytest.raises(UserError, match=f"no finite {kind} holds"):
        packed_arrays.pack_numbers(np.array([number]), kind)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "float64"}, "type 'float64'; it must be float16 or float32"),
        ({"shape": [3]}, "do not fit shape"),
        ({"data": "A"}, "do not fit shape"),
        ({"data": None}, "do not fit shape"),
        ({"data": "AHwAfA=="}, "not all finite"),
    ],
)
def test_damaged_numbers_are_refused(change, message):
    packed = packed_arrays.pack_numbers(np.zeros(2), "float16") | change
    with pytest.raises(UserError, match=message):
        packed_arrays.unpack_numbers(packed)


def test_the_page_holds_the_layers_in_order():
    made = plane()
    actual = planes_of(latent_page.page([made]))[0]
    assert actual["layers"] == [
        {part: made["weights"][f"decoder.{layer}.{part}"] for part in ("weight", "bias")}
        for layer in ("0", "mean")
    ]
    assert actual["codes"] == [[0.25, -1, "3"], [1.5, 2, "7"]]


def test_no_title_or_label_can_leave_its_place():
    evil = "</script><script>alert('x')</script><!--"
    made = plane(title=evil, codes=[[0, 0, "</s"]])
    text = latent_page.page([made, made])
    assert text.count("<script") == text.count("</script") == 1
    assert "<!--" not in text
    assert planes_of(text)[1]["title"] == evil
    assert planes_of(text)[0]["codes"][0][2] == "</s"


def test_the_pages_policy_allows_its_one_script_and_no_address():
    text = latent_page.page([plane()])
    script = index.only_script(text, "page")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    assert not re.search(r"https?:|src=|@import|url\(", text)


def test_the_same_planes_give_the_same_page():
    backwards = dict(reversed(plane().items()))
    assert latent_page.page([plane()]) == latent_page.page([backwards])


def test_a_full_size_decoder_in_float16_is_a_page_of_about_a_megabyte():
    shapes = dict(zip(SHAPES, [(2, 500), (500,), (500, 784), (784,)], strict=True))
    codes = [[0.123, -0.123, 7]] * 1000
    text = latent_page.page([plane(shapes, height=28, width=28, codes=codes)])
    assert 1.0e6 < len(text.encode()) < 1.1e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder.0.weight": (3, 5)}, r"decoder.0.weight is \(3, 5\); it must be \(2, ...\)"),
        ({"decoder.0.bias": (4,)}, r"decoder.0.bias is \(4,\); it must be \(5,\)"),
        ({"decoder.mean.weight": (4, 6)}, r"mean.weight is \(4, 6\); it must be \(5, ...\)"),
        ({"decoder.mean.weight": (5, 7), "decoder.mean.bias": (7,)}, "7 pixels; height x width"),
        ({"decoder.mean.bias": (6, 1)}, r"mean.bias is \(6, 1\)"),
        ({"decoder.0.weight": (10,)}, r"decoder.0.weight is \(10,\)"),
        ({"decoder.log_variance.weight": (5, 6)}, "weights has .* it must have"),
        ({"decoder.2.weight": (5, 5)}, "weights has .* it must have"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        latent_page.page([plane(SHAPES | change)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"likelihood": "linear"}, r"planes\[0\].likelihood is 'linear'"),
        ({"extent": [3, -3, -3, 3]}, r"planes\[0\].extent is \[3, -3, -3, 3\]"),
        ({"extent": [-3, 3]}, "it must be .z1 low"),
        ({"extent": [-3, 3, -3, float("inf")]}, "it must be .z1 low"),
        ({"codes": [[0, 0, 1]] * 1001}, "has 1001 codes; give at most 1000"),
        ({"codes": [[0, 0, 1], [0, float("nan"), 1]]}, r"planes\[0\].codes\[1\] is"),
        ({"codes": [[0, 0]]}, "it must be z1, z2 and a label"),
        ({"codes": [[0, 0, "long"]]}, "a label of at most 3 characters"),
        ({"colour": "red"}, r"planes\[0\] has .*'colour'"),
    ],
)
def test_a_mistake_in_a_plane_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        latent_page.page([plane(**change)])


def test_a_page_of_nothing_is_refused():
    with pytest.raises(UserError, match="no latent plane"):
        latent_page.page([])


def test_the_page_is_written_without_torch():
    code = "import pr12.vae.figures.latent_page, sys; print('torch' in sys.modules)"
    made = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(Path(latent_page.__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.strip() == "False"
