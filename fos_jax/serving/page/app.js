// The page: what is open, what is kept, and what each part does to the others.

import { byId } from "/page/shared/dom.js";
import { Api } from "./api.js";
import { Atlas } from "./atlas.js";
import { choiceJson, Composites, save } from "./composites.js";
import { askKey, showDownloads, showKeys } from "./dialogs.js";
import { flipped, layerBar, layerList, nameOf, reordered } from "./layers.js";
import { hush, say, tell } from "./notice.js";
import { Opening } from "./opening.js";
import { setKeyed, setVersion } from "./pictures.js";
import { Places } from "./places.js";
import { inWords, scaledBy, whole } from "./placing.js";
import { Results } from "./results.js";
import { Search } from "./search.js";
import { Stage } from "./stage.js";
import { drawWelcome } from "./welcome.js";
import { Why } from "./why.js";
import { clickWord } from "./words.js";
import { newName, Work } from "./work.js";

const STRENGTH = { harmonise: 0.5, shadow: 0.5 };

const api = new Api((text) => (text ? tell(text, { kind: "wait", lasts_ms: 0 }) : hush()));
const work = new Work((state, previous) => changed(state, previous));
const page = { gallery: null, record: null, selected: "" };

const stage = new Stage(api, {
  box: (box, { isNew = false, isKey = false }) => letGo(box, isNew, isKey),
  layer: (key, box, isKey) => (work.changeLayer(key, { box }, { merge: isKey ? `move ${key}` : "" }), isKey && sayPlace(box)),
  select: (key) => select(key),
  tooSmall: () => tell("That rectangle is too small: draw it at least 8 px wide and high."),
  key: (event, key) => (key ? layerKey(event, key) : rectangleKey(event)),
});
const results = new Results(byId("results"), {
  preview: (hit) => preview(hit),
  keep: (hit, isAnother) => keep(hit, isAnother),
  similar: (hit) => search.similar(hit),
  why: (subject) => showWhy(subject),
  all: (group, list, button) => search.all(page.record, group, list, button),
  more: () => search.more(page.record),
  relax: () => search.relax(),
});
const search = new Search(api, work, results, { failed, shown: () => markKept() });
const why = new Why(byId("why"), api, { choose: (subject) => showWhy(subject) });
const places = new Places(api);
const composites = new Composites(api, (bitmap) => stage.setRendered(bitmap));
const atlas = new Atlas(byId("atlas"), api, { keep: (foreground) => keepFromAtlas(foreground), canKeep: () => Boolean(page.record) });
const opening = new Opening(work, () => page.gallery, { failed });

function failed(error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) return askKey((key) => (api.setKey(key), boot()));
  const again = { label: "Try again", run: () => (page.gallery ? search.again(page.record) : boot()) };
  tell(error.message, { kind: "bad", lasts_ms: 0, action: error.status === undefined || error.status === 400 ? null : again });
}

// ---- what follows from a change --------------------------------------------------------------------------------------

let turn = 0;
async function changed(state, previous) {
  const own = ++turn;
  let isOpened = false;
  byId("undo").disabled = !work.canUndo;
  byId("redo").disabled = !work.canRedo;
  byId("download").disabled = !state.layers.length;
  if (!state.layers.some(({ key }) => key === page.selected)) page.selected = "";
  if (state.photo?.key !== previous.photo?.key) {
    page.record = null;
    stage.setPhotograph(null);
    const record = await opening.recordOf(state.photo);
    if (own !== turn) return;
    page.record = record;
    if (record) {
      showView("photograph");
      stage.setPhotograph(record.proxy, record.width, record.height, record.name);
      isOpened = true;
      if (!record.picture) api.upload(record).then(() => opening.remember(record), failed);
    }
  }
  draw();
  search.update(page.record);
  if (isOpened && (document.activeElement === document.body || document.activeElement.closest("#welcome"))) stage.focus();
}

