"""Style and frame of the page that `predict_page` writes, as Jinja templates.

They stand in a module, not in a file beside it, so that an installed package has them.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --ink: #1d2125; --soft: #565d66; --line: #d9dcdf; --bad: #a92b00;
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181b; --ink: #e6e8ea; --soft: #a6adb5; --line: #3a4047; --bad: #ff9d76; }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.4rem; margin: 0 0 .4rem; }
h2 { font-size: 1.1rem; margin: 1.6rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0; }
p { margin: 0 0 .5rem; max-width: 52rem; }
.soft { color: var(--soft); font-size: .875rem; }
.warning { border-left: 4px solid var(--bad); padding-left: .6rem; }
.flag {
  border: 1px solid var(--bad); border-radius: 4px; color: var(--bad); font-size: .8rem;
  font-weight: 600; padding: 0 .35rem; white-space: nowrap;
}
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(21rem, 1fr)); }
article { border: 1px solid var(--line); border-radius: 6px; padding: .7rem; }
article.flagged { border-color: var(--bad); }
header { display: flex; justify-content: space-between; gap: .5rem; align-items: baseline; }
figure { margin: .5rem 0; }
figure img { display: block; margin: auto; max-width: 100%; background: #000; }
figcaption { text-align: center; }
table {
  border-collapse: collapse; width: 100%; margin-bottom: .4rem; font-variant-numeric: tabular-nums;
}
th, td { text-align: left; padding: .15rem .4rem .15rem 0; vertical-align: top; }
thead th { color: var(--soft); font-size: .8rem; font-weight: 400; white-space: nowrap; }
td.number { white-space: nowrap; }
tr.low td.number strong { color: var(--bad); }
.swatch {
  display: inline-block; width: .7em; height: .7em; margin-right: .35em; border-radius: 2px;
}
svg { display: block; margin-top: .25rem; }
svg .track { stroke: var(--line); stroke-width: 3; }
svg .threshold { stroke: var(--soft); stroke-dasharray: 3 2; }
svg .interval { stroke: var(--ink); stroke-width: 2; }
svg circle { fill: var(--ink); }
.unused td:first-child { min-width: 9rem; }
.unused td { border-top: 1px solid var(--line); padding: .3rem .8rem .3rem 0; }
details img { max-width: 100%; background: #fff; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Predicted Dice of {{ cards | length }} segmentations</title>
<style>{{ style }}</style>
</head>
<body>
<h1>Predicted Dice of {{ cards | length }} segmentations, worst first</h1>
<p>{{ summary }}</p>
{% for text in warnings %}<p class="warning">Warning: {{ text }}.</p>
{% endfor -%}
<p class="soft">{{ calibration }} {{ method }}</p>
<details><summary>All predictions in one plot</summary>
<p><img src="{{ plot }}" alt="Predicted Dice of the cases, worst first, with intervals"></p>
</details>
<h2>Cases</h2>
<main>
{% for card in cards %}
<article{% if card.flagged %} class="flagged"{% endif %}>
<header><h3>{{ card.name }}</h3>{% if card.flagged %}<span class="flag">⚑ flagged</span>{% endif -%}
</header>
<figure><img src="{{ card.picture }}" alt="Contours of the segmentation on the image">
{%- if card.place %}<figcaption class="soft">{{ card.place }}</figcaption>{% endif %}</figure>
<table>
<thead><tr><th>Structure</th><th>Dice</th><th>{{ interval }}</th><th></th></tr></thead>
<tbody>
{% for row in card.rows %}
<tr{% if row.flagged %} class="low"{% endif %}>
<td><span class="swatch" style="background: {{ row.colour }}"></span>{{ row.structure }}</td>
<td class="number"><strong>{{ row.predicted }}</strong>{% if row.flagged %} ⚑{% endif %}</td>
<td class="number">{{ row.interval }}</td>
<td>{% if row.at is not none %}<svg width="104" height="14" viewBox="-2 -7 104 14"
 aria-hidden="true"><path class="track" d="M0 0H100"/>
<path class="threshold" d="M{{ threshold }} -7V7"/>
{%- if row.low is not none %}<path class="interval" d="M{{ row.low }} 0H{{ row.high }}"/>
{%- endif -%}
<circle cx="{{ row.at }}" r="3.5"/></svg>{% endif %}</td>
</tr>
{% endfor %}
</tbody></table>
{% for note in card.notes %}<p class="soft">{{ note }}</p>
{% endfor -%}
</article>
{% endfor %}
</main>
{% if unused %}
<h2>What could not be used</h2>
<table class="unused">
<thead><tr><th>Case</th><th>Why</th></tr></thead>
<tbody>
{% for own in unused %}<tr><td>{{ own.case or "–" }}</td><td>{{ own.note }}</td></tr>
{% endfor %}
</tbody></table>
{% endif %}
</body>
</html>
"""
