// The running jobs, each with how far it is. Progress is shown as it comes; who runs is asked for, at most every two seconds.

import { el, keyed, part, setAttribute, setText } from "./dom.js";
import { listen } from "./live.js";
import { badge, card, jobName, nothing, progressBar, setBadge, setProgress } from "./pieces.js";
import { refresher } from "./refresh.js";
import { jobsHref } from "./route.js";
import { get } from "./session.js";
import { elapsed } from "./ticking.js";

const MOST = 50;

export function runningCard(signal) {
  const list = el("ul", { class: "running" });
  const empty = nothing("Nothing runs right now.");
  const more = el("p", { class: "more" });
  const node = card(
    "Running now",
    { id: "running", actions: [el("a", { href: jobsHref({ status: "processing" }) }, "All")] },
    list,
    empty,
    more,
  );
  let jobs = [];

  async function load() {
    const answer = await get("api/jobs", { status: "processing", limit: MOST }, signal);
    jobs = answer.jobs;
    show();
    setText(more, answer.next_cursor ? `The newest ${MOST} of more.` : "");
  }

  function show() {
    keyed(list, jobs, (job) => job.job_id, make, update);
    setAttribute(empty, "hidden", jobs.length > 0);
  }

  const refresh = refresher(load, { least: 2000, idle: 10_000, signal, region: node });
  listen(({ anew, entries }) => {
    if (anew) return refresh.soon();
    const known = new Map(jobs.map((job) => [job.job_id, job]));
    for (const entry of entries) {
      const job = known.get(entry.job_id);
      if (entry.name === "job.progress" && job) job.progress = { ...job.progress, ...entry.detail };
      else if (entry.job_id && entry.name !== "job.enqueued") {
        if (job && entry.status) job.status = entry.status;
        refresh.soon();
      }
    }
    return show();
  }, signal);
  return node;
}

function make(job) {
  return el(
    "li",
    {},
    el("div", { class: "line" }, jobName(job), badge(job.status), el("span", { class: "muted", "data-part": "since" })),
    progressBar(`Progress of ${job.task_type} ${job.target_id}`),
  );
}

function update(node, job) {
  setBadge(node.querySelector(".badge"), job.status);
  setProgress(node.querySelector(".progress"), job.progress);
  const since = part(node, "since");
  if (since.dataset.at !== job.started_at && job.started_at) {
    since.dataset.at = job.started_at;
    since.replaceChildren(elapsed(job.started_at, { before: "for " }), job.attempts > 1 ? `, attempt ${job.attempts}` : "");
  }
}
