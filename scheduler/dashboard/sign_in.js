// The door: shown when the API asks for a token. What is entered stays in this tab and goes into no address.

import { opened } from "./dialogs.js";
import { el } from "./dom.js";
import { tryToken } from "./session.js";

/** Resolves when a token was accepted. `refused`: there was one, and it is no longer good. */
export function askForToken(refused) {
  return new Promise((resolve) => {
    const input = el("input", { id: "token", type: "password", required: true, autocomplete: "off", spellcheck: "false", autofocus: true });
    const problem = el("p", { class: "problem", role: "alert" }, refused ? "The token is not, or no longer, good here." : null);
    const button = el("button", { class: "primary", type: "submit" }, "Enter");

    async function submit(event) {
      event.preventDefault();
      button.disabled = true;
      problem.textContent = "";
      try {
        if (await tryToken(input.value.trim())) return dialog.close();
        problem.textContent = "This token is not known here.";
      } catch (error) {
        problem.textContent = error.message;
      }
      button.disabled = false;
      return input.select();
    }

    const form = el(
      "form",
      { on: { submit } },
      el("h2", { id: "sign-in" }, "A token, please"),
      el("p", {}, "This service shows its jobs to those who have a token. ", el("code", {}, "scheduler token new"), " makes one."),
      el("label", { for: "token" }, "Token"),
      input,
      problem,
      el("div", { class: "buttons" }, button),
    );
    const dialog = opened(form, "sign-in", resolve, { stays: true });
  });
}
