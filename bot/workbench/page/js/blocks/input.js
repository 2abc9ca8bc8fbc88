/** A labelled input with its hint and its place for an error; `ctx.errors` maps block ids to messages. */

import { drawElement } from "../elements/index.js";
import { h, uid } from "../dom.js";
import { plain } from "../text/render.js";

const LABELLED = new Set(["INPUT", "TEXTAREA", "SELECT"]);

export function input(block, ctx) {
  const id = uid("input");
  const control = drawElement(block.element, block, ctx);
  const field = LABELLED.has(control.tagName) ? control : control.querySelector?.(".field");
  if (field) {
    field.id = id;
    field.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
    if (!block.optional) field.setAttribute("aria-required", "true");
  }
  return h("div", { class: "block input", dataset: { block: block.block_id } },
    h(field ? "label" : "div", { class: "input-label", for: field ? id : null },
      plain(block.label.text), block.optional ? h("span", { class: "optional" }, " (optional)") : h("span", { class: "required", title: "Required" }, "*")),
    control,
    h("p", { class: "input-error", id: `${id}-error`, role: "alert", hidden: true }),
    block.hint && h("p", { class: "input-hint", id: `${id}-hint` }, plain(block.hint.text)));
}

/** Shows `message` at the input block, or clears it. */
export function setInputError(node, message) {
  const place = node.querySelector(".input-error");
  place.textContent = message ?? "";
  place.hidden = !message;
  node.classList.toggle("has-error", Boolean(message));
  const field = node.querySelector(".field, .combo");
  if (message) field?.setAttribute("aria-invalid", "true");
  else field?.removeAttribute("aria-invalid");
}
