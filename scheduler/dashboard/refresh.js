// When to ask again: soon after something changed, never too often, now and then in any case, and not for a page that nobody sees.

import { setAttribute } from "./dom.js";
import { ProblemError } from "./client.js";
import { notify } from "./notices.js";

/**
 * Runs `load` now and ever after: at most every `least` milliseconds when told `soon()`, at least every `idle`. One at a time. A service
 * that does not answer leaves what is shown as it is: the sign in the corner says so. `region` is marked busy until the first answer.
 */
export function refresher(load, { least = 2000, idle = 15_000, signal, region = null, onProblem = tell }) {
  const state = { timer: null, at: 0, isRunning: false, isWanted: false };
  if (region) setAttribute(region, "aria-busy", "true");

  async function run() {
    clearTimeout(state.timer);
    if (signal.aborted) return;
    if (state.isRunning) {
      state.isWanted = true;
      return;
    }
    Object.assign(state, { isRunning: true, isWanted: false });
    try {
      if (!document.hidden || state.at === 0) await load(signal);
      if (region) setAttribute(region, "aria-busy", null);
    } catch (error) {
      if (error instanceof ProblemError && !signal.aborted) onProblem(error);
      else if (error?.name !== "AbortError" && error?.name !== "ConnectionError") throw error;
    } finally {
      Object.assign(state, { isRunning: false, at: Date.now() });
      plan(state.isWanted ? least : idle);
    }
  }

  function plan(wait) {
    clearTimeout(state.timer);
    if (!signal.aborted) state.timer = setTimeout(run, wait);
  }

  signal.addEventListener("abort", () => clearTimeout(state.timer));
  const waking = () => document.hidden || run();
  document.addEventListener("visibilitychange", waking, { signal });
  const first = run();
  return {
    first,
    now: run,
    soon() {
      if (state.isRunning) state.isWanted = true;
      else if (!state.isWanted) {
        state.isWanted = true;
        plan(Math.max(0, state.at + least - Date.now()));
      }
    },
  };
}

function tell(error) {
  if (!error.isPassing) notify(error.message, "bad");
}
