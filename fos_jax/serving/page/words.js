// Attributes in words, their mirror images and their opposites.

const FACING = new Set(["yaw", "azimuth", "animal_view", "person_facing", "voc_pose"]);
const PHRASES = { elevation: "seen from {}", light: "lit from the {}", season: "in {}", person_extent: "visible down to the {}" };
const BARE = new Set(["state", "pose", "support", "truncation", "truncation_extent", "animal_posture", "person_posture", "voc_truncated"]);
const VALUES = {
  "elevation high": "above",
  "truncation none": "whole",
  "truncation below": "cut off below",
  "truncation left": "cut off at the left",
  "truncation right": "cut off at the right",
  "truncation above": "cut off above",
  "truncation several": "cut off on several sides",
  "truncation_extent none": "whole",
  "truncation_extent partial": "cut off in part",
  "truncation_extent full": "cut off all across",
};

export function phrase(name, value) {
  const facing = { front: "the viewer", back: "away" };
  const said = (VALUES[`${name} ${value}`] ?? (FACING.has(name) && facing[value]) ?? "") || value.replaceAll("_", " ");
  if (FACING.has(name)) return `facing ${said}`;
  if (BARE.has(name)) return said;
  return (PHRASES[name] ?? `${plain(name)}: {}`).replace("{}", said);
}

export const plain = (name) => name.replaceAll("_", " ");
export const title = (name) => plain(name).replace(/^./, (letter) => letter.toUpperCase());
export const percent = (share) => (share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`);
export const counted = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

const NAMES = { yaw: "Facing", azimuth: "Facing", animal_view: "Facing", person_facing: "Facing", voc_pose: "Facing", elevation: "Seen from", light: "Lit from" };
export const heading = (name) => NAMES[name] ?? title(name);

export function describe(attributes, otherwise = "") {
  const said = Object.entries(attributes).map(([name, value]) => phrase(name, value));
  return said.length ? said.join(", ") : otherwise;
}

const swapped = (value, swaps) => value.split("_").map((word) => swaps[word] ?? word).join("_");
const SIDES = { left: "right", right: "left" };

export const mirrored = (attributes) => Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, swapped(value, SIDES)]));

// The other value of an attribute, with the words of a switch; null where it has no opposite.
export function opposite(name, value, values) {
  const turned = swapped(value, { ...SIDES, front: "back", back: "front" });
  if (FACING.has(name)) return turned !== value && values.includes(turned) ? { value: turned, label: "facing the other way" } : null;
  if (values.length !== 2) return null;
  const other = values.find((one) => one !== value);
  if (name === "elevation") return { value: other, label: other === "high" ? "seen from higher" : "seen from lower" };
  if (name === "light") return { value: other, label: "lit from the other side" };
  return { value: other, label: phrase(name, other) };
}

export const clickWord = matchMedia("(pointer: coarse)").matches ? "tap" : "click";
