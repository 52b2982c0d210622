// The page: which category, view and group are open, and what each key does to them.

import { Api, Refusal } from "./api.js";
import { askText, pick, showKeys } from "./dialogs.js";
import { Grid } from "./grid.js";
import { HINTS, KEYS } from "./keys.js";
import { bar, byId, el, hideNotice, notify } from "./shared/dom.js";
import { agreementSheet, disagreementSheet, groupName, historySheet } from "./sheets.js";
import { setFingerprint, thumbnail } from "./thumbnails.js";

const VIEWS = ["groups", "spread", "disagreements", "agreement", "history"];
const LOOK_EVERY_MS = 4000;
const MOST_PROPOSED = 60; // one Enter accepts no more than can be looked at

const api = new Api((text) => (text ? notify(text, "bad", 0) : hideNotice()));
const grid = new Grid(byId("grid"), () => drawHead());
const page = { view: "groups", category: "", groups: [], open: null, batches: [], batch: 0, revisions: {}, queue: null, at: 0, session: null, revision: 0 };

// ---- reading -------------------------------------------------------------------------------------------------------

async function refresh({ keep = false } = {}) {
  page.session = await api.get("/api/session");
  page.revision = page.session.revision;
  setFingerprint(page.session.fingerprint);
  if (!page.session.progress[page.category]) page.category = Object.keys(page.session.progress)[0];
  page.groups = (await api.get("/api/groups", { category: page.category })).groups;
  drawHeader();
  await { groups: readGroup, spread: readSpread }[page.view]?.(keep);
  const sheet = { disagreements: readQueue, agreement: readAgreement, history: readHistory }[page.view];
  byId("sheet").hidden = !sheet;
  byId("grid").hidden = byId("head").hidden = Boolean(sheet);
  document.querySelector("main").classList.toggle("wide", Boolean(sheet));
  byId("sheet").replaceChildren(...(sheet ? await sheet() : []));
  byId("hints").replaceChildren(
    ...HINTS[page.view].map(([keys, what]) => el("span", {}, keys.split(" ").map((key) => el("kbd", {}, key)), ` ${what}`)),
  );
}

async function readGroup(keep) {
  const stillThere = page.groups.some((entry) => entry.group === page.open?.group);
  const group = stillThere ? page.open.group : (page.groups.find(isOpen) || page.groups[0]).group;
  page.open = await api.get(`/api/groups/${group}`);
  drawList(page.groups.map((entry) => [entry.group, entry, groupName(entry.group, entry), groupNote(entry)]), group, (g) => openGroup(g));
  grid.show(
    page.open.members.map(([cutout, mine, others, disputed]) => ({
      cutout,
      badge: disputed ? "≠" : mine ? "✓" : others ? "•" : "",
      kind: disputed ? "disputed" : mine ? "mine" : "others",
      title: `cut-out ${cutout}: ${disputed ? "in dispute" : mine ? "you judged it" : others ? "judged by others" : "not judged yet"}`,
    })),
    { keep: keep && stillThere },
  );
  drawHead();
}

async function readSpread(keep) {
  const found = await api.get("/api/suggestions", { category: page.category }).catch((error) => {
    if (!(error instanceof Refusal)) throw error;
    notify(error.message);
    return { batches: [], revisions: {} };
  });
  page.batches = found.batches.map((batch) => ({ ...batch, all: batch.cutouts.length, cutouts: batch.cutouts.slice(0, MOST_PROPOSED) }));
  page.revisions = found.revisions;
  page.batch = keep ? Math.min(page.batch, Math.max(found.batches.length - 1, 0)) : 0;
  drawBatch(keep);
}

async function readQueue() {
  page.queue = await api.get("/api/disagreements", { category: page.category });
  page.at = Math.min(page.at, Math.max(page.queue.queue.length - 1, 0));
  return disagreementSheet(page.queue, page.at, (index, group) => run(() => settle(index, group)));
}

