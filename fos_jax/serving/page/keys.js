// What the keys do. Letters act only where their part of the page has the focus.

export const KEYS = [
  ["Anywhere", [
    ["Ctrl O", "open a photograph"],
    ["Ctrl V", "paste one"],
    ["Ctrl Z", "undo"],
    ["Ctrl Shift Z", "redo"],
    ["Ctrl Enter", "set a rectangle, or go to it"],
    ["Ctrl S", "download"],
    ["?", "this list"],
  ]],
  ["Rectangle", [
    ["← ↑ → ↓", "move it"],
    ["Shift arrows", "resize it"],
    ["Alt arrows", "by single pixels"],
    ["Shift drag", "draw one over a kept foreground"],
    ["Enter", "go to the results"],
    ["Delete", "remove it"],
  ]],
  ["Results", [
    ["← ↑ → ↓", "look at the next one, in the photograph"],
    ["Enter", "keep it"],
    ["Shift Enter", "keep it beside the one that is there"],
    ["S", "more like this"],
    ["W", "why"],
    ["Esc", "back to the rectangle"],
  ]],
  ["Kept foreground", [
    ["← ↑ → ↓", "move it"],
    ["+ -", "larger, smaller"],
    ["M", "mirror"],
    ["[ ]", "backward, forward"],
    ["Delete", "remove it"],
    ["Esc", "done"],
  ]],
];
