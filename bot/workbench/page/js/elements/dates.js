/** Date, time and date-with-time pickers, on the browser's own controls. */

import { h } from "../dom.js";
import { wire } from "./wire.js";

function picker(element, block, ctx, { type, initial, pack, unpack }) {
  const wired = wire(element, block, ctx);
  const start = wired.before ? unpack(wired.before) : initial;
  wired.note(pack(start ?? ""));
  return h("input", {
    type, class: "field field-date", value: start ?? "",
    "aria-label": element.placeholder?.text ?? block.label?.text ?? "Pick",
    dataset: { focus: `${block.block_id}/${element.action_id}` },
    on: { change: (event) => wired.send(pack(event.target.value)) },
  });
}

export const datepicker = (element, block, ctx) => picker(element, block, ctx, {
  type: "date", initial: element.initial_date, pack: (text) => ({ selected_date: text || null }), unpack: (value) => value.selected_date,
});

export const timepicker = (element, block, ctx) => picker(element, block, ctx, {
  type: "time", initial: element.initial_time, pack: (text) => ({ selected_time: text || null }), unpack: (value) => value.selected_time,
});

/** Slack holds seconds since the epoch; the browser's control holds local time without a zone. */
const toLocal = (seconds) => {
  if (!seconds) return "";
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};

export const datetimepicker = (element, block, ctx) => picker(element, block, ctx, {
  type: "datetime-local", initial: toLocal(element.initial_date_time),
  pack: (text) => ({ selected_date_time: text ? Math.floor(new Date(text).getTime() / 1000) : null }),
  unpack: (value) => toLocal(value.selected_date_time),
});
