import { make } from "./dom.js";
import { areaJson, isStatic } from "./data.js";

/** Fill the comparison of regions (their ids) into `place`. */
export async function compare(place, ids) {
  const cards = await Promise.all(ids.map((id) => areaJson(`/regions/${encodeURIComponent(id)}.json`)));
  const head = make("tr", {}, make("th", { scope: "col" }, "Indicator"), ...cards.map((card) => make("th", { scope: "col" }, card.name)));
  const rows = cards[0].indicators.map((_, i) => line(cards.map((card) => card.indicators[i])));
  const pictures = make("tr", {}, make("th", { scope: "row" }, "From above"), ...cards.map((card) => make("td", {}, strip(card))));
  const table = make("table", { className: "compare-table" }, make("thead", {}, head), make("tbody", {}, ...rows, pictures));
  const scroll = make("div", { className: "compare-scroll", tabIndex: 0 }, table);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Table of the chosen regions");
  place.replaceChildren(scroll);
}

function line(entries) {
  const apart = entries.length === 2 && entries.every((e) => e.lower != null && e.upper != null) &&
    (entries[0].upper < entries[1].lower || entries[1].upper < entries[0].lower);
  const name = make("th", { scope: "row" }, entries[0].title);
  if (apart) name.append(make("div", { className: "quiet" }, "intervals do not meet"));
  return make("tr", {}, name, ...entries.map(cell));
}

function cell(entry) {
  const place = make("td", {});
  if (entry.run) place.append(make("strong", {}, entry.texts.predicted), make("div", { className: "quiet" }, entry.texts.interval));
  if (entry.observed != null) place.append(make("div", { className: entry.run ? "quiet" : "" }, `observed ${entry.texts.observed}`));
  if (!entry.run && entry.observed == null) place.append(make("span", { className: "quiet" }, "not known"));
  if (entry.rank) place.append(make("div", { className: "quiet" }, `rank ${entry.rank} of ${entry.of}`));
  return place;
}

function strip(card) {
  const found = card.images.filter((image) => image.view === "satellite").slice(0, 6);
  return make("div", { className: "strip" }, ...found.map((image) =>
    make("img", { src: isStatic() ? image.url : `${image.url}?size=160`, width: 76, height: 76, alt: image.captions[0] || "from above" })));
}
