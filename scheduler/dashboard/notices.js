// What was done, or could not be: a line that shows for a while and is read out.

import { el, visible } from "./dom.js";

const SHOWN_MS = 8000;
const MOST = 3;

/** `tone`: `ok` or `bad`. */
export function notify(text, tone = "ok") {
  const place = document.getElementById("notices");
  const same = [...place.children].find((one) => one.dataset.text === text);
  same?.remove();
  const close = el("button", { class: "quiet", type: "button", "aria-label": "Dismiss", on: { click: () => note.remove() } }, "×");
  const note = el("div", { class: `notice ${tone}` }, el("span", {}, visible(text)), close);
  note.dataset.text = text;
  place.append(note);
  while (place.children.length > MOST) place.firstElementChild.remove();
  setTimeout(() => note.remove(), tone === "bad" ? 2 * SHOWN_MS : SHOWN_MS);
}