async function readAgreement() {
  const all = await api.get("/api/agreement");
  const parts = [];
  for (const category of Object.keys(page.session.progress)) parts.push([category, (await api.get("/api/agreement", { category })).pairs]);
  return agreementSheet([...parts, ["all", all.pairs]]);
}

async function readHistory() {
  return historySheet(await api.get("/api/history", { limit: 300 }));
}

const isOpen = (entry) => entry.kind === "pattern" && entry.mine < entry.size;
const factsOf = (group) => page.groups.find((entry) => entry.group === group);
const revisionsOf = (...groups) => Object.fromEntries(groups.map((group) => [group, group === page.open?.group ? page.open.revision : factsOf(group).revision]));

function groupNote(entry) {
  const parts = [`${entry.size} cut-out${entry.size === 1 ? "" : "s"}`];
  if (entry.disputed) parts.push(el("span", { class: "dispute-mark" }, ` · ${entry.disputed} in dispute`));
  if (entry.size && entry.mine === entry.size) parts.push(el("span", { class: "done" }, " · ✓ judged"));
  else if (entry.mine) parts.push(` · ${entry.mine} judged`);
  return parts;
}

// ---- drawing -------------------------------------------------------------------------------------------------------

function drawHeader() {
  const { progress } = page.session;
  byId("categories").replaceChildren(
    ...Object.entries(progress).map(([name, facts]) =>
      el(
        "button",
        { "aria-current": String(name === page.category), onclick: () => run(() => openCategory(name)), title: `${facts.mine} of ${facts.cutouts} judged by you, ${facts.judged} by anybody` },
        `${name} ${facts.mine}/${facts.cutouts}`,
        bar(facts.cutouts ? facts.mine / facts.cutouts : 0),
      ),
    ),
  );
  const disputed = progress[page.category].disputed;
  byId("views").replaceChildren(
    ...VIEWS.map((view, index) =>
      el(
        "button",
        { "aria-current": String(view === page.view), onclick: () => run(() => openView(view)), "data-view": view },
        el("kbd", {}, String(index + 1)),
        ` ${view[0].toUpperCase()}${view.slice(1)} `,
        view === "disagreements" && disputed ? el("span", { class: "count" }, String(disputed)) : null,
      ),
    ),
  );
  byId("who").textContent = api.annotator;
}

// rows: [key, {cover}, name, note]
function drawList(rows, chosen, choose) {
  const list = byId("list");
  list.replaceChildren(
    ...rows.map(([key, { cover }, name, note]) =>
      el(
        "div",
        { class: key === chosen ? "group chosen" : "group", role: "option", "aria-selected": String(key === chosen), "data-group": String(key), onclick: () => run(() => choose(key)) },
        el("span", { class: "cover" }, cover.map((cutout) => Object.assign(thumbnail(cutout), { loading: "lazy" }))),
        el("span", {}, name, el("small", {}, note)),
      ),
    ),
  );
  list.querySelector(".chosen")?.scrollIntoView({ block: "nearest" });
}

function drawHead() {
  const count = grid.marked.size;
  const selection = el("span", { class: "selection" }, count ? `${count} marked` : "");
  if (page.view === "spread") {
    const batch = page.batches[page.batch];
    if (!batch) return byId("head").replaceChildren(el("span", {}, "Nothing to propose: confirm some members first, or all is verified."));
    const facts = factsOf(batch.group);
    return byId("head").replaceChildren(
      el("span", { class: "cover" }, facts.cover.map(thumbnail)),
      el("div", {}, el("h2", {}, `Do these belong to ${groupName(batch.group, facts)}?`), el("small", {}, `${batch.all} proposed${batch.all > batch.cutouts.length ? `, these ${batch.cutouts.length} are least certain` : ", least certain first"}`)),
      selection,
    );
  }
  if (!page.open) return undefined;
  const { group, name, kind, attributes, members, compatible } = page.open;
  return byId("head").replaceChildren(
    el("div", {}, el("h2", {}, groupName(group, { name, kind })), el("small", {}, `#${group} · ${members.length} cut-outs`)),
    ...Object.entries(attributes).map(([key, value]) => el("span", { class: "chip" }, `${key}: ${value}`)),
    ...compatible.map((other) => el("span", { class: "chip" }, `fits with ${groupName(other, factsOf(other) || { kind: "pattern" })}`)),
    selection,
  );
}

