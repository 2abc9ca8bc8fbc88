/** Our own line icons, drawn on a 20 x 20 grid. */

import { svg } from "./dom.js";

const PATHS = {
  hash: ["M7.5 3.5 6 16.5", "M14 3.5l-1.5 13", "M3.5 7.5h13", "M3 12.5h13"],
  lock: ["M5.5 9h9v7.5h-9z", "M7.2 9V6.6a2.8 2.8 0 0 1 5.6 0V9"],
  siren: ["M5.5 13.5V10a4.5 4.5 0 0 1 9 0v3.5", "M4 13.5h12v3H4z", "M10 1.8v1.6", "M3.6 4.2l1.2 1.1", "M16.4 4.2l-1.2 1.1"],
  reply: ["M8 5 3.5 9.5 8 14", "M3.5 9.5H12a4.5 4.5 0 0 1 4.5 4.5v1.5"],
  thread: ["M4 4.5h12v8.5H9.5L6 16v-3H4z", "M7 7.7h6", "M7 10h4"],
  smile: ["M10 2.8a7.2 7.2 0 1 0 0 14.4 7.2 7.2 0 0 0 0-14.4z", "M7 11.8c1.6 2 4.4 2 6 0", "M7.6 7.6v.6", "M12.4 7.6v.6"],
  close: ["M5 5l10 10", "M15 5 5 15"],
  check: ["M4 10.5l4 4 8-9"],
  chevron: ["M5.5 7.8 10 12.3l4.5-4.5"],
  more: ["M4.5 10h.01", "M10 10h.01", "M15.5 10h.01"],
  send: ["M3.5 4 17 10 3.5 16l2-6z", "M5.5 10H10"],
  bold: ["M6 4h4.6a2.9 2.9 0 0 1 0 5.8H6z", "M6 9.8h5.4a3.1 3.1 0 0 1 0 6.2H6z"],
  italic: ["M8.5 4H14", "M6 16h5.5", "M11.5 4l-3 12"],
  strike: ["M4 10h12", "M13.6 6.4C13 4.9 11.7 4 10 4 7.9 4 6.5 5.1 6.5 6.7", "M6.4 13.3c.5 1.7 1.9 2.7 3.8 2.7 2.2 0 3.6-1.1 3.6-2.8"],
  code: ["M7 6l-4 4 4 4", "M13 6l4 4-4 4"],
  quote: ["M4 4.5v11", "M8 6h8", "M8 10h8", "M8 14h5"],
  list: ["M4 5.5h.01", "M4 10h.01", "M4 14.5h.01", "M8 5.5h8.5", "M8 10h8.5", "M8 14.5h8.5"],
  at: ["M13 10a3 3 0 1 1-6 0 3 3 0 0 1 6 0z", "M13 7v4.2c0 1.2.8 1.8 1.7 1.8 1.2 0 2-1.2 2-3A6.7 6.7 0 1 0 14 15.3"],
  slash: ["M12.5 4l-5 12"],
  eye: ["M2.5 10s2.7-5 7.5-5 7.5 5 7.5 5-2.7 5-7.5 5-7.5-5-7.5-5z", "M12 10a2 2 0 1 1-4 0 2 2 0 0 1 4 0z"],
  sun: ["M13 10a3 3 0 1 1-6 0 3 3 0 0 1 6 0z", "M10 2.5v1.7", "M10 15.8v1.7", "M2.5 10h1.7", "M15.8 10h1.7", "M4.7 4.7l1.2 1.2", "M14.1 14.1l1.2 1.2", "M15.3 4.7l-1.2 1.2", "M5.9 14.1l-1.2 1.2"],
  moon: ["M16 11.6A6.5 6.5 0 0 1 8.4 4a6.5 6.5 0 1 0 7.6 7.6z"],
  bolt: ["M11.5 2.5 4.5 11.5H10l-1.5 6 7-9H10z"],
  panel: ["M3 4h14v12H3z", "M12.5 4v12"],
  external: ["M8 5H4.5v10.5H15V12", "M11 4h5v5", "M16 4l-7 7"],
  people: ["M9.5 7.5a2.7 2.7 0 1 1-5.4 0 2.7 2.7 0 0 1 5.4 0z", "M2 16c.5-2.8 2.3-4.3 4.8-4.3s4.3 1.5 4.8 4.3", "M12.3 5a2.6 2.6 0 0 1 0 5", "M13.5 11.9c2.3.2 3.9 1.6 4.4 4.1"],
  alert: ["M10 3 1.8 16.5h16.4z", "M10 8v4", "M10 14.3v.01"],
  info: ["M10 2.8a7.2 7.2 0 1 0 0 14.4 7.2 7.2 0 0 0 0-14.4z", "M10 9v4.5", "M10 6.3v.01"],
  bell: ["M5 13.5V9a5 5 0 0 1 10 0v4.5l1.5 1.5h-13z", "M8.5 17.2c.8.7 2.2.7 3 0"],
  pin: ["M8 3h5l-.5 5 3 3.5H5L8 8z", "M10.3 11.5V17"],
  pulse: ["M2 11h3.5l2-6 4 10.5 2.3-6.5 1.2 2H18"],
  edit: ["M4 16l.8-3.6L13.3 4l2.7 2.7-8.5 8.5z"],
};

/** An icon by name; decorative unless `label` is given. */
export function icon(name, { label, size = 18 } = {}) {
  return svg(
    "svg",
    {
      class: "icon", viewBox: "0 0 20 20", width: size, height: size, fill: "none", stroke: "currentColor",
      "stroke-width": 1.6, "stroke-linecap": "round", "stroke-linejoin": "round",
      "aria-hidden": label ? null : "true", role: label ? "img" : null, "aria-label": label,
    },
    ...PATHS[name].map((d) => svg("path", { d })),
  );
}

/** FixFirst's mark: a failing pulse whose last stroke is a check. */
export function mark(size = 28) {
  return svg(
    "svg",
    { class: "mark", viewBox: "0 0 32 32", width: size, height: size, "aria-hidden": "true" },
    svg("rect", { x: 1, y: 1, width: 30, height: 30, rx: 9, fill: "#0f2a33" }),
    svg("path", { d: "M4.5 16.5h5l2.8-6.5 4 12.5", fill: "none", stroke: "#ff7a59", "stroke-width": 3, "stroke-linecap": "round", "stroke-linejoin": "round" }),
    svg("path", { d: "M16.3 22.5 26.5 9.5", fill: "none", stroke: "#3ddc97", "stroke-width": 3, "stroke-linecap": "round" }),
  );
}
