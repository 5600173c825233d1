import { classColours, colourAt, rampOf } from "./colours.js";
import { draw, make, write } from "./dom.js";

export const MISSING = { light: "#c9ccce", dark: "#555c61" };

const swatch = (colour) => draw("svg", { width: 22, height: 14, "aria-hidden": "true" }, draw("rect", { width: 22, height: 14, rx: 2, fill: colour }));

function hatched() {
  const lines = [-8, 0, 8, 16].map((x) => draw("line", { x1: x, y1: 14, x2: x + 14, y2: 0, stroke: "currentColor", "stroke-width": 1.2 }));
  return draw("svg", { width: 22, height: 14, "aria-hidden": "true" }, ...lines);
}

/** Draw the legend of a layer into `place`. */
export function drawLegend(place, layer, continuous, theme) {
  const { classes, texts, short_unit: unit, measure, title } = layer;
  const ramp = rampOf(measure);
  const what = { observed: "observed", predicted: "predicted", width: `width of the ${percent(layer.level)} interval`, residual: "observed less predicted" };
  const head = make("p", { className: "quiet" }, `${title}, ${what[measure]}${unit ? `, in ${unit}` : ""}`);
  const rows = continuous ? [scale(ramp, texts)] : classRows(ramp, classes, texts);
  const list = make("ul", { className: "legend" }, ...rows);
  if (classes.missing) list.append(row(swatch(MISSING[theme]), "no value", classes.missing));
  if (layer.unsupported && measure !== "observed") list.append(row(hatched(), "unlike any training region", layer.unsupported));
  place.replaceChildren(head, list);
}

const percent = (level) => (level ? `${Math.round(100 * level)} %` : "");
const row = (mark, text, count) =>
  make("li", {}, mark, make("span", {}, text), make("span", { className: "count", title: "regions" }, count === undefined ? "" : write(count, 0)));

function classRows(ramp, classes, texts) {
  const colours = classColours(ramp, classes.counts.length);
  const last = colours.length - 1;
  const label = (i) => {
    if (i === 0 && classes.lowest < classes.edges[0]) return `below ${texts[1]}`;
    if (i === last && classes.highest > classes.edges[last + 1]) return `${texts[last]} and more`;
    return `${texts[i]} to ${texts[i + 1]}`;
  };
  return colours.map((colour, i) => row(swatch(colour), label(i), classes.counts[i])).reverse();
}

function scale(ramp, texts) {
  const stops = Array.from({ length: 11 }, (_, i) => draw("stop", { offset: `${10 * i}%`, "stop-color": colourAt(ramp, i / 10) }));
  const gradient = draw("linearGradient", { id: "scale" }, ...stops);
  const last = texts.length - 1;
  const marks = [0, Math.round(last / 2), last].map((i, n) =>
    draw("text", { x: (280 * i) / last, y: 32, "text-anchor": ["start", "middle", "end"][n], fill: "currentColor", "font-size": 12 }, texts[i]),
  );
  const picture = draw("svg", { viewBox: "0 0 280 36", width: 280, role: "img", "aria-label": `from ${texts[0]} to ${texts[last]}` },
    draw("defs", {}, gradient), draw("rect", { width: 280, height: 16, rx: 2, fill: "url(#scale)" }), ...marks);
  return make("li", {}, picture);
}