function drawBatch(keep) {
  const batch = page.batches[page.batch];
  drawList(
    page.batches.map(({ group, cutouts, all }, index) => [index, factsOf(group), groupName(group, factsOf(group)), [`${all} proposed · from ${Math.round(100 * cutouts[0][1])} % sure`]]),
    page.batch,
    (index) => ((page.batch = index), drawBatch(false)),
  );
  grid.show((batch?.cutouts || []).map(([cutout, certainty]) => ({ cutout, note: `${Math.round(100 * certainty)} %` })), { keep });
  drawHead();
}

// ---- acting --------------------------------------------------------------------------------------------------------

async function act(kind, parameters, revisions) {
  try {
    const done = await api.act(kind, parameters, revisions);
    page.revision = done.action || page.revision;
    if (kind === "undo") notify(`Undone: ${done.kind}`);
    else if (!done.action) notify("Nothing to change: it is so already.");
    else hideNotice();
    return done;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const by = error.conflicts.flatMap((c) => c.changed_by.map((a) => `${a.kind} by ${a.annotator}`));
    const more = error.status === 409 ? ` — nothing was done; the page now shows what is there${by.length > 1 ? ` (${[...new Set(by)].join(", ")})` : ""}. Look and repeat.` : "";
    notify(error.message + more, "bad", 12000);
    if (error.status === 409 || error.status === 404) await refresh({ keep: true });
    return null;
  }
}

const marked = () => {
  if (!grid.marked.size) notify("Mark cut-outs first (Space, or click).");
  return [...grid.marked];
};

async function confirmRest() {
  const cutouts = grid.unmarked();
  if (!cutouts.length) return notify("Everything is marked: nothing is left to confirm.");
  if (page.view === "spread") {
    const batch = page.batches[page.batch];
    if (!(await act("move", { cutouts, to: batch.group }, page.revisions))) return undefined;
    return refresh();
  }
  const left = grid.marked.size;
  if (!(await act("confirm", { group: page.open.group, cutouts }, revisionsOf(page.open.group)))) return undefined;
  if (left) {
    notify(`${cutouts.length} confirmed. The ${left} marked are still here: move (m), split (s) or reject (r) them.`);
    return refresh({ keep: true });
  }
  const following = page.groups.slice(page.groups.findIndex((entry) => entry.group === page.open.group) + 1);
  const next = following.find(isOpen) || page.groups.find((entry) => isOpen(entry) && entry.group !== page.open.group);
  if (next) page.open = { group: next.group };
  else notify("You judged every group of this category.");
  return refresh();
}

function groupEntries(without, order = []) {
  const rank = new Map(order.map((group, index) => [group, index]));
  return page.groups
    .filter((entry) => !without.includes(entry.group))
    .sort((a, b) => (rank.get(a.group) ?? 1e9) - (rank.get(b.group) ?? 1e9))
    .map((entry) => ({ value: entry.group, label: groupName(entry.group, entry), detail: `#${entry.group} · ${entry.size} cut-outs`, cover: entry.cover }));
}

// Revisions of the groups in which cut-outs lie: one in the group view, several among proposals.
function sources(cutouts) {
  if (page.view !== "spread") return revisionsOf(page.open.group);
  const batch = page.batches[page.batch];
  const from = new Map(batch.cutouts.map(([cutout], index) => [cutout, batch.from[index]]));
  return Object.fromEntries(cutouts.map((cutout) => [from.get(cutout), page.revisions[from.get(cutout)]]));
}

async function moveMarked() {
  const cutouts = marked();
  if (!cutouts.length) return;
  const here = page.view === "spread" ? [] : [page.open.group];
  const to = await pick({ title: `Move ${cutouts.length} to`, entries: groupEntries(here, page.open?.similar) });
  if (to !== null && (await act("move", { cutouts, to }, { ...revisionsOf(to), ...sources(cutouts) }))) await refresh();
}

