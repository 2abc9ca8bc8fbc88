/** A button: plain, primary, danger, a link, with a confirm dialog and a short busy state. */

import { confirmDialog } from "../ui/confirm.js";
import { h } from "../dom.js";
import { icon } from "../icons.js";
import { plain } from "../text/render.js";
import { safeHref } from "../text/mrkdwn.js";

const SHORTEST_BUSY_MS = 350;

export function button(element, block, ctx) {
  const node = h(
    element.url ? "a" : "button",
    {
      class: `btn${element.style ? ` btn-${element.style}` : ""}`,
      type: element.url ? null : "button",
      href: element.url ? safeHref(element.url) : null,
      target: element.url ? "_blank" : null,
      rel: element.url ? "noopener noreferrer" : null,
      "aria-label": element.accessibility_label,
      dataset: { focus: `${block.block_id}/${element.action_id}`, action: element.action_id },
      on: { click: press },
    },
    h("span", { class: "btn-label" }, plain(element.text.text, { emojis: element.text.emoji !== false })),
    element.url && icon("external", { size: 13 }),
  );

  async function press(event) {
    if (node.getAttribute("aria-busy") === "true") return;
    if (element.confirm) {
      event.preventDefault();
      if (!(await confirmDialog(ctx.app, element.confirm))) return;
      if (element.url) window.open(safeHref(element.url), "_blank", "noopener,noreferrer");
    }
    node.setAttribute("aria-busy", "true");
    const shown = performance.now();
    await ctx.dispatch(block, element, { value: element.value, text: element.text });
    const left = SHORTEST_BUSY_MS - (performance.now() - shown);
    setTimeout(() => node.removeAttribute("aria-busy"), Math.max(0, left));
  }

  return node;
}
