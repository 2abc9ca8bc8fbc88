/** Light or dark: the system's choice until the person makes one. */

import { h, replaceChildren } from "../dom.js";
import { icon } from "../icons.js";
import { remember } from "../memory.js";

const system = window.matchMedia("(prefers-color-scheme: dark)");

const current = () => document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");

export function themeToggle() {
  const node = h("button", { type: "button", class: "icon-btn", on: { click: toggle } });
  function paint() {
    const next = current() === "dark" ? "light" : "dark";
    node.setAttribute("aria-label", `Switch to the ${next} theme`);
    node.title = `Switch to the ${next} theme`;
    replaceChildren(node, icon(next === "dark" ? "moon" : "sun"));
  }
  function toggle() {
    const next = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    remember("theme", next);
    paint();
  }
  system.addEventListener("change", paint);
  paint();
  return node;
}
