// What one may do with a job: the buttons that fit its status, disabled with the reason where the token does not allow it.

import { lengthField } from "./closed.js";
import { choice, confirmed, told } from "./dialogs.js";
import { el, visible } from "./dom.js";
import { action } from "./pieces.js";
import { ask, whyNot } from "./session.js";
import { kindOf } from "./words.js";

/** The buttons for `job`; `changed(job)` gets it as it is afterwards, `gone()` is called when it was deleted. */
export function jobActions(job, changed, gone) {
  const kind = kindOf(job.status);
  const unfinished = kind === "waiting" || kind === "running";
  const name = visible([job.task_type, job.target_id].filter(Boolean).join(" "));
  const path = `api/jobs/${encodeURIComponent(job.job_id)}`;
  const write = whyNot("write");
  const after = (question) => question().then((answer) => answer && changed(answer));
  const buttons = [];

  if (kind === "failed" || kind === "cancelled")
    buttons.push(action("Retry…", write, () => after(() => retry(job, path, name)), { name: "retry", kind: "primary" }));
  if (unfinished && !job.held) buttons.push(action("Pause…", write, () => after(() => pause(path, name)), { name: "pause" }));
  if (unfinished && job.held)
    buttons.push(action("Resume…", write, () => after(() => resume(path, name)), { name: "resume", kind: "primary" }));
  if (unfinished) buttons.push(action("Cancel…", write, () => after(() => cancel(job, path, name)), { name: "cancel" }));
  buttons.push(
    action("Delete…", write, () => remove(job, path, name).then((answer) => answer && gone()), { name: "delete", kind: "danger-quiet" }),
  );
  return [el("div", { class: "buttons" }, buttons), write ? el("p", { class: "muted why-not" }, write) : null];
}

function retry(job, path, name) {
  const how = howToRetry(job);
  const isLong = job.ledgers?.length > 0 || job.state !== null;
  const body = [el("p", {}, "It begins with fresh attempts."), isLong ? how.node : null];
  const act = () => ask("POST", `${path}/retry`, { body: isLong ? how.value() : {} });
  return told(() => confirmed({ title: `Retry ${name}?`, body, confirm: "Retry", act }), "The job was sent back.");
}

function cancel(job, path, name) {
  const isRunning = kindOf(job.status) === "running";
  const body = [el("p", {}, isRunning ? "Its handler is stopped where it is." : "It will not run.", " It can be sent back later.")];
  const act = () => ask("POST", `${path}/cancel`, { body: {} });
  return told(() => confirmed({ title: `Cancel ${name}?`, body, confirm: "Cancel the job", danger: true, act }), "The job was cancelled.");
}

function pause(path, name) {
  const length = lengthField("job-pause-length");
  const body = [el("p", {}, "A running job stops at its next checkpoint or chunk; the attempt is given back."), length.node];
  const act = () => ask("POST", `${path}/pause`, { body: { for_s: length.value() } });
  return told(() => confirmed({ title: `Pause ${name}?`, body, confirm: "Pause", act }), "The job is paused.");
}

function resume(path, name) {
  const body = [el("p", {}, "It may start as soon as its lane has room.")];
  const act = () => ask("POST", `${path}/resume`, { body: {} });
  return told(() => confirmed({ title: `Resume ${name}?`, body, confirm: "Resume", act }), "The job was let go.");
}

function remove(job, path, name) {
  const unfinished = ["waiting", "running"].includes(kindOf(job.status));
  const body = [el("p", {}, unfinished ? "It is cancelled first. " : "", "Its result and its history are gone then, for good.")];
  const act = () => ask("DELETE", path);
  return told(() => confirmed({ title: `Delete ${name}?`, body, confirm: "Delete", danger: true, act }), "The job was deleted.");
}

/** How a long job begins anew: `value()` is what the API takes. */
function howToRetry(job) {
  const hasFailedItems = job.ledgers.some((ledger) => ledger.failed > 0);
  const options = [
    ["on", "Go on where it stopped", "from the checkpoint and the ledger; failed items are tried again"],
    hasFailedItems ? ["failed", "Only failed items", "just those, nothing else of the job"] : null,
    ["restart", "From the start", "forgets the checkpoint and what is recorded of items"],
  ].filter(Boolean);
  const chosen = choice("retry-how", "It is a long job", options);
  return { node: chosen.node, value: () => ({ on: {}, failed: { failed_items: true }, restart: { restart: true } })[chosen.value()] };
}
