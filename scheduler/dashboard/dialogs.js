// Questions before something happens: what, to how many, and what it means. Focus stays inside and returns to where it was.

import { el } from "./dom.js";
import { notify } from "./notices.js";

/**
 * Asks. `body`: nodes; `fields`: nodes whose values `act` reads; `act()` runs when it is confirmed, and what it raises is shown in the
 * dialog, which stays. Returns what `act` returned, or null when somebody thought better of it.
 */
export function confirmed({ title, body = [], confirm, danger = false, act }) {
  return new Promise((resolve) => {
    const problem = el("p", { class: "problem", role: "alert" });
    const yes = el("button", { class: danger ? "danger" : "primary", type: "submit" }, confirm);
    const no = el("button", { type: "button", autofocus: true, on: { click: () => dialog.close() } }, "Not now");
    let answer = null;

    async function submit(event) {
      event.preventDefault();
      yes.disabled = true;
      try {
        answer = (await act()) ?? true;
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
        yes.disabled = false;
      }
    }

    const heading = el("h2", { id: "dialog-title" }, title);
    const form = el("form", { on: { submit } }, heading, body, problem, el("div", { class: "buttons" }, no, yes));
    const dialog = opened(form, "dialog-title", () => resolve(answer));
  });
}

/** A modal dialog around `content`, gone again when it closes. */
export function opened(content, labelledBy, onClose, { stays = false } = {}) {
  const dialog = el("dialog", { "aria-labelledby": labelledBy }, content);
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose();
  });
  dialog.addEventListener("cancel", (event) => stays && event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Runs `act`, and says what came of it. */
export async function told(act, done) {
  try {
    const answer = await act();
    if (answer !== null) notify(typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (error) {
    notify(error.message, "bad");
    return null;
  }
}

/** One of several, as radio buttons; `value()` is the chosen one. */
export function choice(name, legend, options) {
  const inputs = options.map(([value, text, hint], index) => {
    const input = el("input", { type: "radio", name, value, checked: index === 0 });
    return el("label", { class: "option" }, input, el("span", {}, text, hint ? el("small", {}, hint) : null));
  });
  const node = el("fieldset", {}, el("legend", {}, legend), inputs);
  return { node, value: () => node.querySelector("input:checked").value };
}
