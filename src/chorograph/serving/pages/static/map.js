// The map of an area: what is shown stands in the address, so that a link gives the same view again.
import { fillColour, rampOf } from "./colours.js";
import { compare } from "./compare.js";
import { areaId, areaJson, cardInside, isStatic, json, tiles, values, words } from "./data.js";
import { $, isPhone, make, write } from "./dom.js";
import { drawLegend, MISSING } from "./legend.js";
import { findSimilar, wireSearch } from "./search.js";

const MEASURES = { observed: "Observed", predicted: "Predicted", width: "Interval width", residual: "Residual" };
const ROWS = { observed: 0, predicted: 1, lower: 2, upper: 3, residual: 4, supported: 5 };
const MOST_LISTED = 60;
const MOST_COMPARED = 4;
const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => (dark.matches ? "dark" : "light");
const ground = () => (dark.matches ? { map: "#22282c", line: "#0d1113", chosen: "#ffffff", found: "#ff6ec7" } : { map: "#eceeee", line: "#ffffff", chosen: "#111111", found: "#c2007a" });

let area, names, map, maplibre;
let layer = null;
let numbers = new Float32Array();
let drawn = 0;
const view = readView();

start().catch((error) => { $("status").textContent = error.message; $("legend").textContent = error.message; });

async function start() {
  [area, names] = await Promise.all([areaJson(".json"), areaJson("/names.json")]);
  if (!area.indicators.length) throw new Error("This area has no indicator and no prediction to map.");
  names.row = new Map(names.ids.map((id, row) => [id, row]));
  wirePanel();
  if (!isStatic()) wireSearch(page);
  await makeMap();
  await showLayer();
  for (const id of view.chosen) if (names.row.has(id)) chosen.add(names.row.get(id));
  drawChosen();
  if (view.region && names.row.has(view.region)) await showRegion(names.row.get(view.region), false);
  if (view.q && $("q")) { $("q").value = view.q; $("search").requestSubmit(); }
  else if (view.like && $("like")) findSimilar(page, view.like);
  window.chorographReady = true;
}

// ---- the address ----

function readView() {
  const query = new URLSearchParams(location.search);
  const place = (query.get("at") || "").split(",").map(Number);
  return {
    indicator: query.get("indicator"), measure: query.get("measure"), run: query.get("run"), method: query.get("method") || "quantile",
    imagery: query.get("imagery") === "1", region: query.get("region"), chosen: query.getAll("with"), q: query.get("q"), like: query.get("like"),
    at: place.length === 3 && place.every(Number.isFinite) ? place : null,
  };
}

function writeView() {
  const query = new URLSearchParams();
  for (const name of ["indicator", "measure", "run", "region", "q", "like"]) if (view[name]) query.set(name, view[name]);
  if (view.method !== "quantile") query.set("method", view.method);
  if (view.imagery) query.set("imagery", "1");
  for (const row of chosen) query.append("with", names.ids[row]);
  if (map) {
    const { lng, lat } = map.getCenter();
    query.set("at", [lng.toFixed(5), lat.toFixed(5), map.getZoom().toFixed(2)].join(","));
  }
  try { history.replaceState(null, "", `?${query}`); } catch { /* a page opened from a file in some browsers */ }
}

// ---- the map ----

async function makeMap() {
  try {
    maplibre = await (isStatic() ? window.chorographSite.maplibre() : import("/maplibre/maplibre-gl.mjs"));
    if (isStatic()) window.chorographSite.serveTiles(maplibre);
    const start = view.at ? { center: [view.at[0], view.at[1]], zoom: view.at[2] } : { bounds: area.bounds || [-180, -60, 180, 70], fitBoundsOptions: { padding: 24 } };
    map = new maplibre.Map({
      container: "map", style: { version: 8, sources: {}, layers: [{ id: "ground", type: "background", paint: { "background-color": ground().map } }] },
      attributionControl: false, dragRotate: false, pitchWithRotate: false, maxZoom: 19, fadeDuration: 0, ...start,
    });
  } catch (error) {
    $("map").textContent = `The map cannot be drawn here (${error.message}); everything else works.`;
    map = null;
    return;
  }
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibre.NavigationControl({ showCompass: false }));
  map.addControl(new maplibre.ScaleControl());
  map.getCanvas().setAttribute("aria-label", "Map; Enter opens the region in the middle");
  await new Promise((done) => map.once("load", done));
  addHatch();
  if (area.imagery && !isStatic()) addImagery();
  wireMap();
  dark.addEventListener("change", () => { map.setPaintProperty("ground", "background-color", ground().map); showLayer(); });
}

