// What is closed: pauses of lanes, pools, owners and jobs, with their time running down, and the hands that open and close.

import { confirmed, told } from "./dialogs.js";
import { el, keyed, part, said, setAttribute, visible } from "./dom.js";
import { action, mark, nothing } from "./pieces.js";
import { jobHref } from "./route.js";
import { ask, whyNot } from "./session.js";
import { countdown } from "./ticking.js";

//: How long a pause by hand may be, for those who choose; null: until somebody resumes.
const LENGTHS = [
  [null, "Until resumed"],
  [600, "10 minutes"],
  [3600, "1 hour"],
  [21_600, "6 hours"],
  [86_400, "1 day"],
];
const GATES = { probe: "Its time is up: one job goes first", probing: "Its time is up: one job tries now" };

/** The list; `show(pauses)` with what the API says of each. */
export function closedList({ changed, withButtons = false }) {
  const list = el("ul", { class: "closed" });
  const empty = nothing("Nothing is paused.");
  return {
    nodes: [list, empty],
    show(pauses) {
      const standing = pauses.filter((pause) => pause.gate !== "open");
      keyed(
        list,
        standing,
        (pause) => pause.scope,
        (pause) => make(pause, withButtons, changed),
        update,
      );
      setAttribute(empty, "hidden", standing.length > 0);
    },
  };
}

function make(pause, withButtons, changed) {
  const resume = () => resumed(pause.scope).then((answer) => answer && changed());
  return el(
    "li",
    {},
    el("div", { class: "line" }, mark("paused", "Paused"), scopeName(pause.scope), el("span", { class: "left", "data-part": "left" })),
    el("p", { class: "muted", "data-part": "why" }),
    withButtons ? action("Resume…", whyNot("operate", { forAll: true }), resume, { name: "resume" }) : null,
  );
}

function update(node, pause) {
  const shown = `${pause.gate} ${pause.reason} ${pause.until} ${pause.set_by} ${pause.strikes}`;
  if (node.dataset.shown === shown) return;
  node.dataset.shown = shown;
  const left = pauseLeft(pause);
  part(node, "left").replaceChildren(left);
  const by = pause.set_by ? [", by job ", el("a", { href: jobHref(pause.set_by) }, said(pause.set_by.slice(0, 8)))] : [];
  const again = pause.strikes > 1 ? `, ${pause.strikes} times in a row` : "";
  part(node, "why").replaceChildren(pause.reason === "manual" ? "By hand" : said(pause.reason), ...by, again);
}

/** How long a pause still is, counting down. The service says how many seconds are left: clocks may differ. */
export function pauseLeft(pause) {
  if (GATES[pause.gate]) return GATES[pause.gate];
  if (pause.remaining_s === null) return "until resumed";
  return countdown(Date.now() + pause.remaining_s * 1000, { before: "opens in ", then: "opening…" });
}

/** A scope in words: a lane, a pool, an owner, a job. */
export function scopeName(scope) {
  const [kind, name] = /^(pool|owner|job):(.*)$/s.exec(scope)?.slice(1) ?? ["lane", scope];
  return el("span", { class: "scope" }, el("span", { class: "muted" }, `${kind} `), said(name));
}

const sentenceOf = (scope) => {
  const [kind, name] = /^(pool|owner|job):(.*)$/s.exec(scope)?.slice(1) ?? ["lane", scope];
  if (kind === "pool") return `No job of a type that draws on the pool “${name}” will start.`;
  if (kind === "owner") return `No job of the owner “${name}” will start.`;
  return kind === "job" ? "The job stops at its next checkpoint or chunk." : `No job of the type “${name}” will start.`;
};

/** A select with the lengths of a pause. */
export function lengthField(id) {
  const options = LENGTHS.map(([seconds, text]) => el("option", { value: seconds ?? "" }, text));
  const select = el("select", { id }, options);
  return { node: [el("label", { for: id }, "How long"), select], value: () => (select.value === "" ? null : Number(select.value)) };
}

/** Asks, and pauses a scope. */
export function paused(scope) {
  const length = lengthField("pause-length");
  const act = () => ask("POST", "api/pauses", { body: { scope, for_s: length.value() } });
  const body = [
    el("p", {}, visible(sentenceOf(scope)), " Running jobs go on. A longer pause that stands already is not shortened."),
    length.node,
  ];
  return told(() => confirmed({ title: visible(`Pause ${scope}?`), body, confirm: "Pause", act }), visible(`${scope} is paused.`));
}

/** Asks, and opens a scope, whoever closed it. */
export function resumed(scope) {
  const act = () => ask("DELETE", `api/pauses/${encodeURIComponent(scope)}`);
  const body = [el("p", {}, "Its jobs may start at once. If a provider closed it, it may well say “later” again.")];
  return told(() => confirmed({ title: visible(`Resume ${scope}?`), body, confirm: "Resume", act }), visible(`${scope} is open.`));
}
