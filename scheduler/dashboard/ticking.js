// Times that move by themselves: what counts down to `data-until` and up from `data-since` (both milliseconds since the epoch).

import { el, setText } from "./dom.js";
import { fullTime, roughly } from "./words.js";

/** The seconds until `at` (milliseconds); at zero it says `then`. */
export function countdown(at, { before = "", then = "now" } = {}) {
  return shown(el("span", { class: "ticking", "data-until": at, "data-before": before, "data-then": then, title: fullTime(at) }));
}

/** The seconds since `at` (ISO 8601, or milliseconds). */
export function elapsed(at, { before = "", after = "" } = {}) {
  const since = typeof at === "number" ? at : Date.parse(at);
  return shown(el("span", { class: "ticking", "data-since": since, "data-before": before, "data-after": after, title: fullTime(at) }));
}

/** Starts the one clock of the page. */
export function startTicking() {
  setInterval(() => {
    if (!document.hidden) document.querySelectorAll(".ticking").forEach(shown);
  }, 1000);
}

function shown(node) {
  const { until, since, before, then, after } = node.dataset;
  if (until !== undefined) {
    const left = (Number(until) - Date.now()) / 1000;
    setText(node, left > 0.5 ? before + roughly(left) : then);
  } else {
    setText(node, before + roughly((Date.now() - Number(since)) / 1000) + after);
  }
  return node;
}
