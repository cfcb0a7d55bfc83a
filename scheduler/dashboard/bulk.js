// Everything that a filter matches, cancelled or sent back at once: first asked how many that is, then done.

import { confirmed } from "./dialogs.js";
import { el } from "./dom.js";
import { inWords } from "./filters.js";
import { notify } from "./notices.js";
import { action } from "./pieces.js";
import { ask, whyNot } from "./session.js";
import { plural } from "./words.js";

const NEEDS_FILTER = "Filter first: this is for the jobs that a filter matches.";
const VERBS = {
  cancel: {
    verb: "Cancel",
    done: "cancelled",
    means: "Waiting jobs will not run, running handlers are stopped. What has ended is left alone.",
  },
  retry: {
    verb: "Retry",
    done: "sent back",
    means:
      "They begin with fresh attempts. Long jobs go on from where they stopped, failed items are tried again. Only failed and cancelled jobs are touched.",
  },
};

/** The buttons for `filter`; `changed()` is called when jobs were. */
export function bulkButtons(filter, changed) {
  const why = whyNot("write") ?? (Object.keys(filter).length ? null : NEEDS_FILTER);
  return Object.keys(VERBS).map((name) =>
    action(`${VERBS[name].verb} all…`, why, () => bulk(name, filter, changed), { name: `${name}-all` }),
  );
}

async function bulk(name, filter, changed) {
  const { verb, done, means } = VERBS[name];
  const path = `api/jobs/${name}`;
  let matched;
  try {
    ({ matched } = await ask("POST", path, { body: { ...filter, dry_run: true } }));
  } catch (error) {
    return notify(error.message, "bad");
  }
  if (matched === 0) return notify(`None of these jobs can be ${done}.`);
  const body = [el("p", {}, "All with ", el("strong", {}, inWords(filter)), "."), el("p", { class: "muted" }, means)];
  const act = () => ask("POST", path, { body: filter });
  const count = plural(matched, "job");
  const answer = await confirmed({ title: `${verb} ${count}?`, body, confirm: `${verb} ${count}`, danger: name === "cancel", act });
  if (answer === null) return null;
  notify(`${plural(answer.changed, "job")} ${done}.`);
  return changed();
}
