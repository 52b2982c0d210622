// Small ways to build a page. Text is always set as text, never as markup.

export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && typeof value !== "string") node[key] = value;
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

export function bar(share) {
  const inside = el("i");
  inside.style.width = `${Math.round(100 * share)}%`;
  return el("span", { class: "bar", "aria-hidden": "true" }, inside);
}

let timer = 0;
export function notify(text, kind = "info", lasts_ms = 4000) {
  const box = byId("notice");
  box.textContent = text;
  box.className = kind;
  box.hidden = false;
  clearTimeout(timer);
  if (lasts_ms) timer = setTimeout(() => (box.hidden = true), lasts_ms);
}

export function hideNotice() {
  byId("notice").hidden = true;
}
