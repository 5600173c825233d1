"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const NS = "http://www.w3.org/2000/svg";
  const at = id => document.getElementById(id);
  const state = { indicator: 0, layer: "predicted", picked: [], hover: -1 };
  const name = row => data.regions[row][1] || data.regions[row][0];

  // Numbers as people read them: the decimals of the indicator, thousands apart, the unit behind.
  function written(value, ind, signed) {
    if (value === null || value === undefined) return "–";
    const places = Math.max(ind.decimals, 0), step = 10 ** -Math.min(ind.decimals, 0);
    const rounded = step > 1 ? Math.round(value / step) * step : value;
    const text = Math.abs(rounded).toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
    const sign = rounded < 0 && Number(text.replace(/,/g, "")) !== 0 ? "−" : signed && rounded > 0 ? "+" : "";
    return sign + text + (ind.suffix ? " " + ind.suffix : "");
  }
  function valueOf(row, ind, layer) {
    if (layer === "residual") return ind.scored[row] ? ind.predicted[row] - ind.target[row] : null;
    if (layer === "width") return ind.upper[row] === null || ind.lower[row] === null ? null : ind.upper[row] - ind.lower[row];
    return ind[layer][row];
  }
  function colour(value, layer) {
    if (value === null || Number.isNaN(value)) return "var(--none)";
    let place = 0;
    while (place < layer.breaks.length && value >= layer.breaks[place]) place += 1;
    return layer.colours[place];
  }
  const bare = ind => ({ ...ind, suffix: "" });
  const interval = (row, ind) => ind.lower[row] === null || ind.upper[row] === null ? "no interval" :
    written(ind.lower[row], bare(ind)) + " to " + written(ind.upper[row], ind);
  function rank(row, ind) {
    if (ind.predicted[row] === null) return "";
    const known = ind.predicted.filter(v => v !== null);
    return (1 + known.filter(v => v > ind.predicted[row]).length) + " of " + known.length;
  }
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === "on") for (const [event, run] of Object.entries(value)) element.addEventListener(event, run);
      else element.setAttribute(key, value);
    }
    for (const child of children) element.append(child);
    return element;
  }

  // The map: one path a region, coloured by class; what is picked or not supported is drawn over it.
  const map = at("map");
  const paths = [];
  let view = data.dense.slice(), marks = new Map();
  function show(box) { view = box.slice(); map.setAttribute("viewBox", view.join(" ")); letter(); const size = view[2] / 90; at("hatch").setAttribute("patternTransform", `rotate(45) scale(${size / 8})`); }
  // Roads, water and names: where the area has them. Names keep their size on the screen, and make way for each other.
  function drawn(d, kind) { const path = document.createElementNS(NS, "path"); path.setAttribute("d", d); path.setAttribute("class", kind); return path; }
  function around() {
    data.context.roads.forEach((d, rank) => at("roads").append(drawn(d, "r" + (rank + 1))));
    if (data.context.water) at("water").append(drawn(data.context.water, "water"));
    const box = at("around");
    if (box) box.addEventListener("change", () => { for (const id of ["roads", "water", "places"]) at(id).setAttribute("visibility", box.checked ? "visible" : "hidden"); });
  }
  function letter() {
    const unit = Math.max(view[2] / (map.clientWidth || 800), view[3] / (map.clientHeight || 500)), held = [];
    at("places").replaceChildren();
    for (const [x, y, text] of data.context.names) {
      const half = text.length * 3.6 * unit;
      if (x < view[0] || y < view[1] || x > view[0] + view[2] || y > view[1] + view[3]) continue;
      if (held.some(other => Math.abs(other.x - x) < other.half + half && Math.abs(other.y - y) < 15 * unit)) continue;
      held.push({ x, y, half });
      const element = document.createElementNS(NS, "text");
      for (const [key, value] of Object.entries({ x, y, "font-size": 12 * unit, "stroke-width": 3 * unit })) element.setAttribute(key, value);
      element.textContent = text;
      at("places").append(element);
    }
  }
  function overlay(row, kind) {
    const path = document.createElementNS(NS, "path");
    path.setAttribute("d", data.paths[row]); path.setAttribute("class", kind);
    at("over").append(path);
    return path;
  }
  function paint() {
    const ind = data.indicators[state.indicator], layer = ind.layers[state.layer];
    if (map) {
      paths.forEach((path, row) => path && path.setAttribute("fill", colour(valueOf(row, ind, state.layer), layer)));
      at("over").replaceChildren();
      marks = new Map();
      ind.supported.forEach((yes, row) => { if (!yes && data.paths[row]) overlay(row, "no"); });
      state.picked.forEach((row, place) => data.paths[row] && overlay(row, place ? "second" : "first"));
      legend(ind, layer);
    }
    at("regions-of").textContent = ind.title;
    if (at("regions-box").open) regionsTable();
  }
  function legend(ind, layer) {
    const box = at("legend");
    box.replaceChildren(make("strong", {}, ind.title), make("div", {}, ind.unit));
    const ends = layer.labels;
    layer.colours.forEach((hue, place) => {
      const text = place === 0 ? "below " + ends[0] : place === ends.length ? ends[place - 1] + " and above" : ends[place - 1] + " to " + ends[place];
      const swatch = make("i"); swatch.style.background = hue;
      box.append(make("div", {}, swatch, text));
    });
    const none = make("i"); none.style.background = "var(--none)";
    box.append(make("div", {}, none, "no value"));
    if (ind.supported.some(yes => !yes)) {
      const hatched = make("i"); hatched.style.background = "repeating-linear-gradient(45deg, transparent 0 3px, currentColor 3px 4px)";
      box.append(make("div", {}, hatched, "unlike any labelled region"));
    }
  }
  function tell(row) {
    state.hover = row;
    for (const path of document.querySelectorAll("#over .hover")) path.remove();
    if (row < 0) { at("tip").textContent = ""; return; }
    overlay(row, "hover");
    const ind = data.indicators[state.indicator];
    const value = valueOf(row, ind, state.layer);
    const said = state.layer === "predicted" ? written(value, ind) + " (" + interval(row, ind) + ")" : written(value, ind, state.layer === "residual");
    at("tip").textContent = name(row) + ": " + said + (ind.supported[row] ? "" : ", unlike any labelled region");
  }
  function pick(row, compare) {
    if (compare && state.picked.length && state.picked[0] !== row) state.picked = [state.picked[0], row];
    else state.picked = [row];
    paint(); cards();
  }
  if (map) {
    const group = at("shapes");
    data.paths.forEach((d, row) => {
      if (!d) { paths.push(null); return; }
      const path = document.createElementNS(NS, "path");
      path.setAttribute("d", d); path.dataset.row = row;
      group.append(path); paths.push(path);
    });
    around();
    show(data.dense);
    map.addEventListener("pointermove", event => { const row = event.target.dataset && event.target.dataset.row; if (row !== undefined && Number(row) !== state.hover) tell(Number(row)); });
    map.addEventListener("pointerleave", () => tell(-1));
    let drag = null;
    map.addEventListener("pointerdown", event => { drag = { x: event.clientX, y: event.clientY, view: view.slice(), moved: false, row: event.target.dataset ? event.target.dataset.row : undefined }; map.setPointerCapture(event.pointerId); });
    map.addEventListener("pointermove", event => {
      if (!drag) return;
      const scale = Math.max(view[2] / map.clientWidth, view[3] / map.clientHeight);
      const dx = (event.clientX - drag.x) * scale, dy = (event.clientY - drag.y) * scale;
      if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 4) drag.moved = true;
      if (drag.moved) show([drag.view[0] - dx, drag.view[1] - dy, drag.view[2], drag.view[3]]);
    });
    map.addEventListener("pointerup", event => { if (drag && !drag.moved && drag.row !== undefined) pick(Number(drag.row), event.shiftKey); drag = null; });
    const zoom = factor => show([view[0] + view[2] * (1 - factor) / 2, view[1] + view[3] * (1 - factor) / 2, view[2] * factor, view[3] * factor]);
    map.addEventListener("wheel", event => { if (event.ctrlKey) { event.preventDefault(); zoom(event.deltaY > 0 ? 1.25 : 0.8); } }, { passive: false });
    at("in").addEventListener("click", () => zoom(0.7)); at("out").addEventListener("click", () => zoom(1 / 0.7));
    at("dense").addEventListener("click", () => show(data.dense)); at("full").addEventListener("click", () => show(data.full));
    const centre = row => { const box = paths[row].getBBox(); return [box.x + box.width / 2, box.y + box.height / 2]; };
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    map.addEventListener("keydown", event => {
      if (event.key === "+" || event.key === "-") { zoom(event.key === "+" ? 0.7 : 1 / 0.7); return; }
      if (event.key === "Enter" && state.hover >= 0) { pick(state.hover, event.shiftKey); return; }
      if (event.key === "Escape") { state.picked = []; paint(); cards(); return; }
      const way = ways[event.key];
      if (!way) return;
      event.preventDefault();
      const rows = paths.map((path, row) => path ? row : -1).filter(row => row >= 0);
      if (state.hover < 0) { tell(rows[0]); return; }
      const [x, y] = centre(state.hover);
      let best = -1, least = Infinity;
      for (const row of rows) {
        const [a, b] = centre(row), along = (a - x) * way[0] + (b - y) * way[1], aside = Math.abs((a - x) * way[1]) + Math.abs((b - y) * way[0]);
        if (row !== state.hover && along > 0 && along + 2 * aside < least) { least = along + 2 * aside; best = row; }
      }
      if (best >= 0) tell(best);
    });
  }

  function tilesOf(row, box) {
    data.tiles[row].forEach((uri, number) => box.append(make("img", { src: uri, alt: "Satellite tile " + (number + 1) + " of " + name(row), width: 88, height: 88 })));
    return box;
  }
  for (const box of document.querySelectorAll(".tiles[data-row]")) tilesOf(Number(box.dataset.row), box);

  // Cards: what is known of a region, and of a second one beside it.
  function card(row, place) {
    const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Indicator"), make("th", { scope: "col" }, "Truth"), make("th", { scope: "col" }, "Predicted"), make("th", { scope: "col" }, "Rank"))));
    const body = make("tbody");
    data.indicators.forEach(ind => {
      const plain = bare(ind);
      const predicted = make("td", {}, written(ind.predicted[row], plain), make("small", {}, interval(row, plain) + (ind.supported[row] ? "" : "; unlike any labelled region")));
      body.append(make("tr", {}, make("td", {}, ind.title, make("small", {}, ind.unit)), make("td", {}, ind.target[row] === null ? "not known" : written(ind.target[row], plain)), predicted, make("td", {}, rank(row, ind))));
    });
    table.append(body);
    const tiles = tilesOf(row, make("div", { class: "tiles" }));
    const said = make("div", { class: "said" });
    data.said[row].forEach(([text, origin]) => said.append(make("p", {}, text + " ", make("small", {}, "from " + origin))));
    const near = make("p", { class: "muted" }, "Nearest: ");
    data.neighbours[row].forEach((other, number) => { if (number) near.append(", "); near.append(make("a", { href: "#map-title", on: { click: () => pick(other, false) } }, name(other))); });
    const close = make("button", { type: "button", on: { click: () => { state.picked.splice(place, 1); paint(); cards(); } } }, "Close");
    return make("div", { class: "card " + (place ? "second" : "first") }, make("div", { class: "row" }, make("h3", {}, name(row), make("small", {}, data.regions[row][1] ? data.regions[row][0] : "")), close), tiles, said, table, near);
  }
  function cards() {
    const box = at("cards");
    box.replaceChildren(...state.picked.map(card));
    if (state.picked.length === 1) {
      const input = make("input", { list: "names", placeholder: "name or id", "aria-label": "Compare with a second region" });
      input.addEventListener("change", () => { const row = found(input.value); if (row >= 0) pick(row, true); });
      box.append(make("div", { class: "card" }, make("h3", {}, "Compare with a second region"), make("p", { class: "muted" }, "Shift and click it on the map, or name it: "), input));
    }
  }
  function found(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return -1;
    const labels = data.regions.map((region, row) => [region[0].toLowerCase(), region[1].toLowerCase(), label(row).toLowerCase()]);
    const exact = labels.findIndex(words => words.includes(wanted));
    return exact >= 0 ? exact : labels.findIndex(words => words.some(word => word.includes(wanted)));
  }
  const label = row => data.regions[row][1] ? data.regions[row][1] + " (" + data.regions[row][0] + ")" : data.regions[row][0];
  data.regions.forEach((_, row) => at("names").append(make("option", { value: label(row) })));
  at("find").addEventListener("change", () => { const row = found(at("find").value); if (row >= 0) pick(row, false); });

  at("indicator").addEventListener("change", event => { state.indicator = Number(event.target.value); paint(); if (state.hover >= 0) tell(state.hover); });
  at("layer").addEventListener("change", event => { state.layer = event.target.value; paint(); });
  for (const button of document.querySelectorAll("button.show")) button.addEventListener("click", () => { state.indicator = Number(button.dataset.number); at("indicator").value = button.dataset.number; paint(); at("map-title").scrollIntoView(); });

  // Tables: sorted by a click on a head; downloads hold what the page holds.
  function sortable(table) {
    table.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
      const head = button.parentElement, up = head.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("th").forEach(other => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = line => { const text = line.cells[column].dataset.value, number = Number(text); return text === "" ? -Infinity : Number.isNaN(number) ? text : number; };
      const lines = [...table.tBodies[0].rows].sort((a, b) => { const x = key(a), y = key(b); return (typeof x === typeof y ? (x > y) - (x < y) : typeof x === "number" ? -1 : 1) * (up ? 1 : -1); });
      table.tBodies[0].append(...lines);
    }));
  }
  function regionsTable() {
    const ind = data.indicators[state.indicator], table = at("regions");
    const heads = ["Region", "Truth", "Predicted", "Lower", "Upper", "Rank"];
    table.tHead.replaceChildren(make("tr", {}, ...heads.map(text => make("th", { scope: "col", "aria-sort": "none" }, make("button", { type: "button" }, text)))));
    const cell = (value, text) => make("td", { "data-value": value === null ? "" : value }, text);
    table.tBodies[0].replaceChildren(...data.regions.map((region, row) => make("tr", {},
      cell(name(row), make("a", { href: "#map-title", on: { click: () => pick(row, false) } }, label(row))), cell(ind.target[row], written(ind.target[row], ind)),
      cell(ind.predicted[row], written(ind.predicted[row], ind)), cell(ind.lower[row], written(ind.lower[row], ind)), cell(ind.upper[row], written(ind.upper[row], ind)),
      cell(rank(row, ind).split(" ")[0], rank(row, ind)))));
    sortable(table);
  }
  at("regions-box").addEventListener("toggle", () => { if (at("regions-box").open) regionsTable(); });
  sortable(at("scores"));
  function save(file, lines) {
    const quoted = lines.map(line => line.map(value => { const text = value === null || value === undefined ? "" : String(value); return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text; }).join(","));
    const link = make("a", { href: URL.createObjectURL(new Blob([quoted.join("\r\n") + "\r\n"], { type: "text/csv" })), download: file });
    link.click(); URL.revokeObjectURL(link.href);
  }
  at("regions-csv").addEventListener("click", () => save("regions.csv", [["region_id", "name", "indicator", "unit", "truth", "predicted", "lower", "upper", "supported"],
    ...data.indicators.flatMap(ind => data.regions.map((region, row) => [region[0], region[1], ind.key, ind.unit, ind.target[row], ind.predicted[row], ind.lower[row], ind.upper[row], ind.supported[row]]))]));
  at("scores-csv").addEventListener("click", () => save("scores.csv", [...at("scores").rows].map(line => [...line.cells].map(cell => cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent.trim()))));

  // Predicted against truth, drawn when its section is opened.
  function parity(svg) {
    const ind = data.indicators[Number(svg.dataset.number)], scale = ind.log ? Math.log : value => value;
    const rows = data.regions.map((_, row) => row).filter(row => ind.scored[row] && (!ind.log || (ind.target[row] > 0 && ind.predicted[row] > 0)));
    if (!rows.length || svg.childElementCount) return;
    const all = rows.flatMap(row => [scale(ind.target[row]), scale(ind.predicted[row])]), low = Math.min(...all), high = Math.max(...all), span = high - low || 1;
    const x = value => 60 + 380 * (value - low) / span, y = value => 350 - 330 * (value - low) / span;
    const draw = (tag, attributes, text) => { const element = document.createElementNS(NS, tag); for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value); if (text) element.textContent = text; svg.append(element); };
    draw("rect", { x: 60, y: 20, width: 380, height: 330, fill: "none", stroke: "var(--line)" });
    draw("line", { x1: x(low), y1: y(low), x2: x(high), y2: y(high), stroke: "var(--ink)", "stroke-dasharray": "5 4" });
    const step = Math.ceil(rows.length / 2000); // more dots cover each other, and a browser waits for them
    rows.filter((_, number) => number % step === 0).forEach(row => {
      const inside = ind.lower[row] <= ind.target[row] && ind.target[row] <= ind.upper[row], hue = inside ? "var(--accent)" : "#d9480f", across = x(scale(ind.target[row]));
      const ends = [ind.lower[row], ind.upper[row]].map(end => ind.log && !(end > 0) ? low : scale(end)).map(end => Math.min(Math.max(end, low), high));
      if (ind.lower[row] !== null) draw("line", { x1: across, x2: across, y1: y(ends[0]), y2: y(ends[1]), stroke: hue, "stroke-opacity": 0.25 });
      draw("circle", { cx: across, cy: y(scale(ind.predicted[row])), r: 3, fill: hue, "fill-opacity": 0.75 });
    });
    const back = ind.log ? Math.exp : value => value;
    for (const share of [0, 0.5, 1]) {
      const value = low + share * span, text = written(back(value), bare(ind));
      draw("text", { x: x(value), y: 368, "text-anchor": share === 1 ? "end" : share ? "middle" : "start" }, text);
      draw("text", { x: 54, y: y(value) + 4, "text-anchor": "end" }, text);
    }
    draw("text", { x: 250, y: 390, "text-anchor": "middle" }, "truth, " + ind.unit);
    draw("text", { x: 60, y: 13 }, "predicted; orange: truth outside the interval" + (step > 1 ? "; 1 in " + step + " drawn" : ""));
  }
  const folds = [...document.querySelectorAll(".indicator details")];
  const drawOpened = () => folds.filter(fold => fold.open).forEach(fold => fold.querySelectorAll("svg.parity").forEach(parity));
  folds.forEach(fold => fold.addEventListener("toggle", drawOpened));
  addEventListener("beforeprint", () => { folds.forEach(fold => { fold.open = true; }); drawOpened(); });
  drawOpened(); // a section that is open from the start has told so before anybody listened

  paint();
  document.documentElement.dataset.ready = "true";
})();
