// JobClient: start jobs of the scheduler from a page of your own and follow them. Needs no other file, no build step.
//
//     import { JobClient, percentOf } from "https://jobs.example.org/client.js";
//     const jobs = new JobClient({ baseUrl: "https://jobs.example.org/", token });
//     const job = await jobs.startJob({ task_type: "generate_topics", target_id: "42" }, { onProgress: (job) => show(percentOf(job)) });
//
// What happens comes as server-sent events, over fetch: a token travels in a header, never in an address. Where events do not get through,
// the job is asked for again and again instead; who follows does not notice.

const TERMINAL = new Set(["completed", "failed_ai", "failed_payload_parsing", "failed_job_logic", "failed_timeout", "cancelled"]);
/** How often an enqueue is tried again while nobody answers. Each time with the same key, so that one job comes of it. */
const ENQUEUE_TRIES = 6;

/** The service answered, and said no: `status`, `type`, `title`, `detail` (what to do), `errors`, `retryAfter` (seconds, or null). */
export class ProblemError extends Error {
  constructor(status, problem = {}, retryAfter = null) {
    super(problem.detail || problem.title || `the service answered ${status}`);
    this.name = "ProblemError";
    this.status = status;
    this.type = problem.type ?? null;
    this.title = problem.title ?? null;
    this.detail = problem.detail ?? null;
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter;
  }

  /** Whether the same question may be answered later. */
  get isPassing() {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }
}

/** Nobody answered, or the connection broke. */
export class ConnectionError extends Error {
  constructor(cause) {
    super(`no answer from the service: ${cause.message ?? cause}`, { cause });
    this.name = "ConnectionError";
  }
}

/** The job that was followed ended in another way than `completed`; `job` says how. */
export class JobFailedError extends Error {
  constructor(job) {
    super(`job ${job.job_id} ended as ${job.status}${job.reason ? ` (${job.reason})` : ""}${job.error ? `: ${job.error}` : ""}`);
    this.name = "JobFailedError";
    this.job = job;
  }
}

/** How far a job is, 0 to 100. */
export function percentOf(job) {
  return job.status === "completed" ? 100 : (job.progress?.percent ?? 0);
}

/** What a long job counted, all its passes together: `done`, `failed`, `total` (null while unknown) and its handler's own counters. */
export function countersOf(job) {
  const sums = { done: 0, failed: 0, total: 0 };
  for (const ledger of job.ledgers ?? []) {
    sums.done += ledger.done;
    sums.failed += ledger.failed;
    sums.total = ledger.total === null || sums.total === null ? null : sums.total + ledger.total;
    for (const [name, value] of Object.entries(ledger.counters ?? {})) sums[name] = (sums[name] ?? 0) + value;
  }
  return sums;
}

export function hasEnded(job) {
  return TERMINAL.has(job.status);
}

export class JobClient {
  #base;
  #closing = new AbortController();

  /**
   * `baseUrl`: where the service is; without one, where this file came from. `token`: as `scheduler token new` gave it, null for none.
   * `pollSeconds`: between two looks while events do not get through. `silentSeconds`: a stream that says nothing for so long is opened anew.
   */
  constructor({ baseUrl = null, token = null, pollSeconds = 2, silentSeconds = 20 } = {}) {
    const base = new URL(baseUrl ?? new URL(".", import.meta.url).href, globalThis.location?.href);
    this.#base = base.href.endsWith("/") ? base.href : `${base.href}/`;
    this.token = token;
    this.pollSeconds = pollSeconds;
    this.silentSeconds = silentSeconds;
  }

  // -- jobs

  /** Stores a job: `{job_id, created, unchanged}`. With the same `idempotencyKey` the same job comes of it, however often it is called. */
  enqueue(job, { idempotencyKey = null, signal } = {}) {
    const headers = idempotencyKey === null ? {} : { "Idempotency-Key": idempotencyKey };
    return this.request("POST", "api/jobs", { body: job, headers, signal });
  }

  /** The job. With `wait`, not before it has ended or so many seconds have passed. */
  get(id, { wait = null, signal } = {}) {
    return this.request("GET", pathOf(id), { query: { wait }, signal });
  }

