// Pictures of foregrounds: thumbnails at once, whole cut-outs as they come. A few are kept.

const MOST_KEPT = 60;
const LONGEST_SIDE = 1600;
const kept = new Map();
let version = "";
let keyed = null;

export function setVersion(value) {
  version = String(value);
}

// With a key, pictures are fetched with it: the browser sends none of its own accord.
export function setKeyed(api) {
  keyed = api;
}

export function showAt(node, address, name = "src") {
  if (!keyed) return void node.setAttribute(name, address);
  const own = (response) => response.blob().then((blob) => node.setAttribute(name, URL.createObjectURL(blob)));
  return void keyed.request(address).then(own, () => node.classList.add("missing"));
}

const addressOf = (id, kind) => `/api/foregrounds/${encodeURIComponent(id)}/${kind}?${new URLSearchParams({ version })}`;

export const thumbnailAddress = (id) => addressOf(id, "thumbnail");

export function thumbnail(id, isMirrored = false, alt = "") {
  const image = new Image();
  Object.assign(image, { alt, decoding: "async", loading: "lazy", draggable: false, className: isMirrored ? "thumbnail mirrored" : "thumbnail" });
  image.addEventListener("error", () => image.classList.add("missing"));
  showAt(image, thumbnailAddress(id));
  return image;
}

// {image, isWhole}: what can be drawn now (null at first); onBetter() is called when there is more to see.
export function pictureOf(api, id, isMirrored, onBetter) {
  const entry = kept.get(id) ?? load(api, id);
  kept.delete(id); // again, as the last one used
  kept.set(id, entry);
  if (!entry.isWhole) entry.listeners.add(onBetter);
  while (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  if (!isMirrored || !entry.image) return entry;
  if (entry.flippedOf !== entry.image) Object.assign(entry, { flipped: flip(entry.image), flippedOf: entry.image });
  return { image: entry.flipped, isWhole: entry.isWhole };
}

// Mirrored here rather than fetched: it is there at once.
function flip(image) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  const context = canvas.getContext("2d");
  context.scale(-1, 1);
  context.drawImage(image, -image.width, 0, image.width, image.height);
  return canvas;
}

function load(api, id) {
  const entry = { image: null, isWhole: false, listeners: new Set() };
  const better = (image, isWhole) => {
    Object.assign(entry, { image, isWhole });
    for (const listener of entry.listeners) listener();
  };
  const small = new Image();
  small.addEventListener("load", () => entry.isWhole || better(small, false), { once: true });
  showAt(small, thumbnailAddress(id));
  readWhole(api, id).then((bitmap) => better(bitmap, true), () => kept.delete(id));
  return entry;
}

async function readWhole(api, id) {
  const response = await api.request(addressOf(id, "cutout"));
  const bitmap = await createImageBitmap(await response.blob());
  const scale = LONGEST_SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) return bitmap;
  const size = { resizeWidth: Math.round(bitmap.width * scale), resizeHeight: Math.round(bitmap.height * scale) };
  return createImageBitmap(bitmap, { ...size, resizeQuality: "high" });
}
