// Questions to the annotator. Each resolves to the answer, or to null where it was closed.

import { byId, el } from "./shared/dom.js";
import { thumbnail } from "./thumbnails.js";

// The key that answers a question must not go on to act on the page behind it.
byId("dialog").addEventListener("keydown", (event) => event.stopPropagation());

function open(content, onOpen) {
  const dialog = byId("dialog");
  return new Promise((resolve) => {
    let answer = null;
    const finish = (value) => {
      answer = value;
      dialog.close();
    };
    dialog.replaceChildren(...content(finish));
    dialog.addEventListener("close", () => resolve(answer), { once: true });
    dialog.showModal();
    onOpen?.(dialog);
  });
}

export function askText({ title, hint, value = "", lines = 1, required = false }) {
  return open(
    (finish) => {
      const field = lines > 1 ? el("textarea", { rows: String(lines), spellcheck: "false" }) : el("input", {});
      field.value = value;
      field.setAttribute("aria-label", title);
      const done = () => {
        if (!required || field.value.trim()) finish(field.value.trim());
      };
      field.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (lines === 1 || event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          done();
        }
      });
      const key = lines > 1 ? "Ctrl Enter" : "Enter";
      return [
        el("h2", {}, title),
        hint ? el("p", {}, hint) : null,
        field,
        el("p", { class: "buttons" }, el("button", { onclick: done, class: "main" }, "Save ", el("kbd", {}, key))),
      ].filter(Boolean);
    },
    (dialog) => dialog.querySelector("input, textarea").select(),
  );
}

// entries: {value, label, detail, cover: [cut-outs]}
export function pick({ title, entries }) {
  let shown = entries;
  let at = 0;
  return open(
    (finish) => {
      const field = el("input", { placeholder: "Type to filter, arrows to choose, Enter", "aria-label": title });
      const box = el("div", { class: "choices", role: "listbox" });
      const render = () => {
        box.replaceChildren(
          ...shown.slice(0, 60).map((entry, index) =>
            el(
              "div",
              {
                class: index === at ? "choice chosen" : "choice",
                role: "option",
                "data-value": String(entry.value),
                "aria-selected": String(index === at),
                onclick: () => finish(entry.value),
              },
              el("span", { class: "cover" }, entry.cover.map(thumbnail)),
              el("span", {}, entry.label, el("small", {}, entry.detail)),
            ),
          ),
        );
        if (!shown.length) box.append(el("p", {}, "Nothing of that name."));
        box.querySelector(".chosen")?.scrollIntoView({ block: "nearest" });
      };
      field.addEventListener("input", () => {
        const words = field.value.toLowerCase();
        shown = entries.filter((entry) => `${entry.label} ${entry.detail}`.toLowerCase().includes(words));
        at = 0;
        render();
      });
      field.addEventListener("keydown", (event) => {
        const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 6, PageUp: -6 }[event.key];
        if (step) at = Math.max(0, Math.min(Math.min(shown.length, 60) - 1, at + step));
        else if (event.key === "Enter" && shown[at]) return finish(shown[at].value);
        else return undefined;
        event.preventDefault();
        return render();
      });
      render();
      return [el("h2", {}, title), field, box];
    },
    (dialog) => dialog.querySelector("input").focus(),
  );
}

export function showKeys(sections) {
  return open((finish) => [
    el("h2", {}, "Keys"),
    el(
      "div",
      { class: "keys" },
      sections.map(([title, rows]) =>
        el(
          "section",
          {},
          el("h3", {}, title),
          el(
            "dl",
            {},
            rows.flatMap(([keys, what]) => [el("dt", {}, keys.split(" ").map((k) => el("kbd", {}, k))), el("dd", {}, what)]),
          ),
        ),
      ),
    ),
    el("p", { class: "buttons" }, el("button", { class: "main", onclick: () => finish(true) }, "Close ", el("kbd", {}, "Esc"))),
  ]);
}
