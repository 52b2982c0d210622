// Where a foreground stands in a rectangle: at once by its aspect, then as the service says.

import { contained } from "./placing.js";

const MOST_KEPT = 500;

export class Places {
  constructor(api) {
    Object.assign(this, { api, known: new Map() });
  }

  keyOf(record, box, hit) {
    return JSON.stringify([record.key, box, hit.id, Boolean(hit.is_mirrored)]);
  }

  guess(record, box, hit, [width, height]) {
    return this.known.get(this.keyOf(record, box, hit)) ?? contained(box, width, height);
  }

  async read(record, box, hit, size) {
    const key = this.keyOf(record, box, hit);
    if (this.known.has(key)) return this.known.get(key);
    try {
      const body = { box, foreground: hit.id, mirrored: Boolean(hit.is_mirrored) };
      const { box: place } = await (await this.api.ask("/api/place", record, body)).json();
      this.known.set(key, place);
      if (this.known.size > MOST_KEPT) this.known.delete(this.known.keys().next().value);
      return place;
    } catch {
      return contained(box, ...size); // a guess is good enough to go on with
    }
  }
}
