// A JSON schema as people read it: a table of fields, a type in a few words.

import { el, visible } from "./dom.js";

//: Deeper than this a shape is only named.
const DEEPEST = 3;

/** The fields of an object, or what else it is. */
export function shapeOf(spec, schema, depth = 0) {
  if (!schema) return null;
  const known = resolved(spec, schema);
  const items = known.type === "array" ? resolved(spec, known.items ?? {}) : null;
  const object = items?.properties ? items : known;
  if (!object.properties) return el("p", {}, typeOf(spec, schema), known.description ? ` – ${visible(known.description)}` : "");
  const rows = Object.entries(object.properties).map(([name, field]) => {
    const inner = depth < DEEPEST ? innerOf(spec, field) : null;
    const isRequired = (object.required ?? []).includes(name);
    const meaning = [
      visible(field.description ?? resolved(spec, field).description ?? ""),
      inner ? el("details", {}, el("summary", {}, "Fields"), shapeOf(spec, inner, depth + 1)) : null,
    ];
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, el("code", {}, visible(name)), isRequired ? el("small", {}, "always") : null),
      el("td", {}, typeOf(spec, field)),
      el("td", {}, meaning),
    );
  });
  const head = el(
    "tr",
    {},
    ["Field", "Type", "Meaning"].map((one) => el("th", { scope: "col" }, one)),
  );
  const title = items ? el("p", { class: "muted" }, "A list of:") : null;
  return [title, el("div", { class: "table" }, el("table", {}, el("thead", {}, head), el("tbody", {}, rows)))];
}

/** A type in a few words: `string or null`, `list of Entry`, `"fail" or "run"`. */
export function typeOf(spec, schema) {
  if (schema.$ref) {
    const known = resolved(spec, schema);
    return known.enum ? typeOf(spec, known) : nameOf(schema);
  }
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.map((one) => typeOf(spec, one)).join(" or ");
  if (schema.allOf?.length === 1) return typeOf(spec, schema.allOf[0]);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typeOf(spec, schema.items ?? {})}`;
  if (Array.isArray(schema.type)) return schema.type.join(" or ");
  return [schema.type ?? "anything", schema.format ? `(${schema.format})` : null, boundsOf(schema)].filter(Boolean).join(" ");
}

function boundsOf(schema) {
  const [least, most] = [schema.minimum ?? schema.exclusiveMinimum, schema.maximum];
  if (least === undefined && most === undefined) return null;
  return [least === undefined ? null : `from ${least}`, most === undefined ? null : `to ${most}`].filter(Boolean).join(" ");
}

/** The object that a field is, or is a list of. */
function innerOf(spec, field) {
  const choices = field.anyOf ?? field.oneOf ?? field.allOf ?? [field];
  return choices.map((one) => resolved(spec, one.type === "array" ? (one.items ?? {}) : one)).find((one) => one.properties) ?? null;
}

function nameOf(schema) {
  return schema.$ref.split("/").at(-1);
}

/** What a reference means; of `X or null` the X. */
export function resolved(spec, schema) {
  const choices = (schema.anyOf ?? schema.oneOf ?? []).filter((one) => one.type !== "null");
  if (choices.length === 1) return resolved(spec, choices[0]);
  if (schema.allOf?.length === 1) return resolved(spec, schema.allOf[0]);
  return schema.$ref
    ? (schema.$ref
        .slice(2)
        .split("/")
        .reduce((found, key) => found?.[key], spec) ?? {})
    : schema;
}