function draw() {
  const state = work.now;
  const selected = state.layers.find(({ key }) => key === page.selected);
  stage.update({ box: state.box, layers: state.layers, selected: page.selected });
  const focused = document.activeElement?.closest?.("#layers, #layerbar") ? document.activeElement : null;
  const bar = byId("layerbar");
  bar.hidden = !selected;
  // A slider that is held must not be drawn anew.
  if (selected && !(focused?.type === "range" && bar.dataset.layer === selected.key)) bar.replaceChildren(...layerBar(selected, onLayer));
  bar.dataset.layer = page.selected;
  byId("layers").hidden = !state.layers.length;
  byId("layers").replaceChildren(...layerList(state.layers, page.selected, onLayer));
  refocus(focused);
  byId("hint").textContent = hint(state, selected);
  markKept();
  composites.schedule(page.record, state.layers, stage.proxy && Math.max(stage.proxy.width, stage.proxy.height));
}

function refocus(focused) {
  if (!focused || focused.checkVisibility()) return;
  const label = focused.getAttribute("aria-label");
  const like = focused.id ? byId(focused.id) : [...document.querySelectorAll("#layers button, #layerbar button")].find((node) => node.getAttribute("aria-label") === label && node.className === focused.className);
  (like && !like.disabled && like.checkVisibility() ? like : byId("panel")).focus();
}

function hint(state, selected) {
  if (!state.photo) return "";
  if (selected) return "Drag to move, corners to scale. Draw a new rectangle to add another.";
  if (!state.box) return `Draw a rectangle where something is to stand${clickWord === "tap" ? "" : " (Ctrl Enter sets one)"}.`;
  const isKept = state.layers.some(({ slot }) => slot === state.slot);
  return isKept ? "Another result takes the kept one's place. Draw a new rectangle to add one." : `Look through the results; a ${clickWord} keeps one.`;
}

function markKept() {
  results.mark(new Set(work.now.layers.filter(({ slot }) => slot === work.now.slot).map(({ foreground }) => foreground)));
}

// ---- rectangle --------------------------------------------------------------------------------------------------------

let typing = 0;
function letGo(box, isNew, isKey) {
  clearTimeout(typing);
  const patch = { box, ...(isNew || !work.now.slot ? { slot: newName() } : {}) };
  if (isNew) page.selected = "";
  if (!isKey) {
    performance.mark("fos:letgo");
    return work.change(patch);
  }
  // Keys come in bursts: the search waits for the end of one.
  stage.update({ box, layers: work.now.layers, selected: page.selected });
  typing = setTimeout(() => (performance.mark("fos:letgo"), work.change(patch, { merge: "keys" })), 180);
  sayPlace(box);
  return undefined;
}

// After a burst of keys, not during it.
let silent = 0;
function sayPlace(box) {
  clearTimeout(silent);
  silent = setTimeout(() => say(`${inWords(box)}.`), 150);
}

function rectangleKey({ key }) {
  if (!work.now.box) return key === "Enter" && (goToRectangle(), true);
  if (key === "Enter") (results.root.querySelector('.hit[tabindex="0"]') ?? byId("panel")).focus();
  else if (key === "Delete" || key === "Backspace") (work.change({ box: null, slot: "" }), stage.focus());
  else return false;
  return true;
}

function goToRectangle() {
  if (!page.record) return opening.choose();
  const { width, height } = page.record;
  if (!work.now.box) letGo(whole([width * 0.35, height * 0.4, width * 0.65, height * 0.8]), true, false);
  select("");
  return stage.rectangle.node.focus();
}

// ---- foregrounds ------------------------------------------------------------------------------------------------------

const pixelsOf = (hit) => [hit.width_px, hit.height_px];

async function preview(hit) {
  const { box, slot } = work.now;
  if (!hit || !box || !page.record) return stage.preview(null);
  const item = { id: hit.id, isMirrored: Boolean(hit.is_mirrored), slot, box: places.guess(page.record, box, hit, pixelsOf(hit)) };
  stage.preview(item);
  const place = await places.read(page.record, box, hit, pixelsOf(hit));
  if (stage.shown === item) stage.preview({ ...item, box: place });
  return undefined;
}

