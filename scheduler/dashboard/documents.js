// What a job holds, as text: payload, result, checkpoint, its passes over items, its log lines.

import { el, fill, said, visible } from "./dom.js";
import { notify } from "./notices.js";
import { cell, nothing, row, table } from "./pieces.js";
import { client, get } from "./session.js";
import { asText, figure, number, when } from "./words.js";

//: A longer document is cut: a browser lays text out slowly, and the whole is a download.
const MOST_TEXT = 20_000;
const MOST_ITEMS = 50;
const MOST_LINES = 200;

/** Payload, result and checkpoint, those that there are. */
export function documents(job) {
  const known = [
    ["Payload", job.payload],
    ["Result", job.result],
    ["Checkpoint", job.state],
  ].filter(([, value]) => value !== null && value !== undefined);
  if (known.length === 0) return [nothing("No payload, no result, no checkpoint.")];
  return known.map(([title, value]) => {
    const text = asText(value);
    const isCut = text.length > MOST_TEXT;
    const shown = el("pre", { tabindex: 0, "aria-label": title, dir: "auto" }, visible(text.slice(0, MOST_TEXT)));
    const cut = isCut ? el("p", { class: "more" }, `The first ${number(MOST_TEXT)} of ${number(text.length)} characters.`) : null;
    const button = title === "Result" ? el("button", { type: "button", on: { click: () => download(job.job_id) } }, "Download") : null;
    return el(
      "details",
      { open: true, class: "document", "data-document": title.toLowerCase() },
      el("summary", {}, title),
      button,
      shown,
      cut,
    );
  });
}

/** The result as a file. It is fetched, because a link could not carry the token. */
async function download(id) {
  try {
    const { blob, name } = await client.download(`api/jobs/${encodeURIComponent(id)}/result`);
    const address = URL.createObjectURL(blob);
    el("a", { href: address, download: name ?? `${id}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  } catch (error) {
    notify(error.message, "bad");
  }
}

/** The passes of a long job, with what failed in each. */
export function ledgers(job, signal) {
  return job.ledgers.map((ledger) => {
    const total = ledger.total ?? null;
    const counters = Object.entries(ledger.counters ?? {}).map(([name, value]) => el("span", {}, ` · ${figure(value)} `, said(name)));
    const bar = el("progress", {
      max: total ?? 1,
      value: total === null ? null : ledger.done + ledger.failed,
      "aria-label": `Pass ${ledger.name}`,
    });
    const told = [
      `${number(ledger.done)} done`,
      ledger.failed ? `, ${number(ledger.failed)} failed` : "",
      total === null ? "" : ` of ${number(total)}`,
    ];
    const failed = ledger.failed ? failedItems(job.job_id, ledger, signal) : null;
    return el(
      "li",
      { class: "ledger" },
      el("div", { class: "line" }, said(ledger.name, { class: "name" }), el("span", {}, told, counters)),
      bar,
      failed,
    );
  });
}

/** Asked for when it is opened, a page at a time. */
function failedItems(id, ledger, signal) {
  const place = el("div");
  const node = el("details", { "data-failed-items": "" }, el("summary", {}, `${number(ledger.failed)} failed`), place);
  async function show(after) {
    const query = { pass: ledger.name, failed: true, after, limit: MOST_ITEMS };
    const { items, next_after: next } = await get(`api/jobs/${encodeURIComponent(id)}/items`, query, signal);
    const { node: shown, body } = table("Failed items", [["Position", "right"], ["Key"], ["Error"]]);
    body.append(
      ...items.map((item) =>
        row(cell("right", null, number(item.position)), cell(null, null, said(item.key)), cell("wrong", null, said(item.error ?? ""))),
      ),
    );
    const more = next === null || next === undefined ? null : el("button", { type: "button", on: { click: () => shows(next) } }, "Next");
    const first = after === null ? null : el("button", { type: "button", on: { click: () => shows(null) } }, "First");
    fill(place, shown, el("div", { class: "pages" }, first, more));
  }
  const shows = (after) => show(after).catch((error) => error.name === "AbortError" || fill(place, nothing(error.message)));
  node.addEventListener("toggle", () => node.open && shows(null));
  return node;
}

/** The log lines of a job; `load()` asks for them. */
export function logs(id, signal) {
  const place = el("div", { class: "logs", tabindex: 0, role: "region", "aria-label": "Log lines" });
  async function load() {
    const { lines, note } = await get(`api/jobs/${encodeURIComponent(id)}/logs`, {}, signal);
    const latest = lines.slice(-MOST_LINES);
    const cut =
      latest.length < lines.length ? el("p", { class: "more" }, `The latest ${MOST_LINES} of ${number(lines.length)} lines.`) : null;
    fill(
      place,
      note ? el("p", { class: "muted" }, said(note)) : null,
      cut,
      latest.length ? el("ol", {}, latest.map(line)) : note ? null : nothing("No line about this job."),
    );
  }
  return { node: place, load };
}

function line(record) {
  const { at, timestamp, level, event, ...fields } = record;
  const rest = Object.entries(fields)
    .filter(([name, value]) => value !== null && !["job_id", "task_type", "target_type", "target_id", "owner"].includes(name))
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const moment = at ?? timestamp;
  return el(
    "li",
    { class: `log ${["warning", "error", "critical"].includes(level) ? level : "info"}` },
    el("span", { class: "muted" }, moment ? when(moment) : ""),
    el("span", { class: "level" }, visible(level ?? "")),
    said(event ?? "", { class: "event" }),
    said(rest.join(" "), { class: "fields" }),
  );
}
