/** A section: text, up to ten fields in two columns, one element at the right. */

import { drawElement } from "../elements/index.js";
import { h } from "../dom.js";
import { textObject } from "../text/render.js";

const BESIDE = new Set(["image", "overflow", "button", "static_select", "users_select", "conversations_select", "channels_select", "datepicker", "timepicker"]);

export function section(block, ctx) {
  const accessory = block.accessory && h("div", { class: `accessory${BESIDE.has(block.accessory.type) ? "" : " accessory-below"}` },
    drawElement(block.accessory, block, ctx));
  return h("div", { class: `block section${accessory ? " section-with" : ""}` },
    h("div", { class: "section-main" },
      block.text && h("div", { class: "section-text" }, textObject(ctx.app, block.text)),
      block.fields && h("div", { class: "fields" }, block.fields.map((field) => h("div", { class: "field-cell" }, textObject(ctx.app, field))))),
    accessory);
}
