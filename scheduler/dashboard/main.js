// The dashboard's frame: which page is shown, who looks, whether it is live.

import { el, fill, setAttribute, setText } from "./dom.js";
import { icon } from "./icons.js";
import { jobPage } from "./job_page.js";
import { jobsPage } from "./jobs_page.js";
import { lanesPage } from "./lanes_page.js";
import { startLive, watchState } from "./live.js";
import { notify } from "./notices.js";
import { nowPage } from "./now_page.js";
import { queuePage } from "./queue_page.js";
import { goTo, here } from "./route.js";
import { enter, forgetToken, isUnauthorized, learn, me, onUnauthorized, client } from "./session.js";
import { askForToken } from "./sign_in.js";
import { startTicking } from "./ticking.js";

const PAGES = {
  now: (signal) => nowPage(signal),
  queue: (signal) => queuePage(signal),
  jobs: (signal, [id], query, retitle) => (id ? jobPage(signal, id, retitle) : jobsPage(signal, query)),
  lanes: (signal) => lanesPage(signal),
};
const STATES = { connecting: "connecting…", live: "live", reconnecting: "reconnecting…" };

const main = document.getElementById("main");
let showing = new AbortController();
let isFirst = true;

function show() {
  showing.abort(new DOMException("another page is shown", "AbortError"));
  showing = new AbortController();
  const { path, query } = here();
  const name = Object.hasOwn(PAGES, path[0] ?? "") ? path[0] : "now";
  const heading = el("h1", { tabindex: -1 });
  const retitle = (text) => {
    setText(heading, text);
    document.title = `${text} · Scheduler`;
  };
  const page = PAGES[name](showing.signal, path.slice(1), query, retitle);
  retitle(page.title);
  fill(main, heading, page.nodes);
  for (const link of document.querySelectorAll("[data-page]"))
    setAttribute(link, "aria-current", link.dataset.page === name ? "page" : null);
  // Whoever goes by keyboard or reader is told where they are; a first look stays at the top.
  if (!isFirst) {
    scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }
  isFirst = false;
}

function frame() {
  for (const place of document.querySelectorAll("[data-icon]")) place.prepend(icon(place.dataset.icon));
  const sign = document.getElementById("live");
  watchState((state) => {
    setAttribute(sign, "class", `live ${state}`);
    setText(sign, STATES[state]);
  });
  const find = document.getElementById("find");
  find.addEventListener("submit", (event) => {
    event.preventDefault();
    goTo("jobs", { text: find.elements.text.value.trim() });
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("input, textarea, select, dialog");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    find.elements.text.focus();
  });
  document.addEventListener("scheduler:me", () => fill(document.getElementById("me"), whoLooks()));
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is the page's own
    main.querySelector("h1").focus();
  });
}

function whoLooks() {
  const leave = () => {
    forgetToken();
    location.reload();
  };
  const scope = { read: "may look", write: "may enqueue and cancel", operate: "may operate" }[me.scope];
  const whose = me.owner === null ? "" : `${me.owner}: `;
  return [
    el("span", { class: "muted" }, `${whose}${scope}`),
    client.token ? el("button", { class: "quiet", type: "button", on: { click: leave } }, "Leave") : null,
  ];
}

async function start() {
  onUnauthorized(askForToken);
  frame();
  startTicking();
  for (;;) {
    try {
      await learn();
      break;
    } catch (error) {
      if (isUnauthorized(error)) await enter();
      else await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
  window.addEventListener("hashchange", show);
  show();
  startLive();
}

window.addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
  else notify(`Something went wrong here: ${event.reason?.message ?? event.reason}`, "bad");
});
start();