async function keep(hit, isAnother = false) {
  const { box, slot, layers } = work.now;
  const { record } = page;
  const facts = (({ id, category, pattern, attributes, description, licence, source_id, width_px, height_px }) => ({ foreground: id, category, pattern, attributes, description, licence, source_id, width_px, height_px }))(hit);
  const old = isAnother ? null : layers.find((layer) => layer.slot === slot);
  const layer = { ...STRENGTH, ...(old && { harmonise: old.harmonise, shadow: old.shadow }), ...facts, key: newName(), slot: isAnother ? newName() : slot, mirrored: Boolean(hit.is_mirrored), box: places.guess(record, box, hit, pixelsOf(hit)) };
  page.selected = layer.key;
  stage.preview(null);
  const merge = `keep ${layer.key}`;
  work.change({ layers: old ? layers.map((one) => (one === old ? layer : one)) : [...layers, layer] }, { merge });
  say(`Kept ${nameOf(layer)}${old ? `, in place of ${old.foreground}` : ""}.`);
  const place = await places.read(record, box, hit, pixelsOf(hit));
  const now = work.now.layers.find(({ key }) => key === layer.key);
  if (now?.box === layer.box && String(place) !== String(layer.box)) work.changeLayer(layer.key, { box: place }, { merge });
}

function keepFromAtlas(foreground) {
  showView("photograph");
  if (!work.now.box) goToRectangle();
  keep({ ...foreground, attributes: foreground.attributes ?? {}, is_mirrored: false });
  stage.frame.node.focus();
}

const undo = () => work.canUndo && (work.undo(), say(`Undone: ${stateInWords(work.now)}`));
const redo = () => work.canRedo && (work.redo(), say(`Done again: ${stateInWords(work.now)}`));

function stateInWords({ photo, box, layers }) {
  if (!photo) return "no photograph.";
  const kept = layers.map((layer) => `${nameOf(layer)}, ${inWords(layer.box)}`).join("; ");
  return `${box ? `rectangle ${inWords(box)}` : "no rectangle"}; ${kept ? `kept: ${kept}` : "nothing kept"}.`;
}

function select(key) {
  page.selected = key;
  draw();
}

const onLayer = {
  select: (key) => select(key),
  done: () => (select(""), stage.focus()),
  mirror: (key) => {
    work.changeLayer(key, flipped(layerOf(key)));
    say(`${layerOf(key).mirrored ? "Mirrored" : "Not mirrored"}: ${nameOf(layerOf(key))}.`);
  },
  strength: (key, name, value) => work.changeLayer(key, { [name]: value }, { merge: `${name} ${key}` }),
  reorder: (key, by) => {
    work.change({ layers: reordered(work.now.layers, key, by) });
    say(`${nameOf(layerOf(key))}: ${work.now.layers.length - work.now.layers.indexOf(layerOf(key))} of ${work.now.layers.length} from the front.`);
  },
  remove: (key) => {
    const { foreground } = layerOf(key);
    work.change({ layers: work.now.layers.filter((layer) => layer.key !== key) });
    say(`Removed ${foreground}.`);
  },
};

const layerOf = (key) => work.now.layers.find((layer) => layer.key === key);

function layerKey({ key }, name) {
  const scale = { "+": 1.04, "=": 1.04, "-": 1 / 1.04 }[key];
  if (scale) (work.changeLayer(name, { box: scaledBy(layerOf(name).box, scale) }, { merge: `scale ${name}` }), sayPlace(layerOf(name).box));
  else if (key === "m") onLayer.mirror(name);
  else if (key === "[" || key === "]") onLayer.reorder(name, key === "]" ? 1 : -1);
  else if (key === "Delete" || key === "Backspace") (onLayer.remove(name), stage.focus());
  else if (key === "Escape" || key === "Enter") onLayer.done();
  else return false;
  return true;
}

// ---- panels and views -------------------------------------------------------------------------------------------------

