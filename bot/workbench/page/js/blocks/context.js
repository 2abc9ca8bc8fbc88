/** A quiet line of small texts and pictures. */

import { h } from "../dom.js";
import { picture } from "../elements/picture.js";
import { textObject } from "../text/render.js";

export const context = (block, ctx) =>
  h("div", { class: "block context" }, block.elements.map((element) =>
    (element.type === "image" ? picture(element, "context-image") : h("span", { class: "context-text" }, textObject(ctx.app, element, { oneLine: true })))));
