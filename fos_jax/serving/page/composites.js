// The service's composites: a preview of the photograph as it will be, and what is downloaded.

import { tell } from "./notice.js";

const WAIT_MS = 250;

const layerJson = ({ foreground, box, mirrored, harmonise, shadow }) => ({ foreground, box, mirrored, harmonise, shadow, blend: "none" });

export class Composites {
  constructor(api, onPreview) {
    Object.assign(this, { api, onPreview, timer: 0, asking: null, last: "" });
  }

  // The preview follows a moment after the last change.
  schedule(record, layers, max_side) {
    const key = JSON.stringify([record?.key, layers.map(layerJson)]);
    if (key === this.last) return;
    this.cancel();
    if (!record || !layers.length) return;
    this.last = key;
    this.timer = setTimeout(() => this.read(record, layers, max_side), WAIT_MS);
  }

  cancel() {
    clearTimeout(this.timer);
    this.asking?.abort();
    this.last = "";
  }

  async read(record, layers, max_side) {
    const { signal } = (this.asking = new AbortController());
    try {
      const body = { layers: layers.map(layerJson), output: "composite", format: "jpeg", max_side };
      const response = await this.api.ask("/api/composite", record, body, { signal });
      const bitmap = await createImageBitmap(await response.blob());
      if (!signal.aborted) this.onPreview(bitmap);
    } catch (error) {
      if (!signal.aborted) tell(error.message, { kind: "bad" });
    }
  }

  async download(record, layers, { output, format }) {
    tell("Making the picture at full size…", { lasts_ms: 0 });
    const response = await this.api.ask("/api/composite", record, { layers: layers.map(layerJson), output, format, max_side: null });
    const stem = record.name.replace(/\.[^.]*$/, "") || "photograph";
    save(await response.blob(), `${stem}-${output}.${format === "jpeg" ? "jpg" : format}`);
  }
}

export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  tell(`Saved ${name}.`);
}

// What was chosen, to be made again by other programs.
export function choiceJson(record, state, gallery) {
  const { box, category, wanted, filters, layers } = state;
  return {
    format: "fos_jax choice",
    format_version: 1,
    gallery: { version: gallery.version, bundle: gallery.bundle },
    photograph: { name: record.name, sha256: record.picture, width: record.width, height: record.height },
    query: { box_xyxy_px: box, category, attributes: wanted, filters },
    layers: layers.map(({ key, slot, ...rest }) => rest),
  };
}
