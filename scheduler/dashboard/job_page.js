// One job: where it stands and why, its life, what it holds, and what may be done about it.

import { documents, ledgers, logs } from "./documents.js";
import { el, fill, said, setAttribute, visible } from "./dom.js";
import { icon } from "./icons.js";
import { jobActions } from "./job_actions.js";
import { listen } from "./live.js";
import { notify } from "./notices.js";
import { badge, card, facts, nothing, progressBar, sentence, setProgress, time } from "./pieces.js";
import { refresher } from "./refresh.js";
import { goTo, jobsHref } from "./route.js";
import { get } from "./session.js";
import { timeline } from "./timeline.js";
import { elapsed } from "./ticking.js";
import { kindOf, span } from "./words.js";

/** `retitle(text)` names the page after the job, once it is known. */
export function jobPage(signal, id, retitle) {
  const path = `api/jobs/${encodeURIComponent(id)}`;
  const head = el("div", { class: "job-head" });
  const actions = el("div", { class: "job-actions" });
  const progress = progressBar("Progress of this job");
  const why = el("div", { class: "why", role: "status" });
  const shown = { facts: el("div"), life: el("div"), holds: el("div"), passes: el("ul", { class: "ledgers" }) };
  const log = logs(id, signal);
  const passes = card("Passes over its items", { id: "passes" }, shown.passes);
  const logCard = card("Log", { id: "log" }, log.node);
  const whole = [
    el("section", { class: "card wide", "aria-label": "This job" }, head, progress, why, actions),
    el(
      "div",
      { class: "columns even" },
      el("div", { class: "stack" }, card("Its life", { id: "life" }, shown.life), logCard),
      el(
        "div",
        { class: "stack" },
        card("Facts", { id: "facts" }, shown.facts),
        passes,
        card("What it holds", { id: "holds" }, shown.holds),
      ),
    ),
  ];
  const main = el("div", {}, whole);
  const drawn = {};
  let job = null;

  async function load() {
    const [next, history] = await Promise.all([get(path, {}, signal), get(`${path}/history`, {}, signal)]);
    job = next;
    const waits = kindOf(job.status) === "waiting" ? await get(`${path}/why`, {}, signal) : null;
    show();
    retitle(visible([job.task_type, job.target_type, job.target_id].filter(Boolean).join(" ")));
    once("life", [history.entries, job.status], () =>
      fill(shown.life, history.entries.length ? timeline(history.entries, job) : nothing("No entry is kept of it.")),
    );
    once("why", [waits, job.status, job.error, job.reason], () => fill(why, whyOf(job, waits)));
  }

  /** Draws a part when what it shows is another than before: focus and selections stay where nothing changed. */
  function once(name, what, draw) {
    const key = JSON.stringify(what);
    if (drawn[name] === key) return;
    drawn[name] = key;
    draw();
  }

  function show() {
    // What is left is said while it runs; whoever is done has done all.
    const over = job.status === "processing" ? {} : { left_s: null, ...(job.status === "completed" ? { percent: 100 } : {}) };
    setProgress(progress, { ...job.progress, ...over });
    setAttribute(progress, "hidden", job.progress === null && job.status !== "processing");
    once("head", [job.status, job.held], () => fill(head, headOf(job)));
    const gone = () => goTo("jobs");
    once("actions", [job.status, job.held, job.ledgers.length, job.state === null], () =>
      fill(
        actions,
        jobActions(job, () => refresh.now(), gone),
      ),
    );
    once("facts", { ...job, progress: null, payload: null, result: null, state: null, ledgers: null }, () =>
      fill(shown.facts, factsOf(job)),
    );
    once("holds", [job.payload, job.result, job.state], () => fill(shown.holds, documents(job)));
    once("passes", job.ledgers, () => fill(shown.passes, ledgers(job, signal)));
    setAttribute(passes, "hidden", job.ledgers.length === 0);
  }

  function onProblem(error) {
    if (error.status !== 404) return notify(error.message, "bad");
    return fill(
      main,
      card(
        "No such job",
        { id: "missing" },
        nothing("It may have been deleted, or belong to somebody else. ", el("a", { href: jobsHref() }, "All jobs")),
      ),
    );
  }

  const refresh = refresher(load, { least: 1000, idle: 20_000, signal, region: main, onProblem });
  // The service looks through its log file for this: not for every step of a job.
  const logged = refresher(log.load, { least: 5000, idle: 120_000, signal, region: logCard, onProblem: () => {} });
  listen(({ anew, entries }) => {
    const mine = entries.filter((entry) => entry.job_id === id);
    const told = mine.findLast((entry) => entry.name === "job.progress");
    if (told && job) {
      job = { ...job, progress: { ...job.progress, ...told.detail } };
      show();
    }
    const isStep = anew || mine.some((entry) => entry.name !== "job.progress");
    const isMore = isStep || (told && job?.ledgers.length);
    const isElsewhere = kindOf(job?.status) === "waiting" && entries.some((entry) => entry.name.startsWith("lane."));
    if (isMore || isElsewhere) refresh.soon();
    if (isStep) logged.soon();
  }, signal);
  return { title: "Job", nodes: [main] };
}

