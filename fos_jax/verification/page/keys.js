// What the keys do, for the help and for the line at the foot of the page.

export const KEYS = [
  ["Cut-outs", [
    ["← ↑ → ↓", "look at the next one"],
    ["Space", "mark it: it does not belong here"],
    ["Shift →", "mark on the way"],
    ["a", "mark all"],
    ["i", "mark the others instead"],
    ["Esc", "mark none"],
    ["+ -", "larger, smaller"],
  ]],
  ["Decide", [
    ["Enter", "those not marked are right; next group"],
    ["m", "move the marked to another group"],
    ["s", "split the marked off as a group of their own"],
    ["r", "reject the marked: unusable"],
    ["g", "merge this whole group into another"],
  ]],
  ["Describe", [
    ["n", "name the pattern"],
    ["t", "its attributes"],
    ["c", "also compatible: what fits one pattern fits another"],
  ]],
  ["Go", [
    ["j k", "next, previous group"],
    ["[ ]", "previous, next category"],
    ["1 … 5", "views"],
    ["a b", "in disagreements: side with a verdict"],
    ["v", "next view"],
    ["u", "undo my last action"],
    ["?", "this help"],
  ]],
];

export const HINTS = {
  groups: [["Space", "mark what does not belong"], ["Enter", "the rest is right, next"], ["m", "move marked"], ["s", "split"], ["r", "reject"],
    ["g", "merge group"], ["n", "name"], ["t", "attributes"], ["c", "compatible"], ["j k", "groups"], ["u", "undo"], ["?", "all keys"]],
  spread: [["Space", "mark what does not belong"], ["Enter", "the rest belongs there, next"], ["m", "move marked"], ["r", "reject marked"], ["j k", "batches"],
    ["u", "undo"], ["?", "all keys"]],
  disagreements: [["a b", "side with a verdict"], ["j k", "next, previous"], ["1 … 5", "views"], ["u", "undo"], ["?", "all keys"]],
  agreement: [["1 … 5", "views"], ["?", "all keys"]],
  history: [["1 … 5", "views"], ["u", "undo"], ["?", "all keys"]],
};