function showTab(name) {
  for (const tab of ["results", "why"]) {
    byId(tab).hidden = tab !== name;
    byId(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
    byId(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
  }
  byId("detail").hidden = name === "why";
}

async function showWhy(subject) {
  showTab("why");
  byId("why").focus();
  if (!page.record || !work.now.box) return why.clear("Draw a rectangle first: then this says why its results came.");
  try {
    await why.show(page.record, work.now, subject, search.values);
  } catch (error) {
    if (error.name !== "AbortError") why.clear(error.message);
  }
  return undefined;
}

function openWhy() {
  const kept = work.now.layers.find(({ slot }) => slot === work.now.slot);
  const best = search.found?.groups[0];
  return showWhy(kept ? { foreground: kept.foreground, pattern: kept.pattern } : { pattern: best?.id ?? -1 });
}

async function showView(name) {
  const isAtlas = name === "atlas";
  for (const view of ["photograph", "atlas"]) byId(`view-${view}`).setAttribute("aria-current", String(view === name));
  atlas.show(isAtlas);
  if (!isAtlas) return stage.fit();
  return atlas.open(page.gallery, work.now.category).catch(failed);
}

function download() {
  const { record } = page;
  const { layers } = work.now;
  if (!record || !layers.length) return tell("Keep a foreground first: then there is something to download.");
  const picture = (id, name, note, what) => ({ id, name, note, run: () => composites.download(record, layers, what).catch(failed) });
  const size = `${record.width} × ${record.height} px`;
  return showDownloads([
    picture("save-png", "Photograph with the foregrounds, PNG", `${size}; elsewhere every pixel is the photograph's`, { output: "composite", format: "png" }),
    picture("save-jpeg", "The same as JPEG", `${size}; smaller`, { output: "composite", format: "jpeg" }),
    picture("save-layer", "The foregrounds alone, PNG", `${size}, transparent elsewhere, for your editor`, { output: "layer", format: "png" }),
    { id: "save-json", name: "The choice, JSON", note: "query, foregrounds, places, licences", run: () => save(new Blob([JSON.stringify(choiceJson(record, work.now, page.gallery), null, 1)], { type: "application/json" }), "choice.json") },
  ]);
}

// ---- beginning --------------------------------------------------------------------------------------------------------

const click = (id, run) => byId(id).addEventListener("click", run);
click("open", () => opening.choose());
click("camera", () => opening.shoot());
click("undo", undo);
click("redo", redo);
click("download", download);
click("help", showKeys);
click("tab-results", () => showTab("results"));
click("tab-why", openWhy);
click("view-photograph", () => showView("photograph"));
click("view-atlas", () => showView("atlas"));
click("theme", () => {
  const { dataset } = document.documentElement;
  dataset.theme = dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("fos.theme", dataset.theme);
});
byId("tabs").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  const isWhy = byId("why").hidden;
  if (isWhy) openWhy().then(() => byId("tab-why").focus());
  else showTab("results");
  byId(isWhy ? "tab-why" : "tab-results").focus();
});
results.root.addEventListener("keydown", (event) => event.key === "Escape" && stage.focus());
addEventListener("keydown", (event) => {
  if (byId("dialog").open) return;
  const isCommand = event.ctrlKey || event.metaKey;
  const run = isCommand
    ? { z: event.shiftKey ? redo : undo, y: redo, o: () => opening.choose(), s: download, Enter: goToRectangle }[event.key.length > 1 ? event.key : event.key.toLowerCase()]
    : event.key === "?" && !event.target.matches("input, select, textarea") ? showKeys : null;
  if (!run) return;
  event.preventDefault();
  run();
});

async function boot() {
  try {
    page.gallery = search.gallery = await api.get("/api/gallery");
  } catch (error) {
    return failed(error);
  }
  setVersion(page.gallery.version);
  if (api.key) setKeyed(api);
  drawWelcome(page.gallery, { open: () => opening.choose(), shoot: () => opening.shoot(), example: (example) => opening.example(api, example) });
  work.restore();
  if (!page.gallery.categories.some(({ name }) => name === work.now.category)) {
    const [first] = page.gallery.categories;
    if (!first) return tell("This gallery is empty: add foregrounds (fos gallery add), then reload.", { kind: "bad", lasts_ms: 0 });
    work.states[work.at] = Object.freeze({ ...work.now, category: first.name });
  }
  return changed(work.now, { photo: null });
}

boot();
