/** A row of buttons, selects and menus. */

import { drawElement } from "../elements/index.js";
import { h } from "../dom.js";

export const actions = (block, ctx) =>
  h("div", { class: "block actions" }, block.elements.map((element) => drawElement(element, block, ctx)));
