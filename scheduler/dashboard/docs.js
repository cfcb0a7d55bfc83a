// `/openapi.json` for people: routes by tag, each with its parameters, bodies, answers and examples.

import { el, fill, visible } from "./dom.js";
import { icon } from "./icons.js";
import { card, sentence } from "./pieces.js";
import { get, onUnauthorized } from "./session.js";
import { resolved, shapeOf, typeOf } from "./shapes.js";
import { askForToken } from "./sign_in.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

function show(spec) {
  const tags = new Map();
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const method of METHODS) {
      if (methods[method])
        for (const tag of methods[method].tags ?? ["Other"]) tags.set(tag, [...(tags.get(tag) ?? []), [method, path, methods[method]]]);
    }
  }
  const told = Object.fromEntries((spec.tags ?? []).map((tag) => [tag.name, tag.description]));
  const links = [...tags.keys()].map((tag) => el("a", { href: `#${anchorOf(tag)}` }, visible(tag)));
  const raw = el("a", { href: "openapi.json" }, "openapi.json");
  const head = card(
    "About",
    { id: "about" },
    prose(spec.info.description),
    el(
      "p",
      { class: "muted" },
      "The same for machines: ",
      raw,
      `, version ${spec.info.version}. A page of your own: `,
      el("a", { href: "static/example.html" }, "an example"),
      ".",
    ),
    el("nav", { class: "contents", "aria-label": "Groups" }, links),
  );
  const groups = [...tags].map(([tag, routes]) =>
    card(
      visible(tag),
      { id: anchorOf(tag) },
      prose(told[tag]),
      routes.map((route) => routeOf(spec, ...route)),
    ),
  );
  fill(document.getElementById("main"), el("h1", { tabindex: -1 }, "API"), head, groups);
}

function routeOf(spec, method, path, route) {
  const head = el(
    "summary",
    {},
    el("span", { class: `method ${method}` }, method.toUpperCase()),
    el("span", { class: "path" }, path),
    el("span", { class: "muted" }, visible(route.summary ?? "")),
  );
  const body = el("div", { class: "body" });
  const node = el("details", { class: "route", id: anchorOf(`${method} ${path}`) }, head, body);
  // Drawn when somebody looks: most routes are never opened.
  node.addEventListener(
    "toggle",
    () =>
      body.childElementCount ||
      fill(body, prose(route.description), parametersOf(spec, route), requestOf(spec, route), answersOf(spec, route)),
  );
  return node;
}

function parametersOf(spec, route) {
  const parameters = (route.parameters ?? []).map((one) => resolved(spec, one));
  if (parameters.length === 0) return null;
  const rows = parameters.map((one) => {
    const name = el("th", { scope: "row" }, el("code", {}, one.name), one.required ? el("small", {}, "required") : null);
    return el(
      "tr",
      {},
      name,
      el("td", {}, one.in),
      el("td", {}, typeOf(spec, one.schema ?? {})),
      el("td", {}, visible(one.description ?? one.schema?.description ?? "")),
    );
  });
  return [el("h3", {}, "Parameters"), tableOf(["Name", "In", "Type", "Meaning"], rows)];
}

function requestOf(spec, route) {
  const content = Object.entries(resolved(spec, route.requestBody ?? {}).content ?? {});
  return content.map(([kind, media]) => [
    el("h3", {}, "Body ", el("code", {}, kind)),
    shapeOf(spec, media.schema),
    examplesOf(spec, media),
  ]);
}

function answersOf(spec, route) {
  const answers = Object.entries(route.responses ?? {}).map(([code, answer]) => [code, resolved(spec, answer)]);
  return [
    el("h3", {}, "Answers"),
    answers.map(([code, answer]) => {
      const media = Object.entries(answer.content ?? {});
      const title = el(
        "summary",
        {},
        el("strong", {}, code),
        ` ${visible(answer.description ?? "")} `,
        media.map(([kind]) => el("code", {}, kind)),
      );
      if (media.length === 0) return el("p", {}, el("strong", {}, code), ` ${visible(answer.description ?? "")}`);
      return el(
        "details",
        {},
        title,
        media.map(([, one]) => [shapeOf(spec, one.schema), examplesOf(spec, one)]),
      );
    }),
  ];
}

function examplesOf(spec, media) {
  const schema = resolved(spec, media.schema ?? {});
  const named = Object.entries(media.examples ?? {}).map(([name, one]) => [resolved(spec, one).summary ?? name, resolved(spec, one).value]);
  const rest =
    media.example !== undefined ? [["Example", media.example]] : (schema.examples ?? []).slice(0, 1).map((one) => ["Example", one]);
  return [...named, ...rest].map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    return [el("h3", {}, visible(name)), el("pre", { tabindex: 0 }, visible(text))];
  });
}

function tableOf(heads, rows) {
  return el(
    "div",
    { class: "table" },
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          heads.map((head) => el("th", { scope: "col" }, head)),
        ),
      ),
      el("tbody", {}, rows),
    ),
  );
}

/** The paragraphs of a description. */
function prose(text) {
  return (text ?? "")
    .split(/\n\s*\n/)
    .filter(Boolean)
    .map((paragraph) => el("p", {}, sentence(paragraph)));
}

function anchorOf(text) {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, "-");
}

onUnauthorized(askForToken);
for (const place of document.querySelectorAll("[data-icon]")) place.prepend(icon(place.dataset.icon));
get("openapi.json").then(show, (error) =>
  fill(document.getElementById("main"), el("h1", {}, "API"), el("p", { class: "problem" }, error.message)),
);