async function splitMarked() {
  const cutouts = page.view === "groups" ? marked() : [];
  if (cutouts.length && (await act("split", { group: page.open.group, cutouts }, revisionsOf(page.open.group)))) await refresh();
}

async function rejectMarked() {
  const cutouts = marked();
  const rejected = page.groups.find((entry) => entry.kind === "rejected").group;
  if (cutouts.length && (await act("reject", { cutouts }, { ...revisionsOf(rejected), ...sources(cutouts) }))) await refresh();
}

const isPattern = () => page.view === "groups" && (page.open?.kind === "pattern" || notify("These are no pattern: move them to one first."));

async function mergeGroup() {
  if (!isPattern()) return;
  const { group, similar } = page.open;
  const entries = groupEntries([group], similar).filter((entry) => factsOf(entry.value).kind === "pattern");
  const into = await pick({ title: `Merge ${groupName(group, page.open)} into`, entries });
  if (into === null || !(await act("merge", { groups: [group], into }, revisionsOf(group, into)))) return;
  page.open = { group: into };
  await refresh();
}

async function nameGroup() {
  if (!isPattern()) return;
  const name = await askText({ title: "Name of the pattern", value: page.open.name });
  if (name !== null && (await act("name", { group: page.open.group, name }, revisionsOf(page.open.group)))) await refresh({ keep: true });
}

async function describeGroup() {
  if (!isPattern()) return;
  const known = new Set(page.groups.flatMap((entry) => Object.entries(entry.attributes).map(([key, value]) => `${key}: ${value}`)));
  const text = await askText({
    title: "Attributes",
    hint: `One a line, such as yaw: left.${known.size ? ` Used so far: ${[...known].sort().join(", ")}.` : ""}`,
    value: Object.entries(page.open.attributes).map(([key, value]) => `${key}: ${value}`).join("\n"),
    lines: 6,
  });
  if (text === null) return;
  const pairs = text.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => line.split(/\s*[:=]\s*/));
  const wrong = pairs.find((pair) => pair.length !== 2);
  if (wrong) return notify(`Not an attribute: “${wrong.join(": ")}”. Write name: value.`, "bad", 8000);
  if (await act("attributes", { group: page.open.group, attributes: Object.fromEntries(pairs) }, revisionsOf(page.open.group))) await refresh({ keep: true });
}

async function markCompatible() {
  if (!isPattern()) return;
  const { group, similar, compatible } = page.open;
  const entries = groupEntries([group], similar)
    .filter((entry) => factsOf(entry.value).kind === "pattern")
    .map((entry) => (compatible.includes(entry.value) ? { ...entry, detail: `${entry.detail} · marked: choose to take it back` } : entry));
  const other = await pick({ title: "What fits this pattern also fits", entries });
  if (other === null) return;
  const is_marked = !compatible.includes(other);
  if (await act("compatible", { groups: [group, other], is_marked }, revisionsOf(group, other))) await refresh({ keep: true });
}

async function settle(index, group) {
  const { cutout, group: lies } = page.queue.queue[index];
  page.at = index;
  const { groups } = page.queue;
  if (await act("move", { cutouts: [cutout], to: group }, { [lies]: groups[lies].revision, [group]: groups[group].revision })) await refresh();
}

const undo = async () => (await act("undo", {}, {})) && refresh({ keep: true });

// ---- going about ---------------------------------------------------------------------------------------------------

const openGroup = (group) => ((page.open = { group }), refresh());
const openCategory = (category) => (Object.assign(page, { category, open: null, batch: 0, at: 0 }), refresh());
const openView = (view) => (Object.assign(page, { view, at: 0 }), refresh());

