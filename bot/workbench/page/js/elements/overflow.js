/** The "more" menu of a section or a row of actions. */

import { confirmDialog } from "../ui/confirm.js";
import { h } from "../dom.js";
import { icon } from "../icons.js";
import { openMenu } from "../ui/menu.js";
import { safeHref } from "../text/mrkdwn.js";
import { textObject } from "../text/render.js";

export function overflow(element, block, ctx) {
  const trigger = h("button", {
    type: "button", class: "btn btn-icon", "aria-label": "More actions", "aria-haspopup": "menu", "aria-expanded": "false",
    dataset: { focus: `${block.block_id}/${element.action_id}`, action: element.action_id },
    on: {
      click: () => openMenu(trigger, element.options.map((option) => ({
        label: textObject(ctx.app, option.text, { oneLine: true }),
        detail: option.description?.text,
        href: option.url && safeHref(option.url),
        run: async () => {
          if (element.confirm && !(await confirmDialog(ctx.app, element.confirm))) return;
          trigger.setAttribute("aria-busy", "true");
          await ctx.dispatch(block, element, { selected_option: option });
          trigger.removeAttribute("aria-busy");
        },
      }))),
    },
  }, icon("more"));
  return trigger;
}
