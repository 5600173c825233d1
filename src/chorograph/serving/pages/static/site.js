// Starts a published page, also from a double click: there a browser reads other files as scripts only, and no module.
(() => {
  const site = window.chorographSite;
  const CARDS = 50;
  const held = new Map();
  const loading = new Map();
  const places = new Set(site.tiles);
  const rows = new Map(site.names.ids.map((id, row) => [id, row]));

  /** Every file of the site hands over what it holds by this call. */
  site.take = (path, value) => held.set(path, value);

  /** What the file site/PATH.js holds; read once. */
  function load(path) {
    if (!loading.has(path)) {
      loading.set(path, new Promise((done, fail) => {
        const script = document.createElement("script");
        script.src = `site/${path}.js`;
        script.onload = () => { script.remove(); done(held.get(path)); held.delete(path); };
        script.onerror = () => fail(new Error(`site/${path}.js could not be read`));
        document.head.append(script);
      }));
    }
    return loading.get(path);
  }

  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const place = (source) => URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const cards = async (id) => (await load(`cards/${Math.floor(rows.get(id) / CARDS)}`))[id];

  site.json = async (path, query) => {
    if (path === ".json") return site.area;
    if (path === "/names.json") return site.names;
    const [, kind, name] = path.match(/^\/(layers|survey|regions)\/(.+)\.json$/);
    if (kind === "regions") return (await cards(decodeURIComponent(name))).card;
    const layer = await load(`layers/${decodeURIComponent(name)}`);
    return kind === "survey" ? layer.survey : layer.contents[`${query.measure}.${query.method}`];
  };
  site.values = async (key) => new Float32Array(bytes((await load(`layers/${key}`)).values).buffer);
  site.card = async (id) => (await cards(id)).html;

  site.maplibre = async () => {
    const library = await load("maplibre");
    const maplibre = await import(place(library.main));
    maplibre.setWorkerUrl(place(library.worker));
    return maplibre;
  };
  site.serveTiles = (maplibre) => maplibre.addProtocol("chorograph", async ({ url }) => {
    const path = url.slice("chorograph://".length);
    if (!places.has(path.slice(path.indexOf("/") + 1))) return { data: new ArrayBuffer(0) };
    const data = bytes(await load(`tiles/${path}`)).buffer;
    loading.delete(`tiles/${path}`);  // the map keeps what it needs
    return { data };
  });

  // Modules name each other by their addresses, so that each is placed after those that it imports.
  load("modules").then((modules) => {
    const at = {};
    for (const [name, source] of modules) {
      at[name] = place(source.replace(/from "\.\/([a-z]+\.js)"/g, (_, other) => `from "${at[other]}"`));
    }
    return import(at["map.js"]);
  });
})();