/** The pattern for what a model has seen nothing like: drawn, as a strict content policy allows no data of other kinds. */
function addHatch() {
  const side = 12;
  const data = new Uint8Array(side * side * 4);
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
    if ((x + y) % 6 === 0) data.set([20, 20, 20, 150], 4 * (y * side + x));
    if ((x + y) % 6 === 1) data.set([255, 255, 255, 150], 4 * (y * side + x));
  }
  map.addImage("hatch", { width: side, height: side, data });
}

function addImagery() {
  map.addSource("imagery", {
    type: "raster", tiles: [`${location.origin}/areas/${encodeURIComponent(areaId())}/imagery/{z}/{x}/{y}`], tileSize: 256,
    minzoom: area.imagery.minzoom, maxzoom: area.imagery.maxzoom, bounds: area.bounds,
  });
  map.addLayer({ id: "imagery", type: "raster", source: "imagery", layout: { visibility: view.imagery ? "visible" : "none" } });
}

function drawLayer(continuous) {
  const source = tiles(layer.id, layer.measure, layer.run, continuous ? "equal" : view.method);
  const colours = ground();
  for (const id of ["fill", "unlike", "line", "found", "chosen", "hover"]) if (map.getLayer(id)) map.removeLayer(id);
  if (map.getSource("regions")) map.removeSource("regions");
  map.addSource("regions", { type: "vector", tiles: [source.url], maxzoom: area.maxzoom ?? 14, bounds: area.bounds });
  const base = { source: "regions", "source-layer": "regions" };
  const { classes } = layer;
  const fill = fillColour(source.key, rampOf(layer.measure), classes.counts.length, classes.steps, continuous, MISSING[theme()]);
  map.addLayer({ id: "fill", type: "fill", ...base, paint: { "fill-color": fill, "fill-opacity": opacity(), "fill-antialias": false } });
  map.addLayer({ id: "unlike", type: "fill", ...base, filter: ["==", ["get", source.unsupported], 1], layout: { visibility: layer.measure === "observed" ? "none" : "visible" }, paint: { "fill-pattern": "hatch", "fill-opacity": 0.8 } });
  map.addLayer({ id: "line", type: "line", ...base, paint: { "line-color": colours.line, "line-width": ["interpolate", ["linear"], ["zoom"], 6, 0.2, 12, 0.8], "line-opacity": 0.7 } });
  map.addLayer({ id: "found", type: "line", ...base, paint: { "line-color": colours.found, "line-width": ["case", ["boolean", ["feature-state", "found"], false], 2.5, 0] } });
  map.addLayer({ id: "chosen", type: "line", ...base, paint: { "line-color": colours.chosen, "line-width": ["case", ["boolean", ["feature-state", "chosen"], false], 3, 0] } });
  map.addLayer({ id: "hover", type: "line", ...base, paint: { "line-color": colours.chosen, "line-width": ["case", ["boolean", ["feature-state", "hover"], false], 1.5, 0] } });
  for (const row of found) setState(row, { found: true });
  markChosen();
}

const opacity = () => (view.imagery ? 0.55 : 0.92);
const setState = (row, state) => map && map.getSource("regions") && map.setFeatureState({ source: "regions", sourceLayer: "regions", id: row }, state);

