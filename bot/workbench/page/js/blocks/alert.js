/** A coloured notice: default, info, warning, error, success. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { textObject } from "../text/render.js";

const ICONS = { default: "info", info: "info", warning: "alert", error: "alert", success: "check" };

export function alert(block, ctx) {
  const level = block.level in ICONS ? block.level : "default";
  return h("div", { class: `block alert alert-${level}`, role: "note" }, icon(ICONS[level], { size: 17 }), textObject(ctx.app, block.text));
}
