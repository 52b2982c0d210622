// Dialogs: downloads, keys, the service's key.

import { byId, el } from "/page/shared/dom.js";
import { KEYS } from "./keys.js";

byId("dialog").addEventListener("keydown", (event) => event.stopPropagation());
byId("dialog").addEventListener("click", (event) => event.target === event.currentTarget && event.currentTarget.close());

function open(title, ...content) {
  const dialog = byId("dialog");
  const close = el("button", { class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "✕");
  dialog.replaceChildren(el("div", { class: "dialog-head" }, el("h2", { id: "dialog-title" }, title), close), ...content);
  if (!dialog.open) dialog.showModal();
  return dialog;
}

export function showKeys() {
  open(
    "Keys",
    el(
      "div",
      { class: "keys" },
      KEYS.map(([title, rows]) =>
        el("section", {}, el("h3", {}, title), el("dl", {}, rows.flatMap(([keys, what]) => [el("dt", {}, keys.split(" ").map((key) => el("kbd", {}, key))), el("dd", {}, what)]))),
      ),
    ),
  );
}

// choices: {id, name, note, run()}
export function showDownloads(choices) {
  open(
    "Download",
    el(
      "div",
      { class: "downloads" },
      choices.map(({ id, name, note, run }, index) => el("button", { id, autofocus: index === 0, onclick: () => (byId("dialog").close(), run()) }, el("strong", {}, name), el("small", {}, note))),
    ),
  );
}

export function askKey(then) {
  const field = el("input", { type: "password", autocomplete: "off", id: "api-key", required: true });
  const done = (event) => {
    event.preventDefault();
    byId("dialog").close();
    then(field.value.trim());
  };
  open("This service wants a key", el("form", { onsubmit: done }, el("label", { class: "field" }, el("span", {}, "Key"), field), el("p", {}, el("button", { class: "main" }, "Go on"))));
  field.focus();
}