function headOf(job) {
  const copy = el("button", { class: "quiet", type: "button", "aria-label": "Copy the id", title: "Copy the id" }, icon("copy"));
  copy.addEventListener("click", () => navigator.clipboard?.writeText(job.job_id).then(() => notify("The id is in the clipboard.")));
  const id = el("span", { class: "muted id" }, said(job.job_id), navigator.clipboard ? copy : null);
  return [el("div", { class: "line" }, badge(job.status, { held: job.held }), id)];
}

/** Why it waits, in the service's sentence; why it failed, in its own words. */
function whyOf(job, waits) {
  if (waits) {
    const untold = waits.causes.filter((cause) => !waits.sentence.includes(cause.sentence));
    const more = untold.length
      ? el(
          "ul",
          {},
          untold.map((cause) => el("li", {}, sentence(cause.sentence))),
        )
      : null;
    return [el("p", {}, icon("waiting"), el("span", {}, sentence(waits.sentence))), more];
  }
  if (kindOf(job.status) !== "failed") return null;
  return el(
    "p",
    { class: "failed" },
    icon("failed"),
    el("span", {}, job.reason ? el("strong", {}, said(job.reason)) : null, job.error ? [": ", said(job.error)] : null),
  );
}

function factsOf(job) {
  const spent = job.started_at && kindOf(job.status) === "running" ? elapsed(job.started_at) : null;
  const link = (parameters, text) => el("a", { href: jobsHref(parameters) }, said(text));
  return facts([
    ["Status", el("code", {}, job.status)],
    ["Reason", job.reason && link({ reason: job.reason }, job.reason)],
    ["Error", job.error && said(job.error, { class: "error" })],
    ["Type", link({ task_type: job.task_type }, job.task_type)],
    [
      "Target",
      [job.target_type, job.target_id].filter(Boolean).length ? said([job.target_type, job.target_id].filter(Boolean).join(" ")) : null,
    ],
    ["Owner", job.owner && link({ owner: job.owner }, job.owner)],
    ["Batch", job.batch && link({ batch: job.batch }, job.batch)],
    ["Unique key", job.unique_key && said(job.unique_key)],
    ["Priority", job.priority ? String(job.priority) : null],
    ["Attempts", job.max_attempts ? `${job.attempts} of ${job.max_attempts}` : String(job.attempts)],
    ["Crashes", job.crashes ? String(job.crashes) : null],
    ["Time limit", job.timeout_s ? span(job.timeout_s) : null],
    ["Waits for", job.blockers ? `${job.blockers} others to end` : null],
    ["Worker", job.worker && said(job.worker)],
    ["Created", time(job.created_at)],
    ["Due", kindOf(job.status) === "waiting" && job.run_after ? time(job.run_after) : null],
    ["Started", job.started_at && time(job.started_at)],
    ["Runs for", spent],
    ["Ended", job.finished_at && time(job.finished_at)],
    ["Likely done", kindOf(job.status) === "running" && job.ends_at ? time(job.ends_at) : null],
    ["Put off since", job.waiting_since && time(job.waiting_since)],
  ]);
}