let hovered = null;
function wireMap() {
  map.on("mousemove", (event) => {
    const hit = at(event.point);
    if (hovered !== null && hovered !== hit) setState(hovered, { hover: false });
    hovered = hit;
    map.getCanvas().style.cursor = hit === null ? "" : "pointer";
    if (hit === null) { $("tip").hidden = true; return; }
    setState(hit, { hover: true });
    showTip(hit, event.point);
  });
  map.on("mouseout", () => { $("tip").hidden = true; if (hovered !== null) setState(hovered, { hover: false }); hovered = null; });
  map.on("click", (event) => {
    const hit = at(event.point);
    if (hit === null) return;
    if (event.originalEvent.shiftKey || event.originalEvent.ctrlKey || event.originalEvent.metaKey) toggleChosen(hit);
    else showRegion(hit, false);
  });
  map.on("moveend", writeView);
  map.getCanvas().addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const hit = at(map.project(map.getCenter()));
    if (hit !== null) showRegion(hit, true);
  });
}

function at(point) {
  if (!map.getLayer("fill")) return null;
  const hits = map.queryRenderedFeatures(point, { layers: ["fill"] });
  return hits.length ? hits[0].id : null;
}

function showTip(row, point) {
  const tip = $("tip");
  tip.replaceChildren(make("strong", {}, names.names[row]), ...tipLines(row).map((line) => make("div", {}, line)));
  tip.hidden = false;
  const box = $("map-place").getBoundingClientRect();
  const left = point.x + 14 + tip.offsetWidth > box.width ? point.x - tip.offsetWidth - 10 : point.x + 14;
  const top = point.y + 14 + tip.offsetHeight > box.height ? point.y - tip.offsetHeight - 10 : point.y + 14;
  tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

function tipLines(row) {
  const lines = [];
  const [observed, predicted, lower, upper] = ["observed", "predicted", "lower", "upper"].map((name) => valueAt(name, row));
  if (Number.isFinite(predicted)) lines.push(`${text(predicted)} predicted${Number.isFinite(lower) ? ` (${number(lower)} to ${number(upper)})` : ""}`);
  lines.push(Number.isFinite(observed) ? `${text(observed)} observed` : "not observed");
  if (layer.measure === "residual" && Number.isFinite(valueAt("residual", row))) lines.push(`residual ${text(valueAt("residual", row))}`);
  if (Number.isFinite(predicted) && valueAt("supported", row) === 0) lines.push("unlike any training region");
  return lines;
}

// ---- what is shown ----

const valueAt = (name, row) => numbers[ROWS[name] * names.ids.length + row];
const shownValue = (row) => (layer.measure === "width" ? valueAt("upper", row) - valueAt("lower", row) : valueAt(layer.measure, row));
const number = (value) => write(value, layer.decimals);
const text = (value) => `${number(value)}${layer.short_unit ? ` ${layer.short_unit}` : ""}`;

async function showLayer() {
  const turn = ++drawn;
  const indicator = area.indicators.find((one) => one.id === view.indicator) || area.indicators.find((one) => one.runs.length) || area.indicators[0];
  view.indicator = indicator.id;
  if (!indicator.runs.some((run) => run.name === view.run)) view.run = null;
  if (!indicator.measures.includes(view.measure)) view.measure = indicator.measures.includes("predicted") ? "predicted" : indicator.measures[0];
  const continuous = view.method === "continuous";
  const query = { measure: view.measure, run: view.run, method: continuous ? "equal" : view.method };
  const [content, rows] = await Promise.all([areaJson(`/layers/${encodeURIComponent(indicator.id)}.json`, query), values(indicator.id, view.run)]);
  if (turn !== drawn) return;
  layer = content;
  numbers = rows;
  fillPanel(indicator);
  drawLegend($("legend"), layer, continuous, theme());
  if (map) drawLayer(continuous);
  listRegions();
  listSurvey();
  writeView();
  $("status").textContent = `The map shows ${layer.title}, ${MEASURES[layer.measure].toLowerCase()}.`;
}

function fillPanel(indicator) {
  $("indicator").value = indicator.id;
  $("method").value = view.method;
  const legend = make("legend", {}, "Value");
  const radios = indicator.measures.map((measure) => {
    const input = make("input", { type: "radio", name: "measure", value: measure, checked: measure === view.measure });
    input.addEventListener("change", () => { view.measure = measure; showLayer(); });
    return make("label", {}, input, MEASURES[measure]);
  });
  const held = document.activeElement?.name === "measure";
  $("measures").replaceChildren(legend, ...radios);
  if (held) $("measures").querySelector("input:checked").focus();
  $("runs-field").hidden = indicator.runs.length < 2;
  $("run").replaceChildren(...indicator.runs.map((run) => make("option", { value: run.name, selected: run.name === layer.run }, run.r2 === null ? run.name : `${run.name} (R² ${write(run.r2, 2)})`)));
  if ($("range-name")) $("range-name").textContent = indicator.title;
}

function wirePanel() {
  $("indicator").addEventListener("change", () => { view.indicator = $("indicator").value; view.run = null; showLayer(); });
  $("run").addEventListener("change", () => { view.run = $("run").value; showLayer(); });
  $("method").addEventListener("change", () => { view.method = $("method").value; showLayer(); });
  $("imagery")?.addEventListener("change", () => {
    view.imagery = $("imagery").checked;
    map.setLayoutProperty("imagery", "visibility", view.imagery ? "visible" : "none");
    map.setPaintProperty("fill", "fill-opacity", opacity());
    writeView();
  });
  if ($("imagery")) $("imagery").checked = view.imagery;
  $("area")?.addEventListener("change", () => { location.href = `/areas/${encodeURIComponent($("area").value)}`; });
  $("name").addEventListener("input", listRegions);
  $("close").addEventListener("click", closeCard);
  $("pin").addEventListener("click", () => toggleChosen(names.row.get(view.region)));
  $("like")?.addEventListener("click", () => findSimilar(page, view.region));
  $("close-compare").addEventListener("click", () => $("compare").close());
  $("card-inside").addEventListener("click", (event) => {
    const link = event.target.closest("a[data-region]");
    if (link && !event.ctrlKey && !event.metaKey) { event.preventDefault(); showRegion(Number(link.dataset.region), true); }
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !$("card").hidden && !$("compare").open) closeCard(); });
}

