// Where in the dashboard somebody is: `#/jobs?status=failed_ai`. Back, forward and links in mails work.

/** `{path: ["jobs", "ID"], query: URLSearchParams}` */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

/** The address of a page; parameters without a value are left out, lists repeat. */
export function hrefOf(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined && one !== "") query.append(name, one);
  }
  const text = query.toString();
  return `#/${[path].flat().map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

export function goTo(path, parameters) {
  location.hash = hrefOf(path, parameters);
}

export const jobHref = (id) => hrefOf(["jobs", id]);
export const jobsHref = (parameters) => hrefOf("jobs", parameters);

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
