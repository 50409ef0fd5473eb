import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

import report_cases
from pr12.report import index, paper
from pr12.vae.data import packed_arrays
from pr12.vae.figures import latent_page
from pr12.workflow import address, files

HOW = "no Chromium on this machine: apt-get update && apt-get install -y chromium"
SHAPES = {
    "decoder.0.weight": (2, 500),
    "decoder.0.bias": (1, 500),
    "decoder.mean.weight": (500, 784),
    "decoder.mean.bias": (1, 784),
}
# A page as wide as it gets: long numbers, names without a space, tables of many columns
METRICS = {f"test/a_quantity_of_a_long_name_{i}": [-1234.5, -1200.0, -1180.0] for i in range(9)}
CLAIM = {"says": "Test bound after 1 million samples", "where": "Fig. 2", "case": "z2"}
CLAIM |= {"metric": "test/a_quantity_of_a_long_name_0"}
CLAIMS = [
    CLAIM | {"id": "bound", "published": -1190.5, "tolerance": 2.5, "better": "up"},
    CLAIM | {"id": "least", "at_least": -9000, "reason": "none"},
    CLAIM | {"id": "later", "metric": "test/none", "at_least": 0},
]
TABLE = {
    "title": "Bounds",
    "rows": [{"case": "z2", "label": "two latents"}],
    "columns": [{"metric": key, "label": key.replace("_", " ")} for key in METRICS],
}
# A browser rounds 255 times a mean to a byte
ROUNDING = 0.5 + 1e-3


def weights(kind, shapes=SHAPES, seed=0):
    draw = np.random.default_rng(seed).normal
    values = {name: draw(size=shape) / shape[0] ** 0.5 for name, shape in shapes.items()}
    return {name: packed_arrays.pack_numbers(value, kind) for name, value in values.items()}


def plane(title, packed, height=28, width=28, labels=("",)):
    places = np.random.default_rng(1).normal(size=(1000, 2))
    codes = [[*place, labels[i % len(labels)]] for i, place in enumerate(places.tolist())]
    result = {"title": title, "height": height, "width": width, "likelihood": "bernoulli"}
    return result | {"weights": packed, "codes": codes, "extent": [-3, 3, -2, 4]}


DEEP = {
    "decoder.0.weight": (2, 30),
    "decoder.0.bias": (30,),
    "decoder.1.weight": (30, 40),
    "decoder.1.bias": (40,),
    "decoder.mean.weight": (40, 560),
    "decoder.mean.bias": (560,),
}
PLANES = [
    plane("<b>Digits</b> & '\"", weights("float16"), labels=tuple("0123456789")),
    plane("Faces", weights("float32", DEEP, seed=2), width=20),
]


