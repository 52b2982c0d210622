// Rectangles in pixels of the whole photograph: [x0, y0, x1, y1].

export const LEAST_SIDE = 8;

export const widthOf = ([x0, , x1]) => x1 - x0;
export const heightOf = ([, y0, , y1]) => y1 - y0;
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// A cut-out with its aspect kept, at the bottom centre of the rectangle: things stand on the ground.
export function contained([x0, y0, x1, y1], width, height) {
  const scale = Math.min((x1 - x0) / width, (y1 - y0) / height);
  const left = (x0 + x1 - width * scale) / 2;
  return [left, y1 - height * scale, left + width * scale, y1];
}

export const moved = ([x0, y0, x1, y1], dx, dy) => [x0 + dx, y0 + dy, x1 + dx, y1 + dy];

export function inside(box, width, height) {
  const [w, h] = [Math.min(widthOf(box), width), Math.min(heightOf(box), height)];
  const [x, y] = [clamp(box[0], 0, width - w), clamp(box[1], 0, height - h)];
  return [x, y, x + w, y + h];
}

// At least a part stays in the photograph, to be taken hold of again.
export function reachable(box, width, height) {
  const [w, h] = [widthOf(box), heightOf(box)];
  const [mx, my] = [Math.min(w, width) * 0.2, Math.min(h, height) * 0.2];
  const [x, y] = [clamp(box[0], mx - w, width - mx), clamp(box[1], my - h, height - my)];
  return [x, y, x + w, y + h];
}

// Moves the sides that a handle ("n", "se", ...) names.
export function resized([x0, y0, x1, y1], handle, dx, dy) {
  const box = [x0, y0, x1, y1];
  if (handle.includes("w")) box[0] = Math.min(x0 + dx, x1 - LEAST_SIDE);
  if (handle.includes("e")) box[2] = Math.max(x1 + dx, x0 + LEAST_SIDE);
  if (handle.includes("n")) box[1] = Math.min(y0 + dy, y1 - LEAST_SIDE);
  if (handle.includes("s")) box[3] = Math.max(y1 + dy, y0 + LEAST_SIDE);
  return box;
}

// The same with the aspect kept, about the corner or side that lies opposite.
export function scaled([x0, y0, x1, y1], handle, dx, dy) {
  const [w, h] = [x1 - x0, y1 - y0];
  const grow_x = handle.includes("e") ? dx : handle.includes("w") ? -dx : 0;
  const grow_y = handle.includes("s") ? dy : handle.includes("n") ? -dy : 0;
  const factor = Math.max((w * (w + grow_x) + h * (h + grow_y)) / (w * w + h * h), LEAST_SIDE / Math.min(w, h));
  const [nw, nh] = [w * factor, h * factor];
  const left = handle.includes("w") ? x1 - nw : x0;
  const top = handle.includes("n") ? y1 - nh : y0;
  return [left, top, left + nw, top + nh];
}

// About the bottom centre, so that it goes on standing where it stands.
export function scaledBy([x0, y0, x1, y1], factor) {
  const [w, h] = [(x1 - x0) * factor, (y1 - y0) * factor];
  const middle = (x0 + x1) / 2;
  return Math.min(w, h) < LEAST_SIDE ? [x0, y0, x1, y1] : [middle - w / 2, y1 - h, middle + w / 2, y1];
}

export const whole = (box) => box.map(Math.round);
export const inWords = (box) => `${Math.round(widthOf(box))} × ${Math.round(heightOf(box))} px at ${Math.round(box[0])}, ${Math.round(box[1])}`;
export const within = ([x0, y0, x1, y1], x, y) => x >= x0 && x < x1 && y >= y0 && y < y1;