  /** Cancels it, waiting or running; the job as it is then. */
  cancel(id, { signal } = {}) {
    return this.request("POST", `${pathOf(id)}/cancel`, { body: {}, signal });
  }

  /** Sends a failed or cancelled job back: where it stopped, or only its failed items, or from the start. */
  retry(id, { failedItems = false, restart = false, signal } = {}) {
    return this.request("POST", `${pathOf(id)}/retry`, { body: { failed_items: failedItems, restart }, signal });
  }

  /**
   * Starts a job and follows it to its end: the completed job. `onProgress(job)` is called with each step. Raises `JobFailedError` when it
   * ends otherwise, `ProblemError` when it is refused. Aborting `signal` ends the following, not the job: that is what `cancel` is for.
   */
  async startJob(job, { onProgress, signal } = {}) {
    const idempotencyKey = newKey();
    for (let tries = 1; ; tries += 1) {
      try {
        const { job_id: id } = await this.enqueue(job, { idempotencyKey, signal });
        return this.follow(id, { onProgress, signal });
      } catch (error) {
        if (!isPassing(error) || tries === ENQUEUE_TRIES) throw error;
        await this.#pause(restOf(error, tries), signal);
      }
    }
  }

  /** Follows a job that exists; otherwise as `startJob`. `onEvent(entry)` also gets what the stream says, word for word. */
  async follow(id, { onProgress, onEvent, signal } = {}) {
    const follower = new Follower(this, id, onProgress, signal);
    let [last, failures] = [null, 0];
    try {
      for (;;) {
        try {
          if (hasEnded(await follower.look())) break;
          for await (const entry of this.events(`${pathOf(id)}/events`, { after: last, signal })) {
            failures = 0;
            last = entry.id ?? last;
            onEvent?.(entry);
            follower.take(entry);
          }
          failures += 1; // if the job has ended the next look tells; if not, the stream goes on from here
        } catch (error) {
          if (!isPassing(error)) throw error;
          failures += 1;
          await this.#pause(Math.max(this.pollSeconds, restOf(error, failures)), signal);
          continue;
        }
        if (failures > 1) await this.#pause(this.pollSeconds, signal);
      }
    } finally {
      follower.end();
    }
    if (follower.job.status !== "completed") throw new JobFailedError(follower.job);
    return follower.job;
  }

  /** Ends all that is under way; the jobs go on. */
  close() {
    this.#closing.abort(new DOMException("the client was closed", "AbortError"));
  }

  // -- below jobs

  /** One question to the service; `path` is relative to its address. Raises `ProblemError`, or `ConnectionError` when nobody answers. */
  async request(method, path, how = {}) {
    const response = await this.#fetch(method, path, how);
    if (response.status === 204) return null;
    const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
    const body = await response.text().catch((error) => broken(error, how.signal));
    return isJson ? JSON.parse(body) : body;
  }

