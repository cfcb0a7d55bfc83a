// The small things that every page shows: a status, a progress bar, a card, a message where there is nothing.

import { el, fill, part, said, setAttribute, setSaid, setText, visible } from "./dom.js";
import { icon } from "./icons.js";
import { jobHref } from "./route.js";
import { figure, kindOf, roughly, when, fullTime, wordOf } from "./words.js";

/** A status as a word with its sign and colour. */
export function badge(status, { held = false } = {}) {
  return setBadge(el("span", { class: "badge" }), status, { held });
}

export function setBadge(node, status, { held = false } = {}) {
  const shown = held && kindOf(status) === "waiting" ? "paused" : kindOf(status);
  const word = shown === "paused" ? "Paused" : wordOf(status);
  if (node.dataset.shown === `${shown} ${word}`) return node;
  node.dataset.shown = `${shown} ${word}`;
  setAttribute(node, "class", `badge ${shown}`);
  setAttribute(node, "title", held ? `${status}, paused by hand` : status);
  return fill(node, icon(shown), word);
}

/** A word with a sign, for what is no status. */
export function mark(kind, text) {
  return el("span", { class: `badge ${kind}` }, icon(kind), text);
}

/** How far a job is; `setProgress` shows the numbers. */
export function progressBar(label) {
  return el(
    "div",
    { class: "progress" },
    el("progress", { max: 100, value: 0, "aria-label": label, "data-part": "bar" }),
    el("span", { class: "percent", "data-part": "percent" }, "0 %"),
    el("span", { class: "detail", "data-part": "detail" }),
  );
}

export function setProgress(node, progress) {
  const { percent = 0, current = null, total = null, message = "" } = progress ?? {};
  setAttribute(part(node, "bar"), "value", Math.round(percent * 10) / 10);
  setText(part(node, "percent"), `${percent > 0 && percent < 10 ? figure(percent) : Math.floor(percent)} %`);
  const counted = total === null || current === null ? null : `${figure(current)} of ${figure(total)}`;
  const left = leftOf(progress);
  const rest = left > 0 ? `about ${roughly(left)} left` : null;
  setSaid(part(node, "detail"), [counted, rest, message].filter(Boolean).join(" · "));
}

/** The seconds that are left: as many as were said, less those that have passed since. */
function leftOf(progress) {
  if (!Number.isFinite(progress?.left_s)) return 0;
  return progress.left_s - (progress.at ? (Date.now() - Date.parse(progress.at)) / 1000 : 0);
}

/** A sentence of the service; what it marks as code looks like it. */
export function sentence(text) {
  return String(text)
    .split("`")
    .map((piece, index) => (index % 2 ? el("code", {}, visible(piece)) : said(piece)));
}

export function card(title, { id, actions = [], wide = false } = {}, ...children) {
  const head = el("header", {}, el("h2", { id }, title), el("div", { class: "actions" }, actions));
  return el("section", { class: wide ? "card wide" : "card", "aria-labelledby": id }, head, children);
}

/** Nothing to see, in words. */
export function nothing(text, ...more) {
  return el("p", { class: "nothing" }, text, more);
}

/** What a job is about, its type and target, as the link to its page. */
export function jobName(job) {
  const target = [job.target_type, job.target_id].filter(Boolean).join(" ");
  const name = el("a", { href: jobHref(job.job_id), class: "name" }, said(job.task_type));
  return el("span", { class: "job-name" }, name, target ? said(target, { class: "target" }) : null);
}

export function time(at) {
  return el("time", { datetime: at, title: fullTime(at) }, when(at));
}

/** Names and values; those without a value are left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el(
    "dl",
    { class: "facts" },
    known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

/** A button that shows, disabled with its reason, what a token must not do. */
export function action(text, why, act, { kind = "", name = null } = {}) {
  const button = el("button", { type: "button", class: kind, disabled: why !== null, title: why, "data-action": name });
  button.addEventListener("click", act);
  button.append(text);
  return button;
}

/** A table whose rows become blocks on a phone; the roles stay what they are. `columns`: `[title, class]`. */
export function table(caption, columns) {
  const head = columns.map(([title, kind]) => el("th", { scope: "col", role: "columnheader", class: kind }, title));
  const body = el("tbody", { role: "rowgroup" });
  const node = el(
    "table",
    { role: "table" },
    el("caption", { class: "unseen" }, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)),
    body,
  );
  return { node: el("div", { class: "table" }, node), body };
}

export function row(...cells) {
  return el("tr", { role: "row" }, cells);
}

export function cell(kind, name, ...children) {
  return el("td", { role: "cell", class: kind, "data-part": name }, children);
}
