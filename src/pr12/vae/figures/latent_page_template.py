"""Style, script and frame of the page that `latent_page` writes, as Jinja templates.

They stand in a module, not in files beside it, so that the address of the figures covers them.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --ink: #1d2125; --soft: #565d66; --line: #d9dcdf; --link: #0b57a4;
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181b; --ink: #e6e8ea; --soft: #a6adb5; --line: #3a4047; --link: #8ec1f5; }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 54rem; padding: .75rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.4 system-ui, sans-serif;
}
h1 { font-size: 1.2rem; line-height: 1.2; margin: 0 0 .6rem; overflow-wrap: anywhere; }
p { margin: 0 0 .6rem; }
.soft { color: var(--soft); font-size: .875rem; }
main {
  display: grid; gap: .75rem 1.5rem; align-items: start;
  grid-template: "plane head" auto "plane image" auto "plane text" 1fr
    / minmax(0, 7fr) minmax(0, 4fr);
}
.head { grid-area: head; }
.text { grid-area: text; }
.plane { grid-area: plane; position: relative; aspect-ratio: 1; }
/* Figures are drawn on white; in the dark they keep it as their sheet. */
.plane canvas {
  display: block; width: 100%; height: 100%; background: #fff; border: 1px solid var(--line);
  border-radius: 4px; cursor: crosshair; touch-action: none;
}
canvas:focus-visible, input:focus-visible, select:focus-visible {
  outline: 2px solid var(--link); outline-offset: 2px;
}
.cross { position: absolute; width: 23px; height: 23px; margin: -11.5px; pointer-events: none; }
.cross path { stroke: #fff; stroke-width: 5; }
.cross path + path { stroke: #000; stroke-width: 2; }
#image {
  grid-area: image; display: block; width: 100%; max-height: 22rem; object-fit: contain;
  object-position: left top; image-rendering: pixelated;
}
output { font-variant-numeric: tabular-nums; white-space: nowrap; }
fieldset { border: 0; margin: 0; padding: 0; }
legend { padding: 0; }
label { display: flex; gap: .4rem; align-items: baseline; padding: .3rem 0; }
select { font: inherit; max-width: 100%; margin-bottom: .6rem; }
@media (max-width: 36rem) {
  main {
    gap: .75rem;
    grid-template: "image head" auto "plane plane" auto "text text" auto / 8rem minmax(0, 1fr);
  }
  #image { max-height: 11rem; }
  .head { align-self: center; }
}
"""

