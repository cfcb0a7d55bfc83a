// The workers: who lives, who is lost, what each runs.

import { el, said } from "./dom.js";
import { cell, mark, nothing, row, table, time } from "./pieces.js";
import { number, span } from "./words.js";

/** A table of workers as `/api/workers` tells of them. */
export function workersTable(workers) {
  if (workers.length === 0) return nothing("No worker. ", el("code", {}, "scheduler serve"), " starts one.");
  const columns = [["Worker"], ["State"], ["Runs", "right"], ["Last beat", "right"], ["Machine"], ["Since"]];
  const { node, body } = table("Workers", columns);
  body.append(
    ...workers.map((one) =>
      row(
        cell("lead", null, said(one.worker)),
        cell(null, null, one.state === "living" ? mark("completed", "Living") : mark("failed", "Lost")),
        cell("right", null, el("span", { class: "label" }, "runs "), number(one.running)),
        cell("right", null, el("span", { class: "label" }, "last beat "), `${span(one.silent_s)} ago`),
        cell(null, null, said(one.host), ` · ${one.pid}`),
        cell(null, null, el("span", { class: "label" }, "since "), time(one.started_at)),
      ),
    ),
  );
  return node;
}
