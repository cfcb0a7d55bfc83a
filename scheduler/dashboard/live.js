// What happens, as it happens: one stream for the whole page, told to it in batches, at most four a second.

import { client, enter, isUnauthorized } from "./session.js";

const FLUSH_MS = 250;
//: More than this in one batch is not told one by one: the page looks anew.
const MOST = 5000;
const POLL_MS = 5000;
//: A page in the background lets go of its connection: a browser has only six for a service.
const UNSEEN_MS = 20_000;

const listeners = new Set();
const watchers = new Set();
let batch = newBatch();
let timer = null;
let last = null;
let state = "connecting";

/** `fn({anew, entries})` from now on: `anew` says that anything may have changed. */
export function listen(fn, signal) {
  listeners.add(fn);
  signal.addEventListener("abort", () => listeners.delete(fn));
}

/** `fn(state)`: `connecting`, `live` or `reconnecting`, at once and with every change. */
export function watchState(fn) {
  watchers.add(fn);
  fn(state);
}

export function startLive() {
  follow();
  setInterval(() => {
    if (state !== "live" && !document.hidden) tell({ anew: true, entries: [] }); // polling is what is left then
  }, POLL_MS);
}

async function follow() {
  for (let failures = 0; ;) {
    await seen();
    const connection = new AbortController();
    const letGo = releasedWhenUnseen(connection);
    try {
      const onOpen = () => {
        failures = 0;
        become("live");
        take({ event: "reset" });
      };
      for await (const entry of client.events("api/events", { after: last, signal: connection.signal, onOpen })) take(entry);
    } catch (error) {
      if (isUnauthorized(error)) {
        await enter();
        continue;
      }
    } finally {
      letGo();
    }
    if (document.hidden) continue;
    failures += 1;
    become("reconnecting");
    await new Promise((resolve) => setTimeout(resolve, Math.min(8000, 250 * 2 ** Math.min(failures, 6)) * (0.75 + Math.random() / 2)));
  }
}

function take({ id = null, event, data = {} }) {
  last = id ?? last;
  if (event === "reset" || batch.entries.size + batch.progress.size >= MOST) batch.anew = true;
  else if (event === "job.progress") batch.progress.set(data.job_id, data);
  else batch.entries.add(data);
  timer ??= setTimeout(flush, FLUSH_MS);
}

function flush() {
  timer = null;
  const { anew, entries, progress } = batch;
  batch = newBatch();
  tell({ anew, entries: anew ? [] : [...entries, ...progress.values()] });
}

function tell(told) {
  for (const listener of [...listeners]) listener(told);
}

function newBatch() {
  return { anew: false, entries: new Set(), progress: new Map() };
}

function become(next) {
  if (next === state) return;
  state = next;
  for (const watcher of watchers) watcher(state);
}

function seen() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true })).then(seen);
}

function releasedWhenUnseen(connection) {
  let waiting = null;
  const look = () => {
    clearTimeout(waiting);
    if (document.hidden) waiting = setTimeout(() => connection.abort(), UNSEEN_MS);
  };
  document.addEventListener("visibilitychange", look);
  return () => {
    clearTimeout(waiting);
    document.removeEventListener("visibilitychange", look);
  };
}
