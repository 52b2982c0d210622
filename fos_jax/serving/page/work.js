// What was done so far: a list of states, of which one is current. It survives a reload.

const KEY = "fos.work";
const MOST_STATES = 80;
const MERGE_MS = 1000;

// photo: {key, name, width, height}; box: [x0, y0, x1, y1] in whole pixels; slot: one rectangle holds one foreground;
// wanted: attribute -> value; layers: bottom first.
export const EMPTY = Object.freeze({ photo: null, box: null, slot: "", category: "", wanted: {}, filters: {}, layers: [] });

let counter = 0;
export const newName = () => `${Date.now().toString(36)}-${(counter++).toString(36)}-${Math.random().toString(36).slice(2, 7)}`;

export class Work {
  // onChange(state, previous)
  constructor(onChange) {
    this.onChange = onChange;
    this.states = [EMPTY];
    this.at = 0;
    this.last = { merge: "", time: 0 };
  }

  get now() {
    return this.states[this.at];
  }

  get canUndo() {
    return this.at > 0;
  }

  get canRedo() {
    return this.at < this.states.length - 1;
  }

  // Changes under one `merge` name that follow each other closely are undone together.
  change(patch, { merge = "" } = {}) {
    const previous = this.now;
    const next = Object.freeze({ ...previous, ...patch });
    if (JSON.stringify(next) === JSON.stringify(previous)) return;
    const time = performance.now();
    const isMerged = merge && merge === this.last.merge && time - this.last.time < MERGE_MS;
    this.last = { merge, time };
    const kept = this.states.slice(0, this.at + (isMerged ? 0 : 1));
    this.states = [...kept, next].slice(-MOST_STATES);
    this.at = this.states.length - 1;
    this.moved(previous);
  }

  changeLayer(key, patch, options) {
    this.change({ layers: this.now.layers.map((layer) => (layer.key === key ? { ...layer, ...patch } : layer)) }, options);
  }

  undo() {
    if (this.canUndo) this.go(this.at - 1);
  }

  redo() {
    if (this.canRedo) this.go(this.at + 1);
  }

  go(at) {
    const previous = this.now;
    this.at = at;
    this.last.merge = "";
    this.moved(previous);
  }

  moved(previous) {
    try {
      localStorage.setItem(KEY, JSON.stringify({ states: this.states, at: this.at }));
    } catch (error) {
      console.info("the history is not kept over a reload:", error);
    }
    this.onChange(this.now, previous);
  }

  restore() {
    try {
      const { states, at } = JSON.parse(localStorage.getItem(KEY));
      if (!states[at]) return;
      this.states = states.map((state) => Object.freeze({ ...EMPTY, ...state }));
      this.at = at;
    } catch {
      // Nothing was kept, or by another version of the page.
    }
  }
}
