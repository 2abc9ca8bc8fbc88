/** A table of texts, numbers and rich text; its first row is the head. */

import { h } from "../dom.js";
import { richText } from "./rich_text.js";
import { textNodes } from "../text/render.js";

const cell = (entry, ctx) => (entry?.type === "rich_text" ? richText(entry, ctx) : textNodes(entry?.text ?? ""));

export function table(block, ctx) {
  const column = (at) => {
    const setting = block.column_settings?.[at] ?? {};
    return `cell-${setting.align ?? "left"}${setting.is_wrapped ? "" : " cell-nowrap"}`;
  };
  const [head = [], ...body] = block.rows;
  return h("div", { class: "block table-scroll", tabindex: "0", role: "region", "aria-label": "Table" }, h("table", { class: "table" },
    h("thead", {}, h("tr", {}, head.map((entry, at) => h("th", { scope: "col", class: column(at) }, cell(entry, ctx))))),
    h("tbody", {}, body.map((row) => h("tr", {}, row.map((entry, at) => h("td", { class: column(at) }, cell(entry, ctx))))))));
}
