// The photograph, the rectangle and the foregrounds in it. What moves is drawn over a proxy, at most once per frame.

import { byId } from "/page/shared/dom.js";
import { drawShadow, harmonised, smallCopy } from "./effects.js";
import { Frame } from "./frame.js";
import { pictureOf } from "./pictures.js";
import { clamp, inside, inWords, LEAST_SIDE, reachable, heightOf, whole, widthOf, within } from "./placing.js";

const CORNERS = ["nw", "ne", "se", "sw"];
const SIDES = ["n", "e", "s", "w"];
const LEAST_DRAWN = 6; // CSS pixels: less is a click

export class Stage {
  // on: {box(box, {isNew, isKey}), layer(key, box, isKey), select(key), tooSmall(), key(event, key) -> boolean}
  constructor(api, on) {
    Object.assign(this, { api, on, proxy: null, small: null, width: 0, height: 0, scale: 1 });
    Object.assign(this, { box: null, layers: [], selected: "", shown: null, drag: null, rendered: null, isDirty: false });
    this.tints = new Map();
    [this.stage, this.sheet, this.photo, this.overlay] = ["stage", "sheet", "photo", "overlay"].map(byId);
    const toPhoto = () => this.scale;
    this.redraw = () => this.ask();
    this.rectangle = new Frame(this.sheet, {
      name: "rectangle",
      handles: [...CORNERS, ...SIDES],
      keepsAspect: false,
      toPhoto,
      limit: (box, handle) => whole(handle ? this.clipped(box) : inside(box, this.width, this.height)),
      on: {
        drag: (box) => this.dragged({ box }),
        drop: (box, hasMoved, isKey) => this.dropped(() => hasMoved && this.on.box(box, { isKey })),
        click: () => this.on.select(""),
        pass: (event) => this.takeLayer(event),
        key: (event) => this.on.key(event, ""),
      },
    });
    this.frame = new Frame(this.sheet, {
      name: "foreground",
      handles: CORNERS,
      keepsAspect: true,
      toPhoto,
      limit: (box) => reachable(box, this.width, this.height),
      on: {
        drag: (box) => this.dragged({ layer: this.selected, box }),
        drop: (box, hasMoved, isKey) => this.dropped(() => hasMoved && this.on.layer(this.selected, box, isKey)),
        key: (event) => this.on.key(event, this.selected),
      },
    });
    for (const frame of [this.rectangle, this.frame]) frame.longest = () => Math.max(this.width, this.height);
    this.sheet.addEventListener("pointerdown", (event) => this.begin(event));
    this.sheet.addEventListener("keydown", (event) => event.target === this.sheet && this.on.key(event, "") && event.preventDefault());
    this.sheet.addEventListener("pointermove", (event) => this.begun && event.isPrimary && this.outline(event));
    for (const kind of ["pointerup", "pointercancel"]) this.sheet.addEventListener(kind, (event) => this.begun && event.isPrimary && this.end(event));
    new ResizeObserver(() => this.fit()).observe(this.stage);
  }

  // ---- what is shown --------------------------------------------------------------------------------------------------

  setPhotograph(proxy, width, height, name) {
    Object.assign(this, { proxy, width, height, rendered: null, shown: null, small: proxy && smallCopy(proxy) });
    this.tints.clear();
    byId("welcome").hidden = Boolean(proxy);
    this.sheet.hidden = !proxy;
    if (proxy) this.sheet.setAttribute("aria-label", `Photograph ${name}, ${width} × ${height} px. Enter sets a rectangle or goes to it.`);
    this.fit();
  }

  update({ box, layers, selected }) {
    Object.assign(this, { box, layers, selected });
    this.rendered = null;
    this.sheet.tabIndex = box ? -1 : 0;
    this.place();
    this.ask();
  }

  // Where the keys go to.
  focus() {
    (this.box ? this.rectangle.node : this.sheet).focus({ preventScroll: true });
  }

  // One more foreground in the rectangle, in place of the one that was kept there: {id, isMirrored, box, slot}
  preview(item) {
    this.shown = item;
    this.ask();
  }

  // The service's own picture of all layers, shown until something changes.
  setRendered(bitmap) {
    this.rendered = bitmap;
    this.ask();
  }

  fit() {
    if (!this.proxy) return;
    const room = this.stage.getBoundingClientRect();
    const pad = room.width < 500 ? 16 : 24; // handles reach beyond the photograph
    const shrink = Math.min((room.width - pad) / this.width, (room.height - pad) / this.height);
    if (!(shrink > 0)) return;
    this.scale = 1 / shrink;
    const [width, height] = [Math.floor(this.width * shrink), Math.floor(this.height * shrink)];
    const ratio = Math.min(devicePixelRatio || 1, 2, Math.max(1, this.proxy.width / width));
    this.ratio = ratio;
    Object.assign(this.sheet.style, { width: `${width}px`, height: `${height}px` });
    for (const canvas of [this.photo, this.overlay]) Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const context = this.photo.getContext("2d", { alpha: false });
    context.imageSmoothingQuality = "high";
    context.drawImage(this.proxy, 0, 0, this.photo.width, this.photo.height);
    this.place();
    this.draw();
  }

