// Where the page's data comes from: the server, or what a published site brings along (window.chorographSite).
const site = () => window.chorographSite;

export const isStatic = () => Boolean(site());
export const areaId = () => (isStatic() ? site().area.id : location.pathname.split("/")[2]);

/** JSON at an address below the area. */
export async function areaJson(path, query = {}) {
  if (isStatic()) return site().json(path, query);
  return json(`/areas/${encodeURIComponent(areaId())}${path}${words(query)}`);
}

/** JSON at any address of the server; an Error with the server's own words otherwise. */
export async function json(address, options) {
  const answer = await fetch(address, options);
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.detail || `the server answered ${answer.status}`);
  return content;
}

/** The six rows of numbers of an indicator, and how many regions there are. */
export async function values(key, run) {
  if (isStatic()) return site().values(key);
  const answer = await fetch(`/areas/${encodeURIComponent(areaId())}/layers/${encodeURIComponent(key)}/values${words({ run })}`);
  if (!answer.ok) throw new Error(`the numbers of ${key} could not be read`);
  return new Float32Array(await answer.arrayBuffer());
}

/** The inside of a region's card, as HTML that the server escaped. */
export async function cardInside(id) {
  if (isStatic()) return site().card(id);
  const answer = await fetch(`/areas/${encodeURIComponent(areaId())}/regions/${encodeURIComponent(id)}?fragment=true`);
  if (!answer.ok) throw new Error("the card could not be read");
  return answer.text();
}

/** Where the map finds its tiles, and which property holds the class. */
export function tiles(layer, measure, run, method) {
  if (isStatic()) return { url: `chorograph://${layer}/{z}/{x}/{y}`, key: `${measure}.${method}`, unsupported: "u" };
  const query = words({ layer, measure, run, method });
  const path = `/collections/${encodeURIComponent(areaId())}/tiles/WebMercatorQuad/{z}/{y}/{x}`;
  return { url: `${location.origin}${path}${query}`, key: "v", unsupported: "u" };
}

export function words(query) {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || value === null || value === "" ? [] : [value].flat().map((one) => [name, one]),
  );
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}
