// Who asks: the one client of these pages, its token, and what that token may do.

import { JobClient, ProblemError } from "./client.js";

const KEY = "scheduler.token";
const SCOPES = ["read", "write", "operate"];

//: The service is one level above this file, wherever a proxy has put it.
export const client = new JobClient({ baseUrl: new URL("..", import.meta.url).href, token: sessionStorage.getItem(KEY) });

//: What `/api/me` said last; `isKnown` before it said anything is false.
export const me = { isKnown: false, owner: null, scope: "read", authenticated: false };

let askForToken = async () => {};
let entering = null;

/** `ask(refused)` shows the door and returns when a token was accepted. */
export function onUnauthorized(ask) {
  askForToken = ask;
}

/** A question to the API; where a token is missing, or no longer good, it waits for one. */
export async function ask(method, path, how = {}) {
  for (;;) {
    try {
      return await client.request(method, path, how);
    } catch (error) {
      if (!isUnauthorized(error)) throw error;
      await enter();
    }
  }
}

export const get = (path, query, signal) => ask("GET", path, { query, signal });

export function isUnauthorized(error) {
  return error instanceof ProblemError && error.status === 401;
}

/** Asks for a token, once for all who need one. */
export function enter() {
  entering ??= askForToken(client.token !== null).finally(() => (entering = null));
  return entering;
}

/** Takes a token and says whether the service does. */
export async function tryToken(token) {
  const before = client.token;
  client.token = token || null;
  try {
    await learn();
  } catch (error) {
    client.token = before;
    if (isUnauthorized(error)) return false;
    throw error;
  }
  if (client.token) sessionStorage.setItem(KEY, client.token);
  return true;
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
  client.token = null;
}

/** What the token may do, anew. */
export async function learn() {
  Object.assign(me, await client.request("GET", "api/me"), { isKnown: true });
  document.dispatchEvent(new CustomEvent("scheduler:me"));
}

/** Whether the token has a scope. */
export function may(scope) {
  return SCOPES.indexOf(me.scope) >= SCOPES.indexOf(scope);
}

/** Whether it sees what belongs to no owner: pools, workers, handlers, pauses by hand. */
export function seesAll() {
  return me.owner === null;
}

/** Why it may not, in a sentence; null if it may. */
export function whyNot(scope, { forAll = false } = {}) {
  if (!may(scope)) return `This needs a token with the scope “${scope}”; yours has “${me.scope}”.`;
  return forAll && !seesAll() ? "This needs a token without an owner: it concerns everybody's jobs." : null;
}