function step(by) {
  if (page.view === "spread") {
    page.batch = Math.max(0, Math.min(page.batches.length - 1, page.batch + by));
    return drawBatch(false);
  }
  if (page.view === "disagreements") {
    page.at = Math.max(0, Math.min(page.queue.queue.length - 1, page.at + by));
    byId("sheet").replaceChildren(...disagreementSheet(page.queue, page.at, (index, group) => run(() => settle(index, group))));
    return byId("sheet").querySelector(".chosen")?.scrollIntoView({ block: "nearest" });
  }
  const at = page.groups.findIndex((entry) => entry.group === page.open?.group);
  const next = page.groups[at + by];
  return next && page.view === "groups" ? openGroup(next.group) : undefined;
}

function turn(by) {
  const names = Object.keys(page.session.progress);
  return openCategory(names[(names.indexOf(page.category) + by + names.length) % names.length]);
}

const ACTIONS = {
  Enter: confirmRest, m: moveMarked, s: splitMarked, r: rejectMarked, g: mergeGroup, n: nameGroup, t: describeGroup, c: markCompatible, u: undo,
  a: () => grid.markAll(true), i: () => grid.invert(), Escape: () => (grid.markAll(false), hideNotice()),
  " ": () => (grid.toggle(grid.focus), grid.render(true), drawHead()),
  j: () => step(1), k: () => step(-1), "[": () => turn(-1), "]": () => turn(1), "+": () => grid.resize(1.25), "=": () => grid.resize(1.25), "-": () => grid.resize(0.8),
  v: () => openView(VIEWS[(VIEWS.indexOf(page.view) + 1) % VIEWS.length]), "?": () => showKeys(KEYS),
};
const ON_GRID = ["Enter", "m", "r", "a", "i", " ", "s", "g", "n", "t", "c"];

function onKey(event) {
  if (byId("dialog").open || event.ctrlKey || event.metaKey || event.altKey || !page.session) return;
  const hasGrid = page.view === "groups" || page.view === "spread";
  if (hasGrid && grid.move(event.key, event.shiftKey)) return event.preventDefault();
  const view = VIEWS[Number(event.key) - 1];
  if (view) return run(() => openView(view));
  if (page.view === "disagreements" && /^[a-f]$/.test(event.key)) {
    const sides = [...new Set(Object.values(page.queue.queue[page.at]?.verdicts || {}))];
    const side = sides[event.key.charCodeAt(0) - 97];
    return side === undefined ? undefined : run(() => settle(page.at, side));
  }
  if (!(event.key in ACTIONS) || (!hasGrid && ON_GRID.includes(event.key))) return undefined;
  event.preventDefault();
  return run(ACTIONS[event.key]);
}

// Keys and clicks come faster than answers: each waits for the one before.
let running = Promise.resolve();
let waiting = 0;
function run(what) {
  waiting++;
  running = running.then(what).catch((error) => notify(error.message, "bad", 0)).finally(() => waiting--);
  return running;
}

async function lookForOthers() {
  if (document.hidden || byId("dialog").open) return;
  const { revision, actions } = await api.get("/api/changes", { since: page.revision });
  const others = actions.filter((entry) => entry.annotator !== api.annotator);
  if (revision <= page.revision) return;
  if (others.length) notify(`Meanwhile: ${[...new Set(others.map((entry) => `${entry.kind} by ${entry.annotator}`))].join(", ")}.`);
  await refresh({ keep: true });
}

async function signIn(force) {
  api.annotator = force ? "" : localStorage.getItem("annotator") || "";
  while (!api.annotator) api.annotator = (await askText({ title: "Who verifies?", hint: "Your name stands beside each of your actions.", required: true })) || "";
  localStorage.setItem("annotator", api.annotator);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
}

setTheme(localStorage.getItem("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
byId("theme").onclick = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
byId("undo").onclick = () => run(undo);
byId("help").onclick = () => showKeys(KEYS);
byId("who").onclick = () => run(async () => (await signIn(true), refresh()));
document.addEventListener("keydown", onKey);
run(async () => (await signIn(false), refresh()));
setInterval(() => page.session && !waiting && run(lookForOthers), LOOK_EVERY_MS);