  /** The answer as a file: `{blob, name}`. */
  async download(path, { signal } = {}) {
    const response = await this.#fetch("GET", path, { signal });
    const name = /filename="?([^";]+)"?/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? null;
    return { blob: await response.blob(), name };
  }

  /**
   * What a stream says, as it comes: `{id, event, data}`. Goes on behind the entry `after`. Ends with the stream; raises `ProblemError`, or
   * `ConnectionError` when it breaks or nothing is heard for `silentSeconds`.
   */
  async *events(path, { after = null, query, signal, onOpen } = {}) {
    const stopping = new AbortController();
    const headers = { Accept: "text/event-stream", ...(after === null ? {} : { "Last-Event-ID": String(after) }) };
    const signals = [stopping.signal, ...(signal ? [signal] : [])];
    let timer = null;
    try {
      const response = await this.#fetch("GET", path, { headers, query, signal: AbortSignal.any(signals) });
      if (response.status === 204) return;
      onOpen?.();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const silence = new Promise((_, reject) => {
          timer = setTimeout(() => reject(new ConnectionError("the stream says nothing")), this.silentSeconds * 1000);
        });
        const { done, value } = await Promise.race([reader.read().catch((error) => broken(error, signal)), silence]);
        clearTimeout(timer);
        if (done) return;
        yield* parser.feed(value);
      }
    } finally {
      clearTimeout(timer);
      stopping.abort();
    }
  }

  async #fetch(method, path, { query, body, headers = {}, signal } = {}) {
    const url = new URL(path, this.#base);
    for (const [name, value] of Object.entries(query ?? {})) {
      for (const one of [value].flat()) if (one !== null && one !== undefined && one !== "") url.searchParams.append(name, one);
    }
    const sent = { ...headers };
    if (this.token) sent.Authorization = `Bearer ${this.token}`;
    if (body !== undefined) sent["Content-Type"] = "application/json";
    const stop = AbortSignal.any([this.#closing.signal, ...(signal ? [signal] : [])]);
    const response = await fetch(url, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: stop,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
    }).catch((error) => broken(error, stop));
    if (response.ok) return response;
    const after = Number.parseFloat(response.headers.get("Retry-After"));
    const problem = await response.json().catch(() => ({}));
    throw new ProblemError(response.status, problem, Number.isFinite(after) ? after : null);
  }

  #pause(seconds, signal) {
    const stop = AbortSignal.any([this.#closing.signal, ...(signal ? [signal] : [])]);
    return new Promise((resolve, reject) => {
      stop.throwIfAborted();
      const timer = setTimeout(resolve, seconds * 1000);
      stop.addEventListener("abort", () => (clearTimeout(timer), reject(stop.reason)), { once: true });
    });
  }
}

/** A job as its follower sees it. The job itself is the truth: entries say when to look, progress alone is shown as it comes. */
class Follower {
  #timer = null;
  #isOver = false;

  constructor(client, id, onProgress, signal) {
    Object.assign(this, { client, id, onProgress, signal, job: null });
  }

  async look() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const job = await this.client.get(this.id, { signal: this.signal });
    if (!this.#isOver) this.#show(job);
    return job;
  }

  take({ event, data }) {
    if (event === "job.progress" && this.job) this.#show({ ...this.job, progress: { ...this.job.progress, ...data.detail } });
    // A look soon after shows the rest: the status, and counters, which no entry carries. One that fails is made up for by the next.
    if (event !== "job.progress" || this.job?.ledgers?.length) {
      this.#timer ??= setTimeout(() => this.look().catch(() => {}), event === "job.progress" ? 1000 : 100);
    }
  }

  end() {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #show(job) {
    this.job = job;
    this.onProgress?.(job);
  }
}

/** Server-sent events out of text that comes in pieces. An event whose data is no JSON is passed over. */
class EventParser {
  #rest = "";
  #event = {};

  *feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const line of lines.map((one) => (one.endsWith("\r") ? one.slice(0, -1) : one))) {
      if (line === "") {
        const { id = null, event = "message", data } = this.#event;
        this.#event = {};
        const decoded = data === undefined ? null : decodedOrNull(data);
        if (decoded !== null || event === "reset") yield { id, event, data: decoded ?? {} };
      } else if (!line.startsWith(":")) {
        const [name, value] = fieldOf(line);
        this.#event[name] = name === "data" && this.#event.data !== undefined ? `${this.#event.data}\n${value}` : value;
      }
    }
  }
}

function fieldOf(line) {
  const colon = line.indexOf(":");
  if (colon < 0) return [line, ""];
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
}

function decodedOrNull(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function pathOf(id) {
  return `api/jobs/${encodeURIComponent(id)}`;
}

/** Tells a connection that broke from one that somebody ended. */
function broken(error, signal) {
  if (signal?.aborted || error?.name === "AbortError") throw error;
  throw new ConnectionError(error);
}

/** A network that is away, or a service that is busy: not what somebody stopped, not what was refused. */
function isPassing(error) {
  return error instanceof ConnectionError || (error instanceof ProblemError && error.isPassing);
}

/** Seconds until the next try: what the service asked for, or longer each time, never all clients at once. */
function restOf(error, failures) {
  return error.retryAfter ?? Math.min(15, 0.5 * 2 ** Math.min(failures, 5)) * (0.75 + Math.random() / 2);
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