def decoded(which, z):
    parameters = {
        name: packed_arrays.unpack_numbers(packed).astype(np.float64)
        for name, packed in PLANES[which]["weights"].items()
    }
    h = np.asarray(z, dtype=np.float64)
    for layer in range(len(parameters) // 2 - 1):
        h = np.tanh(h @ parameters[f"decoder.{layer}.weight"] + parameters[f"decoder.{layer}.bias"])
    a = h @ parameters["decoder.mean.weight"] + parameters["decoder.mean.bias"]
    return (1 / (1 + np.exp(-a))).reshape(-1)


@pytest.fixture(scope="module")
def chromium():
    executable = shutil.which("chromium")
    if executable is None:
        (pytest.fail if os.environ.get("PR12_BROWSER") == "required" else pytest.skip)(HOW)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with index.html, and the report of one interactive figure."""
    root = tmp_path_factory.mktemp("pages")
    figure = {"file": "latent_plane", "title": "Plane", "caption": "All images.", "alt": "A grid."}
    figure |= {"cases": ["z2"], "pictures": ["z2"], "page": "latent_plane.html"}
    drawn = root / "vae/figures"
    files.write_json(drawn / "figures.json", [figure])
    (drawn / "latent_plane.svg").write_bytes(b"<svg/>")
    Image.new("RGB", (1500, 500), "white").save(drawn / "latent_plane.png")
    (drawn / "latent_plane.html").write_text(latent_page.page(PLANES), encoding="utf-8")
    about = {"title": "AEVB", "citation": "2013", "deviations": [], "cited_for": "bound"}
    about |= {"claims": CLAIMS, "tables": [TABLE], "card": "latent_plane"}
    rows = {"z2": report_cases.row("z2", METRICS)}
    params = paper.Params("embedded", "vae", "0")
    contents = paper.compiled(params, about, ["z2"], rows, [figure], None)
    for name, value in contents.items():
        files.write_json(root / f"vae/{name}.json", value)
    (root / "timings").mkdir()
    params = json.dumps({"run": "embedded", "papers": ["vae"]})
    paths = [f"{name}={root / name}" for name in ("vae", "timings", "stamp")]
    shutil.copytree(address.SRC.parent / "papers/vae", root / "texts/vae")
    (root / "texts/vae/claims.yaml").write_text(json.dumps(CLAIMS), encoding="utf-8")
    index.main(["--params", params, f"out={root}/index.html", f"texts={root}/texts", *paths])
    return root


@pytest.fixture
def opened(chromium, folder):
    """Return a function that opens a file; all that went wrong is told at the end."""
    contexts, message, asked = [], [], []

    def open_page(name, **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.on("console", lambda m: message.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: message.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / name).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert message == []
    assert [url for url in asked if not url.startswith(("file://", "data:", "about:srcdoc"))] == []
    assert sum(url.startswith("file://") for url in asked) == len(contexts)


@pytest.fixture(params=["vae/figures/latent_plane.html", "index.html"])
def frame(request, opened):
    page = opened(request.param)
    if request.param == "index.html":
        page.locator("iframe").scroll_into_view_if_needed()
        return page.locator("iframe").element_handle().content_frame()
    return page.main_frame


def image(frame):
    return np.array(
        frame.evaluate(
            """() => {
                const canvas = document.querySelector("#image");
                const { width, height } = canvas;
                const found = canvas.getContext("2d").getImageData(0, 0, width, height).data;
                return [...found].filter((_, index) => index % 4 === 0);
            }"""
        )
    )


def place(frame):
    text = frame.locator("output").inner_text().replace("−", "-")
    return np.array([float(x) for x in text.removeprefix("z = (").removesuffix(")").split(", ")])


def point(frame, across, up):
    """Move the mouse to a place of the plane, given from 0 to 1; answer where z should be."""
    sheet = frame.locator(".plane canvas")
    box = sheet.bounding_box()
    x, y = round(across * box["width"]), round((1 - up) * box["height"])
    sheet.hover(position={"x": x, "y": y})
    low, size = np.array([-3, -2]), 6
    return low + size * np.array([x / box["width"], 1 - y / box["height"]])


def assert_shows(frame, which, z):
    assert np.abs(image(frame) - 255 * decoded(which, z)).max() < ROUNDING


def test_the_first_image_is_that_of_the_origin(frame):
    assert place(frame).tolist() == [0, 0]
    assert_shows(frame, 0, [0, 0])
    assert frame.locator("h1").text_content() == "<b>Digits</b> & '\""


def test_the_image_follows_the_mouse(frame):
    before = image(frame)
    for across, up in ((0.2, 0.7), (0.9, 0.1)):
        z = point(frame, across, up)
        np.testing.assert_allclose(place(frame), z, atol=0.02)
        shown = frame.evaluate("() => z")
        np.testing.assert_allclose(shown, z, atol=0.02)  # a pixel is 0.012
        after = image(frame)
        assert np.abs(after - before).max() > 20
        assert_shows(frame, 0, shown)
        before = after


@pytest.mark.parametrize(("which", "tolerance"), [(0, 1e-3), (1, 1e-5)])
def test_decode_is_numpys(opened, which, tolerance):
    page = opened("vae/figures/latent_plane.html")
    for z in ([0, 0], [1.5, -2.25], [-3, 4], [100, -100]):
        result = page.evaluate("([p, z1, z2]) => [...window.decode(p, z1, z2)]", [which, *z])
        np.testing.assert_allclose(result, decoded(which, z), atol=tolerance, rtol=0)


def test_a_full_size_decoder_is_decoded_in_less_than_10_ms(opened):
    page = opened("vae/figures/latent_plane.html")
    times = page.evaluate(
        """() => Array.from({ length: 30 }, (_, index) => {
            const start = performance.now();
            window.decode(0, index / 10, 1);
            return performance.now() - start;
        })"""
    )
    assert min(times) < 10  # the fastest: other tests run beside this one


def test_arrow_keys_move_and_home_goes_back(frame):
    frame.locator(".plane canvas").focus()
    for key, z in (
        ("ArrowRight", [0.12, 0]),
        ("Shift+ArrowUp", [0.12, 0.6]),
        ("ArrowDown", [0.12, 0.48]),
        ("Shift+ArrowLeft", [-0.48, 0.48]),
    ):
        frame.locator(".plane canvas").press(key)
        np.testing.assert_allclose(place(frame), z, atol=1e-9)
        assert_shows(frame, 0, z)
    frame.locator(".plane canvas").press("Home")
    assert place(frame).tolist() == [0, 0]
    for _ in range(12):
        frame.locator(".plane canvas").press("Shift+ArrowUp")
    assert place(frame).tolist() == [0, 4]  # not beyond the edge


def test_tab_reaches_the_plane_and_it_says_what_it_is(opened):
    page = opened("vae/figures/latent_plane.html")
    page.keyboard.press("Tab")
    focused = page.locator(":focus").get_attribute("aria-label")
    assert focused == "Latent plane, <b>Digits</b> & '\""
    assert page.locator("output").get_attribute("aria-live") == "polite"
    page.keyboard.press("ArrowRight")
    assert place(page).tolist() == [0.12, 0]


def test_a_finger_moves_the_cross(opened):
    page = opened("vae/figures/latent_plane.html", has_touch=True, is_mobile=True)
    box = page.locator(".plane canvas").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    np.testing.assert_allclose(place(page), [-1.5, 2.5], atol=0.03)


def test_another_plane_is_shown_by_choice(opened):
    frame = opened("vae/figures/latent_plane.html").main_frame
    frame.locator("select").select_option("Faces")
    assert frame.evaluate("[image.width, image.height]") == [20, 28]
    assert_shows(frame, 1, [0, 0])


def test_quantile_axes_give_equal_steps_of_probability(opened):
    frame = opened("vae/figures/latent_plane.html").main_frame
    frame.locator("#quantiles").check()
    point(frame, 0.75, 0.25)
    # Quantiles of N(0, 1) at 0.25 and 0.75; a pixel is 0.006 of z there
    np.testing.assert_allclose(place(frame), [0.67, -0.67], atol=0.02)
    assert_shows(frame, 0, frame.evaluate("() => z"))
    point(frame, 0.5, 0.5)
    np.testing.assert_allclose(place(frame), [0, 0], atol=0.02)
    frame.locator(".plane canvas").press("Shift+ArrowRight")
    assert abs(place(frame)[0] - 0.25) < 0.03  # the quantile at 0.5 + 0.1 x 0.99


def test_the_cross_stands_where_the_mouse_is(opened):
    frame = opened("vae/figures/latent_plane.html").main_frame
    point(frame, 0.3, 0.6)
    sheet, cross = (frame.locator(s).bounding_box() for s in (".plane canvas", ".cross"))
    result = [
        (cross[at] + cross[size] / 2 - sheet[at]) / sheet[size]
        for at, size in (("x", "width"), ("y", "height"))
    ]
    np.testing.assert_allclose(result, [0.3, 0.4], atol=0.005)


def test_codes_are_drawn_in_the_colour_of_their_class(opened):
    page = opened("vae/figures/latent_plane.html")
    colours = """() => {
        const sheet = document.querySelector(".plane canvas"), { width, height } = sheet;
        const { data } = sheet.getContext("2d").getImageData(0, 0, width, height);
        const strong = new Set();
        for (let i = 0; i < data.length; i += 4) {
            const [r, g, b] = data.slice(i, i + 3);
            if (Math.max(r, g, b) - Math.min(r, g, b) < 90) continue;
            strong.add((r > g) + 2 * (g > b) + 4 * (r > b));
        }
        return strong.size;
    }"""
    assert page.evaluate(colours) > 3
    page.locator("select").select_option("Faces")
    assert page.evaluate(colours) == 1


@pytest.mark.parametrize("width", [380, 1100])
def test_nothing_sticks_out_of_the_page_or_the_frame(opened, width):
    viewport = {"width": width, "height": 800}
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert opened("vae/figures/latent_plane.html", viewport=viewport).evaluate(fits)
    page = opened("index.html", viewport=viewport)
    inner = page.locator("iframe").element_handle().content_frame()
    assert page.evaluate(fits)
    assert inner.evaluate(fits)
    assert inner.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_a_script_whose_hash_the_policy_lacks_does_not_run_in_the_frame(chromium, folder, tmp_path):
    text = (folder / "index.html").read_text(encoding="utf-8")
    *_, digest = re.findall(r" 'sha256-[^']+'", text.partition("<title>")[0])
    (tmp_path / "index.html").write_text(text.replace(digest, ""), encoding="utf-8")
    page = chromium.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    inner = page.locator("iframe").element_handle().content_frame()
    assert inner.locator("output").count() == 1
    assert inner.evaluate("typeof window.decode") == "undefined"
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_shows_cards_claims_and_tables_without_scrolling_sideways(opened, theme):
    page = opened("index.html", viewport={"width": 390, "height": 800}, color_scheme=theme)
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
            .map((e) => `${e.tagName} ${e.textContent.slice(0, 40)}`)"""
    )
    assert wide == []
    card = page.locator(".card")
    assert card.bounding_box()["y"] < 400  # it opens the page
    assert card.locator("img").bounding_box()["width"] > 300
    card.click()
    assert page.url.endswith("#vae")


def test_the_filter_shows_what_was_not_run_and_hides_empty_groups(opened):
    page = opened("index.html")
    assert not page.locator("#vae-claim-later").is_visible()
    page.get_by_role("button", name="not run").click()
    assert page.locator("#vae-claim-later").is_visible()
    assert not page.locator("#vae-claim-bound").is_visible()
    page.get_by_role("button", name="reproduced").click()
    assert page.locator("#vae-claim-least").is_visible()
    assert not page.locator("details.not-run").is_visible()
    page.get_by_role("button", name="all").click()
    assert page.locator("#vae-claim-bound").is_visible()
    assert not page.locator("#vae-claim-later").is_visible()
