/** Short notices at the foot of the window. */

import { h } from "../dom.js";
import { icon } from "../icons.js";

const SHOWN_MS = 5_000;

export function toast(text, level = "info") {
  const place = document.getElementById("toasts");
  // A refusal may arrive twice: as the answer to the request and by the event stream.
  if ([...place.children].some((shown) => shown.dataset.text === text)) return;
  const node = h("div", { class: `toast toast-${level}`, dataset: { text } }, icon({ error: "alert", warning: "alert", success: "check" }[level] ?? "info", { size: 17 }), h("span", {}, text),
    h("button", { type: "button", class: "icon-btn", "aria-label": "Dismiss", on: { click: () => node.remove() } }, icon("close", { size: 14 })));
  place.append(node);
  setTimeout(() => node.remove(), SHOWN_MS);
}
