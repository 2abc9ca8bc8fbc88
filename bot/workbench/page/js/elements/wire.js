/** Joins an interactive element with the form it belongs to and with the bot that hears of its use. */

import { confirmDialog } from "../ui/confirm.js";

/**
 * `note(value)` records what the element holds; `send(value)` also tells the bot, after the element's
 * confirm dialog. An element of an `input` block tells the bot only if the block has `dispatch_action`.
 * `before` is what the form already held: a modal that is updated keeps what was typed.
 */
export function wire(element, block, ctx) {
  const loud = block.type !== "input" || block.dispatch_action === true;
  const address = [block.block_id, element.action_id];
  const note = (value) => ctx.form.set(...address, { type: element.type, ...value });
  const held = ctx.form.get(...address);
  return {
    loud,
    before: held?.type === element.type ? held : undefined,
    note,
    async send(value) {
      if (!loud) {
        note(value);
        return true;
      }
      if (element.confirm && !(await confirmDialog(ctx.app, element.confirm))) return false;
      note(value);
      await ctx.dispatch(block, element, value);
      return true;
    },
  };
}
