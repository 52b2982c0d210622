// A box on the photograph that is taken hold of by mouse, touch or keys: the rectangle, or a kept foreground.

import { el } from "/page/shared/dom.js";
import { resized, scaled, scaledBy, moved } from "./placing.js";

const STEP = 0.01; // of the photograph's longer side

export class Frame {
  // toPhoto: () => pixels of the photograph per CSS pixel; limit(box) keeps a box where it may be;
  // on: {drag(box), drop(box, hasMoved, isKey), key(event) -> whether it was used, pass(event) -> whether another took it}
  constructor(root, { name, handles, keepsAspect, toPhoto, limit, on }) {
    Object.assign(this, { toPhoto, limit, on, keepsAspect, box: null, held: null });
    this.node = el(
      "div",
      // An application: screen readers hand it the arrow keys.
      { class: `frame ${name}`, tabindex: "0", role: "application", "aria-roledescription": name, "aria-describedby": `keys-${name}`, hidden: true },
      handles.map((handle) => el("i", { class: `handle ${handle}`, "data-handle": handle })),
    );
    this.node.addEventListener("pointerdown", (event) => this.take(event));
    this.node.addEventListener("pointermove", (event) => this.held && event.isPrimary && this.pull(event));
    for (const kind of ["pointerup", "pointercancel"]) this.node.addEventListener(kind, (event) => this.held && event.isPrimary && this.release(event));
    this.node.addEventListener("keydown", (event) => this.press(event));
    root.append(this.node);
  }

  show(box, label, scale) {
    this.box = box;
    this.node.hidden = !box;
    if (!box) return;
    const [x0, y0, x1, y1] = box.map((value) => value / scale);
    const { style } = this.node;
    style.transform = `translate(${x0}px, ${y0}px)`;
    style.width = `${x1 - x0}px`;
    style.height = `${y1 - y0}px`;
    if (label) this.node.setAttribute("aria-label", label);
  }

  take(event) {
    if (event.button) return;
    event.stopPropagation();
    if (!event.isPrimary) return; // a second finger: the browser zooms
    if (!event.target.dataset.handle && this.on.pass?.(event)) return;
    this.hold(event);
  }

  hold(event) {
    this.node.setPointerCapture(event.pointerId);
    this.held = { x: event.clientX, y: event.clientY, box: this.box, handle: event.target.dataset.handle ?? "", hasMoved: false };
    this.node.classList.add("held");
  }

  pull(event) {
    const { x, y, box, handle } = this.held;
    const [dx, dy] = [(event.clientX - x) * this.toPhoto(), (event.clientY - y) * this.toPhoto()];
    if (!this.held.hasMoved && Math.hypot(event.clientX - x, event.clientY - y) < 3) return;
    this.held.hasMoved = true;
    const change = !handle ? moved : this.keepsAspect ? scaled : resized;
    this.held.last = this.limit(handle ? change(box, handle, dx, dy) : change(box, dx, dy), handle);
    this.on.drag(this.held.last);
  }

  release(event) {
    const { last, hasMoved } = this.held;
    this.held = null;
    this.node.classList.remove("held");
    if (event.type === "pointercancel") this.on.drop(this.box, false);
    else if (hasMoved) this.on.drop(last, true);
    else this.on.click?.(event);
  }

  press(event) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!arrow || event.ctrlKey || event.metaKey) {
      if (this.on.key?.(event)) event.preventDefault();
      return;
    }
    event.preventDefault();
    const step = event.altKey ? 1 : Math.max(1, Math.round(STEP * this.longest()));
    const [dx, dy] = [arrow[0] * step, arrow[1] * step];
    let box = moved(this.box, dx, dy);
    if (event.shiftKey) box = this.keepsAspect ? scaledBy(this.box, 1 + (0.04 * (dx - dy)) / step) : resized(this.box, "se", dx, dy);
    this.on.drop(this.limit(box, event.shiftKey ? "se" : ""), true, true);
  }
}
