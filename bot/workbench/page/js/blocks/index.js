/** Which function draws which Block Kit block. A context `ctx` = {app, form, dispatch(block, element, value)}. */

import { actions } from "./actions.js";
import { alert } from "./alert.js";
import { context } from "./context.js";
import { h, reconcile } from "../dom.js";
import { input } from "./input.js";
import { markdown } from "../text/markdown.js";
import { picture } from "../elements/picture.js";
import { plain, textObject } from "../text/render.js";
import { richText } from "./rich_text.js";
import { section } from "./section.js";
import { table } from "./table.js";

const BLOCKS = {
  actions,
  alert,
  context,
  input,
  section,
  table,
  context_actions: actions,
  rich_text: richText,
  divider: () => h("hr", { class: "block divider" }),
  header: (block) => h("h3", { class: "block header" }, plain(block.text.text, { emojis: block.text.emoji !== false })),
  markdown: (block) => h("div", { class: "block" }, markdown(block.text)),
  image: (block, ctx) => h("figure", { class: "block figure" },
    block.title && h("figcaption", {}, textObject(ctx.app, block.title, { oneLine: true })), picture(block, "block-image")),
};

function drawBlock(block, ctx) {
  const draw = BLOCKS[block.type];
  return draw ? draw(block, ctx) : h("p", { class: "block unknown" }, `A ${block.type} block is not shown here.`);
}

/** Makes `parent` show `blocks`; a block that did not change keeps its node. */
export function drawBlocks(parent, blocks, ctx) {
  reconcile(parent, blocks.map((block, at) => ({
    key: `${block.type}/${block.block_id ?? at}`,
    sig: JSON.stringify(block),
    make: () => drawBlock(block, ctx),
  })));
}