function listRegions() {
  const wanted = $("name").value.trim().toLowerCase();
  let rows = [...names.ids.keys()];
  if (wanted) rows = rows.filter((row) => names.names[row].toLowerCase().includes(wanted) || names.ids[row].toLowerCase().includes(wanted));
  rows.sort((a, b) => (shownValue(b) || -Infinity) - (shownValue(a) || -Infinity) || a - b);
  const items = rows.slice(0, MOST_LISTED).map((row) => regionItem(row, Number.isFinite(shownValue(row)) ? number(shownValue(row)) : "no value"));
  if (rows.length > MOST_LISTED) items.push(make("li", { className: "quiet" }, `and ${write(rows.length - MOST_LISTED, 0)} more; type a name to find one`));
  $("regions").replaceChildren(...items);
}

function regionItem(row, said) {
  const button = make("button", { type: "button" }, make("span", {}, names.names[row]), make("span", { className: "value" }, said));
  button.addEventListener("click", () => showRegion(row, true));
  return make("li", {}, button);
}

async function listSurvey() {
  $("survey-section").hidden = true;
  if (!layer.run) return;
  const content = await areaJson(`/survey/${encodeURIComponent(layer.id)}.json`, { run: layer.run });
  if (!content.regions.length || content.indicator !== layer.id) return;
  $("survey").replaceChildren(...content.regions.map((region) => regionItem(region.row, region.reason)));
  $("survey-section").hidden = false;
}

// ---- one region, several regions, what was found ----

async function showRegion(row, move) {
  const before = view.region;
  view.region = names.ids[row];
  $("card-inside").innerHTML = await cardInside(view.region);
  offerHeatMap();
  $("card").hidden = false;
  $("card").scrollTop = 0;
  $("pin").textContent = chosen.has(row) ? "Take out of compare" : "Add to compare";
  if (map) {
    map.resize();
    if (before && names.row.has(before)) setState(names.row.get(before), { chosen: chosen.has(names.row.get(before)) });
    markChosen();
    if (move) moveTo(await areaJson(`/regions/${encodeURIComponent(view.region)}.json`));
  }
  if (move) {
    $("card").focus({ preventScroll: true });
    // On a phone the card lies below the map: its name is what should be seen first.
    if (isPhone()) $("card").scrollIntoView({ behavior: "instant" });
  }
  $("status").textContent = `${names.names[row]} is open.`;
  writeView();
}

