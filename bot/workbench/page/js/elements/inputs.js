/** Typed inputs: one line or several lines of text, numbers, addresses. */

import { h } from "../dom.js";
import { wire } from "./wire.js";

const MAX_TEXT = 3000; // https://docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element

function typed(element, block, ctx, { tag = "input", ...attributes }) {
  const wired = wire(element, block, ctx);
  const start = wired.before ? (wired.before.value ?? "") : (element.initial_value ?? "");
  const value = (text) => ({ value: text === "" ? null : text });
  wired.note(value(start));
  const triggers = element.dispatch_action_config?.trigger_actions_on ?? ["on_enter_pressed"];
  const node = h(tag, {
    class: `field${tag === "textarea" ? " field-multi" : ""}`, value: start, placeholder: element.placeholder?.text, autocomplete: "off",
    dataset: { focus: `${block.block_id}/${element.action_id}`, autofocus: element.focus_on_load ? "true" : null },
    ...attributes,
    on: {
      input: () => {
        wired.note(value(node.value));
        paint();
        if (wired.loud && triggers.includes("on_character_entered")) wired.send(value(node.value));
      },
      keydown: (event) => {
        if (event.key !== "Enter" || event.isComposing || tag === "textarea") return;
        if (wired.loud && triggers.includes("on_enter_pressed")) {
          event.preventDefault();
          wired.send(value(node.value));
        }
      },
    },
  });
  const left = h("span", { class: "field-left", "aria-hidden": "true" });
  const limit = element.max_length;
  const paint = () => {
    const rest = limit ? limit - node.value.length : Infinity;
    left.textContent = rest <= Math.max(20, limit * 0.2) ? String(rest) : "";
    left.classList.toggle("over", rest < 0);
  };
  paint();
  return limit ? h("span", { class: "field-wrap" }, node, left) : node;
}

export const plainTextInput = (element, block, ctx) => typed(element, block, ctx, {
  tag: element.multiline ? "textarea" : "input", type: element.multiline ? null : "text", rows: element.multiline ? 4 : null,
  maxlength: element.max_length ?? MAX_TEXT,
});

export const numberInput = (element, block, ctx) => typed(element, block, ctx, {
  type: "number", step: element.is_decimal_allowed ? "any" : "1", min: element.min_value, max: element.max_value, inputmode: element.is_decimal_allowed ? "decimal" : "numeric",
});

export const urlInput = (element, block, ctx) => typed(element, block, ctx, { type: "url", inputmode: "url", spellcheck: "false" });

export const emailInput = (element, block, ctx) => typed(element, block, ctx, { type: "email", inputmode: "email", spellcheck: "false" });
