// Words, numbers and times for people.

const SECOND = 1;
const UNITS = [
  ["d", 86_400 * SECOND, "h", 3_600],
  ["h", 3_600 * SECOND, "min", 60],
  ["min", 60 * SECOND, "s", 1],
];

//: Each status in a word, and the kind it belongs to: the kind has the colour and the sign, the word tells them apart.
export const STATUSES = {
  pending: { word: "Pending", kind: "waiting" },
  rate_limited: { word: "Rate limited", kind: "waiting" },
  retry_ai: { word: "Retrying", kind: "waiting" },
  processing: { word: "Running", kind: "running" },
  completed: { word: "Completed", kind: "completed" },
  failed_ai: { word: "Failed: provider", kind: "failed" },
  failed_payload_parsing: { word: "Failed: payload", kind: "failed" },
  failed_job_logic: { word: "Failed: our code", kind: "failed" },
  failed_timeout: { word: "Failed: time limit", kind: "failed" },
  cancelled: { word: "Cancelled", kind: "cancelled" },
};

export const KINDS = {
  running: "Running",
  waiting: "Waiting",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
};

//: What happened, as entries name it.
export const HAPPENED = {
  "job.enqueued": "Enqueued",
  "job.started": "Started",
  "job.completed": "Completed",
  "job.rate_limited": "Put off by the provider",
  "job.retrying": "Attempt failed, will be tried again",
  "job.failed": "Failed for good",
  "job.cancelled": "Cancelled",
  "job.interrupted": "Handed back",
  "job.lost": "Its worker was lost",
  "job.requeued": "Sent back by hand",
  "job.paused": "Paused by hand",
  "job.resumed": "Let go again",
  "job.progress": "Progress",
};

export function kindOf(status) {
  return STATUSES[status]?.kind ?? "cancelled";
}

export function wordOf(status) {
  return STATUSES[status]?.word ?? status;
}

export function statusesOf(kind) {
  return Object.keys(STATUSES).filter((status) => STATUSES[status].kind === kind);
}

/** How many of `by_status` are of a kind. */
export function countOf(byStatus, kind) {
  return statusesOf(kind).reduce((sum, status) => sum + (byStatus[status] ?? 0), 0);
}

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export function number(value) {
  return NUMBER.format(value);
}

/** At most one digit behind the point. */
export function figure(value) {
  return SHORT.format(value);
}

/** `1 job`, `2,000 jobs`. */
export function plural(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** `0.3 s`, `12 s`, `3 min 20 s`, `2 h 5 min`; seconds in. */
export function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "without end";
  const whole = Math.round(Math.max(0, seconds));
  if (seconds < 0.9995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${SHORT.format(seconds)} s`;
  for (const [name, size, below, part] of UNITS) {
    if (whole < size) continue;
    const rest = Math.floor((whole % size) / part);
    return rest ? `${Math.floor(whole / size)} ${name} ${rest} ${below}` : `${Math.floor(whole / size)} ${name}`;
  }
  return `${whole} s`;
}

/** The same where tenths would only flicker. */
export function roughly(seconds) {
  return Number.isFinite(seconds) ? span(Math.max(0, Math.round(seconds)) || 0).replace("0 ms", "0 s") : span(seconds);
}

const CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const SHORT_CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

/** A time of today, or with its day. `at`: ISO 8601. */
export function when(at) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return String(at);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? CLOCK.format(date) : `${DAY.format(date)}, ${SHORT_CLOCK.format(date)}`;
}

export function fullTime(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? String(at) : FULL.format(date);
}

export function clockTime(at) {
  return SHORT_CLOCK.format(new Date(at));
}

/** Seconds between two times in ISO 8601. */
export function between(from, to) {
  return (Date.parse(to) - Date.parse(from)) / 1000;
}

/** Names joined as a sentence does: `a, b and c`. */
export function listed(names) {
  return names.length < 2 ? (names[0] ?? "") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** JSON as text, or the text that it already is. */
export function asText(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
