// Pictures of cut-outs.

import { el } from "./shared/dom.js";

let fingerprint = "";
export function setFingerprint(value) {
  fingerprint = value;
}

export function thumbnail(cutout) {
  const image = el("img", { alt: `cut-out ${cutout}`, decoding: "async", draggable: false, class: "thumbnail" });
  image.src = `/thumbnails/${fingerprint}/${cutout}`;
  return image;
}