SCRIPT = """
"use strict";
const planes = {{ planes | tojson }};
const COLOURS = ["#0072b2", "#d55e00", "#00805c", "#000000", "#c2498f",
  "#777777", "#8a5a00", "#6a3fb5", "#6b7a00", "#b3002d"];
const MARGIN = 0.005;  // of the prior's probability, beyond each edge of the quantile axes
const find = (selector) => document.querySelector(selector);
const sheet = find(".plane canvas"), cross = find(".cross"), image = find("#image");
const place = find("output"), chooser = find("select"), quantiles = find("#quantiles");
let current = 0, z = [0, 0];

// The decoder: tanh layers, then a sigmoid; numbers are little-endian, as on every browser.
const buffer = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer;
const half = (bits) => {
  const exponent = (bits >> 10) & 31, fraction = (bits & 1023) / 1024;
  const size = exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction;
  return bits >> 15 ? -size : size;
};
const numbers = ({ type, data }) => type === "float32"
  ? new Float32Array(buffer(data))
  : Float32Array.from(new Uint16Array(buffer(data)), half);
const layers = planes.map((plane) => plane.layers.map(
  ({ weight, bias }) => ({ weight: numbers(weight), bias: numbers(bias) })));
const sigmoid = (a) => 1 / (1 + Math.exp(-a));

window.decode = (plane, z1, z2) => layers[plane].reduce((h, { weight, bias }, index, all) => {
  const a = Float64Array.from(bias);
  let at = 0;
  for (const value of h) for (let j = 0; j < a.length; j++) a[j] += value * weight[at++];
  return a.map(index < all.length - 1 ? Math.tanh : sigmoid);
}, Float64Array.of(z1, z2));

// Axes: a coordinate and its place, 0 to 1 from left to right or from bottom to top.
function probability(x) {  // standard normal distribution function, by Simpson's rule
  const steps = 64, width = Math.min(Math.abs(x), 8) / steps;
  let sum = 0;
  for (let i = 0; i <= steps; i++) {
    sum += (i % steps ? 2 + 2 * (i % 2) : 1) * Math.exp(-((i * width) ** 2) / 2);
  }
  return 0.5 + Math.sign(x) * (sum * width) / 3 / Math.sqrt(2 * Math.PI);
}
function quantile(p) {
  let low = -8, high = 8;
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (probability(middle) < p) low = middle; else high = middle;
  }
  return (low + high) / 2;
}
const share = (x, axis) => {
  if (quantiles.checked) return (probability(x) - MARGIN) / (1 - 2 * MARGIN);
  const [low, high] = planes[current].extent.slice(2 * axis);
  return (x - low) / (high - low);
};
const coordinate = (part, axis) => {
  const inside = Math.min(Math.max(part, 0), 1);
  if (quantiles.checked) return quantile(MARGIN + inside * (1 - 2 * MARGIN));
  const [low, high] = planes[current].extent.slice(2 * axis);
  return low + inside * (high - low);
};

function ticks(axis) {
  if (quantiles.checked) return [-2, -1, 0, 1, 2];
  const [low, high] = planes[current].extent.slice(2 * axis);
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].find((s) => (high - low) / s <= 8) ?? 100;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 },
    (_, index) => Number(((first + index) * step).toFixed(1)));
}
function drawPlane() {
  const { codes } = planes[current], side = sheet.clientWidth, scale = devicePixelRatio || 1;
  sheet.width = sheet.height = Math.round(side * scale);
  const pen = sheet.getContext("2d");
  pen.scale(scale, scale);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const across = (x) => share(x, 0) * side, up = (y) => (1 - share(y, 1)) * side;
  pen.fillStyle = "#e3e5e8";
  for (const x of ticks(0)) pen.fillRect(Math.round(across(x)), 0, 1, side);
  for (const y of ticks(1)) pen.fillRect(0, Math.round(up(y)), side, 1);
  const labels = [...new Set(codes.map((code) => code[2]))].sort();
  pen.textAlign = "center";
  pen.globalAlpha = 0.7;
  for (const [x, y, label] of codes) {
    pen.fillStyle = COLOURS[labels.indexOf(label) % COLOURS.length];
    if (labels.length > 1) pen.fillText(label, across(x), up(y));
    else pen.fillRect(across(x) - 1.5, up(y) - 1.5, 3, 3);
  }
  pen.globalAlpha = 1;
  pen.strokeStyle = "#ffffff";
  pen.lineWidth = 4;
  pen.fillStyle = "#333333";
  const write = (text, x, y) => { pen.strokeText(text, x, y); pen.fillText(text, x, y); };
  const sign = (value) => String(value).replace("-", "\u2212");
  for (const x of ticks(0)) {
    if (across(x) > 36 && across(x) < side - 36) write(sign(x), across(x), side - 10);
  }
  pen.textAlign = "left";
  for (const y of ticks(1)) if (up(y) > 28 && up(y) < side - 24) write(sign(y), 5, up(y));
  pen.font = "italic 13px system-ui, sans-serif";
  write("z\u2082", 5, 12);
  pen.textAlign = "right";
  write("z\u2081", side - 6, side - 10);
}

function drawImage() {
  const { width, height } = planes[current], shown = new ImageData(width, height);
  window.decode(current, ...z).forEach((value, index) => {
    shown.data.fill(255 * value, 4 * index, 4 * index + 3);
    shown.data[4 * index + 3] = 255;
  });
  image.getContext("2d").putImageData(shown, 0, 0);
  cross.style.left = `${100 * share(z[0], 0)}%`;
  cross.style.top = `${100 * (1 - share(z[1], 1))}%`;
  place.textContent = `z = (${z.map((x) => x.toFixed(2).replace("-", "\u2212")).join(", ")})`;
}
function show() {
  const { title, width, height, likelihood } = planes[current];
  find("h1").textContent = title;
  find("#likelihood").textContent = likelihood;
  sheet.setAttribute("aria-label", `Latent plane, ${title}`);
  [image.width, image.height] = [width, height];
  drawPlane();
  drawImage();
}
function move(across, up) {  // places from 0 to 1
  z = [coordinate(across, 0), coordinate(up, 1)];
  drawImage();
}

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
sheet.addEventListener("keydown", (event) => {
  if (event.key === "Home") {
    z = [0, 0];
    drawImage();
  } else if (event.key in KEYS) {
    const step = event.shiftKey ? 0.1 : 0.02;
    move(...KEYS[event.key].map((way, axis) => share(z[axis], axis) + way * step));
  } else return;
  event.preventDefault();
});
const follow = (event) => {
  const { left, top, width, height } = sheet.getBoundingClientRect();
  move((event.clientX - left) / width, 1 - (event.clientY - top) / height);
};
sheet.addEventListener("pointermove", follow);
sheet.addEventListener("pointerdown", follow);
for (const [index, { title }] of planes.entries()) chooser.add(new Option(title, index));
chooser.hidden = planes.length < 2;
find("h1").hidden = !chooser.hidden;
chooser.addEventListener("change", () => { current = Number(chooser.value); z = [0, 0]; show(); });
for (const axes of document.querySelectorAll("input")) {
  axes.addEventListener("change", () => {
    move(share(z[0], 0), share(z[1], 1));  // into the axes' range
    drawPlane();
  });
}
new ResizeObserver(drawPlane).observe(sheet);
show();
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
style-src 'unsafe-inline'; script-src 'sha256-{{ digest }}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<div class="plane">
<canvas tabindex="0" role="application" aria-describedby="help place"></canvas>
<svg class="cross" viewBox="0 0 23 23" aria-hidden="true">\
<path d="M11.5 0V23M0 11.5H23"/><path d="M11.5 1V22M1 11.5H22"/></svg>
</div>
<div class="head">
<h1>{{ title }}</h1>
<select aria-label="Data"></select>
<output id="place" aria-live="polite"></output>
</div>
<canvas id="image" role="img" aria-label="Decoded image" aria-describedby="place"></canvas>
<div class="text">
<p class="soft" id="help">Move over the plane, or focus it and use the arrow keys (with Shift: \
larger steps; Home: the origin). The image is the mean of p(x|z), a <span id="likelihood"></span> \
decoder that runs in this page; the marks or class labels behind \
the cross are posterior means of test data.</p>
<fieldset class="soft">
<legend>Axes</legend>
<label><input type="radio" name="axes" checked> linear in z</label>
<label><input type="radio" name="axes" id="quantiles"> linear in the prior's probability \
(as in Figure 4)</label>
</fieldset>
<noscript><p>This page needs JavaScript.</p></noscript>
</div>
</main>
<script>{{ script }}</script>
</body>
</html>
"""
