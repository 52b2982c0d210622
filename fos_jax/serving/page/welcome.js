// The first thing that is seen: how to begin, with examples to begin with.

import { byId, el } from "/page/shared/dom.js";
import { showAt } from "./pictures.js";
import { clickWord, plain } from "./words.js";

// on: {open(), shoot(), example(example)}
export function drawWelcome(gallery, on) {
  const examples = gallery.examples ?? [];
  byId("welcome").replaceChildren(
    el("h2", {}, "Which one fits here?"),
    el("p", {}, "Open a photograph, draw a rectangle, and see what of the gallery fits into it."),
    el("p", {}, el("button", { class: "main large", onclick: on.open }, "Open a photograph"), el("small", { class: "not-touch" }, "or drop it here, or paste it")),
    el("p", { class: "for-touch" }, el("button", { class: "large", onclick: on.shoot }, "Take one with the camera")),
    ...(examples.length
      ? [
          el("h3", {}, "Or begin with one of these"),
          el(
            "ul",
            { class: "examples" },
            examples.map((example, index) => {
              const image = el("img", { alt: "", loading: "lazy", width: String(example.width), height: String(example.height) });
              showAt(image, exampleAddress(example));
              return el("li", {}, el("button", { "aria-label": `Example ${index + 1}: a place for a ${plain(example.category)}`, "data-example": example.id, onclick: () => on.example(example) }, image, el("span", {}, plain(example.category))));
            }),
          ),
        ]
      : []),
  );
}

export const exampleAddress = ({ id }) => `/api/examples/${encodeURIComponent(id)}`;

export const STEPS = [
  ["Open a photograph", "A file, a drop, a paste, or an example."],
  ["Draw a rectangle", "Where something is to stand."],
  ["Choose", clickWord === "tap" ? "Tap a result: it stands in the photograph." : "Point at a result to see it in place, click to keep it."],
];
