// What the page tells: a line at the top for what needs doing, a live region for what happened.

import { byId, el } from "/page/shared/dom.js";

let timer = 0;

export function tell(text, { kind = "info", lasts_ms = 6000, action = null } = {}) {
  const box = byId("notice");
  clearTimeout(timer);
  box.className = kind;
  box.replaceChildren(
    el("span", {}, text),
    ...(action ? [el("button", { onclick: () => (hush(), action.run()) }, action.label)] : []),
    el("button", { class: "close", "aria-label": "Close this message", onclick: hush }, "✕"),
  );
  box.hidden = false;
  if (lasts_ms) timer = setTimeout(hush, lasts_ms);
}

export function hush() {
  byId("notice").hidden = true;
}

export function say(text) {
  byId("live").textContent = text;
}