/** After a search by what the imagery shows, the card tells where in the region the words fit best, if asked. */
function offerHeatMap() {
  if (!view.q || isStatic() || area.search.words !== "images") return;
  const said = make("p", { className: "quiet" }, "Looking …");
  const picture = make("img", { className: "heat", alt: `The imagery of the region, brighter colours where “${view.q}” fits better`, hidden: true });
  const place = make("details", { id: "heat" }, make("summary", {}, `Where “${view.q}” fits best`), said, picture);
  const query = words({ area: area.id, region: view.region, q: view.q });
  place.addEventListener("toggle", async () => {
    if (!place.open || picture.src) return;
    try {
      const { similarity, note, side_by_side: apart } = await json(`/heatmap.json${query}`);
      picture.src = `/heatmap${query}`;
      picture.hidden = false;
      said.textContent = note || `Red fits best, blue least, within this region; similarity from ${write(similarity.lowest)} to ${write(similarity.highest)}.${apart ? " Tiles that lie apart stand side by side." : ""}`;
    } catch (error) { said.textContent = error.message; }
  });
  $("card-inside").querySelector("header").after(place);
}

function moveTo(card) {
  if (!card.bounds) return;
  const box = map.getBounds();
  const [west, south, east, north] = card.bounds;
  if (west < box.getWest() || east > box.getEast() || south < box.getSouth() || north > box.getNorth()) {
    map.easeTo({ center: card.centre, zoom: Math.min(map.getZoom(), map.cameraForBounds([west, south, east, north], { padding: 40 })?.zoom ?? map.getZoom()) });
  }
}

function closeCard() {
  const row = names.row.get(view.region);
  view.region = null;
  $("card").hidden = true;
  if (map) { map.resize(); setState(row, { chosen: chosen.has(row) }); map.getCanvas().focus(); }
  writeView();
}

const chosen = new Set();
function toggleChosen(row) {
  if (chosen.has(row)) chosen.delete(row);
  else if (chosen.size < MOST_COMPARED) chosen.add(row);
  setState(row, { chosen: chosen.has(row) || names.ids[row] === view.region });
  $("pin").textContent = chosen.has(names.row.get(view.region)) ? "Take out of compare" : "Add to compare";
  drawChosen();
  writeView();
}

function markChosen() {
  for (const row of chosen) setState(row, { chosen: true });
  if (view.region && names.row.has(view.region)) setState(names.row.get(view.region), { chosen: true });
}

function drawChosen() {
  const place = $("chosen");
  place.hidden = chosen.size === 0;
  const buttons = [...chosen].map((row) => {
    const button = make("button", { type: "button", title: "take out" }, `${names.names[row]} ×`);
    button.addEventListener("click", () => toggleChosen(row));
    return button;
  });
  if (chosen.size > 1) {
    const open = make("button", { type: "button", className: "main", id: "open-compare" }, `Compare ${chosen.size}`);
    open.addEventListener("click", async () => { await compare($("compare-inside"), [...chosen].map((row) => names.ids[row])); $("compare").showModal(); });
    buttons.push(open);
  } else if (chosen.size === 1) buttons.push(make("span", { className: "badge" }, "choose another to compare"));
  place.replaceChildren(...buttons);
}

let found = [];
const page = {
  show: (row) => showRegion(row, true),
  indicator: () => view.indicator,
  bounds: () => { if (!map) return undefined; const b = map.getBounds(); return [b.getWest(), b.getSouth(), b.getEast(), b.getNorth()].map((edge) => edge.toFixed(6)).join(","); },
  mark: (rows, state) => {
    for (const row of found) setState(row, { found: false });
    found = rows;
    for (const row of found) setState(row, { found: true });
    Object.assign(view, { q: null, like: null }, state);
    writeView();
  },
};
