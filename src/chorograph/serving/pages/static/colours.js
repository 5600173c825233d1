// Colours that people with any colour vision tell apart: viridis, Oranges, and purple to orange about zero.
const RAMPS = {
  sequential: ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"],
  uncertain: ["#fff1e3", "#fdd3a6", "#fdae6b", "#f57f32", "#cc4c02", "#7f2704"],
  diverging: ["#542788", "#8073ac", "#c9c5e0", "#fdd0a2", "#e08214", "#a8510b"],
};

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** The colour at `share` (0 to 1) of a ramp. */
export function colourAt(ramp, share) {
  const place = Math.min(Math.max(share, 0), 1) * (ramp.length - 1);
  const below = Math.min(Math.floor(place), ramp.length - 2);
  const [a, b] = [channels(ramp[below]), channels(ramp[below + 1])];
  const mixed = a.map((value, i) => Math.round(value + (b[i] - value) * (place - below)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** The ramp of a measure. */
export const rampOf = (measure) =>
  RAMPS[measure === "residual" ? "diverging" : measure === "width" ? "uncertain" : "sequential"];

/** One colour for each of `count` classes. */
export const classColours = (ramp, count) =>
  Array.from({ length: count }, (_, i) => colourAt(ramp, count === 1 ? 0.5 : i / (count - 1)));

/** MapLibre's expression for the fill: `key` holds 0 (no value) or 1 + steps x class + place in the class. */
export function fillColour(key, ramp, classes, steps, continuous, missing) {
  const code = ["coalesce", ["get", key], 0];
  if (continuous) {
    const stops = Array.from({ length: classes + 1 }, (_, i) => [1 + steps * i, colourAt(ramp, i / classes)]).flat();
    return ["case", ["==", code, 0], missing, ["interpolate", ["linear"], code, ...stops]];
  }
  const colours = classColours(ramp, classes);
  return ["step", code, missing, ...colours.flatMap((colour, i) => [1 + steps * i, colour])];
}
