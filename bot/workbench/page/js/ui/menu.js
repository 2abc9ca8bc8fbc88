/** A menu of actions: items {label: Node | string, detail?, lead?, href?, danger?, checked?, run()}. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { openPopover } from "./popover.js";

export function openMenu(anchor, items, { align = "end" } = {}) {
  const nodes = items.map((item) => h(
    item.href ? "a" : "button",
    {
      type: item.href ? null : "button", href: item.href ?? null, target: item.href ? "_blank" : null, rel: item.href ? "noopener noreferrer" : null,
      class: `menu-item${item.danger ? " menu-danger" : ""}`, role: item.checked === undefined ? "menuitem" : "menuitemradio", tabindex: "-1",
      "aria-checked": item.checked === undefined ? null : String(item.checked),
      on: { click: () => { popover.close(); item.run?.(); }, mousemove: (event) => event.currentTarget.focus({ preventScroll: true }) },
    },
    item.lead,
    h("span", { class: "menu-text" }, h("span", {}, item.label), item.detail && h("small", {}, item.detail)),
    item.checked && icon("check", { size: 15 }),
  ));
  const box = h("div", {
    class: "menu", role: "menu",
    on: {
      keydown: (event) => {
        const at = nodes.indexOf(document.activeElement);
        const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: nodes.length - 1 }[event.key];
        if (event.key === "Tab") popover.close();
        if (to === undefined) return;
        event.preventDefault();
        nodes[(to + nodes.length) % nodes.length].focus();
      },
    },
  }, nodes);
  anchor.setAttribute("aria-expanded", "true");
  const popover = openPopover(anchor, box, { align, onClose: () => anchor.setAttribute("aria-expanded", "false") });
  (nodes[items.findIndex((item) => item.checked)] ?? nodes[0])?.focus({ preventScroll: true });
  return popover;
}
