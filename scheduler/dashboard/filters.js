// What jobs are searched by: the words of the address, as a form, and in a sentence.

import { el, said, visible } from "./dom.js";
import { kindOf, listed, STATUSES, wordOf } from "./words.js";

export const SEVERAL = ["status", "reason", "task_type"];
export const SINGLE = ["target_type", "target_id", "owner", "batch", "text", "created_after", "created_before"];
const LABELS = {
  task_type: "Type",
  target_type: "Target type",
  target_id: "Target",
  owner: "Owner",
  batch: "Batch",
  text: "Text",
  created_after: "Created after",
  created_before: "Created before",
};
const TIMES = ["created_after", "created_before"];

/** The filter of an address: `{status: […], text: "…", …}` without what is not set. */
export function filterOf(query) {
  const filter = {};
  for (const name of SEVERAL) if (query.getAll(name).length) filter[name] = query.getAll(name);
  for (const name of SINGLE) if (query.get(name)) filter[name] = query.get(name);
  return filter;
}

/** The filter in words: `failed: provider, reason quota_exhausted, type generate_topics`. */
export function inWords(filter) {
  const words = [];
  if (filter.status) words.push(`status ${listed(filter.status.map((one) => wordOf(one).toLowerCase()))}`);
  if (filter.reason) words.push(`reason ${listed(filter.reason)}`);
  if (filter.task_type) words.push(`type ${listed(filter.task_type)}`);
  for (const name of SINGLE) if (filter[name]) words.push(`${LABELS[name].toLowerCase()} “${filter[name]}”`);
  return visible(words.join(", "));
}

/** The form. `stats` offers words to choose from; `apply(filter)` is called when it is sent. */
export function filterForm(filter, stats, apply) {
  const picks = {
    status: pick("status", "Status", Object.keys(STATUSES), filter.status ?? [], (status) => `${wordOf(status)}`),
    reason: pick("reason", "Reason", Object.keys(stats.reasons), filter.reason ?? []),
    task_type: pick("task_type", "Type", Object.keys(stats.by_task_type), filter.task_type ?? []),
  };
  const inputs = Object.fromEntries(SINGLE.map((name) => [name, inputOf(name, filter[name])]));

  function submit(event) {
    event?.preventDefault();
    const next = {};
    for (const name of SEVERAL) next[name] = picks[name].values();
    for (const name of SINGLE) next[name] = valueOf(inputs[name]);
    apply(next);
  }

  for (const one of Object.values(picks)) one.node.addEventListener("chosen", () => submit());
  const field = (name) => el("div", { class: "field" }, el("label", { for: `f-${name}` }, LABELS[name]), inputs[name]);
  const rest = ["target_type", "target_id", "owner", "batch", "created_after", "created_before"];
  const more = el(
    "details",
    { class: "more-filters", open: rest.some((name) => filter[name]) },
    el("summary", {}, "More filters"),
    el("div", { class: "fields" }, rest.map(field)),
  );
  inputs.text.placeholder = "Id, target, type, key or error";
  const search = el("div", { class: "search-line" }, inputs.text, el("button", { class: "primary", type: "submit" }, "Search"));
  const chosen = el(
    "div",
    { class: "picks" },
    Object.values(picks).map((one) => one.node),
  );
  return el("form", { class: "filters", role: "search", "aria-label": "Filter jobs", on: { submit } }, search, chosen, more);
}

function inputOf(name, value = "") {
  const isTime = TIMES.includes(name);
  const shown = isTime && value ? localTime(value) : value;
  const label = name === "text" ? { "aria-label": "Search text" } : {};
  return el("input", {
    id: `f-${name}`,
    name,
    type: isTime ? "datetime-local" : name === "text" ? "search" : "text",
    value: shown,
    step: isTime ? 1 : null,
    ...label,
  });
}

function valueOf(input) {
  if (input.type !== "datetime-local") return input.value.trim() || null;
  return input.value ? new Date(input.value).toISOString() : null;
}

/** A time of the API as its input wants it: local, without a zone. */
function localTime(at) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** Several of a list, in a box that opens, and is `chosen` when it closes as another; long lists can be searched. Words of the address that the
 * list does not have are kept. */
function pick(name, title, options, chosen, wordFor = (one) => one) {
  const all = [...new Set([...chosen, ...options])];
  const items = all.slice(0, 200).map((one) => {
    const input = el("input", { type: "checkbox", name, value: one, checked: chosen.includes(one) });
    return el("label", { class: name === "status" ? `option ${kindOf(one)}` : "option" }, input, said(wordFor(one)));
  });
  const list = el(
    "div",
    { class: "options", role: "group", "aria-label": title },
    items.length ? items : el("p", { class: "muted" }, "none yet"),
  );
  const filter = all.length > 12 ? el("input", { type: "search", "aria-label": `Find in ${title}`, placeholder: "Find" }) : null;
  filter?.addEventListener("input", () =>
    items.forEach((item, index) => (item.hidden = !all[index].toLowerCase().includes(filter.value.toLowerCase()))),
  );
  const text = chosen.length === 0 ? "any" : chosen.length === 1 ? wordFor(chosen[0]) : `${chosen.length} chosen`;
  const summary = el("summary", {}, el("span", { class: "muted" }, `${title} `), said(text, { class: "ellipsis" }));
  const node = el(
    "details",
    { class: chosen.length ? "pick chosen" : "pick", "data-pick": name },
    summary,
    el("div", { class: "panel" }, filter, list, el("button", { type: "submit" }, "Show")),
  );
  const values = () => [...node.querySelectorAll("input[type=checkbox]:checked")].map((input) => input.value);
  node.addEventListener("toggle", () => !node.open && values().join("\n") !== chosen.join("\n") && node.dispatchEvent(new Event("chosen")));
  closesByItself(node, summary);
  return { node, values };
}

/** Closes with Escape, and when somebody turns elsewhere. */
function closesByItself(node, summary) {
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !node.open) return;
    node.open = false;
    summary.focus();
  });
  node.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !node.contains(event.relatedTarget)) node.open = false;
  });
  document.addEventListener("pointerdown", function away(event) {
    if (!node.isConnected && node.dataset.wasShown) document.removeEventListener("pointerdown", away);
    else if (!node.contains(event.target)) node.open = false;
    if (node.isConnected) node.dataset.wasShown = "yes";
  });
}
