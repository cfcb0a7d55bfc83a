// Signs: one for each kind of status, and a few for the pages. Drawn in lines, coloured by the text around them.

import { svg } from "./dom.js";

const RING = "M8 1.75a6.25 6.25 0 1 1 0 12.5a6.25 6.25 0 0 1 0-12.5Z";
const PATHS = {
  waiting: [RING, "M8 4.5V8l2.3 1.5"],
  running: ["M8 1.75a6.25 6.25 0 1 1-6.25 6.25", "M6.4 5.4l4 2.6l-4 2.6Z"],
  completed: [RING, "M5.2 8.2l2 2l3.7-4.2"],
  failed: [RING, "M5.9 5.9l4.2 4.2M10.1 5.9l-4.2 4.2"],
  cancelled: [RING, "M5 8h6"],
  paused: [RING, "M6.4 5.8v4.4M9.6 5.8v4.4"],
  open: [RING, "M8 7.9v.2"],
  now: ["M1.5 8.5h3l2-5l3 9l2-4h3"],
  queue: ["M2.5 3.5h11M2.5 8h11M2.5 12.5h7"],
  jobs: ["M2.5 2.5h11v11h-11Z", "M2.5 6h11M6 6v7.5"],
  lanes: ["M2.5 4.5h7M12 4.5h1.5M2.5 11.5H4M6.5 11.5h7", "M10.8 3.2v2.6M5.2 10.2v2.6"],
  api: ["M5.5 4L1.8 8l3.7 4M10.5 4l3.7 4l-3.7 4"],
  theme: [RING, "M8 1.75a6.25 6.25 0 0 1 0 12.5Z"],
  search: ["M7 2.2a4.8 4.8 0 1 1 0 9.6a4.8 4.8 0 0 1 0-9.6Z", "M10.5 10.5l3.3 3.3"],
  copy: ["M5.5 5.5h8v8h-8Z", "M10.5 5.5v-3h-8v8h3"],
};

export function icon(name) {
  const paths = PATHS[name].map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true", focusable: "false" }, paths);
}
