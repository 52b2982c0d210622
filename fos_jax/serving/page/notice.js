// What the page tells: a line at the top for what needs doing, live regions for what happened (and, at once, for errors).

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
  say(text, kind === "bad" ? "alarm" : "live");
  if (lasts_ms) timer = setTimeout(hush, lasts_ms);
}

export function hush() {
  byId("notice").hidden = true;
  byId("alarm").textContent = "";
}

export function say(text, region = "live") {
  byId(region).textContent = text;
}
