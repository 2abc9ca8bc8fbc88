/** Radio buttons and checkboxes. */

import { h, uid } from "../dom.js";
import { textObject } from "../text/render.js";
import { wire } from "./wire.js";

function choices(element, block, ctx, { type, initial, pack, unpack }) {
  const wired = wire(element, block, ctx);
  const name = uid("choice");
  let chosen = new Set(wired.before ? unpack(wired.before) : initial);
  const picked = (values) => element.options.filter((option) => values.has(option.value));
  wired.note(pack(picked(chosen)));

  const boxes = element.options.map((option) => h("input", {
    type, name, class: "tick", checked: chosen.has(option.value), dataset: { focus: `${block.block_id}/${element.action_id}/${option.value}` },
    on: {
      change: async () => {
        const next = new Set(element.options.filter((_, at) => boxes[at].checked).map((entry) => entry.value));
        if (await wired.send(pack(picked(next)))) chosen = next;
        else boxes.forEach((box, at) => { box.checked = chosen.has(element.options[at].value); });
      },
    },
  }));
  return h("div", { class: "choices", role: type === "radio" ? "radiogroup" : "group", "aria-label": block.label?.text },
    element.options.map((option, at) => h("label", { class: "choice" }, boxes[at],
      h("span", { class: "choice-text" }, textObject(ctx.app, option.text, { oneLine: true }),
        option.description && h("small", {}, textObject(ctx.app, option.description, { oneLine: true }))))));
}

export const radioButtons = (element, block, ctx) => choices(element, block, ctx, {
  type: "radio",
  initial: [element.initial_option?.value].filter(Boolean),
  pack: (options) => ({ selected_option: options[0] ?? null }),
  unpack: (value) => [value.selected_option?.value].filter(Boolean),
});

export const checkboxes = (element, block, ctx) => choices(element, block, ctx, {
  type: "checkbox",
  initial: (element.initial_options ?? []).map((option) => option.value),
  pack: (options) => ({ selected_options: options }),
  unpack: (value) => value.selected_options.map((option) => option.value),
});
