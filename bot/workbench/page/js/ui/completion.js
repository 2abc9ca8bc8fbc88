/** What could be meant at the caret: slash commands, their sub-words, people, channels, emoji. Pure but for `lead`. */

import { avatar } from "./avatar.js";
import { emoji, EMOJI_NAMES } from "../text/emoji.js";
import { icon } from "../icons.js";
import { subWords } from "../usage.js";

const MOST = 12;

/** People, groups and channels as they are typed; a person with the token that Slack stores for them. */
export function mentionables(store) {
  const people = [...store.users.values()].map((user) => ({ typed: `@${user.real_name || user.name}`, token: `<@${user.id}>`, user, detail: user.title }));
  const groups = [...store.usergroups.values()].map((group) => ({ typed: `@${group.handle}`, detail: group.name }));
  const all = ["here", "channel"].map((word) => ({ typed: `@${word}`, detail: "everyone in this channel" }));
  const channels = [...store.channels.values()].filter((channel) => !channel.is_im).map((channel) => ({ typed: `#${channel.name}`, channel, detail: channel.topic }));
  return [...people, ...groups, ...all, ...channels];
}

/** {title, from, items: [{insert, label, detail, exact, lead}]}, or null. `from`: where the completed word begins. */
export function completionsAt(store, text, caret) {
  const before = text.slice(0, caret);
  return commands(store, before) ?? subCommands(store, before) ?? mentions(store, before) ?? emojis(before);
}

function commands(store, before) {
  if (!/^\/\S*$/.test(before)) return null;
  const items = store.commands.filter((entry) => entry.command.startsWith(before.toLowerCase())).map((entry) => ({
    insert: `${entry.command} `, label: entry.command, hint: subWords(entry.usage_hint).length ? "" : entry.usage_hint, detail: entry.description,
    exact: entry.command === before, lead: () => icon("slash", { size: 16 }),
  }));
  return items.length ? { title: "Commands", from: 0, items } : null;
}

function subCommands(store, before) {
  const match = before.match(/^(\/\S+) +(\S*)$/);
  const command = match && store.commands.find((entry) => entry.command === match[1].toLowerCase());
  if (!command) return null;
  const typed = match[2].toLowerCase();
  const items = subWords(command.usage_hint).filter((entry) => entry.word.startsWith(typed)).map((entry) => ({
    insert: `${entry.word} `, label: entry.word, hint: entry.hint, detail: "", exact: entry.word === typed, lead: () => icon("bolt", { size: 16 }),
  }));
  return items.length ? { title: command.command, from: before.length - match[2].length, items } : null;
}

function mentions(store, before) {
  const match = before.match(/(?:^|\s)([@#])([\p{L}\p{N}_.-]*(?: [\p{L}\p{N}_.-]*)?)$/u);
  if (!match) return null;
  const typed = `${match[1]}${match[2]}`.toLowerCase();
  const items = mentionables(store)
    .filter((entry) => entry.typed.toLowerCase().startsWith(typed) || (typed.length > 1 && typed[0] === "@" && entry.typed.toLowerCase().includes(` ${typed.slice(1)}`)))
    .slice(0, MOST)
    .map((entry) => ({
      insert: `${entry.typed} `, label: entry.typed, detail: entry.detail ?? "", exact: entry.typed.toLowerCase() === typed,
      lead: () => (entry.user ? avatar(entry.user, 20) : icon(entry.channel ? "hash" : "people", { size: 16 })),
    }));
  return items.length ? { title: match[1] === "@" ? "People and groups" : "Channels", from: before.length - typed.length, items } : null;
}

function emojis(before) {
  const match = before.match(/(?:^|\s):([a-z0-9_+-]{2,})$/i);
  if (!match) return null;
  const typed = match[1].toLowerCase();
  const items = EMOJI_NAMES.filter((name) => name.includes(typed)).sort((a, b) => a.indexOf(typed) - b.indexOf(typed)).slice(0, 8)
    .map((name) => ({ insert: `:${name}: `, label: `:${name}:`, detail: "", exact: false, lead: () => emoji(name, { decorative: true }) }));
  return items.length ? { title: "Emoji", from: before.length - typed.length - 1, items } : null;
}
