import { $, isPhone, make } from "./dom.js";
import { areaId, json, words } from "./data.js";

/** Wire the parts of the search that the area can answer; `page` shows a region, gives the map's bounds, the indicator, and marks what was found. */
export function wireSearch(page) {
  $("search")?.addEventListener("submit", (event) => {
    event.preventDefault();
    const q = $("q").value.trim();
    if (q) run(page, () => json(`/search${words({ q, ...narrowed(page) })}`), { q });
  });
  $("picture")?.addEventListener("change", () => {
    const file = $("picture").files[0];
    if (file) run(page, () => json(`/similar${words(narrowed(page))}`, { method: "POST", body: file }), {});
  });
}

/** Find the regions that look like one. */
export const findSimilar = (page, id) => run(page, () => json(`/similar${words({ region: id, ...narrowed(page) })}`), { like: id });

function narrowed(page) {
  const [low, high] = [$("low").value, $("high").value];
  return {
    area: areaId(),
    k: 20,
    bbox: $("in-view").checked ? page.bounds() : undefined,
    where: low || high ? [`${page.indicator()}:${low}..${high}`] : undefined,
  };
}

async function run(page, ask, state) {
  $("found-note").textContent = "Looking …";
  try {
    const answer = await ask();
    const how = answer.by === "images" ? "by what the imagery shows" : "by the words of captions";
    const count = answer.hits.length;
    $("found-note").textContent = count ? `${count} places, the best first, ${how}. ${answer.note || ""}` : `Nothing fits. ${answer.note || ""}`;
    $("found").replaceChildren(...answer.hits.map((hit, i) => item(page, hit, i)));
    if (isPhone()) $("found-note").scrollIntoView();
    page.mark(answer.hits.map((hit) => hit.row), state);
  } catch (error) {
    $("found").replaceChildren();
    $("found-note").textContent = error.message;
  }
}

function item(page, hit, i) {
  const button = make("button", { type: "button" }, make("span", { className: "quiet" }, String(i + 1)), hit.name);
  button.addEventListener("click", () => page.show(hit.row));
  const place = make("li", {}, button);
  if (hit.images.length) {
    place.append(make("div", { className: "strip" }, ...hit.images.map((url) =>
      make("img", { src: `${url}?size=160`, width: 80, height: 80, loading: "lazy", alt: `${hit.name} from above` }))));
  }
  for (const text of hit.texts.slice(0, 1)) place.append(make("p", { className: "said quiet" }, text));
  return place;
}
