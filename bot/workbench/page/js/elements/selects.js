/** The selects of Block Kit: static options, people, conversations; one or several. */

import { avatar } from "../ui/avatar.js";
import { combobox } from "./combobox.js";
import { icon } from "../icons.js";
import { wire } from "./wire.js";
import { words } from "../text/render.js";

/** A select whose choices are `groups`; `pack(values)` makes Slack's payload of them. */
function select(element, block, ctx, { groups, initial, multiple, pack, unpack }) {
  const wired = wire(element, block, ctx);
  let current = wired.before ? unpack(wired.before) : initial;
  wired.note(pack(current));
  const node = combobox({
    label: element.placeholder?.text ?? block.label?.text ?? "Select",
    placeholder: element.placeholder?.text ?? (multiple ? "Select options" : "Select an option"),
    groups, selected: current, multiple, max: element.max_selected_items,
    focusKey: `${block.block_id}/${element.action_id}`,
    onChange: async (values) => {
      if (await wired.send(pack(values))) current = values;
      else node.restore(current);
    },
  });
  return node;
}

function staticGroups(element, ctx) {
  const option = (entry) => ({
    value: entry.value, text: words(ctx.app, entry.text.text), description: entry.description && words(ctx.app, entry.description.text),
  });
  if (element.option_groups) {
    return element.option_groups.map((group) => ({ label: group.label.text, options: group.options.map(option) }));
  }
  return [{ options: (element.options ?? []).map(option) }];
}

function staticAny(element, block, ctx, multiple) {
  const options = [...(element.options ?? []), ...(element.option_groups ?? []).flatMap((group) => group.options)];
  const find = (values) => values.map((value) => options.find((entry) => entry.value === value)).filter(Boolean);
  const initial = multiple ? (element.initial_options ?? []) : [element.initial_option].filter(Boolean);
  return select(element, block, ctx, {
    groups: staticGroups(element, ctx), multiple, initial: initial.map((entry) => entry.value),
    pack: (values) => (multiple ? { selected_options: find(values) } : { selected_option: find(values)[0] ?? null }),
    unpack: (value) => (multiple ? value.selected_options : [value.selected_option].filter(Boolean)).map((entry) => entry.value),
  });
}

/** `plural` and `single` are the names that Slack gives the choice in its payloads. */
function plainAny(element, block, ctx, { options, multiple, single, plural, initialSingle, initialPlural }) {
  return select(element, block, ctx, {
    groups: [{ options }], multiple,
    initial: multiple ? (element[initialPlural] ?? []) : [element[initialSingle]].filter(Boolean),
    pack: (values) => (multiple ? { [plural]: values } : { [single]: values[0] ?? null }),
    unpack: (value) => (multiple ? value[plural] : [value[single]].filter(Boolean)),
  });
}

function people(element, block, ctx, multiple) {
  const options = [...ctx.app.store.users.values()].map((user) => ({
    value: user.id, text: user.real_name || user.name, description: user.title || null, lead: () => avatar(user, 20),
  }));
  return plainAny(element, block, ctx, {
    options, multiple, single: "selected_user", plural: "selected_users", initialSingle: "initial_user", initialPlural: "initial_users",
  });
}

function channels(element, block, ctx, multiple, noun) {
  const options = [...ctx.app.store.channels.values()].filter((channel) => !channel.is_archived).map((channel) => ({
    value: channel.id, text: channel.name, description: null, lead: () => icon(channel.is_private ? "lock" : "hash", { size: 15 }),
  }));
  return plainAny(element, block, ctx, {
    options, multiple, single: `selected_${noun}`, plural: `selected_${noun}s`, initialSingle: `initial_${noun}`, initialPlural: `initial_${noun}s`,
  });
}

export const SELECTS = {
  static_select: (element, block, ctx) => staticAny(element, block, ctx, false),
  multi_static_select: (element, block, ctx) => staticAny(element, block, ctx, true),
  users_select: (element, block, ctx) => people(element, block, ctx, false),
  multi_users_select: (element, block, ctx) => people(element, block, ctx, true),
  conversations_select: (element, block, ctx) => channels(element, block, ctx, false, "conversation"),
  multi_conversations_select: (element, block, ctx) => channels(element, block, ctx, true, "conversation"),
  channels_select: (element, block, ctx) => channels(element, block, ctx, false, "channel"),
  multi_channels_select: (element, block, ctx) => channels(element, block, ctx, true, "channel"),
};
