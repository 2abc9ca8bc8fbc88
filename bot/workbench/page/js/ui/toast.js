/** Short notices at the foot of the window. */

import { h } from "../dom.js";
import { icon } from "../icons.js";

const SHOWN_MS = 5_000;

export function toast(text, level = "info") {
  const place = document.getElementById("toasts");
  const node = h("div", { class: `toast toast-${level}` }, icon({ error: "alert", warning: "alert", success: "check" }[level] ?? "info", { size: 17 }), h("span", {}, text),
    h("button", { type: "button", class: "icon-btn", "aria-label": "Dismiss", on: { click: () => node.remove() } }, icon("close", { size: 14 })));
  place.append(node);
  setTimeout(() => node.remove(), SHOWN_MS);
}