  place() {
    const layer = this.layers.find(({ key }) => key === this.selected);
    const { drag } = this;
    const box = drag && !drag.layer ? drag.box : this.box;
    this.rectangle.show(box, box && `Rectangle, ${inWords(box)}`, this.scale);
    this.rectangle.node.classList.toggle("resting", Boolean(layer));
    const place = layer && (drag?.layer === layer.key ? drag.box : layer.box);
    this.frame.show(place ?? null, layer && `Kept: ${layer.foreground}${layer.mirrored ? ", mirrored" : ""}, ${inWords(place)}`, this.scale);
  }

  ask() {
    if (this.isDirty) return;
    this.isDirty = true;
    requestAnimationFrame(() => {
      this.isDirty = false;
      this.draw();
    });
  }

  draw() {
    if (!this.proxy) return;
    const context = this.overlay.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.overlay.width, this.overlay.height);
    context.imageSmoothingQuality = this.drag ? "low" : "high";
    const { shown, drag } = this;
    if (this.rendered && !shown && !drag) return void context.drawImage(this.rendered, 0, 0, this.overlay.width, this.overlay.height);
    for (const layer of this.layers) {
      if (shown && layer.slot === shown.slot) continue;
      this.drawOne(context, { ...layer, box: drag?.layer === layer.key ? drag.box : layer.box }, drag?.layer === layer.key);
    }
    if (shown) this.drawOne(context, { foreground: shown.id, mirrored: shown.isMirrored, box: shown.box, harmonise: 0, shadow: 0 });
    performance.mark("fos:drawn");
  }

  drawOne(context, { foreground, mirrored, box, harmonise, shadow }, isMoving = false) {
    const entry = pictureOf(this.api, foreground, mirrored, this.redraw);
    if (!entry.image) return;
    const s = this.ratio / this.scale;
    const [x0, y0, x1, y1] = box.map((value) => value * s);
    if (shadow) drawShadow(context, [x0, y0, x1, y1], shadow);
    const image = harmonise ? this.tinted(entry, `${foreground} ${mirrored}`, box, harmonise, isMoving) : entry.image;
    context.drawImage(image, x0, y0, x1 - x0, y1 - y0);
  }

  // While it moves, the colours of where it came from do: a frame has no time for new ones.
  tinted(entry, name, box, strength, isMoving) {
    const key = `${entry.isWhole} ${strength} ${whole(box)}`;
    const last = this.tints.get(name);
    if (last && (isMoving || last.key === key)) return last.image;
    const image = harmonised(entry.image, this.small, this.small.width / this.width, box, strength);
    this.tints.set(name, { key, image });
    return image;
  }

  // ---- what is done by pointer ----------------------------------------------------------------------------------------

  dragged(drag) {
    this.drag = drag;
    this.place();
    this.ask();
  }

  dropped(then) {
    this.drag = null;
    then();
    this.place();
    this.ask();
  }

  clipped([x0, y0, x1, y1]) {
    return [clamp(x0, 0, this.width - 1), clamp(y0, 0, this.height - 1), clamp(x1, 1, this.width), clamp(y1, 1, this.height)];
  }

  pointOf(event) {
    const { left, top } = this.sheet.getBoundingClientRect();
    return [(event.clientX - left) * this.scale, (event.clientY - top) * this.scale];
  }

  // What is dragged is the foreground under the pointer, if any; with Shift a rectangle is drawn over it.
  takeLayer(event) {
    const [x, y] = this.pointOf(event);
    const hit = event.shiftKey ? null : this.layers.findLast((layer) => within(layer.box, x, y));
    if (!hit) return false;
    event.preventDefault();
    this.on.select(hit.key);
    this.frame.node.focus({ preventScroll: true });
    this.frame.hold(event);
    return true;
  }

  begin(event) {
    if (event.button || !event.isPrimary || !this.proxy) return; // a second finger: the browser zooms
    if (this.takeLayer(event)) return;
    event.preventDefault();
    this.sheet.blur();
    this.sheet.setPointerCapture(event.pointerId);
    const [x, y] = this.pointOf(event);
    this.begun = { x, y, screen: [event.clientX, event.clientY], isDrawn: false };
  }

  outline(event) {
    const [sx, sy] = this.begun.screen;
    if (!this.begun.isDrawn && Math.max(Math.abs(event.clientX - sx), Math.abs(event.clientY - sy)) < LEAST_DRAWN) return;
    this.begun.isDrawn = true;
    const [x, y] = this.pointOf(event);
    const { x: from_x, y: from_y } = this.begun;
    this.begun.box = whole(this.clipped([Math.min(x, from_x), Math.min(y, from_y), Math.max(x, from_x), Math.max(y, from_y)]));
    this.dragged({ box: this.begun.box });
  }

  end(event) {
    const { isDrawn, box } = this.begun;
    this.begun = null;
    if (event.type === "pointercancel") return this.dropped(() => {});
    if (!isDrawn) return this.on.select("");
    return this.dropped(() => (Math.min(widthOf(box), heightOf(box)) < LEAST_SIDE ? this.on.tooSmall() : this.on.box(box, { isNew: true })));
  }
}
