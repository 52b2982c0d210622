// A grid of cut-outs that only holds the rows in sight, however many there are.

import { el } from "./shared/dom.js";
import { thumbnail } from "./thumbnails.js";

const ROWS_AROUND = 3;
const GAP = 6;

export class Grid {
  constructor(root, onChange) {
    this.root = root;
    this.onChange = onChange;
    this.items = [];
    this.marked = new Set();
    this.focus = 0;
    this.side = Number(localStorage.getItem("side")) || 104;
    this.cells = new Map();
    this.canvas = el("div", { class: "canvas" });
    root.append(this.canvas);
    root.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(root);
    this.canvas.addEventListener("click", (event) => {
      const cell = event.target.closest(".cell");
      if (!cell) return;
      const index = Number(cell.dataset.index);
      if (event.shiftKey) this.markRange(this.focus, index);
      else this.toggle(index);
      this.focus = index;
      this.render(true);
      this.onChange();
    });
  }

  // items: {cutout, badge: "", note: "", title}
  show(items, { keep = false } = {}) {
    this.items = items;
    const present = new Set(items.map((item) => item.cutout));
    this.marked = new Set(keep ? [...this.marked].filter((cutout) => present.has(cutout)) : []);
    this.focus = keep ? Math.min(this.focus, Math.max(items.length - 1, 0)) : 0;
    if (!keep) this.root.scrollTop = 0;
    this.cells.forEach((cell) => cell.remove());
    this.cells.clear();
    this.layout();
  }

  layout() {
    const width = this.root.clientWidth - 2 * GAP;
    this.columns = Math.max(1, Math.floor((width + GAP) / (this.side + GAP)));
    this.canvas.style.height = `${Math.ceil(this.items.length / this.columns) * (this.side + GAP) + GAP}px`;
    this.render(true);
  }

  schedule() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.render(false);
    });
  }

  render(everything) {
    const pitch = this.side + GAP;
    const first = Math.max(0, Math.floor(this.root.scrollTop / pitch) - ROWS_AROUND) * this.columns;
    const rows = Math.ceil(this.root.clientHeight / pitch) + 2 * ROWS_AROUND;
    const last = Math.min(this.items.length, first + rows * this.columns);
    for (const [index, cell] of this.cells) {
      if (index < first || index >= last) {
        cell.remove();
        this.cells.delete(index);
      }
    }
    for (let index = first; index < last; index++) {
      let cell = this.cells.get(index);
      const isNew = !cell;
      if (isNew) {
        cell = this.make(index);
        this.cells.set(index, cell);
        this.canvas.append(cell);
      }
      if (isNew || everything) this.place(cell, index, pitch);
    }
  }

  make(index) {
    const item = this.items[index];
    const cell = el("div", { class: "cell", role: "option", title: item.title || "" }, thumbnail(item.cutout));
    if (item.badge) cell.append(el("b", { class: `badge ${item.kind || ""}` }, item.badge));
    if (item.note) cell.append(el("small", {}, item.note));
    cell.dataset.index = index;
    cell.dataset.cutout = item.cutout;
    return cell;
  }

  place(cell, index, pitch) {
    cell.style.transform = `translate(${GAP + (index % this.columns) * pitch}px, ${
      GAP + Math.floor(index / this.columns) * pitch
    }px)`;
    cell.style.width = cell.style.height = `${this.side}px`;
    const isMarked = this.marked.has(this.items[index].cutout);
    cell.classList.toggle("marked", isMarked);
    cell.classList.toggle("focus", index === this.focus);
    cell.setAttribute("aria-selected", isMarked);
  }

  resize(factor) {
    this.side = Math.round(Math.min(220, Math.max(56, this.side * factor)));
    localStorage.setItem("side", this.side);
    this.layout();
    this.reveal();
  }

  toggle(index) {
    if (!this.items[index]) return;
    const { cutout } = this.items[index];
    if (!this.marked.delete(cutout)) this.marked.add(cutout);
  }

  markRange(from, to) {
    for (let i = Math.min(from, to); i <= Math.max(from, to); i++) this.marked.add(this.items[i].cutout);
  }

  markAll(isMarked) {
    this.marked = new Set(isMarked ? this.items.map((item) => item.cutout) : []);
    this.render(true);
    this.onChange();
  }

  invert() {
    this.marked = new Set(this.unmarked());
    this.render(true);
    this.onChange();
  }

  unmarked() {
    return this.items.map((item) => item.cutout).filter((cutout) => !this.marked.has(cutout));
  }

  move(key, extend) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns };
    const page = this.columns * Math.max(1, Math.floor(this.root.clientHeight / (this.side + GAP)));
    const all = { ...steps, PageUp: -page, PageDown: page, Home: -this.items.length, End: this.items.length };
    if (!(key in all) || !this.items.length) return false;
    const target = Math.min(this.items.length - 1, Math.max(0, this.focus + all[key]));
    if (extend) this.markRange(this.focus, target);
    this.focus = target;
    this.reveal();
    this.render(true);
    if (extend) this.onChange();
    return true;
  }

  reveal() {
    const pitch = this.side + GAP;
    const top = Math.floor(this.focus / this.columns) * pitch;
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    const below = top + pitch + GAP - this.root.clientHeight;
    if (below > this.root.scrollTop) this.root.scrollTop = below;
  }
}
